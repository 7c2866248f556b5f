/* SPDX-License-Identifier: Apache-2.0 */
/* half.c - one direction of a connection */
#include "splice/half.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define PIPE_SIZE (256 << 10)
#define POOL_MAX  64 /* empty pipes kept */

struct pipes {
	int fds[POOL_MAX][2];
	size_t n;
};

struct pipes *pipes_new(void)
{
	return xcalloc(1, sizeof(struct pipes));
}

struct pipes *pipes_free(struct pipes *pipes)
{
	if (!pipes)
		return NULL;
	while (pipes->n) {
		pipes->n--;
		close(pipes->fds[pipes->n][0]);
		close(pipes->fds[pipes->n][1]);
	}
	free(pipes);
	return NULL;
}

static bool pipes_take(struct pipes *pipes, int ret[2])
{
	if (pipes->n) {
		memcpy(ret, pipes->fds[--pipes->n], sizeof(pipes->fds[0]));
		return true;
	}
	if (pipe2(ret, O_CLOEXEC | O_NONBLOCK) < 0) {
		ret[0] = ret[1] = -EBADF;
		return false;
	}
	/* A user has only so many large ones. */
	fcntl(ret[1], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

/* Only an empty one. */
static void pipes_put(struct pipes *pipes, int fds[2])
{
	if (fds[0] < 0)
		return;
	if (pipes->n < POOL_MAX) {
		memcpy(pipes->fds[pipes->n++], fds, sizeof(pipes->fds[0]));
		fds[0] = fds[1] = -EBADF;
		return;
	}
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

void half_init(struct half *h, struct pipes *pipes, int from, int to)
{
	*h = (struct half){ .pipes = pipes,
			    .from = from,
			    .to = to,
			    .pipe = { -EBADF, -EBADF } };
}

void half_fini(struct half *h)
{
	free(h->buffer);
	h->buffer = NULL;
	if (!h->piped)
		pipes_put(h->pipes, h->pipe);
	fd_close(&h->pipe[0]);
	fd_close(&h->pipe[1]);
}

bool half_blocked(const struct half *h)
{
	return h->to >= 0 && (h->pass > 0 || h->piped > 0);
}

bool half_wants(const struct half *h)
{
	if (h->from < 0 || h->eof || h->piped || (h->to >= 0 && h->pass))
		return false;
	return h->raw ? h->n == 0 : h->n < HALF_BUFFER;
}

static enum half_result result_of(ssize_t got)
{
	if (got > 0)
		return HALF_MOVED;
	return errno == EAGAIN || errno == EINTR ? HALF_AGAIN : HALF_BROKEN;
}

static enum half_result read_pipe(struct half *h)
{
	ssize_t got;

	if (h->pipe[0] < 0 && !pipes_take(h->pipes, h->pipe))
		return HALF_BROKEN;
	got = splice(h->from, NULL, h->pipe[1], NULL, PIPE_SIZE,
		     SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (got > 0)
		h->piped = (size_t)got;
	else
		pipes_put(h->pipes, h->pipe);
	if (got == 0)
		h->eof = true;
	return got == 0 ? HALF_MOVED : result_of(got);
}

enum half_result half_read(struct half *h)
{
	ssize_t got;

	if (!half_wants(h))
		return HALF_AGAIN;
	if (h->raw)
		return read_pipe(h);
	if (!h->buffer)
		h->buffer = xrealloc(NULL, 1, HALF_BUFFER);
	got = recv(h->from, h->buffer + h->n, HALF_BUFFER - h->n, 0);
	if (got > 0)
		h->n += (size_t)got;
	if (got == 0)
		h->eof = true;
	return got == 0 ? HALF_MOVED : result_of(got);
}

static enum half_result write_buffer(struct half *h)
{
	ssize_t sent = send(h->to, h->buffer, h->pass, MSG_NOSIGNAL);

	if (sent > 0) {
		h->n -= (size_t)sent;
		h->pass -= (size_t)sent;
		memmove(h->buffer, h->buffer + sent, h->n);
	}
	return result_of(sent);
}

static enum half_result write_pipe(struct half *h)
{
	ssize_t sent = splice(h->pipe[0], NULL, h->to, NULL, h->piped,
			      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (sent > 0)
		h->piped -= (size_t)sent;
	return result_of(sent);
}

enum half_result half_write(struct half *h)
{
	while (half_blocked(h)) {
		enum half_result r = h->pass ? write_buffer(h) : write_pipe(h);

		if (r != HALF_MOVED)
			return r;
	}
	if (h->piped == 0)
		pipes_put(h->pipes, h->pipe);
	/* What is idle holds no memory. */
	if (h->n == 0) {
		free(h->buffer);
		h->buffer = NULL;
	}
	/* What waits for more that will not come is not passed on. */
	if (h->eof && !h->shut && h->to >= 0) {
		h->shut = true;
		if (shutdown(h->to, SHUT_WR) < 0)
			return HALF_BROKEN;
	}
	return HALF_MOVED;
}
