/* SPDX-License-Identifier: Apache-2.0 */
/* fake_node.c - a node that answers sandboxctl's tests: server and simple calls
 *
 *	fake_node SOCKET ROOT [CERT KEY CA PORT_FILE]
 *
 * Serves the unix socket SOCKET and, with certificates, TLS on a free port of
 * 127.0.0.1 whose number it writes to PORT_FILE. Prints "ready" when it does.
 */
#include "fake.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/grpc_tls.h"
#include "base/loop.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SERVICE sandbox__node__v1__node_service__descriptor

const char *fake_root;
struct loop *fake_loop;
static SSL_CTX *tls;

/* ---- calls ---- */

int fake_send(struct fake_call *c, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xcalloc(len + 1, 1);

	protobuf_c_message_pack(m, buf);
	return grpc_call_send(c->call, buf, len);
}

void fake_finish(struct fake_call *c)
{
	struct grpc_status st = { 0 };

	c->finished = true;
	grpc_call_finish(c->call, &st);
}

void fake_answer(struct fake_call *c, const ProtobufCMessage *m)
{
	fake_send(c, m);
	fake_finish(c);
}

void fake_refuse(struct fake_call *c, enum grpc_code code, const char *reason,
		 const char *text)
{
	struct grpc_status st = { 0 };

	c->finished = true;
	grpc_status_set(&st, code, reason, "%s", text);
	grpc_call_finish(c->call, &st);
}

bool fake_knows(struct fake_call *c, const char *sandbox_id)
{
	if (strcmp(sandbox_id, "sb_1") == 0)
		return true;
	fake_refuse(c, GRPC_NOT_FOUND, "SANDBOX_NOT_FOUND",
		    "there is no sandbox of this id");
	return false;
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	struct fake_call *c = arg;
	const ProtobufCMethodDescriptor *d =
		protobuf_c_service_descriptor_get_method_by_name(
			&SERVICE, c->method->name);
	ProtobufCMessage *m =
		protobuf_c_message_unpack(d->input, NULL, len, data);

	(void)call;
	if (!m)
		abort();
	if (!c->finished)
		c->method->message(c, m);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct fake_call *c = arg;

	(void)call;
	if (c->method->half_close && !c->finished)
		c->method->half_close(c);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct fake_call *c = arg;

	(void)call;
	if (c->method->writable && !c->finished)
		c->method->writable(c);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct fake_call *c = arg;

	(void)call;
	(void)st;
	if (c->method->end)
		c->method->end(c);
	free(c->state);
	free(c);
}

static const struct grpc_call_ops call_ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	static const struct fake_method *const tables[] = { fake_node_methods,
							    fake_exec_methods,
							    fake_file_methods };
	const char *name = strrchr(path, '/') + 1;
	struct grpc_status st = { 0 };

	(void)arg;
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		for (const struct fake_method *m = tables[t]; m->name; m++) {
			struct fake_call *c;

			if (strcmp(m->name, name) != 0)
				continue;
			c = xcalloc(1, sizeof(*c));
			c->call = call;
			c->method = m;
			grpc_call_accept(call, &call_ops, c);
			return;
		}
	}
	grpc_status_set(&st, GRPC_UNIMPLEMENTED, "", "not in this fake");
	grpc_call_finish(call, &st);
}

/* ---- connections ---- */

static const struct grpc_conn_ops conn_ops = { .accept = on_accept };

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	(void)io;
	(void)why;
	(void)arg;
}

static const struct grpc_io_ops io_ops = { .closed = on_closed };

static int on_connection(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct grpc_io_params params = { 0 };
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s;
	(void)events;
	if (conn < 0)
		return 0;
	if (arg) {
		SSL *ssl = SSL_new(tls);

		SSL_set_accept_state(ssl);
		params.tls = grpc_tls_new(ssl);
	}
	grpc_io_new(fake_loop, conn,
		    grpc_conn_new_server(&conn_ops, NULL, NULL, loop_now_ms()),
		    &params, &io_ops, NULL);
	return 0;
}

static void serve(int fd, void *is_tls)
{
	if (fd < 0 || listen(fd, SOMAXCONN) < 0 ||
	    sd_event_add_io(loop_event(fake_loop), NULL, fd, EPOLLIN,
			    on_connection, is_tls) < 0) {
		perror("fake_node");
		exit(1);
	}
}

static int bind_unix(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;
	return fd;
}

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *len,
		     const unsigned char *in, unsigned int in_len, void *arg)
{
	static const unsigned char h2[] = { 2, 'h', '2' };

	(void)ssl;
	(void)arg;
	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, len, h2,
				     sizeof(h2), in,
				     in_len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int bind_tls(char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	FILE *f;

	tls = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(
		tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_alpn_select_cb(tls, choose_h2, NULL);
	if (SSL_CTX_use_certificate_chain_file(tls, argv[0]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, argv[1], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_file(tls, argv[2]) != 1)
		return -1;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	f = fopen(argv[3], "w");
	if (!f)
		return -1;
	fprintf(f, "%u\n", ntohs(addr.sin_port));
	fclose(f);
	return fd;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };

	if (argc != 3 && argc != 7)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&fake_loop, &err) < 0)
		return 1;
	fake_root = argv[2];
	serve(bind_unix(argv[1]), NULL);
	if (argc == 7)
		serve(bind_tls(argv + 3), &tls);
	puts("ready");
	fflush(stdout);
	return loop_run(fake_loop);
}
