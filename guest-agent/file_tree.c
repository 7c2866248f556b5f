/* SPDX-License-Identifier: Apache-2.0 */
/* file_tree.c - removing and copying whole trees, however deep and large
 *
 * Theory of operation
 *
 * A hostile tree is deeper than any stack, and than the descriptors we have.
 * Removal descends DEPTH_MAX levels only: a directory below that is moved up
 * to the top of the tree that is being removed, where a later pass finds it.
 * Copying refuses to go deeper.
 */
#include "file_tree.h"

#include "agent.h"
#include "file_path.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/limits.h>

#define DEPTH_MAX      64
#define BUFFER_SIZE    (256u << 10)
#define LINKED_MAX     16384u /* files with several names, in one tree */
#define LINKED_BUCKETS 1024u

/* ---- remove ---- */

struct removal {
	struct task *task;
	dev_t dev;
	int top; /* the tree's own directory */
	bool moved_up;
};

static int sys_error(struct error *err, const char *what, const char *name)
{
	char quoted[FILE_QUOTE_MAX];
	int saved = errno;

	return agent_file_error(err, saved, "%s '%s'", what,
				file_quote(quoted, name));
}

static int move_up(struct removal *rm, int dir, const char *name,
		   struct error *err)
{
	char up[64];
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return sys_error(err, "draw a name for", name);
	snprintf(up, sizeof(up), ".sandbox-%016llx",
		 (unsigned long long)random);
	if (renameat(dir, name, rm->top, up) < 0)
		return sys_error(err, "remove", name);
	rm->moved_up = true;
	return 0;
}

static int remove_below(struct removal *rm, int fd, int depth,
			struct error *err);

static int remove_entry(struct removal *rm, int dir, const char *name,
			int depth, struct error *err)
{
	struct stat st;
	int fd;

	if (task_cancelled(rm->task))
		return err_set(err, ERR_CANCELLED, "nobody waits for it");
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return sys_error(err, "remove", name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : sys_error(err, "stat", name);
	if (!S_ISDIR(st.st_mode)) {
		errno = EPERM;
		return sys_error(err, "remove", name);
	}
	if (st.st_dev != rm->dev) {
		errno = EBUSY;
		return sys_error(err, "remove the mount point", name);
	}
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return sys_error(err, "remove", name);
	if (depth >= DEPTH_MAX)
		return move_up(rm, dir, name, err);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return sys_error(err, "open", name);
	if (remove_below(rm, fd, depth + 1, err) < 0)
		return -1;
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT &&
	    errno != ENOTEMPTY)
		return sys_error(err, "remove", name);
	return 0;
}

/* Consumes @fd. */
static int remove_below(struct removal *rm, int fd, int depth,
			struct error *err)
{
	DIR *dir = fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!dir) {
		close(fd);
		return sys_error(err, "read", ".");
	}
	while (r == 0 && (de = readdir(dir)))
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			r = remove_entry(rm, dirfd(dir), de->d_name, depth,
					 err);
	closedir(dir);
	return r;
}

int file_tree_remove(struct task *t, const char *path, struct error *err)
{
	_cleanup_close_ int top = -EBADF;
	struct removal rm = { .task = t };
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return sys_error(err, "remove", path);
	if (!S_ISDIR(st.st_mode))
		return unlink(path) < 0 ? sys_error(err, "remove", path) : 0;
	top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return sys_error(err, "open", path);
	rm.dev = st.st_dev;
	rm.top = top;
	do {
		rm.moved_up = false;
		fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return sys_error(err, "open", path);
		if (remove_below(&rm, fd, 0, err) < 0)
			return -1;
	} while (rm.moved_up);
	return rmdir(path) < 0 ? sys_error(err, "remove", path) : 0;
}

/* ---- copy ---- */

/* A file that has other names, some of which may come later. */
struct linked {
	struct linked *next;
	dev_t dev;
	ino_t ino;
	int fd; /* of its copy */
};

struct copying {
	struct task *task;
	uint8_t *buf;
	struct linked *linked[LINKED_BUCKETS];
	unsigned int n_linked;
};

