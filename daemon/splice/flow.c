/* SPDX-License-Identifier: Apache-2.0 */
/* flow.c - one connection of a guest's, bound to a name
 *
 * Theory of operation
 * ===================
 *
 *   NAMELESS   read into the buffer until look.h says the name, or 5 s
 *   WAITING    so many a second may ask; this one is over that
 *   ASKED      the owner decides, and makes the socket to the other side
 *   CONNECTING that is not there yet
 *   OPEN       two halves (half.h), pumped until both have ended
 *   LINGERING  refused: its reason was sent, and is given time to arrive
 *
 * A descriptor is watched only for what can be done with it, so a peer that is
 * slow, or gone in one direction, wakes nobody.
 */
#include "splice/flow.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "splice/half.h"
#include "splice/look.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RETRY_MS     20
#define LINGER_BYTES 65536u
#define KEEP_IDLE_S  120
#define KEEP_EVERY_S 30
#define KEEP_COUNT   4

enum state { NAMELESS, WAITING, ASKED, CONNECTING, OPEN, LINGERING };

struct side {
	int fd;
	sd_event_source *io;
	uint32_t events;
};

struct flow {
	struct flows *all;
	struct flow_info info;
	enum state state;
	struct side guest, up;
	sd_event_source *timer;
	bool granted, late;
	struct look look;
	struct half out, in;
	size_t lingered;
};

/* ---- sockets ------------------------------------------------------------ */

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg);

static void set_int(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value));
}

static void tune(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
}

static void watch(struct flow *f, struct side *side, uint32_t events)
{
	int r = 0;

	if (side->fd < 0 || (side->io && side->events == events))
		return;
	side->events = events;
	if (!side->io)
		r = sd_event_add_io(loop_event(f->all->loop), &side->io,
				    side->fd, events, on_io, f);
	else if (events)
		r = sd_event_source_set_io_events(side->io, events);
	/* With nothing to wait for, not even a hang-up wakes us. */
	if (r >= 0)
		r = sd_event_source_set_enabled(
			side->io, events ? SD_EVENT_ON : SD_EVENT_OFF);
	if (r < 0)
		log_err("watch a connection: %s", strerror(-r));
}

/* @reset: tell the peer that it was not ended in order. */
static void side_close(struct side *side, bool reset)
{
	struct linger none = { .l_onoff = 1 };

	side->io = sd_event_source_disable_unref(side->io);
	if (side->fd >= 0 && reset)
		setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &none,
			   sizeof(none));
	fd_close(&side->fd);
	side->events = 0;
}

void flow_reset(int fd)
{
	struct side side = { .fd = fd };

	side_close(&side, true);
}

/* ---- life --------------------------------------------------------------- */

static struct load *load_of(const struct flow *f)
{
	return &f->all->loads[f->info.slot];
}

static void named(struct flow *f)
{
	if (f->state == NAMELESS)
		load_of(f)->nameless--;
}

void flow_free(struct flow *f, bool reset)
{
	struct flows *all = f->all;
	uint32_t at = (uint32_t)(f->info.id % FLOWS_MAX);

	named(f);
	load_of(f)->flows--;
	half_fini(&f->out);
	half_fini(&f->in);
	side_close(&f->guest, reset);
	side_close(&f->up, reset);
	sd_event_source_disable_unref(f->timer);
	if (f->granted)
		all->ops->closed(&f->info, all->arg);
	all->table[at] = NULL;
	all->free[all->n_free++] = at;
	all->n--;
	free(f);
	if (all->stopped && all->n == 0)
		all->ops->idle(all->arg);
}

static void on_timer(void *arg);

static void timer(struct flow *f, uint64_t ms)
{
	loop_timer(f->all->loop, &f->timer, loop_now_ms() + ms, on_timer, f);
}

void flow_report(struct flows *all, const struct flow_info *info,
		 const char *name, const char *why)
{
	if (!all->stopped &&
	    bucket_take(&all->loads[info->slot].reports, FLOWS_REPORTS_PER_S,
			FLOWS_REPORTS_PER_S, loop_now_ms()))
		all->ops->denied(info, name, why, all->arg);
}

static void report(struct flow *f, const char *name, const char *why)
{
	flow_report(f->all, &f->info, name, why);
}

/* ---- refusing ----------------------------------------------------------- */

