/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - one connection to a node, and calls on it
 *
 * Theory of operation
 * ===================
 *
 * One loop, one connection, one thread. A command that reads top to bottom
 * runs the loop inside client_run() until a flag is set by a callback; so no
 * callback may call anything that waits.
 *
 * A call's end comes before the connection's: grpc ends all calls of a dead
 * connection first, then the pump says that it closed. client_lost() therefore
 * lets the loop deliver what is pending before it answers.
 */
#include "ctl/client.h"

#include "ctl/dial.h"
#include "ctl/pb.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Messages that call_recv() has not been asked for yet. */
#define CALL_QUEUE_MAX 8
/* Ping an idle connection so often: a dead node is noticed within a minute. */
#define KEEPALIVE_MS 30000

#define SERVICE sandbox__node__v1__node_service__descriptor

struct client {
	struct loop *loop;
	struct grpc_io *io; /* NULL once closed */
	sd_event_source *sigint, *sigterm;
	int signal;
	bool ready, closed;
	char why[256];
};

struct rpc {
	struct client *client;
	struct grpc_call *call;
	const ProtobufCMessageDescriptor *output;
	const struct rpc_ops *ops;
	void *arg;
	bool garbled; /* the node sent what is no message */
};

struct queued {
	struct list link;
	ProtobufCMessage *m;
};

struct call {
	struct client *client;
	struct rpc *rpc; /* NULL once over */
	struct list queue;
	size_t n_queued;
	bool event; /* something a waiting caller wants to know happened */
	bool full;  /* call_send() must wait */
	struct grpc_status status;
};

/* ---- connection ---- */

static void on_ready(struct grpc_io *io, void *arg)
{
	struct client *c = arg;

	(void)io;
	c->ready = true;
}

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct client *c = arg;

	(void)io;
	c->io = NULL;
	c->closed = true;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

static const struct grpc_io_ops io_ops = {
	.ready = on_ready,
	.closed = on_closed,
};

static const struct grpc_conn_ops conn_ops = { 0 };

/* Consumes @fd and @tls. */
static int try_one(struct client *c, int fd, struct grpc_tls *tls,
		   struct error *err)
{
	const struct grpc_settings settings = { .keepalive_ms = KEEPALIVE_MS };
	const struct grpc_io_params params = {
		.tls = tls,
		.connecting = true,
		.handshake_ms = CLIENT_CONNECT_MS,
	};
	struct grpc_conn *conn =
		grpc_conn_new_client(&conn_ops, c, &settings, loop_now_ms());

	c->closed = false;
	c->io = grpc_io_new(c->loop, fd, conn, &params, &io_ops, c);
	while (!c->ready && !c->closed) {
		int r = sd_event_run(loop_event(c->loop), UINT64_MAX);

		if (r < 0)
			return err_sys(err, -r, "event loop");
	}
	if (c->closed)
		return err_set(err, ERR_UNAVAILABLE, "%s", c->why);
	return 0;
}

int client_connect(struct loop *loop, const struct client_target *target,
		   struct client **ret, struct error *err)
{
	_cleanup_(dial_freep) struct dial *dial = NULL;
	struct client *c = NULL;
	int r = -1;

	if (dial_new(target, &dial, err) < 0)
		return err_wrap(err, "connect to %s", target->address);
	c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	for (;;) {
		struct grpc_tls *tls = NULL;
		int fd = dial_next(dial, &tls, err);

		if (fd < 0)
			break;
		r = try_one(c, fd, tls, err);
		if (r == 0)
			break;
	}
	if (r < 0) {
		client_free(c);
		return err_wrap(err, "connect to %s", target->address);
	}
	*ret = c;
	return 0;
}

struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	c->io = grpc_io_free(c->io);
	sd_event_source_disable_unref(c->sigint);
	sd_event_source_disable_unref(c->sigterm);
	free(c);
	return NULL;
}

struct loop *client_loop(struct client *c)
{
	return c->loop;
}

const char *client_lost(struct client *c)
{
	for (int i = 0; i < 16 && !c->closed; i++) {
		if (sd_event_run(loop_event(c->loop), 0) <= 0)
			break;
	}
	return c->closed ? c->why : NULL;
}

bool client_is_lost(const struct client *c)
{
	return c->closed;
}

