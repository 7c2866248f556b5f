/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - a node of the simplest kind: calls to an agent, one step at a time
 */
#include "client.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/mem.h"
#include "resync.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define IO_SIZE (64u << 10)

struct client {
	int fd;
	struct grpc_conn *conn;
	struct resync_node *resync; /* serial only */
	bool dead;
	uint8_t out[RESYNC_STUFFED_MAX(IO_SIZE)];
	size_t out_at, out_len;
};

struct answer {
	struct list item;
	size_t len;
	uint8_t data[];
};

struct call {
	struct client *client;
	struct grpc_call *call; /* NULL: over */
	struct list answers;
	struct grpc_status status;
	bool full;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void die(const char *what)
{
	fprintf(stderr, "test client: %s\n", what);
	abort();
}

static void fail(struct client *c, const char *why)
{
	if (!c->dead)
		grpc_conn_abort(c->conn, why);
	c->dead = true;
}

static void write_out(struct client *c)
{
	uint8_t raw[IO_SIZE];

	while (!c->dead) {
		ssize_t n;

		if (c->out_at == c->out_len) {
			c->out_at = 0;
			c->out_len = grpc_conn_output(c->conn, raw, IO_SIZE);
			if (c->out_len == 0)
				return;
			if (c->resync)
				c->out_len = resync_node_stuff(
					c->resync, c->out, raw, c->out_len);
			else
				memcpy(c->out, raw, c->out_len);
		}
		n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			fail(c, "the agent has closed");
		else
			c->out_at += (size_t)n;
	}
}

static void read_in(struct client *c)
{
	uint8_t buf[IO_SIZE];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	size_t skip = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, "the agent has closed");
		return;
	}
	if (c->resync && !resync_node_in_sync(c->resync))
		skip = resync_node_skip(c->resync, buf, (size_t)n);
	if (skip < (size_t)n &&
	    grpc_conn_feed(c->conn, buf + skip, (size_t)n - skip) < 0)
		fail(c, "the agent broke the protocol");
}

void client_step(struct client *c, int timeout_ms)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	if (c->dead)
		return;
	write_out(c);
	if (c->out_at < c->out_len)
		p.events |= POLLOUT;
	if (poll(&p, 1, timeout_ms) > 0 && (p.revents & ~POLLOUT))
		read_in(c);
	if (!c->dead) {
		grpc_conn_tick(c->conn, now_ms());
		write_out(c);
	}
}

static const struct grpc_conn_ops conn_ops = { .accept = NULL };

struct client *client_connect(const char *path, bool serial)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	uint8_t random[RESYNC_RANDOM_LEN];
	struct client *c;
	uint64_t end = now_ms() + CLIENT_TIMEOUT_MS;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->fd = fd;
	if (serial) {
		c->resync = xcalloc(1, sizeof(*c->resync));
		if (getrandom(random, sizeof(random), 0) < 0)
			die("getrandom");
		resync_node_init(c->resync, random);
		fd_write_full(fd, c->resync->mark, RESYNC_MARK_LEN);
	}
	c->conn = grpc_conn_new_client(&conn_ops, c, NULL, now_ms());
	while (serial && !resync_node_in_sync(c->resync)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (now_ms() > end)
			die("no echo of the mark");
		if (poll(&p, 1, 1000) > 0)
			read_in(c);
	}
	return c;
}

bool client_is_dead(const struct client *c)
{
	return c->dead;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	grpc_conn_free(c->conn);
	close(c->fd);
	free(c->resync);
	free(c);
}

/* ---- calls ---- */

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	struct call *k = arg;
	struct answer *a = xcalloc(1, sizeof(*a) + len);

	(void)call;
	a->len = len;
	if (len)
		memcpy(a->data, data, len);
	list_add_tail(&k->answers, &a->item);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct call *k = arg;

	(void)call;
	k->full = false;
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct call *k = arg;

	(void)call;
	k->status = *st;
	k->call = NULL;
}

