/* SPDX-License-Identifier: Apache-2.0 */
/* events.h - WatchEvents: pages of the engine's event log, as a stream */
#ifndef FRONT_EVENTS_H
#define FRONT_EVENTS_H

#include <stdint.h>

struct client;
struct front;
struct grpc_call;

void events_accept(struct client *client, struct grpc_call *call);

/* The engine has events up to @newest. */
void events_grew(struct front *front, uint64_t newest);

/* Front drains: streams that would never end do. */
void events_end_all(struct front *front);

#endif /* FRONT_EVENTS_H */
