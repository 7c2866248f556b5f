/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_conn.c - one connection: bytes in, bytes out, time
 *
 * Theory of operation
 * ===================
 *
 * A connection ends in one of three ways. It fails (the peer broke the rules,
 * or sent too many resets): all calls end, a GOAWAY is still written. It is
 * aborted (the transport is gone): all calls end, nothing is written. It is
 * drained: calls end by themselves and no new ones begin. In each, is_over says
 * when there is nothing left to do.
 *
 * A server drains in two steps, so that no call that is already on its way is
 * lost: a GOAWAY that names no last stream, and, when the ping sent with it is
 * answered, the one that does.
 */
#include "grpc_internal.h"

#include <errno.h>
#include <stdio.h>

#define KEEPALIVE_TIMEOUT_MS 20000
#define RESETS_PER_SECOND    200

uint64_t grpc_conn_now(struct grpc_conn *conn)
{
	if (conn->hooks && conn->hooks->clock) {
		uint64_t now = conn->hooks->clock();

		if (now > conn->now_ms)
			conn->now_ms = now;
	}
	return conn->now_ms;
}

void grpc_conn_wake(struct grpc_conn *conn)
{
	if (!conn->inside && conn->hooks && conn->hooks->wake)
		conn->hooks->wake(conn, conn->hooks_arg);
}

static struct grpc_conn *conn_new(const struct grpc_conn_ops *ops, void *arg,
				  const struct grpc_settings *settings,
				  uint64_t now_ms, bool server)
{
	struct grpc_conn *conn = grpc_xcalloc(sizeof(*conn));

	*conn = (struct grpc_conn){
		.ops = ops,
		.arg = arg,
		.server = server,
		.now_ms = now_ms,
		.heard_ms = now_ms,
		.reset_ms = now_ms,
		.deadline_ms = UINT64_MAX,
	};
	if (settings)
		conn->settings = *settings;
	if (!conn->settings.streams_max)
		conn->settings.streams_max = GRPC_STREAMS_MAX;
	if (!conn->settings.keepalive_timeout_ms)
		conn->settings.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS;
	if (!conn->settings.resets_per_second)
		conn->settings.resets_per_second = RESETS_PER_SECOND;
	conn->reset_tokens = (uint64_t)conn->settings.resets_per_second * 1000;
	list_init(&conn->calls);
	list_init(&conn->ready);
	grpc_session_start(conn);
	return conn;
}

struct grpc_conn *grpc_conn_new_server(const struct grpc_conn_ops *ops,
				       void *arg,
				       const struct grpc_settings *settings,
				       uint64_t now_ms)
{
	return conn_new(ops, arg, settings, now_ms, true);
}

struct grpc_conn *grpc_conn_new_client(const struct grpc_conn_ops *ops,
				       void *arg,
				       const struct grpc_settings *settings,
				       uint64_t now_ms)
{
	return conn_new(ops, arg, settings, now_ms, false);
}

void grpc_conn_set_hooks(struct grpc_conn *conn, const struct grpc_hooks *hooks,
			 void *arg)
{
	conn->hooks = hooks;
	conn->hooks_arg = arg;
}

struct grpc_conn *grpc_conn_free(struct grpc_conn *conn)
{
	if (!conn)
		return NULL;
	conn->hooks = NULL;
	grpc_conn_abort(conn, "the connection was closed");
	nghttp2_session_del(conn->session);
	free(conn);
	return NULL;
}

/* ---- the end ---- */

void grpc_conn_closing(struct grpc_conn *conn, const char *why)
{
	if (conn->closing_due || conn->closing_told)
		return;
	grpc_text_copy(conn->why, sizeof(conn->why), (const uint8_t *)why,
		       strlen(why));
	conn->closing_due = true;
	grpc_conn_wake(conn);
}

void grpc_conn_fail(struct grpc_conn *conn, const char *why)
{
	if (conn->failed)
		return;
	conn->failed = true;
	grpc_conn_closing(conn, why);
	list_for_each(&conn->calls, call, struct grpc_call, link)
		grpc_call_end(call, GRPC_UNAVAILABLE, why);
}

void grpc_conn_abort(struct grpc_conn *conn, const char *why)
{
	grpc_conn_fail(conn, why);
	conn->aborted = true;
	conn->pending_len = 0;
	/* Also those that had ended, but waited for the wire. */
	list_for_each(&conn->calls, call, struct grpc_call, link)
	{
		grpc_call_end(call, GRPC_UNAVAILABLE, why);
		grpc_call_forget_stream(call);
		grpc_call_ready(call);
	}
	conn->inside++;
	grpc_dispatch(conn);
	conn->inside--;
}

