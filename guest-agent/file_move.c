/* SPDX-License-Identifier: Apache-2.0 */
/* file_move.c - RemoveFile and MoveFile
 *
 * A move to another file system copies to a temporary name beside the target,
 * renames that, and removes the source last: at every moment one of the two
 * names has the whole.
 */
#include "agent.h"
#include "file_path.h"
#include "file_tree.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* "/", "//", "/.", "/x/..": the root by whatever name. */
static bool is_root(const char *path)
{
	struct stat a, b;

	return stat("/", &a) == 0 && lstat(path, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int remove_one(const char *path, struct error *err)
{
	char quoted[FILE_QUOTE_MAX];
	struct stat st;
	int r;

	r = lstat(path, &st);
	if (r == 0)
		r = S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path);
	return r < 0 ? agent_file_error(err, errno, "remove '%s'",
					file_quote(quoted, path))
		     : 0;
}

static int remove_file(struct task *t, const NODE(RemoveFileRequest) * rq,
		       struct error *err)
{
	NODE(RemoveFileResponse) msg = NODE_INIT(REMOVE_FILE_RESPONSE);
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	size_t len;
	int r;

	if (file_take_path(t, &rq->path, "path", path, err) < 0)
		return -1;
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	if (is_root(path))
		return err_field(err, "path", "the root cannot be removed");
	r = rq->recursive ? file_tree_remove(t, path, err)
			  : remove_one(path, err);
	if (r < 0 && !(rq->missing_ok && err->code == ERR_NOT_FOUND))
		return -1;
	task_send(t, &msg.base);
	return 0;
}

int file_remove_task(struct task *t, struct error *err)
{
	NODE(RemoveFileRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__remove_file_request__descriptor, err);
	if (!rq)
		return -1;
	r = remove_file(t, rq, err);
	sandbox__node__v1__remove_file_request__free_unpacked(rq, NULL);
	return r;
}

static int move_error(struct error *err, int errnum, const char *from,
		      const char *to)
{
	char a[FILE_QUOTE_MAX], b[FILE_QUOTE_MAX];

	file_quote(a, from);
	file_quote(b, to);
	if (errnum == EINVAL)
		return err_field(err, "to_path",
				 "'%s' cannot be moved below itself", a);
	/* A directory over a file, or the other way round. */
	if (errnum == EISDIR || (errnum == ENOTDIR && access(to, F_OK) == 0))
		return err_set(err, ERR_EXISTS,
			       "'%s' is there and is of another kind", b);
	return agent_file_error(err, errnum, "move '%.80s' to '%.80s'", a, b);
}

static int move_across(struct task *t, const char *from, const char *to,
		       unsigned int flags, struct error *err)
{
	_cleanup_free_ char *dir = xcalloc(1, PATH_MAX);
	_cleanup_free_ char *tmp = NULL;
	const char *name;
	uint64_t random;

	file_split(to, dir, &name);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, errno, "draw a name");
	tmp = xasprintf("%s/.sandbox-%016llx", dir, (unsigned long long)random);
	if (file_tree_copy(t, from, tmp, err) < 0)
		return -1;
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, to, flags) < 0) {
		move_error(err, errno, from, to);
		file_tree_remove(t, tmp, NULL);
		return -1;
	}
	return file_tree_remove(t, from, err);
}

static void strip_slashes(char *path)
{
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
}

static int move_file(struct task *t, const NODE(MoveFileRequest) * rq,
		     struct error *err)
{
	NODE(MoveFileResponse) msg = NODE_INIT(MOVE_FILE_RESPONSE);
	_cleanup_free_ char *from = xcalloc(1, PATH_MAX);
	_cleanup_free_ char *to = xcalloc(1, PATH_MAX);
	unsigned int flags = rq->no_replace ? RENAME_NOREPLACE : 0;

	if (file_take_path(t, &rq->from_path, "from_path", from, err) < 0 ||
	    file_take_path(t, &rq->to_path, "to_path", to, err) < 0)
		return -1;
	strip_slashes(from);
	strip_slashes(to);
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, flags) < 0) {
		if (errno != EXDEV)
			return move_error(err, errno, from, to);
		if (rq->no_replace && access(to, F_OK) == 0)
			return move_error(err, EEXIST, from, to);
		if (move_across(t, from, to, flags, err) < 0)
			return -1;
	}
	task_send(t, &msg.base);
	return 0;
}

int file_move_task(struct task *t, struct error *err)
{
	NODE(MoveFileRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__move_file_request__descriptor, err);
	if (!rq)
		return -1;
	r = move_file(t, rq, err);
	sandbox__node__v1__move_file_request__free_unpacked(rq, NULL);
	return r;
}
