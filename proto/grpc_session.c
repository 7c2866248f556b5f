/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_session.c - between nghttp2's callbacks and calls
 *
 * Nothing here calls an owner back; see grpc_internal.h.
 */
#include "grpc_internal.h"

#include <stdio.h>

#define USER_AGENT "grpc-c-sandboxd/1"

static const uint8_t drain_ping[8] = "drained?";

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- sending ---- */

/* The end of a response whose headers went before. */
static void submit_trailers(struct grpc_call *call)
{
	struct grpc_status_fields buf;
	nghttp2_nv nv[3];
	size_t n = grpc_status_nv(nv, 0, &buf, &call->status);

	nghttp2_submit_trailer(call->conn->session, call->stream_id, nv, n);
}

static size_t take_queued(struct grpc_call *call, uint8_t *buf, size_t size)
{
	size_t n = 0;

	while (n < size && call->out) {
		struct grpc_msg *msg = call->out;
		size_t part = msg->len - msg->off;

		if (part > size - n)
			part = size - n;
		memcpy(buf + n, msg->data + msg->off, part);
		msg->off += part;
		n += part;
		if (msg->off < msg->len)
			break;
		call->out = msg->next;
		if (!call->out)
			call->out_last = &call->out;
		free(msg);
	}
	call->queued -= n;
	return n;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id,
		       uint8_t *buf, size_t size, uint32_t *flags,
		       nghttp2_data_source *source, void *arg)
{
	struct grpc_call *call = call_of(session, stream_id);
	size_t n;

	(void)source;
	(void)arg;
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = take_queued(call, buf, size);
	if (call->blocked && call->queued < GRPC_SEND_LOW_WATER) {
		call->blocked = false;
		call->writable_due = true;
		grpc_call_ready(call);
	}
	if (!call->out && call->send_closed) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (call->conn->server) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(call);
		}
	} else if (!n) {
		call->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static const nghttp2_data_provider provider = { .read_callback = on_read };

int grpc_call_submit_request(struct grpc_call *call, const char *path,
			     uint64_t timeout_ms)
{
	char timeout[16];
	nghttp2_nv nv[9];
	size_t n = 0;
	int32_t id;

	nv[n++] = grpc_nv(":method", "POST");
	nv[n++] = grpc_nv(":scheme", "http");
	nv[n++] = grpc_nv(":path", path);
	nv[n++] = grpc_nv(":authority", "localhost");
	if (timeout_ms) {
		grpc_timeout_format(timeout, timeout_ms);
		nv[n++] = grpc_nv("grpc-timeout", timeout);
	}
	nv[n++] = grpc_nv("te", "trailers");
	nv[n++] = grpc_nv("content-type", "application/grpc");
	nv[n++] = grpc_nv("user-agent", USER_AGENT);
	nv[n++] = grpc_nv("grpc-accept-encoding", "identity");
	id = nghttp2_submit_request(call->conn->session, NULL, nv, n, &provider,
				    call);
	if (id < 0)
		return -1;
	call->stream_id = id;
	call->headers_out = true;
	return 0;
}

static void submit_response(struct grpc_call *call)
{
	struct grpc_status_fields buf;
	bool only = call->finished && !call->out;
	nghttp2_nv nv[6];
	size_t n = 0;

	nv[n++] = grpc_nv(":status", "200");
	nv[n++] = grpc_nv("content-type", "application/grpc");
	nv[n++] = grpc_nv("grpc-accept-encoding", "identity");
	if (only)
		n = grpc_status_nv(nv, n, &buf, &call->status);
	nghttp2_submit_response(call->conn->session, call->stream_id, nv, n,
				only ? NULL : &provider);
	call->headers_out = true;
}

void grpc_call_submit_data(struct grpc_call *call)
{
	if (call->stream_gone)
		return;
	if (!call->headers_out) {
		submit_response(call);
	} else if (call->deferred) {
		call->deferred = false;
		nghttp2_session_resume_data(call->conn->session,
					    call->stream_id);
	}
	grpc_conn_wake(call->conn);
}

void grpc_call_forget_stream(struct grpc_call *call)
{
	if (!call->stream_gone)
		nghttp2_session_set_stream_user_data(call->conn->session,
						     call->stream_id, NULL);
	call->stream_gone = true;
}

void grpc_call_submit_reset(struct grpc_call *call, uint32_t h2_error)
{
	if (call->stream_gone)
		return;
	nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE,
				  call->stream_id, h2_error);
	grpc_call_forget_stream(call);
	grpc_conn_wake(call->conn);
}

