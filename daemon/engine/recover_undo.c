/* SPDX-License-Identifier: Apache-2.0 */
/* recover_undo.c - at start: what was half done for nobody is undone
 *
 * Creations, resumes, forks and the snapshots that forks were to start from: whose
 * client has no answer, and will repeat its call. What needs no hypervisor is
 * done here and now; guests that may be left go on their own (guest_discard()).
 */
#include "engine/recover_undo.h"

#include "base/error.h"
#include "base/log.h"
#include "engine/account.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/guest.h"
#include "engine/saves.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"

#include <stdio.h>

/* Its row is written; what it leaves on the host goes on its own. */
void recover_undo_create(struct engine *e, struct sandbox *sb)
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

void recover_undo_resume(struct engine *e, struct sandbox *sb)
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

/* ---- forks ---- */

static void end_fork(const char *sandbox_id, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_find(&e->sandboxes, sandbox_id);

	/* One that was being created is undone like any other. */
	if (sb && sb->row.state != SBX_CREATING)
		sandbox_end(sb, "FORK_FAILED", NULL);
}

/* A fork is its client's once all of them are there and the answer is kept. */
void recover_undo_forks(struct engine *e)
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
void recover_undo_snapshots(struct engine *e)
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
