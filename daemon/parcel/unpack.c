/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - a stream into a snapshot's files
 *
 * Theory of operation
 * ===================
 *
 * The engine hears the manifest before anything is written and decides whether
 * it wants this; then it hands over the files. Pages of memory go to their
 * place in a sparse file, and their runs into a table beside it: the engine
 * makes its own kind of file of the two, so that nothing it will ever parse was
 * written by whoever made the stream.
 */
#include "parcel/unpack.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"
#include "parcel/pack.h"
#include "parcel/reader.h"

#include <string.h>
#include <zstd.h>

#define IN_SIZE	 (256u << 10)
#define OUT_SIZE (1u << 20)
#define BLOCK	 4096u /* zeros of this size are left out */

struct unpacking {
	struct parcel_control *control;
	struct parcel_order order;
	const ParcelManifest *m;
	int part_fd[PARCEL_PARTS_MAX]; /* -1: not wanted */
	int runs_fd;
};

/* Which descriptor is which part's. */
static int assign(struct unpacking *u, struct error *err)
{
	size_t next = 0;

	for (size_t i = 0; i < u->m->n_parts; i++) {
		const ParcelPart *part = u->m->parts[i];

		u->part_fd[i] = -1;
		if (parcel_part_is_template(part) && !u->order.msg->template_)
			continue;
		if (next < u->order.n_fds)
			u->part_fd[i] = u->order.fds[next++];
		else
			return err_set(err, ERR_INTERNAL, "no proper order");
		if (part->kind != PARCEL_KIND(MEMORY))
			continue;
		if (next == u->order.n_fds)
			return err_set(err, ERR_INTERNAL, "no proper order");
		u->runs_fd = u->order.fds[next++];
	}
	return next == u->order.n_fds
		       ? 0
		       : err_set(err, ERR_INTERNAL, "no proper order");
}

static int on_manifest(const ParcelManifest *m, void *arg, struct error *err)
{
	Sandbox__Ipc__V1__ParcelReport report =
		SANDBOX__IPC__V1__PARCEL_REPORT__INIT;
	struct unpacking *u = arg;

	u->m = m;
	for (size_t i = 0; i < m->n_parts; i++)
		u->control->total += m->parts[i]->size;
	report.body_case = SANDBOX__IPC__V1__PARCEL_REPORT__BODY_MANIFEST;
	report.manifest = (ParcelManifest *)(uintptr_t)m;
	parcel_control_report(u->control, &report);
	if (parcel_control_order(u->control, &u->order, err) < 0)
		return -1;
	return assign(u, err);
}

static int failed(const struct unpacking *u, size_t part, int r,
		  struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	return err_sys(err, -r, "write part '%s'",
		       parcel_part_name(u->m, part, name));
}

static int on_runs(size_t part, const struct page_run *runs, uint32_t n,
		   void *arg, struct error *err)
{
	struct unpacking *u = arg;
	_cleanup_free_ struct page_run *table = NULL;
	int r;

	if (u->m->parts[part]->kind != PARCEL_KIND(MEMORY))
		return 0;
	/* Zero pages are those that the file has holes for. */
	table = xcalloc((size_t)n + 1, sizeof(*table));
	for (uint32_t i = 0; i < n; i++)
		table[i] = (struct page_run){ runs[i].first,
					      runs[i].count & ~MEM_RUN_ZERO };
	r = fd_write_full(u->runs_fd, table, (size_t)n * sizeof(*table));
	return r < 0 ? failed(u, part, r, err) : 0;
}

static int on_page(size_t part, uint32_t page, const uint8_t *data, void *arg,
		   struct error *err)
{
	struct unpacking *u = arg;
	int r = 0;

	if (u->part_fd[part] >= 0)
		r = fd_pwrite_full(u->part_fd[part], data, MEM_PAGE_SIZE,
				   (off_t)page * MEM_PAGE_SIZE);
	parcel_control_count(u->control, MEM_PAGE_SIZE);
	return r < 0 ? failed(u, part, r, err) : 0;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	static const uint8_t zeros[BLOCK];

	return memcmp(p, zeros, len) == 0;
}

static int on_bytes(size_t part, uint64_t at, const uint8_t *data, size_t len,
		    void *arg, struct error *err)
{
	struct unpacking *u = arg;

	parcel_control_count(u->control, len);
	if (u->part_fd[part] < 0)
		return 0;
	while (len > 0) {
		size_t n = BLOCK - at % BLOCK;
		int r = 0;

		if (n > len)
			n = len;
		if (!is_zero(data, n))
			r = fd_pwrite_full(u->part_fd[part], data, n,
					   (off_t)at);
		if (r < 0)
			return failed(u, part, r, err);
		data += n;
		at += n;
		len -= n;
	}
	return 0;
}

static const struct parcel_reader_ops ops = { on_manifest, on_runs, on_page,
					      on_bytes };

/* ---- the compressed stream ---- */

struct inflating {
	ZSTD_DCtx *zstd;
	uint8_t *in, *out;
	size_t hint; /* what zstd said last; 0: a frame ended */
	struct parcel_reader *reader;
};

static int bad_stream(const struct inflating *x, size_t code, struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	return err_set(err, ERR_DATA_LOSS, "part '%s' is altered: %s",
		       parcel_reader_at(x->reader, name),
		       ZSTD_getErrorName(code));
}

static int inflate(struct inflating *x, size_t len, struct error *err)
{
	ZSTD_inBuffer in = { x->in, len, 0 };
	bool full = false;

	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = { x->out, OUT_SIZE, 0 };
		size_t r = ZSTD_decompressStream(x->zstd, &out, &in);

		if (ZSTD_isError(r))
			return bad_stream(x, r, err);
		x->hint = r;
		full = out.pos == out.size && r != 0;
		if (parcel_reader_feed(x->reader, x->out, out.pos, err) < 0)
			return -1;
	}
	return 0;
}

static int read_all(struct inflating *x, int stream, struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	for (;;) {
		ssize_t n = read(stream, x->in, IN_SIZE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the stream");
		if (n == 0)
			break;
		if (inflate(x, (size_t)n, err) < 0)
			return -1;
	}
	if (parcel_reader_end(x->reader, err) < 0)
		return -1;
	/* Of the compression itself, after all that is in it. */
	if (x->hint != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "the snapshot is cut off in part '%s'",
			       parcel_reader_at(x->reader, name));
	return 0;
}

int parcel_unpack(struct parcel_control *control, int stream, struct error *err)
{
	struct unpacking u = { .control = control, .runs_fd = -1 };
	struct inflating x = { .zstd = ZSTD_createDCtx(), .hint = 1 };
	int rc;

	if (!x.zstd)
		return err_set(err, ERR_LIMIT, "no memory to decompress in");
	ZSTD_DCtx_setParameter(x.zstd, ZSTD_d_windowLogMax, PARCEL_WINDOW_LOG);
	x.in = xcalloc(1, IN_SIZE);
	x.out = xcalloc(1, OUT_SIZE);
	x.reader = parcel_reader_new(&ops, &u);
	rc = read_all(&x, stream, err);
	parcel_reader_free(x.reader);
	parcel_order_fini(&u.order);
	ZSTD_freeDCtx(x.zstd);
	free(x.in);
	free(x.out);
	return rc;
}
