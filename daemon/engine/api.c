/* SPDX-License-Identifier: Apache-2.0 */
/* api.c - the API's sockets, and what front is told and asks */
#include "engine/api.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/expose.h"
#include "engine/lease.h"
#include "engine/rpc.h"
#include "engine/sandbox_ops.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define API_BACKLOG 256

static int bind_unix(struct engine *e, struct error *err)
{
	_cleanup_free_ char *path =
		e->config->socket ?
			xstrdup(e->config->socket) :
			xasprintf("%s/node.sock", e->config->run_dir);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "make a socket");
	if (str_copy(sun.sun_path, sizeof(sun.sun_path), path) < 0)
		return err_set(err, ERR_INVALID,
			       "[api] socket: '%s' is too long", path);
	/* The database's lock says that no other daemon serves it. */
	unlink(path);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
	umask(old);
	if (r < 0 || listen(fd, API_BACKLOG) < 0)
		return err_sys(err, errno, "listen on '%s'", path);
	/* Who else may call is decided by uid, so they must get to it. */
	if (e->config->allowed_uids.n && chmod(path, 0666) < 0)
		return err_sys(err, errno, "open '%s' to others", path);
	e->api_fd = TAKE_FD(fd);
	return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)sa)
				     ->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(
		&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

int api_bind_tcp(const char *key, const char *address, bool loopback,
		 int *ret_fd, struct error *err)
{
	_cleanup_free_ char *host = xstrdup(address);
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST |
					      AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	char *port = strrchr(host, ':');
	_cleanup_close_ int fd = -EBADF;
	int one = 1, r;

	if (!port)
		return err_set(err, ERR_INVALID, "%s: '%s' is not ADDRESS:PORT",
			       key, host);
	*port++ = '\0';
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	r = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
	if (r != 0)
		return err_set(err, ERR_INVALID, "%s: '%s': %s", key, address,
			       gai_strerror(r));
	if (loopback && !is_loopback(found->ai_addr)) {
		freeaddrinfo(found);
		return err_set(err, ERR_INVALID,
			       "%s: '%s' is not a loopback address", key,
			       address);
	}
	fd = socket(found->ai_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
	    listen(fd, API_BACKLOG) < 0;
	freeaddrinfo(found);
	if (r)
		return err_sys(err, errno, "listen on '%s'", address);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int api_bind(struct engine *e, struct error *err)
{
	if (bind_unix(e, err) < 0)
		return -1;
	if (!e->config->listen)
		return 0;
	return api_bind_tcp("[api] listen", e->config->listen, false,
			    &e->tls_fd, err);
}

static size_t open_tls(const struct config *c, int fds[3])
{
	const char *const paths[3] = { c->cert, c->key, c->ca };

	for (int i = 0; i < 3; i++) {
		fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] >= 0)
			continue;
		log_err("[api] '%s': %s: no TLS is served, or the old "
			"certificates go on",
			paths[i], strerrordesc_np(errno));
		while (i-- > 0)
			close(fds[i]);
		return 0;
	}
	return 3;
}

void api_setup(struct engine *e)
{
	const struct config *c = e->config;
	Sandbox__Ipc__V1__Setup msg = SANDBOX__IPC__V1__SETUP__INIT;
	_cleanup_free_ uint32_t *uids =
		xcalloc(c->allowed_uids.n + 1, sizeof(*uids));
	_cleanup_free_ uint8_t *packed = NULL;
	int fds[3];
	size_t n = c->listen ? open_tls(c, fds) : 0, len;

	/* Root always may; the rest is the operator's list. */
	msg.n_allowed_uids = c->allowed_uids.n + 1;
	for (size_t i = 0; i < c->allowed_uids.n; i++) {
		uint64_t uid = 0;

		str_parse_u64(c->allowed_uids.v[i], UINT32_MAX, &uid);
		uids[i + 1] = (uint32_t)uid;
	}
	msg.allowed_uids = uids;
	msg.tls = n > 0;
	msg.n_allowed_identities = c->allowed_identities.n;
	msg.allowed_identities = c->allowed_identities.v;
	msg.reflection = c->reflection;
	msg.streams_max = c->streams_max;
	msg.connections_max = c->connections_max;
	msg.version = (char *)(uintptr_t)PACKAGE_VERSION;
	packed = pb_pack(&msg.base, &len);
	front_link_setup(e->front, packed, len, fds, n);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- what front tells and asks ---- */

static void on_up(void *arg)
{
	struct engine *e = arg;

	e->front_up = true;
	api_setup(e);
	if (e->api_fd >= 0)
		front_link_listen(e->front, false, e->api_fd);
	if (e->tls_fd >= 0)
		front_link_listen(e->front, true, e->tls_fd);
	front_link_events_grew(e->front, e->events_newest);
	expose_announce(e);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		agent_unlinked(sb);
		sandbox_reattach(sb);
	}
}

static void on_down(const char *why, void *arg)
{
	struct engine *e = arg;

	log_warn("front is gone: %s", why);
	e->front_up = false;
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		agent_unlinked(sb);
	leases_void(e);
	calls_orphan(e);
}

static void on_call(uint64_t id, const char *method, const char *identity,
		    const uint8_t *request, size_t len, int *fd, void *arg)
{
	rpc_call(arg, id, method, identity, request, len, fd);
}

static void on_cancel(uint64_t id, void *arg)
{
	call_cancel(arg, id);
}

static void on_acquire(uint64_t id, const char *sandbox_id,
		       const char *identity, void *arg)
{
	(void)identity;
	lease_acquire(arg, id, sandbox_id);
}

static void on_release(uint64_t lease, void *arg)
{
	lease_release(arg, lease);
}

static void on_activity(const char *sandbox_id, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_find(&e->sandboxes, sandbox_id);

	if (sb)
		sandbox_touch(sb);
}

static void on_event(const char *sandbox_id, const char *type,
		     const struct front_pair *data, size_t n, void *arg)
{
	struct engine *e = arg;

	if (!strncmp(type, "exec.", 5) || !strncmp(type, "file.", 5) ||
	    !strncmp(type, "port.", 5))
		event_emit(e, type, sandbox_id, data, n);
}

static void on_link_lost(const char *key, uint64_t generation, const char *why,
			 bool broken, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_find(&e->sandboxes, key);

	if (sb && sb->row.generation == generation)
		sandbox_link_lost(sb, why, broken);
}

static void on_agent_silent(const char *key, uint64_t generation, bool silent,
			    void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb = sandbox_find(&e->sandboxes, key);

	if (sb && sb->row.generation == generation)
		agent_hushed(sb, silent);
}

static void on_read_events(uint64_t id, uint64_t since, const char *sandbox_id,
			   char *const *types, size_t n_types, uint32_t limit,
			   void *arg)
{
	event_read(arg, id, since, sandbox_id, types, n_types, limit);
}

const struct front_link_ops api_front_ops = {
	.up = on_up,
	.down = on_down,
	.call = on_call,
	.cancel = on_cancel,
	.acquire = on_acquire,
	.release = on_release,
	.activity = on_activity,
	.event = on_event,
	.link_lost = on_link_lost,
	.agent_silent = on_agent_silent,
	.read_events = on_read_events,
};
