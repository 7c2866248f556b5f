/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_save.c - pause and snapshot: a running guest is written to disk
 *
 * Theory of operation
 * ===================
 *
 * The hypervisor's save is the point of no return of a pause: before it has
 * returned, the guest runs on whatever fails; after, it is gone and the files
 * are whole. So the commit that follows is not allowed to fail, only to take
 * longer; and a crash in between is recognised at the next start, when the row
 * says PAUSING, the guest is gone and row.next_snapshot verifies.
 *
 * The snapshot before is deleted only after the commit of the new one.
 *
 * A snapshot of what runs on may end the guest as well, for a moment: libvirt's
 * save does, and a chain of disk layers that got too long. Its row names
 * next_snapshot too, so that whoever finds no guest knows where it is.
 */
#include "engine/answer.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/hv_call.h"
#include "engine/lease.h"
#include "engine/quota.h"
#include "engine/recover_guest.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"

#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* Of a snapshot task: what it is to become, and who hears. */
struct snapping {
	char id[OBJECT_ID_SIZE];
	char name[65];
	bool internal;
	struct snapshot *made;
	sandbox_snapshot_fn done;
	void *arg;
};

static void saved(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	t->bytes = call->bytes;
	t->cpu_ms = call->cpu_ms;
	t->stopped_ms = loop_now_ms() - t->stopped_ms;
	task_end_step(t, rc < 0 ? err : NULL);
}

static void save(struct task *t, bool keep_running)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_SAVE;
	call->spec = t->guest.spec;
	memcpy(call->template_dir, t->guest.template_dir,
	       sizeof(call->template_dir));
	memcpy(call->snapshot_dir, t->guest.snapshot_dir,
	       sizeof(call->snapshot_dir));
	call->flag = keep_running;
	call->progress = &t->progress;
	call->done = saved;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

static void save_and_end(struct task *t)
{
	save(t, false);
}

static void save_and_go_on(struct task *t)
{
	save(t, true);
}

/* ---- pause ---- */

static void fill_paused(struct task *t, struct answer_extra *extra)
{
	struct sandbox *sb = t->sb;
	char runtime[24], bytes[24];

	if (sb->row.state == SBX_PAUSING)
		sandbox_move(sb, EV_SAVED);
	extra->runtime_ms = sandbox_run_ended(sb, t->cpu_ms);
	extra->snapshot_bytes = t->bytes;
	snprintf(sb->row.snapshot_id, sizeof(sb->row.snapshot_id), "%s",
		 sb->row.next_snapshot);
	sb->row.next_snapshot[0] = '\0';
	sb->row.uuid[0] = '\0';
	sb->row.slot = -1;
	sb->row.paused_ms = loop_wall_ms();
	snprintf(runtime, sizeof(runtime), "%llu",
		 (unsigned long long)extra->runtime_ms);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)t->bytes);
	event_add(t->engine, "sandbox.paused", sb->row.id,
		  EVENT_DATA({ "runtimeDurationMs", runtime },
			     { "snapshotBytes", bytes },
			     { "reason", t->calls.next == &t->calls ?
						 "IDLE" : "REQUESTED" }));
}

static void commit_pause(struct task *t)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct sandbox_row old = sb->row;
	struct snapshot *last = snapshot_find(e, old.snapshot_id);
	struct snapshot_row row;
	struct answer_extra extra = { 0 };
	struct error err;

	if (sb->want_terminate) { /* TERMINATING: its files go with it */
		task_next(t);
		return;
	}
	snapshot_row_of(sb, sb->row.next_snapshot, &row);
	row.internal = true;
	row.size_bytes = t->bytes;
	store_begin(e->store);
	store_snapshot_put(e->store, &row);
	if (last)
		store_snapshot_remove(e->store, last->row.id);
	fill_paused(t, &extra);
	store_sandbox_put(e->store, &sb->row);
	list_for_each(&t->calls, call, struct call, wait)
		answer_call(call, sb, &extra);
	if (event_commit(e, &err) < 0) {
		sandbox_revert(sb, &old);
		pb_free(row.spec);
		if (t->tries++ == 0)
			log_err("sandbox '%s': saved, but %s; trying again",
				sb->row.id, err.msg);
		task_later(t, 500, commit_pause);
		return;
	}
	snapshot_add(e, &row);
	snapshot_drop(e, last);
	task_next(t);
}

