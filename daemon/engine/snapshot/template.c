/* SPDX-License-Identifier: Apache-2.0 */
/* template.c - a guest booted once, that many are clones of
 *
 * Theory of operation
 * ===================
 *
 * The directory belongs to root, group: the QEMUs', mode 0710: they can reach
 * files by name and neither list nor replace them. Of the files they may read
 * the disk layer and map the memory; the state is handed to them.
 *
 * Writing to template.ram, even through a shared mapping, sets its time of last
 * writing, and its group cannot set that back (only an owner can): a look at
 * size and time tells whether it was touched. Touched and yet the same (a
 * backup put back) passes, after reading all of it.
 */
#include "engine/snapshot/template.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/hv.h"
#include "engine/snapshot/disk.h"
#include "engine/snapshot/mem_file.h"
#include "engine/snapshot/mem_pages.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void quarantine(const char *dir, const char *why)
{
	_cleanup_free_ char *aside = xasprintf("%s.quarantined", dir);
	struct error err = { 0 };

	/* An older one in the way has told its story. */
	if (fd_remove_tree(AT_FDCWD, aside, &err) < 0)
		log_warn("quarantine: %s", err.msg);
	if (rename(dir, aside) < 0)
		log_err("template '%s' is altered (%s) and cannot be moved "
			"aside: %s",
			dir, why, strerror(errno));
	else
		log_err("TEMPLATE ALTERED: %s; moved to '%s' and not used "
			"again. Guests that are clones of it are suspect",
			why, aside);
}

static int check(const char *dir, enum snapshot_depth depth,
		 struct snapshot_manifest *m, struct error *err)
{
	_cleanup_close_ int dir_fd =
		open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct error why = { 0 };
	int rc;

	if (dir_fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no template '%s'", dir);
	if (dir_fd < 0)
		return err_sys(err, errno, "open template '%s'", dir);
	rc = snapshot_read(dir_fd, SNAPSHOT_TEMPLATE, m, &why);
	for (size_t i = 0; rc == 0 && i < m->n_parts; i++)
		rc = snapshot_check_part(dir_fd, &m->parts[i], depth, &why);
	if (rc == 0 && (!snapshot_manifest_part(m, TEMPLATE_RAM) ||
			!snapshot_manifest_part(m, TEMPLATE_STATE) ||
			!snapshot_manifest_part(m, TEMPLATE_DISK)))
		rc = err_set(&why, ERR_DATA_LOSS, "a part is not named");
	if (rc == 0)
		return 0;
	if (why.code == ERR_DATA_LOSS)
		quarantine(dir, why.msg);
	if (err)
		*err = why;
	return err_wrap(err, "template '%s'", dir);
}

int template_open(const char *dir, struct snapshot_manifest *ret,
		  struct error *err)
{
	return check(dir, SNAPSHOT_SIZES, ret, err);
}

int template_verify(const char *dir, struct error *err)
{
	_cleanup_free_ struct snapshot_manifest *m = xcalloc(1, sizeof(*m));

	return check(dir, SNAPSHOT_ALL, m, err);
}

int template_size(const char *dir, uint64_t *ret, struct error *err)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	uint64_t sum = 0;

	if (!d)
		return err_sys(err, errno, "open template '%s'", dir);
	while ((de = readdir(d))) {
		struct stat st;

		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
			    0 &&
		    S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(d);
	*ret = sum;
	return 0;
}

/* The pages of a buffer that are not zero, to their places in the file. */
static int write_pages(int fd, struct page_run run, const uint8_t *buf)
{
	for (uint32_t i = 0; i < run.count; i++, buf += MEM_PAGE_SIZE) {
		off_t at = (off_t)(run.first + i) * MEM_PAGE_SIZE;
		int r;

		if (mem_is_zero(buf, MEM_PAGE_SIZE))
			continue;
		r = fd_pwrite_full(fd, buf, MEM_PAGE_SIZE, at);
		if (r < 0)
			return r;
	}
	return 0;
}

int template_write_ram(int dir_fd, const struct mem_map *map,
		       const struct page_runs *runs,
		       struct hv_progress *progress, struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, TEMPLATE_RAM,
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	_cleanup_free_ uint8_t *buf = xcalloc(1, MEM_FRAME_SIZE);

	if (fd < 0)
		return err_sys(err, errno, "create '%s'", TEMPLATE_RAM);
	if (ftruncate(fd, (off_t)map->size) < 0)
		return err_sys(err, errno, "size '%s'", TEMPLATE_RAM);
	if (progress)
		progress->total = runs->pages;
	for (size_t i = 0; i < runs->n; i++) {
		struct page_run left = runs->runs[i];

		while (left.count > 0) {
			struct page_run part = left;
			int r;

			if (part.count > MEM_FRAME_PAGES)
				part.count = MEM_FRAME_PAGES;
			r = mem_pages_read(map, &part, 1, buf);
			if (r == 0)
				r = write_pages(fd, part, buf);
			if (r < 0)
				return err_sys(err, -r, "write '%s'",
					       TEMPLATE_RAM);
			left.first += part.count;
			left.count -= part.count;
			if (!progress)
				continue;
			progress->done += part.count;
			if (progress->cancel)
				return err_set(err, ERR_CANCELLED,
					       "write '%s': stopped",
					       TEMPLATE_RAM);
		}
	}
	return 0;
}

int template_share(int dir_fd, gid_t gid, bool ram_readonly, struct error *err)
{
	if (fchownat(dir_fd, TEMPLATE_RAM, 0, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dir_fd, TEMPLATE_RAM, ram_readonly ? 0440 : 0660, 0) < 0 ||
	    fchown(dir_fd, 0, gid) < 0 || fchmod(dir_fd, 0710) < 0)
		return err_sys(err, errno, "share the template");
	return disk_make_readonly(dir_fd, TEMPLATE_DISK, gid, 0440, err);
}
