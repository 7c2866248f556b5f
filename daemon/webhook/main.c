/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-webhook: posts the node's events to a receiver
 *
 * Started by the engine as `sandboxd-webhook UID GID` with its socket as
 * descriptor 3; nobody else has a use for it. It parses what the receiver
 * answers, so it has no capability; of files it sees, read-only, what looking
 * up names needs.
 */
#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "webhook/post.h"
#include "webhook/poster.h"

#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define ENGINE_FD 3
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

static int run(uid_t uid, gid_t gid)
{
	const struct jail_spec jail = { .uid = uid,
					.gid = gid,
					.extra = own_calls,
					.readable = readable,
					.files_max = FILES_MAX };
	struct poster *poster = NULL;
	struct loop *loop = NULL;
	struct error err;
	int rc;

	if (post_warm_up(&err) < 0 || loop_new(&loop, &err) < 0 ||
	    jail_enter(&jail, &err) < 0 ||
	    poster_new(loop, ENGINE_FD, &poster, &err) < 0) {
		log_err("%s", err.msg);
		loop_free(loop);
		return 1;
	}
	rc = loop_run(loop);
	poster_free(poster);
	loop_free(loop);
	return rc < 0 ? 1 : rc;
}

int main(int argc, char **argv)
{
	uint64_t uid, gid;

	if (argc != 3 || str_parse_u64(argv[1], UINT32_MAX - 1, &uid) < 0 ||
	    str_parse_u64(argv[2], UINT32_MAX - 1, &gid) < 0) {
		fputs("sandboxd-webhook is started by sandboxd\n", stderr);
		return 2;
	}
	close_range(ENGINE_FD + 1, ~0u, 0);
	log_open("sandboxd-webhook", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	return run((uid_t)uid, (gid_t)gid);
}
