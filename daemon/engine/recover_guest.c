/* SPDX-License-Identifier: Apache-2.0 */
/* recover_guest.c - at start: is the guest still there, and how?
 *
 * Theory of operation
 * ===================
 *
 * The database says what was meant; the hypervisor says what is. By state:
 *
 *	RUNNING		adopted: the agent is reached; gone: see sandbox_lost(),
 *			  but if a snapshot was being taken and verifies: PAUSED
 *			  by that, and resumed
 *	PAUSING		the guest is gone and the snapshot verifies: PAUSED
 *			the guest stands and the snapshot verifies: the same,
 *			  the guest is ended
 *			else it runs on, woken if it stands: RUNNING
 *
 * Nothing waits for anything: a hypervisor that does not answer leaves
 * sandboxes as the database has them, and is asked again. One that answers, but
 * for one guest does not say how it is (a QEMU that runs, and that it does not
 * know), is asked for a while, so that the others' recovery comes to an end: then
 * that sandbox is FAILED, and can be terminated.
 */
#include "engine/recover_guest.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/guest.h"
#include "engine/hv_call.h"
#include "engine/recover.h"
#include "engine/saves.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ask(struct sandbox *sb, enum hv_call_op op, hv_call_fn done)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));
	struct guest_plan *plan = xcalloc(1, sizeof(*plan));
	struct error err;

	if (guest_plan_of(plan, sb, &err) < 0)
		log_warn("sandbox '%s': %s", sb->row.id, err.msg);
	call->op = op;
	call->spec = plan->spec;
	if (sb->row.next_snapshot[0])
		engine_path(sb->engine, "snapshots", sb->row.next_snapshot,
			    call->snapshot_dir, sizeof(call->snapshot_dir));
	call->done = done;
	call->arg = sb;
	hv_call_start(sb->engine, call);
	guest_plan_fini(plan);
	free(plan);
	free(call);
}

/* Whether terminate came first: then that is all there is to do. */
static bool overtaken(struct sandbox *sb)
{
	if (sb->row.state == SBX_RUNNING || sb->row.state == SBX_PAUSING)
		return false;
	recover_decided(sb->engine);
	return true;
}

static void runs_on(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	struct error err;

	if (sb->row.next_snapshot[0]) {
		log_info("sandbox '%s': was being saved, runs on", sb->row.id);
		engine_trash(e, "snapshots", sb->row.next_snapshot);
		if (sb->row.state == SBX_PAUSING)
			sandbox_move(sb, EV_SAVE_UNDONE);
		sb->row.next_snapshot[0] = '\0';
		store_begin(e->store);
		store_sandbox_put(e->store, &sb->row);
		if (event_commit(e, &err) < 0)
			log_err("sandbox '%s': %s", sb->row.id, err.msg);
	}
	recover_decided(e);
	sandbox_reattach(sb);
	sandbox_adopted(sb);
}

static void add_pause_answer(struct sandbox *sb,
			     const struct answer_extra *extra)
{
	struct engine *e = sb->engine;
	Sandbox__Node__V1__PauseSandboxResponse r =
		SANDBOX__NODE__V1__PAUSE_SANDBOX_RESPONSE__INIT;
	char request_id[REQUEST_ID_MAX + 1];
	struct sandbox_view view;
	uint8_t *packed;
	size_t len;

	if (!store_request_pending(e->store, "PauseSandbox", sb->row.id,
				   request_id))
		return;
	r.sandbox = answer_sandbox(&view, sb, true);
	r.runtime_duration_ms = extra->runtime_ms;
	packed = pb_pack(&r.base, &len);
	store_request_answer(e->store, request_id, packed, len);
	free(packed);
}

