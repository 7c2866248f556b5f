/* SPDX-License-Identifier: Apache-2.0 */
/* guest.c - the steps by which any guest comes up */
#include "engine/guest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "engine/hv_call.h"
#include "engine/spec_check.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT_TRY_MS 50 /* between two tries to reach a booting agent */

void guest_plan_fini(struct guest_plan *plan)
{
	if (plan->has_policy)
		net_policy_fini(&plan->policy);
	plan->has_policy = false;
}

void guest_plan_fill(struct engine *e, struct guest_plan *plan,
		     const char *uuid, int64_t slot)
{
	snprintf(plan->spec.uuid, sizeof(plan->spec.uuid), "%s", uuid);
	engine_path(e, "guests", uuid, plan->spec.dir, sizeof(plan->spec.dir));
	plan->slot = slot;
	if (slot >= 0)
		net_slot(e->net, (uint32_t)slot, e->config->uid_base,
			 e->hv->info.vsock ? e->config->cid_base : 0,
			 &plan->spec.slot);
}

int guest_plan_new(struct engine *e, struct guest_plan *plan, uint32_t cpu,
		   uint32_t memory_mib, uint32_t disk_mib, const char *disk,
		   const char *digest, struct error *err)
{
	char uuid[HV_UUID_SIZE];
	int64_t slot;

	if (slots_take(&e->slots, &slot, err) < 0)
		return -1;
	engine_uuid(uuid);
	guest_plan_fill(e, plan, uuid, slot);
	plan->spec.cpu = cpu;
	plan->spec.memory_mib = memory_mib;
	plan->spec.disk_mib = disk_mib;
	snprintf(plan->spec.image_disk, sizeof(plan->spec.image_disk), "%s",
		 disk);
	snprintf(plan->spec.image_digest, sizeof(plan->spec.image_digest),
		 "%s", digest);
	return 0;
}

int guest_plan_spec(struct guest_plan *plan, struct sandbox *sb,
		    struct error *err)
{
	struct engine *e = sb->engine;
	const Spec *spec = sb->row.spec;
	const struct image *image =
		image_by_digest(e->images, sb->row.image_digest);

	if (!image) {
		err_set(err, ERR_NOT_FOUND,
			"image '%s' (%s) is not on this node any more",
			spec->image, sb->row.image_digest);
		return err_reason(err, "IMAGE_NOT_FOUND", spec->image);
	}
	plan->spec.cpu = spec->resources->cpu;
	plan->spec.memory_mib = spec->resources->memory_mib;
	plan->spec.disk_mib = spec->resources->disk_mib;
	snprintf(plan->spec.image_disk, sizeof(plan->spec.image_disk), "%s",
		 image->disk);
	snprintf(plan->spec.image_digest, sizeof(plan->spec.image_digest),
		 "%s", image->digest);
	snprintf(plan->key, sizeof(plan->key), "%s", sb->row.id);
	plan->generation = sb->row.generation;
	memcpy(plan->nonce, sb->row.nonce, sizeof(plan->nonce));
	memcpy(plan->new_nonce, sb->row.nonce, sizeof(plan->new_nonce));
	plan->limits = spec_limits(spec->network_limits,
				   &e->config->net_limits);
	guest_plan_fini(plan);
	if (spec_policy(spec->egress, &plan->policy, err) < 0)
		return -1;
	plan->has_policy = true;
	return 0;
}

int guest_plan_of(struct guest_plan *plan, struct sandbox *sb,
		  struct error *err)
{
	guest_plan_fill(sb->engine, plan, sb->row.uuid, sb->row.slot);
	snprintf(plan->template_id, sizeof(plan->template_id), "%s",
		 sb->row.template_id);
	if (plan->template_id[0])
		engine_path(sb->engine, "templates", plan->template_id,
			    plan->template_dir, sizeof(plan->template_dir));
	return guest_plan_spec(plan, sb, err);
}

void guest_slot_undo(struct task *t)
{
	slots_give(&t->engine->slots, t->guest.slot);
	t->guest.slot = -1;
	task_next(t);
}

