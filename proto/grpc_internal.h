/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_internal.h - what the files of the gRPC layer share
 *
 * Theory of operation
 * ===================
 *
 * nghttp2's callbacks (grpc_session.c) only note what happened: bytes go to the
 * call's struct grpc_in, flags are set, and the call is put on the connection's
 * ready list. The owner's callbacks run afterwards, from grpc_dispatch(), when
 * no nghttp2 function is on the stack. So an owner may do anything to any call
 * from a callback, and a call can end in one place only: at the end of its own
 * dispatch.
 *
 * The functions of a call do the same the other way: they queue, flag and put
 * the call on the ready list, and never call back.
 *
 * A call's memory is bounded by what the peer's window allows: a stream's bytes
 * are acknowledged when the owner is not paused, so a call holds at most
 * GRPC_STREAM_WINDOW plus one message of GRPC_MESSAGE_MAX. The connection's
 * window is always opened at once, so that a paused call stops nobody else.
 *
 * The call of a stream is its user data, set to NULL when the call is freed
 * first: what nghttp2 still says about that stream is then for nobody.
 */
#ifndef GRPC_INTERNAL_H
#define GRPC_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "grpc.h"

#define GRPC_PREFIX_LEN 5
/* Percent-encoding triples; base64 of the details stays below this as well. */
#define GRPC_MESSAGE_ENC_MAX (GRPC_STATUS_MESSAGE_MAX * 3 + 1)
#define GRPC_DETAILS_ENC_MAX 2048
#define GRPC_PATH_MAX	     256
/* The longest timeout that grpc-timeout's eight digits of hours can say. */
#define GRPC_TIMEOUT_MAX_MS (99999999ull * 3600000ull)
/* nghttp2's own frames (acknowledgements, resets) that a peer which does not
 * read may make us hold.
 */
#define GRPC_OUTBOUND_FRAMES_MAX 4096
/* The second GOAWAY of a drain goes out after so long even unanswered. */
#define GRPC_DRAIN_NOTICE_MS 1000

static inline void *grpc_xrealloc(void *p, size_t size)
{
	p = realloc(p, size);
	if (!p)
		abort();
	return p;
}

static inline void *grpc_xcalloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		abort();
	return p;
}

/* ---- grpc_frame.c: length-prefixed messages out of a byte stream ---- */

struct grpc_in {
	uint8_t *buf;
	size_t off, len, cap; /* bytes off..len are not taken yet */
};

void grpc_in_free(struct grpc_in *in);
void grpc_in_append(struct grpc_in *in, const uint8_t *data, size_t len);
size_t grpc_in_left(const struct grpc_in *in);

/* 1: one message, borrowed until the next append; 0: not whole yet; -EMSGSIZE:
 * over GRPC_MESSAGE_MAX; -ENOTSUP: compressed; -EPROTO: no prefix at all.
 */
int grpc_in_next(struct grpc_in *in, const uint8_t **ret, size_t *ret_len);

void grpc_prefix_write(uint8_t dst[GRPC_PREFIX_LEN], size_t len);

/* ---- grpc_status.c ---- */

/* @size 0 is not allowed; always terminated; invalid UTF-8 and control
 * characters become '?'; cut at a character.
 */
void grpc_text_copy(char *dst, size_t size, const uint8_t *src, size_t len);

size_t grpc_message_encode(char *dst, size_t size, const char *src);
void grpc_message_decode(char *dst, size_t size, const uint8_t *src,
			 size_t len);

/* Length of the header value in @dst, 0: there are no details to send. */
size_t grpc_details_encode(char *dst, size_t size,
			   const struct grpc_status *st);
/* Sets reason, field and retry_ms from what is there. 0 or -EBADMSG. */
int grpc_details_decode(struct grpc_status *st, const uint8_t *src, size_t len);

enum grpc_code grpc_code_parse(const uint8_t *src, size_t len);
enum grpc_code grpc_code_of_http(unsigned int http_status);
enum grpc_code grpc_code_of_h2(uint32_t h2_error);

/* ---- grpc_head.c: what the header lists say ---- */

struct grpc_head {
	char path[GRPC_PATH_MAX]; /* request */
	size_t size;		  /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
	uint64_t timeout_ms;	  /* UINT64_MAX: none */
	unsigned int http_status; /* response */
	bool post, path_long, grpc_type, bad_timeout, encoded;
	bool have_status; /* grpc-status came */
};

void grpc_head_init(struct grpc_head *head);
/* One field; @st takes grpc-status, -message and -details-bin. */
void grpc_head_field(struct grpc_head *head, struct grpc_status *st,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len);

/* "100m"; @dst has 16 bytes. 0 or -EINVAL for parse. */
void grpc_timeout_format(char *dst, uint64_t timeout_ms);
int grpc_timeout_parse(const uint8_t *src, size_t len, uint64_t *ret_ms);

/* The three fields that end a call; @nv takes up to three from @n on, @buf
 * holds the values until they are submitted. Returns the new count.
 */
struct grpc_status_fields {
	char code[4];
	char message[GRPC_MESSAGE_ENC_MAX];
	char details[GRPC_DETAILS_ENC_MAX];
};
size_t grpc_status_nv(nghttp2_nv *nv, size_t n, struct grpc_status_fields *buf,
		      const struct grpc_status *st);

static inline nghttp2_nv grpc_nv(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = strlen(name),
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = strlen(value),
	};
}

