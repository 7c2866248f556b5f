/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_life.c - what happens to a sandbox by itself: time, loss, return
 *
 * Times are told by CLOCK_BOOTTIME, which goes on while the host sleeps and
 * does not jump; the timers run on CLOCK_MONOTONIC and look again at least
 * every LOOK_AGAIN_MS, so a host that slept is late by that at most.
 */
#include "engine/account.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/hv_call.h"
#include "engine/idle.h"
#include "engine/lease.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN_MS 30000u

uint64_t sandbox_run_ended(struct sandbox *sb, uint64_t cpu_ms)
{
	uint64_t run = sandbox_run_ms(sb);

	if (!cpu_ms && sb->seen_generation == sb->row.generation)
		cpu_ms = sb->seen_cpu_ms;
	sb->row.run_ms = 0;
	sb->row.run_boot_ms = 0;
	sb->row.runtime_ms += run;
	sb->row.cpu_ms += cpu_ms;
	event_add_cost(sb, true, run, cpu_ms);
	return run;
}

uint64_t sandbox_pause_ended(struct sandbox *sb)
{
	const struct sandbox_row *row = &sb->row;
	int64_t paused = 0;

	if (!row->run_ms && row->paused_ms && row->paused_ms >= row->resumed_ms)
		paused = loop_wall_ms() - row->paused_ms;
	if (paused < 0)
		paused = 0;
	event_add_cost(sb, false, (uint64_t)paused, 0);
	return (uint64_t)paused;
}

int sandbox_not_busy(struct sandbox *sb, struct error *err)
{
	if (!sb->task)
		return 0;
	err_set(err, ERR_CONFLICT, "sandbox '%s' is %s, and a %s of it is "
		"under way", sb->row.id, sandbox_state_str(sb->row.state),
		sb->task->kind->name);
	err_reason(err, "INVALID_STATE", sb->row.id);
	if (err)
		err->retry_ms = 500;
	return -1;
}

/* ---- time ---- */

static void on_timer(void *arg)
{
	struct sandbox *sb = arg;
	struct error err;

	if (sb->engine->stopping || sb->engine->closing)
		return;
	if (sandbox_age_ms(sb) >= sb->row.spec->timeout_ms) {
		sandbox_end(sb, "TIMEOUT", NULL);
		return;
	}
	if (idle_due(sb)) {
		if (sandbox_pause(sb, NULL, &err) == 0)
			return;
		log_warn("sandbox '%s': idle, but %s", sb->row.id, err.msg);
		sandbox_touch(sb);
	}
	idle_look(sb);
	sandbox_arm(sb);
}

void sandbox_arm(struct sandbox *sb)
{
	uint64_t wait = LOOK_AGAIN_MS, age = sandbox_age_ms(sb), idle;

	switch (sb->row.state) {
	case SBX_TERMINATING:
	case SBX_TERMINATED:
		loop_timer_off(sb->timer);
		return;
	default:
		break;
	}
	if (age >= sb->row.spec->timeout_ms)
		wait = 0;
	else if (sb->row.spec->timeout_ms - age < wait)
		wait = sb->row.spec->timeout_ms - age;
	idle = idle_wait_ms(sb);
	if (idle < wait)
		wait = idle;
	loop_timer(sb->engine->loop, &sb->timer, loop_now_ms() + wait,
		   on_timer, sb);
}

void sandbox_touch(struct sandbox *sb)
{
	sb->row.busy_boot_ms = loop_boot_ms();
}

void sandbox_adopted(struct sandbox *sb)
{
	if (sb->engine->stopping)
		return;
	account_settle(sb);
	if (sb->want_terminate) {
		sb->want_terminate = false;
		sandbox_end(sb, "REQUESTED", NULL);
		return;
	}
	leases_pump(sb);
	sandbox_arm(sb);
}

void sandbox_settled(struct sandbox *sb)
{
	sandbox_touch(sb);
	sandbox_adopted(sb);
}

/* ---- loss ---- */

