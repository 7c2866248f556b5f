/* SPDX-License-Identifier: Apache-2.0 */
/* test_grpc_io.c - calls through real descriptors, with and without TLS */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/grpc_io.h"
#include "base/grpc_tls.h"
#include "base/loop.h"
#include "grpc.h"
#include "resync.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GIVE_UP_MS 10000

struct end {
	struct grpc_io *io; /* NULL once closed */
	unsigned int readies;
	unsigned int closes;
	char why[192];
};

static struct loop *loop;
static struct end client, server;
static struct grpc_status last_st;
static unsigned int dones, got_messages;
static size_t got_bytes;

/* ---- a server that echoes, and a client that counts ---- */

static void on_echo(struct grpc_call *call, const uint8_t *data, size_t len,
		    void *arg)
{
	(void)arg;
	grpc_call_send(call, data, len);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct grpc_status st = { .code = GRPC_OK };

	(void)arg;
	grpc_call_finish(call, &st);
}

static void on_served(struct grpc_call *call, const struct grpc_status *st,
		      void *arg)
{
	(void)call;
	(void)st;
	(void)arg;
}

static const struct grpc_call_ops echo_ops = { .message = on_echo,
					       .half_close = on_half_close,
					       .done = on_served };

static void on_accept(struct grpc_call *call, const char *path, void *arg)
{
	(void)path;
	grpc_call_accept(call, &echo_ops, arg);
}

static const struct grpc_conn_ops server_ops = { .accept = on_accept };
static const struct grpc_conn_ops client_ops = { 0 };

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	(void)call;
	(void)data;
	(void)arg;
	got_messages++;
	got_bytes += len;
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	(void)arg;
	last_st = *st;
	dones++;
}

static const struct grpc_call_ops call_ops = { .message = on_message,
					       .done = on_done };

static void on_ready(struct grpc_io *io, void *arg)
{
	struct end *e = arg;

	(void)io;
	e->readies++;
}

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct end *e = arg;

	(void)io;
	e->io = NULL;
	e->closes++;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct grpc_io_ops io_ops = { .ready = on_ready,
					   .closed = on_closed };

static void add_client(int fd, const struct grpc_io_params *params)
{
	client.io = grpc_io_new(
		loop, fd,
		grpc_conn_new_client(&client_ops, NULL, NULL, loop_now_ms()),
		params, &io_ops, &client);
}

static void add_server(int fd, const struct grpc_io_params *params)
{
	server.io = grpc_io_new(
		loop, fd,
		grpc_conn_new_server(&server_ops, NULL, NULL, loop_now_ms()),
		params, &io_ops, &server);
}

static void run_until(unsigned int *value, unsigned int at_least)
{
	uint64_t until = loop_now_ms() + GIVE_UP_MS;

	while (*value < at_least) {
		assert_true(loop_now_ms() < until);
		sd_event_run(loop_event(loop), 10000);
	}
}

static struct grpc_call *start(void)
{
	return grpc_call_start(grpc_io_conn(client.io), "/a.B/C", 0, &call_ops,
			       NULL);
}

static void echo_once(size_t size)
{
	uint8_t *data = calloc(1, size + 1);
	struct grpc_call *call = start();

	assert_non_null(call);
	grpc_call_send(call, data, size);
	grpc_call_half_close(call);
	free(data);
	run_until(&dones, 1);
	assert_int_equal(last_st.code, GRPC_OK);
	assert_int_equal(got_bytes, size);
}

static int setup(void **state)
{
	struct error err = { 0 };

	(void)state;
	client = server = (struct end){ 0 };
	dones = got_messages = 0;
	got_bytes = 0;
	return loop_new(&loop, &err);
}

static int teardown(void **state)
{
	(void)state;
	client.io = grpc_io_free(client.io);
	server.io = grpc_io_free(server.io);
	loop = loop_free(loop);
	return 0;
}

static void make_pair(int fds[2])
{
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* ---- plain ---- */

static void a_call_goes_through_a_socket(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], NULL);
	echo_once(100);
	assert_int_equal(client.readies, 1);
	assert_int_equal(server.readies, 1);
}

