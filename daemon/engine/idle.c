/* SPDX-License-Identifier: Apache-2.0 */
/* idle.c - whether a sandbox is in use
 *
 * Theory of operation
 * ===================
 *
 * Calls and bytes that pass front are told as they come (sandbox_touch). CPU
 * and network are looked at, a few times in an idle_timeout, and compared with
 * the look before.
 *
 * CPU has two witnesses. The host sees what QEMU used: true, but an idle guest
 * uses some as well, an emulated one more. The agent sees what its users'
 * processes used, but may lie. Only when both say so is it use: a lying agent
 * cannot keep its sandbox awake without using the CPU that is paid for, and one
 * that denies all use has nothing from it but being paused. One that does not
 * answer has not been heard: then the host's word stands.
 *
 * A sandbox is idle only after a look that saw a whole interval without use, so
 * a daemon that has just begun pauses nothing that it has not watched.
 *
 * When each was last in use is written down now and then, not at each use: a
 * daemon that was killed knows it STORE_EVERY_MS late at most.
 */
#include "engine/idle.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/hv_call.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"

#include <stdio.h>
#include <string.h>

#define LOOKS	       4u /* in an idle_timeout */
#define LOOK_MIN_MS    250u
#define LOOK_MAX_MS    15000u
#define AGENT_WAIT_MS  2000u
#define STORE_EVERY_MS 30000u

static bool may_idle(const struct sandbox *sb)
{
	return sb->row.state == SBX_RUNNING && !sb->task && sb->attached &&
	       !sb->row.spec->no_idle_pause && list_empty(&sb->leases) &&
	       list_empty(&sb->waiting);
}

static uint64_t interval_ms(const struct sandbox *sb)
{
	uint64_t ms = sb->row.spec->idle_timeout_ms / LOOKS;

	return ms < LOOK_MIN_MS	  ? LOOK_MIN_MS
	       : ms > LOOK_MAX_MS ? LOOK_MAX_MS
				  : ms;
}

static uint64_t left(uint64_t due, uint64_t now)
{
	return due > now ? due - now : 0;
}

static uint64_t until_due(const struct sandbox *sb)
{
	return left(sb->row.busy_boot_ms + sb->row.spec->idle_timeout_ms,
		    loop_boot_ms());
}

static uint64_t until_look(const struct sandbox *sb)
{
	if (!sb->idle.at_ms)
		return 0;
	return left(sb->idle.at_ms + interval_ms(sb), loop_now_ms());
}

bool idle_due(const struct sandbox *sb)
{
	return may_idle(sb) && until_due(sb) == 0 && sb->idle.unused &&
	       until_look(sb) > 0;
}

uint64_t idle_wait_ms(const struct sandbox *sb)
{
	uint64_t due, look;

	if (!may_idle(sb))
		return UINT64_MAX;
	if (sb->idle.asking) /* its answer arms the timer again */
		return UINT64_MAX;
	due = until_due(sb);
	look = until_look(sb);
	return due < look && sb->idle.unused ? due : look;
}

void idle_begin(struct sandbox *sb)
{
	bool asking = sb->idle.asking;

	sb->idle = (struct idle){ .asking = asking };
}

/* ---- a look ---- */

static uint64_t network_bytes(struct sandbox *sb)
{
	struct net_counters c;

	if (sb->row.slot < 0 ||
	    net_traffic(sb->engine->net, &sb->slot, &c, NULL) < 0)
		return 0;
	return c.rx_bytes + c.tx_bytes;
}

/* A look under way, by names: the sandbox may be gone when it is answered. */
struct look {
	struct engine *engine;
	char id[SANDBOX_ID_MAX + 1];
	char uuid[HV_UUID_SIZE];
	struct idle seen;
	bool used;
	bool cpu; /* the host saw CPU time that is more than idling takes */
};

/* The sandbox, still with the guest that was asked about. */
static struct sandbox *asked(struct look *l)
{
	struct sandbox *sb = sandbox_find(&l->engine->sandboxes, l->id);

	if (!sb || l->engine->stopping)
		return NULL;
	sb->idle.asking = false;
	return !strcmp(sb->row.uuid, l->uuid) ? sb : NULL;
}