/* ---- a server's requests ---- */

/* No gRPC: answer in HTTP, and let nobody see it. */
static void refuse_http(struct grpc_call *call, const char *http_status)
{
	nghttp2_nv nv = grpc_nv(":status", http_status);

	nghttp2_submit_response(call->conn->session, call->stream_id, &nv, 1,
				NULL);
	call->headers_out = true;
	call->finished = true;
	call->send_closed = true;
}

static void refuse(struct grpc_call *call, enum grpc_code code,
		   const char *text)
{
	grpc_status_set(&call->status, code, NULL, "%s", text);
	call->finished = true;
	call->send_closed = true;
	grpc_call_submit_data(call);
}

static void judge_request(struct grpc_call *call)
{
	const struct grpc_head *head = &call->head;

	call->headers_in = true;
	if (head->size > GRPC_HEADERS_MAX)
		refuse(call, GRPC_RESOURCE_EXHAUSTED, "too many headers");
	else if (!head->post)
		refuse_http(call, "405");
	else if (!head->grpc_type)
		refuse_http(call, "415");
	else if (head->path_long || head->path[0] != '/')
		refuse(call, GRPC_UNIMPLEMENTED, "no such method");
	else if (head->encoded)
		refuse(call, GRPC_UNIMPLEMENTED, "compression is not offered");
	else if (head->bad_timeout)
		refuse(call, GRPC_INVALID_ARGUMENT,
		       "grpc-timeout is malformed");
	else
		call->accept_due = true;
	if (call->accept_due)
		grpc_call_set_deadline(call, head->timeout_ms);
	grpc_call_ready(call);
}

/* ---- a client's responses ---- */

static void judge_response(struct grpc_call *call, bool last)
{
	const struct grpc_head *head = &call->head;
	bool first = !call->headers_in;

	/* Informational: the real one follows. */
	if (first && !last && head->http_status / 100 == 1)
		return;
	call->headers_in = true;
	if (head->size > GRPC_HEADERS_MAX) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
			       "the answer has too many headers");
		return;
	}
	if (first && !head->have_status && head->http_status != 200) {
		char text[48];

		snprintf(text, sizeof(text), "HTTP status %u",
			 head->http_status);
		grpc_call_fail(call, grpc_code_of_http(head->http_status),
			       text);
		return;
	}
	if (first && !head->grpc_type) {
		grpc_call_fail(call, GRPC_UNKNOWN, "the answer is not gRPC");
		return;
	}
	if (first && head->encoded) {
		grpc_call_fail(call, GRPC_INTERNAL, "the answer is compressed");
		return;
	}
	if (last && !head->have_status)
		grpc_status_set(&call->status, GRPC_UNKNOWN, NULL,
				"the answer ended without a status");
}

static void end_of_input(struct grpc_call *call)
{
	call->remote_ended = true;
	grpc_call_ready(call);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_headers(nghttp2_session *session,
			    const nghttp2_frame *frame, void *arg)
{
	nghttp2_extpri fair = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY,
				.inc = 1 };
	struct grpc_conn *conn = arg;
	struct grpc_call *call = call_of(session, frame->hd.stream_id);

	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (!conn->server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		if (call && !conn->server)
			grpc_head_init(&call->head);
		return 0;
	}
	if (conn->failed)
		return 0;
	call = grpc_call_new(conn);
	call->stream_id = frame->hd.stream_id;
	nghttp2_session_set_stream_user_data(session, call->stream_id, call);
	/* Without it the oldest stream would be served to its end first. */
	nghttp2_session_change_extpri_stream_priority(session, call->stream_id,
						      &fair, 1);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len, uint8_t flags, void *arg)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);

	(void)flags;
	(void)arg;
	/* A client's trailers say nothing to us. */
	if (!call || frame->hd.type != NGHTTP2_HEADERS ||
	    (call->conn->server && call->headers_in))
		return 0;
	grpc_head_field(&call->head, &call->status, name, name_len, value,
			value_len);
	return 0;
}

