/* SPDX-License-Identifier: Apache-2.0 */
/* mem_file.c - sandbox.mem.zst: the pages a guest has written, compressed
 *
 * Theory of operation
 * ===================
 *
 * The pages are cut into chunks of at most MEM_FRAME_PAGES, in order. Threads
 * take the next chunk from an atomic counter; each reads its pages, sets zero
 * pages apart, compresses the rest into one frame and takes the next room in
 * the file from another atomic counter. So frames lie in the file in any order,
 * while the index is in the order of pages. Nothing is shared but the counters
 * and each chunk's own result. The first failure stops all.
 *
 * Runs of a chunk's result are its input's, split by zero or not: at most
 * MEM_FRAME_PAGES of them.
 */
#include "engine/snapshot/mem_file.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/hv.h"
#include "engine/snapshot/parallel.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#define COMPRESSION_LEVEL 1

/* One chunk: in, a part of the runs; out, a frame. */
struct chunk {
	struct page_run *in, *out;
	uint32_t n_in, n_out;
	uint32_t pages; /* data pages */
	uint32_t zeros;
	uint32_t csize;
	uint64_t offset;
};

struct writing {
	int fd;
	const struct mem_source *source;
	struct hv_progress *progress;
	struct chunk *chunks;
	size_t n_chunks;
	atomic_size_t next;
	_Atomic uint64_t end; /* of the data so far */
	atomic_int failed;    /* errno of the first failure */
};

bool mem_is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 64) {
		uint64_t w[8];

		memcpy(w, p + i, sizeof(w));
		if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) !=
		    0)
			return false;
	}
	return true;
}

static void fail(atomic_int *failed, int errnum)
{
	int none = 0;

	atomic_compare_exchange_strong(failed, &none, errnum);
}

/* Pages of a chunk, at most MEM_FRAME_PAGES, cut from the runs; the cursor is
 * the run and what of it is used.
 */
static void cut_chunk(const struct page_runs *runs, size_t *run, uint32_t *used,
		      struct chunk *chunk)
{
	uint32_t room = MEM_FRAME_PAGES;
	size_t first = *run;
	uint32_t n = 0;
	uint32_t skip = *used;

	while (*run < runs->n && room > 0) {
		uint32_t left = runs->runs[*run].count - *used;
		uint32_t take = left < room ? left : room;

		room -= take;
		*used += take;
		n++;
		if (*used == runs->runs[*run].count) {
			(*run)++;
			*used = 0;
		}
	}
	chunk->in = xcalloc(n, sizeof(*chunk->in));
	chunk->n_in = n;
	room = MEM_FRAME_PAGES;
	for (uint32_t i = 0; i < n; i++, skip = 0) {
		const struct page_run *r = &runs->runs[first + i];
		uint32_t left = r->count - skip;
		uint32_t take = left < room ? left : room;

		chunk->in[i] = (struct page_run){ r->first + skip, take };
		room -= take;
	}
}

static void cut(const struct page_runs *runs, struct writing *w)
{
	size_t most = (size_t)(runs->pages / MEM_FRAME_PAGES) + 1, run = 0;
	uint32_t used = 0;

	w->chunks = xcalloc(most, sizeof(*w->chunks));
	while (run < runs->n)
		cut_chunk(runs, &run, &used, &w->chunks[w->n_chunks++]);
}

static void chunks_free(struct writing *w)
{
	for (size_t i = 0; i < w->n_chunks; i++) {
		free(w->chunks[i].in);
		free(w->chunks[i].out);
	}
	free(w->chunks);
}

static void out_add(struct chunk *c, uint32_t page, bool zero)
{
	struct page_run *last = c->n_out ? &c->out[c->n_out - 1] : NULL;
	uint32_t flag = zero ? MEM_RUN_ZERO : 0;

	if (last && (last->count & MEM_RUN_ZERO) == flag &&
	    last->first + (last->count & ~MEM_RUN_ZERO) == page)
		last->count++;
	else
		c->out[c->n_out++] = (struct page_run){ page, 1 | flag };
}

/* Move the data pages of @buf together; note which they are. */
static void sort_out(struct chunk *c, uint8_t *buf)
{
	uint8_t *from = buf, *to = buf;

	c->out = xcalloc(MEM_FRAME_PAGES, sizeof(*c->out));
	for (uint32_t i = 0; i < c->n_in; i++) {
		for (uint32_t k = 0; k < c->in[i].count; k++) {
			bool zero = mem_is_zero(from, MEM_PAGE_SIZE);

			out_add(c, c->in[i].first + k, zero);
			if (zero) {
				c->zeros++;
			} else {
				if (to != from)
					memcpy(to, from, MEM_PAGE_SIZE);
				to += MEM_PAGE_SIZE;
				c->pages++;
			}
			from += MEM_PAGE_SIZE;
		}
	}
	c->out = xrealloc(c->out, c->n_out, sizeof(*c->out));
}