void sandbox_lost(struct sandbox *sb, const char *reason)
{
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	struct snapshot *last = snapshot_find(e, sb->row.snapshot_id);
	struct error err;
	char runtime[24];

	if (sandbox_fsm(sb->row.state, EV_LOST_TO_SAVED) == SBX_NONE)
		return;
	agent_unlinked(sb);
	front_link_detach(e->front, sb->row.id, "UNAVAILABLE",
			  "the guest is gone", guest_ignore_answer, NULL);
	log_id(LOG_LEVEL_WARN, LOG_ID_GUEST_LOST,
	       "sandbox '%s': its guest is gone (%s)", sb->row.id, reason);
	store_begin(e->store);
	event_add(e, "sandbox.error", sb->row.id,
		  EVENT_DATA({ "code", reason },
			     { "message", last ? "the guest is gone; back to "
						 "the last snapshot" :
						 "the guest is gone" }));
	if (last && e->config->pause_after_reboot) {
		snprintf(runtime, sizeof(runtime), "%llu",
			 (unsigned long long)sandbox_run_ended(sb, 0));
		event_add(e, "sandbox.paused", sb->row.id,
			  EVENT_DATA({ "reason", reason },
				     { "runtimeDurationMs", runtime }));
		sandbox_move(sb, EV_LOST_TO_SAVED);
		snprintf(sb->row.reason, sizeof(sb->row.reason), "%s", reason);
		sb->row.paused_ms = loop_wall_ms();
		sb->row.uuid[0] = '\0';
		sb->row.slot = -1;
		store_sandbox_put(e->store, &sb->row);
	}
	if (event_commit(e, &err) < 0) {
		log_err("sandbox '%s': %s", sb->row.id, err.msg);
		sandbox_revert(sb, &old);
	}
	if (sb->row.state == SBX_PAUSED) {
		guest_discard(e, old.uuid, old.slot);
		account_settle(sb);
		leases_pump(sb);
		sandbox_arm(sb);
		return;
	}
	sandbox_end(sb, reason, NULL);
}

/* A question about a guest, by names: its sandbox may be another's by the
 * time it is answered.
 */
struct looking {
	struct engine *engine;
	char id[SANDBOX_ID_MAX + 1];
	char uuid[HV_UUID_SIZE];
	char reason[64];
};

/* The sandbox, if it still runs that guest and nothing is done to it. */
static struct sandbox *still(const struct looking *l)
{
	struct sandbox *sb = sandbox_find(&l->engine->sandboxes, l->id);

	if (l->engine->stopping || !sb || sb->task ||
	    sb->row.state != SBX_RUNNING || strcmp(sb->row.uuid, l->uuid) != 0)
		return NULL;
	/* Saved, and not brought up again: recovery is about to. */
	return sb->row.next_snapshot[0] ? NULL : sb;
}

static void looked(struct hv_call *call, int rc, const struct error *err)
{
	struct looking *l = call->arg;
	struct sandbox *sb = still(l);

	(void)rc;
	(void)err;
	if (sb && call->life == GUEST_LIFE_GONE)
		sandbox_lost(sb, l->reason);
	free(l);
}

static struct hv_call *question(struct sandbox *sb, enum hv_call_op op,
				const char *reason, hv_call_fn done)
{
	struct looking *l = xcalloc(1, sizeof(*l));
	struct hv_call *call = xcalloc(1, sizeof(*call));
	struct guest_plan *plan = xcalloc(1, sizeof(*plan));

	l->engine = sb->engine;
	snprintf(l->id, sizeof(l->id), "%s", sb->row.id);
	snprintf(l->uuid, sizeof(l->uuid), "%s", sb->row.uuid);
	snprintf(l->reason, sizeof(l->reason), "%s", reason);
	guest_plan_fill(sb->engine, plan, sb->row.uuid, sb->row.slot);
	call->op = op;
	call->spec = plan->spec;
	call->done = done;
	call->arg = l;
	free(plan);
	return call;
}

static void ask(struct sandbox *sb, enum hv_call_op op, const char *reason,
		hv_call_fn done)
{
	struct hv_call *call = question(sb, op, reason, done);

	hv_call_start(sb->engine, call);
	free(call);
}

void sandbox_look(struct sandbox *sb, const char *reason)
{
	if (sb->row.state == SBX_RUNNING && !sb->task)
		ask(sb, HV_LIFE, reason, looked);
}

