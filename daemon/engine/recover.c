/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - at start: what the last daemon left, finished or undone
 *
 * Theory of operation
 * ===================
 *
 * The database says what was meant; the hypervisor says what is. By state:
 *
 *	CREATING	undone: it never was
 *	RUNNING		adopted: rules, then the agent; gone: see sandbox_lost(),
 *			  but if a snapshot was being taken and verifies: PAUSED
 *			  by that, and resumed
 *	PAUSING		the guest is gone and the snapshot verifies: PAUSED
 *			the guest stands and the snapshot verifies: the same,
 *			  the guest is ended
 *			else it runs on, woken if it stands: RUNNING
 *	PAUSED		nothing
 *	RESUMING	undone: PAUSED
 *	TERMINATING	goes on ending
 *
 * Nothing waits for anything: a hypervisor that does not answer leaves
 * sandboxes as the database has them, and is asked again. One that answers, but
 * for one guest does not say how it is (a QEMU that runs, and that it does not
 * know), is asked for a while, so that the others' recovery comes to an end: then
 * that sandbox is FAILED, and can be terminated.
 */
#include "engine/recover.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/account.h"
#include "engine/answer.h"
#include "engine/damaged.h"
#include "engine/ended.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/expose.h"
#include "engine/guest.h"
#include "engine/hv_call.h"
#include "engine/pool.h"
#include "engine/saves.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/sweep.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ASK_AGAIN_MS 500

/* ---- reading ---- */

static void take_sandbox(const struct sandbox_row *row, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb;

	if (row->state == SBX_TERMINATED) {
		ended_add(&e->sandboxes, e->sandboxes.next_order++, row);
		pb_free(row->spec);
		return;
	}
	sb = sandbox_add(e, row);
	if (e->rebooted) /* that clock began anew */
		sb->row.run_boot_ms = 0;
	if (sb->row.slot >= 0) {
		net_slot(e->net, (uint32_t)sb->row.slot, e->config->uid_base,
			 e->hv->info.vsock ? e->config->cid_base : 0,
			 &sb->slot);
		if (!slots_take_this(&e->slots, sb->row.slot))
			log_warn("sandbox '%s': slot %lld is another's, or "
				 "beyond [network] range",
				 sb->row.id, (long long)sb->row.slot);
	}
	account_adopt(sb);
}

static void take_snapshot(const struct snapshot_row *row, void *arg)
{
	snapshot_add(arg, row);
}

static void take_template(const struct template_row *row, void *arg)
{
	template_restore(arg, row);
}

static void take_port(const struct port_row *row, void *arg)
{
	expose_restore(arg, row);
}

/* The pool's rows are few; kept while the hypervisor is asked. */
struct clones {
	struct engine *engine;
	struct pool_row *rows;
	size_t n;
};

static void take_clone(const struct pool_row *row, void *arg)
{
	struct clones *c = arg;

	c->rows = xrealloc(c->rows, c->n + 1, sizeof(*c->rows));
	c->rows[c->n++] = *row;
}

/* ---- what was done for nobody ---- */

static void end_fork(const char *sandbox_id, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_find(&e->sandboxes, sandbox_id);

	/* One that was being created is undone like any other. */
	if (sb && sb->row.state != SBX_CREATING)
		sandbox_end(sb, "FORK_FAILED", NULL);
}

/* A fork is its client's once all of them are there and the answer is kept. */
static void end_unfinished_forks(struct engine *e)
{
	struct error err;

	if (store_forks(e->store, end_fork, e, &err) == 0) {
		store_begin(e->store);
		store_forks_clear(e->store);
		if (store_commit(e->store, &err) == 0)
			return;
	}
	log_err("unfinished forks: %s", err.msg);
}

/* Those that a fork was to start from. */
static void drop_idle_snapshots(struct engine *e)
{
	struct snapshot *last;
	struct error err;

	if (e->damaged)
		return;
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		last = snapshot_find(e, sb->row.snapshot_id);
		if (last)
			last->resumable = true;
	}
	list_for_each(&e->snapshots, s, struct snapshot, link) {
		if (!s->row.internal || s->resumable)
			continue;
		store_begin(e->store);
		store_snapshot_remove(e->store, s->row.id);
		if (store_commit(e->store, &err) < 0)
			log_err("snapshot '%s': %s", s->row.id, err.msg);
		else
			snapshot_drop(e, s);
	}
}

