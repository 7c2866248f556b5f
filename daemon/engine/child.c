/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - one of the engine's own processes, kept running
 *
 * Theory of operation
 * ===================
 *
 * It is watched by a pidfd, not by SIGCHLD, so that no other child of the
 * engine is concerned. Its end shows there or as the end of the socket,
 * whichever is first; either way go_down() kills what may be left, reaps it and
 * sets the timer for the next. The same timer delivers `up`, at once, so that
 * it never comes from within child_new().
 *
 * What the process says may come from an attacker who took it over: the owner
 * checks it, and returns -1 for what no honest process says.
 */
#include "engine/child.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
/* A process that lived this long was well: back off from the start again. */
#define STEADY_MS      10000
#define IPC_FD	       3

struct child {
	struct loop *loop;
	const char *name;
	char *argv[CHILD_ARGS_MAX + 1]; /* none: a test's other end */
	const struct child_ops *ops;
	void *arg;
	struct ipc *ipc;
	uint64_t epoch;
	pid_t pid;
	int pidfd;
	sd_event_source *watch, *timer;
	uint64_t started_ms, backoff_ms;
};

static int start(struct child *child, struct error *err);

/* Kill and reap: a process without state needs no time to say goodbye. */
static void reap(struct child *child)
{
	siginfo_t info = { 0 };

	child->watch = sd_event_source_disable_unref(child->watch);
	if (child->pid <= 0)
		return;
	pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PID, (id_t)child->pid, &info, WEXITED) < 0 &&
	       errno == EINTR)
		;
	if (info.si_code == CLD_EXITED)
		log_warn("%s (pid %d) exited with %d", child->name, child->pid,
			 info.si_status);
	else if (info.si_status != SIGKILL)
		log_warn("%s (pid %d) was killed by signal %d%s", child->name,
			 child->pid, info.si_status,
			 info.si_status == SIGSYS ? " (its seccomp filter)" :
						    "");
	child->pid = 0;
	fd_close(&child->pidfd);
}

static void on_restart(void *arg)
{
	struct child *child = arg;
	struct error err = { 0 };

	if (start(child, &err) == 0)
		return;
	log_err("%s", err.msg);
	child->backoff_ms = BACKOFF_MAX_MS;
	loop_timer(child->loop, &child->timer,
		   loop_now_ms() + child->backoff_ms, on_restart, child);
}

static void go_down(struct child *child, const char *why)
{
	uint64_t now = loop_now_ms();
	/* @why may live in what is freed here. */
	_cleanup_free_ char *reason = xstrdup(why);

	if (!child->ipc)
		return;
	child->ipc = ipc_free(child->ipc);
	reap(child);
	loop_timer_off(child->timer);
	if (child->argv[0]) {
		if (now - child->started_ms >= STEADY_MS ||
		    child->backoff_ms == 0)
			child->backoff_ms = BACKOFF_MIN_MS;
		log_warn("%s is gone: %s; started again in %" PRIu64 " ms",
			 child->name, reason, child->backoff_ms);
		loop_timer(child->loop, &child->timer, now + child->backoff_ms,
			   on_restart, child);
		child->backoff_ms *= 2;
		if (child->backoff_ms > BACKOFF_MAX_MS)
			child->backoff_ms = BACKOFF_MAX_MS;
	}
	child->ops->down(reason, child->arg);
}

static int on_end(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	(void)s;
	(void)fd;
	(void)revents;
	go_down(arg, "the process ended");
	return 0;
}

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	struct child *child = arg;

	(void)ipc;
	if (child->ops->message(data, len, fds, n_fds, child->arg) < 0)
		go_down(child, "it broke the rules");
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	go_down(arg, why);
}

static const struct ipc_ops ipc_ops = { .message = on_message,
					.closed = on_closed };

