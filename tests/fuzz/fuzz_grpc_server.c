/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_grpc_server.c - any bytes a client may send to a server that echoes
 *
 * The first byte says how the input is cut, and whether the server pauses and
 * what time does. HTTP/2's preface is put before it unless bit 7 is set.
 */
#include "grpc.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int live;
static uint8_t mode;

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	(void)arg;
	assert(len <= GRPC_MESSAGE_MAX);
	grpc_call_send(call, data, len);
	if (mode & 1)
		grpc_call_pause(call, true);
	if (len == 7)
		grpc_call_cancel(call);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct grpc_status st;

	(void)arg;
	grpc_status_set(&st, GRPC_OK, NULL, "done");
	grpc_call_finish(call, &st);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	(void)arg;
	grpc_call_pause(call, false);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	(void)arg;
	assert(st->code < GRPC_CODE_COUNT);
	assert(live > 0);
	live--;
}

static const struct grpc_call_ops call_ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	(void)arg;
	assert(path[0] == '/');
	if (path[1] == 'x')
		return;
	live++;
	grpc_call_accept(call, &call_ops, NULL);
}

static const struct grpc_conn_ops conn_ops = { .accept = on_accept };

static void drain(struct grpc_conn *conn)
{
	uint8_t buf[1000];

	for (int i = 0; i < 100 && grpc_conn_output(conn, buf, sizeof(buf));
	     i++)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct grpc_settings settings = { .streams_max = 10 };
	struct grpc_conn *conn;
	uint64_t now = 1000;
	size_t step;

	if (!size)
		return 0;
	mode = data[0];
	step = (size_t)(mode >> 1 & 31) * 8 + 1;
	live = 0;
	conn = grpc_conn_new_server(&conn_ops, NULL, &settings, now);
	if (!(mode & 0x80))
		grpc_conn_feed(conn, (const uint8_t *)preface,
			       sizeof(preface) - 1);
	for (size_t at = 1; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (grpc_conn_feed(conn, data + at, n) < 0)
			break;
		if (!(mode & 0x40))
			drain(conn);
		now += 100;
		grpc_conn_tick(conn, now);
	}
	drain(conn);
	grpc_conn_free(conn);
	assert(live == 0);
	return 0;
}
