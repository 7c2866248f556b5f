/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - the sockets that guests ask
 *
 * Theory of operation
 * ===================
 *
 * A reply must not outlive what it goes to. A datagram's origin is copied into
 * its lookup. A TCP connection is counted: it is freed when it is closed and
 * no lookup holds it any more. One question at a time is answered on a
 * connection; what is pipelined waits in the socket's buffer.
 */
#include "resolver/serve.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "resolver/dns_wire.h"
#include "resolver/guest.h"
#include "resolver/lookup.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct serve {
	struct loop *loop;
	struct guests *guests;
	struct lookups *lookups;
	int udp_fd, tcp_fd;
	sd_event_source *udp, *tcp;
	struct list connections;
	unsigned int n_connections;
};

/* Where a datagram came from, and where it came to. */
struct origin {
	struct serve *serve;
	struct sockaddr_in from;
	struct in_pktinfo to;
};

struct connection {
	struct list link;
	struct serve *serve;
	int fd;
	uint32_t slot;
	uint64_t generation;
	sd_event_source *io, *timer;
	bool asking, closed;
	uint8_t in[2 + DNS_QUERY_MAX];
	size_t in_len;
	uint8_t *out;
	size_t out_len, out_at;
};

/* ---- UDP ---- */

static void udp_reply(const uint8_t *msg, size_t len, void *arg)
{
	struct origin *o = arg;
	char control[CMSG_SPACE(sizeof(o->to))] = { 0 };
	struct iovec iov = { (void *)msg, len };
	struct msghdr mh = { .msg_name = &o->from,
			     .msg_namelen = sizeof(o->from),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	if (len > 0) {
		/* From the address that was asked, out of the same tap. */
		o->to.ipi_spec_dst = o->to.ipi_addr;
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(o->to));
		memcpy(CMSG_DATA(c), &o->to, sizeof(o->to));
		/* Lost like any datagram if the socket is full. */
		(void)!sendmsg(o->serve->udp_fd, &mh,
			       MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	free(o);
}

static bool find_pktinfo(struct msghdr *mh, struct in_pktinfo *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(ret, CMSG_DATA(c), sizeof(*ret));
			return true;
		}
	}
	return false;
}

static int on_udp(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct serve *serve = arg;

	(void)s;
	(void)revents;
	for (int i = 0; i < 64; i++) {
		uint8_t msg[DNS_QUERY_MAX + 1];
		char control[256];
		struct origin o = { .serve = serve };
		struct iovec iov = { msg, sizeof(msg) };
		struct msghdr mh = { .msg_name = &o.from,
				     .msg_namelen = sizeof(o.from),
				     .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT);
		struct guest *g;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (mh.msg_namelen != sizeof(o.from) ||
		    o.from.sin_family != AF_INET || !find_pktinfo(&mh, &o.to))
			continue;
		g = guests_by_source(serve->guests, (uint32_t)o.to.ipi_ifindex,
				     ntohl(o.from.sin_addr.s_addr));
		if (g && !(mh.msg_flags & MSG_TRUNC))
			lookups_ask(serve->lookups, g, msg, (size_t)n, false,
				    udp_reply, xmemdup(&o, sizeof(o)));
	}
	return 0;
}

/* ---- TCP ---- */

static void connection_close(struct connection *c)
{
	struct guest *g;

	if (!c->closed) {
		c->closed = true;
		c->io = sd_event_source_disable_unref(c->io);
		c->timer = sd_event_source_disable_unref(c->timer);
		fd_close(&c->fd);
		list_del(&c->link);
		c->serve->n_connections--;
		g = guests_by_slot(c->serve->guests, c->slot);
		if (g && g->generation == c->generation && g->connections)
			g->connections--;
	}
	if (c->asking)
		return; /* its reply frees it */
	free(c->out);
	free(c);
}

static void on_idle(void *arg)
{
	connection_close(arg);
}

static void keep_open(struct connection *c)
{
	loop_timer(c->serve->loop, &c->timer, loop_now_ms() + SERVE_TCP_IDLE_MS,
		   on_idle, c);
}

static void tcp_reply(const uint8_t *msg, size_t len, void *arg)
{
	struct connection *c = arg;

	c->asking = false;
	if (c->closed || len == 0) {
		connection_close(c);
		return;
	}
	c->out = xrealloc(c->out, 1, len + 2);
	c->out[0] = (uint8_t)(len >> 8);
	c->out[1] = (uint8_t)len;
	memcpy(c->out + 2, msg, len);
	c->out_len = len + 2;
	c->out_at = 0;
	sd_event_source_set_io_events(c->io, EPOLLOUT);
	keep_open(c);
}

