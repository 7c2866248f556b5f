/* SPDX-License-Identifier: Apache-2.0 */
/* ports.h - listeners on the node that lead to ports in guests
 *
 * The engine opens the listening sockets; what connects is tunnelled through
 * the agent to the guest's own localhost. A connection to a paused sandbox
 * resumes it.
 */
#ifndef FRONT_PORTS_H
#define FRONT_PORTS_H

#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <stdint.h>

struct front;

/* Connections at once through one exposed port. */
#define PORT_CONNECTIONS_MAX 48

/* Each answers request @id. Consumes @fd. */
void ports_listen(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__ListenPort *m, int fd);
void ports_unlisten(struct front *front, uint64_t id,
		    const Sandbox__Ipc__V1__UnlistenPort *m);

void ports_free_all(struct front *front);

#endif /* FRONT_PORTS_H */