static void measured(struct hv_call *call, int rc, const struct error *err)
{
	struct looking *l = call->arg;
	struct sandbox *sb = l->engine->stopping ?
				     NULL :
				     sandbox_find(&l->engine->sandboxes, l->id);

	(void)err;
	if (rc == 0 && sb && !strcmp(sb->row.uuid, l->uuid)) {
		sb->seen_ms = loop_now_ms();
		sb->seen_generation = sb->row.generation;
		sb->seen_cpu_ms = call->cpu_ms;
		sb->seen_memory = call->memory;
	}
	free(l);
}

void sandbox_measure(struct sandbox *sb)
{
	if (sb->row.uuid[0])
		ask(sb, HV_STATS, "", measured);
}

/* ---- the agent again ---- */

static void attach_again(void *arg)
{
	struct sandbox *sb = arg;

	if (!sb->engine->stopping)
		sandbox_reattach(sb);
}

static void attach_later(struct sandbox *sb, uint64_t wait_ms)
{
	sandbox_look(sb, "GUEST_GONE");
	loop_timer(sb->engine->loop, &sb->retry, loop_now_ms() + wait_ms,
		   attach_again, sb);
}

void sandbox_link_lost(struct sandbox *sb, const char *why, bool broken)
{
	uint64_t wait = agent_lost(sb, why, broken);

	log_debug("sandbox '%s': its agent's link ended: %s", sb->row.id, why);
	if (wait)
		attach_later(sb, wait);
	else
		sandbox_reattach(sb);
}

static void reattached(struct looking *l, const struct error *err)
{
	struct sandbox *sb = still(l);

	if (sb) {
		sb->reattaching = false;
		if (err) {
			log_debug("sandbox '%s': agent: %s", sb->row.id,
				  err->msg);
			attach_later(sb, agent_unreachable(sb, err));
		} else {
			agent_linked(sb);
			leases_pump(sb);
			sandbox_arm(sb);
		}
	} else {
		sb = sandbox_find(&l->engine->sandboxes, l->id);
		if (sb)
			sb->reattaching = false;
	}
	free(l);
}

static void thawed(const struct error *err, const uint8_t *data, size_t len,
		   void *arg)
{
	(void)data;
	(void)len;
	reattached(arg, err);
}

/* Whoever froze the guest may not have lived to hear of it: front, or the
 * daemon before this one.
 */
static void attached(const struct error *err, const uint8_t *data, size_t len,
		     void *arg)
{
	Sandbox__Agent__V1__ThawRequest msg =
		SANDBOX__AGENT__V1__THAW_REQUEST__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	struct looking *l = arg;
	struct engine *e = l->engine;

	(void)data;
	if (err || !still(l)) {
		reattached(l, err);
		return;
	}
	packed = pb_pack(&msg.base, &len);
	front_link_call(e->front, l->id, "Thaw", packed, len,
			(uint32_t)e->config->agent_timeout_ms, thawed, l);
}

static void opened(struct hv_call *call, int rc, const struct error *err)
{
	struct looking *l = call->arg;
	struct sandbox *sb = still(l);
	struct guest_plan *plan;
	_cleanup_free_ uint8_t *msg = NULL;
	size_t len;

	if (!sb || rc < 0) {
		reattached(l, err->code ? err : &(struct error){ .code = 1 });
		return;
	}
	plan = xcalloc(1, sizeof(*plan));
	snprintf(plan->key, sizeof(plan->key), "%s", sb->row.id);
	plan->generation = sb->row.generation;
	memcpy(plan->nonce, sb->row.nonce, sizeof(plan->nonce));
	msg = guest_attach_message(l->engine, sb, plan, false,
				   (uint32_t)l->engine->config->agent_timeout_ms,
				   &len);
	free(plan);
	front_link_attach(l->engine->front, msg, len, TAKE_FD(call->fd),
			  attached, l);
}

void sandbox_reattach(struct sandbox *sb)
{
	if (sb->row.state != SBX_RUNNING || sb->task || sb->reattaching ||
	    sb->attached)
		return;
	sb->reattaching = true;
	ask(sb, HV_OPEN_AGENT, "", opened);
}
