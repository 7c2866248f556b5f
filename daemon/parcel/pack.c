/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - a snapshot's files into one stream
 *
 * Theory of operation
 * ===================
 *
 * Memory goes in as pages, not as the file that it is kept in: beside the
 * template's pages, within one window of 128 MiB, what both share costs next to
 * nothing, and the other node makes that file itself. So first each part is
 * looked at, for its size and its runs of pages; then the manifest can be
 * written, and then the parts.
 */
#include "parcel/pack.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"
#include "engine/snapshot/snapshot.h"
#include "parcel/writer.h"

#include <endian.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define PIECE (1u << 20)
#define LEVEL 3

/* One part: where it is read from, and what was found out of it. */
struct source {
	int fd;
	ParcelPart part;
	struct page_runs runs;	/* of template memory */
	struct mem_index index; /* of memory */
	uint8_t *state;		/* unpacked device state */
};

struct packing {
	struct parcel_control *control;
	struct parcel_order order;
	struct source *sources;
	size_t n;
	int stream;
	ZSTD_CCtx *zstd;
	uint8_t *out, *buf;
	size_t out_room;
	struct parcel_writer *writer;
};

/* ---- looking ---- */

static bool is_zero_page(const uint8_t *p)
{
	static const uint8_t zeros[MEM_PAGE_SIZE];

	return memcmp(p, zeros, sizeof(zeros)) == 0;
}

