/* SPDX-License-Identifier: Apache-2.0 */
/* tube.c - one TCP connection, spliced to a Tunnel call of an agent
 *
 * Theory of operation
 * ===================
 *
 * Held by up to three: the owner (until tube_free() or `ended`), the agent's
 * call, and the engine while it answers Acquire. As in proxy.c each clears its
 * own hold and the last one frees.
 *
 * From the socket: it is read only while the call's queue is below its
 * high-water mark. To the socket: one message is kept that it did not take
 * whole, and the call is paused meanwhile. End of file on the socket ends our
 * side of the call; an empty message from the guest ends its side of the
 * socket. The call's end ends all, after what is kept is written.
 *
 * The sandbox is held awake until the connection stands; from then on only the
 * bytes that pass tell the engine that it is in use.
 */
#include "front/tube.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/agent_call.h"
#include "front/agent_link.h"
#include "front/check.h"
#include "front/front.h"
#include "front/wire.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK		  (64u << 10)
#define CONNECT_MS	  30000
#define ACTIVITY_EVERY_MS 1000

struct tube {
	struct front *front;
	char sandbox_id[SANDBOX_ID_MAX];
	uint16_t port;
	int fd;
	const struct tube_ops *ops; /* NULL: the owner let go */
	void *arg;
	struct agent_call *agent;
	bool acquiring;
	bool probe;
	bool connected;
	bool in_over;  /* the socket sends no more */
	bool out_over; /* the guest sends no more */
	bool hung_up;  /* both directions of the socket are shut */
	bool failed;   /* reset the socket at the end */
	uint64_t lease;
	uint64_t activity_ms;
	sd_event_source *io;
	sd_event_source *later; /* delivers `ended` */
	bool call_over;
	bool slow; /* the call asked for a rest */
	uint8_t *held;
	size_t held_len, held_at;
};

static void release(struct tube *t)
{
	if (t->lease)
		engine_release(t->front->engine, t->lease);
	t->lease = 0;
}

static void close_socket(struct tube *t)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	t->io = sd_event_source_disable_unref(t->io);
	if (t->fd >= 0 && t->failed)
		setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	fd_close(&t->fd);
}

static void may_free(struct tube *t)
{
	if (t->ops || t->agent || t->acquiring)
		return;
	close_socket(t);
	release(t);
	sd_event_source_disable_unref(t->later);
	free(t->held);
	free(t);
}

static void on_later(void *arg)
{
	const struct tube_ops *ops;
	struct tube *t = arg;

	ops = TAKE_PTR(t->ops);
	if (ops)
		ops->ended(t, t->connected, t->arg);
	may_free(t);
}

/* Over: let go of everything, and tell the owner from the loop. */
static void end(struct tube *t, bool failed)
{
	t->failed |= failed;
	close_socket(t);
	if (t->agent)
		grpc_call_cancel(agent_call_grpc(t->agent));
	if (t->ops)
		loop_timer(t->front->loop, &t->later, loop_now_ms(), on_later,
			   t);
}

static void want(struct tube *t)
{
	bool in = t->connected && !t->in_over && !t->slow && t->agent;

	uint32_t events = (in ? EPOLLIN : 0) | (t->held ? EPOLLOUT : 0);

	if (!t->io)
		return;
	sd_event_source_set_io_events(t->io, events);
	/* HUP is always told, and would be all the time. */
	sd_event_source_set_enabled(t->io, events || !t->hung_up ?
						   SD_EVENT_ON :
						   SD_EVENT_OFF);
}

static void activity(struct tube *t)
{
	uint64_t now = loop_now_ms();

	if (t->activity_ms && now - t->activity_ms < ACTIVITY_EVERY_MS)
		return;
	t->activity_ms = now;
	engine_activity(t->front->engine, t->sandbox_id);
}

/* ---- to the guest ---- */

static int send_request(struct tube *t,
			Sandbox__Node__V1__TunnelRequest *m)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	buf = wire_pack(&m->base, &len);
	return grpc_call_send(agent_call_grpc(t->agent), buf, len);
}

static void on_readable(struct tube *t)
{
	Sandbox__Node__V1__TunnelRequest m =
		SANDBOX__NODE__V1__TUNNEL_REQUEST__INIT;
	static uint8_t buf[CHUNK];
	ssize_t n = recv(t->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end(t, true);
		return;
	}
	if (n == 0) {
		t->in_over = true;
		grpc_call_half_close(agent_call_grpc(t->agent));
	} else {
		activity(t);
		m.input_case = SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_DATA;
		m.data = (ProtobufCBinaryData){ (size_t)n, buf };
		t->slow = send_request(t, &m) == 1;
	}
	want(t);
}

/* ---- from the guest ---- */

/* What is kept is out: go on, or come to the end that waited for it. */
static void on_drained(struct tube *t)
{
	free(TAKE_PTR(t->held));
	if (t->call_over) {
		end(t, false);
		return;
	}
	if (t->out_over)
		shutdown(t->fd, SHUT_WR);
	grpc_call_pause(agent_call_grpc(t->agent), false);
	want(t);
}

