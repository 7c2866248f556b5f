/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - between the engine, which has the text, and HTTP, which asks */
#ifndef METRICS_SERVER_H
#define METRICS_SERVER_H

struct error;
struct loop;
struct server;

#define SERVER_TEXT_MAX (64u << 20) /* of one page */

/**
 * server_new() - Serve what the engine at the other end of @ipc_fd listens on
 * @ipc_fd:	Consumed
 *
 * Stops the loop when the engine is gone.
 */
int server_new(struct loop *loop, int ipc_fd, struct server **ret,
	       struct error *err);
struct server *server_free(struct server *server);

#endif /* METRICS_SERVER_H */