/* In words that the guest's program shows, where there is room for them. */
static bool say_why(struct flow *f, const char *name)
{
	/* Fatal, access denied. */
	static const uint8_t alert[] = { 21, 3, 1, 0, 2, 2, 49 };
	char text[512], answer[768];
	struct in_addr in = { htonl(f->info.address) };
	char address[INET_ADDRSTRLEN];
	bool fresh = f->state != OPEN;

	if (f->look.kind == LOOK_TLS && fresh)
		return send(f->guest.fd, alert, sizeof(alert), MSG_NOSIGNAL) >
		       0;
	if (f->look.kind != LOOK_HTTP || f->in.piped || f->in.n)
		return false;
	inet_ntop(AF_INET, &in, address, sizeof(address));
	snprintf(text, sizeof(text),
		 "sandboxd: the egress policy does not let this request for "
		 "'%s' go to %s\n",
		 name, address);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		 strlen(text), text);
	return send(f->guest.fd, answer, strlen(answer), MSG_NOSIGNAL) > 0;
}

/* Closing with unread bytes would reset, and the reason be lost. */
static void linger(struct flow *f)
{
	uint8_t rest[4096];

	while (f->lingered < LINGER_BYTES) {
		ssize_t got = recv(f->guest.fd, rest, sizeof(rest), 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0)
			break;
		f->lingered += (size_t)got;
	}
	flow_free(f, f->lingered >= LINGER_BYTES);
}

static void refuse(struct flow *f, const char *name)
{
	bool said = say_why(f, name);

	named(f);
	f->state = LINGERING;
	side_close(&f->up, true);
	if (!said || shutdown(f->guest.fd, SHUT_WR) < 0) {
		flow_free(f, true);
		return;
	}
	timer(f, FLOWS_LINGER_MS);
	watch(f, &f->guest, EPOLLIN);
	linger(f);
}

/* What look.h says of it. */
static void refuse_looked(struct flow *f)
{
	const char *name = f->look.other[0] ? f->look.other : f->look.name;
	char copy[PEEK_NAME_MAX + 1];

	memcpy(copy, name, sizeof(copy));
	report(f, copy, f->look.why);
	/* Neither kind of answer would be understood. */
	if (f->look.why && strcmp(f->look.why, WHY_NEITHER) == 0)
		f->look.kind = LOOK_UNKNOWN;
	refuse(f, copy);
}

/* ---- asking ------------------------------------------------------------- */

static void ask(struct flow *f)
{
	struct flows *all = f->all;

	named(f);
	watch(f, &f->guest, 0);
	if (!bucket_take(&load_of(f)->asks, FLOWS_ASKS_PER_S, FLOWS_ASKS_BURST,
			 loop_now_ms())) {
		if (f->state == NAMELESS)
			timer(f, RETRY_MS);
		f->state = WAITING;
		return;
	}
	f->state = ASKED;
	loop_timer_off(f->timer);
	all->ops->ask(&f->info, f->look.name, all->arg);
}

/* See what is in the buffer and was not yet. False: refused, and gone. */
static bool look(struct flow *f)
{
	size_t pass = 0;

	if (f->out.n == f->out.pass)
		return true;
	if (look_guest(&f->look, f->out.buffer + f->out.pass,
		       f->out.n - f->out.pass, &pass) == PEEK_BAD) {
		refuse_looked(f);
		return false;
	}
	f->out.pass += pass;
	return true;
}

static void nameless(struct flow *f)
{
	enum half_result r = half_read(&f->out);

	if (r == HALF_AGAIN)
		return;
	if (r == HALF_BROKEN || f->out.eof) {
		flow_free(f, r == HALF_BROKEN);
		return;
	}
	if (look(f) && f->look.name[0])
		ask(f);
}

static void on_timer(void *arg)
{
	struct flow *f = arg;

	switch (f->state) {
	case WAITING:
		timer(f, RETRY_MS);
		ask(f);
		break;
	case NAMELESS:
		report(f, "", "slow");
		flow_free(f, true);
		break;
	case OPEN:
		/* The head of a request that does not become whole. */
		if (f->late) {
			report(f, f->look.name, "slow");
			flow_free(f, true);
		}
		break;
	default:
		flow_free(f, f->state != LINGERING);
	}
}

/* ---- open --------------------------------------------------------------- */

/* A head must come whole in time; nothing else must. */
static void mind_time(struct flow *f)
{
	bool late = look_waits(&f->look, f->out.n - f->out.pass);

	if (late == f->late)
		return;
	f->late = late;
	if (late)
		timer(f, FLOWS_PEEK_MS);
	else
		loop_timer_off(f->timer);
}