static int copy_entry(struct copying *c, int from_dir, const char *from,
		      int to_dir, const char *to, int depth, struct error *err);

static int copy_range(struct copying *c, int in, int out, off_t at, off_t end,
		      struct error *err)
{
	while (at < end) {
		size_t want = end - at < (off_t)BUFFER_SIZE ?
				      (size_t)(end - at) :
				      BUFFER_SIZE;
		ssize_t n = pread(in, c->buf, want, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sys_error(err, "read", "a file to copy");
		if (n == 0)
			return 0;
		if (task_cancelled(c->task))
			return err_set(err, ERR_CANCELLED,
				       "nobody waits for it");
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(out, c->buf + done,
					   (size_t)(n - done), at + done);

			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return sys_error(err, "write", "a copy");
			done += w;
		}
		at += n;
	}
	return 0;
}

/* Data only, so that holes stay holes. */
static int copy_data(struct copying *c, int in, int out, off_t size,
		     struct error *err)
{
	off_t at = 0;

	while (at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0) /* does not know holes */
			return copy_range(c, in, out, at, size, err);
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			hole = size;
		if (copy_range(c, in, out, data, hole, err) < 0)
			return -1;
		at = hole;
	}
	return ftruncate(out, size) < 0 ? sys_error(err, "write", "a copy") : 0;
}

static struct linked **linked_at(struct copying *c, const struct stat *st)
{
	struct linked **at = &c->linked[st->st_ino % LINKED_BUCKETS];

	while (*at && ((*at)->ino != st->st_ino || (*at)->dev != st->st_dev))
		at = &(*at)->next;
	return at;
}

/* 1: made a further name of a copy; 0: it is to be copied. */
static int copy_name(struct copying *c, const struct stat *st, int to_dir,
		     const char *to, struct error *err)
{
	struct linked *l = st->st_nlink > 1 ? *linked_at(c, st) : NULL;
	char path[32];

	if (!l)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->fd);
	if (linkat(AT_FDCWD, path, to_dir, to, AT_SYMLINK_FOLLOW) < 0)
		return sys_error(err, "link", to);
	return 1;
}

