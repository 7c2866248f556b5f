/* SPDX-License-Identifier: Apache-2.0 */
/* bench_node.c - the engine and the front as they are, over guests that are files
 *
 *	bench_node seed STATE RUNNING PAUSED ENDED	make a database
 *	bench_node serve STATE LIBEXEC USER		serve on STATE/node.sock
 *
 * Everything is real but hypervisor, network and images: the database is on
 * disk and synced, sandboxd-front is a process of its own, agents are reached
 * over streams. Ends on SIGTERM, as sandboxd does, or with its parent.
 */
#include "bench_node.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "file_hv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si,
		   void *arg)
{
	(void)s;
	(void)si;
	loop_stop(arg, 0);
	return 0;
}

static int make_config(char **argv, struct config **ret, struct error *err)
{
	_cleanup_free_ char *text = xasprintf(
		"[node]\nstate_dir = %s\nrun_dir = %s\n"
		"[api]\nsocket = %s/node.sock\nuser = %s\n"
		"[network]\nresolver_user = %s\nsplice_user = %s\n"
		"[paths]\nlibexec = %s\n"
		"[guest]\ntemplates = no\n[pool]\nmin = 0\nmax = 0\n"
		"[limits]\nsandboxes_max = 8192\nvcpu_overcommit = 1000\n"
		"memory_overcommit = 1000\ndisk_overcommit = 1000\n"
		"disk_reserve_mib = 0\ncreate_rate = 100000\n"
		"create_burst = 100000\n",
		argv[0], argv[0], argv[0], argv[2], argv[2], argv[2], argv[1]);

	return config_parse("bench_node", text, ret, err);
}

static int listen_to_signals(struct loop *loop)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sd_event_add_signal(loop_event(loop), NULL, SIGINT, on_stop, loop);
	return sd_event_add_signal(loop_event(loop), NULL, SIGTERM, on_stop,
				   loop);
}

/* @argv: STATE LIBEXEC USER */
static int serve(char **argv, struct error *err)
{
	struct rlimit files = { 65536, 65536 };
	struct engine *engine = NULL;
	struct job_pool *jobs;
	struct config *config;
	struct loop *loop;
	struct hv *hv;
	int agents, r;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setrlimit(RLIMIT_NOFILE, &files);
	agents = bench_agents_start(err);
	if (agents < 0 || make_config(argv, &config, err) < 0 ||
	    loop_new(&loop, err) < 0)
		return -1;
	listen_to_signals(loop);
	if (job_pool_new(loop, config->workers, &jobs, err) < 0)
		return -1;
	hv = file_hv_new(argv[0], NULL, &bench_guests, &agents);
	r = engine_new(loop, jobs, config, hv, &engine, err);
	if (r == 0) {
		engine_hv_link(true, engine);
		puts("ready");
		fflush(stdout);
		loop_run(loop);
	}
	engine_halt(engine);
	job_pool_free(jobs);
	engine_free(engine);
	loop_free(loop);
	config_free(config);
	close(agents);
	return r;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	int r;

	log_open("bench_node", LOG_LEVEL_INFO);
	if (argc == 6 && !strcmp(argv[1], "seed")) {
		r = bench_seed(argv[2], strtoul(argv[3], NULL, 10),
			       strtoul(argv[4], NULL, 10),
			       strtoul(argv[5], NULL, 10), &err);
	} else if (argc == 5 && !strcmp(argv[1], "serve")) {
		r = serve(argv + 2, &err);
	} else {
		fputs("usage: bench_node seed STATE RUNNING PAUSED ENDED |\n"
		      "       bench_node serve STATE LIBEXEC USER\n",
		      stderr);
		return 2;
	}
	if (r < 0)
		fprintf(stderr, "bench_node: %s\n", err.msg);
	return r < 0;
}
