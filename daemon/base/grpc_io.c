/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_io.c - moves bytes between a grpc_conn and a descriptor
 *
 * Theory of operation
 * ===================
 *
 * All work is done in pump(), which only the loop calls: for the descriptor,
 * for the timer, and for the deferred source that grpc_conn's wake hook arms.
 * So a send from anywhere never ends a connection under the sender's feet: what
 * ends it happens at the end of pump(), where nothing else is on the stack.
 *
 * A pump goes through connecting, handshake (TLS) and resync (serial) to ready;
 * one deadline covers all three. Input is always read: a peer that is not read
 * from while it waits for us to take something would never get to read from us.
 * What input can make us hold is bounded by the windows of HTTP/2 and by
 * grpc_conn's limit on frames it owes. Output is taken from the connection only
 * when the buffer here is empty, so a slow peer holds up its own calls' queues
 * and these report it to who fills them.
 */
#include "base/grpc_io.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/grpc_tls.h"
#include "base/loop.h"
#include "base/mem.h"
#include "grpc.h"
#include "resync.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define OUT_MAX (32u << 10)
#define IN_MAX	(64u << 10)
/* What one turn moves each way before others get theirs. */
#define TURN_MAX (512u << 10)

enum io_state {
	IO_CONNECTING = 0, /* connect() is under way */
	IO_HANDSHAKE,	   /* TLS */
	IO_RESYNC,	   /* the mark is sent or being sent, no echo yet */
	IO_READY,

	IO_STATE_COUNT,
};

static const char *const state_names[] = {
	[IO_CONNECTING] = "connecting",
	[IO_HANDSHAKE] = "the TLS handshake",
	[IO_RESYNC] = "getting in step with the guest",
	[IO_READY] = "ready",
};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == IO_STATE_COUNT,
	      "every state has a name");

struct grpc_io {
	struct loop *loop;
	struct grpc_conn *conn;
	const struct grpc_io_ops *ops;
	void *arg;
	int fd;
	bool is_socket;
	struct grpc_tls *tls;
	struct grpc_io_params params;
	enum io_state state;

	sd_event_source *io_source;
	sd_event_source *defer;
	sd_event_source *timer;
	uint64_t timer_at; /* UINT64_MAX: off */
	uint32_t events;   /* asked of epoll */
	bool readable; /* input may be there: epoll said so, or TLS has it */

	uint64_t started_ms;
	uint64_t stalled_ms; /* since when nothing was taken; 0: it flows */
	uint64_t idle_ms;    /* since when there is no call; 0: there is */

	struct resync_node resync;
	uint8_t *out; /* only while it holds something */
	size_t out_off, out_len;

	bool ended;
	char why[192];
};

static void end(struct grpc_io *io, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void end(struct grpc_io *io, const char *fmt, ...)
{
	va_list ap;

	if (io->ended)
		return;
	io->ended = true;
	va_start(ap, fmt);
	vsnprintf(io->why, sizeof(io->why), fmt, ap);
	va_end(ap);
}

static void call_soon(struct grpc_io *io)
{
	sd_event_source_set_enabled(io->defer, SD_EVENT_ONESHOT);
}

/* ---- the descriptor ---- */

/* What TLS gave, and why it ended, if it did. */
static ssize_t of_tls(struct grpc_io *io, ssize_t r)
{
	if (r < 0 && r != -EAGAIN)
		end(io, "%s", io->tls->why);
	return r;
}

/* Bytes, 0 at the end, -EAGAIN, or another error and ended. */
static ssize_t io_read(struct grpc_io *io, uint8_t *buf, size_t size)
{
	ssize_t r;

	if (io->tls)
		return of_tls(io, io->tls->ops->read(io->tls, buf, size));
	do
		r = read(io->fd, buf, size);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno == EAGAIN)
		return -EAGAIN;
	end(io, "read: %s", strerrordesc_np(errno));
	return -EIO;
}

static ssize_t io_write(struct grpc_io *io, const uint8_t *buf, size_t len)
{
	ssize_t r;

	if (io->tls)
		return of_tls(io, io->tls->ops->write(io->tls, buf, len));
	do
		r = io->is_socket ? send(io->fd, buf, len, MSG_NOSIGNAL) :
				    write(io->fd, buf, len);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno == EAGAIN)
		return -EAGAIN;
	end(io, "write: %s", strerrordesc_np(errno));
	return -EIO;
}

/* ---- becoming ready ---- */

/* Most connections wait, most of the time, and there may be one a guest. */
static void need_out(struct grpc_io *io)
{
	if (!io->out)
		io->out = xrealloc(NULL, RESYNC_STUFFED_MAX(OUT_MAX), 1);
}

static void drop_out(struct grpc_io *io)
{
	free(io->out);
	io->out = NULL;
}

static void begin_resync(struct grpc_io *io)
{
	uint8_t random[RESYNC_RANDOM_LEN];

	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		end(io, "no random bytes for a mark");
		return;
	}
	resync_node_init(&io->resync, random);
	need_out(io);
	memcpy(io->out, io->resync.mark, RESYNC_MARK_LEN);
	io->out_len = RESYNC_MARK_LEN;
}