static void pause_failed(struct task *t, const struct error *err)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct error why;

	engine_trash(e, "snapshots", sb->row.next_snapshot);
	sb->row.next_snapshot[0] = '\0';
	if (!sb->want_terminate)
		sandbox_move(sb, EV_SAVE_UNDONE);
	store_begin(e->store);
	event_add(e, "sandbox.error", sb->row.id,
		  EVENT_DATA({ "operation", "pause" },
			     { "code", err_reason_of(err) },
			     { "message", err->msg }));
	store_sandbox_put(e->store, &sb->row);
	if (event_commit(e, &why) < 0)
		log_err("sandbox '%s': %s", sb->row.id, why.msg);
	task_fail_calls(t, err);
	sandbox_touch(sb);
}

static void pause_ended(struct task *t, const struct error *err)
{
	struct sandbox *sb = t->sb;
	const struct log_fields f = { .sandbox_id = sb->row.id,
				      .request_id = task_request_id(t),
				      .message_id = LOG_ID_PAUSED };

	if (err) {
		pause_failed(t, err);
		if (t->lost && !sb->want_terminate)
			sandbox_lost(sb, "GUEST_GONE");
		else if (!sb->attached && sb->row.state == SBX_RUNNING)
			sandbox_reattach(sb);
		return;
	}
	guest_forget(t->engine, t->guest.spec.uuid, t->guest.slot);
	if (sb->want_terminate) {
		struct error gone;

		err_set(&gone, ERR_CONFLICT, "sandbox '%s' was terminated",
			sb->row.id);
		engine_trash(t->engine, "snapshots", sb->row.next_snapshot);
		sb->row.uuid[0] = '\0';
		sb->row.slot = -1;
		task_fail_calls(t, &gone);
		return;
	}
	log_line(LOG_LEVEL_INFO, &f, "sandbox '%s': PAUSED (%llu ms, %llu "
		 "bytes)", sb->row.id,
		 (unsigned long long)(loop_now_ms() - t->began_ms),
		 (unsigned long long)t->bytes);
	list_for_each(&t->calls, call, struct call, wait)
		call_send(call);
}

static const struct step pause_steps[] = {
	{ "freeze", guest_freeze, guest_freeze_undo },
	{ "detach", guest_detach, guest_detach_undo },
	{ "save", save_and_end, NULL },
	{ "commit", commit_pause, NULL },
};

const struct task_kind task_pause = { "pause", pause_steps, 4, pause_ended,
				      false };

static int not_reachable(struct sandbox *sb, struct error *err)
{
	if (sb->attached)
		return 0;
	err_set(err, ERR_UNAVAILABLE,
		"the agent of sandbox '%s' does not answer now", sb->row.id);
	if (err)
		err->retry_ms = 1000;
	return -1;
}

int sandbox_pause(struct sandbox *sb, struct call *call, struct error *err)
{
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	struct task *t;

	if (sb->row.state == SBX_PAUSING && sb->task &&
	    !sb->task->undoing) {
		if (call)
			task_add_call(sb->task, call);
		return 0;
	}
	if (sandbox_may(sb, EV_PAUSE, err) < 0 ||
	    sandbox_not_busy(sb, err) < 0 || not_reachable(sb, err) < 0 ||
	    quota_check_disk(e->quota, e->config->state_dir, err) < 0)
		return -1;
	t = task_new(e, sb, &task_pause);
	if (guest_plan_of(&t->guest, sb, err) < 0)
		goto fail;
	engine_object_id("snap_", sb->row.next_snapshot);
	if (sandbox_intend(sb, EV_PAUSE, &old, call, err) < 0)
		goto fail;
	engine_path(e, "snapshots", sb->row.next_snapshot,
		    t->guest.snapshot_dir, sizeof(t->guest.snapshot_dir));
	if (call)
		task_add_call(t, call);
	task_run(t);
	return 0;
fail:
	sb->task = NULL;
	task_free(t);
	return -1;
}

/* ---- snapshot ---- */

/* Link and processes come back before the row is written: whatever happens to
 * the row, the guest runs on.
 */
static void go_on(struct task *t)
{
	guest_detach_undo(t);
}

static void thaw(struct task *t)
{
	guest_freeze_undo(t);
}

