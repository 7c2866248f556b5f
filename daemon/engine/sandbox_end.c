/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_end.c - terminate: everything of a sandbox goes
 *
 * Theory of operation
 * ===================
 *
 * The tombstone (TERMINATING) is written first, and nothing leads back. What
 * follows asks nobody's leave: front is told to close the link but not waited
 * for, the agent is not asked, the guest is destroyed as often as it takes. A
 * database that cannot be written does not keep a guest alive either: the
 * guest goes first, the row when there is room again.
 *
 * A task that is under way is cancelled and ends on its own; then this begins.
 * The client has its answer after END_ANSWER_MS at the latest: TERMINATING,
 * with what still holds it as the reason.
 */
#include "engine/account.h"
#include "engine/answer.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/hv_call.h"
#include "engine/lease.h"
#include "engine/recover_guest.h"
#include "engine/expose.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"

#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define END_ANSWER_MS 4500

static void destroy(struct task *t);

static void answer_all(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	struct error err;

	if (list_empty(&sb->end_calls))
		return;
	store_begin(e->store);
	list_for_each(&sb->end_calls, call, struct call, wait)
		answer_call(call, sb, NULL);
	if (event_commit(e, &err) < 0)
		log_warn("sandbox '%s': the answer is not kept: %s",
			 sb->row.id, err.msg);
	list_for_each(&sb->end_calls, call, struct call, wait)
		call_send(call);
}

/* What it waits for, if no failure has said so yet. */
static void answer_is_due(void *arg)
{
	struct sandbox *sb = arg;

	if (sb->task && !strcmp(sb->row.reason, sb->end_reason))
		snprintf(sb->row.reason, sizeof(sb->row.reason), "%.60s: %s %s",
			 sb->end_reason,
			 sb->task->kind == &task_end ? "libvirt" :
						       sb->task->kind->name,
			 sb->task->kind == &task_end ?
				 "has not ended its guest yet" :
				 "is still under way");
	answer_all(sb);
}

static void destroyed(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;
	struct sandbox *sb = t->sb;

	if (t->engine->stopping)
		return;
	if (call->cpu_ms)
		t->cpu_ms = call->cpu_ms;
	if (rc == 0) {
		task_next(t);
		return;
	}
	snprintf(sb->row.reason, sizeof(sb->row.reason), "%.40s: %.80s",
		 sb->end_reason, err->msg);
	if (t->tries++ == 0)
		log_warn("sandbox '%s': %s; trying again", sb->row.id,
			 err->msg);
	task_later(t, 200ull << (t->tries < 7 ? t->tries : 7), destroy);
}

static void destroy(struct task *t)
{
	struct hv_call *call;

	if (!t->guest.spec.uuid[0]) {
		task_next(t);
		return;
	}
	call = xcalloc(1, sizeof(*call));
	call->op = HV_DESTROY;
	call->spec = t->guest.spec;
	call->done = destroyed;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

static void forget(struct task *t)
{
	struct sandbox *sb = t->sb;

	if (sb->row.uuid[0])
		guest_forget(t->engine, sb->row.uuid, sb->row.slot);
	sb->row.uuid[0] = '\0';
	sb->row.slot = -1;
	task_next(t);
}

static void commit(struct task *t)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct sandbox_row old = sb->row;
	struct snapshot *last = snapshot_find(e, old.snapshot_id);
	struct error err;
	char runtime[24];

	store_begin(e->store);
	if (sb->row.run_ms)
		sandbox_run_ended(sb, t->cpu_ms);
	else
		sandbox_pause_ended(sb);
	snprintf(runtime, sizeof(runtime), "%llu",
		 (unsigned long long)sb->row.runtime_ms);
	sandbox_move(sb, EV_ENDED);
	snprintf(sb->row.reason, sizeof(sb->row.reason), "%s", sb->end_reason);
	sb->row.terminated_ms = loop_wall_ms();
	sb->row.snapshot_id[0] = '\0';
	sb->row.next_snapshot[0] = '\0';
	store_sandbox_put(e->store, &sb->row);
	store_ports_remove(e->store, sb->row.id);
	if (last)
		store_snapshot_remove(e->store, last->row.id);
	event_add(e, "sandbox.terminated", sb->row.id,
		  EVENT_DATA({ "reason", sb->row.reason },
			     { "runtimeDurationMs", runtime }));
	list_for_each(&sb->end_calls, call, struct call, wait)
		answer_call(call, sb, NULL);
	if (event_commit(e, &err) < 0) {
		sandbox_revert(sb, &old);
		if (t->tries++ == 0)
			log_err("sandbox '%s': is gone, but %s; trying again",
				sb->row.id, err.msg);
		task_later(t, 1000, commit);
		return;
	}
	if (old.next_snapshot[0])
		engine_trash(e, "snapshots", old.next_snapshot);
	snapshot_drop(e, last);
	metrics_end(&e->metrics, sb->row.reason);
	account_settle(sb);
	task_next(t);
}

