/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - one connection to a node, and calls on it
 *
 * Two ways to use a call. Programs that move bytes both ways (exec, tunnels)
 * give callbacks to rpc_start() and let the loop run. All others write top to
 * bottom: client_unary(), or call_open(), call_send(), call_recv(),
 * call_close(), which run the loop until they can return.
 *
 * SIGINT or SIGTERM, once client_catch_signals() was called, ends every wait:
 * the call is cancelled and its end is CANCELLED.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct client;
struct error;
struct loop;
struct rpc;
struct call;

/**
 * struct client_target - Where the node is, and who we are
 * @address:	"unix:PATH" or "HOST:PORT"
 * @cert, @key, @ca: PEM files; needed for HOST:PORT, NULL for a unix socket
 * @tls:	Needed for HOST:PORT (ctl/dial.h)
 */
struct client_target {
	const char *address;
	const char *cert;
	const char *key;
	const char *ca;
	const struct dial_tls *tls;
};

/* Gives up on a connection, its TLS handshake included, after this. */
#define CLIENT_CONNECT_MS 30000

/**
 * client_connect() - Connect; blocks until the connection stands
 *
 * TLS 1.3 only; the node's certificate must be signed by @ca and made out to
 * HOST.
 */
int client_connect(struct loop *loop, const struct client_target *target,
		   struct client **ret, struct error *err);
struct client *client_free(struct client *c);
struct loop *client_loop(struct client *c);

/* The connection failed, or never stood; why, or NULL while it is well. */
const char *client_lost(struct client *c);
/* The same, by what is known without a look. */
bool client_is_lost(const struct client *c);

/* SIGINT and SIGTERM end waits from now on; SIGPIPE is ignored. */
int client_catch_signals(struct client *c, struct error *err);
/* The signal that came, or 0. */
int client_interrupted(const struct client *c);

/* Until *@done, or a signal. Return: 0, or -EINTR. */
int client_run(struct client *c, const bool *done);

/* Until @fd can be read (a regular file always can). 0 or -EINTR. */
int client_wait_readable(struct client *c, int fd);

/* ---- with callbacks ---- */

struct rpc_ops {
	/* @m is freed when this returns. */
	void (*message)(struct rpc *rpc, const ProtobufCMessage *m, void *arg);
	void (*writable)(struct rpc *rpc, void *arg);
	/* Once and last; the rpc is freed when it returns. */
	void (*done)(struct rpc *rpc, const struct grpc_status *st, void *arg);
};

/* @method: as in node.proto, "Exec". NULL when the connection is closing. */
struct rpc *rpc_start(struct client *c, const char *method,
		      const struct rpc_ops *ops, void *arg);
/* 0; 1: taken, but wait for writable; -errno as grpc_call_send(). */
int rpc_send(struct rpc *rpc, const ProtobufCMessage *m);
void rpc_half_close(struct rpc *rpc);
void rpc_pause(struct rpc *rpc, bool paused);
void rpc_cancel(struct rpc *rpc);

/* ---- top to bottom ---- */

/**
 * client_unary() - One question, one answer
 *
 * Return: the answer, to be freed with message_free(), or NULL with @st set
 */
ProtobufCMessage *client_unary(struct client *c, const char *method,
			       const ProtobufCMessage *request,
			       struct grpc_status *st);

struct call *call_open(struct client *c, const char *method);
/* Waits while too much is queued. -1: the call is over. */
int call_send(struct call *call, const ProtobufCMessage *m);
void call_half_close(struct call *call);
/* The next message, waiting for it; NULL: the call is over. Free it with
 * message_free().
 */
ProtobufCMessage *call_recv(struct call *call);
/* The same, but NULL when none is there yet. */
ProtobufCMessage *call_poll(struct call *call);
/* Cancels what is not over, tells how it ended, frees. */
void call_close(struct call *call, struct grpc_status *st);

void message_free(ProtobufCMessage *m);
void message_freep(ProtobufCMessage **m);

#endif /* CTL_CLIENT_H */
