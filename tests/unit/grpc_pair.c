/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_pair.c - a client and a server connection joined in memory */
#include "grpc_pair.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	struct side *side = arg;

	side->messages++;
	side->bytes += len;
	side->last_len = len < sizeof(side->last) ? len : sizeof(side->last);
	if (len)
		memcpy(side->last, data, side->last_len);
	if (side->echo)
		grpc_call_send(call, data, len);
	if (side->cancel_on_message)
		grpc_call_cancel(call);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct side *side = arg;

	(void)call;
	side->half_closed = true;
	if (side->echo_finish)
		side_finish(side, GRPC_OK, "");
}

static void send_more(struct side *side)
{
	static uint8_t zeros[GRPC_MESSAGE_MAX];

	while (side->send_left) {
		int r = grpc_call_send(side->call, zeros, side->send_size);

		if (r < 0)
			break;
		side->send_left--;
		if (r == 1)
			break;
	}
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct side *side = arg;

	(void)call;
	side->writables++;
	send_more(side);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct side *side = arg;

	assert(call == side->call);
	side->dones++;
	side->st = *st;
	side->call = NULL;
}

const struct grpc_call_ops side_ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	struct pair *pair = arg;
	struct side *side;
	unsigned int n;

	if (pair->accept && pair->accept(call, path, pair->accept_arg))
		return;
	n = pair->accepted++;
	if (pair->refuse)
		return;
	if (n >= SIDES_MAX / 2) {
		grpc_call_cancel(call);
		return;
	}
	side = &pair->sides[SIDES_MAX / 2 + n];
	*side = pair->proto;
	side->call = call;
	snprintf(side->path, sizeof(side->path), "%s", path);
	grpc_call_accept(call, &side_ops, side);
}

static void on_client_closing(struct grpc_conn *conn, const char *why,
			      void *arg)
{
	struct pair *pair = arg;

	(void)conn;
	snprintf(pair->client_closing, sizeof(pair->client_closing), "%s", why);
}

static void on_client_silent(struct grpc_conn *conn, bool silent, void *arg)
{
	struct pair *pair = arg;

	(void)conn;
	if (silent)
		pair->silences++;
	else
		pair->heard_again++;
}

static void on_server_closing(struct grpc_conn *conn, const char *why,
			      void *arg)
{
	struct pair *pair = arg;

	(void)conn;
	snprintf(pair->server_closing, sizeof(pair->server_closing), "%s", why);
}

static const struct grpc_conn_ops client_ops = { .closing = on_client_closing,
						 .silent = on_client_silent };
static const struct grpc_conn_ops server_ops = { .accept = on_accept,
						 .closing = on_server_closing };

void pair_init(struct pair *pair, const struct grpc_settings *client,
	       const struct grpc_settings *server)
{
	*pair = (struct pair){ .now = 1000 };
	pair->client = grpc_conn_new_client(&client_ops, pair, client, 1000);
	pair->server = grpc_conn_new_server(&server_ops, pair, server, 1000);
}

void pair_fini(struct pair *pair)
{
	pair->client = grpc_conn_free(pair->client);
	pair->server = grpc_conn_free(pair->server);
}

static size_t move_some(struct grpc_conn *from, struct grpc_conn *to,
			size_t chunk, bool deaf, int *rc)
{
	static uint8_t buf[16384];
	size_t n = grpc_conn_output(from, buf, chunk ? chunk : sizeof(buf));

	if (!n || deaf)
		return 0;
	/* A copy of exactly this size, so that a sanitizer sees an overrun. */
	uint8_t *exact = malloc(n);

	memcpy(exact, buf, n);
	*rc = grpc_conn_feed(to, exact, n);
	free(exact);
	return n;
}

size_t pair_run(struct pair *pair)
{
	size_t all = 0, n;

	do {
		n = move_some(pair->client, pair->server, pair->chunk, false,
			      &pair->server_rc);
		if (!pair->held)
			n += move_some(pair->server, pair->client, pair->chunk,
				       pair->deaf, &pair->client_rc);
		all += n;
	} while (n);
	return all;
}

void pair_pass(struct pair *pair, uint64_t ms)
{
	pair->now += ms;
	grpc_conn_tick(pair->client, pair->now);
	grpc_conn_tick(pair->server, pair->now);
	pair_run(pair);
}

struct side *pair_start(struct pair *pair, const char *path,
			uint64_t timeout_ms)
{
	struct side *side = &pair->sides[pair->n_sides];

	assert(pair->n_sides < SIDES_MAX / 2);
	*side = (struct side){ 0 };
	side->call = grpc_call_start(pair->client, path, timeout_ms, &side_ops,
				     side);
	if (!side->call)
		return NULL;
	pair->n_sides++;
	return side;
}

struct side *pair_served(struct pair *pair, unsigned int n)
{
	assert(n < pair->accepted);
	return &pair->sides[SIDES_MAX / 2 + n];
}

void side_send_many(struct side *side, size_t n, size_t size)
{
	side->send_left = n;
	side->send_size = size;
	send_more(side);
}

void side_finish(struct side *side, enum grpc_code code, const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, code, NULL, "%s", text);
	grpc_call_finish(side->call, &st);
}