static void enter(struct grpc_io *io, enum io_state state)
{
	if (state == IO_HANDSHAKE && !io->tls)
		state = IO_RESYNC;
	if (state == IO_RESYNC && !io->params.resync)
		state = IO_READY;
	io->state = state;
	io->readable = true;
	if (state == IO_RESYNC)
		begin_resync(io);
	if (state == IO_READY && io->ops->ready)
		io->ops->ready(io, io->arg);
}

static void check_connected(struct grpc_io *io, uint32_t revents)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (!(revents & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error)
		end(io, "connect: %s", strerrordesc_np(error));
	else
		enter(io, IO_HANDSHAKE);
}

static void do_handshake(struct grpc_io *io)
{
	ssize_t r;

	io->tls->wants = 0;
	r = of_tls(io, io->tls->ops->handshake(io->tls));
	if (r > 0)
		enter(io, IO_RESYNC);
	else if (r == 0)
		end(io, "TLS handshake: the peer closed the connection");
}

/* ---- moving bytes ---- */

static void take(struct grpc_io *io, const uint8_t *data, size_t len)
{
	if (io->state == IO_RESYNC) {
		size_t n = resync_node_skip(&io->resync, data, len);

		data += n;
		len -= n;
		if (!resync_node_in_sync(&io->resync))
			return;
		enter(io, IO_READY);
	}
	/* An error shows in grpc_conn_is_over() once its GOAWAY is out. */
	if (len)
		grpc_conn_feed(io->conn, data, len);
}

static void do_read(struct grpc_io *io)
{
	uint8_t buf[IN_MAX];
	size_t all = 0;

	while (!io->ended) {
		ssize_t r;

		if (all >= TURN_MAX) {
			call_soon(io);
			return;
		}
		r = io_read(io, buf, sizeof(buf));
		if (r == -EAGAIN)
			break;
		if (r == 0)
			end(io, "the peer closed the connection");
		if (r <= 0)
			break;
		all += (size_t)r;
		take(io, buf, (size_t)r);
	}
	io->readable = false;
}

/* Get more to write, when all before is written. */
static void refill(struct grpc_io *io)
{
	uint8_t raw[OUT_MAX];

	io->out_off = 0;
	io->out_len = 0;
	if (io->state != IO_READY)
		return;
	need_out(io);
	if (!io->params.resync) {
		io->out_len = grpc_conn_output(io->conn, io->out, OUT_MAX);
		return;
	}
	io->out_len =
		resync_node_stuff(&io->resync, io->out, raw,
				  grpc_conn_output(io->conn, raw, sizeof(raw)));
}

static void do_write(struct grpc_io *io, uint64_t now)
{
	size_t all = 0;

	while (!io->ended) {
		ssize_t r;

		if (all >= TURN_MAX) {
			call_soon(io);
			break;
		}
		if (io->out_off == io->out_len)
			refill(io);
		if (io->out_off == io->out_len) {
			io->stalled_ms = 0;
			drop_out(io);
			break;
		}
		r = io_write(io, io->out + io->out_off,
			     io->out_len - io->out_off);
		if (r <= 0) {
			if (!io->stalled_ms)
				io->stalled_ms = now;
			if (r == 0)
				end(io, "the peer closed the connection");
			break;
		}
		io->stalled_ms = 0;
		io->out_off += (size_t)r;
		all += (size_t)r;
	}
}

/* ---- time ---- */

