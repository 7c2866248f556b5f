/* SPDX-License-Identifier: Apache-2.0 */
/* search_task.c - SearchFiles: a process that searches, and its answers
 *
 * Theory of operation
 *
 * The child is this program again (search_child.c), for the agent has threads:
 * what only forks may find a lock taken that nobody gives back. It gets the
 * request, with the path made absolute, over a socket, and sends frames back:
 * answers are passed on as they are, an error ends the call with it. Without a
 * last frame the child died: of its memory limit, most likely. It holds nothing
 * of ours but the socket, and is killed when nobody waits any more.
 */
#include "search.h"
#include "search_child.h"

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
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The agent's own file, also when its root has been left. */
#define PROGRAM "/proc/self/exe"

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
		struct search_frame f;
		int r = read_some(t, fd, &f, sizeof(f));

		if (r == 1 && f.len <= SEARCH_FRAME_MAX) {
			data = xcalloc(1, f.len);
			r = read_some(t, fd, data, f.len);
		}
		if (r == -ECANCELED)
			return err_set(err, ERR_CANCELLED, "nobody waits");
		if (r != 1)
			return err_field(err, "pattern",
					 "the search needed too much memory");
		if (f.kind == SEARCH_FRAME_END)
			return 0;
		if (f.kind == SEARCH_FRAME_ERROR) {
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

static pid_t spawn_child(int fd, struct error *err)
{
	char name[] = "sandbox-agent", arg[] = SEARCH_CHILD_ARG;
	char *argv[] = { name, arg, NULL };
	posix_spawn_file_actions_t files;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fd, SEARCH_CHILD_FD);
	posix_spawn_file_actions_addclosefrom_np(&files, SEARCH_CHILD_FD + 1);
	r = posix_spawn(&pid, PROGRAM, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	return r ? agent_file_error(err, r, "start a search") : pid;
}

/* One that does not take it has died: its missing answer tells. */
static void send_request(int fd, const NODE(SearchFilesRequest) * rq,
			 char *path)
{
	NODE(SearchFilesRequest) absolute = *rq;
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;

	absolute.path.data = (uint8_t *)path;
	absolute.path.len = strlen(path);
	len = protobuf_c_message_get_packed_size(&absolute.base);
	data = xcalloc(1, len);
	protobuf_c_message_pack(&absolute.base, data);
	fd_write_full(fd, data, len);
	shutdown(fd, SHUT_WR);
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
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return agent_file_error(err, errno, "make a socket");
	ours = fds[0];
	theirs = fds[1];
	pid = spawn_child(theirs, err);
	if (pid < 0)
		return -1;
	/* The loop reaps it, so its number may be another's by the time we want
	 * to kill it; a pidfd stays with it.
	 */
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	fd_close(&theirs);
	send_request(ours, rq, path);
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
