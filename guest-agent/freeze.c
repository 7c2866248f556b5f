/* SPDX-License-Identifier: Apache-2.0 */
/* freeze.c - the guest held still while its memory and disk are copied
 *
 * Theory of operation
 *
 *	THAWED -> FREEZING -> FROZEN -> THAWING -> THAWED
 *
 * Freezing syncs, which takes as long as the disk likes, so it and thawing run
 * on a thread; the states are the loop's. User processes are frozen before the
 * file system, or they would pile up in it unkillable, and thawed after it. The
 * agent itself never writes to the root: what it does there is the business of
 * tasks, and no new ones are let in (server.c).
 *
 * Whoever is at work on the root (Configure) is waited for: frozen in the middle of
 * it, the guest could not be given its next identity when it wakes up.
 *
 * A dead-man timer thaws when no Thaw comes: the node may have died. It counts
 * the guest's own time, so it does not run out in a snapshot.
 */
#include "freeze.h"

#include "agent.h"
#include "cgroup.h"
#include "loop.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#define CGROUP_WAIT_MS 2000u

enum state { THAWED, FREEZING, FROZEN, THAWING };

struct freezer {
	struct agent *agent;
	enum state state;
	struct loop_timer *dead_man;
	struct rpc *waiting; /* to be answered when the thread is back */
	uint32_t deadline_ms;
	bool root_is_taken;
	bool postponed; /* until the root is given back */
	void (*at_thaw)(void *arg);
	void *at_thaw_arg;

	/* The thread's, while one runs: */
	int root_fd;
	int user_fd;
	bool with_processes;
	bool processes_frozen;
	int failed; /* errno */
	const char *what;
};

bool freezer_is_frozen(const struct freezer *f)
{
	return f->state != THAWED;
}

/* Keep what failed first. */
static void note(struct freezer *f, int errnum, const char *what)
{
	if (errnum && !f->failed) {
		f->failed = errnum;
		f->what = what;
	}
}

static void thaw_run(void *arg)
{
	struct freezer *f = arg;

	/* EINVAL: it was not frozen. */
	if (f->root_fd >= 0 && ioctl(f->root_fd, FITHAW, 0) < 0 &&
	    errno != EINVAL)
		note(f, errno, "thaw the root file system");
	if (f->processes_frozen)
		note(f, -cgroup_freeze(f->user_fd, false, CGROUP_WAIT_MS),
		     "thaw processes");
	f->processes_frozen = false;
}

static void freeze_run(void *arg)
{
	struct freezer *f = arg;

	if (f->with_processes) {
		f->processes_frozen = true;
		note(f, -cgroup_freeze(f->user_fd, true, CGROUP_WAIT_MS),
		     "freeze processes");
	}
	/* In a test there is no root of ours, and the host's are not. */
	if (!f->failed && f->root_fd >= 0) {
		/* Which writes back all of it first. */
		if (ioctl(f->root_fd, FIFREEZE, 0) < 0 && errno != EBUSY)
			note(f, errno, "freeze the root file system");
	}
	if (f->failed)
		thaw_run(f);
}

static void answer(struct freezer *f, const ProtobufCMessage *msg)
{
	struct rpc *rpc = f->waiting;
	struct error err;

	f->waiting = NULL;
	if (f->failed) {
		err_sys(&err, f->failed, "%s", f->what);
		if (rpc)
			rpc_fail(rpc, &err);
		else
			agent_log("%s", err.msg);
	} else if (rpc) {
		rpc_reply(rpc, msg);
	}
}

static void thaw_done(void *arg)
{
	AGENT(ThawResponse) msg = SANDBOX__AGENT__V1__THAW_RESPONSE__INIT;
	struct freezer *f = arg;
	void (*at_thaw)(void *arg) = f->at_thaw;

	f->state = THAWED;
	f->at_thaw = NULL;
	if (at_thaw)
		at_thaw(f->at_thaw_arg);
	answer(f, &msg.base);
}

static void begin_thaw(struct freezer *f)
{
	loop_timer_at(f->dead_man, LOOP_NEVER);
	f->state = THAWING;
	f->failed = 0;
	/* No thread to be had: the loop must do it, or the guest is lost. */
	if (task_work(f->agent->loop, thaw_run, thaw_done, f) < 0) {
		thaw_run(f);
		thaw_done(f);
	}
}

