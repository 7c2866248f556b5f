/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_front_ipc.c - any message that front may get over the engine's socket
 *
 * The engine is trusted with more than front is; but a front that breaks over a
 * message of a newer or half-dead engine would take all clients with it.
 */
#include "base/error.h"
#include "base/loop.h"
#include "front/front.h"

#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TURNS 8

static void on_gone(struct front *front, const char *why)
{
	(void)front;
	(void)why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct front *front = NULL;
	struct loop *loop = NULL;
	struct error err;
	int fds[2];

	if (size == 0 || size > 60000 || loop_new(&loop, &err) < 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, fds) < 0)
		goto out;
	if (front_new(loop, fds[1], on_gone, &front, &err) == 0 &&
	    send(fds[0], data, size, MSG_NOSIGNAL) > 0)
		for (int i = 0; i < TURNS; i++)
			sd_event_run(loop_event(loop), 0);
	front_free(front);
	close(fds[0]);
out:
	loop_free(loop);
	return 0;
}
