/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the agent in a guest: PID 1, or a server on a unix socket for tests,
 * or a process that searches for one of these
 *
 * As PID 1 nothing here may end the process: the kernel would panic.
 */
#include "agent.h"
#include "exits.h"
#include "cgroup.h"
#include "freeze.h"
#include "identity.h"
#include "init.h"
#include "link.h"
#include "loop.h"
#include "machine.h"
#include "netcfg.h"
#include "process.h"
#include "search_child.h"
#include "server.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define SERIAL_NAME	"agent"
#define NOFILE_WANTED	65536u
#define RING_BUDGET_MIN (16u << 20)
#define RING_BUDGET_MAX (256u << 20)

struct options {
	const char *unix_path; /* NULL: as PID 1 */
	const char *workdir;
};

/* ---- signals ---- */

struct signals {
	struct agent *agent;
	int fd;
	struct loop_fd *watch;
};

static void on_signal(uint32_t events, void *arg)
{
	struct signals *s = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(s->fd, &si, sizeof(si)) == sizeof(si))
		if ((si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT) &&
		    !s->agent->is_init)
			loop_stop(s->agent->loop);
	process_reap(s->agent);
}

/* All are blocked, in every thread to come, and none is ignored, also if who
 * started us did: programs that users start would inherit that. As PID 1 those
 * that mean "end" are read and no more.
 */
static int take_signals(struct signals *s, struct agent *agent,
			struct error *err)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	s->agent = agent;
	s->fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd >= 0)
		s->watch =
			loop_fd_new(agent->loop, s->fd, EPOLLIN, on_signal, s);
	if (!s->watch)
		return err_sys(err, errno, "take signals");
	return 0;
}

/* ---- this process ---- */

static void protect_from_oom(void)
{
	_cleanup_close_ int fd =
		open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		agent_log("not protected from the OOM killer: %s",
			  strerror(errno));
}

/* The loop runs before whatever users run, or a fork bomb could not be killed.
 * It never computes for long. Threads and children are ordinary.
 */
static void run_first(void)
{
	struct sched_param p = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p) < 0)
		agent_log("no priority: %s", strerror(errno));
}

static void raise_limits(bool is_init)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	if (is_init)
		files.rlim_max = NOFILE_WANTED * 16;
	files.rlim_cur =
		files.rlim_max < NOFILE_WANTED ? files.rlim_max : NOFILE_WANTED;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void set_ring_budget(struct agent *agent)
{
	struct sysinfo si;
	uint64_t bytes = RING_BUDGET_MAX;

	if (sysinfo(&si) == 0)
		bytes = (uint64_t)si.totalram * si.mem_unit / 8;
	if (bytes < RING_BUDGET_MIN)
		bytes = RING_BUDGET_MIN;
	if (bytes > RING_BUDGET_MAX)
		bytes = RING_BUDGET_MAX;
	agent->ring_budget.max = (size_t)bytes;
}

static int agent_init(struct agent *agent, const struct options *o,
		      struct error *err)
{
	*agent = (struct agent){
		.is_init = !o->unix_path,
		.null_fd = -EBADF,
		.cgroup_fd = -EBADF,
	};
	list_init(&agent->processes);
	agent->exits = exits_new();
	list_init(&agent->lingers);
	list_init(&agent->tasks_waiting);
	set_ring_budget(agent);
	identity_init(agent, o->workdir);
	agent->loop = loop_new();
	if (!agent->loop)
		return err_sys(err, errno, "make the loop");
	agent->freezer = freezer_new(agent);
	agent->server = server_new(agent);
	return 0;
}

/* ---- listening ---- */

static int listen_unix(struct agent *agent, const char *path, struct error *err)
{
	int fd = link_unix_listen(path, err);

	return fd < 0 ? -1 : server_take_listener(agent->server, fd, NULL, err);
}

/* In a guest: whatever of vsock and serial port there is. */
static void listen_guest(struct agent *agent)
{
	struct error err;
	bool any = false;
	int fd;

	fd = link_vsock_listen(AGENT_VSOCK_PORT, &err);
	if (fd < 0 || server_take_listener(agent->server, fd,
					   link_vsock_is_host, &err) < 0)
		agent_log("no vsock: %s", err.msg);
	else
		any = true;
	fd = link_serial_open(SERIAL_NAME, &err);
	if (fd >= 0 && server_take_serial(agent->server, fd, &err) == 0)
		any = true;
	else if (fd >= 0 || err.code != ERR_NOT_FOUND)
		agent_log("no serial port: %s", err.msg);
	agent_log(any ? "listening" : "nothing to listen on");
}

static void open_null(struct agent *agent)
{
	agent->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (agent->null_fd < 0)
		agent_log("open /dev/null: %s", strerror(errno));
}

/* ---- as PID 1 ---- */

static void run_guest(struct agent *agent)
{
	static struct signals signals = { .fd = -EBADF };
	struct error err;

	if (init_root(&err) < 0) {
		snprintf(agent->root_failed, sizeof(agent->root_failed),
			 "%.250s", err.msg);
		agent_log("no root file system: %s", err.msg);
	} else if (machine_grow_root(&err) < 0) {
		/* Now, that clones of this guest need not; Configure says it. */
		agent_log("%s", err.msg);
	}
	protect_from_oom();
	run_first();
	cgroup_setup(agent);
	open_null(agent);
	if (netcfg_loopback(&err) < 0)
		agent_log("%s", err.msg);
	if (take_signals(&signals, agent, &err) < 0)
		agent_log("%s", err.msg);
	listen_guest(agent);
	for (;;)
		loop_run(agent->loop);
}

/* ---- for tests ---- */

static int run_test(struct agent *agent, const struct options *o)
{
	static struct signals signals = { .fd = -EBADF };
	struct error err;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	open_null(agent);
	if (take_signals(&signals, agent, &err) < 0 ||
	    listen_unix(agent, o->unix_path, &err) < 0) {
		agent_log("%s", err.msg);
		return EXIT_FAILURE;
	}
	agent_log("listening");
	loop_run(agent->loop);
	unlink(o->unix_path);
	return EXIT_SUCCESS;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "workdir", required_argument, NULL, 'w' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	*o = (struct options){ .workdir = "/" };
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'l':
			if (strncmp(optarg, "unix:", 5) != 0)
				return -1;
			o->unix_path = optarg + 5;
			break;
		case 'w':
			if (optarg[0] != '/' || strlen(optarg) >= PATH_MAX / 2)
				return -1;
			o->workdir = optarg;
			break;
		case 'V':
			puts("sandbox-agent " PACKAGE_VERSION);
			exit(EXIT_SUCCESS);
		default:
			return -1;
		}
	}
	return optind == argc && o->unix_path ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct agent agent;
	bool is_init = getpid() == 1;
	struct options o = { .workdir = "/" };
	struct error err;

	if (!is_init && argc == 2 && !strcmp(argv[1], SEARCH_CHILD_ARG))
		return search_child();
	/* PID 1 gets what the kernel did not understand: not for us. */
	if (!is_init && parse_options(argc, argv, &o) < 0) {
		fprintf(stderr, "usage: sandbox-agent --listen unix:PATH "
				"[--workdir DIR]\n");
		return EXIT_FAILURE;
	}
	umask(0);
	if (is_init)
		init_early();
	raise_limits(is_init);
	if (agent_init(&agent, &o, &err) < 0) {
		agent_log("%s", err.msg);
		return EXIT_FAILURE;
	}
	if (is_init)
		run_guest(&agent);
	return run_test(&agent, &o);
}
