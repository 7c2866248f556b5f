/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - a local port whose connections go on in a sandbox
 *
 * Theory of operation
 * ===================
 *
 * A link is one local connection and its Tunnel call. Local end of file is the
 * call's half-close; the call's end is the guest's, and the connection is
 * closed when all its bytes are written. A link is freed once the call is over
 * and the sink is empty or has failed, from the loop and not from within its
 * own callbacks.
 */
#include "ctl/forward.h"

#include "ctl/ctl.h"
#include "ctl/pump.h"

#include "base/fd.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Connections at once: under what a node allows one client. */
#define LINKS_MAX 200

struct forward {
	struct ctl *ctl;
	const char *sandbox_id;
	uint32_t remote;
	int listen_fd;
	sd_event_source *listener;
	struct list links;
	size_t n_links;
};

struct link {
	struct list link;
	struct forward *forward;
	int fd;
	struct rpc *rpc; /* NULL once over */
	struct sink *out;
	struct source *in;
	bool dying; /* link_free() is posted */
};

static void link_free(void *arg)
{
	struct link *l = arg;
	struct forward *f = l->forward;

	list_del(&l->link);
	source_free(l->in);
	sink_free(l->out);
	fd_close(&l->fd);
	free(l);
	if (f->n_links-- == LINKS_MAX)
		sd_event_source_set_enabled(f->listener, SD_EVENT_ON);
}

static void check_over(struct link *l)
{
	if (l->rpc || l->dying)
		return;
	if (!sink_is_empty(l->out) && !sink_has_failed(l->out))
		return;
	l->dying = true;
	loop_post(l->forward->ctl->loop, link_free, l);
}

static void on_drained(struct sink *s, void *arg)
{
	struct link *l = arg;

	(void)s;
	if (l->rpc)
		rpc_pause(l->rpc, false);
	check_over(l);
}

static void on_failed(struct sink *s, int errnum, void *arg)
{
	struct link *l = arg;

	(void)s;
	(void)errnum;
	if (l->rpc)
		rpc_cancel(l->rpc);
	check_over(l);
}

static const struct sink_ops sink_ops = {
	.drained = on_drained,
	.failed = on_failed,
};

static void on_data(struct source *s, const uint8_t *data, size_t len,
		    void *arg)
{
	NODE(TunnelRequest) req = NODE_INIT(TUNNEL_REQUEST);
	struct link *l = arg;

	req.input_case = NODE_CASE(TUNNEL_REQUEST__INPUT, DATA);
	req.data.data = (uint8_t *)(uintptr_t)data;
	req.data.len = len;
	if (!l->rpc || rpc_send(l->rpc, &req.base) != 0)
		source_pause(s, true);
}

static void on_end(struct source *s, int errnum, void *arg)
{
	struct link *l = arg;

	(void)s;
	if (!l->rpc)
		return;
	if (errnum)
		rpc_cancel(l->rpc);
	else
		rpc_half_close(l->rpc);
}

static const struct source_ops source_ops = {
	.data = on_data,
	.end = on_end,
};

static void on_message(struct rpc *rpc, const ProtobufCMessage *m, void *arg)
{
	const NODE(TunnelResponse) *r = (const NODE(TunnelResponse) *)m;
	struct link *l = arg;

	switch ((int)r->output_case) {
	case NODE_CASE(TUNNEL_RESPONSE__OUTPUT, CONNECTED):
		l->in = source_new(l->forward->ctl->loop, l->fd, &source_ops,
				   l);
		break;
	case NODE_CASE(TUNNEL_RESPONSE__OUTPUT, DATA):
		sink_write(l->out, r->data.data, r->data.len);
		if (sink_is_full(l->out))
			rpc_pause(rpc, true);
		break;
	default:
		break;
	}
}

static void on_writable(struct rpc *rpc, void *arg)
{
	struct link *l = arg;

	(void)rpc;
	if (l->in)
		source_pause(l->in, false);
}

