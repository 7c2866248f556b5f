/* SPDX-License-Identifier: Apache-2.0 */
/* process_io.c - a process's descriptors: output into rings, stdin, its end
 *
 * Theory of operation
 *
 * Output is read in small pieces, one a turn and stream, so that stdout and
 * stderr keep about the order in which they were written. Every callback of ops
 * may free us: after calling one, nothing of io is touched unless the caller is
 * known to keep it.
 *
 * When the process has died, a pipe's bytes at that moment (FIONREAD) are its
 * last output. A terminal cannot say how many it has: it is read until it is
 * empty, at most so much.
 *
 * A pipe that others still hold then lingers: it is read and forgotten, slowly,
 * so that a server started with "&" does not die of SIGPIPE.
 */
#include "process_io.h"

#include "agent.h"
#include "loop.h"
#include "pty.h"
#include "request.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* More than a terminal's buffers hold. */
#define TERMINAL_DRAIN_MAX (128u << 10)
#define LINGERS_MAX	   256u
#define LINGER_REST_MS	   10u

/* ---- pipes that nobody reads any more ---- */

struct linger {
	struct list item;
	struct agent *agent;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *rest;
};

static void linger_free(struct linger *l)
{
	loop_fd_free(l->watch);
	loop_timer_free(l->rest);
	fd_close(&l->fd);
	list_del(&l->item);
	l->agent->n_lingers--;
	free(l);
}

static void on_linger_rested(void *arg)
{
	struct linger *l = arg;

	loop_fd_set(l->watch, EPOLLIN, true);
}

static void on_linger(uint32_t events, void *arg)
{
	uint8_t buf[16u << 10];
	struct linger *l = arg;
	ssize_t n = read(l->fd, buf, sizeof(buf));

	(void)events;
	if (n > 0) {
		loop_fd_set(l->watch, EPOLLIN, false);
		loop_timer_at(l->rest,
			      loop_now_ms(l->agent->loop) + LINGER_REST_MS);
	} else if (n == 0 || errno != EAGAIN) {
		linger_free(l);
	}
}

/* Consumes @fd. */
static void linger(struct agent *agent, int fd)
{
	struct linger *l = xcalloc(1, sizeof(*l));

	if (agent->n_lingers >= LINGERS_MAX)
		linger_free(
			list_entry(agent->lingers.next, struct linger, item));
	l->agent = agent;
	l->fd = fd;
	list_add_tail(&agent->lingers, &l->item);
	agent->n_lingers++;
	l->rest = loop_timer_new(agent->loop, on_linger_rested, l);
	l->watch = loop_fd_new(agent->loop, fd, EPOLLIN, on_linger, l);
	if (!l->watch)
		linger_free(l);
}

/* ---- output ---- */

static void stdin_drop(struct process_io *io)
{
	io->in_watch = loop_fd_free(io->in_watch);
	fd_close(&io->in_fd);
	free(io->in_buf);
	io->in_buf = NULL;
	io->in_at = io->in_len = 0;
}

static void stream_end(struct stream *s, bool others_have_it)
{
	s->watch = loop_fd_free(s->watch);
	if (s->fd == s->io->terminal)
		s->io->terminal = -EBADF;
	else if (s->fd >= 0 && others_have_it)
		linger(s->io->agent, TAKE_FD(s->fd));
	fd_close(&s->fd);
}

/* Read a piece. True: there was one, and ops.output is due. */
static bool stream_read(struct stream *s)
{
	struct process_io *io = s->io;
	uint8_t buf[PROCESS_CHUNK];
	size_t want = sizeof(buf);
	ssize_t n;

	if (io->draining && s->left < want)
		want = s->left;
	n = read(s->fd, buf, want);
	if (n < 0 && errno == EINTR)
		return false;
	if (n < 0 && errno == EAGAIN) {
		if (io->draining)
			stream_end(s, true);
		return false;
	}
	if (n <= 0) { /* a terminal's end is EIO */
		stream_end(s, false);
		return false;
	}
	ring_append(&io->ring[s - io->stream], buf, (size_t)n);
	if (io->draining) {
		s->left -= (size_t)n;
		if (s->left == 0)
			stream_end(s, true);
	}
	return true;
}

static bool all_ended(const struct process_io *io)
{
	return io->stream[PROCESS_STDOUT].fd < 0 &&
	       io->stream[PROCESS_STDERR].fd < 0;
}

