/* SPDX-License-Identifier: Apache-2.0 */
/* recover_clone.c - at start: clones that waited in the pool
 *
 * One that still stands waits on; what else there is of one is ended by the pool.
 */
#include "engine/recover_clone.h"

#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/hv_call.h"
#include "engine/pool.h"
#include "engine/recover.h"
#include "engine/recover_guest.h"

#include <stdio.h>
#include <stdlib.h>

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
		return; /* recover_clones_free() */
	if (call->life == GUEST_LIFE_UNKNOWN && !e->rebooted) {
		loop_timer(e->loop, &q->again, loop_now_ms() + RECOVER_ASK_AGAIN_MS,
			   ask_clone, q);
		return;
	}
	pool_restore(e, &q->row,
		     call->life == GUEST_LIFE_STOPPED && !e->rebooted &&
			     !q->row.damaged);
	clone_question_free(q);
	recover_decided(e);
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

void recover_clone_begin(struct engine *e, const struct pool_row *row)
{
	struct clone_question *q = xcalloc(1, sizeof(*q));

	q->engine = e;
	q->row = *row;
	list_add_tail(&e->clone_questions, &q->link);
	e->recovering++;
	ask_clone(q);
}

void recover_clones_free(struct engine *e)
{
	list_for_each (&e->clone_questions, q, struct clone_question, link)
		clone_question_free(q);
}
