/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_start.c - create, resume, restore and fork: a guest comes up
 *
 * Theory of operation
 * ===================
 *
 * All four are the same steps; what differs is what the guest starts from and
 * what becomes of the sandbox when they fail: one that was created or forked
 * never was; one that was resumed is PAUSED as before, its snapshot whole; one
 * that was restored runs on as it did.
 *
 * Which guest it will be is in the database before anything is made of it, so
 * that a crash at any point leaves only what recovery finds by its row. The
 * exception is a restore of what runs: the row keeps the old guest until the
 * new one has taken over in one commit, and a guest without a row is swept.
 */
#include "engine/account.h"
#include "engine/answer.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/idle.h"
#include "engine/lease.h"
#include "engine/pool.h"
#include "engine/expose.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/spec_check.h"
#include "engine/task.h"
#include "engine/templates.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

struct fork {
	sandbox_fork_fn done;
	void *arg;
};

/* ---- steps ---- */

static void template_ready(const char *template_id, bool in_use, void *arg)
{
	struct task *t = arg;
	struct guest_plan *g = &t->guest;

	g->in_use = in_use;
	snprintf(g->template_id, sizeof(g->template_id), "%s", template_id);
	if (template_id[0])
		engine_path(t->engine, "templates", template_id,
			    g->template_dir, sizeof(g->template_dir));
	task_next(t);
}

/* The one for its image and size; none: it boots cold. */
static void need_template(struct task *t)
{
	templates_need(t->engine, t->sb, template_ready, t);
}

static bool row_follows(const struct task *t)
{
	return t->sb->row.state != SBX_RUNNING;
}

static void reserve(struct task *t)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct guest_plan *g = &t->guest;
	struct sandbox_row old = sb->row;
	struct error err;
	char clone[HV_UUID_SIZE];

	if (guest_plan_spec(g, sb, &err) < 0)
		goto fail;
	/* What the snapshot's guest was told, which may have been elsewhere. */
	if (t->snapshot)
		memcpy(g->nonce, t->snapshot->row.nonce, sizeof(g->nonce));
	g->generation = sb->row.generation + 1;
	store_begin(e->store);
	if (g->template_id[0] && pool_take(e, g->template_id, g)) {
		g->clone = true;
	} else {
		struct guest_spec sizes = g->spec;

		if (guest_plan_new(e, g, sizes.cpu, sizes.memory_mib,
				   sizes.disk_mib, sizes.image_disk,
				   sizes.image_digest, &err) < 0) {
			store_rollback(e->store);
			goto fail;
		}
	}
	snprintf(clone, sizeof(clone), "%s", g->spec.uuid);
	if (row_follows(t)) {
		snprintf(sb->row.uuid, sizeof(sb->row.uuid), "%s",
			 g->spec.uuid);
		sb->row.slot = g->slot;
		sb->slot = g->spec.slot;
		store_sandbox_put(e->store, &sb->row);
	}
	if (store_commit(e->store, &err) < 0) {
		sandbox_revert(sb, &old);
		if (g->clone)
			pool_untake(e, clone);
		else
			slots_give(&e->slots, g->slot);
		g->slot = -1;
		goto fail;
	}
	if (g->clone)
		pool_taken(e, clone);
	if (t->kind == &task_create && g->template_id[0])
		pool_asked(e, g->template_id, g->clone, g->in_use);
	task_next(t);
	return;
fail:
	task_fail(t, &err);
}

static const char *start_kind(const struct task *t)
{
	if (t->snapshot)
		return "snapshot";
	if (t->guest.clone)
		return "pool";
	return t->guest.template_id[0] ? "template" : "cold";
}

static void fill_started(struct task *t)
{
	struct sandbox *sb = t->sb;
	struct sandbox_row *row = &sb->row;
	int64_t now = loop_wall_ms();

	if (row->state != SBX_RUNNING)
		sandbox_move(sb, EV_STARTED);
	row->generation = t->guest.generation;
	row->reason[0] = '\0';
	snprintf(row->uuid, sizeof(row->uuid), "%s", t->guest.spec.uuid);
	row->slot = t->guest.slot;
	sb->slot = t->guest.spec.slot;
	snprintf(row->template_id, sizeof(row->template_id), "%s",
		 t->guest.template_id);
	snprintf(row->start_kind, sizeof(row->start_kind), "%s",
		 start_kind(t));
	memcpy(row->nonce, t->guest.new_nonce, sizeof(row->nonce));
	row->run_ms = now;
	row->run_boot_ms = loop_boot_ms();
	if (!row->started_ms)
		row->started_ms = now;
	else
		row->resumed_ms = now;
}