static void watch_both(struct flow *f)
{
	uint32_t guest = (half_wants(&f->out) ? EPOLLIN : 0) |
			 (half_blocked(&f->in) ? EPOLLOUT : 0);
	uint32_t up = (half_wants(&f->in) ? EPOLLIN : 0) |
		      (half_blocked(&f->out) ? EPOLLOUT : 0);

	watch(f, &f->guest, guest);
	watch(f, &f->up, up);
}

/* What need not be looked at any more goes through pipes. */
static void let_go(struct flow *f)
{
	if (f->look.free && !f->out.raw) {
		f->out.raw = true;
		f->out.pass = f->out.n;
	}
	if (f->look.answered && !f->in.raw)
		f->in.raw = true;
}

/* False: it is gone. */
static bool pump_out(struct flow *f)
{
	if (half_read(&f->out) == HALF_BROKEN) {
		flow_free(f, true);
		return false;
	}
	if (!f->out.raw) {
		if (!look(f))
			return false;
		let_go(f);
	}
	if (half_write(&f->out) == HALF_BROKEN) {
		flow_free(f, true);
		return false;
	}
	return true;
}

static bool pump_in(struct flow *f)
{
	size_t had = f->in.n;

	if (half_read(&f->in) == HALF_BROKEN) {
		flow_free(f, true);
		return false;
	}
	if (!f->in.raw && f->in.n > had) {
		if (look_server(&f->look, f->in.buffer + had, f->in.n - had) ==
		    PEEK_BAD) {
			f->in.n = 0;
			refuse_looked(f);
			return false;
		}
		f->in.pass = f->in.n;
		let_go(f);
	}
	if (half_write(&f->in) == HALF_BROKEN) {
		flow_free(f, true);
		return false;
	}
	return true;
}

/* Once each way that something may have come of: for more we are woken again,
 * after others had their turn. What the server says may set free what waits in
 * the other direction.
 */
static void pump(struct flow *f, bool out, bool in)
{
	out = out || !f->in.raw;
	if ((in && !pump_in(f)) || (out && !pump_out(f)))
		return;
	if (f->out.shut && f->in.shut) {
		flow_free(f, false);
		return;
	}
	mind_time(f);
	watch_both(f);
}

static void connected(struct flow *f)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(f->up.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
	    error) {
		flow_free(f, true);
		return;
	}
	loop_timer_off(f->timer);
	f->state = OPEN;
	f->out.to = f->in.from = f->up.fd;
	let_go(f);
	pump(f, true, false);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct flow *f = arg;

	(void)s;
	switch (f->state) {
	case NAMELESS:
		nameless(f);
		break;
	case CONNECTING:
		if (revents & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			connected(f);
		break;
	case OPEN:
		if (revents & EPOLLERR)
			flow_free(f, true);
		else if (fd == f->guest.fd)
			pump(f, revents & ~EPOLLOUT, revents & EPOLLOUT);
		else
			pump(f, revents & EPOLLOUT, revents & ~EPOLLOUT);
		break;
	case LINGERING:
		linger(f);
		break;
	default:
		break;
	}
	return 0;
}

/* ---- for flows.c ---------------------------------------------------------- */

void flow_new(struct flows *all, int fd, const struct flow_info *info)
{
	struct flow *f = xcalloc(1, sizeof(*f));
	uint32_t at = all->free[--all->n_free];

	f->all = all;
	f->info = *info;
	f->info.id = ++all->serial * FLOWS_MAX + at;
	f->guest.fd = fd;
	f->up.fd = -EBADF;
	f->look.port = info->port;
	f->look.ech = all->config.allow_ech;
	half_init(&f->out, all->pipes, fd, -EBADF);
	half_init(&f->in, all->pipes, -EBADF, fd);
	all->table[at] = f;
	all->n++;
	load_of(f)->flows++;
	load_of(f)->nameless++;
	tune(fd);
	timer(f, FLOWS_PEEK_MS);
	watch(f, &f->guest, EPOLLIN);
	nameless(f);
}

uint64_t flow_id(const struct flow *f)
{
	return f->info.id;
}

bool flow_is_undecided(const struct flow *f)
{
	return f->state == NAMELESS || f->state == WAITING || f->state == ASKED;
}

bool flow_answer(struct flow *f, int up)
{
	_cleanup_close_ int fd = up;

	if (f->state != ASKED)
		return false;
	if (fd < 0) {
		refuse(f, f->look.name);
		return true;
	}
	tune(fd);
	f->granted = true;
	f->up.fd = TAKE_FD(fd);
	f->state = CONNECTING;
	timer(f, FLOWS_CONNECT_MS);
	watch(f, &f->up, EPOLLOUT);
	return true;
}
