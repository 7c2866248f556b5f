/* SPDX-License-Identifier: Apache-2.0 */
/* mem_index.h - the index at the end of sandbox.mem.zst
 *
 * The file is zstd frames of at most MEM_FRAME_PAGES pages each, back to back,
 * and this index in a skippable frame, so that any zstd can check it and a
 * reader can go straight to a page. All integers little endian:
 *
 *	skippable frame: u32 0x184d2a5b, u32 length of the rest
 *	"SBXMEM\0\1", u32 version, u32 page size, u64 pages of guest memory,
 *	u64 data pages, u64 zero pages, u32 frames, u32 runs, u64 0
 *	frames:	u64 offset, u32 compressed size (0: zero pages only),
 *		u32 data pages, u32 first run, u32 runs
 *	runs:	u32 first page, u32 count, with bit 31 set: zero pages
 *	footer:	SHA-256 of all from the skippable frame's start to here,
 *		u64 offset of the skippable frame, "SBXINDEX"
 *
 * Runs ascend over the whole table and do not overlap: no page is there twice.
 * A frame's data pages are in the order of its runs.
 */
#ifndef ENGINE_MEM_INDEX_H
#define ENGINE_MEM_INDEX_H

#include "engine/snapshot/mem_pages.h"

#include <stdbool.h>

#define MEM_FRAME_PAGES	  256u
#define MEM_FRAME_SIZE	  (MEM_FRAME_PAGES * MEM_PAGE_SIZE)
#define MEM_INDEX_VERSION 1u
#define MEM_INDEX_FOOTER  48u
#define MEM_INDEX_MAX	  (1u << 30) /* bytes: what a reader will hold */
#define MEM_PAGES_MAX	  (1ull << 30) /* of a guest: 4 TiB */
#define MEM_SHA_SIZE	  32u
#define MEM_RUN_ZERO	  0x80000000u

struct mem_frame {
	uint64_t offset;
	uint32_t csize; /* 0: no data pages */
	uint32_t pages; /* data pages */
	uint32_t run_first, n_runs;
};

/* A run as stored; @count has MEM_RUN_ZERO set for zero pages. */
struct mem_index {
	uint64_t memory_pages, data_pages, zero_pages;
	struct mem_frame *frames;
	uint32_t n_frames;
	struct page_run *runs;
	uint32_t n_runs;
	uint64_t at; /* file offset of the skippable frame */
	uint8_t sha[MEM_SHA_SIZE];
};

void mem_index_free(struct mem_index *index);

/* The bytes to append at file offset @index->at; fills in @index->sha. */
uint8_t *mem_index_encode(struct mem_index *index, size_t *ret_len);

/* From a file's last MEM_INDEX_FOOTER bytes and its size: where the skippable
 * frame starts. Pure. 0 or -EBADMSG.
 */
int mem_index_parse_footer(const uint8_t *footer, uint64_t file_size,
			   uint64_t *ret_at);

/**
 * mem_index_decode() - Check and take apart all that follows the data
 * @buf:	From the skippable frame's start to the end of the file
 * @at:		Its file offset: frames must fill the file up to there
 *
 * Pure. 0 or -EBADMSG; -EPROTONOSUPPORT: a newer version's.
 */
int mem_index_decode(const uint8_t *buf, size_t len, uint64_t at,
		     struct mem_index *ret);

#endif /* ENGINE_MEM_INDEX_H */
