/* SPDX-License-Identifier: Apache-2.0 */
/* file_write.c - WriteFile
 *
 * Theory of operation
 *
 * The content goes to a temporary file beside the target and is renamed over it
 * when all has come: readers see the old file or the new one, and a call that
 * breaks off leaves nothing. Symbolic links are followed to the file that is
 * meant, which is replaced, not the link.
 *
 * Where a rename cannot be (a mount point, the kernel's own file systems) and
 * when appending, the file itself is written.
 */
#include "agent.h"
#include "file_path.h"
#include "request.h"
#include "rpc.h"
#include "task.h"
#include "user.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/stat.h>

#define MODE_DEFAULT 0644
#define MODE_MAX     07777u

struct writing {
	char target[PATH_MAX];
	char temporary[PATH_MAX]; /* empty: none */
	char quoted[FILE_QUOTE_MAX];
	int fd;
	bool existed;
	bool exclusive;
	bool in_place;
	bool append;
	bool set_owner, set_mode;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

static bool is_kernels(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
		return true;
	default:
		return false;
	}
}

static bool is_mount_point(const char *path)
{
	struct statx sx;

	return statx(AT_FDCWD, path, 0, STATX_TYPE, &sx) == 0 &&
	       (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Whose it will be and what its mode: asked, of the file replaced, default. */
static int take_attributes(struct task *t, const NODE(WriteFileStart) * start,
			   const struct stat *old, struct writing *w,
			   struct error *err)
{
	_cleanup_free_ struct user *user = xcalloc(1, sizeof(*user));

	w->mode = w->existed ? old->st_mode & MODE_MAX : MODE_DEFAULT;
	if (start->mode) {
		if (start->mode->value > MODE_MAX)
			return err_field(err, "mode", "must be 0 to 07777");
		w->mode = start->mode->value;
		w->set_mode = true;
	}
	if (start->owner && start->owner[0]) {
		if (user_lookup(start->owner, user, err) < 0) {
			snprintf(err->field, sizeof(err->field), "owner");
			return -1;
		}
		w->uid = user->uid;
		w->gid = user->gid;
		w->set_owner = true;
	} else if (w->existed) {
		w->uid = old->st_uid;
		w->gid = old->st_gid;
	} else {
		return file_default_owner(t, &w->uid, &w->gid, err);
	}
	return 0;
}

static int find_target(const NODE(WriteFileStart) * start, const char *path,
		       struct stat *old, struct writing *w, struct error *err)
{
	if (start->exclusive && lstat(path, old) == 0)
		return agent_file_error(err, EEXIST, "write '%s'", w->quoted);
	if (file_resolve(path, w->target, err) < 0)
		return -1;
	if (w->target[strlen(w->target) - 1] == '/')
		return err_field(err, "path", "'%s' is a directory's name",
				 w->quoted);
	w->existed = lstat(w->target, old) == 0;
	if (!w->existed && errno != ENOENT)
		return agent_file_error(err, errno, "write '%s'", w->quoted);
	if (w->existed && S_ISDIR(old->st_mode))
		return err_field(err, "path", "'%s' is a directory", w->quoted);
	if (w->existed && !S_ISREG(old->st_mode))
		return err_field(err, "path", "'%s' is no regular file",
				 w->quoted);
	return 0;
}

static int open_temporary(struct writing *w, struct error *err)
{
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	const char *name;
	uint64_t random;

	file_split(w->target, dir, &name);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, errno, "draw a name");
	if (snprintf(w->temporary, sizeof(w->temporary), "%s/.sandbox-%016llx",
		     dir,
		     (unsigned long long)random) >= (int)sizeof(w->temporary)) {
		w->temporary[0] = '\0';
		return agent_file_error(err, ENAMETOOLONG, "write '%s'",
					w->quoted);
	}
	w->fd = open(w->temporary,
		     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	if (w->fd < 0) {
		w->temporary[0] = '\0';
		return agent_file_error(err, errno, "write '%s'", w->quoted);
	}
	return 0;
}

static int open_in_place(struct writing *w, struct error *err)
{
	int flags = w->append ? O_WRONLY | O_APPEND : O_WRONLY | O_TRUNC;
	struct stat st;

	if (w->existed) {
		w->fd = file_open_regular(w->target, flags, &st, err);
		return w->fd < 0 ? -1 : 0;
	}
	w->fd = open(w->target,
		     flags | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC |
			     (w->exclusive ? O_EXCL : 0),
		     w->mode);
	if (w->fd < 0)
		return agent_file_error(err, errno, "write '%s'", w->quoted);
	w->set_mode = w->set_owner = true;
	return 0;
}

static int begin(struct task *t, const NODE(WriteFileStart) * start,
		 struct writing *w, struct error *err)
{
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	struct file_owner owner;
	const char *name;
	struct stat old;

	if (file_take_path(t, &start->path, "path", path, err) < 0)
		return -1;
	file_quote(w->quoted, path);
	w->exclusive = start->exclusive;
	w->append = start->append;
	if (start->make_parents) {
		if (file_default_owner(t, &owner.uid, &owner.gid, err) < 0)
			return -1;
		file_split(path, dir, &name);
		if (file_make_directories(dir, 0755, &owner, err) < 0)
			return -1;
	}
	if (find_target(start, path, &old, w, err) < 0 ||
	    take_attributes(t, start, &old, w, err) < 0)
		return -1;
	file_split(w->target, dir, &name);
	w->in_place = w->append || is_kernels(dir) ||
		      (w->existed && is_mount_point(w->target));
	return w->in_place ? open_in_place(w, err) : open_temporary(w, err);
}

static int write_data(struct writing *w, const ProtobufCBinaryData *data,
		      struct error *err)
{
	int r;

	if (data->len > REQUEST_CHUNK_MAX)
		return err_field(err, "data", "more than %u bytes in a message",
				 REQUEST_CHUNK_MAX);
	r = fd_write_full(w->fd, data->data, data->len);
	return r < 0 ? agent_file_error(err, -r, "write '%s'", w->quoted) : 0;
}

/* Take data until the client has sent all. */
static int take_data(struct task *t, struct writing *w, struct error *err)
{
	for (;;) {
		_cleanup_free_ uint8_t *bytes = NULL;
		NODE(WriteFileRequest) * rq;
		size_t len;
		int r = task_recv(t, &bytes, &len);

		if (r < 0)
			return err_set(err, ERR_CANCELLED, "the call is over");
		if (r == 0)
			return 0;
		rq = sandbox__node__v1__write_file_request__unpack(NULL, len,
								   bytes);
		if (!rq)
			return err_set(err, ERR_INVALID,
				       "the message is no WriteFileRequest");
		if (rq->input_case ==
		    SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA)
			r = write_data(w, &rq->data, err);
		else
			r = err_field(err, "data",
				      "must follow the first message");
		sandbox__node__v1__write_file_request__free_unpacked(rq, NULL);
		if (r < 0)
			return -1;
	}
}

static int finish(struct writing *w, struct error *err)
{
	bool fresh = !w->in_place;

	/* The mode last: a change of owner takes set-id bits away. */
	if ((fresh || w->set_owner) && fchown(w->fd, w->uid, w->gid) < 0)
		return agent_file_error(err, errno, "give '%s' to its owner",
					w->quoted);
	if ((fresh || w->set_mode) && fchmod(w->fd, w->mode) < 0)
		return agent_file_error(err, errno, "set the mode of '%s'",
					w->quoted);
	if (!fresh)
		return 0;
	if (renameat2(AT_FDCWD, w->temporary, AT_FDCWD, w->target,
		      w->exclusive ? RENAME_NOREPLACE : 0) < 0)
		return agent_file_error(err, errno, "put '%s' in place",
					w->quoted);
	w->temporary[0] = '\0';
	return 0;
}

static int answer(struct task *t, struct writing *w, struct error *err)
{
	NODE(WriteFileResponse) msg = NODE_INIT(WRITE_FILE_RESPONSE);
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	struct file_info info;
	const char *name;
	struct stat st;

	if (fstat(w->fd, &st) < 0)
		return agent_file_error(err, errno, "stat '%s'", w->quoted);
	file_split(w->target, dir, &name);
	file_info_fill(&info, &st, name, AT_FDCWD, w->target);
	msg.info = &info.msg;
	msg.created = !w->existed;
	task_send(t, &msg.base);
	file_info_fini(&info);
	return 0;
}

int file_write_task(struct task *t, struct error *err)
{
	_cleanup_free_ struct writing *w = xcalloc(1, sizeof(*w));
	NODE(WriteFileRequest) * rq;
	int r;

	w->fd = -EBADF;
	rq = task_recv_message(
		t, &sandbox__node__v1__write_file_request__descriptor, err);
	if (!rq)
		return -1;
	if (rq->input_case ==
	    SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START)
		r = begin(t, rq->start, w, err);
	else
		r = err_field(err, "start", "must come first");
	sandbox__node__v1__write_file_request__free_unpacked(rq, NULL);
	if (r == 0)
		r = take_data(t, w, err);
	if (r == 0)
		r = finish(w, err);
	if (r == 0)
		r = answer(t, w, err);
	if (w->temporary[0])
		unlink(w->temporary);
	fd_close(&w->fd);
	return r;
}
