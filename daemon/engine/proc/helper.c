/* SPDX-License-Identifier: Apache-2.0 */
/* helper.c - one of the engine's own processes, kept running
 *
 * Theory of operation
 * ===================
 *
 * It is watched by a pidfd, not by SIGCHLD, so that no other helper of the
 * engine is concerned. Its end shows there or as the end of the socket,
 * whichever is first; either way go_down() kills what may be left, reaps it and
 * sets the timer for the next. The same timer delivers `up`, at once, so that
 * it never comes from within helper_new().
 *
 * What the process says may come from an attacker who took it over: the owner
 * checks it, and returns -1 for what no honest process says.
 */
#include "engine/proc/helper.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/ipc_message.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/proc/spawn.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
/* A process that lived this long was well: back off from the start again. */
#define STEADY_MS 10000

struct helper {
	struct loop *loop;
	const char *name;
	struct helper_program program; /* no path: a test's other end */
	const struct helper_ops *ops;
	void *arg;
	struct ipc *ipc;
	uint64_t epoch;
	struct spawned process;
	sd_event_source *watch, *timer;
	uint64_t started_ms, backoff_ms;
};

static int start(struct helper *helper, struct error *err);

/* Kill and reap: a process without state needs no time to say goodbye. */
static void reap(struct helper *helper)
{
	siginfo_t info = { 0 };

	pid_t pid = helper->process.pid;

	helper->watch = sd_event_source_disable_unref(helper->watch);
	if (pid <= 0)
		return;
	spawn_kill(&helper->process);
	spawn_reap(&helper->process, &info);
	if (info.si_code == CLD_EXITED)
		log_warn("%s (pid %d) exited with %d", helper->name, pid,
			 info.si_status);
	else if (info.si_status != SIGKILL)
		log_warn("%s (pid %d) was killed by signal %d%s", helper->name,
			 pid, info.si_status,
			 info.si_status == SIGSYS ? " (its seccomp filter)" :
						    "");
}

static void on_restart(void *arg)
{
	struct helper *helper = arg;
	struct error err = { 0 };

	if (start(helper, &err) == 0)
		return;
	log_err("%s", err.msg);
	helper->backoff_ms = BACKOFF_MAX_MS;
	loop_timer(helper->loop, &helper->timer,
		   loop_now_ms() + helper->backoff_ms, on_restart, helper);
}

static void go_down(struct helper *helper, const char *why)
{
	uint64_t now = loop_now_ms();
	/* @why may live in what is freed here. */
	_cleanup_free_ char *reason = xstrdup(why);

	if (!helper->ipc)
		return;
	helper->ipc = ipc_free(helper->ipc);
	reap(helper);
	loop_timer_off(helper->timer);
	if (helper->program.path) {
		if (now - helper->started_ms >= STEADY_MS ||
		    helper->backoff_ms == 0)
			helper->backoff_ms = BACKOFF_MIN_MS;
		log_id(LOG_LEVEL_WARN, LOG_ID_HELPER_GONE,
		       "%s is gone: %s; started again in %" PRIu64 " ms",
		       helper->name, reason, helper->backoff_ms);
		loop_timer(helper->loop, &helper->timer,
			   now + helper->backoff_ms, on_restart, helper);
		helper->backoff_ms *= 2;
		if (helper->backoff_ms > BACKOFF_MAX_MS)
			helper->backoff_ms = BACKOFF_MAX_MS;
	}
	if (helper->ops->down)
		helper->ops->down(reason, helper->arg);
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
	struct helper *helper = arg;
	ProtobufCMessage *m =
		protobuf_c_message_unpack(helper->ops->report, NULL, len, data);

	(void)ipc;
	if (!m || helper->ops->message(m, fds, n_fds, helper->arg) < 0)
		go_down(helper, "it broke the rules");
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	go_down(arg, why);
}

static const struct ipc_ops ipc_ops = { .message = on_message,
					.closed = on_closed };

static int spawn(struct helper *helper, int fd, struct error *err)
{
	const struct helper_program *p = &helper->program;
	char uid[16], gid[16];
	const char *const argv[] = { p->path, uid, gid,
				     p->debug ? "--debug" : NULL, NULL };
	int r;

	snprintf(uid, sizeof(uid), "%u", p->uid);
	snprintf(gid, sizeof(gid), "%u", p->gid);
	if (spawn_program(argv, &fd, 1, &helper->process, err) < 0)
		return -1;
	r = sd_event_add_io(loop_event(helper->loop), &helper->watch,
			    helper->process.pidfd, EPOLLIN, on_end, helper);
	if (r < 0) {
		spawn_kill(&helper->process);
		spawn_reap(&helper->process, NULL);
		return err_sys(err, -r, "watch %s", helper->name);
	}
	return 0;
}