/* Read on towards the end, as far as clients let us. */
static void drain_on(struct process_io *io)
{
	for (int i = 0; i < PROCESS_STREAMS; i++)
		while (!io->held && io->stream[i].fd >= 0)
			if (stream_read(&io->stream[i]))
				io->ops->output(io->arg);
	if (all_ended(io))
		io->ops->drained(io->arg);
}

static void on_stream(uint32_t events, void *arg)
{
	struct stream *s = arg;
	struct process_io *io = s->io;

	(void)events;
	if (io->draining)
		drain_on(io);
	else if (stream_read(s))
		io->ops->output(io->arg);
}

void process_io_hold(struct process_io *io, bool hold)
{
	if (io->held == hold)
		return;
	io->held = hold;
	for (int i = 0; i < PROCESS_STREAMS; i++)
		if (io->stream[i].watch)
			loop_fd_set(io->stream[i].watch, EPOLLIN, !hold);
	if (io->draining && !hold && !all_ended(io))
		drain_on(io);
}

void process_io_drain(struct process_io *io)
{
	io->draining = true;
	stdin_drop(io);
	loop_timer_at(io->timeout, LOOP_NEVER);
	for (int i = 0; i < PROCESS_STREAMS; i++) {
		struct stream *s = &io->stream[i];
		int n = 0;

		if (s->fd < 0)
			continue;
		if (s->fd == io->terminal)
			s->left = TERMINAL_DRAIN_MAX;
		else if (ioctl(s->fd, FIONREAD, &n) == 0 && n > 0)
			s->left = (size_t)n;
		else
			stream_end(s, true);
	}
	drain_on(io);
}

/* ---- stdin ---- */

bool process_io_stdin_is_full(const struct process_io *io)
{
	return io->in_len - io->in_at >= PROCESS_STDIN_HIGH;
}

/* Write what waits. */
static void stdin_flush(struct process_io *io)
{
	while (io->in_at < io->in_len) {
		ssize_t n = write(io->in_fd, io->in_buf + io->in_at,
				  io->in_len - io->in_at);

		if (n > 0) {
			io->in_at += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			loop_fd_set(io->in_watch, EPOLLOUT, true);
			return;
		}
		stdin_drop(io); /* nobody reads: like a shell's pipe */
		return;
	}
	free(io->in_buf);
	io->in_buf = NULL;
	io->in_at = io->in_len = 0;
	if (io->in_closing)
		stdin_drop(io);
	else
		loop_fd_set(io->in_watch, EPOLLOUT, false);
}

static void on_stdin(uint32_t events, void *arg)
{
	struct process_io *io = arg;

	(void)events;
	stdin_flush(io);
	if (!process_io_stdin_is_full(io))
		io->ops->stdin_ready(io->arg);
}

static void stdin_put(struct process_io *io, const uint8_t *data, size_t len)
{
	size_t held = io->in_len - io->in_at;
	uint8_t *buf = xcalloc(1, held + len);

	if (held)
		memcpy(buf, io->in_buf + io->in_at, held);
	if (len)
		memcpy(buf + held, data, len);
	free(io->in_buf);
	io->in_buf = buf;
	io->in_at = 0;
	io->in_len = held + len;
	stdin_flush(io);
}

bool process_io_write(struct process_io *io, const uint8_t *data, size_t len)
{
	if (io->in_fd >= 0 && !io->in_closing && len)
		stdin_put(io, data, len);
	return process_io_stdin_is_full(io);
}

void process_io_close_stdin(struct process_io *io)
{
	uint8_t eof;

	if (io->in_fd < 0 || io->in_closing)
		return;
	io->in_closing = true;
	if (io->terminal >= 0) {
		eof = pty_eof_char(io->terminal);
		stdin_put(io, &eof, 1);
	} else if (!process_io_stdin_is_full(io)) {
		stdin_drop(io);
	}
}

/* ---- begin and end ---- */

static void on_report(uint32_t events, void *arg)
{
	struct process_io *io = arg;

	(void)events;
	io->ops->report(io->arg);
}

void process_io_report_end(struct process_io *io)
{
	io->report_watch = loop_fd_free(io->report_watch);
	fd_close(&io->report_fd);
}

static void on_timeout(void *arg)
{
	struct process_io *io = arg;

	io->ops->timeout(io->arg);
}

