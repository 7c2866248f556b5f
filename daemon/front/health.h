/* SPDX-License-Identifier: Apache-2.0 */
/* health.h - grpc.health.v1.Health: is this server fit for work
 *
 * Check and Watch. The service "" stands for the whole server. Main thread.
 */
#ifndef FRONT_HEALTH_H
#define FRONT_HEALTH_H

#include <stdbool.h>

struct grpc_call;
struct health;

/* Services that can have a state, and watchers at once. */
#define HEALTH_SERVICES_MAX 8
#define HEALTH_WATCHERS_MAX 256

/* "" exists from the start and is not serving. */
struct health *health_new(void);

/* After the connections: no call of it may be left. NULL is fine. */
struct health *health_free(struct health *health);

/* Make a service known, or change its state; watchers are told. */
void health_set(struct health *health, const char *service, bool serving);

/* For struct grpc_conn_ops's accept: take the call if @path is Health's. */
bool health_accept(struct health *health, struct grpc_call *call,
		   const char *path);

#endif /* FRONT_HEALTH_H */