static void commit_snapshot(struct task *t)
{
	struct engine *e = t->engine;
	struct snapping *s = t->data;
	struct sandbox_row *own = &t->sb->row;
	struct snapshot_row row;
	struct error err;

	snapshot_row_of(t->sb, s->id, &row);
	own->next_snapshot[0] = '\0';
	snprintf(row.name, sizeof(row.name), "%s", s->name);
	row.internal = s->internal;
	row.size_bytes = t->bytes;
	s->made = snapshot_add(e, &row);
	store_begin(e->store);
	store_snapshot_put(e->store, &row);
	store_sandbox_put(e->store, own);
	list_for_each(&t->calls, call, struct call, wait) {
		Sandbox__Node__V1__CreateSnapshotResponse r =
			SANDBOX__NODE__V1__CREATE_SNAPSHOT_RESPONSE__INIT;
		struct snapshot_view view;

		r.snapshot = answer_snapshot(&view, s->made);
		r.stopped_ms = (uint32_t)t->stopped_ms;
		call_answer(call, &r.base);
	}
	if (event_commit(e, &err) < 0) {
		snapshot_drop(e, s->made);
		s->made = NULL;
		memcpy(own->next_snapshot, s->id, sizeof(s->id));
		task_fail(t, &err);
		return;
	}
	task_next(t);
}

static void forget_next(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	struct error err;

	if (!sb->row.next_snapshot[0])
		return;
	engine_trash(e, "snapshots", sb->row.next_snapshot);
	sb->row.next_snapshot[0] = '\0';
	store_begin(e->store);
	store_sandbox_put(e->store, &sb->row);
	if (store_commit(e->store, &err) < 0)
		log_warn("sandbox '%s': %s", sb->row.id, err.msg);
}

static void save_undo(struct task *t)
{
	forget_next(t->sb);
	task_next(t);
}

static void snapshot_ended(struct task *t, const struct error *err)
{
	struct snapping *s = t->data;
	struct sandbox *sb = t->sb;

	if (err)
		task_fail_calls(t, err);
	else
		list_for_each(&t->calls, call, struct call, wait)
			call_send(call);
	if (s->made)
		snapshot_use(t->engine, s->made);
	if (s->done)
		s->done(s->made, (uint32_t)t->stopped_ms, err, s->arg);
	if (s->made)
		snapshot_unuse(t->engine, s->made);
	if (t->lost && !sb->want_terminate && sb->row.next_snapshot[0]) {
		recover_guest_saved(sb); /* it may be all there, just not running */
		return;
	}
	forget_next(sb);
	if (t->lost && !sb->want_terminate)
		sandbox_lost(sb, "GUEST_GONE");
	else if (!sb->attached && sb->row.state == SBX_RUNNING)
		sandbox_reattach(sb);
}

static const struct step snapshot_steps[] = {
	{ "freeze", guest_freeze, guest_freeze_undo },
	{ "detach", guest_detach, guest_detach_undo },
	{ "save", save_and_go_on, save_undo },
	{ "attach", go_on, NULL },
	{ "thaw", thaw, NULL },
	{ "commit", commit_snapshot, NULL },
};

const struct task_kind task_snapshot = { "snapshot", snapshot_steps, 6,
					 snapshot_ended, true };

int sandbox_snapshot(struct sandbox *sb, const char *name, bool internal,
		     struct call *call, sandbox_snapshot_fn done, void *arg,
		     struct error *err)
{
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	struct snapping *s;
	struct task *t;

	if (sandbox_may(sb, EV_SNAPSHOT, err) < 0 ||
	    sandbox_not_busy(sb, err) < 0 || not_reachable(sb, err) < 0 ||
	    quota_check_disk(e->quota, e->config->state_dir, err) < 0)
		return -1;
	if (snapshot_name_taken(e, sb->row.id, name)) {
		err_set(err, ERR_EXISTS,
			"sandbox '%s' has a snapshot '%s' already",
			sb->row.id, name);
		return err_reason(err, "ALREADY_EXISTS", "name");
	}
	t = task_new(e, sb, &task_snapshot);
	if (guest_plan_of(&t->guest, sb, err) < 0)
		goto fail;
	engine_object_id("snap_", sb->row.next_snapshot);
	if (sandbox_intend(sb, EV_SNAPSHOT, &old, NULL, err) < 0)
		goto fail;
	s = xcalloc(1, sizeof(*s));
	memcpy(s->id, sb->row.next_snapshot, sizeof(s->id));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->internal = internal;
	s->done = done;
	s->arg = arg;
	t->data = s;
	snprintf(t->text, sizeof(t->text), "UNAVAILABLE");
	engine_path(e, "snapshots", s->id, t->guest.snapshot_dir,
		    sizeof(t->guest.snapshot_dir));
	if (call)
		task_add_call(t, call);
	task_run(t);
	return 0;
fail:
	sb->task = NULL;
	task_free(t);
	return -1;
}
