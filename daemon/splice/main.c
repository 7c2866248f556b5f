/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-splice: binds guests' connections to names
 *
 * It has no file, no capability, and cannot make a socket: each that leads
 * outside is handed to it, connected to the one address that was asked for.
 */
#include "base/helper_main.h"
#include "splice/engine_link.h"
#include "splice/flows.h"

/* Two sockets a flow, and pipes for those with bytes on their way. */
#define FILES_MAX (3 * FLOWS_MAX)

static const char *const own_calls[] = { "splice", "pipe2", NULL };

static void *start(struct loop *loop, int fd, struct error *err)
{
	struct engine_link *link = NULL;

	engine_link_new(loop, fd, &link, err);
	return link;
}

static void stop(void *link)
{
	engine_link_free(link);
}

int main(int argc, char **argv)
{
	static const struct helper_main splice = {
		.name = "sandboxd-splice",
		.jail = { .extra = own_calls, .files_max = FILES_MAX },
		.start = start,
		.stop = stop,
	};

	return helper_main(&splice, argc, argv);
}
