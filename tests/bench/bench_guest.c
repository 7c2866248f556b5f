/* SPDX-License-Identifier: Apache-2.0 */
/* bench_guest.c - guests that are files
 *
 * One runs while there is a file "running" in its directory. Starting and ending
 * one costs a file, and each agent is a stream to the process of bench_agents.c:
 * what is left is the node's own work.
 */
#include "bench_node.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "file_hv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void file_of(const char *dir, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/" BENCH_GUEST_FILE, dir);
}

static int guest_start(const char *dir, void *arg, struct error *err)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];

	(void)arg;
	file_of(dir, path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "make '%s'", path) : 0;
}

static int guest_kill(const char *dir, void *arg, struct error *err)
{
	char path[PATH_MAX];

	(void)arg;
	file_of(dir, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove '%s'", path);
	return 0;
}

static bool guest_is_alive(const char *dir, void *arg)
{
	char path[PATH_MAX];

	(void)arg;
	file_of(dir, path);
	return access(path, F_OK) == 0;
}

static int send_fd(int to, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(to, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int guest_connect(const char *dir, void *arg)
{
	const int *agents_fd = arg;
	int fds[2], r;

	if (!guest_is_alive(dir, arg) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       fds) < 0)
		return -1;
	r = send_fd(*agents_fd, fds[1]);
	close(fds[1]);
	if (r < 0)
		fd_close(&fds[0]);
	return r < 0 ? -1 : fds[0];
}

const struct file_guest_ops bench_guests = {
	.start = guest_start,
	.kill = guest_kill,
	.is_alive = guest_is_alive,
	.connect = guest_connect,
};
