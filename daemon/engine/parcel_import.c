/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_import.c - a stream of another node's becomes a snapshot here
 *
 * Theory of operation
 * ===================
 *
 *	manifest	sandboxd-parcel has read it: is this for us?
 *	prepare		a job looks for the template and makes the files
 *	unpack		sandboxd-parcel fills them, checking all checksums
 *	seal		a job makes a snapshot of them
 *	commit		the rows
 *
 * A failure or a cancel anywhere ends in a job that removes what was made. The
 * template gets an id of its own kind, so that nothing but this snapshot ever
 * starts from what another node put into its memory.
 */
#include "engine/parcel.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/answer.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/saves.h"
#include "engine/snapshot/parcel_keep.h"
#include "engine/snapshot/parcel_proc.h"
#include "engine/spec_check.h"
#include "engine/templates.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define KNOWN_MAX	   64 /* templates that are looked at */
#define TEMPLATE_ID_DIGITS 20

/**
 * struct parcel_import - One under way
 * @known:	Ids of keep.known; each holds a pin of its template
 * @unpacking:	The process runs
 * @preparing:	The job runs; a process that ends meanwhile leaves @err to it
 */
struct parcel_import {
	struct list link;
	struct engine *engine;
	struct call *call;
	struct parcel_proc *proc;
	struct parcel_keep keep;
	char id[OBJECT_ID_SIZE], template_id[OBJECT_ID_SIZE];
	char known[KNOWN_MAX][OBJECT_ID_SIZE];
	bool unpacking, preparing;
	struct error err;
	uint64_t began_ms;
};

static void unpin(struct parcel_import *im)
{
	for (size_t i = 0; i < im->keep.n_known; i++) {
		struct template *t = template_find(im->engine, im->known[i]);

		if (t)
			t->pins--;
	}
	im->keep.n_known = 0;
}

static void import_free(struct parcel_import *im)
{
	list_del(&im->link);
	parcel_proc_free(im->proc);
	parcel_keep_fini(&im->keep);
	free(im);
}

/* ---- the end ---- */

static int remove_run(void *arg, struct error *err)
{
	struct parcel_import *im = arg;

	return parcel_keep_remove(&im->keep, err);
}

static void remove_done(void *arg, int rc, const struct error *err)
{
	struct parcel_import *im = arg;

	if (im->engine->stopping)
		return; /* parcels_free() */
	if (rc < 0)
		log_warn("import's '%s' is left: %s", im->keep.staging,
			 err->msg);
	unpin(im);
	call_fail(im->call, &im->err);
	import_free(im);
}

static const struct job_ops remove_job = { "import-remove", remove_run,
					   remove_done };

static void import_fails(struct parcel_import *im, const struct error *err)
{
	im->err = *err;
	if (atomic_load(&im->keep.cancel))
		err_set(&im->err, ERR_CANCELLED, "the import was cancelled");
	im->call->on_cancel = NULL;
	fd_close(&im->call->fd);
	im->proc = parcel_proc_free(im->proc);
	job_start(im->engine->jobs, &remove_job, im);
}

/* ---- commit ---- */

static void fill_rows(struct parcel_import *im, struct snapshot_row *row,
		      struct template_row *tpl)
{
	struct engine *e = im->engine;
	const ParcelManifest *m = im->keep.m;
	const char *template_id = im->keep.found < 0
					  ? im->template_id
					  : im->known[im->keep.found];
	int64_t now = loop_wall_ms();

