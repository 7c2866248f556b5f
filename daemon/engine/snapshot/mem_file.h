/* SPDX-License-Identifier: Apache-2.0 */
/* mem_file.h - sandbox.mem.zst: the pages a guest has written, compressed
 *
 * Independent zstd frames of at most 1 MiB with a checksum each, and an index
 * (mem_index.h). Zero pages are only noted. Several threads compress and
 * decompress; any worker thread may call.
 */
#ifndef ENGINE_MEM_FILE_H
#define ENGINE_MEM_FILE_H

#include "engine/snapshot/mem_index.h"

struct error;
struct hv_progress;

/**
 * struct mem_source - Where pages come from or go to
 * @read:	The pages of the runs, one after the other, into @buf
 * @write:	From @buf; @buf NULL: zeros
 *
 * Called on several threads at once, each page once. 0 or -errno.
 */
struct mem_source {
	int (*read)(void *arg, const struct page_run *runs, size_t n,
		    uint8_t *buf);
	int (*write)(void *arg, const struct page_run *runs, size_t n,
		     const uint8_t *buf);
	void *arg;
};

struct mem_file_stats {
	uint64_t data_pages, zero_pages;
	uint64_t size; /* of the file */
	char index_sha[2 * MEM_SHA_SIZE + 1];
};

/**
 * mem_file_write() - Write @runs of a guest's memory into the empty file @fd
 * @progress:	Counts pages, may ask to stop; or NULL
 *
 * Does not sync. On failure the file's content is undefined.
 */
int mem_file_write(int fd, const struct mem_source *source,
		   const struct page_runs *runs, uint64_t memory_pages,
		   unsigned int threads, struct hv_progress *progress,
		   struct mem_file_stats *ret, struct error *err);

/**
 * mem_file_open() - Read and check the index of the file @fd
 * @index_sha:	Its SHA-256 in hexadecimal must be this; NULL: not checked
 */
int mem_file_open(int fd, const char *index_sha, struct mem_index *ret,
		  struct error *err);

/* Decompress everything into @target, or with @target NULL just check. */
int mem_file_load(int fd, const struct mem_index *index,
		  const struct mem_source *target, unsigned int threads,
		  struct error *err);

/* All bytes zero? @len is a multiple of 64. */
bool mem_is_zero(const uint8_t *p, size_t len);

#endif /* ENGINE_MEM_FILE_H */
