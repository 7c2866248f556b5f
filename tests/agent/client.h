/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - a node of the simplest kind: calls to an agent, one step at a time
 *
 * Blocks, with a deadline on everything: a test that hangs fails.
 */
#ifndef TEST_AGENT_CLIENT_H
#define TEST_AGENT_CLIENT_H

#include "grpc.h"
#include "sandbox/agent/v1/agent.pb-c.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NODE(name)	 Sandbox__Node__V1__##name
#define NODE_INIT(name)	 SANDBOX__NODE__V1__##name##__INIT
#define AGENT(name)	 Sandbox__Agent__V1__##name
#define AGENT_INIT(name) SANDBOX__AGENT__V1__##name##__INIT
#define BYTES(s)                                                               \
	((ProtobufCBinaryData){ .len = strlen(s), .data = (uint8_t *)(s) })

#define CLIENT_TIMEOUT_MS 60000

struct client;
struct call;

/* Connect to a unix socket; @serial: with a resync mark first. NULL: no. */
struct client *client_connect(const char *path, bool serial);
/* Its calls are over then, and can be asked how they ended. */
void client_close(struct client *c);
/* The other end is gone: all calls are over. */
bool client_is_dead(const struct client *c);

/* Move bytes for at most so long, or until something happened. */
void client_step(struct client *c, int timeout_ms);

/* Begin a call of AgentService, or of "/package.Service/Method". */
struct call *call_start(struct client *c, const char *method);
/* The same, to be over within so many milliseconds; 0: whenever. */
struct call *call_start_within(struct client *c, const char *method,
			       uint32_t ms);
/* Waits while the call's queue is full. False: the call is over. */
bool call_send(struct call *call, const ProtobufCMessage *msg);
void call_half_close(struct call *call);
/* Do not take answers, so that the window closes. */
void call_pause(struct call *call, bool paused);
/* The next answer, now the caller's; NULL: the call has ended. */
uint8_t *call_recv(struct call *call, size_t *len);
/* The same, unpacked. */
void *call_recv_message(struct call *call,
			const ProtobufCMessageDescriptor *type);
/* Wait for its end (dropping answers). Valid until call_free(). */
const struct grpc_status *call_wait(struct call *call);
bool call_is_over(const struct call *call);
/* Also cancels. */
void call_free(struct call *call);

/* One request, one answer; NULL: *st says how it ended. */
void *client_ask(struct client *c, const char *method,
		 const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *answer,
		 struct grpc_status *st);

/* Hello with this nonce. */
bool client_hello(struct client *c, const char *nonce, struct grpc_status *st);

#endif /* TEST_AGENT_CLIENT_H */