static int write_chunk(struct writing *w, struct chunk *c, ZSTD_CCtx *ctx,
		       uint8_t *buf, uint8_t *packed, size_t room)
{
	size_t n;
	int r = w->source->read(w->source->arg, c->in, c->n_in, buf);

	if (r < 0)
		return r;
	sort_out(c, buf);
	if (c->pages == 0)
		return 0;
	n = ZSTD_compress2(ctx, packed, room, buf,
			   (size_t)c->pages * MEM_PAGE_SIZE);
	if (ZSTD_isError(n))
		return -EIO;
	c->csize = (uint32_t)n;
	c->offset = atomic_fetch_add(&w->end, n);
	r = fd_pwrite_full(w->fd, packed, n, (off_t)c->offset);
	/* On its way to the disk while the next is compressed; whether it gets
	 * there is fsync's to tell.
	 */
	if (r == 0)
		sync_file_range(w->fd, (off_t)c->offset, (off_t)n,
				SYNC_FILE_RANGE_WRITE);
	return r;
}

static void write_worker(void *arg)
{
	size_t room = ZSTD_compressBound(MEM_FRAME_SIZE), i;
	_cleanup_free_ uint8_t *buf = xcalloc(1, MEM_FRAME_SIZE);
	_cleanup_free_ uint8_t *packed = xcalloc(1, room);
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	struct writing *w = arg;

	if (!ctx) {
		fail(&w->failed, ENOMEM);
		return;
	}
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, COMPRESSION_LEVEL);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
	while (!w->failed &&
	       (i = atomic_fetch_add(&w->next, 1)) < w->n_chunks) {
		struct chunk *c = &w->chunks[i];
		int r = write_chunk(w, c, ctx, buf, packed, room);

		if (r < 0)
			fail(&w->failed, -r);
		if (!w->progress)
			continue;
		if (w->progress->cancel)
			fail(&w->failed, ECANCELED);
		w->progress->done += c->pages + c->zeros;
	}
	ZSTD_freeCCtx(ctx);
}

static int write_index(struct writing *w, uint64_t memory_pages,
		       struct mem_file_stats *stats)
{
	struct mem_index x = { .memory_pages = memory_pages, .at = w->end };
	_cleanup_free_ uint8_t *buf = NULL;
	uint32_t runs = 0;
	size_t len;
	int r;

	for (size_t i = 0; i < w->n_chunks; i++)
		runs += w->chunks[i].n_out;
	x.frames = xcalloc(w->n_chunks + 1, sizeof(*x.frames));
	x.runs = xcalloc((size_t)runs + 1, sizeof(*x.runs));
	for (size_t i = 0; i < w->n_chunks; i++) {
		const struct chunk *c = &w->chunks[i];

		x.frames[x.n_frames++] = (struct mem_frame){
			.offset = c->offset,
			.csize = c->csize,
			.pages = c->pages,
			.run_first = x.n_runs,
			.n_runs = c->n_out,
		};
		memcpy(x.runs + x.n_runs, c->out, c->n_out * sizeof(*c->out));
		x.n_runs += c->n_out;
		x.data_pages += c->pages;
		x.zero_pages += c->zeros;
	}
	buf = mem_index_encode(&x, &len);
	r = fd_pwrite_full(w->fd, buf, len, (off_t)x.at);
	*stats = (struct mem_file_stats){ .data_pages = x.data_pages,
					  .zero_pages = x.zero_pages,
					  .size = x.at + len };
	str_hex(stats->index_sha, x.sha, MEM_SHA_SIZE);
	mem_index_free(&x);
	return r;
}

int mem_file_write(int fd, const struct mem_source *source,
		   const struct page_runs *runs, uint64_t memory_pages,
		   unsigned int threads, struct hv_progress *progress,
		   struct mem_file_stats *ret, struct error *err)
{
	struct writing w = { .fd = fd, .source = source, .progress = progress };
	int r;

	if (memory_pages > MEM_PAGES_MAX)
		return err_set(err, ERR_LIMIT, "memory of %llu pages",
			       (unsigned long long)memory_pages);
	if (progress)
		progress->total = runs->pages;
	cut(runs, &w);
	parallel_run(threads, write_worker, &w);
	r = w.failed ? -w.failed : write_index(&w, memory_pages, ret);
	chunks_free(&w);
	if (r == -ECANCELED)
		return err_set(err, ERR_CANCELLED, "write memory: stopped");
	return r < 0 ? err_sys(err, -r, "write memory") : 0;
}