static void ended(struct task *t, const struct error *err)
{
	struct sandbox *sb = t->sb;
	const struct call *first =
		list_empty(&sb->end_calls) ?
			NULL :
			list_entry(sb->end_calls.next, struct call, wait);
	const struct log_fields f = { .sandbox_id = sb->row.id,
				      .request_id =
					      first ? first->request_id : NULL,
				      .message_id = LOG_ID_TERMINATED };

	(void)err; /* no step of it fails */
	log_line(LOG_LEVEL_INFO, &f, "sandbox '%s': TERMINATED (%s)",
		 sb->row.id, sb->row.reason);
	/* All that it waits for is ended_retire(). */
	sb->timer = sd_event_source_disable_unref(sb->timer);
	sb->retry = sd_event_source_disable_unref(sb->retry);
	sb->answer = sd_event_source_disable_unref(sb->answer);
	list_for_each(&sb->end_calls, call, struct call, wait)
		call_send(call);
}

static const struct step end_steps[] = {
	{ "destroy", destroy, NULL },
	{ "forget", forget, NULL },
	{ "commit", commit, NULL },
};

const struct task_kind task_end = { "terminate", end_steps, 3, ended, false };

static void write_tombstone(struct sandbox *sb, const char *reason,
			    struct call *call)
{
	struct engine *e = sb->engine;
	struct error err;

	snprintf(sb->end_reason, sizeof(sb->end_reason), "%s", reason);
	sandbox_move(sb, EV_TERMINATE);
	snprintf(sb->row.reason, sizeof(sb->row.reason), "%s", reason);
	store_begin(e->store);
	store_sandbox_put(e->store, &sb->row);
	if (call)
		call_intent(call, sb->row.id);
	if (event_commit(e, &err) < 0)
		log_err("sandbox '%s': ends without a tombstone: %s",
			sb->row.id, err.msg);
}

static void begin(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	struct task *t = task_new(e, sb, &task_end);

	agent_unlinked(sb);
	front_link_detach(e->front, sb->row.id, "SANDBOX_NOT_FOUND",
			  "the sandbox was terminated", guest_ignore_answer,
			  NULL);
	if (sb->row.uuid[0])
		guest_plan_fill(e, &t->guest, sb->row.uuid, sb->row.slot);
	task_run(t);
}

void sandbox_end(struct sandbox *sb, const char *reason, struct call *call)
{
	struct engine *e = sb->engine;
	struct error gone;

	if (sb->row.state == SBX_TERMINATED) {
		if (call) {
			store_begin(e->store);
			answer_call(call, sb, NULL);
			if (event_commit(e, &gone) < 0)
				call_fail(call, &gone);
			else
				call_send(call);
		}
		return;
	}
	if (call) {
		list_del(&call->wait);
		list_add_tail(&sb->end_calls, &call->wait);
		loop_timer(e->loop, &sb->answer, loop_now_ms() + END_ANSWER_MS,
			   answer_is_due, sb);
	}
	if (sb->row.state != SBX_TERMINATING)
		write_tombstone(sb, reason, call);
	else if (!sb->end_reason[0]) /* from before a restart */
		snprintf(sb->end_reason, sizeof(sb->end_reason), "%s",
			 sb->row.reason[0] ? sb->row.reason : reason);
	err_set(&gone, ERR_CONFLICT, "sandbox '%s' is being terminated",
		sb->row.id);
	err_reason(&gone, "INVALID_STATE", sb->row.id);
	leases_fail(sb, &gone);
	recover_guest_overtake(sb);
	expose_end(sb);
	if (sb->task && sb->task->kind == &task_end)
		return;
	if (sb->task) {
		sb->want_terminate = true;
		task_cancel(sb->task);
		return;
	}
	begin(sb);
}
