/* SPDX-License-Identifier: Apache-2.0 */
/* agent_ask.h - the engine's own calls to the agents in the guests */
#ifndef FRONT_AGENT_ASK_H
#define FRONT_AGENT_ASK_H

#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <stdint.h>

struct front;

/* For the engine, whose request @id is answered. */
void agent_engine_call(struct front *front, uint64_t id,
		       const Sandbox__Ipc__V1__AgentCall *m);

#endif /* FRONT_AGENT_ASK_H */
