/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-splice: binds guests' connections to names
 *
 * Started by the engine as `sandboxd-splice UID GID` with its socket as
 * descriptor 3; nobody else has a use for it. It has no file, no capability, and
 * cannot make a socket: each that leads outside is handed to it, connected to
 * the one address that was asked for.
 */
#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "splice/engine_link.h"
#include "splice/flow.h"

#include <signal.h>
#include <stdio.h>

#define ENGINE_FD 3
/* Two sockets a flow, and pipes for those with bytes on their way. */
#define FILES_MAX (3 * FLOWS_MAX)

static const char *const own_calls[] = { "splice", "pipe2", NULL };

static int run(uid_t uid, gid_t gid)
{
	struct jail_spec jail = { .uid = uid,
				  .gid = gid,
				  .extra = own_calls,
				  .files_max = FILES_MAX };
	struct engine_link *link = NULL;
	struct loop *loop = NULL;
	struct error err;
	int rc;

	/* splice(2) to a socket whose peer is gone: it has no flag against it.
	 */
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&loop, &err) < 0 || jail_enter(&jail, &err) < 0 ||
	    engine_link_new(loop, ENGINE_FD, &link, &err) < 0) {
		log_err("%s", err.msg);
		loop_free(loop);
		return 1;
	}
	rc = loop_run(loop);
	engine_link_free(link);
	loop_free(loop);
	return rc < 0 ? 1 : rc;
}

int main(int argc, char **argv)
{
	uint64_t uid, gid;

	log_open("sandboxd-splice", LOG_LEVEL_INFO);
	if (argc != 3 || str_parse_u64(argv[1], UINT32_MAX - 1, &uid) < 0 ||
	    str_parse_u64(argv[2], UINT32_MAX - 1, &gid) < 0) {
		fputs("sandboxd-splice is started by sandboxd\n", stderr);
		return 2;
	}
	return run((uid_t)uid, (gid_t)gid);
}
