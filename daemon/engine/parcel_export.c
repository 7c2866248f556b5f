/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_export.c - a snapshot of this node becomes a stream
 *
 * First a job reads all of it and compares checksums: what is altered here is
 * not sent out with a new checksum. Then sandboxd-parcel packs.
 */
#include "engine/parcel.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/saves.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/parcel_proc.h"
#include "engine/snapshot/template.h"
#include "engine/templates.h"
#include "engine/spec_check.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/**
 * struct parcel_export - One under way
 * @snapshot:	Used, so that its files stay
 * @sheet and what follows: The manifest, and what it points to
 */
struct parcel_export {
	struct list link;
	struct engine *engine;
	struct call *call;
	struct snapshot *snapshot;
	struct parcel_proc *proc;
	bool in_job;
	atomic_bool cancel;
	char snapshot_dir[PATH_MAX], template_dir[PATH_MAX];
	ParcelManifest sheet;
	ParcelPlatform platform, template_platform;
	ParcelTemplate template;
	ParcelPart parts[PARCEL_PARTS_MAX], *at[PARCEL_PARTS_MAX];
	struct snapshot_manifest own, base;
	Spec *spec;
	char name[65];
	uint8_t nonce[SANDBOX_NONCE_LEN];
	int fds[PARCEL_PARTS_MAX];
	size_t n_fds;
};

static void export_free(struct parcel_export *x)
{
	list_del(&x->link);
	parcel_proc_free(x->proc);
	for (size_t i = 0; i < x->n_fds; i++)
		fd_close(&x->fds[i]);
	pb_free(x->spec);
	free(x);
}

static void export_ends(struct parcel_export *x, const struct error *err)
{
	struct engine *e = x->engine;
	Sandbox__Node__V1__ExportSnapshotResponse r =
		SANDBOX__NODE__V1__EXPORT_SNAPSHOT_RESPONSE__INIT;
	struct error cancelled;

	x->call->on_cancel = NULL;
	fd_close(&x->call->fd);
	if (err && atomic_load(&x->cancel)) {
		err_set(&cancelled, ERR_CANCELLED, "the export was cancelled");
		err = &cancelled;
	}
	if (err) {
		call_fail(x->call, err);
	} else {
		log_info("snapshot '%s': exported", x->snapshot->row.id);
		call_finish(x->call, &r.base);
	}
	snapshot_unuse(e, x->snapshot);
	export_free(x);
}

/* ---- on a worker: look at it all ---- */

static void fill_platform(ParcelPlatform *to, struct snapshot_platform *from)
{
	sandbox__ipc__v1__parcel_platform__init(to);
	to->accelerator = from->accelerator;
	to->machine = from->machine;
	to->qemu_version = from->qemu_version;
	to->cpu_model = from->cpu_model;
	to->kernel_version = from->kernel_version;
	to->vsock = from->vsock;
	to->network = from->network;
}

static int add_part(struct parcel_export *x, int dir_fd, ParcelKind kind,
		    const char *name, struct error *err)
{
	ParcelPart *part = &x->parts[x->n_fds];
	int fd;

	if (x->n_fds == PARCEL_PARTS_MAX)
		return err_set(err, ERR_LIMIT,
			       "it has more than %d disk layers: pause its "
			       "sandbox once",
			       PARCEL_DISKS_MAX);
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open part '%s'", name);
	sandbox__ipc__v1__parcel_part__init(part);
	part->kind = kind;
	x->at[x->n_fds] = part;
	x->fds[x->n_fds++] = fd;
	x->sheet.n_parts = x->n_fds;
	return 0;
}