static void check_times(struct grpc_io *io, uint64_t now)
{
	if (io->state != IO_READY &&
	    now - io->started_ms >= io->params.handshake_ms)
		end(io, "%s took over %u ms", state_names[io->state],
		    io->params.handshake_ms);
	if (io->stalled_ms && now - io->stalled_ms >= io->params.stall_ms)
		end(io, "the peer took nothing for %u ms", io->params.stall_ms);
	if (!grpc_conn_is_idle(io->conn))
		io->idle_ms = 0;
	else if (!io->idle_ms)
		io->idle_ms = now;
	else if (io->params.idle_ms && now - io->idle_ms >= io->params.idle_ms)
		grpc_conn_drain(io->conn);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void on_timer(void *arg);

static void arm(struct grpc_io *io, uint64_t now)
{
	uint64_t at = grpc_conn_next_ms(io->conn);
	uint32_t events = EPOLLIN;

	if (io->state != IO_READY)
		at = earlier(at, io->started_ms + io->params.handshake_ms);
	if (io->stalled_ms)
		at = earlier(at, io->stalled_ms + io->params.stall_ms);
	if (io->params.idle_ms && io->idle_ms &&
	    io->idle_ms + io->params.idle_ms > now)
		at = earlier(at, io->idle_ms + io->params.idle_ms);
	if (at == UINT64_MAX) {
		if (io->timer_at != at)
			loop_timer_off(io->timer);
	} else if (at != io->timer_at) {
		loop_timer(io->loop, &io->timer, at, on_timer, io);
	}
	io->timer_at = at;

	if (io->state == IO_CONNECTING)
		events = EPOLLOUT;
	else if (io->state == IO_HANDSHAKE)
		events = io->tls->wants;
	else if (io->out_off < io->out_len)
		events |= EPOLLOUT;
	if (io->state >= IO_RESYNC && io->tls)
		events |= io->tls->wants;
	if (events != io->events)
		sd_event_source_set_io_events(io->io_source, events);
	io->events = events;
}

/* ---- the pump ---- */

static void free_all(struct grpc_io *io)
{
	sd_event_source_disable_unref(io->io_source);
	sd_event_source_disable_unref(io->defer);
	sd_event_source_disable_unref(io->timer);
	grpc_conn_free(io->conn);
	if (io->tls)
		io->tls->ops->free(io->tls);
	drop_out(io);
	fd_close(&io->fd);
	free(io);
}

static void finish(struct grpc_io *io)
{
	grpc_conn_abort(io->conn, io->why);
	if (io->tls && io->state == IO_READY)
		io->tls->ops->shutdown(io->tls);
	io->ops->closed(io, io->why, io->arg);
	free_all(io);
}

static void pump(struct grpc_io *io, uint32_t revents)
{
	uint64_t now = loop_now_ms();

	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
		io->readable = true;
	if (io->tls)
		io->tls->wants = 0;
	if (io->state == IO_CONNECTING && !io->ended)
		check_connected(io, revents);
	if (io->state == IO_HANDSHAKE && !io->ended)
		do_handshake(io);
	if (io->state == IO_RESYNC && !io->params.resync && !io->ended)
		enter(io, IO_READY);
	if (io->state >= IO_RESYNC && io->readable && !io->ended)
		do_read(io);
	if (!io->ended)
		grpc_conn_tick(io->conn, now);
	if (!io->ended)
		check_times(io, now);
	if (io->state >= IO_RESYNC && !io->ended)
		do_write(io, now);
	if (!io->ended && io->out_off == io->out_len &&
	    grpc_conn_is_over(io->conn))
		end(io, "%s", grpc_conn_why(io->conn));
	if (io->ended)
		finish(io);
	else
		arm(io, now);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source;
	(void)fd;
	pump(arg, revents);
	return 0;
}

static int on_defer(sd_event_source *source, void *arg)
{
	(void)source;
	pump(arg, 0);
	return 0;
}

static void on_timer(void *arg)
{
	struct grpc_io *io = arg;

	io->timer_at = 0;
	pump(io, 0);
}

static void on_wake(struct grpc_conn *conn, void *arg)
{
	(void)conn;
	call_soon(arg);
}

static const struct grpc_hooks hooks = {
	.wake = on_wake,
	.clock = loop_now_ms,
};

/* ---- what owners do ---- */

static void add_sources(struct grpc_io *io)
{
	sd_event *event = loop_event(io->loop);

	io->events = EPOLLIN;
	/* Only out of memory or of descriptors for epoll: as xcalloc(). */
	if (sd_event_add_io(event, &io->io_source, io->fd, EPOLLIN, on_io, io) <
		    0 ||
	    sd_event_add_defer(event, &io->defer, on_defer, io) < 0)
		abort();
}

static void set_params(struct grpc_io *io, const struct grpc_io_params *params)
{
	if (params)
		io->params = *params;
	if (!io->params.handshake_ms)
		io->params.handshake_ms = GRPC_IO_HANDSHAKE_MS;
	if (!io->params.stall_ms)
		io->params.stall_ms = GRPC_IO_STALL_MS;
	io->tls = io->params.tls;
	if (io->tls)
		io->tls->ops->begin(io->tls, io->fd);
}

struct grpc_io *grpc_io_new(struct loop *loop, int fd, struct grpc_conn *conn,
			    const struct grpc_io_params *params,
			    const struct grpc_io_ops *ops, void *arg)
{
	struct grpc_io *io = xcalloc(1, sizeof(*io));
	struct stat st;

	*io = (struct grpc_io){
		.loop = loop,
		.conn = conn,
		.ops = ops,
		.arg = arg,
		.fd = fd,
		.started_ms = loop_now_ms(),
		.timer_at = UINT64_MAX,
	};
	io->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	fd_set_nonblock(fd);
	set_params(io, params);
	grpc_conn_set_hooks(conn, &hooks, io);
	add_sources(io);
	if (!io->params.connecting) {
		/* The owner is not told from within: pump() enters the rest. */
		io->state = io->tls ? IO_HANDSHAKE : IO_RESYNC;
		if (!io->tls && io->params.resync)
			begin_resync(io);
	}
	call_soon(io);
	return io;
}

struct grpc_io *grpc_io_free(struct grpc_io *io)
{
	if (io)
		free_all(io);
	return NULL;
}

void grpc_io_close(struct grpc_io *io, const char *why)
{
	end(io, "%s", why);
	call_soon(io);
}

struct grpc_conn *grpc_io_conn(const struct grpc_io *io)
{
	return io->conn;
}

struct grpc_tls *grpc_io_tls(const struct grpc_io *io)
{
	return io->tls;
}

bool grpc_io_is_ready(const struct grpc_io *io)
{
	return io->state == IO_READY;
}
