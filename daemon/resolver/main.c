/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-resolver: answers guests' DNS
 *
 * It has no file, no capability and no way to any address but by a socket of
 * its own to the upstream servers.
 */
#include "base/helper_main.h"
#include "resolver/engine_link.h"

#define FILES_MAX 4096 /* one a lookup, one a TCP connection */

static const char *const own_calls[] = { "socket", "connect", NULL };

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
	static const struct helper_main resolver = {
		.name = "sandboxd-resolver",
		.jail = { .extra = own_calls, .files_max = FILES_MAX },
		.start = start,
		.stop = stop,
	};

	return helper_main(&resolver, argc, argv);
}
