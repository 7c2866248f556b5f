/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link.h - connections to the agents in the guests
 *
 * One HTTP/2 connection a guest, by the key that the engine chose. What a guest
 * sends may be anything: a link that breaks the protocol ends, its calls end
 * with UNAVAILABLE, the engine is told, and nobody else notices.
 */
#ifndef FRONT_AGENT_LINK_H
#define FRONT_AGENT_LINK_H

#include "grpc.h"
#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

struct agent_call;
struct agent_link;
struct front;

/* Calls at once to one guest, of clients; a few more are for the engine. */
#define AGENT_CALLS_MAX 64
/* Of these, at most so many for connections to exposed ports: whoever can reach
 * a port must not shut out execs.
 */
#define AGENT_TUBES_MAX	       48
#define AGENT_ENGINE_CALLS_MAX 8
/* Attaching takes no longer than this when the engine names no deadline. */
#define AGENT_ATTACH_MS	    5000
#define AGENT_ATTACH_MAX_MS 600000

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

/* The link of a guest that is attached and configured; NULL: none. */
struct agent_link *agent_find(struct front *front, const char *key);

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

/* ---- for the engine: each answers request @id ---- */

/* Consumes @fd. */
void agent_attach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__AttachAgent *m, int fd);
void agent_detach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__DetachAgent *m);
void agent_engine_call(struct front *front, uint64_t id,
		       const Sandbox__Ipc__V1__AgentCall *m);

/* Close all, without telling the engine. */
void agent_free_all(struct front *front);

#endif /* FRONT_AGENT_LINK_H */
