/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - the node's connections, and which calls they may make
 *
 * A connection is dumb until Hello has been answered on it. Everything that
 * comes is from the node, or from someone who pretends to be.
 */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

#include <stdbool.h>

struct agent;
struct error;
struct server;

/* Connections at once; the next one is refused. */
#define SERVER_CONNECTIONS_MAX 16u
/* A connection without Hello is closed after so long. */
#define SERVER_HELLO_TIMEOUT_MS 10000u

struct server *server_new(struct agent *agent);
struct server *server_free(struct server *server);

/**
 * server_take_listener() - Accept connections from a listening socket
 * @fd:		Consumed, also on failure
 * @may_connect: Asked for each connection; NULL: all may
 */
int server_take_listener(struct server *server, int fd,
			 bool (*may_connect)(int fd), struct error *err);

/**
 * server_take_serial() - Serve one connection after the other on a serial port
 * @fd:		Consumed, also on failure. Non-blocking
 */
int server_take_serial(struct server *server, int fd, struct error *err);

#endif /* AGENT_SERVER_H */
