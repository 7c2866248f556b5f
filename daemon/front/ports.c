/* SPDX-License-Identifier: Apache-2.0 */
/* ports.c - listeners on the node that lead to ports in guests
 *
 * An exposed port owns its listening socket, its connections (tube.c) and, when
 * ExposePort is to wait for a server in the guest, one probe after the other
 * until one connects or the time is up.
 */
#include "front/ports.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "front/front.h"
#include "front/tube.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PROBE_MIN_MS 20
#define PROBE_MAX_MS 500

struct port {
	struct list link;
	struct front *front;
	char sandbox_id[SANDBOX_ID_MAX];
	uint16_t port;
	int fd;
	sd_event_source *io;
	struct list connections;
	unsigned int n_connections;

	uint64_t wait_id; /* ListenPort's, while it waits */
	uint64_t deadline_ms;
	uint64_t probe_ms;
	sd_event_source *timer; /* the next probe, or the deadline */
	struct tube *probe;
};

struct connection {
	struct list link;
	struct port *port;
	struct tube *tube;
};

/* ---- waiting for a server ---- */

static void probe(void *arg);

static void answer_wait(struct port *p, const struct grpc_status *st)
{
	uint64_t id = p->wait_id;

	p->wait_id = 0;
	engine_reply(p->front->engine, id, st, NULL, 0);
}

static void on_probe_connected(struct tube *t, void *arg)
{
	(void)t;
	answer_wait(arg, NULL);
}

static void on_timeout(struct port *p)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_DEADLINE_EXCEEDED, "SANDBOX_TIMEOUT",
			"nothing listens on port %u of the sandbox", p->port);
	answer_wait(p, &st);
}

static void on_probe_ended(struct tube *t, bool connected, void *arg)
{
	uint64_t now = loop_now_ms();
	struct port *p = arg;

	(void)t;
	(void)connected;
	p->probe = NULL;
	if (!p->wait_id)
		return;
	if (now >= p->deadline_ms) {
		on_timeout(p);
		return;
	}
	now += p->probe_ms;
	if (p->probe_ms < PROBE_MAX_MS)
		p->probe_ms *= 2;
	loop_timer(p->front->loop, &p->timer,
		   now < p->deadline_ms ? now : p->deadline_ms, probe, p);
}

static const struct tube_ops probe_ops = { .connected = on_probe_connected,
					   .ended = on_probe_ended };

/* Also the deadline of a probe that hangs. */
static void probe(void *arg)
{
	struct port *p = arg;

	if (p->probe) {
		tube_free(TAKE_PTR(p->probe));
		on_timeout(p);
		return;
	}
	p->probe = tube_new(p->front, p->sandbox_id, p->port, -EBADF,
			    &probe_ops, p);
	loop_timer(p->front->loop, &p->timer, p->deadline_ms, probe, p);
}

/* ---- connections ---- */

static void connection_free(struct connection *c)
{
	list_del(&c->link);
	c->port->n_connections--;
	free(c);
}

static void on_tube_ended(struct tube *t, bool connected, void *arg)
{
	struct connection *c = arg;

	(void)t;
	(void)connected;
	sd_event_source_set_enabled(c->port->io, SD_EVENT_ON);
	connection_free(c);
}

static const struct tube_ops tube_ops = { .ended = on_tube_ended };

static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct port *p = arg;
	struct connection *c;
	int conn;

	(void)revents;
	conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (conn < 0)
		return 0;
	c = xcalloc(1, sizeof(*c));
	c->port = p;
	list_add_tail(&p->connections, &c->link);
	c->tube = tube_new(p->front, p->sandbox_id, p->port, conn, &tube_ops, c);
	/* More wait in the kernel's queue until one ends. */
	if (++p->n_connections >= PORT_CONNECTIONS_MAX)
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

/* ---- exposing ---- */

static void port_free(struct port *p)
{
	struct grpc_status st;

	list_del(&p->link);
	sd_event_source_disable_unref(p->timer);
	sd_event_source_disable_unref(p->io);
	fd_close(&p->fd);
	if (p->probe)
		tube_free(p->probe);
	list_for_each (&p->connections, c, struct connection, link) {
		tube_free(c->tube);
		connection_free(c);
	}
	if (p->wait_id) {
		grpc_status_set(&st, GRPC_CANCELLED, "CANCELLED",
				"the port was closed");
		answer_wait(p, &st);
	}
	free(p);
}

static struct port *find(struct front *front, const char *sandbox_id,
			 uint32_t port)
{
	list_for_each (&front->ports, p, struct port, link) {
		if (p->port == port && !strcmp(p->sandbox_id, sandbox_id))
			return p;
	}
	return NULL;
}

static void refuse(struct front *front, uint64_t id, int fd, const char *why)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_INTERNAL, "INTERNAL", "%s", why);
	engine_reply(front->engine, id, &st, NULL, 0);
	fd_close(&fd);
}

void ports_listen(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__ListenPort *m, int fd)
{
	struct port *p = find(front, m->sandbox_id, m->port);

	if (fd < 0 || m->port == 0 || m->port > UINT16_MAX ||
	    str_empty(m->sandbox_id) || strlen(m->sandbox_id) >= SANDBOX_ID_MAX) {
		refuse(front, id, fd, "ListenPort without a socket or a port");
		return;
	}
	if (p)
		port_free(p);
	p = xcalloc(1, sizeof(*p));
	*p = (struct port){ .front = front,
			    .port = (uint16_t)m->port,
			    .fd = fd,
			    .wait_id = m->wait_ms ? id : 0,
			    .deadline_ms = loop_now_ms() + m->wait_ms,
			    .probe_ms = PROBE_MIN_MS };
	snprintf(p->sandbox_id, sizeof(p->sandbox_id), "%s", m->sandbox_id);
	list_init(&p->connections);
	list_add_tail(&front->ports, &p->link);
	if (sd_event_add_io(loop_event(front->loop), &p->io, fd, EPOLLIN,
			    on_accept, p) < 0) {
		p->fd = -EBADF;
		p->wait_id = 0;
		port_free(p);
		refuse(front, id, fd, "not a socket to listen on");
		return;
	}
	if (m->wait_ms)
		probe(p);
	else
		engine_reply(front->engine, id, NULL, NULL, 0);
}

void ports_unlisten(struct front *front, uint64_t id,
		    const Sandbox__Ipc__V1__UnlistenPort *m)
{
	struct port *p = find(front, m->sandbox_id, m->port);

	if (p)
		port_free(p);
	engine_reply(front->engine, id, NULL, NULL, 0);
}

void ports_free_all(struct front *front)
{
	while (!list_empty(&front->ports))
		port_free(list_entry(front->ports.next, struct port, link));
}
