/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-webhook: posts the node's events to a receiver
 *
 * It parses what the receiver answers, so it has no capability; of files it
 * sees, read-only, what looking up names needs.
 */
#include "base/helper_main.h"
#include "webhook/post.h"
#include "webhook/poster.h"

#define FILES_MAX 64

/* Sockets to the receiver and to name servers. */
static const char *const own_calls[] = { "socket",   "connect",	 "bind",
					 "sendmmsg", "recvmmsg", "socketpair",
					 "pipe2",    NULL };
/* Names: hosts, resolv.conf and where that may point to; certificates. */
static const char *const readable[] = { "/etc",
					"/run/systemd/resolve",
					"/run/resolvconf",
					"/run/NetworkManager",
					"/usr/share/ca-certificates",
					NULL };

static void *start(struct loop *loop, int fd, struct error *err)
{
	struct poster *poster = NULL;

	poster_new(loop, fd, &poster, err);
	return poster;
}

static void stop(void *poster)
{
	poster_free(poster);
}

int main(int argc, char **argv)
{
	static const struct helper_main webhook = {
		.name = "sandboxd-webhook",
		.jail = { .extra = own_calls,
			  .readable = readable,
			  .files_max = FILES_MAX },
		.warm_up = post_warm_up,
		.start = start,
		.stop = stop,
	};

	return helper_main(&webhook, argc, argv);
}
