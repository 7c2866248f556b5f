/* SPDX-License-Identifier: Apache-2.0 */
/* mem_index.c - the index at the end of sandbox.mem.zst */
#include "engine/snapshot/mem_index.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <endian.h>
#include <openssl/sha.h>
#include <string.h>
#include <zstd.h>

#define SKIPPABLE_MAGIC 0x184d2a5bu
#define HEAD_SIZE	(8u + 8u + 48u) /* skippable header, magic, counts */
#define FRAME_SIZE	24u
#define RUN_SIZE	8u

static const uint8_t magic[8] = { 'S', 'B', 'X', 'M', 'E', 'M', 0, 1 };
static const uint8_t footer_magic[8] = {
	'S', 'B', 'X', 'I', 'N', 'D', 'E', 'X'
};

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

void mem_index_free(struct mem_index *index)
{
	free(index->frames);
	free(index->runs);
	*index = (struct mem_index){ 0 };
}

uint8_t *mem_index_encode(struct mem_index *index, size_t *ret_len)
{
	size_t len = HEAD_SIZE + (size_t)index->n_frames * FRAME_SIZE +
		     (size_t)index->n_runs * RUN_SIZE + MEM_INDEX_FOOTER;
	uint8_t *buf = xcalloc(1, len), *p = buf;

	p = put32(p, SKIPPABLE_MAGIC);
	p = put32(p, (uint32_t)(len - 8));
	memcpy(p, magic, sizeof(magic));
	p += sizeof(magic);
	p = put32(p, MEM_INDEX_VERSION);
	p = put32(p, MEM_PAGE_SIZE);
	p = put64(p, index->memory_pages);
	p = put64(p, index->data_pages);
	p = put64(p, index->zero_pages);
	p = put32(p, index->n_frames);
	p = put32(p, index->n_runs);
	p = put64(p, 0); /* room for more */
	for (uint32_t i = 0; i < index->n_frames; i++) {
		const struct mem_frame *f = &index->frames[i];

		p = put64(p, f->offset);
		p = put32(p, f->csize);
		p = put32(p, f->pages);
		p = put32(p, f->run_first);
		p = put32(p, f->n_runs);
	}
	for (uint32_t i = 0; i < index->n_runs; i++) {
		p = put32(p, index->runs[i].first);
		p = put32(p, index->runs[i].count);
	}
	SHA256(buf, (size_t)(p - buf), index->sha);
	memcpy(p, index->sha, MEM_SHA_SIZE);
	p = put64(p + MEM_SHA_SIZE, index->at);
	memcpy(p, footer_magic, sizeof(footer_magic));
	*ret_len = len;
	return buf;
}

int mem_index_parse_footer(const uint8_t *footer, uint64_t file_size,
			   uint64_t *ret_at)
{
	uint64_t at = get64(footer + MEM_SHA_SIZE);

	if (memcmp(footer + MEM_SHA_SIZE + 8, footer_magic,
		   sizeof(footer_magic)) != 0)
		return -EBADMSG;
	if (at > file_size || file_size - at < HEAD_SIZE + MEM_INDEX_FOOTER ||
	    file_size - at > MEM_INDEX_MAX)
		return -EBADMSG;
	*ret_at = at;
	return 0;
}