static void on_headers(struct grpc_call *call, const nghttp2_frame *frame)
{
	bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!call->conn->server)
		judge_response(call, last);
	else if (!call->headers_in)
		judge_request(call);
	if (last)
		end_of_input(call);
}

static void on_goaway(struct grpc_conn *conn, const nghttp2_goaway *frame)
{
	char debug[64];
	char why[128];

	if (frame->error_code == NGHTTP2_NO_ERROR) {
		grpc_conn_closing(conn, "the peer is closing the connection");
		return;
	}
	grpc_text_copy(debug, sizeof(debug), frame->opaque_data,
		       frame->opaque_data_len);
	snprintf(why, sizeof(why), "the peer gave up: %s %s",
		 nghttp2_http2_strerror(frame->error_code), debug);
	grpc_conn_closing(conn, why);
}

/* The client has seen the first GOAWAY: what it sent before that is in. */
static void on_ping(struct grpc_conn *conn, const nghttp2_ping *frame)
{
	if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) ||
	    conn->drain != GRPC_DRAIN_NOTICE ||
	    memcmp(frame->opaque_data, drain_ping, sizeof(drain_ping)) != 0)
		return;
	grpc_session_drain(conn, GRPC_DRAIN_FINAL);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
			 void *arg)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_conn *conn = arg;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (call)
			on_headers(call, frame);
		break;
	case NGHTTP2_DATA:
		if (call && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
			end_of_input(call);
		break;
	case NGHTTP2_RST_STREAM:
		if (call)
			grpc_conn_count_reset(conn);
		break;
	case NGHTTP2_PING:
		on_ping(conn, &frame->ping);
		break;
	case NGHTTP2_GOAWAY:
		on_goaway(conn, &frame->goaway);
		break;
	default:
		break;
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
		   const uint8_t *data, size_t len, void *arg)
{
	struct grpc_call *call = call_of(session, stream_id);

	(void)flags;
	(void)arg;
	nghttp2_session_consume_connection(session, len);
	if (!call || call->finished || call->done_due)
		return 0;
	if (!call->conn->server && !call->headers_in)
		return 0;
	if (call->conn->held + len > GRPC_HELD_MAX) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
			       "the connection's calls hold too much");
		return 0;
	}
	call->received += len;
	grpc_in_append(&call->in, data, len);
	grpc_call_account(call);
	grpc_call_ready(call);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id,
			   uint32_t error_code, void *arg)
{
	struct grpc_call *call = call_of(session, stream_id);
	struct grpc_conn *conn = arg;

	if (!call)
		return 0;
	grpc_call_forget_stream(call);
	if (conn->server && call->trailers_out)
		grpc_call_end_status(call, &call->status);
	else if (conn->server)
		grpc_call_end(call, GRPC_CANCELLED, "the client went away");
	else if (!call->remote_ended)
		grpc_call_end(call, grpc_code_of_h2(error_code),
			      error_code == NGHTTP2_REFUSED_STREAM
				      ? "the server takes no more calls"
				      : "the server reset the call");
	grpc_call_ready(call);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
			 void *arg)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_conn *conn = arg;
	char why[128];

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (!call || !conn->server ||
		    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
			break;
		call->trailers_out = true;
		/* The client need not send what nobody will read. */
		if (!call->remote_ended)
			nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
						  frame->hd.stream_id,
						  NGHTTP2_NO_ERROR);
		break;
	case NGHTTP2_RST_STREAM:
		/* What else but these two the peer has brought about. */
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
		    frame->rst_stream.error_code != NGHTTP2_CANCEL)
			grpc_conn_count_reset(conn);
		break;
	case NGHTTP2_GOAWAY:
		if (frame->goaway.error_code == NGHTTP2_NO_ERROR)
			break;
		snprintf(why, sizeof(why), "HTTP/2: %s",
			 conn->h2_error[0] ? conn->h2_error
					   : nghttp2_http2_strerror(
						     frame->goaway.error_code));
		conn->broken = true;
		grpc_conn_fail(conn, why);
		break;
	default:
		break;
	}
	return 0;
}

