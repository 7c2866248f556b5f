/* SPDX-License-Identifier: Apache-2.0 */
/* hv_saving.c - what both ways to save a guest do alike */
#include "engine/hv/hv_saving.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/hv/hv_start.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_ON_WAIT_MS 20000
#define RETRY_MS       100

void saving_fini(struct saving *s)
{
	page_runs_free(&s->runs);
	qemu_proc_close(&s->proc);
	fd_close(&s->dir_fd);
	fd_close(&s->out_fd);
	if (s->dom)
		virDomainFree(s->dom);
	free(s->m);
}

/* What memory is a difference from, as the manifest has it. */
static int note_template(struct saving *s, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *t = xcalloc(1, sizeof(*t));
	_cleanup_close_ int fd = -EBADF;
	const struct snapshot_part *ram;

	fd = open(s->template_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open template '%s'",
			       s->template_dir);
	if (snapshot_read(fd, SNAPSHOT_TEMPLATE, t, err) < 0)
		return err_wrap(err, "template '%s'", s->template_dir);
	ram = snapshot_manifest_part(t, TEMPLATE_RAM);
	if (!ram)
		return err_set(err, ERR_DATA_LOSS,
			       "template '%s' has no memory", s->template_dir);
	memcpy(s->m->template_identity, t->template_identity,
	       sizeof(t->template_identity));
	memcpy(s->m->template_ram, ram->sha256, sizeof(ram->sha256));
	/* Its machine type, not the newest, is what the guest runs on. */
	memcpy(s->m->platform.machine, t->platform.machine,
	       sizeof(t->platform.machine));
	return 0;
}

int saving_init(struct saving *s, struct hv *hv, const struct guest_spec *spec,
		const char *template_dir, const char *out,
		enum snapshot_kind kind, struct error *err)
{
	int n;

	*s = (struct saving){ .lv = (struct hv_libvirt *)hv,
			      .spec = spec,
			      .template_dir = template_dir,
			      .out = out,
			      .dir_fd = -EBADF,
			      .out_fd = -EBADF,
			      .proc = QEMU_PROC_NONE };
	laps_begin(&s->laps);
	s->m = xcalloc(1, sizeof(*s->m));
	s->m->kind = kind;
	s->m->created_ms = loop_wall_ms();
	s->m->cpu = spec->cpu;
	s->m->memory_mib = spec->memory_mib;
	if (str_copy(s->m->image_digest, sizeof(s->m->image_digest),
		     spec->image_digest) < 0)
		return err_set(err, ERR_INVALID, "digest of the image");
	hv_guest_platform(s->lv, spec, &s->m->platform);
	if (template_dir && note_template(s, err) < 0)
		return -1;
	s->dir_fd = hv_guest_open_dir(spec, err);
	if (s->dir_fd < 0)
		return -1;
	n = hv_conn_find(s->lv->conn, spec->uuid, &s->dom, err);
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "no guest '%s'", spec->uuid);
	if (n < 0 || hv_guest_layers(s->dom, spec, s->dir_fd, s->active,
				     sizeof(s->active), &s->layers, err) < 0)
		return -1;
	if (s->layers >= DISK_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "disk of %u layers", s->layers);
	s->out_layers = s->layers;
	if (disk_read_size(s->dir_fd, s->active, &s->m->disk_size, err) < 0)
		return -1;
	return hv_guest_open_proc(spec, &s->proc, err);
}

