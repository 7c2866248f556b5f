/* SPDX-License-Identifier: Apache-2.0 */
/* helper_pipe.h - one raw message to either end of a helper's socket */
#ifndef TESTS_FUZZ_HELPER_PIPE_H
#define TESTS_FUZZ_HELPER_PIPE_H

#include "base/ipc.h"
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELPER_PIPE_TURNS 64

/* One whole message in one packet: 0, then its bytes; and @n_fds sockets. */
static inline void helper_pipe_send(int fd, const uint8_t *data, size_t size,
				    size_t n_fds)
{
	char control[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)] = { 0 };
	uint8_t buf[4096] = { 0 };
	struct iovec iov = { buf, 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[IPC_FDS_MAX];

	if (size > sizeof(buf) - 1)
		size = sizeof(buf) - 1;
	if (size)
		memcpy(buf + 1, data, size);
	iov.iov_len = size + 1;
	for (size_t i = 0; i < n_fds; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert(fds[i] >= 0);
	}
	if (n_fds) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	}
	(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

/* Until nothing happens any more, or it has gone on for long. */
static inline void helper_pipe_run(struct loop *loop)
{
	for (int i = 0; i < HELPER_PIPE_TURNS; i++) {
		if (sd_event_run(loop_event(loop), 0) <= 0)
			break;
	}
}

#endif /* TESTS_FUZZ_HELPER_PIPE_H */
