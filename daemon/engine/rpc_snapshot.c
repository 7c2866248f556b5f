/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_snapshot.c - snapshots as objects, restore and fork */
#include "engine/rpc.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/answer.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/parcel.h"
#include "engine/saves.h"
#include "engine/sandbox_fsm.h"
#include "engine/sandbox_ops.h"
#include "engine/spec_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORK_MAX 64

int rpc_create_snapshot(struct call *call, struct error *err)
{
	Sandbox__Node__V1__CreateSnapshotRequest *req =
		(Sandbox__Node__V1__CreateSnapshotRequest *)call->request;
	struct sandbox *sb;

	if (!str_empty(req->name) && !spec_is_label(req->name))
		return err_field(err, "name",
				 "is not 0-64 characters of [A-Za-z0-9._-]");
	if (rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0)
		return -1;
	return sandbox_snapshot(sb, req->name, false, call, NULL, NULL, err);
}

int rpc_list_snapshots(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ListSnapshotsRequest *req =
		(Sandbox__Node__V1__ListSnapshotsRequest *)call->request;
	Sandbox__Node__V1__ListSnapshotsResponse r =
		SANDBOX__NODE__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	Sandbox__Node__V1__Pagination page =
		SANDBOX__NODE__V1__PAGINATION__INIT;
	struct snapshot_view views[100];
	PbSnapshot *at[100];

	page.limit = req->limit ? req->limit : 20;
	page.offset = req->offset;
	if (page.limit > 100)
		return err_field(err, "limit", "is %u; allowed are 1 to 100",
				 page.limit);
	for (struct list *l = e->snapshots.prev; l != &e->snapshots;
	     l = l->prev) {
		struct snapshot *s = list_entry(l, struct snapshot, link);

		if (s->removed || s->row.internal ||
		    (!str_empty(req->sandbox_id) &&
		     strcmp(req->sandbox_id, s->row.sandbox_id) != 0))
			continue;
		if (page.total++ < page.offset || r.n_snapshots == page.limit)
			continue;
		at[r.n_snapshots] = answer_snapshot(&views[r.n_snapshots], s);
		r.n_snapshots++;
	}
	page.has_more = page.total > page.offset + r.n_snapshots;
	r.snapshots = at;
	r.pagination = &page;
	call_finish(call, &r.base);
	return 0;
}

int rpc_remove_snapshot(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__RemoveSnapshotRequest *req =
		(Sandbox__Node__V1__RemoveSnapshotRequest *)call->request;
	Sandbox__Node__V1__RemoveSnapshotResponse r =
		SANDBOX__NODE__V1__REMOVE_SNAPSHOT_RESPONSE__INIT;
	struct snapshot *s;

	if (snapshot_get(e, req->snapshot_id, &s, err) < 0)
		return -1;
	store_begin(e->store);
	store_snapshot_remove(e->store, s->row.id);
	call_answer(call, &r.base);
	if (event_commit(e, err) < 0)
		return -1;
	snapshot_drop(e, s);
	call_send(call);
	return 0;
}

int rpc_export_snapshot(struct call *call, struct error *err)
{
	Sandbox__Node__V1__ExportSnapshotRequest *req =
		(Sandbox__Node__V1__ExportSnapshotRequest *)call->request;
	struct snapshot *s;

	if (call->fd < 0)
		return err_set(err, ERR_INTERNAL, "no stream came with it");
	if (snapshot_get(call->engine, req->snapshot_id, &s, err) < 0 ||
	    snapshot_check(s, err) < 0)
		return -1;
	return parcel_export(call->engine, s, call, err);
}

int rpc_import_snapshot(struct call *call, struct error *err)
{
	if (call->fd < 0)
		return err_set(err, ERR_INTERNAL, "no stream came with it");
	return parcel_import(call->engine, call, err);
}

int rpc_restore_sandbox(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__RestoreSandboxRequest *req =
		(Sandbox__Node__V1__RestoreSandboxRequest *)call->request;
	struct sandbox *sb;
	struct snapshot *s;

	if (rpc_sandbox(e, req->sandbox_id, &sb, err) < 0 ||
	    snapshot_get_of(e, sb->row.id, req->snapshot_id, &s, err) < 0 ||
	    snapshot_check(s, err) < 0)
		return -1;
	if (strcmp(s->row.sandbox_id, sb->row.id) != 0)
		return err_field(err, "snapshot_id",
				 "'%s' is a snapshot of '%s'; fork it instead",
				 s->row.id, s->row.sandbox_id);
	return sandbox_restore(sb, s, call, err);
}

/* ---- fork ---- */

/**
 * struct forking - One ForkSandbox under way
 * @left:	Forks that have not ended
 * @ids:	Of those that run
 */
struct forking {
	struct list link;
	struct call *call;
	struct engine *engine;
	uint32_t count, left, n;
	char ids[FORK_MAX][SANDBOX_ID_MAX + 1];
	bool failed;
	struct error err;
};

static void forking_free(struct forking *f)
{
	list_del(&f->link);
	free(f);
}

void rpc_forks_free(struct engine *e)
{
	list_for_each(&e->forks, f, struct forking, link)
		forking_free(f);
}

