/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel.c - Tunnel: a call that is a TCP connection to the guest's localhost
 *
 * Theory of operation
 *
 * 127.0.0.1 is tried first, then ::1: servers bind either. Bytes wait in one
 * place a direction: what the server has not taken yet is `pending`, and the
 * call is paused while there is any; the server is not read while the call has
 * enough queued. Each direction ends by itself; the call ends after both.
 */
#include "agent.h"
#include "loop.h"
#include "request.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TUNNELS_MAX 512u
#define CHUNK	    (32u << 10)

struct tunnel {
	struct agent *agent;
	struct grpc_call *call;
	uint16_t port;
	bool asked;
	bool ended;
	bool connecting;
	bool tried_v6;
	bool blocked;	 /* the call has enough queued */
	bool server_end; /* the server sends no more */
	bool client_end; /* the client sends no more */
	bool shut;	 /* and the server was told */
	int fd;
	struct loop_fd *watch;
	uint8_t *pending;
	size_t at, len;
};

static void end(struct tunnel *t, const struct error *err)
{
	struct grpc_status st = { .code = GRPC_OK };

	if (t->ended)
		return;
	t->ended = true;
	t->watch = loop_fd_free(t->watch);
	fd_close(&t->fd);
	if (err)
		agent_status(&st, err);
	grpc_call_finish(t->call, &st);
}

static void update(struct tunnel *t)
{
	uint32_t events = 0;

	if (t->ended)
		return;
	if (t->connecting || t->at < t->len)
		events |= EPOLLOUT;
	if (!t->connecting && !t->blocked && !t->server_end)
		events |= EPOLLIN;
	/* With nothing to wait for, a hang-up must not wake us for ever. */
	loop_fd_set(t->watch, events, events != 0);
	if (t->server_end && t->shut)
		end(t, NULL);
}

static void send_msg(struct tunnel *t, const NODE(TunnelResponse) * msg)
{
	size_t len = protobuf_c_message_get_packed_size(&msg->base);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(&msg->base, data);
	if (grpc_call_send(t->call, data, len) > 0)
		t->blocked = true;
}

static void send_data(struct tunnel *t, const uint8_t *data, size_t len)
{
	NODE(TunnelResponse) msg = NODE_INIT(TUNNEL_RESPONSE);

	msg.output_case = SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_DATA;
	msg.data.data = (uint8_t *)data;
	msg.data.len = len;
	send_msg(t, &msg);
}

static void send_connected(struct tunnel *t)
{
	NODE(TunnelResponse) msg = NODE_INIT(TUNNEL_RESPONSE);

	msg.output_case = SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_CONNECTED;
	msg.connected = true;
	send_msg(t, &msg);
}

/* ---- connecting ---- */

static void on_ready(uint32_t events, void *arg);

