/* SPDX-License-Identifier: Apache-2.0 */
/* task.h - an ordered list of steps, each with its undo
 *
 * A task does its steps in order; when one fails, or the task is cancelled,
 * what was done is undone in reverse. A step may take as long as it wants: it
 * ends by task_next() or task_fail(), at once or from a later callback. A task
 * always waits for its present step, so a step's callbacks find it alive.
 */
#ifndef ENGINE_TASK_H
#define ENGINE_TASK_H

#include "base/error.h"
#include "base/laps.h"
#include "base/list.h"
#include "engine/guest.h"
#include "engine/saves.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct call;
struct engine;
struct sandbox;
struct task;

/**
 * struct step - One step
 * @run:	Does it, or fails and leaves nothing of it
 * @undo:	Takes it back; NULL: nothing to take back.  Ends by task_next(),
 *		and tries again by itself (task_retry()) as often as it takes
 */
struct step {
	const char *name;
	void (*run)(struct task *t);
	void (*undo)(struct task *t);
};

/**
 * struct task_kind - What all tasks of a kind share
 * @ended:	After the last step (@err NULL) or the last undo.  Answers the
 *		calls that wait.  Sets t->sb to NULL when it removed the sandbox
 * @frees_data: t->data is plain memory of the task's own
 */
struct task_kind {
	const char *name;
	const struct step *steps;
	size_t n_steps;
	void (*ended)(struct task *t, const struct error *err);
	bool frees_data;
};

/**
 * struct task - One of them
 * @sb:		Whose; NULL for templates and waiting clones
 * @calls:	Wait for it (struct call's wait)
 * @guest:	The guest that is being made, or is worked on
 * @old:	The guest that it replaces, when there is one
 * @snapshot:	That it starts from; holds a use of it
 * @lost:	The guest ended by itself meanwhile
 * @data:	The kind's own
 */
struct task {
	struct list link;
	struct engine *engine;
	struct sandbox *sb;
	const struct task_kind *kind;
	size_t at;
	bool undoing, cancelled, stuck, lost;
	struct error err;
	struct list calls;
	struct guest_plan guest;
	struct guest_plan *old;
	struct snapshot *snapshot;
	struct hv_progress progress;
	struct laps laps; /* a step each */
	uint64_t bytes, cpu_ms, began_ms, stopped_ms, deadline_ms;
	unsigned int tries;
	char text[160];
	void *data;
	void (*later)(struct task *t);
	sd_event_source *timer;
};

struct task *task_new(struct engine *e, struct sandbox *sb,
		      const struct task_kind *kind);
void task_run(struct task *t);
void task_next(struct task *t);
void task_fail(struct task *t, const struct error *err);
/* task_next() when @err is NULL, else task_fail(). */
void task_end_step(struct task *t, const struct error *err);

/* Call @fn again in @ms. */
void task_later(struct task *t, uint64_t ms, void (*fn)(struct task *t));
/* An undo did not work (@err): say so once, answer who waits, and try again. */
void task_retry(struct task *t, const struct error *err);

/* Undo as soon as the present step ends; long steps are told to hurry. */
void task_cancel(struct task *t);
void task_add_call(struct task *t, struct call *call);
/* Of the first call that waits for it, for the log; "" when none does. */
const char *task_request_id(const struct task *t);
void task_fail_calls(struct task *t, const struct error *err);
/* Parked by engine_halt(): memory only. */
void task_free(struct task *t);

#endif /* ENGINE_TASK_H */
