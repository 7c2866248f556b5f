/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - an ordered list of steps, each with its undo
 *
 * Theory of operation
 * ===================
 *
 * While a step's job runs, the job alone touches the guest; while none runs,
 * nobody does. There is one task a sandbox, so nothing here takes a lock.
 *
 * A daemon that dies in the middle of a task leaves the same as one that is
 * halted: engine_halt() lets no task go on. Recovery (recover.c) knows from the
 * sandbox's state in the database what was under way.
 */
#include "engine/task.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/sandbox_ops.h"

#include <stdio.h>
#include <string.h>

struct task *task_new(struct engine *e, struct sandbox *sb,
		      const struct task_kind *kind)
{
	struct task *t = xcalloc(1, sizeof(*t));

	t->engine = e;
	t->sb = sb;
	t->kind = kind;
	t->began_ms = loop_now_ms();
	laps_begin(&t->laps);
	t->guest.slot = -1;
	list_init(&t->calls);
	list_add_tail(&e->tasks, &t->link);
	if (sb)
		sb->task = t;
	return t;
}

void task_free(struct task *t)
{
	list_del(&t->link);
	sd_event_source_disable_unref(t->timer);
	guest_plan_fini(&t->guest);
	if (t->old)
		guest_plan_fini(t->old);
	free(t->old);
	if (t->kind->frees_data)
		free(t->data);
	free(t);
}

static void finish(struct task *t)
{
	struct engine *e = t->engine;
	struct sandbox *sb = t->sb;

	if (sb)
		sb->task = NULL;
	metrics_operation(&e->metrics, t->kind->name, t->cancelled,
			  t->undoing, loop_now_ms() - t->began_ms);
	laps_log(&t->laps, t->kind->name, sb ? sb->row.id : t->guest.key);
	t->kind->ended(t, t->undoing ? &t->err : NULL);
	if (t->snapshot)
		snapshot_unuse(e, t->snapshot);
	sb = t->sb;
	task_free(t);
	if (sb)
		sandbox_settled(sb);
	if (e->closing && list_empty(&e->tasks) && e->idle)
		e->idle(e->idle_arg);
}

static void run_step(struct task *t)
{
	if (t->at == t->kind->n_steps)
		finish(t);
	else
		t->kind->steps[t->at].run(t);
}

/* Undo what comes before t->at. */
static void run_undo(struct task *t)
{
	while (t->at > 0) {
		const struct step *step = &t->kind->steps[--t->at];

		if (!step->undo)
			continue;
		t->tries = 0;
		step->undo(t);
		return;
	}
	finish(t);
}

void task_run(struct task *t)
{
	run_step(t);
}

void task_next(struct task *t)
{
	if (t->engine->stopping)
		return;
	if (t->undoing) {
		run_undo(t);
		return;
	}
	laps_add(&t->laps, t->kind->steps[t->at].name);
	t->at++;
	t->tries = 0;
	if (t->cancelled && t->at < t->kind->n_steps) {
		err_set(&t->err, ERR_CANCELLED, "%s was cancelled",
			t->kind->name);
		t->undoing = true;
		run_undo(t);
		return;
	}
	run_step(t);
}

void task_fail(struct task *t, const struct error *err)
{
	if (t->engine->stopping)
		return;
	if (t->undoing) {
		task_retry(t, err);
		return;
	}
	t->err = *err;
	t->undoing = true;
	run_undo(t);
}

void task_end_step(struct task *t, const struct error *err)
{
	if (err)
		task_fail(t, err);
	else
		task_next(t);
}

static void on_later(void *arg)
{
	struct task *t = arg;

	if (!t->engine->stopping)
		t->later(t);
}

void task_later(struct task *t, uint64_t ms, void (*fn)(struct task *t))
{
	t->later = fn;
	loop_timer(t->engine->loop, &t->timer, loop_now_ms() + ms, on_later, t);
}

static void undo_again(struct task *t)
{
	t->kind->steps[t->at].undo(t);
}

void task_retry(struct task *t, const struct error *err)
{
	uint64_t wait = 200ull << (t->tries < 7 ? t->tries : 7);

	if (t->engine->stopping)
		return;
	t->tries++;
	if (!t->stuck) {
		t->stuck = true;
		log_warn("%s '%s': undoing %s: %s; trying again", t->kind->name,
			 t->sb ? t->sb->row.id : t->guest.key,
			 t->kind->steps[t->at].name, err->msg);
		task_fail_calls(t, &t->err);
	}
	task_later(t, wait, undo_again);
}

void task_cancel(struct task *t)
{
	if (t->cancelled)
		return;
	t->cancelled = true;
	t->progress.cancel = true;
	/* Whatever waits for the agent waits no longer. */
	if (t->guest.key[0] && t->engine->front)
		front_link_detach(t->engine->front, t->guest.key, "INVALID_STATE",
				  "the sandbox is being terminated",
				  guest_ignore_answer, NULL);
}

void task_add_call(struct task *t, struct call *call)
{
	list_del(&call->wait);
	list_add_tail(&t->calls, &call->wait);
}

const char *task_request_id(const struct task *t)
{
	return list_empty(&t->calls) ?
		       "" :
		       list_entry(t->calls.next, struct call, wait)->request_id;
}

void task_fail_calls(struct task *t, const struct error *err)
{
	list_for_each(&t->calls, call, struct call, wait)
		call_fail(call, err);
}