/* @grown of CPU time since the last look is more than what idling takes. */
static bool is_use(const struct look *l, const struct sandbox *sb, uint64_t now,
		   uint64_t before)
{
	uint64_t grown = now > before ? now - before : 0;

	return grown * 100 >=
	       (l->seen.at_ms - sb->idle.at_ms) * l->engine->config->idle_cpu;
}

/* What was seen becomes what the next look compares with. */
static void looked(struct look *l, struct sandbox *sb)
{
	l->seen.unused = sb->idle.at_ms && !l->used;
	sb->idle = l->seen;
	if (l->used)
		sandbox_touch(sb);
	free(l);
	sandbox_arm(sb);
}

static void agent_said(const struct error *err, const uint8_t *data, size_t len,
		       void *arg)
{
	_cleanup_pb_ Sandbox__Agent__V1__StatsResponse *msg = NULL;
	struct look *l = arg;
	struct sandbox *sb = asked(l);

	if (!sb) {
		free(l);
		return;
	}
	if (!err)
		msg = sandbox__agent__v1__stats_response__unpack(NULL, len,
								 data);
	if (msg && msg->user_cpu_known) {
		l->seen.user_known = true;
		l->seen.user_ms = msg->user_cpu_ms;
	}
	if (l->cpu && l->seen.user_known && sb->idle.user_known)
		l->cpu = is_use(l, sb, l->seen.user_ms, sb->idle.user_ms);
	l->used |= l->cpu;
	looked(l, sb);
}

static void host_said(struct hv_call *call, int rc, const struct error *err)
{
	struct look *l = call->arg;
	struct sandbox *sb = asked(l);

	(void)err;
	if (!sb || rc < 0) {
		free(l);
		/* Its guest is gone, or about to be seen so. */
		return;
	}
	l->seen.at_ms = loop_now_ms();
	l->seen.cpu_ms = call->cpu_ms;
	l->cpu = sb->idle.at_ms && is_use(l, sb, call->cpu_ms, sb->idle.cpu_ms);
	if (!sb->attached) {
		l->used |= l->cpu;
		looked(l, sb);
		return;
	}
	sb->idle.asking = true;
	front_link_call(l->engine->front, sb->row.id, "Stats", (uint8_t *)"", 0,
			AGENT_WAIT_MS, agent_said, l);
}

void idle_look(struct sandbox *sb)
{
	struct hv_call *call;
	struct look *l;

	if (!may_idle(sb) || sb->idle.asking || until_look(sb) > 0)
		return;
	l = xcalloc(1, sizeof(*l));
	l->engine = sb->engine;
	snprintf(l->id, sizeof(l->id), "%s", sb->row.id);
	snprintf(l->uuid, sizeof(l->uuid), "%s", sb->row.uuid);
	l->seen.net_bytes = network_bytes(sb);
	l->used = sb->idle.at_ms && l->seen.net_bytes != sb->idle.net_bytes;
	call = xcalloc(1, sizeof(*call));
	call->op = HV_STATS;
	snprintf(call->spec.uuid, sizeof(call->spec.uuid), "%s", sb->row.uuid);
	call->done = host_said;
	call->arg = l;
	sb->idle.asking = true;
	hv_call_start(sb->engine, call);
	free(call);
}

/* ---- what outlives the daemon ---- */

static bool is_worth_storing(const struct sandbox *sb, bool all)
{
	return sb->row.state == SBX_RUNNING &&
	       sb->row.busy_boot_ms >
		       sb->busy_stored + (all ? 0 : STORE_EVERY_MS);
}

void idle_store(struct engine *e, bool all)
{
	struct error err;
	bool any = false;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) any |=
		is_worth_storing(sb, all);
	if (!any)
		return;
	store_begin(e->store);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
	{
		if (!is_worth_storing(sb, all))
			continue;
		store_sandbox_busy(e->store, sb->row.id, sb->row.busy_boot_ms);
		sb->busy_stored = sb->row.busy_boot_ms;
	}
	if (store_commit(e->store, &err) < 0)
		log_warn("when sandboxes were last in use: %s", err.msg);
}