/* From here on they are the client's: with its answer or not at all. */
static int answer_forks(struct forking *f, struct error *err)
{
	struct engine *e = f->engine;
	Sandbox__Node__V1__ForkSandboxResponse r =
		SANDBOX__NODE__V1__FORK_SANDBOX_RESPONSE__INIT;
	struct sandbox_view *views = xcalloc(f->n + 1, sizeof(*views));
	PbSandbox *at[FORK_MAX];

	for (uint32_t i = 0; i < f->n; i++) {
		struct sandbox *sb =
			sandbox_find(&f->engine->sandboxes, f->ids[i]);

		if (sb)
			at[r.n_sandboxes++] =
				answer_sandbox(&views[i], sb, true);
	}
	r.sandboxes = at;
	store_begin(e->store);
	for (uint32_t i = 0; i < f->n; i++)
		store_fork_remove(e->store, f->ids[i]);
	call_answer(f->call, &r.base);
	free(views);
	return event_commit(e, err);
}

/* All or none: what came up beside one that failed goes again. */
static void forks_ended(struct forking *f)
{
	if (!f->failed)
		f->failed = answer_forks(f, &f->err) < 0;
	if (f->failed) {
		for (uint32_t i = 0; i < f->n; i++) {
			struct sandbox *sb = sandbox_find(
				&f->engine->sandboxes, f->ids[i]);

			if (sb)
				sandbox_end(sb, "FORK_FAILED", NULL);
		}
		call_fail(f->call, &f->err);
	} else {
		call_send(f->call);
	}
	forking_free(f);
}

static void fork_done(struct sandbox *sb, const struct error *err, void *arg)
{
	struct forking *f = arg;

	if (sb)
		snprintf(f->ids[f->n++], sizeof(f->ids[0]), "%s", sb->row.id);
	if (err && !f->failed) {
		f->failed = true;
		f->err = *err;
	}
	if (--f->left == 0)
		forks_ended(f);
}

static void fork_all(struct forking *f, struct snapshot *s)
{
	f->left = f->count + 1; /* one for this loop */
	for (uint32_t i = 0; i < f->count; i++) {
		struct error err;

		if (!f->failed &&
		    sandbox_fork(f->engine, s, fork_done, f, &err) == 0)
			continue;
		if (!f->failed) {
			f->failed = true;
			f->err = err;
		}
		f->left--;
	}
	if (--f->left == 0)
		forks_ended(f);
}

/* Of a fork of what runs: the snapshot lasts as long as the forks need it. */
static void snapped(struct snapshot *s, uint32_t stopped_ms,
		    const struct error *err, void *arg)
{
	struct forking *f = arg;
	struct engine *e = f->engine;
	struct error why;

	(void)stopped_ms;
	if (err) {
		call_fail(f->call, err);
		forking_free(f);
		return;
	}
	/* They may all have failed when it returns, and @f be gone. */
	fork_all(f, s);
	store_begin(e->store);
	store_snapshot_remove(e->store, s->row.id);
	if (store_commit(e->store, &why) < 0)
		log_warn("snapshot '%s': its row goes at the next start: %s",
			 s->row.id, why.msg);
	snapshot_drop(e, s);
}

static int fork_sandbox(struct forking *f, const char *id, struct error *err)
{
	struct engine *e = f->engine;
	struct snapshot *s;
	struct sandbox *sb;

	if (rpc_sandbox(e, id, &sb, err) < 0)
		return -1;
	if (sb->row.state != SBX_PAUSED)
		return sandbox_snapshot(sb, "", true, NULL, snapped, f, err);
	s = snapshot_find(e, sb->row.snapshot_id);
	if (!s)
		return err_set(err, ERR_DATA_LOSS,
			       "sandbox '%s': its snapshot is gone", id);
	if (snapshot_check(s, err) < 0)
		return -1;
	fork_all(f, s);
	return 0;
}

int rpc_fork_sandbox(struct call *call, struct error *err)
{
	Sandbox__Node__V1__ForkSandboxRequest *req =
		(Sandbox__Node__V1__ForkSandboxRequest *)call->request;
	struct snapshot *s;
	struct forking *f;

	if (str_empty(req->sandbox_id) == str_empty(req->snapshot_id))
		return err_field(err, "sandbox_id",
				 "exactly one of it and snapshot_id is needed");
	if (req->count > FORK_MAX)
		return err_field(err, "count", "is %u; allowed are 1 to %d",
				 req->count, FORK_MAX);
	if (!str_empty(req->snapshot_id) &&
	    (snapshot_get(call->engine, req->snapshot_id, &s, err) < 0 ||
	     snapshot_check(s, err) < 0))
		return -1;
	f = xcalloc(1, sizeof(*f));
	f->call = call;
	f->engine = call->engine;
	list_add_tail(&f->engine->forks, &f->link);
	f->count = req->count ? req->count : 1;
	if (!str_empty(req->snapshot_id)) {
		fork_all(f, s);
		return 0;
	}
	if (fork_sandbox(f, req->sandbox_id, err) == 0)
		return 0;
	forking_free(f);
	return -1;
}
