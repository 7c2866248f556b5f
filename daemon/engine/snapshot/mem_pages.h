/* SPDX-License-Identifier: Apache-2.0 */
/* mem_pages.h - a guest's memory, seen in its QEMU process from outside
 *
 * Guest memory is a private mapping of a template's file: pages the guest has
 * written are the process's own, all others are still the file's. The kernel
 * tells which, exactly, under any accelerator.
 */
#ifndef ENGINE_MEM_PAGES_H
#define ENGINE_MEM_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct error;

#define MEM_PAGE_SIZE 4096u

/**
 * struct page_run - @count pages from number @first on
 */
struct page_run {
	uint32_t first, count;
};

/**
 * struct page_runs - Ascending runs that do not touch; zero is empty
 */
struct page_runs {
	struct page_run *runs;
	size_t n, room;
	uint64_t pages; /* in all */
};

void page_runs_free(struct page_runs *runs);

/* Add page @page, which is higher than all so far. */
void page_runs_add(struct page_runs *runs, uint32_t page);

/**
 * struct mem_map - Where guest memory is in a process
 */
struct mem_map {
	pid_t pid;
	uint64_t start, size;
};

/* Find the private mapping of all of @path (@size bytes) in @pid. */
int mem_map_find(pid_t pid, const char *path, uint64_t size,
		 struct mem_map *ret, struct error *err);

/*
 * The same in the text of a maps file, by @path or by @st's device and inode
 * (NULL: the file is gone). Pure. 0 or -ENOENT.
 */
int mem_map_parse(const char *maps, const char *path, const struct stat *st,
		  uint64_t size, uint64_t *ret_start);

/* The process's own pages; the guest must stand still. */
int mem_pages_written(const struct mem_map *map, struct page_runs *ret,
		      struct error *err);

/* Pure: entries of a pagemap, the first being that of page @first. */
void mem_pages_decode(const uint64_t *entries, size_t n, uint32_t first,
		      struct page_runs *ret);

/* Copy the pages of @runs, one after the other, from or into the process. 0 or
 * -errno (-EFAULT: not mapped; -ESRCH: it is gone).
 */
int mem_pages_read(const struct mem_map *map, const struct page_run *runs,
		   size_t n, uint8_t *buf);
int mem_pages_write(const struct mem_map *map, const struct page_run *runs,
		    size_t n, const uint8_t *buf);

#endif /* ENGINE_MEM_PAGES_H */