/* Less at the end of the file. */
static ssize_t read_at(int fd, uint8_t *buf, size_t len, uint64_t at)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n =
			pread(fd, buf + have, len - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Pages that are not zero. */
static int look_at_pages(struct packing *p, struct source *s, struct error *err)
{
	off_t at = 0;

	while ((at = lseek(s->fd, at, SEEK_DATA)) >= 0) {
		uint64_t block = (uint64_t)at / PIECE * PIECE;
		ssize_t n = read_at(s->fd, p->buf, PIECE, block);

		if (n < 0)
			return err_sys(err, (int)-n, "read template memory");
		for (ssize_t i = 0; i + MEM_PAGE_SIZE <= n; i += MEM_PAGE_SIZE)
			if (!is_zero_page(p->buf + i))
				page_runs_add(&s->runs,
					      (uint32_t)((block + (uint64_t)i) /
							 MEM_PAGE_SIZE));
		at = (off_t)(block + PIECE);
	}
	if (errno != ENXIO)
		return err_sys(err, errno, "read template memory");
	s->part.size =
		8 + (uint64_t)s->runs.n * 8 + s->runs.pages * MEM_PAGE_SIZE;
	return 0;
}

static int look_at_memory(struct source *s, struct error *err)
{
	uint8_t footer[MEM_INDEX_FOOTER];
	_cleanup_free_ uint8_t *buf = NULL;
	struct stat st;
	uint64_t at;
	size_t len;

	if (fstat(s->fd, &st) < 0 || st.st_size < (off_t)sizeof(footer) ||
	    fd_pread_full(s->fd, footer, sizeof(footer),
			  st.st_size - (off_t)sizeof(footer)) < 0 ||
	    mem_index_parse_footer(footer, (uint64_t)st.st_size, &at) < 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part 'memory' has no index");
	len = (size_t)((uint64_t)st.st_size - at);
	buf = xcalloc(1, len);
	if (fd_pread_full(s->fd, buf, len, (off_t)at) < 0 ||
	    mem_index_decode(buf, len, at, &s->index) < 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part 'memory' has an altered index");
	s->part.size = 8 + (uint64_t)s->index.n_runs * 8 +
		       s->index.data_pages * MEM_PAGE_SIZE;
	return 0;
}

static int look_at_state(struct source *s, struct error *err)
{
	_cleanup_free_ uint8_t *packed = NULL;
	unsigned long long size;
	struct stat st;
	size_t n;

	if (fstat(s->fd, &st) < 0 || st.st_size <= 0 ||
	    st.st_size > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_DATA_LOSS, "part 'state' is altered");
	packed = xcalloc(1, (size_t)st.st_size);
	if (fd_pread_full(s->fd, packed, (size_t)st.st_size, 0) < 0)
		return err_set(err, ERR_DATA_LOSS, "part 'state' is cut off");
	size = ZSTD_getFrameContentSize(packed, (size_t)st.st_size);
	if (size == 0 || size > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_DATA_LOSS, "part 'state' is altered");
	s->state = xcalloc(1, (size_t)size);
	n = ZSTD_decompress(s->state, (size_t)size, packed, (size_t)st.st_size);
	if (ZSTD_isError(n) || n != size)
		return err_set(err, ERR_DATA_LOSS, "part 'state' is altered");
	s->part.size = size;
	return 0;
}

static int look(struct packing *p, struct source *s, struct error *err)
{
	struct stat st;

	switch (s->part.kind) {
	case PARCEL_KIND(TEMPLATE_MEMORY):
		return look_at_pages(p, s, err);
	case PARCEL_KIND(MEMORY):
		return look_at_memory(s, err);
	case PARCEL_KIND(STATE):
		return look_at_state(s, err);
	default:
		if (fstat(s->fd, &st) < 0)
			return err_sys(err, errno, "look at a part");
		s->part.size = (uint64_t)st.st_size;
		return 0;
	}
}

/* ---- writing ---- */

static int push(struct packing *p, const void *data, size_t len,
		ZSTD_EndDirective how, struct error *err)
{
	ZSTD_inBuffer in = { data, len, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { p->out, p->out_room, 0 };
		int r;

		left = ZSTD_compressStream2(p->zstd, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(err, ERR_INTERNAL, "compress: %s",
				       ZSTD_getErrorName(left));
		r = out.pos ? fd_write_full(p->stream, p->out, out.pos) : 0;
		if (r < 0)
			return err_sys(err, -r, "write the stream");
	} while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
	parcel_control_count(p->control, len);
	return 0;
}

static int sink(const void *data, size_t len, void *arg, struct error *err)
{
	return push(arg, data, len, ZSTD_e_continue, err);
}

static int put_runs(struct packing *p, const struct page_run *runs, size_t n,
		    struct error *err)
{
	_cleanup_free_ uint32_t *table = xcalloc(2 * n + 2, sizeof(uint32_t));

	table[0] = htole32((uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		table[2 * i + 2] = htole32(runs[i].first);
		table[2 * i + 3] = htole32(runs[i].count);
	}
	return parcel_writer_bytes(p->writer, table, 8 * n + 8, err);
}

static int put_pages(struct packing *p, const struct source *s,
		     struct error *err)
{
	if (put_runs(p, s->runs.runs, s->runs.n, err) < 0)
		return -1;
	for (size_t i = 0; i < s->runs.n; i++) {
		uint64_t at = (uint64_t)s->runs.runs[i].first * MEM_PAGE_SIZE;
		uint64_t left = (uint64_t)s->runs.runs[i].count * MEM_PAGE_SIZE;

		while (left > 0) {
			size_t n = left < PIECE ? (size_t)left : PIECE;
			int r = fd_pread_full(s->fd, p->buf, n, (off_t)at);

			if (r < 0)
				return err_sys(err, -r, "read template memory");
			if (parcel_writer_bytes(p->writer, p->buf, n, err) < 0)
				return -1;
			at += n;
			left -= n;
		}
	}
	return 0;
}

static int put_memory(struct packing *p, const struct source *s,
		      struct error *err)
{
	size_t room = ZSTD_compressBound(MEM_FRAME_SIZE) + 64;
	_cleanup_free_ uint8_t *packed = xcalloc(1, room);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	int rc = put_runs(p, s->index.runs, s->index.n_runs, err);

	for (uint32_t i = 0; zstd && rc == 0 && i < s->index.n_frames; i++) {
		const struct mem_frame *f = &s->index.frames[i];
		size_t want = (size_t)f->pages * MEM_PAGE_SIZE, n;

		if (f->pages == 0)
			continue;
		if (fd_pread_full(s->fd, packed, f->csize, (off_t)f->offset) <
		    0)
			n = 0;
		else
			n = ZSTD_decompressDCtx(zstd, p->buf, PIECE, packed,
						f->csize);
		if (ZSTD_isError(n) || n != want)
			rc = err_set(err, ERR_DATA_LOSS,
				     "part 'memory' is altered in frame %u", i);
		else
			rc = parcel_writer_bytes(p->writer, p->buf, n, err);
	}
	ZSTD_freeDCtx(zstd);
	return rc;
}

static int put_file(struct packing *p, const struct source *s,
		    struct error *err)
{
	for (uint64_t at = 0; at < s->part.size;) {
		ssize_t n = read_at(s->fd, p->buf, PIECE, at);

		if (n < 0)
			return err_sys(err, (int)-n, "read a part");
		if (n == 0)
			break;
		if (parcel_writer_bytes(p->writer, p->buf, (size_t)n, err) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static int put_part(struct packing *p, const struct source *s,
		    struct error *err)
{
	int rc = parcel_writer_part(p->writer, err);

	if (rc < 0)
		return -1;
	switch (s->part.kind) {
	case PARCEL_KIND(TEMPLATE_MEMORY):
		rc = put_pages(p, s, err);
		break;
	case PARCEL_KIND(MEMORY):
		rc = put_memory(p, s, err);
		break;
	case PARCEL_KIND(STATE):
		rc = parcel_writer_bytes(p->writer, s->state,
					 (size_t)s->part.size, err);
		break;
	default:
		rc = put_file(p, s, err);
	}
	return rc < 0 ? -1 : parcel_writer_part_end(p->writer, err);
}

static int open_zstd(struct packing *p, uint64_t total, struct error *err)
{
	p->zstd = ZSTD_createCCtx();
	p->out_room = ZSTD_CStreamOutSize();
	p->out = xcalloc(1, p->out_room);
	if (!p->zstd)
		return err_set(err, ERR_LIMIT, "no memory to compress in");
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_windowLog, PARCEL_WINDOW_LOG);
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_enableLongDistanceMatching, 1);
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
	p->control->total = total;
	return 0;
}

static int put_all(struct packing *p, struct error *err)
{
	p->writer = parcel_writer_new(p->order.msg->manifest, sink, p, err);
	if (!p->writer)
		return -1;
	for (size_t i = 0; i < p->n; i++)
		if (put_part(p, &p->sources[i], err) < 0)
			return -1;
	if (parcel_writer_end(p->writer, err) < 0)
		return -1;
	return push(p, NULL, 0, ZSTD_e_end, err);
}

/* The manifest of the order, completed by the parts' sizes. */
static int look_at_all(struct packing *p, struct error *err)
{
	ParcelManifest *m = p->order.msg->manifest;
	uint64_t total = 0;

	if (!m || m->n_parts != p->order.n_fds ||
	    parcel_sheet_check(m, false, err) < 0)
		return err_set(err, ERR_INTERNAL, "no proper order");
	p->n = m->n_parts;
	p->sources = xcalloc(p->n + 1, sizeof(*p->sources));
	for (size_t i = 0; i < p->n; i++) {
		struct source *s = &p->sources[i];

		s->fd = p->order.fds[i];
		s->part.kind = m->parts[i]->kind;
		if (look(p, s, err) < 0)
			return -1;
		m->parts[i]->size = s->part.size;
		total += s->part.size;
	}
	return parcel_sheet_check(m, true, err) < 0 ? -1
						    : open_zstd(p, total, err);
}

int parcel_pack(struct parcel_control *control, int stream, struct error *err)
{
	struct packing p = { .control = control, .stream = stream };
	int rc = parcel_control_order(control, &p.order, err);

	p.buf = xcalloc(1, PIECE);
	if (rc == 0)
		rc = look_at_all(&p, err);
	if (rc == 0)
		rc = put_all(&p, err);
	parcel_writer_free(p.writer);
	for (size_t i = 0; i < p.n; i++) {
		page_runs_free(&p.sources[i].runs);
		mem_index_free(&p.sources[i].index);
		free(p.sources[i].state);
	}
	free(p.sources);
	ZSTD_freeCCtx(p.zstd);
	free(p.out);
	free(p.buf);
	parcel_order_fini(&p.order);
	return rc;
}