/* Broken rules: say so in a GOAWAY. */
static void terminate(struct grpc_conn *conn, uint32_t h2_error,
		      const char *why)
{
	nghttp2_session_terminate_session(conn->session, h2_error);
	conn->broken = true;
	grpc_conn_fail(conn, why);
}

void grpc_conn_count_reset(struct grpc_conn *conn)
{
	uint64_t rate = conn->settings.resets_per_second;
	uint64_t now = grpc_conn_now(conn);
	uint64_t full = rate * 1000;
	uint64_t passed = now - conn->reset_ms;

	if (!conn->server || conn->failed)
		return;
	conn->reset_ms = now;
	conn->reset_tokens += passed > 1000 ? full : passed * rate;
	if (conn->reset_tokens > full)
		conn->reset_tokens = full;
	if (conn->reset_tokens >= 1000) {
		conn->reset_tokens -= 1000;
		return;
	}
	terminate(conn, NGHTTP2_ENHANCE_YOUR_CALM,
		  "the client resets too many calls");
}

void grpc_conn_drain(struct grpc_conn *conn)
{
	if (conn->drain != GRPC_DRAIN_NONE || conn->failed)
		return;
	conn->drain_ms = grpc_conn_now(conn) + GRPC_DRAIN_NOTICE_MS;
	grpc_session_drain(conn,
			   conn->server ? GRPC_DRAIN_NOTICE : GRPC_DRAIN_FINAL);
	grpc_conn_wake(conn);
}

bool grpc_conn_is_broken(const struct grpc_conn *conn)
{
	return conn->broken;
}

bool grpc_conn_is_idle(const struct grpc_conn *conn)
{
	return list_empty(&conn->calls);
}

const char *grpc_conn_why(const struct grpc_conn *conn)
{
	return conn->why[0] ? conn->why : "the connection is done";
}

bool grpc_conn_is_over(const struct grpc_conn *conn)
{
	if (!list_empty(&conn->ready) || conn->closing_due)
		return false;
	if (conn->aborted)
		return true;
	if (grpc_conn_wants_write(conn))
		return false;
	return conn->failed || (list_empty(&conn->calls) &&
				!nghttp2_session_want_read(conn->session));
}

/* ---- bytes ---- */

static void tell_silent(struct grpc_conn *conn, bool silent)
{
	if (conn->silent == silent)
		return;
	conn->silent = silent;
	if (conn->ops->silent && !conn->failed)
		conn->ops->silent(conn, silent, conn->arg);
}

void grpc_dispatch(struct grpc_conn *conn)
{
	if (conn->dispatching)
		return;
	conn->dispatching = true;
	for (;;) {
		if (conn->closing_due) {
			conn->closing_due = false;
			conn->closing_told = true;
			if (conn->ops->closing)
				conn->ops->closing(conn, conn->why, conn->arg);
		}
		if (list_empty(&conn->ready))
			break;
		grpc_call_dispatch(
			list_entry(conn->ready.next, struct grpc_call, ready));
	}
	conn->dispatching = false;
}

int grpc_conn_feed(struct grpc_conn *conn, const uint8_t *data, size_t len)
{
	ssize_t r;

	if (conn->failed)
		return -EPROTO;
	conn->heard_ms = grpc_conn_now(conn);
	conn->heard = true;
	conn->inside++;
	tell_silent(conn, false);
	r = nghttp2_session_mem_recv(conn->session, data, len);
	if (r < 0)
		terminate(conn,
			  r == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM
						   : NGHTTP2_PROTOCOL_ERROR,
			  nghttp2_strerror((int)r));
	else if (nghttp2_session_get_outbound_queue_size(conn->session) >
		 GRPC_OUTBOUND_FRAMES_MAX)
		terminate(conn, NGHTTP2_ENHANCE_YOUR_CALM,
			  "the peer sends and does not read");
	grpc_dispatch(conn);
	conn->inside--;
	return conn->failed ? -EPROTO : 0;
}

static size_t fill(struct grpc_conn *conn, uint8_t *buf, size_t size)
{
	size_t n = 0;

	while (n < size && !conn->aborted) {
		size_t part;

		if (!conn->pending_len) {
			ssize_t r = nghttp2_session_mem_send(conn->session,
							     &conn->pending);

			if (r < 0)
				grpc_conn_fail(conn, nghttp2_strerror((int)r));
			if (r <= 0)
				break;
			conn->pending_len = (size_t)r;
		}
		part = conn->pending_len < size - n ? conn->pending_len
						    : size - n;
		memcpy(buf + n, conn->pending, part);
		conn->pending += part;
		conn->pending_len -= part;
		n += part;
	}
	return n;
}

