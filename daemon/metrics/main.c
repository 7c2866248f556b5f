/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-metrics: serves the node's metrics over HTTP
 *
 * The listening socket is handed to it; it has no file, no capability and no
 * way to any address.
 */
#include "base/helper_main.h"
#include "metrics/server.h"

#define FILES_MAX 128

static void *start(struct loop *loop, int fd, struct error *err)
{
	struct server *server = NULL;

	server_new(loop, fd, &server, err);
	return server;
}

static void stop(void *server)
{
	server_free(server);
}

int main(int argc, char **argv)
{
	static const struct helper_main metrics = {
		.name = "sandboxd-metrics",
		.jail = { .files_max = FILES_MAX },
		.start = start,
		.stop = stop,
	};

	return helper_main(&metrics, argc, argv);
}
