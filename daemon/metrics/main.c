/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-metrics: serves the node's metrics over HTTP
 *
 * Started by the engine as `sandboxd-metrics UID GID` with its socket as
 * descriptor 3; nobody else has a use for it. The listening socket is handed to
 * it; it has no file, no capability and no way to any address.
 */
#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "metrics/server.h"

#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define ENGINE_FD 3
#define FILES_MAX 128

static int run(uid_t uid, gid_t gid)
{
	const struct jail_spec jail = { .uid = uid,
					.gid = gid,
					.files_max = FILES_MAX };
	struct server *server = NULL;
	struct loop *loop = NULL;
	struct error err;
	int rc;

	if (loop_new(&loop, &err) < 0 || jail_enter(&jail, &err) < 0 ||
	    server_new(loop, ENGINE_FD, &server, &err) < 0) {
		log_err("%s", err.msg);
		loop_free(loop);
		return 1;
	}
	rc = loop_run(loop);
	server_free(server);
	loop_free(loop);
	return rc < 0 ? 1 : rc;
}

int main(int argc, char **argv)
{
	uint64_t uid, gid;

	if (argc != 3 || str_parse_u64(argv[1], UINT32_MAX - 1, &uid) < 0 ||
	    str_parse_u64(argv[2], UINT32_MAX - 1, &gid) < 0) {
		fputs("sandboxd-metrics is started by sandboxd\n", stderr);
		return 2;
	}
	close_range(ENGINE_FD + 1, ~0u, 0);
	log_open("sandboxd-metrics", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	return run((uid_t)uid, (gid_t)gid);
}