static void is_paused(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	struct snapshot *last = snapshot_find(e, sb->row.snapshot_id);
	bool ran_on = sb->row.state == SBX_RUNNING;
	struct sandbox_row old = sb->row;
	struct answer_extra extra = { 0 };
	struct snapshot_row row;
	struct error err;
	char runtime[24];

	log_info("sandbox '%s': was being saved, is PAUSED", sb->row.id);
	if (ran_on)
		sandbox_move(sb, EV_PAUSE);
	snapshot_row_of(sb, sb->row.next_snapshot, &row);
	row.internal = true;
	store_begin(e->store);
	store_snapshot_put(e->store, &row);
	if (last)
		store_snapshot_remove(e->store, last->row.id);
	sandbox_move(sb, EV_SAVED);
	extra.runtime_ms = sandbox_run_ended(sb, 0);
	snprintf(runtime, sizeof(runtime), "%llu",
		 (unsigned long long)extra.runtime_ms);
	snprintf(sb->row.snapshot_id, sizeof(sb->row.snapshot_id), "%s",
		 row.id);
	sb->row.next_snapshot[0] = '\0';
	sb->row.uuid[0] = '\0';
	sb->row.slot = -1;
	sb->row.paused_ms = loop_wall_ms();
	store_sandbox_put(e->store, &sb->row);
	event_add(e, "sandbox.paused", sb->row.id,
		  EVENT_DATA({ "reason", "NODE_RESTARTED" },
			     { "runtimeDurationMs", runtime }));
	if (!ran_on)
		add_pause_answer(sb, &extra);
	if (event_commit(e, &err) < 0)
		log_err("sandbox '%s': %s", sb->row.id, err.msg);
	snapshot_add(e, &row);
	snapshot_drop(e, last);
	guest_discard(e, old.uuid, old.slot);
	recover_decided(e);
	sandbox_settled(sb);
	if (ran_on && sb->row.state == SBX_PAUSED &&
	    sandbox_resume(sb, NULL, &err) < 0)
		log_warn("sandbox '%s': stays PAUSED: %s", sb->row.id, err.msg);
}

static void woken(struct hv_call *call, int rc, const struct error *err)
{
	struct sandbox *sb = call->arg;

	if (sb->engine->stopping || overtaken(sb))
		return;
	if (rc < 0)
		log_warn("sandbox '%s': cannot be woken: %s", sb->row.id,
			 err->msg);
	runs_on(sb);
}

static void gone(struct sandbox *sb)
{
	const char *why = sb->engine->rebooted ? "HOST_REBOOT" : "GUEST_GONE";

	if (sb->row.next_snapshot[0])
		engine_trash(sb->engine, "snapshots", sb->row.next_snapshot);
	sb->row.next_snapshot[0] = '\0';
	recover_decided(sb->engine);
	sandbox_lost(sb, why);
}

static void verified_stopped(struct hv_call *call, int rc,
			     const struct error *err)
{
	struct sandbox *sb = call->arg;

	(void)err;
	if (sb->engine->stopping || overtaken(sb))
		return;
	if (rc == 0)
		is_paused(sb);
	else
		ask(sb, HV_WAKE, woken);
}

static void verified_gone(struct hv_call *call, int rc,
			  const struct error *err)
{
	struct sandbox *sb = call->arg;

	(void)err;
	if (sb->engine->stopping || overtaken(sb))
		return;
	if (rc == 0)
		is_paused(sb);
	else
		gone(sb);
}

void recover_guest_saved(struct sandbox *sb)
{
	sb->engine->recovering++;
	ask(sb, HV_VERIFY, verified_gone);
}

static void ask_again(void *arg);

/* Only while the hypervisor speaks to us at all. */
static bool is_given_up(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	uint64_t now = loop_now_ms();

	if (!e->hv_up)
		sb->unknown_ms = 0;
	else if (!sb->unknown_ms)
		sb->unknown_ms = now;
	return sb->unknown_ms && now - sb->unknown_ms >= e->recover_give_up_ms;
}