/* ---- network ---- */

void guest_net(struct task *t)
{
	struct guest_plan *g = &t->guest;
	struct error err;

	if (net_attach(t->engine->net, &g->spec.slot, g->generation,
		       g->has_policy ? &g->policy : NULL,
		       g->has_policy ? &g->limits : NULL, &err) < 0)
		task_fail(t, &err);
	else
		task_next(t);
}

void guest_net_undo(struct task *t)
{
	struct error err;

	if (net_detach(t->engine->net, &t->guest.spec.slot, &err) < 0)
		task_retry(t, &err);
	else
		task_next(t);
}

/* ---- directory ---- */

void guest_dir(struct task *t)
{
	struct guest_plan *g = &t->guest;
	struct error err;

	if (g->clone) { /* has one, with its disk in it */
		task_next(t);
		return;
	}
	if (mkdir(g->spec.dir, 0700) < 0 ||
	    (geteuid() == 0 &&
	     chown(g->spec.dir, g->spec.slot.uid, g->spec.slot.uid) < 0)) {
		err_sys(&err, errno, "make '%s'", g->spec.dir);
		rmdir(g->spec.dir);
		task_fail(t, &err);
		return;
	}
	task_next(t);
}

void guest_dir_undo(struct task *t)
{
	engine_trash(t->engine, "guests", t->guest.spec.uuid);
	task_next(t);
}

void guest_forget(struct engine *e, const char *uuid, int64_t slot)
{
	struct slot s;
	struct error err;

	if (uuid[0])
		engine_trash(e, "guests", uuid);
	if (slot < 0)
		return;
	net_slot(e->net, (uint32_t)slot, e->config->uid_base,
		 e->hv->info.vsock ? e->config->cid_base : 0, &s);
	if (net_detach(e->net, &s, &err) < 0) {
		/* Taken until the next start, which sweeps it. */
		log_err("guest '%s': network of slot %lld: %s", uuid,
			(long long)slot, err.msg);
		return;
	}
	slots_give(&e->slots, slot);
}

/* ---- the hypervisor ---- */

