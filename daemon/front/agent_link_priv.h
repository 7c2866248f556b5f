/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link_priv.h - a link, as agent_link.c, agent_call.c, agent_attach.c and
 * agent_ask.c share it; each calls only those before it
 */
#ifndef FRONT_AGENT_LINK_PRIV_H
#define FRONT_AGENT_LINK_PRIV_H

#include "base/grpc_io.h"
#include "base/loop.h"
#include "front/agent_link.h"
#include "front/exits.h"
#include "front/front.h"
#include "front/guest_clock.h"
#include "sandbox/agent/v1/agent.pb-c.h"

enum link_state {
	LINK_CONNECTING, /* the transport is not in step yet */
	LINK_HELLO,	 /* Hello or Configure is under way */
	LINK_READY,	 /* clients' calls may go */
	LINK_STATE_COUNT,
};

struct agent_link {
	struct list link;
	struct front *front;
	char key[SANDBOX_ID_MAX];
	uint64_t generation;
	enum link_state state;
	struct grpc_io *io;
	struct grpc_conn *conn;
	sd_event_source *deadline;
	uint64_t deadline_ms;
	struct guest_clock clock;
	uint64_t attach_id;
	Sandbox__Ipc__V1__AttachAgent *attach; /* until READY */
	Sandbox__Agent__V1__HelloResponse *hello;
	unsigned int n_calls;
	bool watching; /* one of them is NextExits, which does not count */
	bool tells_exits;
	struct exits_link exits;
	bool ending;
	bool broken; /* the agent broke the protocol */
	struct grpc_status why; /* given to calls while ending */
};

/* By its key, in whatever state. */
struct agent_link *link_find(struct front *front, const char *key);

/* The end from outside; @st is what its calls are told. */
void link_free(struct agent_link *link, const struct grpc_status *st);

/* The end from inside. */
void link_fail(struct agent_link *link, const struct grpc_status *st);
void link_failf(struct agent_link *link, const char *text);

/* The agent did what it must not. */
void link_broken(struct agent_link *link, const char *why);

/* What the pump and the session tell. */
void link_closed(struct grpc_io *io, const char *why, void *arg);
extern const struct grpc_conn_ops link_conn_ops;

#endif /* FRONT_AGENT_LINK_PRIV_H */