static void is_broken(struct sandbox *sb)
{
	static const char why[] = "libvirt does not know its guest, which may "
				  "still run";
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	const struct log_fields fields = { .sandbox_id = sb->row.id,
					   .message_id = LOG_ID_GUEST_LOST };
	struct error err;

	store_begin(e->store);
	sandbox_run_ended(sb, 0);
	sandbox_move(sb, EV_BROKEN);
	snprintf(sb->row.reason, sizeof(sb->row.reason), "%s", why);
	store_sandbox_put(e->store, &sb->row);
	event_add(e, "sandbox.error", sb->row.id,
		  EVENT_DATA({ "code", "UNAVAILABLE" }, { "message", why }));
	if (event_commit(e, &err) < 0) {
		log_err("sandbox '%s': %s", sb->row.id, err.msg);
		sandbox_revert(sb, &old);
		loop_timer(e->loop, &sb->recovery, loop_now_ms() + RECOVER_ASK_AGAIN_MS,
			   ask_again, sb);
		return;
	}
	log_line(LOG_LEVEL_ERR, &fields, "sandbox '%s': FAILED: %s",
		 sb->row.id, why);
	recover_decided(e);
	sandbox_adopted(sb);
}

/* What its clients can use is no failure yet. */
static void give_up(struct sandbox *sb)
{
	if (sb->row.state != SBX_RUNNING || sb->row.next_snapshot[0] ||
	    !sb->attached) {
		is_broken(sb);
		return;
	}
	log_warn("sandbox '%s': libvirt does not know its guest, but its agent "
		 "answers", sb->row.id);
	runs_on(sb);
}

static void told_life(struct hv_call *call, int rc, const struct error *err)
{
	struct sandbox *sb = call->arg;
	struct engine *e = sb->engine;
	bool pausing = sb->row.state == SBX_PAUSING;

	(void)rc;
	(void)err;
	if (e->stopping || overtaken(sb))
		return;
	switch (e->rebooted ? GUEST_LIFE_GONE : call->life) {
	case GUEST_LIFE_UNKNOWN:
		if (is_given_up(sb)) {
			give_up(sb);
			break;
		}
		loop_timer(e->loop, &sb->recovery, loop_now_ms() + RECOVER_ASK_AGAIN_MS,
			   ask_again, sb);
		break;
	case GUEST_LIFE_GONE:
		/* A host that went down meanwhile took what ran on with it. */
		if (pausing || (sb->row.next_snapshot[0] && !e->rebooted))
			ask(sb, HV_VERIFY, verified_gone);
		else
			gone(sb);
		break;
	case GUEST_LIFE_RUNNING:
		runs_on(sb);
		break;
	case GUEST_LIFE_STOPPED:
		ask(sb, pausing ? HV_VERIFY : HV_WAKE,
		    pausing ? verified_stopped : woken);
		break;
	}
}

static void ask_again(void *arg)
{
	struct sandbox *sb = arg;

	if (!sb->engine->stopping && !overtaken(sb))
		ask(sb, HV_LIFE, told_life);
}

void recover_guest_overtake(struct sandbox *sb)
{
	if (sb->recovery && sd_event_source_get_enabled(sb->recovery, NULL) > 0)
		loop_timer(sb->engine->loop, &sb->recovery, loop_now_ms(),
			   ask_again, sb);
}

void recover_guest_begin(struct sandbox *sb)
{
	sb->engine->recovering++;
	ask(sb, HV_LIFE, told_life);
}

/* ---- guests that are gone ---- */

static void told_list(struct hv_call *call, int rc, const struct error *err)
{
	struct engine *e = call->arg;

	(void)err;
	if (e->stopping || rc < 0)
		return;
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		bool there = false;

		for (int i = 0; i < call->n && !there; i++)
			there = !strcmp(call->list[i], sb->row.uuid);
		if (!there && sb->row.uuid[0])
			sandbox_look(sb, "GUEST_GONE");
	}
}

void recover_guest_look_at_all(struct engine *e)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_LIST;
	call->done = told_list;
	call->arg = e;
	hv_call_start(e, call);
	free(call);
}