/* ---- rules ---- */

static bool has_guest(const struct sandbox *sb)
{
	return sb->row.slot >= 0 && (sb->row.state == SBX_RUNNING ||
				     sb->row.state == SBX_PAUSING);
}

static void keep_rules(struct engine *e, struct sandbox *sb)
{
	struct guest_plan *plan = xcalloc(1, sizeof(*plan));
	struct error err;

	if (guest_plan_of(plan, sb, &err) < 0 ||
	    net_attach(e->net, &sb->slot, sb->row.generation, &plan->policy,
		       &plan->limits, &err) < 0)
		log_err("sandbox '%s': its network: %s", sb->row.id, err.msg);
	guest_plan_fini(plan);
	free(plan);
}

static void keep_clone_rules(struct engine *e, const struct pool_row *row)
{
	struct slot slot;
	struct error err;

	if (row->slot < 0 || !slots_take_this(&e->slots, row->slot))
		return;
	net_slot(e->net, (uint32_t)row->slot, e->config->uid_base,
		 e->hv->info.vsock ? e->config->cid_base : 0, &slot);
	if (net_attach(e->net, &slot, 1, NULL, NULL, &err) < 0)
		log_warn("clone '%s': its network: %s", row->uuid, err.msg);
}

/* ---- one at a time ---- */

static void decided(struct engine *e)
{
	if (--e->recovering > 0)
		return;
	if (!e->swept)
		log_info("recovery is through: %zu sandboxes",
			 e->sandboxes.n + e->sandboxes.n_ended);
	if (e->hv_up)
		sweep_unknown(e);
	pool_refill(e);
}

/* Its row is written; what it leaves on the host goes on its own. */
static void undo_create(struct engine *e, struct sandbox *sb)
{
	char uuid[HV_UUID_SIZE], request_id[REQUEST_ID_MAX + 1];
	int64_t slot = sb->row.slot;
	struct error err;

	snprintf(uuid, sizeof(uuid), "%s", sb->row.uuid);
	log_info("sandbox '%s': was being created, is undone", sb->row.id);
	store_begin(e->store);
	event_add(e, "sandbox.error", sb->row.id,
		  EVENT_DATA({ "operation", "create" },
			     { "code", "UNAVAILABLE" },
			     { "message", "the node was restarted" }));
	store_sandbox_remove(e->store, sb->row.id);
	if (store_request_pending(e->store, "CreateSandbox", sb->row.id,
				  request_id))
		store_request_remove(e->store, request_id);
	if (event_commit(e, &err) < 0)
		log_err("sandbox '%s': %s", sb->row.id, err.msg);
	account_drop(sb);
	sandbox_remove(sb);
	if (uuid[0])
		guest_discard(e, uuid, slot);
}

static void undo_resume(struct engine *e, struct sandbox *sb)
{
	char uuid[HV_UUID_SIZE];
	int64_t slot = sb->row.slot;
	struct error err;

	snprintf(uuid, sizeof(uuid), "%s", sb->row.uuid);
	log_info("sandbox '%s': was being resumed, is PAUSED", sb->row.id);
	sandbox_move(sb, EV_START_UNDONE);
	sb->row.uuid[0] = '\0';
	sb->row.slot = -1;
	store_begin(e->store);
	store_sandbox_put(e->store, &sb->row);
	if (event_commit(e, &err) < 0)
		log_err("sandbox '%s': %s", sb->row.id, err.msg);
	if (uuid[0])
		guest_discard(e, uuid, slot);
	sandbox_settled(sb);
}

/* ---- PAUSING, and RUNNING guests that stand still ---- */

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
	decided(sb->engine);
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
	decided(e);
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
	decided(e);
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
	decided(sb->engine);
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

