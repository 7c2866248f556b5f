/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_call.c - one call, from either end
 *
 * Theory of operation
 * ===================
 *
 * A call's memory ends only in grpc_call_dispatch(), after @done. Before that
 * the stream may be gone (the peer reset it) or the call may be decided
 * (done_due) while the stream still has trailers to write: a server that
 * answers DEADLINE_EXCEEDED tells its owner at once and keeps the call, without
 * an owner, until they are written.
 */
#include "grpc_internal.h"

#include <errno.h>

struct grpc_call *grpc_call_new(struct grpc_conn *conn)
{
	struct grpc_call *call = grpc_xcalloc(sizeof(*call));

	call->conn = conn;
	call->deadline_ms = UINT64_MAX;
	call->out_last = &call->out;
	grpc_head_init(&call->head);
	list_init(&call->ready);
	list_add_tail(&conn->calls, &call->link);
	return call;
}

static void call_free(struct grpc_call *call)
{
	grpc_call_forget_stream(call);
	grpc_call_drop_out(call);
	grpc_in_free(&call->in);
	grpc_call_account(call);
	list_del(&call->ready);
	list_del(&call->link);
	free(call);
}

void grpc_call_ready(struct grpc_call *call)
{
	if (list_empty(&call->ready))
		list_add_tail(&call->conn->ready, &call->ready);
	grpc_conn_wake(call->conn);
}

void grpc_call_account(struct grpc_call *call)
{
	size_t held = grpc_in_left(&call->in);

	call->conn->held += held - call->held;
	call->held = held;
}

void grpc_call_drop_out(struct grpc_call *call)
{
	while (call->out) {
		struct grpc_msg *msg = call->out;

		call->out = msg->next;
		free(msg);
	}
	call->out_last = &call->out;
	call->queued = 0;
}

void grpc_call_set_deadline(struct grpc_call *call, uint64_t timeout_ms)
{
	struct grpc_conn *conn = call->conn;
	uint64_t now = grpc_conn_now(conn);

	call->deadline_ms =
		timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
	if (call->deadline_ms < conn->deadline_ms)
		conn->deadline_ms = call->deadline_ms;
}

/* ---- the end ---- */

void grpc_call_end_status(struct grpc_call *call, const struct grpc_status *st)
{
	if (call->done_due)
		return;
	call->done_due = true;
	call->send_closed = true;
	call->done_status = *st;
	grpc_call_ready(call);
}

void grpc_call_end(struct grpc_call *call, enum grpc_code code,
		   const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, code, NULL, "%s", text);
	grpc_call_end_status(call, &st);
}

void grpc_call_fail(struct grpc_call *call, enum grpc_code code,
		    const char *text)
{
	bool cut = call->out && call->out->off;

	if (call->done_due)
		return;
	grpc_call_drop_out(call);
	grpc_call_end(call, code, text);
	if (!call->conn->server || cut || call->conn->failed) {
		grpc_call_submit_reset(call, NGHTTP2_CANCEL);
		return;
	}
	call->status = call->done_status;
	call->finished = true;
	grpc_call_submit_data(call);
}

void grpc_call_cancel(struct grpc_call *call)
{
	if (call->done_due)
		return;
	grpc_call_drop_out(call);
	grpc_call_submit_reset(call, NGHTTP2_CANCEL);
	grpc_call_end(call, GRPC_CANCELLED, "cancelled");
}

/* ---- dispatch ---- */

static bool may_deliver(const struct grpc_call *call)
{
	return !call->paused && !call->finished && !call->done_due &&
	       (call->accepted || !call->conn->server);
}

/* Let the peer send as much as was taken from it. */
static void open_window(struct grpc_call *call)
{
	size_t taken = call->paused ? call->parsed : call->received;

	if (call->finished || call->done_due || call->stream_gone ||
	    taken <= call->consumed)
		return;
	nghttp2_session_consume_stream(call->conn->session, call->stream_id,
				       taken - call->consumed);
	call->consumed = taken;
}

static void bad_message(struct grpc_call *call, int error)
{
	switch (error) {
	case -EMSGSIZE:
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
			       "a message is over the limit of 4 MiB");
		break;
	case -ENOTSUP:
		grpc_call_fail(call,
			       call->conn->server ? GRPC_UNIMPLEMENTED
						  : GRPC_INTERNAL,
			       "a message is compressed");
		break;
	default:
		grpc_call_fail(call, GRPC_INTERNAL,
			       "a message has no valid prefix");
		break;
	}
}

static void deliver(struct grpc_call *call)
{
	const uint8_t *data;
	size_t len;
	int r = 0;

	while (may_deliver(call)) {
		r = grpc_in_next(&call->in, &data, &len);
		if (r <= 0)
			break;
		call->parsed = call->received - grpc_in_left(&call->in);
		if (call->ops && call->ops->message)
			call->ops->message(call, data, len, call->arg);
	}
	if (r < 0)
		bad_message(call, r);
	/* What will never be delivered is not kept until the stream ends. */
	if (call->finished || call->done_due)
		grpc_in_free(&call->in);
	grpc_call_account(call);
	open_window(call);
}