/* 1: a whole question is in, 0: not yet, -1: close. */
static int tcp_fill(struct connection *c)
{
	for (;;) {
		size_t want = 2;
		ssize_t n;

		if (c->in_len >= 2) {
			want += (size_t)(c->in[0] << 8 | c->in[1]);
			if (want > sizeof(c->in))
				return -1;
			if (c->in_len == want)
				return 1;
		}
		n = recv(c->fd, c->in + c->in_len, want - c->in_len,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		c->in_len += (size_t)n;
	}
}

static void tcp_ask(struct connection *c)
{
	struct guest *g = guests_by_slot(c->serve->guests, c->slot);
	size_t len = c->in_len - 2;

	if (!g || g->generation != c->generation) {
		connection_close(c);
		return;
	}
	c->in_len = 0;
	c->asking = true;
	sd_event_source_set_io_events(c->io, 0);
	lookups_ask(c->serve->lookups, g, c->in + 2, len, true, tcp_reply, c);
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents,
			 void *arg)
{
	struct connection *c = arg;
	int r = 0;

	if (revents & EPOLLOUT && c->out_at < c->out_len) {
		ssize_t n = send(fd, c->out + c->out_at, c->out_len - c->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			c->out_at += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			r = -1;
		if (c->out_at == c->out_len)
			sd_event_source_set_io_events(s, EPOLLIN);
	} else if (revents & EPOLLIN) {
		r = tcp_fill(c);
	} else {
		r = -1; /* hung up */
	}
	if (r > 0)
		tcp_ask(c);
	else if (r < 0)
		connection_close(c);
	return 0;
}

/* The interface that the connection's first packet arrived on; 0: not told. */
static uint32_t arrival_interface(int fd)
{
	char buf[256];
	socklen_t len = sizeof(buf);
	struct msghdr mh = { .msg_control = buf };
	struct in_pktinfo info;

	if (getsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, buf, &len) < 0)
		return 0;
	mh.msg_controllen = len;
	return find_pktinfo(&mh, &info) ? (uint32_t)info.ipi_ifindex : 0;
}

static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct serve *serve = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	_cleanup_close_ int peer = accept4(fd, (struct sockaddr *)&from, &len,
					   SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c;
	struct guest *g;

	(void)s;
	(void)revents;
	if (peer < 0 || len != sizeof(from) || from.sin_family != AF_INET)
		return 0;
	g = guests_by_source(serve->guests, arrival_interface(peer),
			     ntohl(from.sin_addr.s_addr));
	if (!g || g->connections >= GUEST_CONNECTIONS_MAX ||
	    serve->n_connections >= SERVE_CONNECTIONS_MAX)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->serve = serve;
	c->slot = g->slot;
	c->generation = g->generation;
	c->fd = TAKE_FD(peer);
	list_add_tail(&serve->connections, &c->link);
	serve->n_connections++;
	g->connections++;
	if (sd_event_add_io(loop_event(serve->loop), &c->io, c->fd, EPOLLIN,
			    on_connection, c) < 0)
		connection_close(c);
	else
		keep_open(c);
	return 0;
}

int serve_new(struct loop *loop, struct guests *guests, struct lookups *lookups,
	      int udp_fd, int tcp_fd, struct serve **ret, struct error *err)
{
	struct serve *serve = xcalloc(1, sizeof(*serve));
	int r;

	*serve = (struct serve){ .loop = loop,
				 .guests = guests,
				 .lookups = lookups,
				 .udp_fd = udp_fd,
				 .tcp_fd = tcp_fd };
	list_init(&serve->connections);
	r = sd_event_add_io(loop_event(loop), &serve->udp, udp_fd, EPOLLIN,
			    on_udp, serve);
	if (r >= 0)
		r = sd_event_add_io(loop_event(loop), &serve->tcp, tcp_fd,
				    EPOLLIN, on_accept, serve);
	if (r < 0) {
		serve_free(serve);
		return err_sys(err, -r, "watch the guests' sockets");
	}
	*ret = serve;
	return 0;
}

struct serve *serve_free(struct serve *serve)
{
	if (!serve)
		return NULL;
	list_for_each(&serve->connections, c, struct connection, link)
		connection_close(c);
	sd_event_source_disable_unref(serve->udp);
	sd_event_source_disable_unref(serve->tcp);
	fd_close(&serve->udp_fd);
	fd_close(&serve->tcp_fd);
	free(serve);
	return NULL;
}
