/* SPDX-License-Identifier: Apache-2.0 */
/* listener.h - where clients connect: a unix socket, and TCP with mutual TLS */
#ifndef FRONT_LISTENER_H
#define FRONT_LISTENER_H

#include <stdbool.h>

struct error;
struct front;

/* Serve the API on a listening socket. Consumes @fd. */
int listener_add(struct front *front, int fd, bool tls, struct error *err);

/* No new connections, GOAWAY on those there are. */
void listener_drain(struct front *front);

/* Close all, connections too. */
void listener_free_all(struct front *front);

#endif /* FRONT_LISTENER_H */
