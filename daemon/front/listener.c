/* SPDX-License-Identifier: Apache-2.0 */
/* listener.c - where clients connect: a unix socket, and TCP with mutual TLS
 *
 * Who a client is, is known before its first call: on the unix socket by the
 * kernel's word for its uid, over TCP by its certificate. Who may not call is
 * cut off without an answer.
 *
 * At connections_max of its own a listener rests until a connection goes; what
 * waits, waits in the kernel's queue. A handshake has GRPC_IO_HANDSHAKE_MS, and
 * only a quarter of the connections may be at it: the oldest of these makes way
 * for the next, so that peers that never finish keep out nobody who does.
 */
#include "front/listener.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/grpc_tls.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "front/api.h"
#include "front/client.h"
#include "front/front.h"
#include "front/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define KEEPALIVE_MS   60000
#define ACCEPT_REST_MS 500
/* Log lines about refused peers, a minute. */
#define REFUSALS_LOGGED 20

struct listener {
	struct list link;
	struct front *front;
	int fd;
	bool tls;
	sd_event_source *io;
	sd_event_source *timer;
	unsigned int n; /* connections */
	unsigned int n_unready;
	uint64_t log_since_ms;
	unsigned int logged;
};

struct connection {
	struct list link;
	struct client client;
	struct listener *listener; /* outlives it */
	struct grpc_conn *conn;
	struct grpc_io *io;
	bool unready; /* the handshake goes on */
};

static void log_refusal(struct listener *l, const char *who, const char *why)
{
	uint64_t now = loop_now_ms();
	char text[256];

	if (now - l->log_since_ms > 60000) {
		l->log_since_ms = now;
		l->logged = 0;
	}
	if (++l->logged > REFUSALS_LOGGED)
		return;
	str_escape(text, sizeof(text), why, strlen(why));
	log_warn("a client (%s) was refused: %s", who, text);
}

static void rest_or_go_on(struct listener *l)
{
	bool on = l->n < l->front->connections_max && !l->front->draining;

	sd_event_source_set_enabled(l->io, on ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void now_ready(struct connection *c)
{
	if (c->unready)
		c->listener->n_unready--;
	c->unready = false;
}

static void connection_free(struct connection *c)
{
	struct front *front = c->client.front;
	struct listener *l = c->listener;

	now_ready(c);
	list_del(&c->link);
	free(c);
	l->n--;
	front->n_clients--;
	rest_or_go_on(l);
	front->client_gone(front);
}

/* One more wants to shake hands: make room. */
static void push_out(struct listener *l)
{
	if (l->n_unready < l->front->connections_max / 4 + 1)
		return;
	list_for_each(&l->front->clients, c, struct connection, link)
	{
		if (c->listener != l || !c->unready)
			continue;
		now_ready(c);
		grpc_io_close(c->io, "a newer one took its place");
		return;
	}
}

static void on_accept_call(struct grpc_call *call, const char *path, void *arg)
{
	struct connection *c = arg;

	api_accept(&c->client, call, path);
}

static const struct grpc_conn_ops conn_ops = { .accept = on_accept_call };

static void on_ready(struct grpc_io *io, void *arg)
{
	struct connection *c = arg;
	struct front *front = c->client.front;
	struct error err = { 0 };

	now_ready(c);
	if (!grpc_io_tls(io) ||
	    tls_identify(grpc_tls_session(grpc_io_tls(io)), front->identities,
			 front->n_identities, c->client.identity,
			 sizeof(c->client.identity), &err) == 0)
		return;
	log_refusal(c->listener, "TLS", err.msg);
	grpc_io_close(io, "not allowed");
}

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct connection *c = arg;

	c->io = NULL;
	if (!grpc_io_is_ready(io))
		log_refusal(c->listener, "TLS", why);
	connection_free(c);
}

static const struct grpc_io_ops io_ops = { .ready = on_ready,
					   .closed = on_closed };

/* Who is at the other end of a unix socket, if it may call. */
static bool unix_peer(struct listener *l, int fd, char *identity)
{
	struct front *front = l->front;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char who[32];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	for (size_t i = 0; i < front->n_uids; i++) {
		if (front->uids[i] == cred.uid) {
			snprintf(identity, IDENTITY_MAX, "uid:%u", cred.uid);
			return true;
		}
	}
	snprintf(who, sizeof(who), "uid %u", cred.uid);
	log_refusal(l, who, "not among the uids that may call");
	return false;
}

static void begin(struct listener *l, int fd)
{
	_cleanup_close_ int owned = fd;
	struct front *front = l->front;
	struct grpc_settings settings = { .streams_max = front->streams_max,
					  .keepalive_ms = KEEPALIVE_MS };
	struct grpc_io_params params = { 0 };
	struct connection *c;
	char identity[IDENTITY_MAX] = "";

	if (!l->tls && !unix_peer(l, fd, identity))
		return;
	if (l->tls) {
		SSL *ssl = front->tls ? SSL_new(front->tls) : NULL;

		if (!ssl)
			return;
		SSL_set_accept_state(ssl);
		params.tls = grpc_tls_new(ssl);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
			   sizeof(int));
	}
	push_out(l);
	c = xcalloc(1, sizeof(*c));
	c->client.front = front;
	snprintf(c->client.identity, sizeof(c->client.identity), "%s",
		 identity);
	c->listener = l;
	c->unready = true;
	l->n_unready++;
	l->n++;
	c->conn = grpc_conn_new_server(&conn_ops, c, &settings, loop_now_ms());
	list_add_tail(&front->clients, &c->link);
	front->n_clients++;
	c->io = grpc_io_new(front->loop, TAKE_FD(owned), c->conn, &params,
			    &io_ops, c);
}

static void on_rest_over(void *arg)
{
	rest_or_go_on(arg);
}

static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct listener *l = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (conn < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return 0;
		/* Out of descriptors or the like: it stays readable. */
		log_warn("accept a client: %s", strerrordesc_np(errno));
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
		loop_timer(l->front->loop, &l->timer,
			   loop_now_ms() + ACCEPT_REST_MS, on_rest_over, l);
		return 0;
	}
	begin(l, conn);
	rest_or_go_on(l);
	return 0;
}

int listener_add(struct front *front, int fd, bool tls, struct error *err)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	int r;

	*l = (struct listener){ .front = front, .fd = fd, .tls = tls };
	r = sd_event_add_io(loop_event(front->loop), &l->io, fd, EPOLLIN,
			    on_accept, l);
	if (r < 0) {
		fd_close(&l->fd);
		free(l);
		return err_sys(err, -r, "listen for clients");
	}
	list_add_tail(&front->listeners, &l->link);
	rest_or_go_on(l);
	return 0;
}

void listener_drain(struct front *front)
{
	list_for_each(&front->listeners, l, struct listener, link)
		rest_or_go_on(l);
	list_for_each(&front->clients, c, struct connection, link)
		grpc_conn_drain(c->conn);
}

void listener_free_all(struct front *front)
{
	list_for_each(&front->clients, c, struct connection, link)
	{
		c->io = grpc_io_free(c->io);
		connection_free(c);
	}
	list_for_each(&front->listeners, l, struct listener, link)
	{
		list_del(&l->link);
		sd_event_source_disable_unref(l->io);
		sd_event_source_disable_unref(l->timer);
		fd_close(&l->fd);
		free(l);
	}
}
