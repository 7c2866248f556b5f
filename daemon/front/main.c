/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-front: started by sandboxd with its socket as descriptor 3 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/jail.h"
#include "base/log.h"
#include "base/loop.h"
#include "front/front.h"

#include <getopt.h>
#include <linux/close_range.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IPC_FD	   3
#define EXIT_USAGE 2
#define FILES_MAX  65536 /* two a client, one a guest, one a port */

struct options {
	uid_t uid;
	gid_t gid;
	bool debug;
};

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "user", required_argument, NULL, 'u' },
		{ "debug", no_argument, NULL, 'd' },
		{ 0 },
	};
	char end;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'd')
			o->debug = true;
		else if (c != 'u' ||
			 sscanf(optarg, "%u:%u%c", &o->uid, &o->gid, &end) != 2)
			return -1;
	}
	return optind == argc ? 0 : -1;
}

/* What libraries open or allocate once, while they still can. */
static int warm_up(struct error *err)
{
	unsigned char byte;

	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 ||
	    RAND_bytes(&byte, 1) != 1)
		return err_set(err, ERR_INTERNAL, "set up OpenSSL");
	return 0;
}

static void on_gone(struct front *front, const char *why)
{
	log_info("the engine is gone (%s): so is front", why);
	loop_stop(front->loop, 0);
}

static int run(const struct options *o, struct error *err)
{
	static const char *const extra[] = { "pipe2", NULL };
	const struct jail_spec jail = { .uid = o->uid,
					.gid = o->gid,
					.extra = extra,
					.files_max = FILES_MAX };
	struct front *front = NULL;
	struct loop *loop = NULL;
	int r = -1;

	if (warm_up(err) < 0 || loop_new(&loop, err) < 0)
		return -1;
	if (jail_enter(&jail, err) == 0 &&
	    front_new(loop, IPC_FD, on_gone, &front, err) == 0)
		r = loop_run(loop) < 0
			    ? err_set(err, ERR_INTERNAL, "the event loop ended")
			    : 0;
	front_free(front);
	loop_free(loop);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct error err = { 0 };
	socklen_t len = sizeof(int);
	int type;

	if (parse(argc, argv, &o) < 0 ||
	    getsockopt(IPC_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_SEQPACKET) {
		fprintf(stderr, "sandboxd-front is started by sandboxd\n");
		return EXIT_USAGE;
	}
	close_range(IPC_FD + 1, ~0u, 0);
	log_open("sandboxd-front", o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	if (run(&o, &err) < 0) {
		log_err("%s", err.msg);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