static void plan_call(struct task *t, enum hv_call_op op, hv_call_fn done)
{
	struct hv_call *call = calloc(1, sizeof(*call));

	if (!call)
		abort();
	call->op = op;
	call->spec = t->guest.spec;
	memcpy(call->template_dir, t->guest.template_dir,
	       sizeof(call->template_dir));
	memcpy(call->snapshot_dir, t->guest.snapshot_dir,
	       sizeof(call->snapshot_dir));
	call->flag = t->guest.hold;
	call->progress = &t->progress;
	call->done = done;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

/* For what a new sandbox starts from there is a substitute. */
static bool may_boot_cold(const struct task *t)
{
	const struct guest_plan *g = &t->guest;

	return t->sb && !t->cancelled && !t->engine->stopping &&
	       g->template_id[0] && !g->snapshot_dir[0] &&
	       template_is_lost(t->engine, g->template_id);
}

static void started(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	if (rc < 0 && may_boot_cold(t)) {
		log_warn("sandbox '%s': boots cold: %s", t->sb->row.id,
			 err->msg);
		t->guest.template_id[0] = t->guest.template_dir[0] = '\0';
		plan_call(t, HV_START, started);
		return;
	}
	task_end_step(t, rc < 0 ? err : NULL);
}

static void ended_broken_clone(struct hv_call *call, int rc,
			       const struct error *err)
{
	struct task *t = call->arg;

	if (rc < 0) {
		task_fail(t, err);
		return;
	}
	/* Its directory may hold anything: a fresh guest takes a fresh one. */
	engine_trash(t->engine, "guests", t->guest.spec.uuid);
	t->guest.clone = false;
	if (mkdir(t->guest.spec.dir, 0700) < 0 ||
	    (geteuid() == 0 && chown(t->guest.spec.dir, t->guest.spec.slot.uid,
				     t->guest.spec.slot.uid) < 0)) {
		struct error why;

		err_sys(&why, errno, "make '%s'", t->guest.spec.dir);
		task_fail(t, &why);
		return;
	}
	plan_call(t, HV_START, started);
}

static void released(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	if (rc == 0) {
		task_next(t);
		return;
	}
	if (t->engine->stopping)
		return;
	log_warn("waiting clone '%s' cannot be used: %s", t->guest.spec.uuid,
		 err->msg);
	plan_call(t, HV_DESTROY, ended_broken_clone);
}

void guest_start(struct task *t)
{
	if (t->guest.clone)
		plan_call(t, HV_RELEASE, released);
	else
		plan_call(t, HV_START, started);
}

static void destroyed(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	if (rc < 0)
		task_retry(t, err);
	else
		task_next(t);
}

void guest_start_undo(struct task *t)
{
	plan_call(t, HV_DESTROY, destroyed);
}

/* ---- the agent ---- */

static void try_agent(struct task *t);

static void agent_failed(struct task *t, const struct error *err)
{
	struct error why = *err;

	if (t->engine->stopping)
		return;
	if (!t->cancelled && loop_now_ms() < t->deadline_ms &&
	    (err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT)) {
		task_later(t, AGENT_TRY_MS, try_agent);
		return;
	}
	/* Of its link: for a client there is no such reason. */
	why.reason[0] = '\0';
	err_wrap(&why, "the guest's agent");
	task_fail(t, &why);
}

static void attached(const struct error *err, const uint8_t *data, size_t len,
		     void *arg)
{
	struct task *t = arg;

	(void)data;
	(void)len;
	if (err) {
		agent_failed(t, err);
		return;
	}
	t->guest.linked = true;
	if (t->sb) {
		agent_begin(t->sb);
		agent_linked(t->sb);
	}
	task_next(t);
}

static void opened(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;
	struct engine *e = t->engine;
	_cleanup_free_ uint8_t *msg = NULL;
	uint64_t now = loop_now_ms();
	uint64_t left = t->deadline_ms > now ? t->deadline_ms - now : 1;
	size_t len;

	if (rc < 0) {
		agent_failed(t, err);
		return;
	}
	if (e->stopping)
		return;
	if (left > e->config->agent_timeout_ms)
		left = e->config->agent_timeout_ms;
	msg = guest_attach_message(e, t->sb, &t->guest, t->sb != NULL,
				   (uint32_t)left, &len);
	front_link_attach(e->front, msg, len, TAKE_FD(call->fd), attached, t);
}

static void try_agent(struct task *t)
{
	plan_call(t, HV_OPEN_AGENT, opened);
}

void guest_agent(struct task *t)
{
	t->deadline_ms = loop_now_ms() + t->engine->config->boot_timeout_ms;
	try_agent(t);
}

static void detached(const struct error *err, const uint8_t *data, size_t len,
		     void *arg)
{
	struct task *t = arg;

	(void)data;
	(void)len;
	(void)err; /* front is gone: so is the link */
	task_next(t);
}

void guest_agent_undo(struct task *t)
{
	if (t->sb)
		agent_unlinked(t->sb);
	front_link_detach(t->engine->front, t->guest.key, "INVALID_STATE",
			  "the sandbox did not start", detached, t);
}

static void thawed(const struct error *err, const uint8_t *data, size_t len,
		   void *arg)
{
	(void)data;
	(void)len;
	task_end_step(arg, err);
}

void guest_thaw(struct task *t)
{
	Sandbox__Agent__V1__ThawRequest msg =
		SANDBOX__AGENT__V1__THAW_REQUEST__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	packed = pb_pack(&msg.base, &len);
	front_link_call(t->engine->front, t->guest.key, "Thaw", packed, len,
			(uint32_t)t->engine->config->agent_timeout_ms, thawed,
			t);
}

void guest_ignore_answer(const struct error *err, const uint8_t *data,
			 size_t len, void *arg)
{
	(void)err;
	(void)data;
	(void)len;
	(void)arg;
}