static void on_up(void *arg)
{
	struct helper *helper = arg;

	if (helper->ipc)
		helper->ops->up(helper->arg);
}

/* Consumes @fd, our end. */
static int listen_to(struct helper *helper, int fd, struct error *err)
{
	if (ipc_new(helper->loop, fd, &ipc_ops, helper, &helper->ipc, err) < 0)
		return -1;
	helper->epoch++;
	helper->started_ms = loop_now_ms();
	loop_timer(helper->loop, &helper->timer, helper->started_ms, on_up,
		   helper);
	return 0;
}

static int start(struct helper *helper, struct error *err)
{
	_cleanup_close_ int theirs = -EBADF;
	int fds[2];

	if (ipc_pair(fds, err) < 0)
		return err_wrap(err, "start %s", helper->name);
	theirs = fds[1];
	if (spawn(helper, theirs, err) < 0) {
		close(fds[0]);
		return -1;
	}
	if (listen_to(helper, fds[0], err) < 0) {
		reap(helper);
		return -1;
	}
	return 0;
}

static struct helper *alloc(struct loop *loop, const char *name,
			    const struct helper_ops *ops, void *arg)
{
	struct helper *helper = xcalloc(1, sizeof(*helper));

	*helper = (struct helper){ .loop = loop,
				   .name = name,
				   .ops = ops,
				   .arg = arg,
				   .process = SPAWNED_NONE };
	return helper;
}

int helper_new(struct loop *loop, const char *name,
	       const struct helper_program *program,
	       const struct helper_ops *ops, void *arg, struct helper **ret,
	       struct error *err)
{
	struct helper *helper = alloc(loop, name, ops, arg);

	helper->program = *program;
	helper->program.path = xstrdup(program->path);
	if (start(helper, err) < 0) {
		helper_free(helper);
		return -1;
	}
	*ret = helper;
	return 0;
}

int helper_new_fd(struct loop *loop, const char *name, int fd,
		  const struct helper_ops *ops, void *arg, struct helper **ret,
		  struct error *err)
{
	struct helper *helper = alloc(loop, name, ops, arg);

	if (listen_to(helper, fd, err) < 0) {
		helper_free(helper);
		return -1;
	}
	*ret = helper;
	return 0;
}

struct helper *helper_free(struct helper *helper)
{
	if (!helper)
		return NULL;
	helper->ipc = ipc_free(helper->ipc);
	helper->timer = sd_event_source_disable_unref(helper->timer);
	reap(helper);
	free((char *)helper->program.path);
	free(helper);
	return NULL;
}

struct helper *helper_release(struct helper *helper)
{
	if (helper) {
		helper->watch = sd_event_source_disable_unref(helper->watch);
		helper->process.pid = 0;
		fd_close(&helper->process.pidfd);
	}
	return helper_free(helper);
}

/* @r: what ipc_send() says. */
static int told(const struct helper *helper, int r, const struct error *err)
{
	if (r < 0)
		log_debug("a message to %s is lost: %s", helper->name,
			  err->msg);
	return r;
}

static int not_there(const struct helper *helper)
{
	log_debug("a message to %s is lost: it is being started", helper->name);
	return -1;
}

int helper_tell(struct helper *helper, const ProtobufCMessage *m,
		const int *fds, size_t n_fds)
{
	struct error err;

	if (!helper->ipc)
		return not_there(helper);
	return told(helper, ipc_send_message(helper->ipc, m, fds, n_fds, &err),
		    &err);
}

int helper_tell_packed(struct helper *helper, const void *data, size_t len,
		       const int *fds, size_t n_fds)
{
	struct error err;

	if (!helper->ipc)
		return not_there(helper);
	return told(helper, ipc_send(helper->ipc, data, len, fds, n_fds, &err),
		    &err);
}

pid_t helper_pid(const struct helper *helper)
{
	return helper->process.pid;
}

uint64_t helper_epoch(const struct helper *helper)
{
	return helper->epoch;
}
