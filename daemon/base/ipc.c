/* SPDX-License-Identifier: Apache-2.0 */
/* ipc.c - whole messages with descriptors between the node's processes
 *
 * Theory of operation
 * ===================
 *
 * A packet is one byte, 1 when more fragments of the same message follow and 0
 * in the last, and at most FRAGMENT_MAX bytes of the message. Descriptors come
 * with the first fragment. The kernel keeps packets whole and in order, so
 * nothing else needs a header.
 *
 * Sending never blocks: what the socket does not take now waits in a queue. A
 * peer that lets IPC_QUEUE_MAX bytes pile up is treated as gone, for the other
 * end is a process of ours that its parent will start again.
 */
#include "base/ipc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define FRAGMENT_MAX (64u << 10)

struct packet {
	struct list link;
	size_t len;
	size_t n_fds;
	int fds[IPC_FDS_MAX];
	uint8_t data[];
};

struct ipc {
	struct loop *loop;
	int fd;
	const struct ipc_ops *ops;
	void *arg;
	sd_event_source *io;
	struct list queue;
	size_t queued;
	bool dead;
	bool busy;   /* within on_io(): free later */
	bool doomed; /* freed by its owner while busy */
	uint8_t *in;
	size_t in_len, in_room;
	int in_fds[IPC_FDS_MAX];
	size_t n_in_fds;
};

static void close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_close(&fds[i]);
}

static void packet_free(struct packet *p)
{
	close_fds(p->fds, p->n_fds);
	free(p);
}

/* May free @ipc (in the owner's callback). */
static void die(struct ipc *ipc, const char *why)
{
	if (ipc->dead)
		return;
	ipc->dead = true;
	ipc->io = sd_event_source_disable_unref(ipc->io);
	ipc->ops->closed(ipc, why, ipc->arg);
}

static void want(struct ipc *ipc)
{
	if (ipc->io)
		sd_event_source_set_io_events(
			ipc->io,
			EPOLLIN | (list_empty(&ipc->queue) ? 0 : EPOLLOUT));
}

