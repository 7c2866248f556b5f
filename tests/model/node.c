/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - a whole node, but for hypervisor, network and images
 *
 * usage: model_node CONFIG FAULTS_DIR AGENT
 *
 * Engine and front are the real ones, guests are those of vm.h with the real
 * agent. SIGTERM stops it as it stops sandboxd; SIGUSR1: the hypervisor is gone
 * or back, look at the faults again.
 */
#include "vm.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/engine.h"
#include "unit/fakes.h"
#include "unit/file_hv.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

struct node {
	struct config *config;
	struct loop *loop;
	struct job_pool *jobs;
	struct engine *engine;
	struct hv *hv;
	sd_event_source *stop_timer, *look_timer;
	bool stopping;
};

/* ---- guests; their @arg is the agent's path ---- */

static int guest_start(const char *dir, void *arg, struct error *err)
{
	return vm_start(dir, arg, err);
}

static int guest_kill(const char *dir, void *arg, struct error *err)
{
	(void)arg;
	return vm_kill(dir, err);
}

static bool guest_is_alive(const char *dir, void *arg)
{
	(void)arg;
	return vm_is_alive(dir);
}

static int guest_connect(const char *dir, void *arg)
{
	(void)arg;
	return vm_connect(dir);
}

static const struct file_guest_ops guest_ops = {
	.start = guest_start,
	.kill = guest_kill,
	.is_alive = guest_is_alive,
	.connect = guest_connect,
	.copy = vm_copy,
};

/* ---- the node ---- */

static void stop_now(void *arg)
{
	struct node *n = arg;

	loop_stop(n->loop, 0);
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si,
		   void *arg)
{
	struct node *n = arg;

	(void)s;
	(void)si;
	if (n->stopping)
		return 0;
	n->stopping = true;
	loop_timer(n->loop, &n->stop_timer,
		   loop_now_ms() + n->config->stop_timeout_ms, stop_now, n);
	engine_close(n->engine, stop_now, n);
	return 0;
}

static int on_link(sd_event_source *s, const struct signalfd_siginfo *si,
		   void *arg)
{
	struct node *n = arg;

	(void)s;
	(void)si;
	engine_hv_link(file_hv_is_up(n->hv), n->engine);
	return 0;
}

static int listen_to_signals(struct node *n)
{
	sd_event *event = loop_event(n->loop);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (sd_event_add_signal(event, NULL, SIGTERM, on_stop, n) < 0)
		return -1;
	return sd_event_add_signal(event, NULL, SIGUSR1, on_link, n) < 0 ? -1 :
									   0;
}

static int start(struct node *n, char **argv, struct error *err)
{
	if (config_load(argv[1], true, &n->config, err) < 0 ||
	    loop_new(&n->loop, err) < 0)
		return -1;
	if (listen_to_signals(n) < 0)
		return err_set(err, ERR_INTERNAL, "no signals");
	mkdir(n->config->state_dir, 0711);
	if (job_pool_new(n->loop, n->config->workers, &n->jobs, err) < 0)
		return -1;
	world.loop = n->loop;
	n->hv = file_hv_new(n->config->state_dir, argv[2], &guest_ops, argv[3]);
	if (engine_new(n->loop, n->jobs, n->config, n->hv, &n->engine, err) < 0)
		return -1;
	engine_hv_link(file_hv_is_up(n->hv), n->engine);
	return 0;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	struct node n = { 0 };
	int r = 1;

	if (argc > 1 && !strcmp(argv[1], VM_OPTION))
		return vm_main(argc, argv);
	if (argc != 4) {
		fputs("usage: model_node CONFIG FAULTS_DIR AGENT\n", stderr);
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_open("model_node", LOG_LEVEL_INFO);
	if (start(&n, argv, &err) < 0)
		log_err("cannot start: %s", err.msg);
	else
		r = loop_run(n.loop) < 0 ? 1 : 0;
	if (n.engine)
		engine_halt(n.engine);
	job_pool_free(n.jobs);
	engine_free(n.engine);
	sd_event_source_disable_unref(n.stop_timer);
	loop_free(n.loop);
	config_free(n.config);
	return r;
}
