/* SPDX-License-Identifier: Apache-2.0 */
/* file_read.c - ReadFile and StatFile
 *
 * A file is read until it ends or the range does, whatever its size says: files
 * in /proc say 0, others grow meanwhile.
 */
#include "agent.h"
#include "file_path.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (256u << 10)

static int send_file(struct task *t, int fd, const NODE(ReadFileRequest) * rq,
		     struct file_info *info, struct error *err)
{
	NODE(ReadFileResponse) msg = NODE_INIT(READ_FILE_RESPONSE);
	_cleanup_free_ uint8_t *buf = xcalloc(1, CHUNK);
	uint64_t left = rq->length ? rq->length : UINT64_MAX;
	bool first = true;

	if (rq->offset && lseek(fd, (off_t)rq->offset, SEEK_SET) < 0)
		return err_field(err, "offset", "this file has no offsets");
	for (;;) {
		size_t want = left < CHUNK ? (size_t)left : CHUNK;
		ssize_t n = read(fd, buf, want);

		if (n < 0 && errno == EINTR)
			continue;
		/* Nothing there now (a kernel's log): that is its end. */
		if (n < 0 && errno == EAGAIN)
			n = 0;
		if (n < 0)
			return agent_file_error(err, errno, "read the file");
		if (n == 0 && !first)
			return 0;
		msg.info = first ? &info->msg : NULL;
		msg.data.data = buf;
		msg.data.len = (size_t)n;
		if (task_send(t, &msg.base) < 0)
			return err_set(err, ERR_CANCELLED, "nobody reads");
		left -= (size_t)n;
		if (n == 0 || left == 0)
			return 0;
		first = false;
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int read_file(struct task *t, const NODE(ReadFileRequest) * rq,
		     struct error *err)
{
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	_cleanup_close_ int fd = -EBADF;
	struct file_info info;
	struct stat st;
	int r;

	if (file_take_path(t, &rq->path, "path", path, err) < 0)
		return -1;
	if (rq->offset > INT64_MAX)
		return err_field(err, "offset", "is out of range");
	fd = file_open_regular(path, O_RDONLY, &st, err);
	if (fd < 0)
		return -1;
	file_info_fill(&info, &st, base_name(path), AT_FDCWD, path);
	r = send_file(t, fd, rq, &info, err);
	file_info_fini(&info);
	return r;
}

int file_read_task(struct task *t, struct error *err)
{
	NODE(ReadFileRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__read_file_request__descriptor, err);
	if (!rq)
		return -1;
	r = read_file(t, rq, err);
	sandbox__node__v1__read_file_request__free_unpacked(rq, NULL);
	return r;
}

static int stat_file(struct task *t, const NODE(StatFileRequest) * rq,
		     struct error *err)
{
	NODE(StatFileResponse) msg = NODE_INIT(STAT_FILE_RESPONSE);
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	char quoted[FILE_QUOTE_MAX];
	struct file_info info;
	struct stat st;

	if (file_take_path(t, &rq->path, "path", path, err) < 0)
		return -1;
	if (fstatat(AT_FDCWD, path, &st,
		    rq->follow_symlinks ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return agent_file_error(err, errno, "stat '%s'",
					file_quote(quoted, path));
	file_info_fill(&info, &st, "", AT_FDCWD, path);
	info.msg.name = rq->path;
	msg.info = &info.msg;
	task_send(t, &msg.base);
	file_info_fini(&info);
	return 0;
}

int file_stat_task(struct task *t, struct error *err)
{
	NODE(StatFileRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__stat_file_request__descriptor, err);
	if (!rq)
		return -1;
	r = stat_file(t, rq, err);
	sandbox__node__v1__stat_file_request__free_unpacked(rq, NULL);
	return r;
}