static int open_template(struct parcel_export *x, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	const struct snapshot_part *ram;

	if (template_verify(x->template_dir, err) < 0 ||
	    template_open(x->template_dir, &x->base, err) < 0)
		return -1;
	ram = snapshot_manifest_part(&x->base, TEMPLATE_RAM);
	if (!ram || strcmp(ram->sha256, x->own.template_ram) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "template '%s' is another than the snapshot's",
			       x->template_dir);
	fd = open(x->template_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open '%s'", x->template_dir);
	sandbox__ipc__v1__parcel_template__init(&x->template);
	x->template.created_ms = x->base.created_ms;
	x->template.disk_size = x->base.disk_size;
	x->template.platform = &x->template_platform;
	fill_platform(&x->template_platform, &x->base.platform);
	x->sheet.template_ = &x->template;
	x->sheet.template_ram = x->own.template_ram;
	if (add_part(x, fd, PARCEL_KIND(TEMPLATE_MEMORY), TEMPLATE_RAM, err) <
		    0 ||
	    add_part(x, fd, PARCEL_KIND(TEMPLATE_STATE), TEMPLATE_STATE, err) <
		    0)
		return -1;
	return add_part(x, fd, PARCEL_KIND(TEMPLATE_DISK), TEMPLATE_DISK, err);
}

static int open_snapshot(struct parcel_export *x, int fd, struct error *err)
{
	char name[32];

	if (add_part(x, fd, PARCEL_KIND(MEMORY), SNAPSHOT_MEM, err) < 0 ||
	    add_part(x, fd, PARCEL_KIND(STATE), SNAPSHOT_STATE, err) < 0)
		return -1;
	for (unsigned int n = 0;; n++) {
		disk_layer_name(n, name, sizeof(name));
		if (!snapshot_manifest_part(&x->own, name))
			return 0;
		if (add_part(x, fd, PARCEL_KIND(DISK), name, err) < 0)
			return -1;
	}
}

static void fill_sheet(struct parcel_export *x)
{
	ParcelManifest *m = &x->sheet;

	m->created_ms = x->own.created_ms;
	m->cpu = x->own.cpu;
	m->memory_mib = x->own.memory_mib;
	m->disk_size = x->own.disk_size;
	m->image_digest = x->own.image_digest;
	m->platform = &x->platform;
	fill_platform(&x->platform, &x->own.platform);
	m->name = x->name;
	m->nonce = (ProtobufCBinaryData){ sizeof(x->nonce), x->nonce };
	m->spec = x->spec;
	m->parts = x->at;
}

static int look_run(void *arg, struct error *err)
{
	struct parcel_export *x = arg;
	_cleanup_close_ int fd =
		open(x->snapshot_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, errno, "open '%s'", x->snapshot_dir);
	if (snapshot_read(fd, SNAPSHOT_GUEST, &x->own, err) < 0)
		return -1;
	if (!snapshot_manifest_part(&x->own, SNAPSHOT_MEM))
		return err_set(err, ERR_INVALID,
			       "it was saved by libvirt: only snapshots of the "
			       "clone mechanism can be exported");
	for (size_t i = 0; i < x->own.n_parts; i++) {
		if (atomic_load(&x->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		if (snapshot_check_part(fd, &x->own.parts[i], SNAPSHOT_ALL,
					err) < 0)
			return -1;
	}
	fill_sheet(x);
	if (x->own.template_ram[0] && open_template(x, err) < 0)
		return -1;
	return open_snapshot(x, fd, err);
}

static void packed(const struct error *err, void *arg)
{
	export_ends(arg, err);
}

static const struct parcel_proc_ops proc_ops = { .ended = packed };

static int start_packing(struct parcel_export *x, struct error *err)
{
	struct engine *e = x->engine;
	_cleanup_free_ char *program =
		xasprintf("%s/sandboxd-parcel", e->config->libexec);
	struct parcel_proc_config config = { .program = program,
					     .uid = e->helper_uid,
					     .gid = e->helper_gid,
					     .pack = true,
					     .stream = x->call->fd };
	Sandbox__Ipc__V1__ParcelOrder order =
		SANDBOX__IPC__V1__PARCEL_ORDER__INIT;

	order.manifest = &x->sheet;
	if (parcel_proc_start(e->loop, &config, &proc_ops, x, &x->proc, err) <
	    0)
		return -1;
	if (parcel_proc_order(x->proc, &order, x->fds, x->n_fds, err) < 0) {
		x->proc = parcel_proc_free(x->proc);
		return -1;
	}
	/* The process's alone: its end is the stream's. */
	fd_close(&x->call->fd);
	return 0;
}

static void look_done(void *arg, int rc, const struct error *err)
{
	struct parcel_export *x = arg;
	struct error why = { 0 };

	x->in_job = false;
	if (x->engine->stopping)
		return; /* parcels_free() */
	if (rc == 0 && atomic_load(&x->cancel)) {
		rc = err_set(&why, ERR_CANCELLED, "cancelled");
		err = &why;
	}
	if (rc == 0) {
		rc = start_packing(x, &why);
		err = &why;
	}
	if (rc < 0) {
		template_doubted(x->engine, x->template_dir, false);
		export_ends(x, err);
	}
}

static const struct job_ops look_job = { "export", look_run, look_done };

static void on_cancel(struct call *call)
{
	struct parcel_export *x = call->cancel_arg;
	struct error err;

	atomic_store(&x->cancel, true);
	err_set(&err, ERR_CANCELLED, "the export was cancelled");
	if (x->proc)
		parcel_proc_stop(x->proc, &err);
}

static void blank(char **at)
{
	if (*at != (char *)protobuf_c_empty_string)
		free(*at);
	*at = (char *)(uintptr_t)protobuf_c_empty_string;
}

int parcel_export(struct engine *e, struct snapshot *s, struct call *call,
		  struct error *err)
{
	struct parcel_export *x;
	unsigned int n = 0;

	list_for_each(&e->exports, other, struct parcel_export, link) n++;
	if (n >= PARCEL_EXPORTS_MAX) {
		err_set(err, ERR_LIMIT, "%u snapshots are being exported", n);
		err->retry_ms = 5000;
		return -1;
	}
	x = xcalloc(1, sizeof(*x));
	x->engine = e;
	x->call = call;
	x->snapshot = s;
	snapshot_use(e, s);
	list_add_tail(&e->exports, &x->link);
	engine_path(e, "snapshots", s->row.id, x->snapshot_dir,
		    sizeof(x->snapshot_dir));
	engine_path(e, "templates", s->row.template_id, x->template_dir,
		    sizeof(x->template_dir));
	sandbox__ipc__v1__parcel_manifest__init(&x->sheet);
	x->spec = spec_copy(s->row.spec);
	blank(&x->spec->request_id);
	blank(&x->spec->template_);
	snprintf(x->name, sizeof(x->name), "%s", s->row.name);
	memcpy(x->nonce, s->row.nonce, sizeof(x->nonce));
	call->cancel_arg = x;
	call->on_cancel = on_cancel;
	x->in_job = true;
	job_start(e->jobs, &look_job, x);
	return 0;
}

void parcel_exports_free(struct engine *e)
{
	list_for_each(&e->exports, x, struct parcel_export, link)
		export_free(x);
}
