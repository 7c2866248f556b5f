/* SPDX-License-Identifier: Apache-2.0 */
/* mem_pages.c - a guest's memory, seen in its QEMU process from outside
 *
 * Theory of operation
 * ===================
 *
 * In /proc/PID/pagemap an entry of a private file mapping is the process's own
 * page when it is swapped out (bit 62), or present (63) and not of a file (61).
 * A page of the file, mapped or not, has not been written. Nothing else is
 * needed: no dirty log, no write protection, no help of QEMU's.
 *
 * The caller holds a pidfd, or the guest is one that only it works on: the pid
 * cannot become another process's meanwhile.
 */
#include "engine/snapshot/mem_pages.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define MAPS_MAX      (8u << 20)
#define PAGEMAP_CHUNK 32768 /* entries read at a time: 128 MiB of memory */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE    (1ull << 61)
#define IOV_BATCH     256

void page_runs_free(struct page_runs *runs)
{
	free(runs->runs);
	*runs = (struct page_runs){ 0 };
}

void page_runs_add(struct page_runs *runs, uint32_t page)
{
	struct page_run *last = runs->n ? &runs->runs[runs->n - 1] : NULL;

	runs->pages++;
	if (last && last->first + last->count == page) {
		last->count++;
		return;
	}
	if (runs->n == runs->room) {
		runs->room = runs->room ? runs->room * 2 : 256;
		runs->runs =
			xrealloc(runs->runs, runs->room, sizeof(*runs->runs));
	}
	runs->runs[runs->n++] = (struct page_run){ page, 1 };
}

/* Is @name, as maps has it, @path? */
static bool names(const char *name, const char *path)
{
	size_t len = strlen(path);

	return strncmp(name, path, len) == 0 &&
	       (!name[len] || strcmp(name + len, " (deleted)") == 0);
}

/*
 * One line of maps about the file? Then its range and offset. Its name is
 * another where the process has another root (a chroot), and its device is
 * another than stat()'s on overlayfs and btrfs: either will do.
 */
static bool parse_line(const char *line, size_t len, const char *path,
		       const struct stat *st, uint64_t *start, uint64_t *end,
		       uint64_t *offset)
{
	char perms[5], copy[PATH_MAX + 160];
	unsigned int dev_major, dev_minor;
	uint64_t ino;
	int at = 0;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, line, len);
	copy[len] = '\0';
	if (sscanf(copy,
		   "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64
		   " %n",
		   start, end, perms, offset, &dev_major, &dev_minor, &ino,
		   &at) != 7 ||
	    at == 0)
		return false;
	if (!names(copy + at, path) &&
	    !(st && ino == st->st_ino && dev_major == major(st->st_dev) &&
	      dev_minor == minor(st->st_dev)))
		return false;
	return perms[0] == 'r' && perms[1] == 'w' && perms[3] == 'p' &&
	       *end > *start;
}

/* A mapping may have been cut into pieces; they must follow each other. */
int mem_map_parse(const char *maps, const char *path, const struct stat *st,
		  uint64_t size, uint64_t *ret_start)
{
	uint64_t first = 0, have = 0;

	for (const char *line = maps; *line;) {
		size_t len = strcspn(line, "\n");
		uint64_t start, end, offset;

		if (parse_line(line, len, path, st, &start, &end, &offset)) {
			if (offset == 0) {
				first = start;
				have = end - start;
			} else if (have && start == first + have &&
				   offset == have) {
				have += end - start;
			}
			if (have == size) {
				*ret_start = first;
				return 0;
			}
		}
		line += len;
		line += *line == '\n';
	}
	return -ENOENT;
}

int mem_map_find(pid_t pid, const char *path, uint64_t size,
		 struct mem_map *ret, struct error *err)
{
	char name[64];
	_cleanup_free_ char *maps = NULL;
	struct stat st;
	bool there = stat(path, &st) == 0;
	uint64_t start;
	int r;

