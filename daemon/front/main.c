/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - sandboxd-front: speaks to clients and to the guests' agents
 *
 * It has no file, no capability, and no way to anyone but by the sockets that
 * it is handed.
 */
#include "base/error.h"
#include "base/helper_main.h"
#include "base/log.h"
#include "base/loop.h"
#include "front/front.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>

#define FILES_MAX 65536 /* two a client, one a guest, one a port */

static const char *const own_calls[] = { "pipe2", NULL };

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

static void *start(struct loop *loop, int fd, struct error *err)
{
	struct front *front = NULL;

	front_new(loop, fd, on_gone, &front, err);
	return front;
}

static void stop(void *front)
{
	front_free(front);
}

int main(int argc, char **argv)
{
	static const struct helper_main program = {
		.name = "sandboxd-front",
		.jail = { .extra = own_calls, .files_max = FILES_MAX },
		.warm_up = warm_up,
		.start = start,
		.stop = stop,
	};

	return helper_main(&program, argc, argv);
}