static void add_started_event(struct task *t, int64_t paused_ms)
{
	struct sandbox *sb = t->sb;
	char took[24], paused[24], generation[24];

	snprintf(took, sizeof(took), "%llu",
		 (unsigned long long)(loop_now_ms() - t->began_ms));
	snprintf(paused, sizeof(paused), "%lld", (long long)paused_ms);
	snprintf(generation, sizeof(generation), "%llu",
		 (unsigned long long)sb->row.generation);
	if (t->kind == &task_create || t->kind == &task_fork)
		event_add(t->engine, "sandbox.started", sb->row.id,
			  EVENT_DATA({ "startKind", sb->row.start_kind },
				     { "generation", generation },
				     { "durationMs", took }));
	else
		event_add(t->engine, "sandbox.resumed", sb->row.id,
			  EVENT_DATA({ "pausedDurationMs", paused },
				     { "startKind", sb->row.start_kind },
				     { "generation", generation },
				     { "durationMs", took }));
}

static void commit(struct task *t)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct sandbox_row old = sb->row;
	struct slot old_slot = sb->slot;
	struct answer_extra extra = { 0 };
	struct error err;
	bool resumed = t->kind == &task_resume || t->kind == &task_restore;

	store_begin(e->store);
	if (old.run_ms)
		sandbox_run_ended(sb, 0);
	else if (resumed)
		extra.paused_ms = sandbox_pause_ended(sb);
	fill_started(t);
	store_sandbox_put(e->store, &sb->row);
	if (t->snapshot)
		templates_used(e, sb->row.template_id);
	add_started_event(t, (int64_t)extra.paused_ms);
	list_for_each(&t->calls, call, struct call, wait)
		answer_call(call, sb, &extra);
	if (event_commit(e, &err) < 0) {
		sandbox_revert(sb, &old);
		sb->slot = old_slot;
		task_fail(t, &err);
		return;
	}
	idle_begin(sb);
	task_next(t);
}

/* ---- how they end ---- */

static void log_started(struct task *t)
{
	const struct log_fields f = { .sandbox_id = t->sb->row.id,
				      .request_id = task_request_id(t),
				      .message_id = LOG_ID_RUNNING };

	tally_add(&t->engine->metrics.starts, t->sb->row.start_kind, 1);
	log_line(LOG_LEVEL_INFO, &f,
		 "sandbox '%s': RUNNING (%s, generation %llu, %llu ms)",
		 t->sb->row.id, t->sb->row.start_kind,
		 (unsigned long long)t->sb->row.generation,
		 (unsigned long long)(loop_now_ms() - t->began_ms));
}

static void send_all(struct task *t)
{
	list_for_each(&t->calls, call, struct call, wait)
		call_send(call);
}

static void add_error_event(struct task *t, const struct error *err)
{
	event_add(t->engine, "sandbox.error", t->sb->row.id,
		  EVENT_DATA({ "operation", t->kind->name },
			     { "code", err_reason_of(err) },
			     { "message", err->msg }));
}

/* A sandbox that never came to be. */
static void create_ended(struct task *t, const struct error *err)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct fork *fork = t->data;
	struct error why;

	if (!err) {
		log_started(t);
		send_all(t);
		if (fork)
			fork->done(sb, NULL, fork->arg);
		return;
	}
	task_fail_calls(t, err);
	if (sb->want_terminate) { /* its tombstone stands: it ends by that */
		sb->row.uuid[0] = '\0';
		sb->row.slot = -1;
		if (fork)
			fork->done(NULL, err, fork->arg);
		return;
	}
	store_begin(e->store);
	add_error_event(t, err);
	store_sandbox_remove(e->store, sb->row.id);
	if (fork)
		store_fork_remove(e->store, sb->row.id);
	if (event_commit(e, &why) < 0)
		log_err("sandbox '%s': its row stays until the next start: %s",
			sb->row.id, why.msg);
	leases_fail(sb, err);
	t->sb = NULL;
	account_drop(sb);
	sandbox_remove(sb);
	if (fork)
		fork->done(NULL, err, fork->arg);
}

static void resume_ended(struct task *t, const struct error *err)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;
	struct error why;

	if (!err) {
		log_started(t);
		send_all(t);
		return;
	}
	if (!sb->want_terminate)
		sandbox_move(sb, EV_START_UNDONE);
	sb->row.uuid[0] = '\0';
	sb->row.slot = -1;
	store_begin(e->store);
	add_error_event(t, err);
	store_sandbox_put(e->store, &sb->row);
	if (event_commit(e, &why) < 0)
		log_err("sandbox '%s': %s", sb->row.id, why.msg);
	task_fail_calls(t, err);
	leases_fail(sb, err);
}

