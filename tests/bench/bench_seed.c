/* SPDX-License-Identifier: Apache-2.0 */
/* bench_seed.c - a database of so many sandboxes, as a node would have left it
 */
#include "bench_node.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/spec_check.h"
#include "file_hv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PER_COMMIT 1000

/* Checked and completed as CreateSandbox would. */
static Spec *make_spec(const char *id, size_t i, struct error *err)
{
	Spec asked = SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;
	SpecMetadata meta[2];
	SpecMetadata *at[2] = { &meta[0], &meta[1] };
	char owner[32];
	Spec *spec;

	snprintf(owner, sizeof(owner), "user-%zu", i % 100);
	for (int k = 0; k < 2; k++)
		sandbox__node__v1__create_sandbox_request__metadata_entry__init(
			&meta[k]);
	meta[0].key = (char *)(uintptr_t) "owner";
	meta[0].value = owner;
	meta[1].key = (char *)(uintptr_t) "purpose";
	meta[1].value = (char *)(uintptr_t) "benchmark";
	asked.sandbox_id = (char *)(uintptr_t)id;
	asked.image = (char *)(uintptr_t) "debian:12";
	asked.timeout_ms = 24 * 3600 * 1000;
	asked.no_idle_pause = true;
	asked.resources = &r;
	r.memory_mib = 2048;
	asked.metadata = at;
	asked.n_metadata = 2;
	spec = spec_copy(&asked);
	if (spec_check_create(spec, err) == 0 &&
	    spec_complete(spec, image_by_name(NULL, "debian:12"), err) == 0)
		return spec;
	pb_free(spec);
	return NULL;
}

static int make_dir_with(const char *dir, const char *name, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd = -EBADF;

	if (mkdir(dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "make '%s'", path) : 0;
}

static int put_paused(const char *state_dir, struct store *store,
		      struct sandbox_row *row, struct error *err)
{
	struct snapshot_row snapshot = { .internal = true,
					 .created_ms = row->created_ms,
					 .size_bytes = 1 << 20,
					 .spec = row->spec };
	char path[PATH_MAX];

	row->state = SBX_PAUSED;
	row->paused_ms = row->created_ms;
	engine_object_id("snap_", row->snapshot_id);
	strcpy(snapshot.id, row->snapshot_id);
	strcpy(snapshot.sandbox_id, row->id);
	strcpy(snapshot.image_digest, row->image_digest);
	store_snapshot_put(store, &snapshot);
	snprintf(path, sizeof(path), "%s/snapshots/%s", state_dir, snapshot.id);
	return make_dir_with(path, FILE_HV_WHOLE, err);
}

static int put_one(const char *state_dir, struct store *store, size_t i,
		   enum sandbox_state state, struct error *err)
{
	struct sandbox_row row = { .state = state,
				   .generation = 1,
				   .slot = -1,
				   .created_ms = loop_wall_ms(),
				   .started_ms = loop_wall_ms() };
	_cleanup_free_ char *guest = NULL;
	int r = 0;

	snprintf(row.id, sizeof(row.id), "seed-%06zu", i);
	snprintf(row.image_digest, sizeof(row.image_digest), "sha256:1");
	snprintf(row.start_kind, sizeof(row.start_kind), "cold");
	snprintf(row.machine_id, sizeof(row.machine_id), "%032zx", i + 1);
	row.spec = make_spec(row.id, i, err);
	if (!row.spec)
		return -1;
	if (state == SBX_RUNNING) {
		row.slot = (int64_t)i;
		row.run_ms = row.created_ms;
		engine_uuid(row.uuid);
		guest = xasprintf("%s/guests/%s", state_dir, row.uuid);
		r = make_dir_with(guest, BENCH_GUEST_FILE, err);
	} else if (state == SBX_PAUSED) {
		r = put_paused(state_dir, store, &row, err);
	} else {
		row.terminated_ms = row.created_ms;
		strcpy(row.reason, "REQUESTED");
	}
	store_sandbox_put(store, &row);
	pb_free(row.spec);
	return r;
}

static int make_dirs(const char *state_dir, struct error *err)
{
	static const char *const names[] = { "", "guests", "snapshots" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", state_dir, names[i]);
		if (mkdir(path, 0711) < 0 && errno != EEXIST)
			return err_sys(err, errno, "make '%s'", path);
	}
	return 0;
}

int bench_seed(const char *state_dir, size_t running, size_t paused,
	       size_t ended, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/sandboxd.db", state_dir);
	size_t n = running + paused + ended;
	struct store *store;
	int r = 0;

	if (make_dirs(state_dir, err) < 0 || store_open(path, &store, err) < 0)
		return -1;
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (i % PER_COMMIT == 0)
			store_begin(store);
		r = put_one(state_dir, store, i,
			    i < running		 ? SBX_RUNNING :
			    i < running + paused ? SBX_PAUSED :
						   SBX_TERMINATED,
			    err);
		if (r == 0 && (i + 1 == n || (i + 1) % PER_COMMIT == 0))
			r = store_commit(store, err);
	}
	if (r == 0) {
		store_begin(store);
		store_meta_set(store, "node_id", "node_bench");
		r = store_commit(store, err);
	}
	store_close(store);
	return r;
}
