/* SPDX-License-Identifier: Apache-2.0 */
/* exits.h - how processes in guests end, for the event log
 *
 * The client that began a process may be gone by its end, so the agent tells
 * ends by itself (NextExits). A guest's root may tell any number of ends that
 * never were: each that was not begun by this link comes out of one allowance
 * for all guests.
 */
#ifndef FRONT_EXITS_H
#define FRONT_EXITS_H

#include "sandbox/agent/v1/agent.pb-c.h"

#include <stdint.h>

struct error;
struct front;

#define EXITS_STRAY_BURST 4096
#define EXITS_STRAY_RATE  50 /* a second */

/* Of one link: ends taken, and processes begun whose end was not told yet. */
struct exits_link {
	uint64_t acked;
	uint64_t begun;
};

/* exec.completed of each. -1: the agent broke the protocol. */
int exits_report(struct front *front, const char *sandbox_id,
		 struct exits_link *link,
		 const Sandbox__Agent__V1__NextExitsResponse *m,
		 struct error *err);

/* The event, from whoever knows. @program is escaped. */
void exits_event(struct front *front, const char *sandbox_id,
		 const char *program, uint32_t pid,
		 const Sandbox__Node__V1__ProcessExited *exited);

#endif /* FRONT_EXITS_H */
