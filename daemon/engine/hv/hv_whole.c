/* SPDX-License-Identifier: Apache-2.0 */
/* hv_whole.c - a guest saved and restored by libvirt, all of its memory
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
 *
 * libvirt's file is a header, the domain's XML, and what QEMU wrote. A restore
 * needs the XML of another domain, with another uuid, disk and tap, which
 * libvirt refuses to exchange; so the file is kept without XML, and gets the
 * right one when it is put together for a restore.
 */
#include "engine/hv/hv_whole.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/hv/hv_conn.h"
#include "engine/snapshot/disk.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#define RAW_FILE       "sandbox.save"
#define PENDING_FILE   "pending"
#define GUEST_FILE     "guest"
#define PIECE	       (1u << 20)
#define LEVEL	       1
#define XML_MAX	       (1u << 20)
#define BACK_WAIT_MS   20000
#define FINISH_WAIT_MS 120000
#define LOOK_MS	       100

#define MAGIC_DONE "LibvirtQemudSave"

/* As libvirt has it, in the host's byte order. */
struct save_header {
	char magic[16];
	uint32_t version;
	uint32_t data_len; /* of XML and cookie, behind this */
	uint32_t was_running;
	uint32_t compressed; /* what libvirt did to QEMU's data */
	uint32_t cookie_offset;
	uint32_t unused[14];
};

_Static_assert(sizeof(struct save_header) == 92, "libvirt's header");

static void sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = ms / 1000,
			      .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- libvirt's file ---- */

static int read_header(int fd, struct save_header *ret, struct error *err)
{
	int r = fd_read_full(fd, ret, sizeof(*ret));

	if (r < 0 && r != -ENODATA)
		return err_sys(err, -r, "read what libvirt saved");
	if (r < 0 || memcmp(ret->magic, MAGIC_DONE, sizeof(ret->magic)) != 0 ||
	    ret->version < 2 || ret->version > 3)
		return err_set(err, ERR_DATA_LOSS,
			       "libvirt's save is unfinished, or of a kind "
			       "that is not known here");
	return 0;
}

