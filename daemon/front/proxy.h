/* SPDX-License-Identifier: Apache-2.0 */
/* proxy.h - one client's call, passed on to the agent in a guest
 *
 * Each method gives a table of what to check; the proxy does the rest: a lease
 * from the engine (which resumes the sandbox if need be), the agent's call,
 * both directions with flow control from end to end, deadlines, cancellation.
 */
#ifndef FRONT_PROXY_H
#define FRONT_PROXY_H

#include "front/front.h"
#include "front/label.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_call;
struct client;
struct error;
struct proxy;

/**
 * struct proxy_method - How one method is passed on
 * @name:	The same in NodeService and AgentService
 * @client_streams: Further messages may follow the first
 * @server_streams: Any number of answers; else exactly one
 * @first:	Check the first message.  Returns where its sandbox_id is, or
 *		NULL with @err set
 * @more:	Check a further message of the client.  With client_streams
 * @input_over:	The client sends no more.  May be NULL
 * @answer:	Check a message of the guest; it may be changed.  -1: the guest
 *		broke the protocol
 * @sent:	After @answer, once it is on its way.  May be NULL
 * @leased:	The sandbox runs; may still refuse.  May be NULL
 * @ended:	The agent's side ended; *@st may be changed.  May be NULL
 */
struct proxy_method {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *response;
	bool client_streams;
	bool server_streams;
	char **(*first)(struct proxy *p, ProtobufCMessage *m,
			struct error *err);
	int (*more)(struct proxy *p, ProtobufCMessage *m, struct error *err);
	void (*input_over)(struct proxy *p);
	int (*answer)(struct proxy *p, ProtobufCMessage *m, struct error *err);
	void (*sent)(struct proxy *p, ProtobufCMessage *m);
	int (*leased)(struct proxy *p, const uint32_t *allow_ports, size_t n,
		      struct error *err);
	void (*ended)(struct proxy *p, struct grpc_status *st);
};

/**
 * struct proxy - One call under way
 *
 * What methods may use; the rest is proxy.c's.
 * @label, @label2: argv[0] or paths, escaped, for events
 */
struct proxy {
	struct front *front;
	char sandbox_id[SANDBOX_ID_MAX];

	/* the methods' own */
	char label[LABEL_MAX];
	char label2[LABEL_MAX];
	uint32_t limit; /* of a listing, as asked */
	uint32_t items; /* answered so far */
	uint32_t port;
	uint32_t pid;
	bool background;
	bool pty;
	bool reads; /* it has a stdin, not closed yet */
	bool started;
	bool exited;
	bool truncated;
	bool created;
	uint64_t activity_ms; /* when Activity was last sent */

	/* proxy.c */
	const struct proxy_method *method;
	struct client *client;	/* valid while @call is */
	struct grpc_call *call; /* the client's; NULL: over */
	struct agent_call *agent;
	bool asked;	/* the first message came */
	bool acquiring; /* the engine's answer is to come */
	bool again;	/* of proxy_hold() */
	bool half;	/* the client sends no more */
	bool finished;	/* the client's status is given */
	unsigned int answers;
	uint64_t lease; /* 0: none */
	uint8_t *first;
	size_t first_len;
};

void proxy_accept(struct client *client, struct grpc_call *call,
		  const struct proxy_method *method);

/* The sandbox need not stay awake for this call any longer: only for the bytes
 * that it passes (proxy_activity).
 */
void proxy_release(struct proxy *p);
/* And again it has to. */
void proxy_hold(struct proxy *p);

/* Bytes passed: puts off the idle pause, told at most once a second. */
void proxy_activity(struct proxy *p);

extern const struct proxy_method exec_methods[], file_methods[],
	tunnel_methods[]; /* each ends with a NULL name */

#endif /* FRONT_PROXY_H */