size_t grpc_conn_output(struct grpc_conn *conn, uint8_t *buf, size_t size)
{
	size_t n = 0, part;

	conn->inside++;
	grpc_dispatch(conn);
	/* Callbacks may have more to send. */
	do {
		part = fill(conn, buf + n, size - n);
		n += part;
		grpc_dispatch(conn);
	} while (part && n < size);
	conn->inside--;
	return n;
}

bool grpc_conn_wants_write(const struct grpc_conn *conn)
{
	return !conn->aborted &&
	       (conn->pending_len || nghttp2_session_want_write(conn->session));
}

/* ---- time ---- */

static void tick_calls(struct grpc_conn *conn, uint64_t now)
{
	if (now < conn->deadline_ms)
		return;
	conn->deadline_ms = UINT64_MAX;
	list_for_each(&conn->calls, call, struct grpc_call, link)
	{
		if (call->done_due)
			continue;
		if (call->deadline_ms <= now)
			grpc_call_fail(call, GRPC_DEADLINE_EXCEEDED,
				       "the deadline has passed");
		else if (call->deadline_ms < conn->deadline_ms)
			conn->deadline_ms = call->deadline_ms;
	}
}

static void ask(struct grpc_conn *conn, uint64_t now)
{
	nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
	conn->asked_ms = now;
	conn->asked++;
}

/* We may be late ourselves, with an answer not read yet: each step is one tick,
 * and the last waits once more when it came late.
 */
static void ask_again(struct grpc_conn *conn, uint64_t now)
{
	const struct grpc_settings *set = &conn->settings;

	if (!set->ask_ms || conn->silent || now - conn->asked_ms < set->ask_ms)
		return;
	if (conn->asked < set->asks)
		ask(conn, now);
	else if (now - conn->asked_ms >= 2 * (uint64_t)set->ask_ms)
		conn->asked_ms = now;
	else
		tell_silent(conn, true);
}

static void tick_keepalive(struct grpc_conn *conn, uint64_t now)
{
	const struct grpc_settings *set = &conn->settings;

	if (conn->heard) {
		conn->heard = false;
		conn->ping_out = false;
		conn->asked = 0;
		if (!conn->hooks || !conn->hooks->clock)
			conn->heard_ms = now;
	}
	if (!set->keepalive_ms || conn->failed)
		return;
	if (conn->ping_out) {
		if (now - conn->ping_ms >= set->keepalive_timeout_ms)
			grpc_conn_abort(conn, "no answer to a keepalive ping");
		else
			ask_again(conn, now);
	} else if (now - conn->heard_ms >= set->keepalive_ms) {
		conn->ping_out = true;
		conn->ping_ms = now;
		ask(conn, now);
	}
}

int grpc_conn_tick(struct grpc_conn *conn, uint64_t now_ms)
{
	if (now_ms > conn->now_ms)
		conn->now_ms = now_ms;
	now_ms = conn->now_ms;
	conn->inside++;
	tick_calls(conn, now_ms);
	tick_keepalive(conn, now_ms);
	if (conn->drain == GRPC_DRAIN_NOTICE && now_ms >= conn->drain_ms)
		grpc_session_drain(conn, GRPC_DRAIN_FINAL);
	grpc_dispatch(conn);
	conn->inside--;
	return conn->failed ? -EPROTO : 0;
}

static uint64_t next_keepalive(const struct grpc_conn *conn)
{
	const struct grpc_settings *set = &conn->settings;
	uint64_t dead, again;

	if (!set->keepalive_ms || conn->failed)
		return UINT64_MAX;
	if (!conn->ping_out || conn->heard)
		return conn->heard_ms + set->keepalive_ms;
	dead = conn->ping_ms + set->keepalive_timeout_ms;
	again = conn->asked_ms + set->ask_ms;
	return set->ask_ms && !conn->silent && again < dead ? again : dead;
}

uint64_t grpc_conn_next_ms(const struct grpc_conn *conn)
{
	uint64_t next = conn->deadline_ms;
	uint64_t at = next_keepalive(conn);

	if (!list_empty(&conn->ready) || conn->closing_due)
		return conn->now_ms;
	if (at < next)
		next = at;
	if (conn->drain == GRPC_DRAIN_NOTICE && conn->drain_ms < next)
		next = conn->drain_ms;
	return next;
}
