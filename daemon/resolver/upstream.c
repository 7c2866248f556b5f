/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.c - ask the configured DNS servers for a name's addresses
 *
 * Theory of operation
 * ===================
 *
 * One struct ask is one name on its way; everybody who wants the same name
 * meanwhile waits at the same ask. It tries servers in turn, each on a fresh
 * connected socket with a port of the kernel's choice, a random id and random
 * case, so that an off-path liar has all three to guess, and only the asked
 * server's datagrams arrive at all. A truncated answer is asked again by TCP,
 * with the same checks.
 *
 * An answer goes to the cache under its least TTL and to those who wait: at once,
 * or from the loop if they have only just asked. A cache entry is a slot chosen by the name's hash: a new name
 * takes the place of an old one, and nothing grows.
 */
#include "resolver/upstream.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

struct waiter {
	struct list link;
	upstream_fn fn;
	void *arg;
};

struct ask {
	struct list link;
	struct upstreams *up;
	char name[DNS_NAME_MAX + 1];
	uint8_t wire[DNS_NAME_MAX];
	size_t wire_len;
	struct list waiters;
	unsigned int tries;
	bool tcp;
	uint16_t id;
	int fd;
	sd_event_source *io, *timer;
	/* The TCP exchange: what is to be written, then what was read. */
	uint8_t out[2 + 512];
	size_t out_len, out_at;
	uint8_t *in;
	size_t in_len;
	struct dns_answer answer;
	bool started, answered;
};

struct cached {
	char name[DNS_NAME_MAX + 1];
	uint64_t until_ms;
	struct dns_answer answer;
};

struct upstreams {
	struct loop *loop;
	struct sockaddr_in servers[UPSTREAMS_MAX];
	size_t n_servers;
	struct list asks;
	unsigned int n_asks;
	struct cached *cache[UPSTREAM_CACHE_MAX];
};

static void try_next(struct ask *ask);

struct upstreams *upstreams_new(struct loop *loop)
{
	struct upstreams *up = xcalloc(1, sizeof(*up));

	up->loop = loop;
	list_init(&up->asks);
	return up;
}

static void ask_hang_up(struct ask *ask)
{
	ask->io = sd_event_source_disable_unref(ask->io);
	fd_close(&ask->fd);
	free(ask->in);
	ask->in = NULL;
	ask->in_len = 0;
}

static void ask_free(struct ask *ask)
{
	ask_hang_up(ask);
	sd_event_source_disable_unref(ask->timer);
	list_for_each (&ask->waiters, w, struct waiter, link) {
		list_del(&w->link);
		free(w);
	}
	list_del(&ask->link);
	ask->up->n_asks--;
	free(ask);
}

struct upstreams *upstreams_free(struct upstreams *up)
{
	if (!up)
		return NULL;
	list_for_each (&up->asks, ask, struct ask, link)
		ask_free(ask);
	for (size_t i = 0; i < UPSTREAM_CACHE_MAX; i++)
		free(up->cache[i]);
	free(up);
	return NULL;
}

void upstreams_set(struct upstreams *up, const struct sockaddr_in *servers,
		   size_t n)
{
	up->n_servers = n < UPSTREAMS_MAX ? n : UPSTREAMS_MAX;
	memcpy(up->servers, servers, up->n_servers * sizeof(*servers));
}

static struct cached **cache_slot(struct upstreams *up, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return &up->cache[h % UPSTREAM_CACHE_MAX];
}

static void cache_put(struct ask *ask)
{
	struct cached **slot = cache_slot(ask->up, ask->name);
	uint32_t ttl = UPSTREAM_CACHE_TTL_S;

	if (ask->answer.rcode != DNS_NOERROR || !ask->answer.n_addresses)
		return;
	for (size_t i = 0; i < ask->answer.n_addresses; i++) {
		if (ask->answer.addresses[i].ttl < ttl)
			ttl = ask->answer.addresses[i].ttl;
	}
	if (ttl == 0)
		return;
	if (!*slot)
		*slot = xcalloc(1, sizeof(**slot));
	memcpy((*slot)->name, ask->name, sizeof(ask->name));
	(*slot)->until_ms = loop_now_ms() + ttl * 1000ull;
	(*slot)->answer = ask->answer;
}

