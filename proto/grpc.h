/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.h - gRPC over one HTTP/2 connection, without sockets
 *
 * Bytes in, bytes out, time given: whoever owns a struct grpc_conn moves bytes
 * between it and a socket, a TLS session or a test. Server and client side
 * share this interface; a call looks the same from both ends.
 *
 * Nothing here blocks, logs, or knows threads: a connection and its calls
 * belong to one thread. Callbacks run from within grpc_conn_feed(),
 * grpc_conn_output(), grpc_conn_tick(), grpc_conn_abort() and grpc_conn_free(),
 * never from within a send, cancel or any other function of a call. A callback
 * may use any function of any call and connection, but not grpc_conn_feed() or
 * grpc_conn_free() of its own connection.
 */
#ifndef GRPC_H
#define GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct grpc_conn;
struct grpc_call;

/* A message in either direction, and what one call may have queued for
 * sending before grpc_call_send() asks for a rest (it still takes the message).
 */
#define GRPC_MESSAGE_MAX     (4u << 20)
#define GRPC_SEND_HIGH_WATER (256u << 10)
#define GRPC_SEND_LOW_WATER  (64u << 10)
/* Bytes in flight towards us: per stream, and per connection. */
#define GRPC_STREAM_WINDOW (256u << 10)
#define GRPC_CONN_WINDOW   (4u << 20)
/* What all calls of a connection may hold of messages that are not whole, or
 * not delivered: a call that goes over it fails with RESOURCE_EXHAUSTED. Room
 * for GRPC_STREAMS_MAX paused calls and some of the largest messages.
 */
#define GRPC_HELD_MAX	 (96u << 20)
#define GRPC_HEADERS_MAX (16u << 10)
#define GRPC_STREAMS_MAX 250u /* default of streams_max */

enum grpc_code {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,

	GRPC_CODE_COUNT,
};

#define GRPC_STATUS_MESSAGE_MAX 512
#define GRPC_REASON_MAX		48
#define GRPC_FIELD_MAX		96

/**
 * struct grpc_status - How a call ended
 * @code:	gRPC's code; out-of-range ones from a peer become UNKNOWN
 * @message:	For a person
 * @reason:	ErrorInfo's reason; empty: no ErrorInfo is sent
 * @field:	ErrorInfo metadata "field" (or the id concerned); may be empty
 * @retry_ms:	RetryInfo; 0: none is sent
 *
 * On the wire @reason, @field and @retry_ms are google.rpc.Status in
 * grpc-status-details-bin, domain "sandboxd".
 */
struct grpc_status {
	enum grpc_code code;
	char message[GRPC_STATUS_MESSAGE_MAX];
	char reason[GRPC_REASON_MAX];
	char field[GRPC_FIELD_MAX];
	uint32_t retry_ms;
};

/* "INVALID_ARGUMENT"; never NULL. */
const char *grpc_code_str(enum grpc_code code);