static void a_quiet_connection_needs_no_kick(void **state)
{
	struct grpc_call *call;
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], NULL);
	echo_once(1);
	while (sd_event_run(loop_event(loop), 0) > 0)
		;
	call = start();
	while (sd_event_run(loop_event(loop), 0) > 0)
		;
	grpc_call_half_close(call);
	run_until(&dones, 2);
	call = start();
	grpc_call_cancel(call);
	run_until(&dones, 3);
	assert_int_equal(last_st.code, GRPC_CANCELLED);
}

static void a_message_larger_than_every_buffer_passes(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], NULL);
	echo_once(GRPC_MESSAGE_MAX);
}

static void the_peer_s_end_closes_with_a_reason(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	assert_non_null(start());
	close(fds[1]);
	run_until(&client.closes, 1);
	assert_non_null(strstr(client.why, "closed the connection"));
	assert_int_equal(dones, 1);
	assert_int_equal(last_st.code, GRPC_UNAVAILABLE);
}

static void closing_is_told_from_the_loop(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], NULL);
	start();
	grpc_io_close(client.io, "enough");
	assert_int_equal(client.closes + dones, 0);
	run_until(&client.closes, 1);
	assert_string_equal(client.why, "enough");
	assert_int_equal(dones, 1);
	run_until(&server.closes, 1);
}

static void a_drained_connection_closes_both_ends(void **state)
{
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], NULL);
	echo_once(1);
	grpc_conn_drain(grpc_io_conn(server.io));
	run_until(&server.closes, 1);
	run_until(&client.closes, 1);
}

static void an_idle_connection_is_drained(void **state)
{
	struct grpc_io_params params = { .idle_ms = 20 };
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], NULL);
	add_server(fds[1], &params);
	run_until(&client.closes, 1);
}

static void a_peer_that_takes_nothing_is_given_up(void **state)
{
	struct grpc_io_params params = { .stall_ms = 50 };
	int fds[2], small = 4096;
	static uint8_t data[GRPC_STREAM_WINDOW];
	struct grpc_call *call;

	(void)state;
	make_pair(fds);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	add_client(fds[0], &params);
	call = start();
	grpc_call_send(call, data, sizeof(data));
	run_until(&client.closes, 1);
	assert_non_null(strstr(client.why, "took nothing"));
	assert_int_equal(last_st.code, GRPC_UNAVAILABLE);
	close(fds[1]);
}

static void a_refused_connect_says_so(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct grpc_io_params params = { .connecting = true };
	socklen_t len = sizeof(sin);
	int busy, fd;

	(void)state;
	/* Bound and not listening: nobody else can have this port. */
	busy = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(busy, (struct sockaddr *)&sin, sizeof(sin)), 0);
	getsockname(busy, (struct sockaddr *)&sin, &len);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), -1);
	add_client(fd, &params);
	run_until(&client.closes, 1);
	assert_string_equal(client.why, "connect: Connection refused");
	close(busy);
}

static void what_is_no_http2_is_closed(void **state)
{
	static const char http1[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	int fds[2];

	(void)state;
	make_pair(fds);
	add_server(fds[1], NULL);
	assert_int_equal(write(fds[0], http1, sizeof(http1)), sizeof(http1));
	run_until(&server.closes, 1);
	close(fds[0]);
}

/* ---- TLS ---- */

static EVP_PKEY *make_key(void)
{
	return EVP_EC_gen("P-256");
}

static X509 *make_cert(EVP_PKEY *key, const char *name)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
				   (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(cert, subject);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	return cert;
}

/* One end that shows a certificate of its own and trusts @peer's. */
static struct grpc_tls *make_tls(bool is_server, EVP_PKEY *key, X509 *cert,
				 X509 *peer)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	SSL *ssl;

	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, key);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), peer);
	SSL_CTX_set_verify(
		ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return grpc_tls_new(ssl);
}