static int remember_copy(struct copying *c, const struct stat *st, int to_dir,
			 const char *to, struct error *err)
{
	struct linked *l;
	int fd;

	if (st->st_nlink < 2)
		return 0;
	if (c->n_linked == LINKED_MAX)
		return err_set(err, ERR_LIMIT,
			       "more than %u files with several names",
			       LINKED_MAX);
	fd = openat(to_dir, to, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return sys_error(err, "open", to);
	l = xcalloc(1, sizeof(*l));
	*l = (struct linked){ .dev = st->st_dev, .ino = st->st_ino, .fd = fd };
	*linked_at(c, st) = l;
	c->n_linked++;
	return 0;
}

static void forget_copies(struct copying *c)
{
	for (unsigned int i = 0; i < LINKED_BUCKETS; i++)
		while (c->linked[i]) {
			struct linked *l = c->linked[i];

			c->linked[i] = l->next;
			close(l->fd);
			free(l);
		}
}

/* After the owner was set, which takes some of them away. */
static int copy_xattrs(int from_dir, const char *from, int to_dir,
		       const char *to, struct error *err)
{
	_cleanup_free_ char *names = xcalloc(1, XATTR_LIST_MAX);
	_cleanup_free_ char *value = xcalloc(1, XATTR_SIZE_MAX);
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	_cleanup_close_ int in = openat(from_dir, from, flags);
	_cleanup_close_ int out = openat(to_dir, to, flags);
	ssize_t len;

	if (in < 0 || out < 0)
		return sys_error(err, "open", in < 0 ? from : to);
	len = flistxattr(in, names, XATTR_LIST_MAX);
	if (len < 0)
		return errno == ENOTSUP ? 0 : sys_error(err, "read", from);
	for (char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t n = fgetxattr(in, name, value, XATTR_SIZE_MAX);

		if (n < 0)
			return sys_error(err, "read the attributes of", from);
		if (fsetxattr(out, name, value, (size_t)n, 0) == 0)
			continue;
		if (errno == ENOTSUP)
			return err_field(err, "to_path",
					 "'%.80s' has the attribute '%.80s', "
					 "which that file system cannot keep",
					 from, name);
		return sys_error(err, "write the attributes of", to);
	}
	return 0;
}

static int copy_regular(struct copying *c, int from_dir, const char *from,
			int to_dir, const char *to, off_t size,
			struct error *err)
{
	_cleanup_close_ int out = -EBADF;
	_cleanup_close_ int in = openat(
		from_dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (in < 0)
		return sys_error(err, "read", from);
	out = openat(to_dir, to,
		     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	if (out < 0)
		return sys_error(err, "write", to);
	return copy_data(c, in, out, size, err);
}

static int copy_link(int from_dir, const char *from, int to_dir, const char *to,
		     struct error *err)
{
	_cleanup_free_ char *link = xcalloc(1, PATH_MAX);

	if (readlinkat(from_dir, from, link, PATH_MAX - 1) < 0 ||
	    symlinkat(link, to_dir, to) < 0)
		return sys_error(err, "copy the link", from);
	return 0;
}

static int copy_directory(struct copying *c, int from_dir, const char *from,
			  int to_dir, const char *to, int depth,
			  struct error *err)
{
	_cleanup_close_ int out = -EBADF;
	struct dirent *de;
	DIR *dir;
	int fd, r = 0;

	if (depth >= DEPTH_MAX * 2) {
		errno = ENAMETOOLONG;
		return sys_error(err, "copy the deep directory", from);
	}
	fd = openat(from_dir, from,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return sys_error(err, "read", from);
	if (mkdirat(to_dir, to, 0700) < 0 ||
	    (out = openat(to_dir, to,
			  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		r = sys_error(err, "make", to);
	while (r == 0 && (de = readdir(dir)))
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			r = copy_entry(c, dirfd(dir), de->d_name, out,
				       de->d_name, depth + 1, err);
	closedir(dir);
	return r;
}

static int copy_attributes(const struct stat *st, int dir, const char *name,
			   struct error *err)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) <
		    0 ||
	    (!S_ISLNK(st->st_mode) &&
	     fchmodat(dir, name, st->st_mode & 07777, 0) < 0) ||
	    utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return sys_error(err, "set owner, mode and times of", name);
	return 0;
}

static int copy_entry(struct copying *c, int from_dir, const char *from,
		      int to_dir, const char *to, int depth, struct error *err)
{
	struct stat st;
	int r;

	if (task_cancelled(c->task))
		return err_set(err, ERR_CANCELLED, "nobody waits for it");
	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return sys_error(err, "stat", from);
	r = S_ISDIR(st.st_mode) ? 0 : copy_name(c, &st, to_dir, to, err);
	if (r != 0)
		return r < 0 ? -1 : 0;
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		r = copy_directory(c, from_dir, from, to_dir, to, depth, err);
		break;
	case S_IFREG:
		r = copy_regular(c, from_dir, from, to_dir, to, st.st_size,
				 err);
		break;
	case S_IFLNK:
		r = copy_link(from_dir, from, to_dir, to, err);
		break;
	default:
		r = mknodat(to_dir, to, st.st_mode, st.st_rdev);
		if (r < 0)
			r = sys_error(err, "copy", from);
	}
	if (r < 0 || copy_attributes(&st, to_dir, to, err) < 0)
		return -1;
	if ((S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)) &&
	    copy_xattrs(from_dir, from, to_dir, to, err) < 0)
		return -1;
	return S_ISDIR(st.st_mode) ? 0 : remember_copy(c, &st, to_dir, to, err);
}

int file_tree_copy(struct task *t, const char *from, const char *to,
		   struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, BUFFER_SIZE);
	_cleanup_free_ struct copying *c = xcalloc(1, sizeof(*c));
	int r;

	c->task = t;
	c->buf = buf;
	r = copy_entry(c, AT_FDCWD, from, AT_FDCWD, to, 0, err);
	forget_copies(c);
	if (r == 0)
		return 0;
	file_tree_remove(t, to, NULL);
	return -1;
}
