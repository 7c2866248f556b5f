/* SPDX-License-Identifier: Apache-2.0 */
/* out.c - standard output that nobody may be reading */
#include "ctl/out.h"

#include "base/fd.h"
#include "ctl/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct client *watched;
static bool dropped;

static int write_interruptibly(const void *data, size_t len)
{
	sigset_t ends, before;
	int r;

	dropped = dropped || (watched && client_interrupted(watched));
	if (dropped)
		return 0;
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	/* One that waits ends us here. */
	sigprocmask(SIG_UNBLOCK, &ends, &before);
	r = fd_write_full(STDOUT_FILENO, data, len);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

static ssize_t on_write(void *cookie, const char *data, size_t len)
{
	int r = write_interruptibly(data, len);

	(void)cookie;
	if (r == 0)
		return (ssize_t)len;
	errno = -r;
	return 0;
}

void out_init(void)
{
	const cookie_io_functions_t functions = { .write = on_write };
	FILE *out = fopencookie(NULL, "w", functions);

	if (!out)
		abort();
	setvbuf(out, NULL, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, BUFSIZ);
	stdout = out;
}

void out_watch(const struct client *client)
{
	dropped = dropped || (watched && client_interrupted(watched));
	watched = client;
}

int out_write(const void *data, size_t len)
{
	if (fflush(stdout) != 0)
		return -errno;
	return write_interruptibly(data, len);
}