static int squeeze(ZSTD_CCtx *zstd, int to, uint8_t *out, const void *data,
		   size_t len, bool last, struct error *err)
{
	ZSTD_inBuffer in = { data, len, 0 };
	size_t left;

	do {
		ZSTD_outBuffer o = { out, PIECE, 0 };
		int r;

		left = ZSTD_compressStream2(
			zstd, &o, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(err, ERR_INTERNAL, "compress: %s",
				       ZSTD_getErrorName(left));
		r = o.pos ? fd_write_full(to, out, o.pos) : 0;
		if (r < 0)
			return err_sys(err, -r, "write '%s'", SNAPSHOT_SAVE);
	} while (last ? left > 0 : in.pos < in.size);
	return 0;
}

static int squeeze_rest(ZSTD_CCtx *zstd, int from, int to, uint8_t *buf,
			uint8_t *out, struct error *err)
{
	for (;;) {
		ssize_t n = read(from, buf, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read what libvirt saved");
		if (squeeze(zstd, to, out, buf, (size_t)n, n == 0, err) < 0)
			return -1;
		if (n == 0)
			return 0;
	}
}

int hv_whole_pack(int from, int to, unsigned int threads, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	_cleanup_free_ uint8_t *out = xcalloc(1, PIECE);
	struct save_header h;
	ZSTD_CCtx *zstd;
	int rc;

	if (read_header(from, &h, err) < 0)
		return -1;
	if (lseek(from, h.data_len, SEEK_CUR) < 0)
		return err_sys(err, errno, "read what libvirt saved");
	h.data_len = h.cookie_offset = h.was_running = 0;
	zstd = ZSTD_createCCtx();
	if (!zstd)
		return err_set(err, ERR_LIMIT, "no memory to compress in");
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	/* A libzstd without threads refuses, and compresses all the same. */
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_nbWorkers, (int)threads);
	rc = squeeze(zstd, to, out, &h, sizeof(h), false, err);
	if (rc == 0)
		rc = squeeze_rest(zstd, from, to, buf, out, err);
	ZSTD_freeCCtx(zstd);
	return rc;
}

/* The header is the first that comes out; XML goes behind it. */
struct putting {
	int to;
	const char *xml;
	struct save_header h;
	size_t have;
};

static int put(struct putting *p, const uint8_t *data, size_t len,
	       struct error *err)
{
	size_t n = sizeof(p->h) - p->have;
	int r = 0;

	if (n > len)
		n = len;
	memcpy((uint8_t *)&p->h + p->have, data, n);
	p->have += n;
	if (n > 0 && p->have == sizeof(p->h)) {
		if (memcmp(p->h.magic, MAGIC_DONE, sizeof(p->h.magic)) != 0)
			return err_set(err, ERR_DATA_LOSS, "'%s' is altered",
				       SNAPSHOT_SAVE);
		p->h.data_len = (uint32_t)strlen(p->xml) + 1;
		r = fd_write_full(p->to, &p->h, sizeof(p->h));
		if (r == 0)
			r = fd_write_full(p->to, p->xml, p->h.data_len);
	}
	if (r == 0 && len > n)
		r = fd_write_full(p->to, data + n, len - n);
	return r < 0 ? err_sys(err, -r, "write what libvirt restores") : 0;
}

static int expand(ZSTD_DCtx *zstd, struct putting *p, int from, uint8_t *buf,
		  uint8_t *out, struct error *err)
{
	size_t left = 1;

	for (;;) {
		ssize_t n = read(from, buf, PIECE);
		ZSTD_inBuffer in = { buf, n > 0 ? (size_t)n : 0, 0 };
		bool full = false;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read '%s'", SNAPSHOT_SAVE);
		if (n == 0)
			break;
		while (in.pos < in.size || full) {
			ZSTD_outBuffer o = { out, PIECE, 0 };

			left = ZSTD_decompressStream(zstd, &o, &in);
			if (ZSTD_isError(left))
				return err_set(err, ERR_DATA_LOSS,
					       "'%s' is altered",
					       SNAPSHOT_SAVE);
			full = o.pos == o.size && left != 0;
			if (put(p, out, o.pos, err) < 0)
				return -1;
		}
	}
	if (left != 0 || p->have != sizeof(p->h))
		return err_set(err, ERR_DATA_LOSS, "'%s' is cut off",
			       SNAPSHOT_SAVE);
	return 0;
}

int hv_whole_unpack(int from, int to, const char *xml, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	_cleanup_free_ uint8_t *out = xcalloc(1, PIECE);
	struct putting p = { .to = to, .xml = xml };
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	int rc;

	if (!zstd)
		return err_set(err, ERR_LIMIT, "no memory to decompress in");
	rc = expand(zstd, &p, from, buf, out, err);
	ZSTD_freeDCtx(zstd);
	return rc;
}

/* ---- save ---- */

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
		sleep_ms(LOOK_MS);
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
		sleep_ms(LOOK_MS);
	}
}

static bool is_whole(int out_fd)
{
	_cleanup_close_ int fd =
		openat(out_fd, RAW_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct save_header h;

	return fd >= 0 && read_header(fd, &h, NULL) == 0;
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
	if (seal(s->out, s->out_fd, s->out_layers, s->lv->workers, s->m, err) < 0) {
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

/* ---- restore ---- */

static int make_restore_file(const struct guest_spec *spec, int snapshot_fd,
			     const char *xml, struct error *err)
{
	_cleanup_close_ int from = openat(snapshot_fd, SNAPSHOT_SAVE,
					  O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int dir_fd = hv_guest_open_dir(spec, err);
	_cleanup_close_ int to = -EBADF;

	if (dir_fd < 0)
		return -1;
	if (from < 0)
		return err_sys(err, errno, "open '%s'", SNAPSHOT_SAVE);
	to = openat(dir_fd, GUEST_RESTORE_FILE,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, errno, "create '%s'", GUEST_RESTORE_FILE);
	return hv_whole_unpack(from, to, xml, err);
}

int hv_whole_restore(virConnectPtr conn, const struct guest_spec *spec,
		     int snapshot_fd, const char *xml, virDomainPtr *ret,
		     struct error *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s/%s", spec->dir, GUEST_RESTORE_FILE);
	int rc = 0;

	if (strlen(xml) > XML_MAX)
		return err_set(err, ERR_LIMIT, "XML of %zu bytes", strlen(xml));
	if (make_restore_file(spec, snapshot_fd, xml, err) < 0 ||
	    (virDomainRestoreFlags(conn, path, NULL, VIR_DOMAIN_SAVE_PAUSED) <
		     0 &&
	     hv_conn_error(err, "have libvirt restore '%s'", spec->uuid) < 0))
		rc = -1;
	unlink(path);
	if (rc < 0)
		return -1;
	*ret = virDomainLookupByUUIDString(conn, spec->uuid);
	return *ret ? 0 :
		      hv_conn_error(err, "find guest '%s' that was restored",
				    spec->uuid);
}
