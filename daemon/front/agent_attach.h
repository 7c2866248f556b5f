/* SPDX-License-Identifier: Apache-2.0 */
/* agent_attach.h - a link begins: transport, Hello, Configure */
#ifndef FRONT_AGENT_ATTACH_H
#define FRONT_AGENT_ATTACH_H

#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <stdint.h>

struct front;

/* Attaching takes no longer than this when the engine names no deadline. */
#define AGENT_ATTACH_MS	    5000
#define AGENT_ATTACH_MAX_MS 600000

/* For the engine, whose request @id is answered. Consumes @fd. */
void agent_attach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__AttachAgent *m, int fd);

#endif /* FRONT_AGENT_ATTACH_H */