	*row = (struct snapshot_row){ .created_ms = m->created_ms,
				      .size_bytes = im->keep.bytes,
				      .spec = spec_copy(m->spec) };
	snprintf(row->id, sizeof(row->id), "%s", im->id);
	snprintf(row->sandbox_id, sizeof(row->sandbox_id), "%s",
		 m->spec->sandbox_id);
	if (!snapshot_name_taken(e, row->sandbox_id, m->name))
		snprintf(row->name, sizeof(row->name), "%s", m->name);
	snprintf(row->image_digest, sizeof(row->image_digest), "%s",
		 m->image_digest);
	memcpy(row->nonce, m->nonce.data, sizeof(row->nonce));
	*tpl = (struct template_row){ .cpu = m->cpu,
				      .memory_mib = m->memory_mib,
				      .created_ms = now,
				      .used_ms = now,
				      .size_bytes = im->keep.template_bytes };
	if (!m->template_)
		return;
	snprintf(row->template_id, sizeof(row->template_id), "%s", template_id);
	snprintf(tpl->id, sizeof(tpl->id), "%s", template_id);
	snprintf(tpl->image, sizeof(tpl->image), "%s", m->spec->image);
	snprintf(tpl->image_digest, sizeof(tpl->image_digest), "%s",
		 m->image_digest);
	tpl->disk_mib = (uint32_t)(m->template_->disk_size >> 20);
}

static void commit(struct parcel_import *im)
{
	struct engine *e = im->engine;
	Sandbox__Node__V1__ImportSnapshotResponse r =
		SANDBOX__NODE__V1__IMPORT_SNAPSHOT_RESPONSE__INIT;
	bool own = im->keep.m->template_ && im->keep.found < 0;
	struct snapshot_view view;
	struct snapshot_row row;
	struct template_row tpl;
	struct snapshot *s;
	struct error err;

	fill_rows(im, &row, &tpl);
	s = snapshot_add(e, &row);
	store_begin(e->store);
	store_snapshot_put(e->store, &row);
	if (own)
		store_template_put(e->store, &tpl);
	r.snapshot = answer_snapshot(&view, s);
	call_answer(im->call, &r.base);
	if (store_commit(e->store, &err) < 0) {
		snapshot_drop(e, s);
		import_fails(im, &err);
		return;
	}
	if (own)
		template_restore(e, &tpl);
	unpin(im);
	log_info("snapshot '%s' of '%s': imported (%llu bytes, %llu ms)",
		 row.id, row.sandbox_id, (unsigned long long)row.size_bytes,
		 (unsigned long long)(loop_now_ms() - im->began_ms));
	im->call->on_cancel = NULL;
	call_send(im->call);
	import_free(im);
}

static int seal_run(void *arg, struct error *err)
{
	struct parcel_import *im = arg;

	return parcel_keep_seal(&im->keep, err);
}

static void seal_done(void *arg, int rc, const struct error *err)
{
	struct parcel_import *im = arg;
	struct error why;

	if (im->engine->stopping)
		return;
	if (rc == 0 && atomic_load(&im->keep.cancel)) {
		rc = err_set(&why, ERR_CANCELLED, "cancelled");
		err = &why;
	}
	if (rc < 0)
		import_fails(im, err);
	else
		commit(im);
}

static const struct job_ops seal_job = { "import-seal", seal_run, seal_done };

/* ---- what comes ---- */

static void unpacked(const struct error *err, void *arg)
{
	struct parcel_import *im = arg;

	im->unpacking = false;
	im->proc = parcel_proc_free(im->proc);
	if (im->preparing)
		im->err = *err; /* never NULL: it had no order yet */
	else if (err)
		import_fails(im, err);
	else
		job_start(im->engine->jobs, &seal_job, im);
}

static int prepare_run(void *arg, struct error *err)
{
	struct parcel_import *im = arg;

	return parcel_keep_prepare(&im->keep, err);
}

static void prepare_done(void *arg, int rc, const struct error *err)
{
	Sandbox__Ipc__V1__ParcelOrder order =
		SANDBOX__IPC__V1__PARCEL_ORDER__INIT;
	struct parcel_import *im = arg;
	struct error why = { 0 };

	if (im->engine->stopping)
		return;
	im->preparing = false;
	if (!im->unpacking) { /* it ended meanwhile, and said why */
		why = im->err;
		import_fails(im, &why);
		return;
	}
	if (rc == 0) {
		order.template_ = im->keep.m->template_ && im->keep.found < 0;
		parcel_proc_limit(im->proc, im->keep.file_max);
		rc = parcel_proc_order(im->proc, &order, im->keep.fds,
				       im->keep.n_fds, &why);
		err = &why;
	}
	if (rc < 0)
		parcel_proc_stop(im->proc, err);
}