/* The new directory: made, or there and empty of a manifest. */
int saving_make_out(struct saving *s, struct error *err)
{
	if (mkdir(s->out, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make directory '%s'", s->out);
	s->out_fd =
		open(s->out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->out_fd < 0)
		return err_sys(err, errno, "open directory '%s'", s->out);
	if (faccessat(s->out_fd, SNAPSHOT_MANIFEST_NAME, F_OK, 0) == 0)
		return err_set(err, ERR_EXISTS, "'%s' is there already",
			       s->out);
	return 0;
}

void saving_remove_out(const struct saving *s)
{
	struct error err = { 0 };

	if (s->out_fd >= 0 && fd_remove_tree(AT_FDCWD, s->out, &err) < 0)
		log_warn("unfinished '%s' is left: %s", s->out, err.msg);
}

int saving_stop_guest(const struct saving *s, struct error *err)
{
	int state, reason;

	if (virDomainGetState(s->dom, &state, &reason, 0) < 0)
		return hv_conn_error(err, "look at guest '%s'", s->spec->uuid);
	if (state == VIR_DOMAIN_PAUSED)
		return 0;
	if (virDomainSuspend(s->dom) < 0)
		return hv_conn_error(err, "stop guest '%s'", s->spec->uuid);
	return 0;
}

int saving_link_disk(struct saving *s, struct error *err)
{
	char name[32];

	disk_layer_name(s->layers, name, sizeof(name));
	if (disk_link_layers(s->dir_fd, s->out_fd, s->layers, err) < 0)
		return -1;
	return disk_seal(s->dir_fd, s->active, s->out_fd, name,
			 s->spec->slot.uid, err);
}

/* A long chain becomes one layer. That it does not is no reason to fail. It is
 * made in the guest's directory, which qemu-img with the guest's rights can
 * reach, and only then linked into the new one.
 */
void saving_merge_layers(struct saving *s)
{
	const char *format = s->template_dir ? "qcow2" : "raw";
	_cleanup_free_ char *base =
		s->template_dir ?
			xasprintf("%s/%s", s->template_dir, TEMPLATE_DISK) :
			xstrdup(s->spec->image_disk);
	struct error err = { 0 };
	char name[32];

	unlinkat(s->dir_fd, DISK_MERGED, 0);
	if (disk_merge(s->lv->qemu_img, s->spec->dir, s->active, DISK_MERGED,
		       base, format, s->spec->slot.uid, s->lv->gid, NULL,
		       &err) < 0 ||
	    disk_seal(s->dir_fd, DISK_MERGED, s->out_fd, DISK_MERGED,
		      s->spec->slot.uid, &err) < 0) {
		log_warn("snapshot '%s' keeps %u disk layers: %s", s->out,
			 s->layers + 1, err.msg);
		unlinkat(s->dir_fd, DISK_MERGED, 0);
		return;
	}
	unlinkat(s->dir_fd, DISK_MERGED, 0);
	for (unsigned int n = 0; n <= s->layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		unlinkat(s->out_fd, name, 0);
	}
	disk_layer_name(0, name, sizeof(name));
	renameat(s->out_fd, DISK_MERGED, s->out_fd, name);
	s->out_layers = 0;
}

int saving_add_disks(int out_fd, unsigned int layers,
		     struct snapshot_manifest *m, struct error *err)
{
	char name[32];

	for (unsigned int n = 0; n <= layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		if ((n == layers &&
		     disk_make_readonly(out_fd, name, 0, 0444, err) < 0) ||
		    snapshot_add_part(out_fd, name, m, err) < 0)
			return -1;
	}
	return 0;
}

uint64_t saving_bytes(const struct snapshot_manifest *m)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->n_parts; i++)
		bytes += m->parts[i].size;
	return bytes;
}

/* One try: 1 it runs, or is no more; 0 libvirt does not answer; -1. */
static int try_run_on(struct saving *s, struct error *err)
{
	_cleanup_domain_ virDomainPtr dom = NULL;
	int r = hv_conn_find(s->lv->conn, s->spec->uuid, &dom, err);

	if (r < 0)
		return err->code == ERR_UNAVAILABLE ? 0 : -1;
	if (r == 0)
		return 1;
	/* What was sealed goes back to it, unless it writes elsewhere. */
	if (hv_guest_layers(dom, s->spec, s->dir_fd, s->active,
			    sizeof(s->active), &s->layers, err) < 0)
		return err->code == ERR_UNAVAILABLE ? 0 : -1;
	if (virDomainResume(dom) == 0 ||
	    virGetLastErrorCode() == VIR_ERR_OPERATION_INVALID)
		return 1;
	hv_conn_error(err, "let it run");
	return err->code == ERR_UNAVAILABLE ? 0 : -1;
}

/* The guest must not stand still because libvirt went away in mid-save: it is
 * waited for. Longer than this it is the life cycle's to find it stopped.
 */
void saving_run_on(struct saving *s)
{
	uint64_t deadline = loop_now_ms() + RUN_ON_WAIT_MS;
	struct error err = { 0 };
	int r;

	while ((r = try_run_on(s, &err)) == 0 && loop_now_ms() < deadline)
		hv_sleep_ms(RETRY_MS);
	if (r <= 0)
		log_err("guest '%s' stands still after its save: %s",
			s->spec->uuid, err.msg);
}

int saving_start_again(struct saving *s, struct error *err)
{
	uint64_t deadline = loop_now_ms() + RUN_ON_WAIT_MS;

	while (hv_guest_start(&s->lv->base, s->spec, s->template_dir, s->out,
			      false, err) < 0) {
		if (loop_now_ms() > deadline)
			return -1;
		hv_sleep_ms(RETRY_MS);
	}
	return 0;
}