struct process_io *process_io_new(struct agent *agent, struct ring *rings,
				  const struct process_io_ops *ops, void *arg)
{
	struct process_io *io = xcalloc(1, sizeof(*io));

	*io = (struct process_io){
		.agent = agent,
		.ops = ops,
		.arg = arg,
		.ring = rings,
		.cgroup_fd = -EBADF,
		.report_fd = -EBADF,
		.terminal = -EBADF,
		.in_fd = -EBADF,
		.started_ms = loop_now_ms(agent->loop),
	};
	list_init(&io->clients);
	for (int i = 0; i < PROCESS_STREAMS; i++)
		io->stream[i] = (struct stream){ .io = io, .fd = -EBADF };
	io->timeout = loop_timer_new(agent->loop, on_timeout, io);
	return io;
}

void process_io_free(struct process_io *io)
{
	process_io_report_end(io);
	stdin_drop(io);
	for (int i = 0; i < PROCESS_STREAMS; i++)
		stream_end(&io->stream[i], false);
	loop_timer_free(io->timeout);
	fd_close(&io->cgroup_fd);
	free(io);
}

static int make_pipe(int *ret_ours, int *ret_theirs, bool we_read,
		     struct error *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	*ret_ours = fds[we_read ? 0 : 1];
	*ret_theirs = fds[we_read ? 1 : 0];
	fcntl(*ret_ours, F_SETFL, O_NONBLOCK);
	return 0;
}

void process_io_ends_close(struct process_io_ends *ends)
{
	fd_close(&ends->in);
	fd_close(&ends->out);
	fd_close(&ends->err);
	fd_close(&ends->terminal);
}

static int open_terminal(struct process_io *io,
			 const struct process_request *rq,
			 struct process_io_ends *ends, struct error *err)
{
	struct stream *s = &io->stream[PROCESS_STDOUT];

	if (pty_open(rq->rows, rq->columns, &s->fd, &ends->terminal, err) < 0)
		return -1;
	io->terminal = s->fd;
	io->in_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	return io->in_fd < 0 ? err_sys(err, errno, "open a terminal") : 0;
}

int process_io_open(struct process_io *io, const struct process_request *rq,
		    struct process_io_ends *ret, struct error *err)
{
	struct process_io_ends ends = { -EBADF, -EBADF, -EBADF, -EBADF };
	int r = 0;

	if (rq->pty) {
		r = open_terminal(io, rq, &ends, err);
	} else {
		if (rq->wants_stdin)
			r = make_pipe(&io->in_fd, &ends.in, false, err);
		if (r == 0)
			r = make_pipe(&io->stream[PROCESS_STDOUT].fd, &ends.out,
				      true, err);
		if (r == 0)
			r = make_pipe(&io->stream[PROCESS_STDERR].fd, &ends.err,
				      true, err);
	}
	if (r < 0) {
		process_io_ends_close(&ends);
		return -1;
	}
	*ret = ends;
	/* Stdin is empty: on a terminal the program must be told so. */
	if (rq->pty && !rq->wants_stdin)
		io->in_closing = true;
	return 0;
}

int process_io_begin(struct process_io *io, uint32_t timeout_ms,
		     struct error *err)
{
	struct loop *loop = io->agent->loop;

	io->report_watch =
		loop_fd_new(loop, io->report_fd, EPOLLIN, on_report, io);
	if (!io->report_watch)
		return err_sys(err, errno, "watch a process");
	for (int i = 0; i < PROCESS_STREAMS; i++) {
		struct stream *s = &io->stream[i];

		if (s->fd < 0)
			continue;
		s->watch = loop_fd_new(loop, s->fd, EPOLLIN, on_stream, s);
		if (!s->watch)
			return err_sys(err, errno, "watch a process's output");
	}
	if (io->in_fd >= 0) {
		io->in_watch =
			loop_fd_new(loop, io->in_fd, EPOLLOUT, on_stdin, io);
		if (!io->in_watch)
			return err_sys(err, errno, "watch a process's input");
		loop_fd_set(io->in_watch, EPOLLOUT, false);
	}
	if (timeout_ms)
		loop_timer_at(io->timeout, io->started_ms + timeout_ms);
	if (io->in_closing) {
		io->in_closing = false;
		process_io_close_stdin(io);
	}
	return 0;
}
