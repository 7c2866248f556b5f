/* SPDX-License-Identifier: Apache-2.0 */
/* echo_server.c - the gRPC layer and its pump, for clients nobody here wrote
 *
 * usage: echo_server unix:PATH | tcp [CERT KEY CA]
 *
 * Prints "listening ADDRESS" when it does. With certificates it wants one of
 * its clients too (TLS 1.3). Serves echo.proto, health and the node's
 * reflection; ends when its input does.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/grpc_tls.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/health.h"
#include "front/reflection.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SERVICE "/sandbox.interop.v1.EchoService/"

static struct loop *loop;
static struct health *health;
static SSL_CTX *tls;
static unsigned int live, cancelled, expired;
static size_t queued_max;

enum method {
	METHOD_ECHO = 0,
	METHOD_COUNT,
	METHOD_JOIN,
	METHOD_CHAT,

	METHOD_COUNT_OF,
};

static const char *const methods[METHOD_COUNT_OF] = {
	[METHOD_ECHO] = "Echo",
	[METHOD_COUNT] = "Count",
	[METHOD_JOIN] = "Join",
	[METHOD_CHAT] = "Chat",
};

struct call {
	enum method method;
	bool hang;
	bool answered;
	unsigned long left; /* of Count */
	char *filler;	    /* its message, packed */
	size_t filler_len;
	unsigned long messages, bytes; /* of Join */
};

static int send_text(struct grpc_call *call, const char *text)
{
	Google__Protobuf__StringValue msg =
		GOOGLE__PROTOBUF__STRING_VALUE__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	int r;

	msg.value = (char *)(uintptr_t)text;
	buf = xcalloc(1, google__protobuf__string_value__get_packed_size(&msg) +
				 1);
	r = grpc_call_send(call, buf,
			   google__protobuf__string_value__pack(&msg, buf));
	if (grpc_call_queued(call) > queued_max)
		queued_max = grpc_call_queued(call);
	return r;
}

static void finish(struct grpc_call *call, enum grpc_code code)
{
	struct grpc_status st;

	grpc_status_set(&st, code, NULL, "%s", "");
	grpc_call_finish(call, &st);
}

static void fail(struct grpc_call *call)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			"no: 100%% sure \xc3\xa9");
	strcpy(st.field, "sandbox_id");
	st.retry_ms = 2500;
	grpc_call_finish(call, &st);
}

static void go_on_counting(struct grpc_call *call, struct call *c)
{
	while (c->left) {
		c->left--;
		if (send_text(call, c->filler) == 1)
			return;
	}
	finish(call, GRPC_OK);
}

static void echo(struct grpc_call *call, struct call *c, const char *text)
{
	char stats[128];

	if (!strcmp(text, "hang")) {
		c->hang = true;
	} else if (!strcmp(text, "fail")) {
		fail(call);
	} else if (!strcmp(text, "stats")) {
		snprintf(stats, sizeof(stats),
			 "live=%u cancelled=%u expired=%u queued_max=%zu",
			 live - 1, cancelled, expired, queued_max);
		send_text(call, stats);
	} else {
		send_text(call, text);
	}
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	Google__Protobuf__StringValue *msg;
	unsigned long size = 0;
	struct call *c = arg;

	msg = google__protobuf__string_value__unpack(NULL, len, data);
	if (!msg) {
		finish(call, GRPC_INVALID_ARGUMENT);
		return;
	}
	c->messages++;
	c->bytes += strlen(msg->value);
	switch (c->method) {
	case METHOD_ECHO:
		echo(call, c, msg->value);
		break;
	case METHOD_CHAT:
		if (send_text(call, msg->value) == 1)
			grpc_call_pause(call, true);
		break;
	case METHOD_COUNT:
		if (c->filler ||
		    sscanf(msg->value, "%lu %lu", &c->left, &size) != 2 ||
		    size > GRPC_MESSAGE_MAX) {
			finish(call, GRPC_INVALID_ARGUMENT);
			break;
		}
		c->filler = xcalloc(1, size + 1);
		memset(c->filler, 'x', size);
		go_on_counting(call, c);
		break;
	case METHOD_JOIN:
	case METHOD_COUNT_OF:
		break;
	}
	google__protobuf__string_value__free_unpacked(msg, NULL);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct call *c = arg;
	char text[64];

	if (c->hang || c->method == METHOD_COUNT)
		return;
	if (c->method == METHOD_JOIN) {
		snprintf(text, sizeof(text), "%lu %lu", c->messages, c->bytes);
		send_text(call, text);
	}
	finish(call, GRPC_OK);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct call *c = arg;

	if (c->method == METHOD_COUNT)
		go_on_counting(call, c);
	else
		grpc_call_pause(call, false);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct call *c = arg;

	(void)call;
	live--;
	cancelled += st->code == GRPC_CANCELLED;
	expired += st->code == GRPC_DEADLINE_EXCEEDED;
	free(c->filler);
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
	struct call *c;

	(void)arg;
	if (health_accept(health, call, path) || reflection_accept(call, path))
		return;
	if (strncmp(path, SERVICE, strlen(SERVICE)) != 0)
		return;
	for (int m = 0; m < METHOD_COUNT_OF; m++) {
		if (strcmp(path + strlen(SERVICE), methods[m]) != 0)
			continue;
		c = xcalloc(1, sizeof(*c));
		c->method = (enum method)m;
		live++;
		grpc_call_accept(call, &call_ops, c);
		return;
	}
}