int mem_file_open(int fd, const char *index_sha, struct mem_index *ret,
		  struct error *err)
{
	uint8_t footer[MEM_INDEX_FOOTER];
	_cleanup_free_ uint8_t *buf = NULL;
	char sha[2 * MEM_SHA_SIZE + 1];
	struct mem_index x;
	struct stat st;
	uint64_t at;
	size_t len;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at saved memory");
	if (st.st_size < MEM_INDEX_FOOTER)
		return err_set(err, ERR_DATA_LOSS, "saved memory is cut off");
	r = fd_pread_full(fd, footer, sizeof(footer),
			  st.st_size - MEM_INDEX_FOOTER);
	if (r < 0)
		return err_sys(err, -r, "read saved memory");
	if (mem_index_parse_footer(footer, (uint64_t)st.st_size, &at) < 0)
		return err_set(err, ERR_DATA_LOSS,
			       "saved memory has no index: cut off or altered");
	len = (size_t)((uint64_t)st.st_size - at);
	buf = xcalloc(1, len);
	r = fd_pread_full(fd, buf, len, (off_t)at);
	if (r < 0)
		return err_sys(err, -r, "read saved memory");
	r = mem_index_decode(buf, len, at, &x);
	if (r == -EPROTONOSUPPORT)
		return err_set(err, ERR_INVALID,
			       "saved memory is of a newer version");
	if (r < 0)
		return err_set(err, ERR_DATA_LOSS,
			       "index of saved memory is altered");
	str_hex(sha, x.sha, MEM_SHA_SIZE);
	if (index_sha && strcmp(sha, index_sha) != 0) {
		mem_index_free(&x);
		return err_set(err, ERR_DATA_LOSS,
			       "saved memory is another than the manifest's");
	}
	*ret = x;
	return 0;
}

struct loading {
	int fd;
	const struct mem_index *index;
	const struct mem_source *target;
	atomic_size_t next;
	atomic_int failed;
};

/* The frame's pages decompressed into @buf: 0, -EBADMSG, -errno. */
static int read_frame(const struct loading *l, const struct mem_frame *f,
		      ZSTD_DCtx *ctx, uint8_t *buf, uint8_t *packed)
{
	size_t want = (size_t)f->pages * MEM_PAGE_SIZE, n;
	int r = fd_pread_full(l->fd, packed, f->csize, (off_t)f->offset);

	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	n = ZSTD_decompressDCtx(ctx, buf, MEM_FRAME_SIZE, packed, f->csize);
	return ZSTD_isError(n) || n != want ? -EBADMSG : 0;
}

/* Hand over runs of data and of zeros, in turns. */
static int deliver(const struct loading *l, const struct mem_frame *f,
		   const uint8_t *buf)
{
	const struct page_run *runs = l->index->runs + f->run_first;

	for (uint32_t i = 0; i < f->n_runs;) {
		struct page_run part[MEM_FRAME_PAGES];
		bool zero = runs[i].count & MEM_RUN_ZERO;
		uint32_t n = 0, pages = 0;
		int r;

		while (i < f->n_runs && n < MEM_FRAME_PAGES &&
		       !!(runs[i].count & MEM_RUN_ZERO) == zero) {
			part[n] = runs[i++];
			part[n].count &= ~MEM_RUN_ZERO;
			pages += part[n++].count;
		}
		r = l->target->write(l->target->arg, part, n,
				     zero ? NULL : buf);
		if (r < 0)
			return r;
		if (!zero)
			buf += (size_t)pages * MEM_PAGE_SIZE;
	}
	return 0;
}

static void load_worker(void *arg)
{
	struct loading *l = arg;
	size_t room = ZSTD_compressBound(MEM_FRAME_SIZE) + 64, i;
	_cleanup_free_ uint8_t *buf = xcalloc(1, MEM_FRAME_SIZE);
	_cleanup_free_ uint8_t *packed = xcalloc(1, room);
	ZSTD_DCtx *ctx = ZSTD_createDCtx();

	if (!ctx)
		fail(&l->failed, ENOMEM);
	while (ctx && !l->failed &&
	       (i = atomic_fetch_add(&l->next, 1)) < l->index->n_frames) {
		const struct mem_frame *f = &l->index->frames[i];
		int r = 0;

		if (f->pages > 0)
			r = read_frame(l, f, ctx, buf, packed);
		if (r == 0 && l->target)
			r = deliver(l, f, buf);
		if (r < 0)
			fail(&l->failed, -r);
	}
	ZSTD_freeDCtx(ctx);
}

int mem_file_load(int fd, const struct mem_index *index,
		  const struct mem_source *target, unsigned int threads,
		  struct error *err)
{
	struct loading l = { .fd = fd, .index = index, .target = target };

	parallel_run(threads, load_worker, &l);
	if (l.failed == EBADMSG)
		return err_set(err, ERR_DATA_LOSS,
			       "saved memory does not verify: a frame is "
			       "altered");
	return l.failed ? err_sys(err, l.failed, "load memory") : 0;
}