/* What is cached, its TTLs counted down; NULL: nothing that still holds. */
static const struct dns_answer *cache_get(struct upstreams *up,
					  const char *name)
{
	struct cached *c = *cache_slot(up, name);
	uint64_t now = loop_now_ms();
	uint32_t left;

	if (!c || strcmp(c->name, name) != 0 || c->until_ms <= now)
		return NULL;
	left = (uint32_t)((c->until_ms - now) / 1000);
	for (size_t i = 0; i < c->answer.n_addresses; i++)
		c->answer.addresses[i].ttl = left;
	return &c->answer;
}

/* From the loop: the ask is over, one way or the other. */
static void ask_deliver(void *arg)
{
	struct ask *ask = arg;

	while (!list_empty(&ask->waiters)) {
		struct waiter *w =
			list_entry(ask->waiters.next, struct waiter, link);

		list_del(&w->link);
		w->fn(ask->answered ? &ask->answer : NULL, w->arg);
		free(w);
	}
	ask_free(ask);
}

/* It may have been asked within this call. */
static void ask_end(struct ask *ask)
{
	ask_hang_up(ask);
	loop_timer(ask->up->loop, &ask->timer, 0, ask_deliver, ask);
}

static void on_timeout(void *arg)
{
	struct ask *ask = arg;

	ask_hang_up(ask);
	ask->tcp = false;
	try_next(ask);
}

/* True when @msg answers the ask; then it is over and gone, or goes on by TCP. */
static bool take_answer(struct ask *ask, const uint8_t *msg, size_t len)
{
	struct dns_answer answer;

	if (dns_answer_parse(msg, len, ask->id, ask->wire, ask->wire_len,
			     DNS_TYPE_A, &answer) < 0)
		return false;
	if (answer.truncated && !ask->tcp) {
		ask_hang_up(ask);
		ask->tcp = true;
		ask->tries--; /* the same server again */
		try_next(ask);
		return true;
	}
	if (answer.truncated ||
	    (answer.rcode != DNS_NOERROR && answer.rcode != DNS_NXDOMAIN)) {
		ask_hang_up(ask);
		ask->tcp = false;
		try_next(ask);
		return true;
	}
	ask->answer = answer;
	ask->answered = true;
	cache_put(ask);
	ask_deliver(ask);
	return true;
}

static int on_datagram(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct ask *ask = arg;
	uint8_t msg[4096];

	(void)s;
	(void)revents;
	for (;;) {
		ssize_t n = recv(fd, msg, sizeof(msg), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			/* Port unreachable: do not wait for the timeout. */
			on_timeout(ask);
			return 0;
		}
		if (take_answer(ask, msg, (size_t)n))
			return 0;
	}
}

