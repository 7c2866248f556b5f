/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link.h - connections to the agents in the guests
 *
 * One HTTP/2 connection a guest, by the key that the engine chose. What a guest
 * sends may be anything: a link that breaks the protocol ends, its calls end
 * with UNAVAILABLE, the engine is told, and nobody else notices.
 */
#ifndef FRONT_AGENT_LINK_H
#define FRONT_AGENT_LINK_H

#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <stdint.h>

struct agent_link;
struct front;

/* The link of a guest that is attached and configured; NULL: none. */
struct agent_link *agent_find(struct front *front, const char *key);

/* For the engine, whose request @id is answered. */
void agent_detach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__DetachAgent *m);

/* Close all, without telling the engine. */
void agent_free_all(struct front *front);

#endif /* FRONT_AGENT_LINK_H */
