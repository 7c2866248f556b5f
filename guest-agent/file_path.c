/* SPDX-License-Identifier: Apache-2.0 */
/* file_path.c - paths in the guest: finding, describing, making parents */
#include "file_path.h"

#include "agent.h"
#include "request.h"
#include "rpc.h"
#include "task.h"
#include "user.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel's */

const char *file_quote(char dst[FILE_QUOTE_MAX], const char *path)
{
	return str_escape(dst, FILE_QUOTE_MAX, path, strlen(path));
}

int file_take_path(const struct task *t, const ProtobufCBinaryData *bytes,
		   const char *field, char ret[PATH_MAX], struct error *err)
{
	return request_path(bytes, task_workdir(t), NULL, field, ret, err);
}

int file_default_owner(const struct task *t, uid_t *uid, gid_t *gid,
		       struct error *err)
{
	_cleanup_free_ struct user *user = xcalloc(1, sizeof(*user));

	if (user_lookup(task_user(t), user, err) < 0)
		return err_wrap(err, "the sandbox's user");
	*uid = user->uid;
	*gid = user->gid;
	return 0;
}

int file_open_regular(const char *path, int flags, struct stat *ret_st,
		      struct error *err)
{
	_cleanup_close_ int at = open(path, O_PATH | O_CLOEXEC);
	char quoted[FILE_QUOTE_MAX], self[64];
	struct stat st;
	int fd;

	file_quote(quoted, path);
	if (at < 0 || fstat(at, &st) < 0)
		return agent_file_error(err, errno, "open '%s'", quoted);
	if (S_ISDIR(st.st_mode))
		return err_field(err, "path", "'%s' is a directory", quoted);
	if (!S_ISREG(st.st_mode))
		return err_field(err, "path", "'%s' is no regular file",
				 quoted);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	fd = open(self, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return agent_file_error(err, errno, "open '%s'", quoted);
	*ret_st = st;
	return fd;
}

void file_split(const char *path, char dir[PATH_MAX], const char **name)
{
	const char *slash = strrchr(path, '/');

	if (!slash) {
		strcpy(dir, ".");
		*name = path;
		return;
	}
	if (slash == path) {
		strcpy(dir, "/");
	} else {
		memcpy(dir, path, (size_t)(slash - path));
		dir[slash - path] = '\0';
	}
	*name = slash + 1;
}

int file_resolve(const char *path, char ret[PATH_MAX], struct error *err)
{
	_cleanup_free_ char *link = xcalloc(1, PATH_MAX);
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	char quoted[FILE_QUOTE_MAX];
	const char *name;

	if (str_copy(ret, PATH_MAX, path) < 0)
		return agent_file_error(err, ENAMETOOLONG, "resolve a path");
	for (int i = 0; i < LINKS_MAX; i++) {
		ssize_t n = readlink(ret, link, PATH_MAX - 1);

		if (n < 0) /* no link, or nothing: that is the place */
			return 0;
		link[n] = '\0';
		if (link[0] != '/') {
			file_split(ret, dir, &name);
			if (strlen(dir) + 1 + (size_t)n >= PATH_MAX)
				return agent_file_error(
					err, ENAMETOOLONG, "resolve '%s'",
					file_quote(quoted, path));
			snprintf(ret, PATH_MAX, "%.*s/%s", PATH_MAX / 2, dir,
				 link);
		} else {
			memcpy(ret, link, (size_t)n + 1);
		}
	}
	return agent_file_error(err, ELOOP, "resolve '%s'",
				file_quote(quoted, path));
}

static int make_one(const char *path, mode_t mode,
		    const struct file_owner *owner)
{
	struct stat st;

	if (mkdir(path, mode) < 0) {
		int saved = errno;

		/* A file system that is mounted read-only says EROFS even for
		 * what is there.
		 */
		if (stat(path, &st) == 0)
			return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
		return -saved;
	}
	if (owner && chown(path, owner->uid, owner->gid) < 0)
		return -errno;
	return chmod(path, mode) < 0 ? -errno : 0;
}

int file_make_directories(const char *path, mode_t mode,
			  const struct file_owner *owner, struct error *err)
{
	_cleanup_free_ char *part = xstrdup(path);
	char quoted[FILE_QUOTE_MAX];
	int r = 0;

	for (char *p = part + 1; r == 0 && *part && *p; p++) {
		if (*p != '/' || p[-1] == '/')
			continue;
		*p = '\0';
		r = make_one(part, 0755, owner);
		*p = '/';
	}
	if (r == 0)
		r = make_one(part, mode, owner);
	if (r == -ENOTDIR || r == -EEXIST) {
		err_set(err, ERR_EXISTS,
			"make '%s': there is something else than a directory",
			file_quote(quoted, path));
		return -1;
	}
	return r < 0 ? agent_file_error(err, -r, "make '%s'",
					file_quote(quoted, path))
		     : 0;
}

void file_make_parents_of_target(const char *path)
{
	_cleanup_free_ char *target = xcalloc(1, PATH_MAX);
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	const char *name;

	file_split(path, dir, &name);
	file_make_directories(dir, 0755, NULL, NULL);
	if (file_resolve(path, target, NULL) < 0)
		return;
	file_split(target, dir, &name);
	file_make_directories(dir, 0755, NULL, NULL);
}

int file_type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	case S_IFDIR:
		return SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	case S_IFLNK:
		return SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
	default:
		return SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_OTHER;
	}
}

void file_info_fill(struct file_info *info, const struct stat *st,
		    const char *name, int dir_fd, const char *at)
{
	NODE(FileInfo) *msg = &info->msg;
	ssize_t n;

	*info = (struct file_info){
		.msg = NODE_INIT(FILE_INFO),
		.modified_at = GOOGLE__PROTOBUF__TIMESTAMP__INIT,
	};
	msg->name.data = (uint8_t *)name;
	msg->name.len = strlen(name);
	msg->type = (NODE(FileType))file_type_of(st->st_mode);
	msg->size_bytes = (uint64_t)st->st_size;
	msg->mode = st->st_mode & 07777;
	msg->uid = st->st_uid;
	msg->gid = st->st_gid;
	info->modified_at.seconds = st->st_mtim.tv_sec;
	info->modified_at.nanos = (int32_t)st->st_mtim.tv_nsec;
	msg->modified_at = &info->modified_at;
	if (!S_ISLNK(st->st_mode))
		return;
	info->link = xcalloc(1, PATH_MAX);
	n = readlinkat(dir_fd, at, info->link, PATH_MAX - 1);
	msg->link_target.data = (uint8_t *)info->link;
	msg->link_target.len = n > 0 ? (size_t)n : 0;
}

void file_info_fini(struct file_info *info)
{
	free(info->link);
	info->link = NULL;
}