/* The guest that was replaced goes; or the old one goes on. */
static void restore_ended(struct task *t, const struct error *err)
{
	if (t->old && !err) {
		guest_discard(t->engine, t->old->spec.uuid, t->old->slot);
		log_started(t);
		send_all(t);
		return;
	}
	if (!t->old) {
		resume_ended(t, err);
		return;
	}
	task_fail_calls(t, err);
	agent_unlinked(t->sb);
	sandbox_reattach(t->sb);
}

static const struct step create_steps[] = {
	{ "template", need_template, NULL },
	{ "reserve", reserve, guest_slot_undo },
	{ "network", guest_net, guest_net_undo },
	{ "directory", guest_dir, guest_dir_undo },
	{ "guest", guest_start, guest_start_undo },
	{ "agent", guest_agent, guest_agent_undo },
	{ "commit", commit, NULL },
};

static const struct step resume_steps[] = {
	{ "reserve", reserve, guest_slot_undo },
	{ "network", guest_net, guest_net_undo },
	{ "directory", guest_dir, guest_dir_undo },
	{ "guest", guest_start, guest_start_undo },
	{ "agent", guest_agent, guest_agent_undo },
	{ "thaw", guest_thaw, NULL },
	{ "commit", commit, NULL },
};

#define STEPS(s) (s), sizeof(s) / sizeof((s)[0])
const struct task_kind task_create = { "create", STEPS(create_steps),
				       create_ended, false };
const struct task_kind task_fork = { "fork", STEPS(resume_steps),
				     create_ended, true };
const struct task_kind task_resume = { "resume", STEPS(resume_steps),
				       resume_ended, false };
const struct task_kind task_restore = { "restore", STEPS(resume_steps),
					restore_ended, false };

/* ---- beginnings ---- */

static void fresh_row(struct engine *e, struct sandbox_row *row, Spec *spec)
{
	uint8_t id[16];

	*row = (struct sandbox_row){
		.state = SBX_CREATING,
		.slot = -1,
		.created_ms = loop_wall_ms(),
		.created_boot_ms = (int64_t)loop_boot_ms(),
		.spec = spec,
	};
	snprintf(row->id, sizeof(row->id), "%s", spec->sandbox_id);
	snprintf(row->boot_id, sizeof(row->boot_id), "%s", e->boot_id);
	if (getrandom(row->nonce, sizeof(row->nonce), 0) !=
		    sizeof(row->nonce) ||
	    getrandom(id, sizeof(id), 0) != sizeof(id))
		abort();
	str_hex(row->machine_id, id, sizeof(id));
}

static void set_id(Spec *spec, const char *id)
{
	if (spec->sandbox_id != (char *)protobuf_c_empty_string)
		free(spec->sandbox_id);
	spec->sandbox_id = xstrdup(id);
}

/* Without a call: a fork, which is not its client's until all are there. */
static struct sandbox *add_new(struct engine *e, struct sandbox_row *row,
			       struct call *call, struct error *err)
{
	const Sandbox__Node__V1__Resources *r = row->spec->resources;
	char cpu[16], memory[16], disk[16];
	struct sandbox *sb;

	snprintf(cpu, sizeof(cpu), "%u", r->cpu);
	snprintf(memory, sizeof(memory), "%u", r->memory_mib);
	snprintf(disk, sizeof(disk), "%u", r->disk_mib);
	store_begin(e->store);
	store_sandbox_put(e->store, row);
	event_add(e, "sandbox.created", row->id,
		  EVENT_DATA({ "image", row->spec->image },
			     { "cpu", cpu }, { "memoryMib", memory },
			     { "diskMib", disk },
			     { "tenant", row->spec->tenant }));
	if (call)
		call_intent(call, row->id);
	else
		store_fork_put(e->store, row->id);
	if (event_commit(e, err) < 0) {
		if (call)
			call->intent = false;
		account_forget(e, row->spec);
		return NULL;
	}
	sb = sandbox_add(e, row);
	account_begin(sb);
	return sb;
}

int sandbox_create(struct engine *e, Spec *spec, const struct image *image,
		   struct call *call, struct error *err)
{
	enum sandbox_state there;
	struct sandbox_row row;
	struct sandbox *sb;
	struct task *t;

