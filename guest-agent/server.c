/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - the node's connections
 *
 * Theory of operation
 *
 * A conn is one HTTP/2 session and the descriptor it speaks on. Sockets come
 * and go; the serial port is one conn for ever whose session is replaced at
 * every resync mark (and is NULL before the first).
 *
 * Calls queue their answers in the session from anywhere on the loop, so what
 * is to be written is written at the end of each turn, in one place. The same
 * place frees what is dead: nothing frees a session from within its callbacks.
 *
 * The serial port is edge-triggered. Without a host at the other end it is
 * "hung up" all the time, and would keep a level-triggered loop spinning.
 */
#include "server.h"

#include "agent.h"
#include "loop.h"
#include "methods.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "grpc.h"
#include "resync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IO_SIZE		(64u << 10)
#define READS_PER_TURN	4
#define WRITES_PER_TURN 8
#define LISTENERS_MAX	4
#define KEEPALIVE_MS	30000u

struct conn {
	struct list item;
	struct server *server;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer;
	struct grpc_conn *session;
	struct resync_guest *resync; /* serial only */
	uint64_t hold_until_ms;	     /* serial: then release held bytes */
	uint64_t hello_by_ms;	     /* sockets: LOOP_NEVER after Hello */
	uint64_t epoch;		     /* sessions had on this line */
	bool open;		     /* Hello was answered */
	bool broken;		     /* write what there is, then close */
	bool dead;		     /* close now */
	bool full;		     /* wait for EPOLLOUT */
	size_t out_at, out_len;
	uint8_t out[IO_SIZE];
};

struct listener {
	struct server *server;
	int fd;
	struct loop_fd *watch;
	bool (*may_connect)(int fd);
};

struct server {
	struct agent *agent;
	struct list conns;
	unsigned int n_conns;
	struct listener listeners[LISTENERS_MAX];
	unsigned int n_listeners;
	uint8_t in[IO_SIZE];
};

/* Hello was answered. */
static void on_open(void *arg, uint64_t epoch)
{
	struct conn *conn = arg;

	if (epoch != conn->epoch)
		return;
	conn->open = true;
	conn->hello_by_ms = LOOP_NEVER;
}

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	struct conn *conn = arg;
	struct rpc_peer peer = { .opened = on_open,
				 .arg = conn,
				 .epoch = conn->epoch };

	methods_accept(conn->server->agent, call, path, conn->open, &peer);
}

static const struct grpc_conn_ops session_ops = { .accept = on_accept };

static void session_begin(struct conn *conn)
{
	static const struct grpc_settings settings = {
		.keepalive_ms = KEEPALIVE_MS,
	};
	/* Deadlines count from when a call comes, not from the last one. */
	static const struct grpc_hooks hooks = { .clock = loop_clock_ms };
	uint64_t now = loop_now_ms(conn->server->agent->loop);

	grpc_conn_free(conn->session);
	conn->session =
		grpc_conn_new_server(&session_ops, conn, &settings, now);
	grpc_conn_set_hooks(conn->session, &hooks, NULL);
	conn->epoch++;
	conn->open = false;
	conn->broken = false;
}

static void conn_free(struct conn *conn)
{
	grpc_conn_free(conn->session);
	loop_fd_free(conn->watch);
	loop_timer_free(conn->timer);
	fd_close(&conn->fd);
	list_del(&conn->item);
	conn->server->n_conns--;
	free(conn->resync);
	free(conn);
}

/* The session failed. A socket is closed; on a serial line the node must send
 * another mark.
 */
static void session_failed(struct conn *conn)
{
	if (conn->resync)
		conn->session = grpc_conn_free(conn->session);
	else
		conn->broken = true;
}

static void session_feed(struct conn *conn, const uint8_t *data, size_t len)
{
	if (conn->session && !conn->broken &&
	    grpc_conn_feed(conn->session, data, len) < 0)
		session_failed(conn);
}

static void serial_feed(struct conn *conn, const uint8_t *data, size_t len)
{
	const uint8_t *p;
	size_t n;

	for (;;) {
		switch (resync_guest_next(conn->resync, &data, &len, &p, &n)) {
		case RESYNC_DATA:
			session_feed(conn, p, n);
			continue;
		case RESYNC_MARK:
			session_begin(conn);
			/* Of the old session nothing more; the node drops what
			 * is on its way already.
			 */
			memcpy(conn->out, p, n);
			conn->out_at = 0;
			conn->out_len = n;
			continue;
		case RESYNC_MORE:
			break;
		}
		break;
	}
	conn->hold_until_ms = LOOP_NEVER;
	if (resync_guest_holds(conn->resync))
		conn->hold_until_ms =
			loop_now_ms(conn->server->agent->loop) + RESYNC_HOLD_MS;
}

static void conn_read(struct conn *conn)
{
	uint8_t *buf = conn->server->in;

	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = read(conn->fd, buf, IO_SIZE);

		if (n > 0 && conn->resync)
			serial_feed(conn, buf, (size_t)n);
		else if (n > 0)
			session_feed(conn, buf, (size_t)n);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		else if (conn->resync)
			return; /* no host; the edge will tell */
		else
			conn->dead = true;
		if (conn->dead || conn->broken)
			return;
	}
	if (conn->resync)
		loop_fd_again(conn->watch);
}