static void on_done(struct rpc *rpc, const struct grpc_status *st, void *arg)
{
	struct link *l = arg;

	(void)rpc;
	l->rpc = NULL;
	if (l->in)
		source_pause(l->in, true);
	if (st->code != GRPC_OK && st->code != GRPC_CANCELLED)
		fprintf(stderr, "sandboxctl: connection to port %u: %s: %s\n",
			l->forward->remote,
			*st->reason ? st->reason : grpc_code_str(st->code),
			st->message);
	check_over(l);
}

static const struct rpc_ops rpc_ops = {
	.message = on_message,
	.writable = on_writable,
	.done = on_done,
};

/* Consumes @fd. */
static void add_link(struct forward *f, int fd)
{
	NODE(TunnelRequest) req = NODE_INIT(TUNNEL_REQUEST);
	NODE(TunnelStart) start = NODE_INIT(TUNNEL_START);
	struct link *l = xcalloc(1, sizeof(*l));

	*l = (struct link){ .forward = f, .fd = fd };
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	l->rpc = rpc_start(f->ctl->client, "Tunnel", &rpc_ops, l);
	if (!l->rpc) {
		close(fd);
		free(l);
		return;
	}
	l->out = sink_new(f->ctl->loop, fd, &sink_ops, l);
	list_add_tail(&f->links, &l->link);
	if (++f->n_links == LINKS_MAX)
		sd_event_source_set_enabled(f->listener, SD_EVENT_OFF);
	start.sandbox_id = (char *)(uintptr_t)f->sandbox_id;
	start.port = f->remote;
	req.input_case = NODE_CASE(TUNNEL_REQUEST__INPUT, START);
	req.start = &start;
	if (rpc_send(l->rpc, &req.base) < 0)
		rpc_cancel(l->rpc);
}

static int on_connection(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)s;
	(void)events;
	if (conn >= 0)
		add_link(arg, conn);
	return 0;
}

static int open_listener(uint16_t port, struct error *err)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(addr);

	if (fd < 0)
		return err_sys(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return err_sys(err, errno, "listen on 127.0.0.1:%u", port);
	printf("127.0.0.1:%u\n", ntohs(addr.sin_port));
	fflush(stdout);
	return TAKE_FD(fd);
}

/* A sandbox that is not there is better said now than at each connection. */
static int check_sandbox(struct ctl *ctl, const char *id)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);
	int status;

	req.sandbox_id = (char *)(uintptr_t)id;
	message_free(ctl_call(ctl, "GetSandbox", &req.base, &status));
	return status;
}

static void end_links(struct forward *f)
{
	list_for_each(&f->links, l, struct link, link)
	{
		if (l->rpc)
			rpc_cancel(l->rpc);
	}
	while (!list_empty(&f->links)) {
		struct link *l = list_entry(f->links.next, struct link, link);

		/* What the reader has not taken by now is lost with us. */
		if (!l->rpc && !l->dying) {
			l->dying = true;
			loop_post(f->ctl->loop, link_free, l);
		}
		if (sd_event_run(loop_event(f->ctl->loop), UINT64_MAX) < 0)
			abort();
	}
}

int forward_run(struct ctl *ctl, const char *sandbox_id, uint16_t local,
		uint32_t remote)
{
	struct forward f = { .ctl = ctl,
			     .sandbox_id = sandbox_id,
			     .remote = remote };
	struct error err = { 0 };
	const char *why = NULL;
	int status = check_sandbox(ctl, sandbox_id);

	if (status)
		return status;
	list_init(&f.links);
	f.listen_fd = open_listener(local, &err);
	if (f.listen_fd < 0)
		return ctl_local(&err);
	if (sd_event_add_io(loop_event(ctl->loop), &f.listener, f.listen_fd,
			    EPOLLIN, on_connection, &f) < 0)
		abort();
	while (!client_interrupted(ctl->client) &&
	       !client_is_lost(ctl->client)) {
		if (sd_event_run(loop_event(ctl->loop), UINT64_MAX) < 0)
			abort();
	}
	why = client_lost(ctl->client);
	sd_event_source_set_enabled(f.listener, SD_EVENT_OFF);
	end_links(&f);
	sd_event_source_disable_unref(f.listener);
	close(f.listen_fd);
	if (!why)
		return CTL_OK;
	fprintf(stderr, "sandboxctl: connection lost: %s\n", why);
	return CTL_NO_CONNECTION;
}