static const struct job_ops prepare_job = { "import-prepare", prepare_run,
					    prepare_done };

static int accept_platform(struct engine *e, const ParcelPlatform *p,
			   struct error *err)
{
	const struct hv_info *info = &e->hv->info;
	struct snapshot_platform saved,
		host = { .vsock = info->vsock, .network = true };

	parcel_sheet_platform(p, &saved);
	snprintf(host.accelerator, sizeof(host.accelerator), "%s",
		 info->accelerator == HV_ACCEL_KVM ? "kvm" : "tcg");
	snprintf(host.qemu_version, sizeof(host.qemu_version), "%s",
		 info->qemu_version);
	snprintf(host.cpu_model, sizeof(host.cpu_model), "%s", info->cpu_model);
	return snapshot_platform_accepts(&host, &saved, err);
}

/* Its image under the name that it has here. */
static int accept_image(struct parcel_import *im, struct error *err)
{
	ParcelManifest *m = im->keep.m;
	const struct image *image =
		image_by_digest(im->engine->images, m->image_digest);

	if (!image) {
		err_set(err, ERR_NOT_FOUND,
			"image '%.128s' (%s) is not on this node: import it "
			"first",
			m->spec->image, m->image_digest);
		return err_reason(err, "IMAGE_NOT_FOUND", m->spec->image);
	}
	if (m->disk_size < image->size_bytes)
		return err_set(err, ERR_DATA_LOSS,
			       "part 'manifest' has a disk smaller than its "
			       "image");
	snprintf(im->keep.image_disk, sizeof(im->keep.image_disk), "%s",
		 image->disk);
	if (m->spec->image != (char *)protobuf_c_empty_string)
		free(m->spec->image);
	m->spec->image = xstrdup(image->name);
	return 0;
}

