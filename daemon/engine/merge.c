/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - long chains of disk layers become short while nobody waits
 *
 * Theory of operation
 * ===================
 *
 * The hypervisor makes the snapshot a second time, with one layer, in a
 * directory beside it (hv_merge.c). It takes the first one's place here, on the
 * main thread, where it is known that nobody uses that: by one exchange of two
 * names. The one with the staging name, whichever it is after a crash, goes.
 */
#include "engine/merge.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/guest.h"
#include "engine/hv_call.h"
#include "engine/quota.h"
#include "engine/saves.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define AGAIN_MS 60000 /* after one that failed */
#define SOON_MS	 10000 /* after one that was given up */

/**
 * struct merge - The one under way
 * @snapshot:	Used, so that it stays
 * @plan:	Of a guest that never is: for a uid and a directory
 */
struct merge {
	struct engine *engine;
	struct snapshot *snapshot;
	struct guest_plan plan;
	struct hv_progress progress;
	char name[OBJECT_ID_SIZE + sizeof(MERGE_STAGING)];
};

/* The merged one takes the place. False: it does not, and goes. */
static bool take_place(struct merge *g, uint64_t bytes)
{
	struct engine *e = g->engine;
	struct snapshot *s = g->snapshot;
	char place[PATH_MAX], made[PATH_MAX];
	struct error err;

	if (s->removed || s->users > 1)
		return false;
	engine_path(e, "snapshots", s->row.id, place, sizeof(place));
	engine_path(e, "snapshots", g->name, made, sizeof(made));
	if (renameat2(AT_FDCWD, made, AT_FDCWD, place, RENAME_EXCHANGE) < 0) {
		log_warn("snapshot '%s': exchange with its merged one: %s",
			 s->row.id, strerror(errno));
		return false;
	}
	log_info("snapshot '%s': its disk layers are merged, %llu bytes",
		 s->row.id, (unsigned long long)bytes);
	s->row.size_bytes = bytes;
	store_begin(e->store);
	store_snapshot_put(e->store, &s->row);
	if (store_commit(e->store, &err) < 0)
		log_warn("snapshot '%s': its size: %s", s->row.id, err.msg);
	return true;
}

static void merged(struct hv_call *call, int rc, const struct error *err)
{
	struct merge *g = call->arg;
	struct engine *e = g->engine;
	struct snapshot *s = g->snapshot;

	if (e->stopping)
		return; /* merge_free() */
	e->merge = NULL;
	s->short_chain = rc == 0 && call->bytes == 0;
	s->try_ms = loop_now_ms() + SOON_MS;
	if (rc == 0 && call->bytes)
		s->short_chain = take_place(g, call->bytes);
	if (rc < 0 && err->code != ERR_CANCELLED) {
		s->try_ms = loop_now_ms() + AGAIN_MS;
		log_warn("%s", err->msg);
	}
	engine_trash(e, "snapshots", g->name);
	engine_trash(e, "guests", g->plan.spec.uuid);
	slots_give(&e->slots, g->plan.slot);
	snapshot_unuse(e, s);
	free(g);
	merge_next(e);
}

static void start(struct engine *e, struct snapshot *s,
		  const struct image *image)
{
	struct merge *g = xcalloc(1, sizeof(*g));
	struct hv_call *call;
	struct error err;

	g->engine = e;
	s->try_ms = loop_now_ms() + AGAIN_MS;
	if (guest_plan_new(e, &g->plan, 1, 1, 1, image->disk, image->digest,
			   &err) < 0) {
		free(g);
		return;
	}
	if (mkdir(g->plan.spec.dir, 0700) < 0) {
		log_warn("make '%s': %s", g->plan.spec.dir, strerror(errno));
		slots_give(&e->slots, g->plan.slot);
		free(g);
		return;
	}
	snapshot_use(e, s);
	g->snapshot = s;
	e->merge = g;
	snprintf(g->name, sizeof(g->name), "%s%s", MERGE_STAGING, s->row.id);
	call = xcalloc(1, sizeof(*call));
	call->op = HV_MERGE;
	call->spec = g->plan.spec;
	if (s->row.template_id[0])
		engine_path(e, "templates", s->row.template_id,
			    call->template_dir, sizeof(call->template_dir));
	engine_path(e, "snapshots", s->row.id, call->snapshot_dir,
		    sizeof(call->snapshot_dir));
	engine_path(e, "snapshots", g->name, call->out_dir,
		    sizeof(call->out_dir));
	call->progress = &g->progress;
	call->done = merged;
	call->arg = g;
	hv_call_start(e, call);
	free(call);
}

void merge_next(struct engine *e)
{
	uint64_t now = loop_now_ms();

	if (e->merge || e->recovering || e->closing || e->stopping ||
	    quota_check_disk(e->quota, e->config->state_dir, NULL) < 0)
		return;
	list_for_each (&e->snapshots, s, struct snapshot, link) {
		const struct image *image;

		if (s->removed || s->users || s->short_chain ||
		    s->row.damaged || now < s->try_ms)
			continue;
		image = image_by_digest(e->images, s->row.image_digest);
		if (!image)
			continue;
		start(e, s, image);
		return;
	}
}

void merge_stop(struct engine *e, struct snapshot *s)
{
	if (e->merge && e->merge->snapshot == s)
		e->merge->progress.cancel = true;
}

bool merge_has(struct engine *e, const char *uuid)
{
	return e->merge && !strcmp(e->merge->plan.spec.uuid, uuid);
}

void merge_free(struct engine *e)
{
	free(e->merge);
	e->merge = NULL;
}