/* ---- signals and waiting ---- */

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si,
		     void *arg)
{
	struct client *c = arg;

	(void)s;
	c->signal = (int)si->ssi_signo;
	return 0;
}

int client_catch_signals(struct client *c, struct error *err)
{
	sd_event *event = loop_event(c->loop);
	sigset_t set;
	int r;

	if (c->sigint)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r = sd_event_add_signal(event, &c->sigint, SIGINT, on_signal, c);
	if (r >= 0)
		r = sd_event_add_signal(event, &c->sigterm, SIGTERM, on_signal,
					c);
	if (r < 0)
		return err_sys(err, -r, "watch for signals");
	return 0;
}

int client_interrupted(const struct client *c)
{
	return c->signal;
}

int client_run(struct client *c, const bool *done)
{
	while (!*done) {
		if (c->signal)
			return -EINTR;
		if (sd_event_run(loop_event(c->loop), UINT64_MAX) < 0)
			abort();
	}
	return 0;
}

static int on_readable(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	(void)s;
	(void)fd;
	(void)events;
	*(bool *)arg = true;
	return 0;
}

int client_wait_readable(struct client *c, int fd)
{
	sd_event_source *s = NULL;
	bool readable = false;
	int r;

	r = sd_event_add_io(loop_event(c->loop), &s, fd, EPOLLIN, on_readable,
			    &readable);
	if (r == -EPERM) { /* a regular file: epoll does not take those */
		client_lost(c);
		return c->signal ? -EINTR : 0;
	}
	if (r < 0)
		return r;
	r = client_run(c, &readable);
	sd_event_source_disable_unref(s);
	return r;
}

/* ---- calls with callbacks ---- */

static void rpc_on_message(struct grpc_call *call, const uint8_t *data,
			   size_t len, void *arg)
{
	struct rpc *rpc = arg;
	ProtobufCMessage *m;

	m = protobuf_c_message_unpack(rpc->output, NULL, len, data);
	if (!m) {
		rpc->garbled = true;
		grpc_call_cancel(call);
		return;
	}
	if (rpc->ops->message)
		rpc->ops->message(rpc, m, rpc->arg);
	message_free(m);
}

static void rpc_on_writable(struct grpc_call *call, void *arg)
{
	struct rpc *rpc = arg;

	(void)call;
	if (rpc->ops->writable)
		rpc->ops->writable(rpc, rpc->arg);
}

static void rpc_on_done(struct grpc_call *call, const struct grpc_status *st,
			void *arg)
{
	struct rpc *rpc = arg;
	struct grpc_status garbled = { 0 };

	(void)call;
	if (rpc->garbled) {
		grpc_status_set(&garbled, GRPC_INTERNAL, "",
				"the node's answer is no valid message");
		st = &garbled;
	}
	rpc->ops->done(rpc, st, rpc->arg);
	free(rpc);
}

static const struct grpc_call_ops call_ops = {
	.message = rpc_on_message,
	.writable = rpc_on_writable,
	.done = rpc_on_done,
};

struct rpc *rpc_start(struct client *c, const char *method,
		      const struct rpc_ops *ops, void *arg)
{
	const ProtobufCMethodDescriptor *d =
		protobuf_c_service_descriptor_get_method_by_name(&SERVICE,
								 method);
	struct rpc *rpc;
	char path[128];

	assert(d);
	if (!c->io)
		return NULL;
	rpc = xcalloc(1, sizeof(*rpc));
	*rpc = (struct rpc){
		.client = c,
		.output = d->output,
		.ops = ops,
		.arg = arg,
	};
	snprintf(path, sizeof(path), "/%s/%s", SERVICE.name, d->name);
	rpc->call =
		grpc_call_start(grpc_io_conn(c->io), path, 0, &call_ops, rpc);
	if (!rpc->call) {
		free(rpc);
		return NULL;
	}
	return rpc;
}

int rpc_send(struct rpc *rpc, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xcalloc(len + 1, 1);

	protobuf_c_message_pack(m, buf);
	return grpc_call_send(rpc->call, buf, len);
}

void rpc_half_close(struct rpc *rpc)
{
	grpc_call_half_close(rpc->call);
}

void rpc_pause(struct rpc *rpc, bool paused)
{
	grpc_call_pause(rpc->call, paused);
}