void recover_saved(struct sandbox *sb)
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
		loop_timer(e->loop, &sb->recovery, loop_now_ms() + ASK_AGAIN_MS,
			   ask_again, sb);
		return;
	}
	log_line(LOG_LEVEL_ERR, &fields, "sandbox '%s': FAILED: %s",
		 sb->row.id, why);
	decided(e);
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
		loop_timer(e->loop, &sb->recovery, loop_now_ms() + ASK_AGAIN_MS,
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

void recover_overtake(struct sandbox *sb)
{
	if (sb->recovery && sd_event_source_get_enabled(sb->recovery, NULL) > 0)
		loop_timer(sb->engine->loop, &sb->recovery, loop_now_ms(),
			   ask_again, sb);
}

static void begin_one(struct engine *e, struct sandbox *sb)
{
	switch (sb->row.state) {
	case SBX_CREATING:
		undo_create(e, sb);
		break;
	case SBX_RESUMING:
		undo_resume(e, sb);
		break;
	case SBX_RUNNING:
	case SBX_PAUSING:
		e->recovering++;
		ask(sb, HV_LIFE, told_life);
		break;
	case SBX_TERMINATING:
		sandbox_end(sb, "REQUESTED", NULL);
		break;
	default:
		sandbox_arm(sb);
		break;
	}
}

/* ---- the pool ---- */

/* A clone that waited before: does it still? */
struct clone_question {
	struct list link;
	struct engine *engine;
	struct pool_row row;
	sd_event_source *again;
};

static void clone_question_free(struct clone_question *q)
{
	list_del(&q->link);
	sd_event_source_disable_unref(q->again);
	free(q);
}

static void ask_clone(void *arg);

static void told_clone(struct hv_call *call, int rc, const struct error *err)
{
	struct clone_question *q = call->arg;
	struct engine *e = q->engine;

	(void)rc;
	(void)err;
	if (e->stopping)
		return; /* recover_free() */
	if (call->life == GUEST_LIFE_UNKNOWN && !e->rebooted) {
		loop_timer(e->loop, &q->again, loop_now_ms() + ASK_AGAIN_MS,
			   ask_clone, q);
		return;
	}
	pool_restore(e, &q->row,
		     call->life == GUEST_LIFE_STOPPED && !e->rebooted &&
			     !q->row.damaged);
	clone_question_free(q);
	decided(e);
}

static void ask_clone(void *arg)
{
	struct clone_question *q = arg;
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_LIFE;
	snprintf(call->spec.uuid, sizeof(call->spec.uuid), "%s", q->row.uuid);
	call->done = told_clone;
	call->arg = q;
	hv_call_start(q->engine, call);
	free(call);
}

static void begin_clone(struct engine *e, const struct pool_row *row)
{
	struct clone_question *q = xcalloc(1, sizeof(*q));

	q->engine = e;
	q->row = *row;
	list_add_tail(&e->clone_questions, &q->link);
	e->recovering++;
	ask_clone(q);
}

void recover_free(struct engine *e)
{
	list_for_each (&e->clone_questions, q, struct clone_question, link)
		clone_question_free(q);
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

void recover_look_at_all(struct engine *e)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_LIST;
	call->done = told_list;
	call->arg = e;
	hv_call_start(e, call);
	free(call);
}

int recover_begin(struct engine *e, struct error *err)
{
	struct clones clones = { .engine = e };
	struct error why;

	if (store_sandboxes(e->store, take_sandbox, e, err) < 0 ||
	    store_snapshots(e->store, take_snapshot, e, err) < 0 ||
	    store_templates(e->store, take_template, e, err) < 0 ||
	    store_ports(e->store, take_port, e, err) < 0 ||
	    store_pool(e->store, take_clone, &clones, err) < 0 ||
	    damaged_tell(e, err) < 0) {
		free(clones.rows);
		return -1;
	}
	if (e->damaged)
		damaged_mend(e);
	net_gather(e->net);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		if (has_guest(sb) && !e->rebooted)
			keep_rules(e, sb);
	for (size_t i = 0; i < clones.n; i++)
		keep_clone_rules(e, &clones.rows[i]);
	if (net_sweep(e->net, &why) < 0)
		log_err("network of guests that are gone: %s", why.msg);
	end_unfinished_forks(e);
	drop_idle_snapshots(e);
	templates_drop_orphans(e);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		begin_one(e, sb);
	for (size_t i = 0; i < clones.n; i++)
		begin_clone(e, &clones.rows[i]);
	free(clones.rows);
	return 0;
}
