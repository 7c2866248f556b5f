/* SPDX-License-Identifier: Apache-2.0 */
/* guest_still.c - the steps by which a running guest is held still, and ended
 *
 * Undoing them must not hang on a guest that died meanwhile: whoever cannot
 * reach the agent looks whether there is a guest at all, and gives up after a
 * while, when the sandbox's own reattaching takes over.
 */
#include "engine/guest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "engine/hv_call.h"
#include "engine/task.h"

#include <stdio.h>
#include <string.h>

#define FREEZE_MS    60000 /* then the guest thaws by itself */
#define BACK_GIVE_UP 20    /* tries to speak to the agent again */

static void frozen(const struct error *err, const uint8_t *data, size_t len,
		   void *arg)
{
	struct error why;

	(void)data;
	(void)len;
	if (!err) {
		task_next(arg);
		return;
	}
	why = *err;
	err_wrap(&why, "freeze the guest");
	task_fail(arg, &why);
}

void guest_freeze(struct task *t)
{
	Sandbox__Agent__V1__FreezeRequest msg =
		SANDBOX__AGENT__V1__FREEZE_REQUEST__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	msg.deadline_ms = FREEZE_MS;
	msg.freeze_processes = true;
	packed = pb_pack(&msg.base, &len);
	front_link_call(t->engine->front, t->guest.key, "Freeze", packed, len,
			(uint32_t)t->engine->config->agent_timeout_ms, frozen,
			t);
}

static void thawed_back(const struct error *err, const uint8_t *data,
			size_t len, void *arg)
{
	(void)err; /* it thaws by itself after FREEZE_MS */
	(void)data;
	(void)len;
	task_next(arg);
}

void guest_freeze_undo(struct task *t)
{
	Sandbox__Agent__V1__ThawRequest msg =
		SANDBOX__AGENT__V1__THAW_REQUEST__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	if (t->lost || !t->sb->attached) {
		task_next(t);
		return;
	}
	packed = pb_pack(&msg.base, &len);
	front_link_call(t->engine->front, t->guest.key, "Thaw", packed, len,
			(uint32_t)t->engine->config->agent_timeout_ms,
			thawed_back, t);
}

static void detached(const struct error *err, const uint8_t *data, size_t len,
		     void *arg)
{
	(void)err;
	(void)data;
	(void)len;
	task_next(arg);
}

void guest_detach(struct task *t)
{
	agent_unlinked(t->sb);
	t->stopped_ms = loop_now_ms();
	front_link_detach(t->engine->front, t->guest.key,
			  t->text[0] ? t->text : "SANDBOX_PAUSED",
			  "the sandbox is being saved", detached, t);
}

/* ---- and back ---- */

static void back_look(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	(void)rc;
	(void)err;
	if (t->engine->stopping)
		return;
	t->lost = call->life == GUEST_LIFE_GONE;
	if (t->lost || t->cancelled || ++t->tries >= BACK_GIVE_UP)
		task_next(t);
	else
		task_later(t, 200, guest_detach_undo);
}

static void back_failed(struct task *t)
{
	struct hv_call *call;

	if (t->engine->stopping)
		return;
	call = calloc(1, sizeof(*call));
	if (!call)
		abort();
	call->op = HV_LIFE;
	call->spec = t->guest.spec;
	call->done = back_look;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

static void back(const struct error *err, const uint8_t *data, size_t len,
		 void *arg)
{
	struct task *t = arg;

	(void)data;
	(void)len;
	if (err) {
		back_failed(t);
		return;
	}
	agent_linked(t->sb);
	task_next(t);
}

static void back_opened(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;
	struct engine *e = t->engine;
	_cleanup_free_ uint8_t *msg = NULL;
	size_t len;

	(void)err;
	if (e->stopping)
		return;
	if (rc < 0) {
		back_failed(t);
		return;
	}
	msg = guest_attach_message(e, t->sb, &t->guest, false,
				   (uint32_t)e->config->agent_timeout_ms, &len);
	front_link_attach(e->front, msg, len, TAKE_FD(call->fd), back, t);
}

void guest_detach_undo(struct task *t)
{
	struct hv_call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	call->op = HV_OPEN_AGENT;
	call->spec = t->guest.spec;
	call->done = back_opened;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

/* ---- discard ---- */

static void discard_run(struct task *t);

static void discarded(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	(void)err;
	if (t->engine->stopping)
		return;
	if (rc < 0) {
		t->tries++;
		task_later(t, 200ull << (t->tries < 7 ? t->tries : 7),
			   discard_run);
		return;
	}
	guest_forget(t->engine, t->guest.spec.uuid, t->guest.slot);
	task_next(t);
}

static void discard_run(struct task *t)
{
	struct hv_call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	call->op = HV_DESTROY;
	call->spec = t->guest.spec;
	call->done = discarded;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

static void discard_ended(struct task *t, const struct error *err)
{
	(void)t;
	(void)err;
}

static const struct step discard_steps[] = {
	{ "destroy", discard_run, NULL },
};

static const struct task_kind task_discard = { "discard", discard_steps, 1,
					       discard_ended, false };

void guest_discard(struct engine *e, const char *uuid, int64_t slot)
{
	struct task *t = task_new(e, NULL, &task_discard);

	guest_plan_fill(e, &t->guest, uuid, slot);
	task_run(t);
}