void rpc_cancel(struct rpc *rpc)
{
	grpc_call_cancel(rpc->call);
}

/* ---- calls top to bottom ---- */

static void call_on_message(struct rpc *rpc, const ProtobufCMessage *m,
			    void *arg)
{
	struct call *call = arg;
	struct queued *q = xcalloc(1, sizeof(*q));
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xcalloc(len + 1, 1);

	/* The message is the rpc's; packing it again is the one way that
	 * protobuf-c has to copy one.
	 */
	protobuf_c_message_pack(m, buf);
	q->m = protobuf_c_message_unpack(m->descriptor, NULL, len, buf);
	list_add_tail(&call->queue, &q->link);
	call->event = true;
	if (++call->n_queued >= CALL_QUEUE_MAX)
		rpc_pause(rpc, true);
}

static void call_on_writable(struct rpc *rpc, void *arg)
{
	struct call *call = arg;

	(void)rpc;
	call->full = false;
	call->event = true;
}

static void call_on_done(struct rpc *rpc, const struct grpc_status *st,
			 void *arg)
{
	struct call *call = arg;

	(void)rpc;
	call->status = *st;
	call->rpc = NULL;
	call->event = true;
}

static const struct rpc_ops sync_ops = {
	.message = call_on_message,
	.writable = call_on_writable,
	.done = call_on_done,
};

struct call *call_open(struct client *c, const char *method)
{
	struct call *call = xcalloc(1, sizeof(*call));

	call->client = c;
	list_init(&call->queue);
	call->rpc = rpc_start(c, method, &sync_ops, call);
	if (!call->rpc)
		grpc_status_set(&call->status, GRPC_UNAVAILABLE, "",
				"the connection is closing");
	return call;
}

int call_send(struct call *call, const ProtobufCMessage *m)
{
	while (call->rpc && call->full) {
		call->event = false;
		if (client_run(call->client, &call->event) < 0)
			return -1;
	}
	if (!call->rpc || client_interrupted(call->client))
		return -1;
	switch (rpc_send(call->rpc, m)) {
	case 0:
		return 0;
	case 1:
		call->full = true;
		return 0;
	default:
		return -1;
	}
}

void call_half_close(struct call *call)
{
	if (call->rpc)
		rpc_half_close(call->rpc);
}

ProtobufCMessage *call_poll(struct call *call)
{
	struct queued *q;
	ProtobufCMessage *m;

	if (list_empty(&call->queue))
		return NULL;
	q = list_entry(call->queue.next, struct queued, link);
	list_del(&q->link);
	m = q->m;
	free(q);
	if (call->n_queued-- == CALL_QUEUE_MAX && call->rpc)
		rpc_pause(call->rpc, false);
	return m;
}

ProtobufCMessage *call_recv(struct call *call)
{
	while (call->rpc && list_empty(&call->queue)) {
		call->event = false;
		if (client_run(call->client, &call->event) < 0)
			return NULL;
	}
	return call_poll(call);
}

void call_close(struct call *call, struct grpc_status *st)
{
	ProtobufCMessage *m;

	if (call->rpc)
		rpc_cancel(call->rpc);
	while (call->rpc) {
		if (sd_event_run(loop_event(call->client->loop), UINT64_MAX) <
		    0)
			abort();
	}
	while ((m = call_poll(call)))
		message_free(m);
	if (st)
		*st = call->status;
	free(call);
}

ProtobufCMessage *client_unary(struct client *c, const char *method,
			       const ProtobufCMessage *request,
			       struct grpc_status *st)
{
	struct call *call = call_open(c, method);
	ProtobufCMessage *m = NULL;

	if (call_send(call, request) == 0) {
		call_half_close(call);
		m = call_recv(call);
		/* The status comes behind the answer. */
		if (m)
			message_free(call_recv(call));
	}
	call_close(call, st);
	if (m && st->code != GRPC_OK) {
		message_free(m);
		return NULL;
	}
	if (!m && st->code == GRPC_OK)
		grpc_status_set(st, GRPC_INTERNAL, "",
				"the node gave no answer");
	return m;
}

void message_free(ProtobufCMessage *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

void message_freep(ProtobufCMessage **m)
{
	message_free(*m);
}