static void conn_write(struct conn *conn)
{
	for (int i = 0; i < WRITES_PER_TURN && !conn->full; i++) {
		ssize_t n;

		if (conn->out_at == conn->out_len) {
			conn->out_at = 0;
			conn->out_len =
				conn->session
					? grpc_conn_output(conn->session,
							   conn->out, IO_SIZE)
					: 0;
			if (conn->out_len == 0)
				return;
		}
		n = write(conn->fd, conn->out + conn->out_at,
			  conn->out_len - conn->out_at);
		if (n > 0)
			conn->out_at += (size_t)n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if ((n < 0 && errno == EAGAIN) || conn->resync)
			conn->full = true;
		else
			conn->dead = true;
		if (conn->dead)
			return;
	}
}

/* Whether a session would give bytes although the socket takes them: the turn
 * was used up, and the next must come at once.
 */
static bool conn_has_more(const struct conn *conn)
{
	return conn->out_at < conn->out_len ||
	       (conn->session && grpc_conn_wants_write(conn->session));
}

static void conn_update(struct conn *conn)
{
	uint32_t events = EPOLLIN;
	uint64_t at = conn->hello_by_ms;

	if (conn->resync) {
		if (!conn->full && conn_has_more(conn))
			loop_fd_again(conn->watch);
		if (conn->hold_until_ms < at)
			at = conn->hold_until_ms;
	} else {
		if (conn_has_more(conn))
			events |= EPOLLOUT;
		loop_fd_set(conn->watch, events, true);
	}
	if (conn->session && grpc_conn_next_ms(conn->session) < at)
		at = grpc_conn_next_ms(conn->session);
	loop_timer_at(conn->timer, at);
}

static void on_conn_ready(uint32_t events, void *arg)
{
	struct conn *conn = arg;

	if (conn->dead)
		return;
	if (events & EPOLLOUT)
		conn->full = false;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		conn_read(conn);
}

static void on_conn_timer(void *arg)
{
	struct conn *conn = arg;
	uint64_t now = loop_now_ms(conn->server->agent->loop);
	const uint8_t *p;
	size_t n;

	if (now >= conn->hello_by_ms)
		conn->dead = true;
	if (now >= conn->hold_until_ms) {
		conn->hold_until_ms = LOOP_NEVER;
		n = resync_guest_release(conn->resync, &p);
		session_feed(conn, p, n);
	}
	if (conn->session && grpc_conn_tick(conn->session, now) < 0)
		session_failed(conn);
}

/* At the end of each turn. */
static void server_turn(void *arg)
{
	struct server *server = arg;

	list_for_each(&server->conns, conn, struct conn, item)
	{
		if (!conn->dead)
			conn_write(conn);
		if (!conn->resync && conn->session &&
		    (conn->broken || grpc_conn_is_over(conn->session)) &&
		    !conn_has_more(conn))
			conn->dead = true;
		if (conn->dead)
			conn_free(conn);
		else
			conn_update(conn);
	}
}

static struct conn *conn_new(struct server *server, int fd, uint32_t events)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->server = server;
	conn->fd = fd;
	conn->hold_until_ms = LOOP_NEVER;
	conn->hello_by_ms = LOOP_NEVER;
	conn->watch = loop_fd_new(server->agent->loop, fd, events,
				  on_conn_ready, conn);
	if (!conn->watch) {
		free(conn);
		return NULL;
	}
	conn->timer = loop_timer_new(server->agent->loop, on_conn_timer, conn);
	list_add_tail(&server->conns, &conn->item);
	server->n_conns++;
	return conn;
}

static void on_listener(uint32_t events, void *arg)
{
	struct listener *l = arg;
	struct server *server = l->server;
	struct conn *conn;
	int fd;

	(void)events;
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (server->n_conns >= SERVER_CONNECTIONS_MAX ||
	    (l->may_connect && !l->may_connect(fd))) {
		close(fd);
		return;
	}
	conn = conn_new(server, fd, EPOLLIN);
	if (!conn) {
		close(fd);
		return;
	}
	conn->hello_by_ms =
		loop_now_ms(server->agent->loop) + SERVER_HELLO_TIMEOUT_MS;
	session_begin(conn);
}

struct server *server_new(struct agent *agent)
{
	struct server *server = xcalloc(1, sizeof(*server));

	server->agent = agent;
	list_init(&server->conns);
	loop_after_turn(agent->loop, server_turn, server);
	return server;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	list_for_each(&server->conns, conn, struct conn, item) conn_free(conn);
	for (unsigned int i = 0; i < server->n_listeners; i++) {
		loop_fd_free(server->listeners[i].watch);
		fd_close(&server->listeners[i].fd);
	}
	loop_after_turn(server->agent->loop, NULL, NULL);
	free(server);
	return NULL;
}

int server_take_listener(struct server *server, int fd,
			 bool (*may_connect)(int fd), struct error *err)
{
	struct listener *l = &server->listeners[server->n_listeners];

	if (server->n_listeners == LISTENERS_MAX) {
		close(fd);
		return err_set(err, ERR_LIMIT, "too many listening sockets");
	}
	*l = (struct listener){
		.server = server,
		.fd = fd,
		.may_connect = may_connect,
	};
	l->watch =
		loop_fd_new(server->agent->loop, fd, EPOLLIN, on_listener, l);
	if (!l->watch) {
		err_sys(err, errno, "watch a listening socket");
		close(fd);
		return -1;
	}
	server->n_listeners++;
	return 0;
}

int server_take_serial(struct server *server, int fd, struct error *err)
{
	struct conn *conn = conn_new(server, fd, EPOLLIN | EPOLLOUT | EPOLLET);

	if (!conn) {
		err_sys(err, errno, "watch the serial port");
		close(fd);
		return -1;
	}
	conn->resync = xcalloc(1, sizeof(*conn->resync));
	resync_guest_init(conn->resync);
	return 0;
}
