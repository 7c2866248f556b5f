/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_grpc_client.c - any bytes a server, or a guest's agent, may send
 *
 * The first byte says how the input is cut, and how the calls behave that wait
 * for an answer (streams 1, 3 and 5).
 */
#include "grpc.h"

#include <assert.h>
#include <string.h>

#define CALLS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int live;
static uint8_t mode;

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	(void)arg;
	assert(len <= GRPC_MESSAGE_MAX);
	if (mode & 1)
		grpc_call_pause(call, true);
	if (len == 7)
		grpc_call_cancel(call);
	else
		grpc_call_send(call, data, len);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	(void)arg;
	assert(st->code < GRPC_CODE_COUNT);
	assert(strlen(st->message) < sizeof(st->message));
	assert(live > 0);
	live--;
}

static const struct grpc_call_ops call_ops = { .message = on_message,
					       .done = on_done };
static const struct grpc_conn_ops conn_ops = { 0 };

static void drain(struct grpc_conn *conn)
{
	uint8_t buf[1000];

	for (int i = 0; i < 100 && grpc_conn_output(conn, buf, sizeof(buf));
	     i++)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct grpc_conn *conn;
	uint64_t now = 1000;
	size_t step;

	if (!size)
		return 0;
	mode = data[0];
	step = (size_t)(mode >> 1 & 31) * 8 + 1;
	live = 0;
	conn = grpc_conn_new_client(&conn_ops, NULL, NULL, now);
	for (int i = 0; i < CALLS; i++) {
		struct grpc_call *call = grpc_call_start(
			conn, "/a.B/C", i == 2 ? 300 : 0, &call_ops, NULL);

		assert(call);
		live++;
		grpc_call_send(call, (const uint8_t *)"hello", 5);
		if (i == 0)
			grpc_call_half_close(call);
	}
	drain(conn);
	for (size_t at = 1; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (grpc_conn_feed(conn, data + at, n) < 0)
			break;
		if (!(mode & 0x40))
			drain(conn);
		now += 10;
		grpc_conn_tick(conn, now);
	}
	drain(conn);
	grpc_conn_free(conn);
	assert(live == 0);
	return 0;
}
