/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_pair.h - a client and a server connection joined in memory
 *
 * Each end of a call has a struct side that writes down what it hears.
 */
#ifndef TEST_GRPC_PAIR_H
#define TEST_GRPC_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "grpc.h"

#define SIDES_MAX 64

struct side {
	struct grpc_call *call; /* NULL once done */
	char path[64];
	unsigned int messages;
	size_t bytes;
	uint8_t last[64]; /* of the last message */
	size_t last_len;
	bool half_closed;
	unsigned int writables;
	unsigned int dones;
	struct grpc_status st;
	/* What it does by itself. */
	bool echo;	  /* send back each message */
	bool echo_finish; /* finish OK on half close */
	bool cancel_on_message;
	size_t send_left; /* messages of send_size to send while writable */
	size_t send_size;
};

struct pair {
	struct grpc_conn *client, *server;
	uint64_t now;
	size_t chunk; /* bytes moved at once; 0: 16 KiB */
	bool deaf;    /* the client gets nothing from the server */
	bool held;    /* the same, but it waits for the client */
	struct side sides[SIDES_MAX];
	unsigned int n_sides;
	/* What new server sides do. */
	struct side proto;
	unsigned int accepted;
	/* Takes what it knows before the pair does. */
	bool (*accept)(struct grpc_call *call, const char *path, void *arg);
	void *accept_arg;
	bool refuse; /* finish UNIMPLEMENTED without accepting */
	unsigned int silences, heard_again; /* as the client was told */
	char client_closing[128], server_closing[128];
	int server_rc, client_rc;
};

extern const struct grpc_call_ops side_ops;

void pair_init(struct pair *pair, const struct grpc_settings *client,
	       const struct grpc_settings *server);
void pair_fini(struct pair *pair);

/* Move bytes both ways until neither end has any. Returns bytes moved. */
size_t pair_run(struct pair *pair);
/* Time passes for both, then run. */
void pair_pass(struct pair *pair, uint64_t ms);

struct side *pair_start(struct pair *pair, const char *path,
			uint64_t timeout_ms);
/* The server's end of the call that came as the @n-th. */
struct side *pair_served(struct pair *pair, unsigned int n);

/* Send until told to rest; goes on by itself when writable. */
void side_send_many(struct side *side, size_t n, size_t size);
void side_finish(struct side *side, enum grpc_code code, const char *text);

#endif /* TEST_GRPC_PAIR_H */