	snprintf(name, sizeof(name), "/proc/%d/maps", pid);
	r = fd_read_file(AT_FDCWD, name, MAPS_MAX, &maps, NULL);
	if (r < 0)
		return err_sys(err, -r, "read '%s'", name);
	if (mem_map_parse(maps, path, there ? &st : NULL, size, &start) < 0)
		return err_set(err, ERR_INTERNAL,
			       "process %d has no private mapping of '%s'", pid,
			       path);
	*ret = (struct mem_map){ pid, start, size };
	return 0;
}

void mem_pages_decode(const uint64_t *entries, size_t n, uint32_t first,
		      struct page_runs *ret)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t e = entries[i];

		if ((e & ENTRY_SWAPPED) ||
		    ((e & ENTRY_PRESENT) && !(e & ENTRY_FILE)))
			page_runs_add(ret, first + (uint32_t)i);
	}
}

int mem_pages_written(const struct mem_map *map, struct page_runs *ret,
		      struct error *err)
{
	_cleanup_free_ uint64_t *entries =
		xcalloc(PAGEMAP_CHUNK, sizeof(*entries));
	uint64_t pages = map->size / MEM_PAGE_SIZE;
	_cleanup_close_ int fd = -EBADF;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%d/pagemap", map->pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open '%s'", name);
	for (uint64_t at = 0; at < pages; at += PAGEMAP_CHUNK) {
		size_t n = pages - at < PAGEMAP_CHUNK ? (size_t)(pages - at)
						      : PAGEMAP_CHUNK;
		off_t where = (off_t)((map->start / MEM_PAGE_SIZE + at) *
				      sizeof(*entries));
		int r = fd_pread_full(fd, entries, n * sizeof(*entries), where);

		if (r < 0) {
			page_runs_free(ret);
			return err_sys(err, -r, "read '%s'", name);
		}
		mem_pages_decode(entries, n, (uint32_t)at, ret);
	}
	return 0;
}

/* What is left of a batch after @done bytes: the kernel stops between pieces,
 * or within one at a page it cannot reach.
 */
static int copy_batch(const struct mem_map *map, struct iovec *remote, size_t n,
		      uint8_t *buf, size_t len, bool write)
{
	struct iovec local = { buf, len };

	while (local.iov_len > 0) {
		ssize_t done = write ? process_vm_writev(map->pid, &local, 1,
							 remote, n, 0)
				     : process_vm_readv(map->pid, &local, 1,
							remote, n, 0);
		size_t left;

		if (done <= 0)
			return done < 0 ? -errno : -EFAULT;
		local.iov_base = (uint8_t *)local.iov_base + done;
		local.iov_len -= (size_t)done;
		for (left = (size_t)done; n > 0 && left >= remote->iov_len;
		     remote++, n--)
			left -= remote->iov_len;
		if (n > 0) {
			remote->iov_base = (uint8_t *)remote->iov_base + left;
			remote->iov_len -= left;
		}
	}
	return 0;
}

static int copy(const struct mem_map *map, const struct page_run *runs,
		size_t n, uint8_t *buf, bool write)
{
	uint64_t pages = map->size / MEM_PAGE_SIZE;

	while (n > 0) {
		struct iovec remote[IOV_BATCH];
		size_t count = 0, len = 0;
		int r;

		for (; n > 0 && count < IOV_BATCH; runs++, n--, count++) {
			size_t size = (size_t)runs->count * MEM_PAGE_SIZE;

			if ((uint64_t)runs->first + runs->count > pages)
				return -EFAULT;
			remote[count].iov_base =
				(void *)(uintptr_t)(map->start +
						    (uint64_t)runs->first *
							    MEM_PAGE_SIZE);
			remote[count].iov_len = size;
			len += size;
		}
		r = copy_batch(map, remote, count, buf, len, write);
		if (r < 0)
			return r;
		buf += len;
	}
	return 0;
}

int mem_pages_read(const struct mem_map *map, const struct page_run *runs,
		   size_t n, uint8_t *buf)
{
	return copy(map, runs, n, buf, false);
}

int mem_pages_write(const struct mem_map *map, const struct page_run *runs,
		    size_t n, const uint8_t *buf)
{
	return copy(map, runs, n, (uint8_t *)(uintptr_t)buf, true);
}