/* 1: whole, 0: more to come, -1: broken. */
static int tcp_read(struct ask *ask)
{
	if (!ask->in)
		ask->in = xcalloc(1, 2 + DNS_ANSWER_MAX);
	for (;;) {
		size_t want = 2;
		ssize_t n;

		if (ask->in_len >= 2) {
			want += (size_t)(ask->in[0] << 8 | ask->in[1]);
			if (want > 2 + DNS_ANSWER_MAX)
				return -1;
			if (ask->in_len == want)
				return 1;
		}
		n = recv(ask->fd, ask->in + ask->in_len, want - ask->in_len,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		ask->in_len += (size_t)n;
	}
}

static int on_tcp(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct ask *ask = arg;
	int r;

	if (revents & EPOLLOUT && ask->out_at < ask->out_len) {
		ssize_t n = send(fd, ask->out + ask->out_at,
				 ask->out_len - ask->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			on_timeout(ask);
			return 0;
		}
		if (n > 0)
			ask->out_at += (size_t)n;
		if (ask->out_at == ask->out_len)
			sd_event_source_set_io_events(s, EPOLLIN);
	}
	if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	r = tcp_read(ask);
	if (r == 0)
		return 0;
	if (r < 0) {
		on_timeout(ask);
	} else {
		_cleanup_free_ uint8_t *in = TAKE_PTR(ask->in);

		if (!take_answer(ask, in + 2, ask->in_len - 2))
			on_timeout(ask);
	}
	return 0;
}

static int start_try(struct ask *ask)
{
	struct upstreams *up = ask->up;
	const struct sockaddr_in *server =
		&up->servers[(ask->tries - 1) % up->n_servers];
	uint8_t bits[32];
	int n;

	if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits) ||
	    getrandom(&ask->id, sizeof(ask->id), 0) != (ssize_t)sizeof(ask->id))
		return -1;
	n = dns_build_question(ask->out + 2, sizeof(ask->out) - 2, ask->id,
			       ask->wire, ask->wire_len, bits, DNS_TYPE_A);
	if (n < 0)
		return -1;
	ask->out[0] = (uint8_t)(n >> 8);
	ask->out[1] = (uint8_t)n;
	ask->out_len = (size_t)n + 2;
	ask->out_at = 0;
	ask->fd = socket(AF_INET,
			 (ask->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC |
				 SOCK_NONBLOCK,
			 0);
	if (ask->fd < 0)
		return -1;
	if (connect(ask->fd, (const struct sockaddr *)server, sizeof(*server)) <
		    0 &&
	    errno != EINPROGRESS)
		return -1;
	if (!ask->tcp && send(ask->fd, ask->out + 2, (size_t)n,
			      MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		return -1;
	return sd_event_add_io(loop_event(up->loop), &ask->io, ask->fd,
			       ask->tcp ? EPOLLIN | EPOLLOUT : EPOLLIN,
			       ask->tcp ? on_tcp : on_datagram, ask);
}

static void try_next(struct ask *ask)
{
	struct upstreams *up = ask->up;

	while (up->n_servers && ask->tries++ < UPSTREAM_TRIES_MAX) {
		if (start_try(ask) >= 0) {
			loop_timer(up->loop, &ask->timer,
				   loop_now_ms() + UPSTREAM_TRY_MS, on_timeout,
				   ask);
			return;
		}
		ask_hang_up(ask);
	}
	ask_end(ask);
}

static size_t name_to_wire(const char *name, uint8_t wire[DNS_NAME_MAX])
{
	size_t at = 0;

	while (*name) {
		size_t n = strcspn(name, ".");

		if (n == 0 || n > 63 || at + n + 2 > DNS_NAME_MAX)
			return 0;
		wire[at++] = (uint8_t)n;
		memcpy(wire + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	wire[at++] = 0;
	return at;
}

static struct ask *ask_for(struct upstreams *up, const char *name)
{
	struct ask *ask;

	list_for_each (&up->asks, a, struct ask, link) {
		/* One that is over delivers to all who wait before it goes. */
		if (!strcmp(a->name, name))
			return a;
	}
	ask = xcalloc(1, sizeof(*ask));
	ask->up = up;
	ask->fd = -EBADF;
	list_init(&ask->waiters);
	strncpy(ask->name, name, sizeof(ask->name) - 1);
	list_add_tail(&up->asks, &ask->link);
	up->n_asks++;
	return ask;
}

void upstreams_ask(struct upstreams *up, const char *name, upstream_fn fn,
		   void *arg)
{
	const struct dns_answer *cached = cache_get(up, name);
	struct waiter *w = xcalloc(1, sizeof(*w));
	struct ask *ask = ask_for(up, name);

	w->fn = fn;
	w->arg = arg;
	list_add_tail(&ask->waiters, &w->link);
	if (ask->started)
		return;
	ask->started = true;
	if (cached) {
		ask->answer = *cached;
		ask->answered = true;
		ask_end(ask);
		return;
	}
	ask->wire_len = name_to_wire(name, ask->wire);
	if (!ask->wire_len || up->n_asks > UPSTREAM_ASKED_MAX)
		ask_end(ask);
	else
		try_next(ask);
}

void upstreams_forget(struct upstreams *up, void *arg)
{
	list_for_each (&up->asks, ask, struct ask, link) {
		list_for_each (&ask->waiters, w, struct waiter, link) {
			if (w->arg != arg)
				continue;
			list_del(&w->link);
			free(w);
		}
	}
}