static void freeze_done(void *arg)
{
	AGENT(FreezeResponse) msg = SANDBOX__AGENT__V1__FREEZE_RESPONSE__INIT;
	struct freezer *f = arg;

	f->state = f->failed ? THAWED : FROZEN;
	if (!f->failed)
		loop_timer_at(f->dead_man,
			      loop_now_ms(f->agent->loop) + f->deadline_ms);
	answer(f, &msg.base);
}

static void on_dead_man(void *arg)
{
	struct freezer *f = arg;

	agent_log("nobody has thawed the guest in time: thawing");
	begin_thaw(f);
}

static int start_freeze(struct freezer *f, struct error *err)
{
	if (task_work(f->agent->loop, freeze_run, freeze_done, f) == 0)
		return 0;
	f->state = THAWED;
	f->waiting = NULL;
	return err_set(err, ERR_LIMIT, "the guest has no room for a thread");
}

void freezer_take_root(struct freezer *f)
{
	f->root_is_taken = true;
}

bool freezer_root_is_taken(const struct freezer *f)
{
	return f->root_is_taken;
}

void freezer_at_thaw(struct freezer *f, void (*fn)(void *arg), void *arg)
{
	f->at_thaw = fn;
	f->at_thaw_arg = arg;
}

void freezer_give_root(struct freezer *f)
{
	struct rpc *rpc = f->waiting;
	struct error err;

	f->root_is_taken = false;
	if (f->state != FREEZING || !f->postponed)
		return;
	f->postponed = false;
	if (start_freeze(f, &err) == 0)
		return;
	if (rpc)
		rpc_fail(rpc, &err);
}

static int begin_freeze(struct freezer *f, const AGENT(FreezeRequest) * request,
			struct rpc *rpc, struct error *err)
{
	uint32_t deadline = request->deadline_ms;

	if (deadline > FREEZE_DEADLINE_MAX_MS)
		return err_field(err, "deadline_ms", "more than %u",
				 FREEZE_DEADLINE_MAX_MS);
	if (f->state != THAWED)
		return err_set(err, ERR_CONFLICT, "the guest is frozen");
	f->deadline_ms = deadline ? deadline : FREEZE_DEADLINE_DEFAULT_MS;
	f->with_processes = request->freeze_processes;
	f->user_fd = f->agent->cgroup_fd;
	f->failed = 0;
	if (f->agent->is_init && f->root_fd < 0)
		f->root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->state = FREEZING;
	f->waiting = rpc;
	f->postponed = f->root_is_taken;
	return f->postponed ? 0 : start_freeze(f, err);
}

void rpc_freeze(struct rpc *rpc, const uint8_t *data, size_t len)
{
	AGENT(FreezeRequest) * request;
	struct error err;
	int r;

	request =
		rpc_unpack(rpc, &sandbox__agent__v1__freeze_request__descriptor,
			   data, len);
	if (!request)
		return;
	r = begin_freeze(rpc_agent(rpc)->freezer, request, rpc, &err);
	sandbox__agent__v1__freeze_request__free_unpacked(request, NULL);
	if (r < 0)
		rpc_fail(rpc, &err);
}

void rpc_thaw(struct rpc *rpc, const uint8_t *data, size_t len)
{
	AGENT(ThawResponse) msg = SANDBOX__AGENT__V1__THAW_RESPONSE__INIT;
	struct freezer *f = rpc_agent(rpc)->freezer;
	AGENT(ThawRequest) * request;
	struct error err;

	request = rpc_unpack(rpc, &sandbox__agent__v1__thaw_request__descriptor,
			     data, len);
	if (!request)
		return;
	sandbox__agent__v1__thaw_request__free_unpacked(request, NULL);
	switch (f->state) {
	case THAWED:
		rpc_reply(rpc, &msg.base);
		return;
	case FROZEN:
		f->waiting = rpc;
		begin_thaw(f);
		return;
	case FREEZING:
	case THAWING:
		break;
	}
	err_set(&err, ERR_CONFLICT, "the guest is just freezing or thawing");
	err.retry_ms = 100;
	rpc_fail(rpc, &err);
}

struct freezer *freezer_new(struct agent *agent)
{
	struct freezer *f = xcalloc(1, sizeof(*f));

	f->agent = agent;
	f->root_fd = -EBADF;
	f->user_fd = -EBADF;
	f->dead_man = loop_timer_new(agent->loop, on_dead_man, f);
	return f;
}

struct freezer *freezer_free(struct freezer *f)
{
	if (!f)
		return NULL;
	loop_timer_free(f->dead_man);
	fd_close(&f->root_fd);
	free(f);
	return NULL;
}
