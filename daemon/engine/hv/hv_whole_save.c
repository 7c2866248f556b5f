/* SPDX-License-Identifier: Apache-2.0 */
/* hv_whole_save.c - a guest saved by libvirt, all of its memory
 *
 * Theory of operation
 * ===================
 *
 * libvirt's save ends the guest as soon as its file is written, so the order is
 * another than that of clones:
 *  1. stop the guest; its disk layers get second names in the new directory;
 *  2. "guest" and "pending" there say whose save this is and what it will be;
 *  3. libvirt writes sandbox.save and ends the guest;
 *  4. that is synced, packed into sandbox.save.zst, and the manifest commits.
 * A failure before 3 lets the guest run on; one in 4 brings it up again from
 * sandbox.save. That libvirt says 3 failed is not believed: whoever lost the
 * connection hears that too, and the guest may be in the file all the same.
 * When the daemon ends between 3 and the commit, the next one finds "pending"
 * and does 4 again (hv_whole_finish()); when it ends between the commit and the
 * removal of what only the save needed, the next one removes it.
 */
#include "engine/hv/hv_whole_save.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/hv/hv_conn.h"
#include "engine/hv/hv_saving.h"
#include "engine/hv/hv_whole.h"
#include "engine/snapshot/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAW_FILE       "sandbox.save"
#define PENDING_FILE   "pending"
#define GUEST_FILE     "guest"
#define BACK_WAIT_MS   20000
#define FINISH_WAIT_MS 120000
#define LOOK_MS	       100

static int write_pending(const struct saving *s, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (fd_replace_file(s->out_fd, GUEST_FILE, s->spec->uuid,
			    strlen(s->spec->uuid), 0600, err) < 0)
		return -1;
	text = snapshot_manifest_format(s->m, &len);
	return fd_replace_file(s->out_fd, PENDING_FILE, text, len, 0600, err);
}

