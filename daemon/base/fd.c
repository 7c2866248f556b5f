/* SPDX-License-Identifier: Apache-2.0 */
/* fd.c - whole reads and writes, and files that are replaced durably */
#include "base/fd.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* @at -1: at the file's own position. */
static int read_all(int fd, char *p, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = at < 0 ? read(fd, p, len) : pread(fd, p, len, at);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
		if (at >= 0)
			at += n;
	}
	return 0;
}

static int write_all(int fd, const char *p, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = at < 0 ? write(fd, p, len) : pwrite(fd, p, len, at);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
		if (at >= 0)
			at += n;
	}
	return 0;
}

int fd_read_full(int fd, void *buf, size_t len)
{
	return read_all(fd, buf, len, -1);
}

int fd_write_full(int fd, const void *buf, size_t len)
{
	return write_all(fd, buf, len, -1);
}

int fd_pread_full(int fd, void *buf, size_t len, off_t at)
{
	return read_all(fd, buf, len, at);
}

int fd_pwrite_full(int fd, const void *buf, size_t len, off_t at)
{
	return write_all(fd, buf, len, at);
}

int fd_read_file(int dir_fd, const char *name, size_t max, char **ret,
		 size_t *ret_len)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, room = 4096;

	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	buf = xcalloc(1, room + 1);
	for (;;) {
		ssize_t n = read(fd, buf + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (len == room) {
			room *= 2;
			buf = xrealloc(buf, 1, room + 1);
		}
	}
	buf[len] = '\0';
	*ret = TAKE_PTR(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int fd_replace_file(int dir_fd, const char *name, const void *data, size_t len,
		    mode_t mode, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *parent = xstrdup(name);
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", name);
	char *slash = strrchr(parent, '/');
	int r;

	if (slash)
		*slash = '\0';
	dir = openat(dir_fd, slash ? (*parent ? parent : "/") : ".",
		     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "open the directory of '%s'", name);
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    mode);
	if (fd < 0)
		return err_sys(err, errno, "create '%s'", tmp);
	r = fd_write_full(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, tmp, 0);
		return err_sys(err, -r, "write '%s'", name);
	}
	if (fsync(dir) < 0)
		return err_sys(err, errno, "sync the directory of '%s'", name);
	return 0;
}

static int remove_below(int fd, dev_t dev, struct error *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!dir) {
		close(fd);
		return err_sys(err, errno, "read a directory");
	}
	while (r == 0 && (de = readdir(dir))) {
		struct stat st;
		int sub;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno != ENOENT)
				r = err_sys(err, errno, "stat '%s'", de->d_name);
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			if (st.st_dev != dev) {
				r = err_set(err, ERR_CONFLICT,
					    "'%s' is a mount point", de->d_name);
				continue;
			}
			sub = openat(dirfd(dir), de->d_name,
				     O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					     O_CLOEXEC);
			if (sub < 0) {
				r = err_sys(err, errno, "open '%s'", de->d_name);
				continue;
			}
			r = remove_below(sub, dev, err);
		}
		if (r == 0 &&
		    unlinkat(dirfd(dir), de->d_name,
			     S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 &&
		    errno != ENOENT)
			r = err_sys(err, errno, "remove '%s'", de->d_name);
	}
	closedir(dir);
	return r;
}

int fd_remove_tree(int dir_fd, const char *name, struct error *err)
{
	struct stat st;
	bool is_dir;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 :
					 err_sys(err, errno, "stat '%s'", name);
	is_dir = S_ISDIR(st.st_mode);
	if (is_dir) {
		int fd = openat(dir_fd, name,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return err_sys(err, errno, "open '%s'", name);
		if (remove_below(fd, st.st_dev, err) < 0)
			return err_wrap(err, "remove '%s'", name);
	}
	if (unlinkat(dir_fd, name, is_dir ? AT_REMOVEDIR : 0) < 0 &&
	    errno != ENOENT)
		return err_sys(err, errno, "remove '%s'", name);
	return 0;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_set_cloexec(int fd, int on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_sync_dir(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}
