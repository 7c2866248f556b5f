/* SPDX-License-Identifier: Apache-2.0 */
/* hv_whole.c - what libvirt writes when it saves a guest, packed and put back
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
#include "base/mem.h"
#include "engine/hv/hv_conn.h"
#include "engine/snapshot/snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define PIECE	       (1u << 20)
#define LEVEL	       1
#define XML_MAX	       (1u << 20)

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

bool hv_whole_is_complete(int fd)
{
	struct save_header h;

	return read_header(fd, &h, NULL) == 0;
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