static const struct grpc_conn_ops conn_ops = { .accept = on_accept };

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	(void)io;
	(void)arg;
	fprintf(stderr, "closed: %s\n", why);
}

static const struct grpc_io_ops io_ops = { .closed = on_closed };

static int on_client(sd_event_source *source, int fd, uint32_t revents,
		     void *arg)
{
	struct grpc_settings settings = { .resets_per_second = 1000 };
	struct grpc_io_params params = { 0 };
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)source;
	(void)revents;
	(void)arg;
	if (client < 0)
		return 0;
	if (tls) {
		SSL *ssl = SSL_new(tls);

		SSL_set_accept_state(ssl);
		params.tls = grpc_tls_new(ssl);
	}
	/* Lives until it is closed; the process ends with its input. */
	grpc_io_new(
		loop, client,
		grpc_conn_new_server(&conn_ops, NULL, &settings, loop_now_ms()),
		&params, &io_ops, NULL);
	return 0;
}

static int on_stdin(sd_event_source *source, int fd, uint32_t revents,
		    void *arg)
{
	char buf[64];

	(void)source;
	(void)revents;
	(void)arg;
	if (read(fd, buf, sizeof(buf)) <= 0)
		loop_stop(loop, 0);
	return 0;
}

static int select_h2(SSL *ssl, const unsigned char **out,
		     unsigned char *out_len, const unsigned char *in,
		     unsigned int in_len, void *arg)
{
	static const unsigned char h2[] = "\x02h2";

	(void)ssl;
	(void)arg;
	return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len,
				     h2, 3, in,
				     in_len) == OPENSSL_NPN_NEGOTIATED ?
		       SSL_TLSEXT_ERR_OK :
		       SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int make_tls(char **files)
{
	tls = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_alpn_select_cb(tls, select_h2, NULL);
	SSL_CTX_set_verify(
		tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	if (SSL_CTX_use_certificate_chain_file(tls, files[0]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, files[1], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_locations(tls, files[2], NULL) != 1)
		return -1;
	return 0;
}

static int listen_on(const char *where)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd;

	if (!strncmp(where, "unix:", 5)) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", where + 5);
		if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
		    listen(fd, 128) < 0)
			return -1;
		printf("listening %s\n", where);
	} else {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
		    listen(fd, 128) < 0 ||
		    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
			return -1;
		printf("listening 127.0.0.1:%u\n", ntohs(sin.sin_port));
	}
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	int fd;

	if ((argc != 2 && argc != 5) || loop_new(&loop, &err) < 0 ||
	    (argc == 5 && make_tls(argv + 2) < 0)) {
		fprintf(stderr,
			"usage: echo_server unix:PATH | tcp [CERT KEY CA]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	health = health_new();
	health_set(health, "", true);
	fd = listen_on(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "listen: %s\n", strerror(errno));
		return 1;
	}
	sd_event_add_io(loop_event(loop), NULL, fd, EPOLLIN, on_client, NULL);
	sd_event_add_io(loop_event(loop), NULL, STDIN_FILENO, EPOLLIN, on_stdin,
			NULL);
	return loop_run(loop) < 0;
}