static void join_tls(bool trusted)
{
	EVP_PKEY *ck = make_key(), *sk = make_key(), *xk = make_key();
	X509 *cc = make_cert(ck, "client"), *sc = make_cert(sk, "server");
	X509 *xc = make_cert(xk, "client");
	struct grpc_io_params cp = { .tls = make_tls(false, ck, cc, sc) };
	struct grpc_io_params sp = { .tls = make_tls(true, sk, sc,
						     trusted ? cc : xc) };
	int fds[2];

	make_pair(fds);
	add_client(fds[0], &cp);
	add_server(fds[1], &sp);
	X509_free(cc);
	X509_free(sc);
	X509_free(xc);
	EVP_PKEY_free(ck);
	EVP_PKEY_free(sk);
	EVP_PKEY_free(xk);
}

static void a_call_goes_through_mutual_tls(void **state)
{
	X509 *peer;

	(void)state;
	join_tls(true);
	echo_once(300000);
	peer = SSL_get1_peer_certificate(
		grpc_tls_session(grpc_io_tls(server.io)));
	assert_non_null(peer);
	X509_free(peer);
}

static void an_untrusted_certificate_is_refused_before_any_call(void **state)
{
	(void)state;
	join_tls(false);
	start();
	run_until(&server.closes, 1);
	assert_int_equal(server.readies, 0);
	assert_non_null(strstr(server.why, "TLS handshake: "));
	run_until(&client.closes, 1);
	assert_int_equal(dones, 1);
	assert_int_equal(last_st.code, GRPC_UNAVAILABLE);
}

static void a_handshake_has_its_time(void **state)
{
	EVP_PKEY *key = make_key();
	X509 *cert = make_cert(key, "a");
	struct grpc_io_params params = { .tls = make_tls(true, key, cert, cert),
					 .handshake_ms = 30 };
	int fds[2];

	(void)state;
	make_pair(fds);
	add_server(fds[1], &params);
	run_until(&server.closes, 1);
	assert_non_null(strstr(server.why, "TLS handshake took over 30 ms"));
	close(fds[0]);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* ---- a serial line ---- */

/* The guest's end, without a loop: reads until the mark, then echoes it. */
static void guest_syncs(int fd)
{
	struct resync_guest rs;
	uint8_t buf[4096];

	resync_guest_init(&rs);
	for (;;) {
		const uint8_t *p = buf, *out;
		size_t out_len, len;
		ssize_t n = read(fd, buf, sizeof(buf));

		assert_true(n > 0);
		len = (size_t)n;
		while (len) {
			if (resync_guest_next(&rs, &p, &len, &out, &out_len) !=
			    RESYNC_MARK)
				continue;
			assert_int_equal(write(fd, out, out_len), out_len);
			return;
		}
	}
}

static void a_serial_line_starts_behind_the_echoed_mark(void **state)
{
	struct grpc_io_params params = { .resync = true };
	static const char stale[] = "half of an old frame";
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], &params);
	assert_int_equal(write(fds[1], stale, sizeof(stale)), sizeof(stale));
	for (int i = 0; i < 5; i++)
		sd_event_run(loop_event(loop), 0);
	assert_int_equal(client.readies, 0);
	guest_syncs(fds[1]);
	run_until(&client.readies, 1);
	/* Stuffing leaves alone all that has no magic in it. */
	add_server(fds[1], NULL);
	echo_once(5000);
}

static void a_guest_that_does_not_echo_is_given_up(void **state)
{
	struct grpc_io_params params = { .resync = true, .handshake_ms = 30 };
	int fds[2];

	(void)state;
	make_pair(fds);
	add_client(fds[0], &params);
	run_until(&client.closes, 1);
	assert_non_null(strstr(client.why, "in step"));
	close(fds[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_call_goes_through_a_socket),
		T(a_quiet_connection_needs_no_kick),
		T(a_message_larger_than_every_buffer_passes),
		T(the_peer_s_end_closes_with_a_reason),
		T(closing_is_told_from_the_loop),
		T(a_drained_connection_closes_both_ends),
		T(an_idle_connection_is_drained),
		T(a_peer_that_takes_nothing_is_given_up),
		T(a_refused_connect_says_so),
		T(what_is_no_http2_is_closed),
		T(a_call_goes_through_mutual_tls),
		T(an_untrusted_certificate_is_refused_before_any_call),
		T(a_handshake_has_its_time),
		T(a_serial_line_starts_behind_the_echoed_mark),
		T(a_guest_that_does_not_echo_is_given_up),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