static void on_writable(struct tube *t)
{
	while (t->held_at < t->held_len) {
		ssize_t n = send(t->fd, t->held + t->held_at,
				 t->held_len - t->held_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			want(t);
			return;
		}
		if (n < 0) {
			end(t, true);
			return;
		}
		t->held_at += (size_t)n;
	}
	on_drained(t);
}

static int on_socket(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct tube *t = arg;

	(void)s;
	(void)fd;
	if ((revents & EPOLLOUT) && t->held)
		on_writable(t);
	else if ((revents & EPOLLIN) && t->agent)
		on_readable(t);
	else if (revents & EPOLLERR)
		end(t, true);
	else
		t->hung_up = true;
	want(t);
	return 0;
}

static void take_data(struct tube *t, const ProtobufCBinaryData *data)
{
	activity(t);
	if (t->fd < 0)
		return;
	t->held = xmemdup(data->data, data->len);
	t->held_len = data->len;
	t->held_at = 0;
	grpc_call_pause(agent_call_grpc(t->agent), true);
	on_writable(t);
}

static void on_connected(struct tube *t)
{
	t->connected = true;
	activity(t);
	release(t);
	if (t->ops && t->ops->connected)
		t->ops->connected(t, t->arg);
	if (t->probe)
		end(t, false);
	want(t);
}

static void on_message(struct agent_call *c, const uint8_t *data, size_t len,
		       void *arg)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	Sandbox__Node__V1__TunnelResponse *r;
	struct tube *t = arg;

	if (wire_unpack(&sandbox__node__v1__tunnel_response__descriptor, data,
			len, &m, NULL) < 0) {
		agent_call_broken(c, "not a TunnelResponse");
		return;
	}
	r = (void *)m;
	if (r->output_case ==
		    SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_CONNECTED &&
	    !t->connected) {
		on_connected(t);
	} else if (r->output_case !=
			   SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_DATA ||
		   !t->connected || t->out_over ||
		   r->data.len > CHECK_DATA_MAX) {
		agent_call_broken(c, "TunnelResponses out of order");
	} else if (r->data.len == 0) {
		t->out_over = true;
		if (t->fd >= 0)
			shutdown(t->fd, SHUT_WR);
	} else {
		take_data(t, &r->data);
	}
}

static void on_agent_writable(struct agent_call *c, void *arg)
{
	struct tube *t = arg;

	(void)c;
	t->slow = false;
	want(t);
}

static void on_agent_done(struct agent_call *c, const struct grpc_status *st,
			  void *arg)
{
	struct tube *t = arg;

	(void)c;
	t->agent = NULL;
	t->call_over = true;
	release(t);
	if (st->code != GRPC_OK)
		end(t, true);
	else if (!t->held)
		end(t, false);
	want(t);
	may_free(t);
}

static const struct agent_call_ops agent_ops = { .message = on_message,
						 .writable = on_agent_writable,
						 .done = on_agent_done };

/* ---- its beginning ---- */

static bool start(struct tube *t)
{
	Sandbox__Node__V1__TunnelRequest m =
		SANDBOX__NODE__V1__TUNNEL_REQUEST__INIT;
	Sandbox__Node__V1__TunnelStart s = SANDBOX__NODE__V1__TUNNEL_START__INIT;
	struct agent_link *link = agent_find(t->front, t->sandbox_id);
	struct grpc_status why;

	if (!link || agent_calls(link) >= AGENT_TUBES_MAX)
		return false;
	t->agent = agent_call_start(link, "Tunnel", t->probe ? CONNECT_MS : 0,
				    &agent_ops, t, &why);
	if (!t->agent)
		return false;
	s.port = t->port;
	m.input_case = SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START;
	m.start = &s;
	send_request(t, &m);
	return true;
}

static void on_lease(const struct grpc_status *st, const uint8_t *data,
		     size_t len, bool more, void *arg)
{
	Sandbox__Ipc__V1__AcquireResponse *m = NULL;
	struct tube *t = arg;

	(void)more;
	t->acquiring = false;
	if (st->code == GRPC_OK)
		m = sandbox__ipc__v1__acquire_response__unpack(NULL, len, data);
	if (m) {
		t->lease = m->lease;
		sandbox__ipc__v1__acquire_response__free_unpacked(m, NULL);
	}
	if (t->ops && (!t->lease || !start(t)))
		end(t, true);
	if (!t->agent)
		release(t);
	may_free(t);
}

struct tube *tube_new(struct front *front, const char *sandbox_id,
		      uint16_t port, int fd, const struct tube_ops *ops,
		      void *arg)
{
	struct tube *t = xcalloc(1, sizeof(*t));

	*t = (struct tube){ .front = front,
			    .port = port,
			    .fd = fd,
			    .ops = ops,
			    .arg = arg,
			    .probe = fd < 0,
			    .acquiring = true };
	snprintf(t->sandbox_id, sizeof(t->sandbox_id), "%s", sandbox_id);
	/* No events yet but the socket's end. */
	if (fd >= 0 && sd_event_add_io(loop_event(front->loop), &t->io, fd, 0,
				       on_socket, t) < 0)
		t->io = NULL;
	engine_acquire(front->engine, sandbox_id, "port", on_lease, t);
	return t;
}

void tube_free(struct tube *t)
{
	t->ops = NULL;
	t->later = sd_event_source_disable_unref(t->later);
	end(t, true);
	may_free(t);
}