void grpc_status_set(struct grpc_status *st, enum grpc_code code,
		     const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/**
 * struct grpc_call_ops - What the owner of a call wants to hear
 * @message:	One whole message came; @data is borrowed until it returns.
 *		Not called while reading is paused
 * @half_close:	The peer will send no more messages (server side: the request
 *		stream ended).  Client side: never; @done follows instead
 * @writable:	What is queued fell below GRPC_SEND_LOW_WATER after
 *		grpc_call_send() had returned 1
 * @done:	Always called, once and last: the call ended for both ends, was
 *		cancelled, ran out of time or lost its connection.  @st is how.
 *		The call is freed after it returns
 *
 * Each may be NULL but @done.
 */
struct grpc_call_ops {
	void (*message)(struct grpc_call *call, const uint8_t *data, size_t len,
			void *arg);
	void (*half_close)(struct grpc_call *call, void *arg);
	void (*writable)(struct grpc_call *call, void *arg);
	void (*done)(struct grpc_call *call, const struct grpc_status *st,
		     void *arg);
};

/**
 * struct grpc_conn_ops - What the owner of a connection wants to hear
 * @accept:	Server: a call came; headers are in, no message yet.  Either
 *		grpc_call_accept() before returning, or grpc_call_finish()
 *		(UNIMPLEMENTED for a path that is not known).  NULL on clients
 * @closing:	The peer sent GOAWAY, or the connection failed; no new calls.
 *		@why is for a person.  May be NULL
 * @silent:	The peer did not answer settings.asks pings (true), or was heard
 *		again after that (false).  May only note it.  May be NULL
 */
struct grpc_conn_ops {
	void (*accept)(struct grpc_call *call, const char *path, void *arg);
	void (*closing)(struct grpc_conn *conn, const char *why, void *arg);
	void (*silent)(struct grpc_conn *conn, bool silent, void *arg);
};

/**
 * struct grpc_settings - Limits of one connection; 0: the default above
 * @streams_max:	Calls at once that the peer may open
 * @keepalive_ms:	Ping after this long without a byte; 0: never
 * @keepalive_timeout_ms: Connection is dead without the answer; 0: 20000
 * @ask_ms, @asks: A ping that is not answered for so long is sent again, until
 *		there are so many; then @silent is told.  A peer that is only
 *		slow answers them all.  0: one ping, and @silent is not told
 * @resets_per_second:	RST_STREAMs from the peer until the connection is
 *			ended with ENHANCE_YOUR_CALM; 0: 200
 */
struct grpc_settings {
	uint32_t streams_max;
	uint32_t keepalive_ms;
	uint32_t keepalive_timeout_ms;
	uint32_t ask_ms, asks;
	uint32_t resets_per_second;
};

/**
 * grpc_conn_new_server(), grpc_conn_new_client() - One end of a connection
 * @ops:	Borrowed for the connection's life
 * @arg:	Passed to @ops
 * @settings:	Copied; NULL: all defaults
 * @now_ms:	The clock of grpc_conn_tick(), monotonic
 *
 * Return: the connection, never NULL (aborts when out of memory)
 */
struct grpc_conn *grpc_conn_new_server(const struct grpc_conn_ops *ops,
				       void *arg,
				       const struct grpc_settings *settings,
				       uint64_t now_ms);
struct grpc_conn *grpc_conn_new_client(const struct grpc_conn_ops *ops,
				       void *arg,
				       const struct grpc_settings *settings,
				       uint64_t now_ms);

/**
 * struct grpc_hooks - What a pump between a connection and a socket wants
 * @wake:	There is something to write, or to grpc_conn_tick(), that came
 *		about outside of this connection's own feed, output and tick.
 *		Called from within sends and the like: may only note it
 * @clock:	Milliseconds of grpc_conn_tick()'s clock. With it, deadlines
 *		count from now rather than from the last tick; without it, tick
 *		before grpc_call_start()
 *
 * Each may be NULL.
 */
struct grpc_hooks {
	void (*wake)(struct grpc_conn *conn, void *arg);
	uint64_t (*clock)(void);
};

/* @hooks is borrowed for the connection's life. */
void grpc_conn_set_hooks(struct grpc_conn *conn, const struct grpc_hooks *hooks,
			 void *arg);

/* Ends what calls there are (UNAVAILABLE; @done and @closing are called) and
 * frees. NULL is fine.
 */
struct grpc_conn *grpc_conn_free(struct grpc_conn *conn);

/**
 * grpc_conn_feed() - Bytes came from the peer
 *
 * Takes all of them.  Return: 0, or -EPROTO when the connection is broken:
 * write out what grpc_conn_output() still has (a GOAWAY), close, free. What the
 * peer did wrong may also show only in grpc_conn_is_over(), after that GOAWAY.
 */
int grpc_conn_feed(struct grpc_conn *conn, const uint8_t *data, size_t len);

/**
 * grpc_conn_output() - Bytes for the peer
 * @buf:	Where to
 * @size:	At most so many
 *
 * Return: bytes written to @buf; 0: there is nothing to send now
 */
size_t grpc_conn_output(struct grpc_conn *conn, uint8_t *buf, size_t size);

/* Whether grpc_conn_output() would give anything. */
bool grpc_conn_wants_write(const struct grpc_conn *conn);

/* Time passes: deadlines, keepalive. Call at grpc_conn_next_ms() or later. */
int grpc_conn_tick(struct grpc_conn *conn, uint64_t now_ms);

/* When tick wants to be called next; UINT64_MAX: never. */
uint64_t grpc_conn_next_ms(const struct grpc_conn *conn);

/* GOAWAY: no new calls, those there may end (server); see _is_idle. */
void grpc_conn_drain(struct grpc_conn *conn);

/* No calls are left. */
bool grpc_conn_is_idle(const struct grpc_conn *conn);

/* True once the connection can be closed: drained or failed, all written. */
bool grpc_conn_is_over(const struct grpc_conn *conn);

/* It failed because the peer broke the rules. */
bool grpc_conn_is_broken(const struct grpc_conn *conn);

/* Why it closes, as @closing was told; before that "the connection is done". */
const char *grpc_conn_why(const struct grpc_conn *conn);

/* The transport failed: every call ends with UNAVAILABLE and @why. */
void grpc_conn_abort(struct grpc_conn *conn, const char *why);

/* ---- calls ---- */

/**
 * grpc_call_start() - Client: begin a call
 * @path:	"/package.Service/Method"
 * @timeout_ms:	Sent as grpc-timeout and kept here too; 0: none
 * @ops:	Borrowed for the call's life; @arg is passed to it
 *
 * Return: the call; valid until @done.  NULL when the connection is closing.
 */
struct grpc_call *grpc_call_start(struct grpc_conn *conn, const char *path,
				  uint64_t timeout_ms,
				  const struct grpc_call_ops *ops, void *arg);

/* Server: take the call; messages come to @ops from now on. */
void grpc_call_accept(struct grpc_call *call, const struct grpc_call_ops *ops,
		      void *arg);

/* Tell @fn too how the call ends, after its owner; for who counts calls. @name
 * and @since_us are passed back; all are borrowed.
 */
typedef void (*grpc_watch_fn)(const struct grpc_status *st, const char *name,
			      uint64_t since_us, void *arg);
void grpc_call_watch(struct grpc_call *call, grpc_watch_fn fn, const char *name,
		     uint64_t since_us, void *arg);

/**
 * grpc_call_send() - Queue one message (copied)
 *
 * Return: 0; 1: taken, but wait for @writable before the next; -EMSGSIZE over
 * GRPC_MESSAGE_MAX; -EPIPE: the call is over or its sending side closed
 */
int grpc_call_send(struct grpc_call *call, const uint8_t *data, size_t len);

/* Client: no more messages from here. */
void grpc_call_half_close(struct grpc_call *call);

/* Server: end the call with this status after what is queued; no more sends.
 * @done comes when it is written or the peer is gone. Does nothing twice.
 */
void grpc_call_finish(struct grpc_call *call, const struct grpc_status *st);

/* Either side: end at once (RST_STREAM); what is queued is dropped, no more
 * messages come. @done comes with CANCELLED (from the next feed, tick or
 * output, never from within this call).
 */
void grpc_call_cancel(struct grpc_call *call);

/* Stop or go on delivering messages; while paused the peer's window is not
 * opened, so at most GRPC_STREAM_WINDOW plus one message is held.
 */
void grpc_call_pause(struct grpc_call *call, bool paused);

/* Milliseconds left of its deadline at the conn's last now_ms; UINT64_MAX: no
 * deadline. A proxy passes it on.
 */
uint64_t grpc_call_time_left(const struct grpc_call *call);

/* Bytes queued and not yet taken by grpc_conn_output(). */
size_t grpc_call_queued(const struct grpc_call *call);

struct grpc_conn *grpc_call_conn(const struct grpc_call *call);
void *grpc_call_arg(const struct grpc_call *call);

#endif /* GRPC_H */