/* ---- calls and connections ---- */

struct grpc_msg {
	struct grpc_msg *next;
	size_t len, off;
	uint8_t data[];
};

struct grpc_call {
	struct list link;  /* in conn->calls */
	struct list ready; /* in conn->ready, or empty */
	struct grpc_conn *conn;
	const struct grpc_call_ops *ops;
	void *arg;
	int32_t stream_id;
	uint64_t deadline_ms; /* UINT64_MAX: none */

	struct grpc_head head;
	/* How it ends: client: as headers came; server: as was finished. */
	struct grpc_status status;

	/* receiving */
	struct grpc_in in;
	size_t received, consumed; /* of the stream's window, ever */
	size_t held;		   /* its part of conn->held */
	size_t parsed;		   /* of @received, taken out of @in */
	bool paused;
	bool headers_in;   /* client: the response's; server: the request's */
	bool remote_ended; /* END_STREAM came */
	bool half_close_told;

	/* sending */
	struct grpc_msg *out, **out_last;
	size_t queued;
	bool headers_out; /* submitted */
	bool deferred;	  /* nghttp2 waits for resume */
	bool send_closed; /* half_close or finish */
	bool trailers_out;
	bool blocked;	   /* send returned 1 */
	bool writable_due; /* and now there is room */

	/* life */
	bool accept_due; /* server: tell the connection's owner */
	bool accepted;
	bool finished;	  /* server: finish was called */
	bool stream_gone; /* closed, or reset by us: nothing is heard of it */
	bool done_due;	  /* @done_status is final */
	bool done_told;
	struct grpc_status done_status;
	struct {
		grpc_watch_fn fn;
		const char *name;
		uint64_t since_us;
		void *arg;
	} watch;
};

enum grpc_drain {
	GRPC_DRAIN_NONE = 0,
	GRPC_DRAIN_NOTICE, /* the first GOAWAY is out; its ping is not back */
	GRPC_DRAIN_FINAL,
};

struct grpc_conn {
	nghttp2_session *session;
	const struct grpc_conn_ops *ops;
	void *arg;
	const struct grpc_hooks *hooks;
	void *hooks_arg;
	struct grpc_settings settings;
	bool server;

	struct list calls;
	struct list ready;
	unsigned int inside; /* feed, output, tick: no need to wake */
	bool dispatching;

	const uint8_t *pending; /* of nghttp2's last frame, not given out yet */
	size_t pending_len;

	size_t held; /* bytes in all calls' @in */

	uint64_t now_ms;
	uint64_t deadline_ms; /* no call's is earlier */
	uint64_t heard_ms;    /* when bytes came last */
	bool heard;	      /* bytes came since the last tick */
	uint64_t ping_ms; /* the first that has no answer */
	bool ping_out;
	uint64_t asked_ms; /* the last of them */
	uint32_t asked;
	bool silent; /* as was told */

	/* Token bucket of the peer's resets, in thousandths. */
	uint64_t reset_tokens;
	uint64_t reset_ms;

	enum grpc_drain drain;
	uint64_t drain_ms;
	bool broken;	   /* the peer broke the rules */
	bool failed;	   /* no more input, calls are ended */
	bool aborted;	   /* and no more output */
	char h2_error[96]; /* nghttp2's last complaint */
	bool closing_told;
	bool closing_due;
	char why[128];
};

/* grpc_session.c */
void grpc_session_start(struct grpc_conn *conn);
/* One of the two steps of a drain. */
void grpc_session_drain(struct grpc_conn *conn, enum grpc_drain step);
/* Client: the request's headers. 0, or -1: this connection takes no more. */
int grpc_call_submit_request(struct grpc_call *call, const char *path,
			     uint64_t timeout_ms);
/* Something was queued, or the sending side closed: have nghttp2 look. */
void grpc_call_submit_data(struct grpc_call *call);
/* RST_STREAM; nothing is heard of the stream any more. */
void grpc_call_submit_reset(struct grpc_call *call, uint32_t h2_error);
void grpc_call_forget_stream(struct grpc_call *call);

/* grpc_conn.c */
uint64_t grpc_conn_now(struct grpc_conn *conn);
void grpc_conn_wake(struct grpc_conn *conn);
void grpc_conn_fail(struct grpc_conn *conn, const char *why);
void grpc_conn_closing(struct grpc_conn *conn, const char *why);
/* One of the peer's resets, or one that it made us send. */
void grpc_conn_count_reset(struct grpc_conn *conn);
void grpc_dispatch(struct grpc_conn *conn);

/* grpc_call.c */
struct grpc_call *grpc_call_new(struct grpc_conn *conn);
void grpc_call_ready(struct grpc_call *call);
/* It is over: tell @done this, once. */
void grpc_call_end(struct grpc_call *call, enum grpc_code code,
		   const char *text);
void grpc_call_end_status(struct grpc_call *call, const struct grpc_status *st);
/* It cannot go on, by our own judgement: tell the peer and the owner. */
void grpc_call_fail(struct grpc_call *call, enum grpc_code code,
		    const char *text);
/* Runs what is due; may free @call. */
void grpc_call_dispatch(struct grpc_call *call);
/* After bytes went into or out of @in. */
void grpc_call_account(struct grpc_call *call);
void grpc_call_drop_out(struct grpc_call *call);
void grpc_call_set_deadline(struct grpc_call *call, uint64_t timeout_ms);

#endif /* GRPC_INTERNAL_H */