/* A request that could not be sent any more. */
static int on_frame_not_send(nghttp2_session *session,
			     const nghttp2_frame *frame, int error, void *arg)
{
	struct grpc_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_conn *conn = arg;

	(void)error;
	if (!conn->server && call && frame->hd.type == NGHTTP2_HEADERS)
		grpc_call_end(call, GRPC_UNAVAILABLE,
			      "the connection is closing");
	return 0;
}

/* A stream over the limit is refused before there is a call to count it by. */
static int on_invalid_frame(nghttp2_session *session,
			    const nghttp2_frame *frame, int error, void *arg)
{
	(void)session;
	(void)frame;
	if (error == NGHTTP2_ERR_REFUSED_STREAM)
		grpc_conn_count_reset(arg);
	return 0;
}

static int on_error(nghttp2_session *session, int code, const char *text,
		    size_t len, void *arg)
{
	struct grpc_conn *conn = arg;

	(void)session;
	(void)code;
	grpc_text_copy(conn->h2_error, sizeof(conn->h2_error),
		       (const uint8_t *)text, len);
	return 0;
}

/* ---- the session ---- */

void grpc_session_drain(struct grpc_conn *conn, enum grpc_drain step)
{
	nghttp2_session *session = conn->session;

	conn->drain = step;
	if (step == GRPC_DRAIN_NOTICE) {
		nghttp2_submit_shutdown_notice(session);
		nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, drain_ping);
		return;
	}
	nghttp2_submit_goaway(
		session, NGHTTP2_FLAG_NONE,
		conn->server ? nghttp2_session_get_last_proc_stream_id(session)
			     : 0,
		NGHTTP2_NO_ERROR, NULL, 0);
}

static void submit_settings(struct grpc_conn *conn)
{
	nghttp2_settings_entry iv[4];
	size_t n = 0;

	iv[n++] =
		(nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
					  GRPC_STREAM_WINDOW };
	iv[n++] =
		(nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
					  GRPC_HEADERS_MAX };
	if (conn->server) {
		iv[n++] = (nghttp2_settings_entry){
			NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
			conn->settings.streams_max
		};
		iv[n++] = (nghttp2_settings_entry){
			NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1
		};
	} else {
		iv[n++] =
			(nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH,
						  0 };
	}
	nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, iv, n);
	nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE,
					      0, GRPC_CONN_WINDOW);
}

void grpc_session_start(struct grpc_conn *conn)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	int r;

	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(
		cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb,
							       on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(
		cb, on_frame_not_send);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
		cb, on_invalid_frame);
	nghttp2_session_callbacks_set_error_callback2(cb, on_error);

	nghttp2_option_set_no_auto_window_update(opt, 1);
	/* Ended streams are not kept for a priority tree nobody uses. */
	nghttp2_option_set_no_closed_streams(opt, 1);
	/* grpc_conn_count_reset() is stricter, and also counts what the peer
	 * makes us reset.
	 */
	nghttp2_option_set_stream_reset_rate_limit(opt, UINT32_MAX, UINT32_MAX);
	r = conn->server
		    ? nghttp2_session_server_new2(&conn->session, cb, conn, opt)
		    : nghttp2_session_client_new2(&conn->session, cb, conn,
						  opt);
	if (r)
		abort();
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	submit_settings(conn);
}