static const struct grpc_call_ops ops = {
	.message = on_message,
	.writable = on_writable,
	.done = on_done,
};

struct call *call_start(struct client *c, const char *method)
{
	return call_start_within(c, method, 0);
}

struct call *call_start_within(struct client *c, const char *method,
			       uint32_t ms)
{
	struct call *k = xcalloc(1, sizeof(*k));
	char path[128];

	k->client = c;
	list_init(&k->answers);
	if (method[0] == '/')
		snprintf(path, sizeof(path), "%s", method);
	else
		snprintf(path, sizeof(path),
			 "/sandbox.agent.v1.AgentService/%s", method);
	k->call = c->dead ? NULL : grpc_call_start(c->conn, path, ms, &ops, k);
	if (!k->call)
		grpc_status_set(&k->status, GRPC_UNAVAILABLE, "",
				"no connection");
	return k;
}

static void step_or_die(struct client *c, uint64_t end)
{
	if (now_ms() > end)
		die("nothing came in time");
	client_step(c, 1000);
}

bool call_send(struct call *k, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);
	uint64_t end = now_ms() + CLIENT_TIMEOUT_MS;
	int r;

	while (k->call && k->full)
		step_or_die(k->client, end);
	if (!k->call)
		return false;
	protobuf_c_message_pack(msg, data);
	r = grpc_call_send(k->call, data, len);
	k->full = r > 0;
	return r >= 0;
}

void call_half_close(struct call *k)
{
	if (k->call)
		grpc_call_half_close(k->call);
}

void call_pause(struct call *k, bool paused)
{
	if (k->call)
		grpc_call_pause(k->call, paused);
}

uint8_t *call_recv(struct call *k, size_t *len)
{
	uint64_t end = now_ms() + CLIENT_TIMEOUT_MS;
	struct answer *a;
	uint8_t *data;

	while (list_empty(&k->answers) && k->call)
		step_or_die(k->client, end);
	if (list_empty(&k->answers))
		return NULL;
	a = list_entry(k->answers.next, struct answer, item);
	list_del(&a->item);
	data = xmemdup(a->data, a->len);
	*len = a->len;
	free(a);
	return data;
}

void *call_recv_message(struct call *k, const ProtobufCMessageDescriptor *type)
{
	size_t len;
	_cleanup_free_ uint8_t *data = call_recv(k, &len);

	return data ? protobuf_c_message_unpack(type, NULL, len, data) : NULL;
}

const struct grpc_status *call_wait(struct call *k)
{
	uint8_t *data;
	size_t len;

	while ((data = call_recv(k, &len)))
		free(data);
	return &k->status;
}

bool call_is_over(const struct call *k)
{
	return !k->call;
}

void call_free(struct call *k)
{
	if (k->call) {
		grpc_call_cancel(k->call);
		client_step(k->client, 0);
		call_wait(k);
	}
	list_for_each(&k->answers, a, struct answer, item) free(a);
	free(k);
}

void *client_ask(struct client *c, const char *method,
		 const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *answer,
		 struct grpc_status *st)
{
	struct call *k = call_start(c, method);
	void *msg;

	call_send(k, request);
	call_half_close(k);
	msg = call_recv_message(k, answer);
	*st = *call_wait(k);
	call_free(k);
	return msg;
}

bool client_hello(struct client *c, const char *nonce, struct grpc_status *st)
{
	AGENT(HelloRequest) rq = AGENT_INIT(HELLO_REQUEST);
	AGENT(HelloResponse) * answer;

	rq.protocol_version = 1;
	rq.nonce = BYTES(nonce);
	answer =
		client_ask(c, "Hello", &rq.base,
			   &sandbox__agent__v1__hello_response__descriptor, st);
	if (!answer)
		return false;
	sandbox__agent__v1__hello_response__free_unpacked(answer, NULL);
	return st->code == GRPC_OK;
}
