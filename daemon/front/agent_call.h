/* SPDX-License-Identifier: Apache-2.0 */
/* agent_call.h - calls to the agents in the guests
 *
 * What a guest sends may be anything: @message gets bytes of its choosing.
 */
#ifndef FRONT_AGENT_CALL_H
#define FRONT_AGENT_CALL_H

#include "grpc.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent_call;
struct agent_link;

/* Calls at once to one guest, of clients; a few more are for the engine. */
#define AGENT_CALLS_MAX 64
/* Of these, at most so many for connections to exposed ports: whoever can reach
 * a port must not shut out execs.
 */
#define AGENT_TUBES_MAX	       48
#define AGENT_ENGINE_CALLS_MAX 8

/**
 * struct agent_call_ops - What the owner of a call to an agent wants to hear
 * @message:	As in struct grpc_call_ops; bytes of the guest's choosing
 * @writable:	As there
 * @done:	Once and last.  @st is made of known reasons and escaped text
 */
struct agent_call_ops {
	void (*message)(struct agent_call *c, const uint8_t *data, size_t len,
			void *arg);
	void (*writable)(struct agent_call *c, void *arg);
	void (*done)(struct agent_call *c, const struct grpc_status *st,
		     void *arg);
};

/* Calls under way. */
unsigned int agent_calls(const struct agent_link *link);

/* Begin a call of AgentService. NULL: *@why tells why not. */
struct agent_call *agent_call_start(struct agent_link *link, const char *method,
				    uint64_t timeout_ms,
				    const struct agent_call_ops *ops, void *arg,
				    struct grpc_status *why);

/* The agent tells how processes end by itself: nobody else need report it. */
bool agent_call_tells_exits(const struct agent_call *c);
/* Exec has begun a process: one end of it may be told. */
void agent_call_began_process(struct agent_call *c);

/* To send, half-close, pause and cancel with; valid until @done. */
struct grpc_call *agent_call_grpc(struct agent_call *c);

/* The guest sent what it must not: its link ends, and @done of all its calls,
 * this one too, may come from within.
 */
void agent_call_broken(struct agent_call *c, const char *why);

/* ---- of one request and one answer ---- */

/* @answer: NULL unless @st is OK; valid until this returns. */
typedef void (*agent_unary_fn)(struct agent_link *link,
			       const struct grpc_status *st,
			       ProtobufCMessage *answer, void *arg);

/* Of our own and the engine's, beyond AGENT_CALLS_MAX. @timeout_ms: 0: none.
 * Return: 0, or -1 with *@why: then @fn is not called.
 */
int agent_unary(struct agent_link *link, const char *method,
		const uint8_t *data, size_t len,
		const ProtobufCMessageDescriptor *desc, uint64_t timeout_ms,
		agent_unary_fn fn, void *arg, struct grpc_status *why);

#endif /* FRONT_AGENT_CALL_H */