static int pack_file(int out_fd, unsigned int threads, struct error *err)
{
	_cleanup_close_ int from =
		openat(out_fd, RAW_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = -EBADF;

	/* Until the commit this is all there is of the guest. */
	if (from < 0 || fsync(from) < 0 || fsync(out_fd) < 0)
		return err_sys(err, errno, "sync what libvirt saved");
	unlinkat(out_fd, SNAPSHOT_SAVE, 0);
	to = openat(out_fd, SNAPSHOT_SAVE,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, errno, "create '%s'", SNAPSHOT_SAVE);
	return hv_whole_pack(from, to, threads, err);
}

/* Once the manifest is there. */
static void drop_work_files(int fd)
{
	unlinkat(fd, RAW_FILE, 0);
	unlinkat(fd, PENDING_FILE, 0);
	unlinkat(fd, GUEST_FILE, 0);
}

/* Step 4. @m has no parts yet. */
static int seal(const char *out, int out_fd, unsigned int layers,
		unsigned int threads, struct snapshot_manifest *m,
		struct error *err)
{
	if (pack_file(out_fd, threads, err) < 0 ||
	    saving_add_disks(out_fd, layers, m, err) < 0 ||
	    snapshot_add_part(out_fd, SNAPSHOT_SAVE, m, err) < 0 ||
	    snapshot_commit(out, out_fd, m, err) < 0)
		return -1;
	drop_work_files(out_fd);
	return 0;
}

/* Its disk is its own again, and it runs: one try. */
static int try_put_back(struct saving *s, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", s->out, RAW_FILE);
	_cleanup_connect_ virConnectPtr c = NULL;
	unsigned int layers;

	if (hv_conn_get(s->lv->conn, &c, err) < 0 ||
	    disk_settle(s->dir_fd, s->active, s->spec->slot.uid, &layers, err) <
		    0)
		return -1;
	if (virDomainRestoreFlags(c, path, NULL, VIR_DOMAIN_SAVE_RUNNING) < 0)
		return hv_conn_error(err, "bring it up again");
	return 0;
}

/* Out of reach of everything that removes unfinished snapshots. */
static void keep_for_people(struct saving *s, const struct error *why)
{
	const char *name = strrchr(s->out, '/');
	_cleanup_free_ char *kept =
		xasprintf("%.*s.kept-%s", name ? (int)(name + 1 - s->out) : 0,
			  s->out, name ? name + 1 : s->out);

	s->keep_out = true;
	if (rename(s->out, kept) < 0)
		log_warn("rename '%s': %s", s->out, strerror(errno));
	log_err("guest '%s': %s; what libvirt saved of it is in '%s'",
		s->spec->uuid, why->msg, kept);
}

/* From what libvirt wrote, for that is whole: the rest failed. */
static void put_back(struct saving *s)
{
	uint64_t deadline = loop_now_ms() + BACK_WAIT_MS;
	struct error err = { 0 };
	char name[32];

	unlinkat(s->out_fd, SNAPSHOT_SAVE, 0);
	for (unsigned int n = 0; n <= s->layers; n++) {
		disk_layer_name(n, name, sizeof(name));
		unlinkat(s->out_fd, name, 0);
	}
	while (try_put_back(s, &err) < 0) {
		if (loop_now_ms() > deadline) {
			err_wrap(&err, "it cannot be brought up again");
			keep_for_people(s, &err);
			return;
		}
		hv_sleep_ms(LOOK_MS);
	}
}

static int go_on(struct saving *s, struct error *err)
{
	if (saving_start_again(s, err) == 0)
		return 0;
	s->keep_out = true;
	return -1;
}

/* 1: libvirt has ended it; 0: it is there, and nobody saves it; -1. */
static int wait_saved(struct hv_libvirt *lv, const char *uuid,
		      const struct hv_progress *progress, struct error *err)
{
	uint64_t deadline = loop_now_ms() + FINISH_WAIT_MS;

	for (;;) {
		_cleanup_domain_ virDomainPtr dom = NULL;
		int r = hv_conn_find(lv->conn, uuid, &dom, err);
		virDomainJobInfo job = { 0 };

		if (r == 0)
			return 1;
		if (r > 0 && virDomainGetJobInfo(dom, &job) == 0 &&
		    job.type == VIR_DOMAIN_JOB_NONE)
			return 0;
		if (progress && progress->cancel)
			return err_set(err, ERR_CANCELLED, "save: stopped");
		if (loop_now_ms() > deadline)
			return r < 0 ? -1 :
				       err_set(err, ERR_TIMEOUT,
					       "libvirt's save of '%s' does "
					       "not end",
					       uuid);
		hv_sleep_ms(LOOK_MS);
	}
}

static bool is_whole(int out_fd)
{
	_cleanup_close_ int fd =
		openat(out_fd, RAW_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && hv_whole_is_complete(fd);
}

static int save_by_libvirt(struct saving *s, struct hv_progress *progress,
			   struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", s->out, RAW_FILE);
	struct error why = { 0 };
	int gone;

	if (virDomainSaveFlags(s->dom, path, NULL, VIR_DOMAIN_SAVE_PAUSED) == 0)
		return 0;
	hv_conn_error(err, "have libvirt save it");
	gone = wait_saved(s->lv, s->spec->uuid, progress, &why);
	if (gone > 0 && is_whole(s->out_fd)) {
		log_info("guest '%s' is saved, though: %s", s->spec->uuid,
			 err->msg);
		return 0;
	}
	if (gone < 0 && why.code != ERR_CANCELLED) {
		err_wrap(&why, "nobody knows whether it is saved");
		keep_for_people(s, &why);
	}
	return -1;
}

int hv_whole_save(struct saving *s, bool keep_running, uint64_t *ret_bytes,
		  struct hv_progress *progress, struct error *err)
{
	if (saving_link_disk(s, err) < 0 || write_pending(s, err) < 0)
		return -1;
	if (progress && progress->cancel)
		return err_set(err, ERR_CANCELLED, "save: stopped");
	if (save_by_libvirt(s, progress, err) < 0)
		return -1;
	if (s->layers + 1 > DISK_CHAIN_MAX)
		saving_merge_layers(s);
	if (seal(s->out, s->out_fd, s->out_layers, s->lv->workers, s->m, err) <
	    0) {
		put_back(s);
		return -1;
	}
	*ret_bytes = saving_bytes(s->m);
	return keep_running ? go_on(s, err) : 0;
}

/* ---- after a crash ---- */

static unsigned int count_layers(int fd)
{
	unsigned int n = 0;
	char name[32];

	for (; n <= DISK_LAYERS_MAX; n++) {
		disk_layer_name(n, name, sizeof(name));
		if (faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	return n;
}

static int finish(struct hv_libvirt *lv, const char *dir, int fd,
		  struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *m = xcalloc(1, sizeof(*m));
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *uuid = NULL;
	unsigned int layers = count_layers(fd);
	size_t len;
	int r = fd_read_file(fd, PENDING_FILE, SNAPSHOT_MANIFEST_MAX, &text,
			     &len);

	if (r < 0)
		return err_sys(err, -r, "read '%s'", PENDING_FILE);
	if (snapshot_manifest_parse(text, len, m, err) < 0)
		return -1;
	r = fd_read_file(fd, GUEST_FILE, HV_UUID_SIZE, &uuid, &len);
	if (r < 0)
		return err_sys(err, -r, "read '%s'", GUEST_FILE);
	r = wait_saved(lv, uuid, NULL, err);
	if (r < 0)
		return -1;
	if (r == 0 || layers == 0)
		return err_set(err, ERR_NOT_FOUND, "it was not saved yet");
	log_info("snapshot '%s': its save is finished now", dir);
	return seal(dir, fd, layers - 1, lv->workers, m, err);
}

int hv_whole_finish(struct hv_libvirt *lv, const char *snapshot_dir,
		    struct error *err)
{
	_cleanup_close_ int fd =
		open(snapshot_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return 0;
	if (faccessat(fd, SNAPSHOT_MANIFEST_NAME, F_OK, 0) == 0) {
		drop_work_files(fd);
		return 0;
	}
	if (faccessat(fd, PENDING_FILE, F_OK, 0) < 0)
		return 0;
	rc = finish(lv, snapshot_dir, fd, err);
	return rc < 0 ? err_wrap(err, "snapshot '%s'", snapshot_dir) : 0;
}