	if (str_empty(spec->sandbox_id)) {
		char id[OBJECT_ID_SIZE];

		engine_object_id("sb_", id);
		set_id(spec, id);
	}
	there = sandbox_state_of(&e->sandboxes, spec->sandbox_id);
	if (there) {
		err_set(err, ERR_EXISTS, "sandbox '%s' exists (%s)",
			spec->sandbox_id, sandbox_state_str(there));
		return err_reason(err, "ALREADY_EXISTS", spec->sandbox_id);
	}
	if (account_admit(e, spec, err) < 0)
		return -1;
	fresh_row(e, &row, spec);
	snprintf(row.image_digest, sizeof(row.image_digest), "%s",
		 image->digest);
	sb = add_new(e, &row, call, err);
	if (!sb)
		return -1;
	t = task_new(e, sb, &task_create);
	snprintf(t->guest.key, sizeof(t->guest.key), "%s", row.id);
	if (call)
		task_add_call(t, call);
	task_run(t);
	return 0;
}

static void from_snapshot(struct task *t, struct snapshot *snapshot)
{
	struct engine *e = t->engine;
	struct guest_plan *g = &t->guest;

	t->snapshot = snapshot;
	snapshot_use(e, snapshot);
	snprintf(g->key, sizeof(g->key), "%s", t->sb->row.id);
	snprintf(g->template_id, sizeof(g->template_id), "%s",
		 snapshot->row.template_id);
	if (g->template_id[0])
		engine_path(e, "templates", g->template_id, g->template_dir,
			    sizeof(g->template_dir));
	engine_path(e, "snapshots", snapshot->row.id, g->snapshot_dir,
		    sizeof(g->snapshot_dir));
}

int sandbox_fork(struct engine *e, struct snapshot *snapshot,
		 sandbox_fork_fn done, void *arg, struct error *err)
{
	Spec *spec = spec_copy(snapshot->row.spec);
	struct fork *fork;
	struct sandbox_row row;
	struct sandbox *sb;
	struct task *t;
	char id[OBJECT_ID_SIZE];

	engine_object_id("sb_", id);
	set_id(spec, id);
	if (account_admit(e, spec, err) < 0) {
		pb_free(spec);
		return -1;
	}
	fresh_row(e, &row, spec);
	snprintf(row.image_digest, sizeof(row.image_digest), "%s",
		 snapshot->row.image_digest);
	/* Hello knows it by what the snapshot's guest was told. */
	memcpy(row.nonce, snapshot->row.nonce, sizeof(row.nonce));
	sb = add_new(e, &row, NULL, err);
	if (!sb) {
		pb_free(spec);
		return -1;
	}
	fork = xmemdup(&(struct fork){ done, arg }, sizeof(*fork));
	t = task_new(e, sb, &task_fork);
	t->data = fork;
	from_snapshot(t, snapshot);
	task_run(t);
	return 0;
}

int sandbox_resume(struct sandbox *sb, struct call *call, struct error *err)
{
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	struct snapshot *snapshot = snapshot_find(e, sb->row.snapshot_id);
	struct task *t;

	if (sb->row.state == SBX_RESUMING && sb->task) {
		if (call)
			task_add_call(sb->task, call);
		return 0;
	}
	if (sandbox_may(sb, EV_RESUME, err) < 0 ||
	    sandbox_not_busy(sb, err) < 0)
		return -1;
	if (!snapshot)
		return err_set(err, ERR_DATA_LOSS,
			       "sandbox '%s': its snapshot '%s' is gone",
			       sb->row.id, sb->row.snapshot_id);
	if (account_resume(sb, err) < 0)
		return -1;
	if (sandbox_intend(sb, EV_RESUME, &old, call, err) < 0) {
		account_settle(sb);
		return -1;
	}
	t = task_new(e, sb, &task_resume);
	if (call)
		task_add_call(t, call);
	from_snapshot(t, snapshot);
	task_run(t);
	return 0;
}

int sandbox_restore(struct sandbox *sb, struct snapshot *snapshot,
		    struct call *call, struct error *err)
{
	struct engine *e = sb->engine;
	struct sandbox_row old = sb->row;
	struct task *t;

	if (sandbox_may(sb, EV_RESTORE, err) < 0 ||
	    sandbox_not_busy(sb, err) < 0 || account_resume(sb, err) < 0)
		return -1;
	if (sandbox_intend(sb, EV_RESTORE, &old, call, err) < 0) {
		account_settle(sb);
		return -1;
	}
	t = task_new(e, sb, &task_restore);
	if (old.state == SBX_RUNNING) {
		sandbox_measure(sb);
		t->old = xcalloc(1, sizeof(*t->old));
		guest_plan_fill(e, t->old, old.uuid, old.slot);
	}
	if (call)
		task_add_call(t, call);
	from_snapshot(t, snapshot);
	task_run(t);
	return 0;
}