static int accept_manifest(struct parcel_import *im, struct error *err)
{
	ParcelManifest *m = im->keep.m;
	struct engine *e = im->engine;

	if (parcel_sheet_check(m, true, err) < 0)
		return -1;
	if (!e->hv->info.clones_work)
		return err_set(err, ERR_UNAVAILABLE,
			       "this node cannot clone guests: it cannot load "
			       "what another has saved that way");
	if (m->spec->template_[0] || !m->spec->sandbox_id[0] ||
	    spec_check_create(m->spec, err) < 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part 'manifest' has no proper 'spec'");
	if (accept_image(im, err) < 0 ||
	    accept_platform(e, m->platform, err) < 0)
		return -1;
	return m->template_ ? accept_platform(e, m->template_->platform, err)
			    : 0;
}

/* Templates of the same image and size are looked at for the very one. */
static int plan_template(struct parcel_import *im, struct error *err)
{
	struct parcel_keep *k = &im->keep;
	struct engine *e = im->engine;

	snprintf(im->template_id, sizeof(im->template_id), "%s%.*s",
		 TEMPLATE_FOREIGN, TEMPLATE_ID_DIGITS, k->m->template_ram);
	engine_path(e, "templates", im->template_id, k->template_dir,
		    sizeof(k->template_dir));
	k->known = xcalloc(KNOWN_MAX, sizeof(*k->known));
	list_for_each(&e->templates, t, struct template, link)
	{
		if (t->row.bad && !strcmp(t->row.id, im->template_id))
			return err_set(err, ERR_CONFLICT,
				       "template '%s' is there and does not "
				       "verify: remove it",
				       t->row.id);
		if (t->building || t->row.bad || k->n_known == KNOWN_MAX ||
		    strcmp(t->row.image_digest, k->m->image_digest) != 0 ||
		    t->row.cpu != k->m->cpu ||
		    t->row.memory_mib != k->m->memory_mib)
			continue;
		engine_path(e, "templates", t->row.id, k->known[k->n_known],
			    sizeof(*k->known));
		snprintf(im->known[k->n_known], sizeof(im->known[0]), "%s",
			 t->row.id);
		k->n_known++;
		t->pins++;
	}
	return 0;
}

/* @borrowed is the process's report: a copy is kept. */
static ParcelManifest *copy_manifest(const ParcelManifest *borrowed)
{
	size_t len =
		sandbox__ipc__v1__parcel_manifest__get_packed_size(borrowed);
	_cleanup_free_ uint8_t *packed = xcalloc(1, len + 1);

	sandbox__ipc__v1__parcel_manifest__pack(borrowed, packed);
	return sandbox__ipc__v1__parcel_manifest__unpack(NULL, len, packed);
}

static void on_manifest(const ParcelManifest *m, void *arg)
{
	struct parcel_import *im = arg;
	struct parcel_keep *k = &im->keep;
	struct engine *e = im->engine;
	char name[OBJECT_ID_SIZE + sizeof(PARCEL_STAGING)];
	struct error err = { 0 };

	k->m = copy_manifest(m);
	if (!k->m)
		abort(); /* it was packed a moment ago */
	if (accept_manifest(im, &err) < 0 ||
	    (k->m->template_ && plan_template(im, &err) < 0)) {
		parcel_proc_stop(im->proc, &err);
		return;
	}
	snprintf(name, sizeof(name), "%s%s", PARCEL_STAGING, im->id);
	engine_path(e, "snapshots", name, k->staging, sizeof(k->staging));
	engine_path(e, "snapshots", im->id, k->snapshot_dir,
		    sizeof(k->snapshot_dir));
	k->gid = e->hv->info.gid;
	k->ram_readonly = e->hv->info.ram_readonly;
	k->reserve = e->config->disk_reserve_mib << 20;
	im->preparing = true;
	job_start(e->jobs, &prepare_job, im);
}

/* ---- the beginning ---- */

static const struct parcel_proc_ops proc_ops = { on_manifest, unpacked };

static void on_cancel(struct call *call)
{
	struct parcel_import *im = call->cancel_arg;
	struct error err;

	atomic_store(&im->keep.cancel, true);
	err_set(&err, ERR_CANCELLED, "the import was cancelled");
	if (im->proc)
		parcel_proc_stop(im->proc, &err);
}

int parcel_import(struct engine *e, struct call *call, struct error *err)
{
	_cleanup_free_ char *program =
		xasprintf("%s/sandboxd-parcel", e->config->libexec);
	struct parcel_proc_config config = { .program = program,
					     .uid = e->helper_uid,
					     .gid = e->helper_gid,
					     .stream = call->fd };
	struct parcel_import *im;
	unsigned int n = 0;

	list_for_each(&e->imports, other, struct parcel_import, link) n++;
	if (n >= PARCEL_IMPORTS_MAX) {
		err_set(err, ERR_LIMIT, "%u snapshots are being imported", n);
		err->retry_ms = 5000;
		return -1;
	}
	im = xcalloc(1, sizeof(*im));
	im->engine = e;
	im->call = call;
	im->keep.found = -1;
	im->began_ms = loop_now_ms();
	engine_object_id("snap_", im->id);
	if (parcel_proc_start(e->loop, &config, &proc_ops, im, &im->proc, err) <
	    0) {
		free(im);
		return -1;
	}
	im->unpacking = true;
	fd_close(&call->fd);
	list_add_tail(&e->imports, &im->link);
	call->cancel_arg = im;
	call->on_cancel = on_cancel;
	return 0;
}

bool parcel_is_known(struct engine *e, const char *name)
{
	list_for_each(&e->imports, im, struct parcel_import,
		      link) if (!strcmp(im->id, name) ||
				!strcmp(im->template_id, name)) return true;
	return false;
}

void parcels_free(struct engine *e)
{
	parcel_exports_free(e);
	list_for_each(&e->imports, im, struct parcel_import, link)
		import_free(im);
}
