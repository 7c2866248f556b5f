/* SPDX-License-Identifier: Apache-2.0 */
/* helper_main.c - main() of a process that the engine keeps running */
#include "base/helper_main.h"

#include "base/error.h"
#include "base/startup_pages.h"
#include "base/log.h"
#include "base/loop.h"

#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENGINE_FD  3
#define EXIT_USAGE 2

static bool engine_is_there(void)
{
	socklen_t len = sizeof(int);
	int type;

	return getsockopt(ENGINE_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_SEQPACKET;
}

static int run(const struct helper_main *program, const struct jail_spec *jail)
{
	struct loop *loop = NULL;
	void *running = NULL;
	struct error err;
	int rc = -1;

	if ((!program->warm_up || program->warm_up(&err) == 0) &&
	    loop_new(&loop, &err) == 0 && jail_enter(jail, &err) == 0)
		running = program->start(loop, ENGINE_FD, &err);
	if (running) {
		startup_pages_drop();
		rc = loop_run(loop);
		program->stop(running);
	} else {
		log_err("%s", err.msg);
	}
	loop_free(loop);
	return rc < 0 ? EXIT_FAILURE : rc;
}

int helper_main(const struct helper_main *program, int argc, char **argv)
{
	struct jail_spec jail = program->jail;
	bool debug = argc == 4 && strcmp(argv[3], "--debug") == 0;

	if (argc != 3 + debug || jail_set_user(&jail, argv[1], argv[2]) < 0 ||
	    !engine_is_there()) {
		fprintf(stderr, "%s is started by sandboxd\n", program->name);
		return EXIT_USAGE;
	}
	close_range(ENGINE_FD + 1, ~0u, 0);
	log_open(program->name, debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	/* Of what writes to sockets, splice(2) has no flag against it. */
	signal(SIGPIPE, SIG_IGN);
	return run(program, &jail);
}
