/* SPDX-License-Identifier: Apache-2.0 */
/* hv_merge.c - a snapshot with many disk layers becomes one with a single one
 *
 * Theory of operation
 * ===================
 *
 * A snapshot never changes, so it is made a second time: memory and state by
 * second names of the same files, the disk by qemu-img from the layers. It is
 * whole, with its manifest, before its caller puts it in the place of the first
 * by exchanging the two directories: whatever the moment of a crash, there is
 * one of them.
 *
 * The layers were written by a guest's QEMU. qemu-img reads them under a uid
 * of its own in a directory of its own, where they are by second names. They
 * must match their checksums: a merged layer gets a new one.
 */
#include "engine/hv/hv_merge.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/template.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct merging {
	struct hv_libvirt *lv;
	const struct guest_spec *spec;
	const char *template_dir, *from_dir, *out_dir;
	int dir_fd, from_fd, out_fd;
	unsigned int layers;
	struct snapshot_manifest *m;
	const _Atomic bool *cancel;
};

static void merging_fini(struct merging *g)
{
	fd_close(&g->dir_fd);
	fd_close(&g->from_fd);
	fd_close(&g->out_fd);
	free(g->m);
}

static int look(struct merging *g, struct error *err)
{
	char name[32];

	g->from_fd = open(g->from_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->from_fd < 0)
		return err_sys(err, errno, "open '%s'", g->from_dir);
	if (snapshot_read(g->from_fd, SNAPSHOT_GUEST, g->m, err) < 0)
		return -1;
	for (;; g->layers++) {
		disk_layer_name(g->layers, name, sizeof(name));
		if (!snapshot_manifest_part(g->m, name))
			return 0;
	}
}

static int check_layers(const struct merging *g, struct error *err)
{
	char name[32];

	for (unsigned int n = 0; n < g->layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		if (*g->cancel)
			return err_set(err, ERR_CANCELLED, "stopped");
		if (snapshot_check_part(g->from_fd,
					snapshot_manifest_part(g->m, name),
					SNAPSHOT_ALL, err) < 0)
			return -1;
	}
	return 0;
}

/* The one layer, in the directory of its own. */
static int merge_disk(struct merging *g, struct error *err)
{
	const char *format = g->template_dir ? "qcow2" : "raw";
	_cleanup_free_ char *base =
		g->template_dir ?
			xasprintf("%s/%s", g->template_dir, TEMPLATE_DISK) :
			xstrdup(g->spec->image_disk);
	char top[32];

	g->dir_fd = hv_guest_open_dir(g->spec, err);
	if (g->dir_fd < 0)
		return -1;
	if (fchown(g->dir_fd, g->spec->slot.uid, g->lv->gid) < 0)
		return err_sys(err, errno, "give '%s' away", g->spec->dir);
	if (disk_link_layers(g->from_fd, g->dir_fd, g->layers, err) < 0)
		return -1;
	disk_layer_name(g->layers - 1, top, sizeof(top));
	return disk_merge(g->lv->qemu_img, g->spec->dir, top, DISK_MERGED, base,
			  format, g->spec->slot.uid, g->lv->gid, g->cancel,
			  err);
}

static int link_part(const struct merging *g, const char *name,
		     struct error *err)
{
	if (linkat(g->from_fd, name, g->out_fd, name, 0) < 0)
		return err_sys(err, errno, "link '%s'", name);
	return 0;
}

/* All parts but the layers, by second names; and the merged one. */
static int fill_out(struct merging *g, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *m =
		xmemdup(g->m, sizeof(*g->m));
	char name[32];

	if (mkdir(g->out_dir, 0700) < 0)
		return err_sys(err, errno, "make '%s'", g->out_dir);
	g->out_fd = open(g->out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->out_fd < 0)
		return err_sys(err, errno, "open '%s'", g->out_dir);
	disk_layer_name(0, name, sizeof(name));
	if (disk_seal(g->dir_fd, DISK_MERGED, g->out_fd, name,
		      g->spec->slot.uid, err) < 0 ||
	    disk_make_readonly(g->out_fd, name, 0, 0444, err) < 0)
		return -1;
	m->n_parts = 0;
	if (snapshot_add_part(g->out_fd, name, m, err) < 0)
		return -1;
	for (size_t i = 0; i < g->m->n_parts; i++) {
		const char *part = g->m->parts[i].name;

		if (!strncmp(part, "disk.", 5))
			continue;
		if (link_part(g, part, err) < 0 ||
		    snapshot_add_part(g->out_fd, part, m, err) < 0)
			return -1;
	}
	*g->m = *m;
	return snapshot_commit(g->out_dir, g->out_fd, m, err);
}

int hv_guest_merge(struct hv *hv, const struct guest_spec *spec,
		   const char *template_dir, const char *snapshot_dir,
		   const char *out_dir, uint64_t *ret_bytes,
		   struct hv_progress *progress, struct error *err)
{
	struct merging g = { .lv = (struct hv_libvirt *)hv,
			     .spec = spec,
			     .template_dir = template_dir,
			     .from_dir = snapshot_dir,
			     .out_dir = out_dir,
			     .dir_fd = -EBADF,
			     .from_fd = -EBADF,
			     .out_fd = -EBADF,
			     .cancel = &progress->cancel };
	struct error late = { 0 };
	int rc;

	*ret_bytes = 0;
	g.m = xcalloc(1, sizeof(*g.m));
	rc = look(&g, err);
	if (rc == 0 && g.layers > DISK_MERGE_AT) {
		rc = check_layers(&g, err);
		if (rc == 0)
			rc = merge_disk(&g, err);
		if (rc == 0)
			rc = fill_out(&g, err);
		for (size_t i = 0; rc == 0 && i < g.m->n_parts; i++)
			*ret_bytes += g.m->parts[i].size;
		if (rc < 0 && fd_remove_tree(AT_FDCWD, out_dir, &late) < 0)
			log_warn("unfinished '%s' is left: %s", out_dir,
				 late.msg);
	}
	merging_fini(&g);
	return rc < 0 ? err_wrap(err, "merge disk layers of '%s'",
				 snapshot_dir) :
			0;
}