/* 1: sent, 0: not now, -errno. */
static int send_packet(struct ipc *ipc, struct packet *p)
{
	char control[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)] = { 0 };
	struct iovec iov = { p->data, p->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (p->n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * p->n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * p->n_fds);
		memcpy(CMSG_DATA(c), p->fds, sizeof(int) * p->n_fds);
	}
	for (;;) {
		if (sendmsg(ipc->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 1;
		if (errno == EINTR)
			continue;
		return errno == EAGAIN ? 0 : -errno;
	}
}

static int flush(struct ipc *ipc)
{
	while (!list_empty(&ipc->queue)) {
		struct packet *p =
			list_entry(ipc->queue.next, struct packet, link);
		int r = send_packet(ipc, p);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		list_del(&p->link);
		ipc->queued -= p->len;
		packet_free(p);
	}
	want(ipc);
	return 0;
}

static void take_fds(struct ipc *ipc, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ipc->n_in_fds < IPC_FDS_MAX)
				ipc->in_fds[ipc->n_in_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* The last fragment is in: hand the message to the owner. */
static void deliver(struct ipc *ipc)
{
	_cleanup_free_ uint8_t *data = TAKE_PTR(ipc->in);
	int fds[IPC_FDS_MAX];
	size_t n_fds = ipc->n_in_fds, len = ipc->in_len;

	memcpy(fds, ipc->in_fds, sizeof(fds));
	ipc->n_in_fds = 0;
	ipc->in_len = ipc->in_room = 0;
	ipc->ops->message(ipc, data ? data : (const uint8_t *)"", len, fds,
			  n_fds, ipc->arg);
	close_fds(fds, n_fds);
}

/* 1: a packet was handled, 0: none is there, -1: died. */
static int receive(struct ipc *ipc)
{
	static uint8_t buf[FRAGMENT_MAX + 1];
	char control[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(ipc->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t len;

	if (n < 0) {
		if (errno == EINTR)
			return 1;
		if (errno == EAGAIN)
			return 0;
		die(ipc, strerrordesc_np(errno));
		return -1;
	}
	take_fds(ipc, &msg);
	if (n == 0) {
		die(ipc, "the peer closed");
		return -1;
	}
	len = (size_t)n - 1;
	if (buf[0] > 1 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
	    ipc->in_len + len > IPC_MESSAGE_MAX) {
		die(ipc, "a packet breaks the rules");
		return -1;
	}
	if (ipc->in_len + len > ipc->in_room) {
		ipc->in_room = ipc->in_len + len + (buf[0] ? FRAGMENT_MAX : 0);
		ipc->in = xrealloc(ipc->in, 1, ipc->in_room);
	}
	if (len)
		memcpy(ipc->in + ipc->in_len, buf + 1, len);
	ipc->in_len += len;
	if (buf[0] == 0)
		deliver(ipc);
	return 1;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct ipc *ipc = arg;
	int r = 0;

	(void)s;
	(void)fd;
	ipc->busy = true;
	if (revents & EPOLLOUT)
		r = flush(ipc);
	if (r < 0) {
		die(ipc, strerrordesc_np(-r));
	} else if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		/* A bounded number, so that other events get their turn. */
		for (int i = 0; i < 64 && !ipc->dead; i++) {
			if (receive(ipc) <= 0)
				break;
		}
	}
	ipc->busy = false;
	if (ipc->doomed)
		ipc_free(ipc);
	return 0;
}

int ipc_new(struct loop *loop, int fd, const struct ipc_ops *ops, void *arg,
	    struct ipc **ret, struct error *err)
{
	struct ipc *ipc = xcalloc(1, sizeof(*ipc));
	int r;

	*ipc = (struct ipc){ .loop = loop, .fd = fd, .ops = ops, .arg = arg };
	list_init(&ipc->queue);
	r = sd_event_add_io(loop_event(loop), &ipc->io, fd, EPOLLIN, on_io,
			    ipc);
	if (r < 0) {
		ipc_free(ipc);
		return err_sys(err, -r, "watch an IPC socket");
	}
	*ret = ipc;
	return 0;
}

struct ipc *ipc_free(struct ipc *ipc)
{
	if (!ipc)
		return NULL;
	ipc->io = sd_event_source_disable_unref(ipc->io);
	ipc->dead = true;
	if (ipc->busy) {
		ipc->doomed = true;
		return NULL;
	}
	fd_close(&ipc->fd);
	list_for_each (&ipc->queue, p, struct packet, link) {
		list_del(&p->link);
		packet_free(p);
	}
	close_fds(ipc->in_fds, ipc->n_in_fds);
	free(ipc->in);
	free(ipc);
	return NULL;
}

static struct packet *packet_new(const uint8_t *data, size_t len, bool more)
{
	struct packet *p = xcalloc(1, sizeof(*p) + len + 1);

	p->data[0] = more;
	if (len)
		memcpy(p->data + 1, data, len);
	p->len = len + 1;
	return p;
}

int ipc_send(struct ipc *ipc, const void *data, size_t len, const int *fds,
	     size_t n_fds, struct error *err)
{
	const uint8_t *at = data;
	bool first = true;

	if (ipc->dead)
		return err_set(err, ERR_UNAVAILABLE, "the peer is gone");
	if (len > IPC_MESSAGE_MAX || n_fds > IPC_FDS_MAX)
		return err_set(err, ERR_LIMIT, "an IPC message of %zu bytes",
			       len);
	if (ipc->queued + len > IPC_QUEUE_MAX)
		return err_set(err, ERR_UNAVAILABLE, "the peer does not read");
	do {
		size_t n = len < FRAGMENT_MAX ? len : FRAGMENT_MAX;
		struct packet *p = packet_new(at, n, len > n);

		if (first) {
			for (size_t i = 0; i < n_fds; i++)
				p->fds[p->n_fds++] =
					fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		}
		first = false;
		list_add_tail(&ipc->queue, &p->link);
		ipc->queued += p->len;
		at += n;
		len -= n;
	} while (len > 0);
	/* An error here is told through on_io(): the socket reports HUP. */
	flush(ipc);
	return 0;
}

int ipc_pair(int ret_fds[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, ret_fds) < 0)
		return err_sys(err, errno, "make a socketpair");
	return 0;
}
