/* SPDX-License-Identifier: Apache-2.0 */
/* pump.c - our own descriptors beside a stream: what comes in, what goes out
 *
 * Theory of operation
 * ===================
 *
 * Descriptors block, since they are shared. A pipe that poll() calls writable
 * takes PIPE_BUF bytes without blocking, so that is the size of a write to
 * anything that epoll knows; a socket is written with MSG_DONTWAIT. What epoll
 * does not know (regular files, some devices) never blocks for long, and is
 * read and written straight away: a source for one is a deferred event that is
 * always ready.
 */
#include "ctl/pump.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct sink {
	int fd;
	const struct sink_ops *ops;
	void *arg;
	sd_event_source *io; /* NULL: epoll does not know this descriptor */
	bool is_socket;
	bool full, failed;
	uint8_t *buf;
	size_t begin, end, size; /* bytes waiting are buf[begin..end) */
};

struct source {
	int fd;
	const struct source_ops *ops;
	void *arg;
	sd_event_source *event;
	uint8_t buf[PUMP_READ_MAX];
};

/* ---- sink ---- */

static void fail(struct sink *s, int errnum)
{
	s->failed = true;
	s->begin = s->end = 0;
	if (s->io)
		sd_event_source_set_enabled(s->io, SD_EVENT_OFF);
	s->ops->failed(s, errnum, s->arg);
}

/* Return: bytes written, 0 when it would block, -1 when it failed. */
static ssize_t write_some(struct sink *s, const uint8_t *data, size_t len)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLOUT };
	ssize_t n;

	do {
		if (s->is_socket) {
			n = send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			if (s->io && poll(&pfd, 1, 0) == 0)
				return 0;
			if (s->io && len > PIPE_BUF)
				len = PIPE_BUF;
			n = write(s->fd, data, len);
		}
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0) {
		fail(s, errno);
		return -1;
	}
	return n;
}

static void flush(struct sink *s)
{
	while (s->begin < s->end) {
		ssize_t n = write_some(s, s->buf + s->begin, s->end - s->begin);

		if (n <= 0)
			break;
		s->begin += (size_t)n;
	}
	if (s->begin == s->end)
		s->begin = s->end = 0;
	if (s->io)
		sd_event_source_set_enabled(s->io, s->end ? SD_EVENT_ON
							  : SD_EVENT_OFF);
}

static int on_writable(sd_event_source *source, int fd, uint32_t events,
		       void *arg)
{
	struct sink *s = arg;

	(void)source;
	(void)fd;
	(void)events;
	flush(s);
	if (s->full && s->end - s->begin <= SINK_FULL / 2) {
		s->full = false;
		s->ops->drained(s, s->arg);
	}
	return 0;
}

struct sink *sink_new(struct loop *loop, int fd, const struct sink_ops *ops,
		      void *arg)
{
	struct sink *s = xcalloc(1, sizeof(*s));
	struct stat st;

	*s = (struct sink){ .fd = fd, .ops = ops, .arg = arg };
	s->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	if (sd_event_add_io(loop_event(loop), &s->io, fd, EPOLLOUT, on_writable,
			    s) < 0)
		s->io = NULL;
	else
		sd_event_source_set_enabled(s->io, SD_EVENT_OFF);
	return s;
}

struct sink *sink_free(struct sink *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->io);
	free(s->buf);
	free(s);
	return NULL;
}

static void keep(struct sink *s, const uint8_t *data, size_t len)
{
	if (s->begin) {
		memmove(s->buf, s->buf + s->begin, s->end - s->begin);
		s->end -= s->begin;
		s->begin = 0;
	}
	if (s->size - s->end < len) {
		s->size = s->end + len;
		s->buf = xrealloc(s->buf, s->size, 1);
	}
	memcpy(s->buf + s->end, data, len);
	s->end += len;
	if (s->end >= SINK_FULL)
		s->full = true;
}

void sink_write(struct sink *s, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (s->failed || len == 0)
		return;
	while (len > 0 && s->begin == s->end) {
		ssize_t n = write_some(s, p, len);

		if (n < 0)
			return;
		if (n == 0)
			break;
		p += n;
		len -= (size_t)n;
	}
	if (len == 0)
		return;
	keep(s, p, len);
	if (s->io)
		sd_event_source_set_enabled(s->io, SD_EVENT_ON);
	else
		flush(s);
}

bool sink_is_full(const struct sink *s)
{
	return s->full;
}

bool sink_is_empty(const struct sink *s)
{
	return s->begin == s->end;
}

bool sink_has_failed(const struct sink *s)
{
	return s->failed;
}

/* ---- source ---- */

static void take(struct source *s)
{
	ssize_t n;

	do {
		n = read(s->fd, s->buf, sizeof(s->buf));
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		s->ops->data(s, s->buf, (size_t)n, s->arg);
		return;
	}
	source_pause(s, true);
	/* EIO: the terminal is gone. */
	s->ops->end(s, n < 0 && errno != EIO ? errno : 0, s->arg);
}

static int on_readable(sd_event_source *source, int fd, uint32_t events,
		       void *arg)
{
	(void)source;
	(void)fd;
	(void)events;
	take(arg);
	return 0;
}

static int on_defer(sd_event_source *source, void *arg)
{
	(void)source;
	take(arg);
	return 0;
}

struct source *source_new(struct loop *loop, int fd,
			  const struct source_ops *ops, void *arg)
{
	struct source *s = xcalloc(1, sizeof(*s));

	s->fd = fd;
	s->ops = ops;
	s->arg = arg;
	if (sd_event_add_io(loop_event(loop), &s->event, fd, EPOLLIN,
			    on_readable, s) >= 0)
		return s;
	if (sd_event_add_defer(loop_event(loop), &s->event, on_defer, s) < 0)
		abort();
	/* Behind what the node sends: a big file must not starve it. */
	sd_event_source_set_priority(s->event, SD_EVENT_PRIORITY_IDLE);
	sd_event_source_set_enabled(s->event, SD_EVENT_ON);
	return s;
}

struct source *source_free(struct source *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->event);
	free(s);
	return NULL;
}

void source_pause(struct source *s, bool paused)
{
	sd_event_source_set_enabled(s->event,
				    paused ? SD_EVENT_OFF : SD_EVENT_ON);
}