static void deliver_end(struct grpc_call *call)
{
	if (!call->remote_ended || call->half_close_told || !may_deliver(call))
		return;
	call->half_close_told = true;
	if (grpc_in_left(&call->in) && call->status.code == GRPC_OK) {
		grpc_call_fail(call, GRPC_INTERNAL, "a message is cut short");
	} else if (!call->conn->server) {
		if (!call->head.have_status && call->status.code == GRPC_OK)
			grpc_status_set(&call->status, GRPC_UNKNOWN, NULL,
					"the answer ended without a status");
		grpc_call_end_status(call, &call->status);
		grpc_call_submit_reset(call, NGHTTP2_NO_ERROR);
	} else if (call->ops && call->ops->half_close) {
		call->ops->half_close(call, call->arg);
	}
}

static void offer(struct grpc_call *call)
{
	struct grpc_conn *conn = call->conn;
	struct grpc_status st;

	call->accept_due = false;
	if (call->done_due)
		return;
	if (conn->ops->accept)
		conn->ops->accept(call, call->head.path, conn->arg);
	if (call->accepted || call->finished || call->done_due)
		return;
	grpc_status_set(&st, GRPC_UNIMPLEMENTED, NULL, "no such method");
	grpc_call_finish(call, &st);
}

void grpc_call_dispatch(struct grpc_call *call)
{
	/* Stays out of the list until something new comes about. */
	list_del(&call->ready);
	if (call->accept_due)
		offer(call);
	deliver(call);
	deliver_end(call);
	if (call->writable_due) {
		call->writable_due = false;
		if (!call->send_closed && call->ops && call->ops->writable)
			call->ops->writable(call, call->arg);
	}
	if (call->done_due && !call->done_told) {
		call->done_told = true;
		if (call->ops)
			call->ops->done(call, &call->done_status, call->arg);
		call->ops = NULL;
		if (call->watch.fn)
			call->watch.fn(&call->done_status, call->watch.name,
				       call->watch.since_us, call->watch.arg);
	}
	if (call->done_told && (call->stream_gone || call->conn->failed))
		call_free(call);
}

/* ---- what owners do ---- */

void grpc_call_watch(struct grpc_call *call, grpc_watch_fn fn, const char *name,
		     uint64_t since_us, void *arg)
{
	call->watch.fn = fn;
	call->watch.name = name;
	call->watch.since_us = since_us;
	call->watch.arg = arg;
}

struct grpc_call *grpc_call_start(struct grpc_conn *conn, const char *path,
				  uint64_t timeout_ms,
				  const struct grpc_call_ops *ops, void *arg)
{
	struct grpc_call *call;

	if (conn->server || conn->failed || conn->drain != GRPC_DRAIN_NONE ||
	    !nghttp2_session_check_request_allowed(conn->session))
		return NULL;
	call = grpc_call_new(conn);
	call->ops = ops;
	call->arg = arg;
	if (timeout_ms)
		grpc_call_set_deadline(call, timeout_ms);
	if (grpc_call_submit_request(call, path, timeout_ms) < 0) {
		call->stream_gone = true;
		call_free(call);
		return NULL;
	}
	grpc_conn_wake(conn);
	return call;
}

void grpc_call_accept(struct grpc_call *call, const struct grpc_call_ops *ops,
		      void *arg)
{
	if (call->accepted || call->done_told)
		return;
	call->ops = ops;
	call->arg = arg;
	call->accepted = true;
}

int grpc_call_send(struct grpc_call *call, const uint8_t *data, size_t len)
{
	struct grpc_msg *msg;

	if (len > GRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	if (call->send_closed || call->done_due || call->stream_gone)
		return -EPIPE;
	msg = grpc_xrealloc(NULL, sizeof(*msg) + GRPC_PREFIX_LEN + len);
	msg->next = NULL;
	msg->off = 0;
	msg->len = GRPC_PREFIX_LEN + len;
	grpc_prefix_write(msg->data, len);
	if (len)
		memcpy(msg->data + GRPC_PREFIX_LEN, data, len);
	*call->out_last = msg;
	call->out_last = &msg->next;
	call->queued += msg->len;
	grpc_call_submit_data(call);
	if (call->queued < GRPC_SEND_HIGH_WATER)
		return 0;
	call->blocked = true;
	return 1;
}

void grpc_call_half_close(struct grpc_call *call)
{
	if (call->send_closed || call->conn->server)
		return;
	call->send_closed = true;
	grpc_call_submit_data(call);
}

void grpc_call_finish(struct grpc_call *call, const struct grpc_status *st)
{
	if (call->finished || call->done_due || !call->conn->server)
		return;
	call->finished = true;
	call->send_closed = true;
	call->status = *st;
	grpc_call_submit_data(call);
}

void grpc_call_pause(struct grpc_call *call, bool paused)
{
	if (call->paused == paused)
		return;
	call->paused = paused;
	if (!paused)
		grpc_call_ready(call);
}

uint64_t grpc_call_time_left(const struct grpc_call *call)
{
	uint64_t now = grpc_conn_now(call->conn);

	if (call->deadline_ms == UINT64_MAX)
		return UINT64_MAX;
	return call->deadline_ms > now ? call->deadline_ms - now : 0;
}

size_t grpc_call_queued(const struct grpc_call *call)
{
	return call->queued;
}

struct grpc_conn *grpc_call_conn(const struct grpc_call *call)
{
	return call->conn;
}

void *grpc_call_arg(const struct grpc_call *call)
{
	return call->arg;
}
