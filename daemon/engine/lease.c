/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - calls that need a sandbox to run, and keep it running */
#include "engine/lease.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/task.h"

#include <string.h>

/* In the sandbox's `waiting` until granted, then in its `leases`. */
struct lease {
	struct list link, all;
	struct sandbox *sb;
	uint64_t id;	  /* 0: waits */
	uint64_t call_id; /* to be answered */
	uint64_t until_ms;
};

static void lease_free(struct lease *l)
{
	list_del(&l->link);
	list_del(&l->all);
	free(l);
}

static void refuse(struct engine *e, uint64_t call_id, const struct error *err)
{
	if (e->front)
		front_link_reply(e->front, call_id, err, NULL, 0, false);
}

static void grant(struct lease *l)
{
	struct sandbox *sb = l->sb;
	struct engine *e = sb->engine;
	Sandbox__Ipc__V1__AcquireResponse msg =
		SANDBOX__IPC__V1__ACQUIRE_RESPONSE__INIT;
	_cleanup_free_ uint8_t *packed = NULL;
	size_t len;

	l->id = ++e->last_lease;
	list_del(&l->link);
	list_add_tail(&sb->leases, &l->link);
	msg.lease = l->id;
	msg.generation = sb->row.generation;
	msg.n_allow_ports = sb->row.spec->n_allow_ports;
	msg.allow_ports = sb->row.spec->allow_ports;
	packed = pb_pack(&msg.base, &len);
	front_link_reply(e->front, l->call_id, NULL, packed, len, false);
}

static void fail_waiting(struct sandbox *sb, const struct error *err)
{
	list_for_each(&sb->waiting, l, struct lease, link) {
		refuse(sb->engine, l->call_id, err);
		lease_free(l);
	}
}

void leases_fail(struct sandbox *sb, const struct error *err)
{
	fail_waiting(sb, err);
	list_for_each(&sb->leases, l, struct lease, link)
		lease_free(l);
}

static void wake(struct sandbox *sb)
{
	struct error err;

	if (sb->row.spec->no_auto_resume) {
		err_set(&err, ERR_CONFLICT,
			"sandbox '%s' is PAUSED and is not resumed by itself",
			sb->row.id);
		err_reason(&err, "INVALID_STATE", sb->row.id);
		fail_waiting(sb, &err);
		return;
	}
	if (sandbox_resume(sb, NULL, &err) < 0)
		fail_waiting(sb, &err);
}

void leases_pump(struct sandbox *sb)
{
	struct error err;

	if (list_empty(&sb->waiting) || sb->engine->stopping)
		return;
	if (sandbox_may(sb, EV_USE, &err) < 0) {
		fail_waiting(sb, &err);
		return;
	}
	if (sb->task) /* its end comes here again */
		return;
	if (sb->row.state == SBX_PAUSED) {
		wake(sb);
	} else if (sb->row.state == SBX_RUNNING && sb->attached) {
		list_for_each(&sb->waiting, l, struct lease, link)
			grant(l);
		sandbox_touch(sb);
	} else if (sb->row.state == SBX_RUNNING) {
		sandbox_reattach(sb);
	}
}

void lease_acquire(struct engine *e, uint64_t call_id, const char *sandbox_id)
{
	struct sandbox *sb = sandbox_find(&e->sandboxes, sandbox_id);
	struct error err;
	struct lease *l;
	unsigned int n = 0;

	if (!sb) {
		err_set(&err, ERR_NOT_FOUND, "there is no sandbox '%.64s'",
			sandbox_id);
		err_reason(&err, "SANDBOX_NOT_FOUND", sandbox_id);
		refuse(e, call_id, &err);
		return;
	}
	if (e->closing) {
		err_set(&err, ERR_UNAVAILABLE, "the node is stopping");
		err.retry_ms = 1000;
		refuse(e, call_id, &err);
		return;
	}
	list_for_each(&sb->waiting, w, struct lease, link)
		n++;
	if (n >= LEASES_WAIT_MAX) {
		err_set(&err, ERR_LIMIT, "%u calls wait for sandbox '%s'", n,
			sb->row.id);
		err.retry_ms = 1000;
		refuse(e, call_id, &err);
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->sb = sb;
	l->call_id = call_id;
	l->until_ms = loop_now_ms() + LEASE_WAIT_MS;
	list_add_tail(&sb->waiting, &l->link);
	list_add_tail(&e->leases, &l->all);
	leases_pump(sb);
}

void lease_release(struct engine *e, uint64_t id)
{
	list_for_each(&e->leases, l, struct lease, all) {
		struct sandbox *sb = l->sb;

		if (!l->id || l->id != id)
			continue;
		lease_free(l);
		sandbox_touch(sb);
		if (list_empty(&sb->leases))
			sandbox_arm(sb);
		return;
	}
}

void leases_void(struct engine *e)
{
	list_for_each(&e->leases, l, struct lease, all) {
		struct sandbox *sb = l->sb;

		lease_free(l);
		if (list_empty(&sb->leases) && !e->stopping)
			sandbox_arm(sb);
	}
}

void leases_expire(struct engine *e)
{
	uint64_t now = loop_now_ms();
	struct error err;

	list_for_each(&e->leases, l, struct lease, all) {
		if (l->id || now < l->until_ms)
			continue;
		err_set(&err, ERR_UNAVAILABLE,
			"sandbox '%s' did not become ready (%s)",
			l->sb->row.id, sandbox_state_str(l->sb->row.state));
		err.retry_ms = 1000;
		refuse(e, l->call_id, &err);
		lease_free(l);
	}
}
