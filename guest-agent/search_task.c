/* SPDX-License-Identifier: Apache-2.0 */
/* search_task.c - SearchFiles: the process that searches, and its answers
 *
 * Theory of operation
 *
 * The child writes frames to a pipe: a kind, a length, that many bytes. Answers
 * are passed on as they are, an error ends the call with it. Without a last
 * frame the child died: of its memory limit, most likely. It is bounded, holds
 * nothing of ours but the pipe, and is killed when nobody waits any more.
 *
 * fork() (not clone) makes it: libc then hands malloc over in working order.
 */
#include "search.h"

#include "agent.h"
#include "file_path.h"
#include "request.h"
#include "rpc.h"
#include "task.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_MAX (256u << 20)
#define FRAME_MAX  (1u << 20)
#define NICE	   5

enum kind { FRAME_ANSWER = 1, FRAME_ERROR, FRAME_END };

struct frame {
	uint32_t kind;
	uint32_t len;
};

/* ---- in the child ---- */

static int write_frame(int fd, enum kind kind, const void *data, size_t len)
{
	struct frame f = { .kind = kind, .len = (uint32_t)len };

	if (fd_write_full(fd, &f, sizeof(f)) < 0)
		return -1;
	return fd_write_full(fd, data, len);
}

static int child_send(const NODE(SearchFilesResponse) * msg, void *arg)
{
	size_t len = protobuf_c_message_get_packed_size(&msg->base);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(&msg->base, data);
	return write_frame(*(int *)arg, FRAME_ANSWER, data, len);
}

static void limit_child(void)
{
#ifndef __SANITIZE_ADDRESS__
	struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
	struct rlimit core = { 0, 0 };

	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CORE, &core);
#endif
	if (nice(NICE) < 0)
		return;
}

__attribute__((noreturn)) static void child(const NODE(SearchFilesRequest) * rq,
					    const char *path, int out)
{
	struct error err;
	int oom, r;

	/* Of the agent's descriptors it keeps the pipe. */
	if (dup2(out, STDERR_FILENO + 1) < 0)
		_exit(1);
	out = STDERR_FILENO + 1;
	syscall(SYS_close_range, (unsigned int)out + 1, ~0u, 0);
	oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (oom >= 0 && write(oom, "500", 3) == 3)
		close(oom);
	limit_child();
	r = search_tree(rq, path, child_send, &out, &err);
	if (r < 0)
		write_frame(out, FRAME_ERROR, &err, sizeof(err));
	else
		write_frame(out, FRAME_END, "", 0);
	_exit(0);
}

/* ---- in the task ---- */

/* All bytes, unless the call is over. 1, 0 at the end, or -errno. */
static int read_some(struct task *t, int fd, void *data, size_t len)
{
	struct pollfd p[2] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = task_cancel_fd(t), .events = POLLIN },
	};
	uint8_t *at = data;

	while (len) {
		ssize_t n;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return -ECANCELED;
		n = read(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		at += n;
		len -= (size_t)n;
	}
	return 1;
}

static int pass_on(struct task *t, int fd, struct error *err)
{
	for (;;) {
		_cleanup_free_ uint8_t *data = NULL;
		struct frame f;
		int r = read_some(t, fd, &f, sizeof(f));

		if (r == 1 && f.len <= FRAME_MAX) {
			data = xcalloc(1, f.len);
			r = read_some(t, fd, data, f.len);
		}
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "nobody waits");
		if (r != 1)
			return err_field(err, "pattern",
					 "the search needed too much memory");
		if (f.kind == FRAME_END)
			return 0;
		if (f.kind == FRAME_ERROR) {
			if (err && f.len == sizeof(*err))
				memcpy(err, data, sizeof(*err));
			return -1;
		}
		if (task_send_bytes(t, data, f.len) < 0)
			return err_set(err, ERR_CANCELLED, "nobody waits");
	}
}

static int check(struct task *t, const NODE(SearchFilesRequest) * rq,
		 char path[PATH_MAX], struct error *err)
{
	if (rq->pattern.len < 1 || rq->pattern.len > SEARCH_PATTERN_MAX)
		return err_field(err, "pattern", "must be 1 to %u bytes",
				 SEARCH_PATTERN_MAX);
	if (memchr(rq->pattern.data, '\0', rq->pattern.len))
		return err_field(err, "pattern", "has a NUL byte");
	if (rq->file_glob.len > SEARCH_PATTERN_MAX ||
	    (rq->file_glob.len &&
	     memchr(rq->file_glob.data, '\0', rq->file_glob.len)))
		return err_field(err, "file_glob", "is too long or has a NUL");
	if (rq->max_matches > SEARCH_MATCHES_MAX)
		return err_field(err, "max_matches", "must be 1 to %u",
				 SEARCH_MATCHES_MAX);
	return request_path(&rq->path, task_workdir(t), task_workdir(t), "path",
			    path, err);
}

static int search(struct task *t, const NODE(SearchFilesRequest) * rq,
		  struct error *err)
{
	_cleanup_free_ char *path = xcalloc(1, PATH_MAX);
	_cleanup_close_ int ours = -EBADF;
	_cleanup_close_ int theirs = -EBADF;
	int fds[2], pid_fd, r;
	pid_t pid;

	if (check(t, rq, path, err) < 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return agent_file_error(err, errno, "make a pipe");
	ours = fds[0];
	theirs = fds[1];
	pid = fork();
	if (pid == 0)
		child(rq, path, theirs);
	if (pid < 0)
		return agent_file_error(err, errno, "make a process");
	/* The loop reaps it, so its number may be another's by the time we want
	 * to kill it; a pidfd stays with it.
	 */
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	fd_close(&theirs);
	r = pass_on(t, ours, err);
	if (pid_fd >= 0) {
		syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0);
		close(pid_fd);
	}
	return r;
}

int search_task(struct task *t, struct error *err)
{
	NODE(SearchFilesRequest) * rq;
	int r;

	rq = task_recv_message(
		t, &sandbox__node__v1__search_files_request__descriptor, err);
	if (!rq)
		return -1;
	r = search(t, rq, err);
	sandbox__node__v1__search_files_request__free_unpacked(rq, NULL);
	return r;
}