static int decode_head(const uint8_t *buf, size_t len, struct mem_index *x)
{
	const uint8_t *p = buf + 8;
	uint64_t need;

	if (len < HEAD_SIZE + MEM_INDEX_FOOTER ||
	    get32(buf) != SKIPPABLE_MAGIC || get32(buf + 4) != len - 8 ||
	    memcmp(p, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (get32(p + 8) > MEM_INDEX_VERSION)
		return -EPROTONOSUPPORT;
	if (get32(p + 8) != MEM_INDEX_VERSION || get32(p + 12) != MEM_PAGE_SIZE)
		return -EBADMSG;
	x->memory_pages = get64(p + 16);
	x->data_pages = get64(p + 24);
	x->zero_pages = get64(p + 32);
	x->n_frames = get32(p + 40);
	x->n_runs = get32(p + 44);
	need = HEAD_SIZE + (uint64_t)x->n_frames * FRAME_SIZE +
	       (uint64_t)x->n_runs * RUN_SIZE + MEM_INDEX_FOOTER;
	if (need != len || x->memory_pages > MEM_PAGES_MAX)
		return -EBADMSG;
	return 0;
}

/* The runs of one frame: in order, inside memory, as many as it says. */
static int check_runs(const struct mem_index *x, const struct mem_frame *f,
		      uint64_t *next_page, uint64_t *data, uint64_t *zero)
{
	uint64_t frame_data = 0, frame_zero = 0;

	for (uint32_t i = 0; i < f->n_runs; i++) {
		const struct page_run *run = &x->runs[f->run_first + i];
		uint32_t count = run->count & ~MEM_RUN_ZERO;

		if (count == 0 || run->first < *next_page ||
		    (uint64_t)run->first + count > x->memory_pages)
			return -EBADMSG;
		*next_page = (uint64_t)run->first + count;
		if (run->count & MEM_RUN_ZERO)
			frame_zero += count;
		else
			frame_data += count;
	}
	if (frame_data != f->pages || frame_data + frame_zero > MEM_FRAME_PAGES)
		return -EBADMSG;
	*data += frame_data;
	*zero += frame_zero;
	return 0;
}

static int check(const struct mem_index *x)
{
	uint64_t next_page = 0, next_run = 0, data = 0, zero = 0, bytes = 0;

	for (uint32_t i = 0; i < x->n_frames; i++) {
		const struct mem_frame *f = &x->frames[i];

		if (f->run_first != next_run || f->n_runs == 0 ||
		    f->n_runs > x->n_runs - f->run_first)
			return -EBADMSG;
		next_run += f->n_runs;
		if ((f->csize == 0) != (f->pages == 0) ||
		    f->csize > ZSTD_COMPRESSBOUND(MEM_FRAME_SIZE) + 64 ||
		    f->offset > x->at || f->csize > x->at - f->offset)
			return -EBADMSG;
		bytes += f->csize;
		if (check_runs(x, f, &next_page, &data, &zero) < 0)
			return -EBADMSG;
	}
	if (next_run != x->n_runs || data != x->data_pages ||
	    zero != x->zero_pages || bytes != x->at)
		return -EBADMSG;
	return 0;
}

int mem_index_decode(const uint8_t *buf, size_t len, uint64_t at,
		     struct mem_index *ret)
{
	struct mem_index x = { .at = at };
	const uint8_t *p;
	int r = decode_head(buf, len, &x);

	if (r < 0)
		return r;
	SHA256(buf, len - MEM_INDEX_FOOTER, x.sha);
	p = buf + len - MEM_INDEX_FOOTER;
	if (memcmp(p, x.sha, MEM_SHA_SIZE) != 0 ||
	    get64(p + MEM_SHA_SIZE) != at)
		return -EBADMSG;
	x.frames = xcalloc((size_t)x.n_frames + 1, sizeof(*x.frames));
	x.runs = xcalloc((size_t)x.n_runs + 1, sizeof(*x.runs));
	p = buf + HEAD_SIZE;
	for (uint32_t i = 0; i < x.n_frames; i++, p += FRAME_SIZE)
		x.frames[i] = (struct mem_frame){
			get64(p),      get32(p + 8),  get32(p + 12),
			get32(p + 16), get32(p + 20),
		};
	for (uint32_t i = 0; i < x.n_runs; i++, p += RUN_SIZE)
		x.runs[i] = (struct page_run){ get32(p), get32(p + 4) };
	r = check(&x);
	if (r < 0) {
		mem_index_free(&x);
		return r;
	}
	*ret = x;
	return 0;
}
