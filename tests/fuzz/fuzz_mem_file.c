/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_mem_file.c - an index of sandbox.mem.zst with any content */
#include "base/cleanup.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct mem_index *x)
{
	uint64_t next = 0, data = 0;

	for (uint32_t i = 0; i < x->n_frames; i++) {
		const struct mem_frame *f = &x->frames[i];

		assert(f->pages <= MEM_FRAME_PAGES);
		assert(f->offset + f->csize <= x->at);
		data += f->pages;
		for (uint32_t k = 0; k < f->n_runs; k++) {
			const struct page_run *r = &x->runs[f->run_first + k];

			assert(f->run_first + k < x->n_runs);
			assert(r->first >= next);
			next = (uint64_t)r->first + (r->count & ~MEM_RUN_ZERO);
			assert(next <= x->memory_pages);
		}
	}
	assert(data == x->data_pages);
}

/* The first eight bytes are where the index starts; behind the rest comes a
 * footer that is right.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct mem_index x;
	uint64_t at;
	size_t len;

	if (size < 8)
		return 0;
	memcpy(&at, data, sizeof(at));
	data += 8;
	size -= 8;
	len = size + MEM_INDEX_FOOTER;
	buf = xcalloc(1, len);
	memcpy(buf, data, size);
	if (size >= MEM_INDEX_FOOTER) {
		uint64_t found;

		if (mem_index_parse_footer(data + size - MEM_INDEX_FOOTER, size,
					   &found) == 0)
			assert(found <= size);
	}
	if (mem_index_decode(buf, len, at, &x) == 0)
		mem_index_free(&x);
	SHA256(buf, size, buf + size);
	memcpy(buf + size + MEM_SHA_SIZE, &at, sizeof(at));
	memcpy(buf + size + MEM_SHA_SIZE + 8, "SBXINDEX", 8);
	if (mem_index_decode(buf, len, at, &x) == 0) {
		check(&x);
		mem_index_free(&x);
	}
	return 0;
}