static int start_connect(struct tunnel *t, int family)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET,
		.sin_port = htons(t->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(t->port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	bool is_v4 = family == AF_INET;
	int one = 1;

	t->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		return -errno;
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(t->fd,
		    is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		    is_v4 ? sizeof(v4) : sizeof(v6)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	t->watch = loop_fd_new(t->agent->loop, t->fd, EPOLLOUT, on_ready, t);
	return t->watch ? 0 : -errno;
}

static void connect_failed(struct tunnel *t, int errnum)
{
	struct error err;

	t->watch = loop_fd_free(t->watch);
	fd_close(&t->fd);
	if (!t->tried_v6) {
		t->tried_v6 = true;
		if (start_connect(t, AF_INET6) == 0)
			return;
	}
	err_set(&err, ERR_UNAVAILABLE,
		"nothing takes connections on port %u: %s", t->port,
		strerrordesc_np(errnum));
	err_reason(&err, "UNAVAILABLE", "port");
	end(t, &err);
}

static void on_connect(struct tunnel *t)
{
	socklen_t len = sizeof(int);
	int errnum = 0;

	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
		errnum = errno;
	if (errnum) {
		connect_failed(t, errnum);
		return;
	}
	t->connecting = false;
	send_connected(t);
	grpc_call_pause(t->call, false);
}

/* ---- bytes ---- */

static void shut_if_drained(struct tunnel *t)
{
	if (!t->client_end || t->at < t->len || t->connecting || t->shut)
		return;
	shutdown(t->fd, SHUT_WR);
	t->shut = true;
}

/* The server takes no more; what it still sends counts. */
static void drop_pending(struct tunnel *t)
{
	free(t->pending);
	t->pending = NULL;
	t->at = t->len = 0;
}

static void write_pending(struct tunnel *t)
{
	while (t->at < t->len) {
		ssize_t n = send(t->fd, t->pending + t->at, t->len - t->at,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			t->client_end = true;
			break;
		}
		t->at += (size_t)n;
	}
	drop_pending(t);
	shut_if_drained(t);
	if (!t->ended)
		grpc_call_pause(t->call, false);
}

static void read_server(struct tunnel *t)
{
	uint8_t buf[CHUNK];
	ssize_t n = recv(t->fd, buf, sizeof(buf), 0);
	struct error err;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		err_set(&err, ERR_UNAVAILABLE, "the server broke off: %s",
			strerrordesc_np(errno));
		end(t, &err);
		return;
	}
	/* Nothing is the mark for "no more". */
	send_data(t, buf, (size_t)n);
	t->server_end = n == 0;
}

static void on_ready(uint32_t events, void *arg)
{
	struct tunnel *t = arg;

	if (t->connecting) {
		on_connect(t);
		update(t);
		return;
	}
	if (t->at < t->len && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		write_pending(t);
	if (!t->ended && !t->blocked && !t->server_end &&
	    (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		read_server(t);
	update(t);
}

/* ---- the call ---- */

static int start(struct tunnel *t, const NODE(TunnelStart) * start_msg,
		 struct error *err)
{
	int r;

	t->asked = true;
	if (start_msg->port < 1 || start_msg->port > 65535)
		return err_field(err, "port", "must be 1 to 65535");
	t->port = (uint16_t)start_msg->port;
	t->connecting = true;
	grpc_call_pause(t->call, true);
	r = start_connect(t, AF_INET);
	if (r < 0)
		connect_failed(t, -r);
	return 0;
}

static int take_data(struct tunnel *t, const ProtobufCBinaryData *data,
		     struct error *err)
{
	if (data->len > REQUEST_CHUNK_MAX)
		return err_field(err, "data", "more than %u bytes in a message",
				 REQUEST_CHUNK_MAX);
	if (data->len == 0 || t->client_end)
		return 0;
	drop_pending(t);
	t->pending = xmemdup(data->data, data->len);
	t->len = data->len;
	grpc_call_pause(t->call, true);
	write_pending(t);
	update(t);
	return 0;
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	NODE(TunnelRequest) *msg =
		sandbox__node__v1__tunnel_request__unpack(NULL, len, data);
	struct tunnel *t = arg;
	struct error err;
	int r;

	(void)call;
	if (t->ended)
		r = 0;
	else if (!msg)
		r = err_set(&err, ERR_INVALID,
			    "the message is no "
			    "TunnelRequest");
	else if (!t->asked &&
		 msg->input_case ==
			 SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START)
		r = start(t, msg->start, &err);
	else if (t->asked &&
		 msg->input_case ==
			 SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_DATA)
		r = take_data(t, &msg->data, &err);
	else
		r = err_field(&err, "start", "must come first, once");
	if (msg)
		sandbox__node__v1__tunnel_request__free_unpacked(msg, NULL);
	if (r < 0)
		end(t, &err);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct tunnel *t = arg;
	struct error err;

	(void)call;
	t->client_end = true;
	if (!t->asked) {
		err_field(&err, "start", "is missing");
		end(t, &err);
	} else if (!t->ended) {
		shut_if_drained(t);
		update(t);
	}
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct tunnel *t = arg;

	(void)call;
	t->blocked = false;
	update(t);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct tunnel *t = arg;

	(void)call;
	(void)st;
	loop_fd_free(t->watch);
	fd_close(&t->fd);
	free(t->pending);
	t->agent->n_tunnels--;
	free(t);
}

static const struct grpc_call_ops ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

void rpc_tunnel(struct agent *agent, struct grpc_call *call)
{
	struct grpc_status st;
	struct tunnel *t;

	if (agent->n_tunnels >= TUNNELS_MAX) {
		grpc_status_set(&st, GRPC_RESOURCE_EXHAUSTED,
				"RESOURCE_EXHAUSTED", "%u tunnels are open",
				TUNNELS_MAX);
		grpc_call_finish(call, &st);
		return;
	}
	t = xcalloc(1, sizeof(*t));
	t->agent = agent;
	t->call = call;
	t->fd = -EBADF;
	agent->n_tunnels++;
	grpc_call_accept(call, &ops, t);
}