static int spawn_with(struct child *child, int fd, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* dup2 onto itself only clears close-on-exec, which is also wanted. */
	posix_spawn_file_actions_adddup2(&actions, fd, IPC_FD);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(ret, child->argv[0], &actions, &attr, child->argv,
			environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

static int spawn(struct child *child, int fd, struct error *err)
{
	pid_t pid;
	int r = spawn_with(child, fd, &pid);

	if (r != 0)
		return err_sys(err, r, "start '%s'", child->argv[0]);
	child->pid = pid;
	child->pidfd = pidfd_open(pid, 0);
	if (child->pidfd >= 0)
		r = sd_event_add_io(loop_event(child->loop), &child->watch,
				    child->pidfd, EPOLLIN, on_end, child);
	if (child->pidfd < 0 || r < 0) {
		r = child->pidfd < 0 ? errno : -r;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		child->pid = 0;
		fd_close(&child->pidfd);
		return err_sys(err, r, "watch %s (pid %d)", child->name, pid);
	}
	return 0;
}

static void on_up(void *arg)
{
	struct child *child = arg;

	if (child->ipc)
		child->ops->up(child->arg);
}

/* Consumes @fd, our end. */
static int listen_to(struct child *child, int fd, struct error *err)
{
	if (ipc_new(child->loop, fd, &ipc_ops, child, &child->ipc, err) < 0)
		return -1;
	child->epoch++;
	child->started_ms = loop_now_ms();
	loop_timer(child->loop, &child->timer, child->started_ms, on_up, child);
	return 0;
}

static int start(struct child *child, struct error *err)
{
	_cleanup_close_ int theirs = -EBADF;
	int fds[2];

	if (ipc_pair(fds, err) < 0)
		return err_wrap(err, "start %s", child->name);
	theirs = fds[1];
	if (spawn(child, theirs, err) < 0) {
		close(fds[0]);
		return -1;
	}
	if (listen_to(child, fds[0], err) < 0) {
		reap(child);
		return -1;
	}
	return 0;
}

static struct child *alloc(struct loop *loop, const char *name,
			   const struct child_ops *ops, void *arg)
{
	struct child *child = xcalloc(1, sizeof(*child));

	*child = (struct child){ .loop = loop, .name = name, .ops = ops,
				 .arg = arg, .pidfd = -EBADF };
	return child;
}

int child_new(struct loop *loop, const char *name, const char *const *argv,
	      const struct child_ops *ops, void *arg, struct child **ret,
	      struct error *err)
{
	struct child *child = alloc(loop, name, ops, arg);

	for (size_t i = 0; argv[i]; i++) {
		assert(i < CHILD_ARGS_MAX);
		child->argv[i] = xstrdup(argv[i]);
	}
	if (start(child, err) < 0) {
		child_free(child);
		return -1;
	}
	*ret = child;
	return 0;
}

int child_new_fd(struct loop *loop, const char *name, int fd,
		 const struct child_ops *ops, void *arg, struct child **ret,
		 struct error *err)
{
	struct child *child = alloc(loop, name, ops, arg);

	if (listen_to(child, fd, err) < 0) {
		child_free(child);
		return -1;
	}
	*ret = child;
	return 0;
}

struct child *child_free(struct child *child)
{
	if (!child)
		return NULL;
	child->ipc = ipc_free(child->ipc);
	child->timer = sd_event_source_disable_unref(child->timer);
	reap(child);
	for (size_t i = 0; child->argv[i]; i++)
		free(child->argv[i]);
	free(child);
	return NULL;
}

int child_send(struct child *child, const void *data, size_t len,
	       const int *fds, size_t n_fds, struct error *err)
{
	if (!child->ipc)
		return err_set(err, ERR_UNAVAILABLE, "%s is being started",
			       child->name);
	return ipc_send(child->ipc, data, len, fds, n_fds, err);
}

pid_t child_pid(const struct child *child)
{
	return child->pid;
}

uint64_t child_epoch(const struct child *child)
{
	return child->epoch;
}
