/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_tls.c - who may call over the network, and who may not
 *
 * Against sandboxd-front as a process, so TLS is shown to work in its jail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_pki.h"
#include "front_rig.h"

#include "base/cleanup.h"
#include "base/grpc_io.h"
#include "base/grpc_tls.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MASTER "URI:spiffe://example.org/master"

struct tls_rig {
	struct rig *rig;
	struct pki_ca ca, other;
	struct pki_cert server;
	struct sockaddr_in sa;
	uint32_t connections_max;
};

/* How one client goes about it. */
struct attempt {
	const struct pki_spec *spec; /* NULL: no certificate */
	const struct pki_ca *ca;     /* NULL: the right one */
	int version;		     /* 0: TLS 1.3 */
	X509 *chain;		     /* sent along */
	const char *alpn;	     /* NULL: "\2h2"; "": none */
};

static void certify(struct tls_rig *tr, struct pki_cert *server)
{
	Sandbox__Ipc__V1__Setup setup = SANDBOX__IPC__V1__SETUP__INIT;
	char *allowed[] = { (char *)"URI:spiffe://example.org/other",
			    (char *)MASTER, (char *)"DNS:ctl.example.org" };
	int fds[3] = { pki_cert_fd(server->cert), pki_key_fd(server->key),
		       pki_cert_fd(tr->ca.cert) };

	setup.tls = true;
	setup.connections_max = tr->connections_max;
	setup.n_allowed_identities = 3;
	setup.allowed_identities = allowed;
	rig_setup(tr->rig, &setup, fds);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void listen_tcp(struct tls_rig *tr)
{
	socklen_t len = sizeof(tr->sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	tr->sa = (struct sockaddr_in){ .sin_family = AF_INET };
	tr->sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&tr->sa, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&tr->sa, &len);
	front_link_listen(tr->rig->engine, true, fd);
	close(fd);
}

static int setup(void **state)
{
	const struct pki_spec server = { .san = "DNS:node",
					 .usage = "serverAuth" };
	struct tls_rig *tr = xcalloc(1, sizeof(*tr));

	pki_ca_new(&tr->ca, "right");
	pki_ca_new(&tr->other, "wrong");
	pki_cert_new(&tr->server, &tr->ca, &server);
	tr->rig = rig_new_process();
	certify(tr, &tr->server);
	listen_tcp(tr);
	*state = tr;
	return 0;
}

static int teardown(void **state)
{
	struct tls_rig *tr = *state;

	rig_free(tr->rig);
	pki_cert_free(&tr->server);
	pki_ca_free(&tr->ca);
	pki_ca_free(&tr->other);
	free(tr);
	return 0;
}

static SSL *ssl_of(struct tls_rig *tr, const struct attempt *a)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const char *alpn = a->alpn ? a->alpn : "\2h2";
	struct pki_cert leaf = { 0 };
	SSL *ssl;

	if (a->version)
		SSL_CTX_set_max_proto_version(ctx, a->version);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), tr->ca.cert);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (*alpn)
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn,
					(unsigned int)strlen(alpn));
	if (a->spec) {
		pki_cert_new(&leaf, a->ca ? a->ca : &tr->ca, a->spec);
		assert_int_equal(SSL_CTX_use_certificate(ctx, leaf.cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, leaf.key), 1);
		pki_cert_free(&leaf);
		if (a->chain)
			SSL_CTX_add1_chain_cert(ctx, a->chain);
	}
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_connect_state(ssl);
	return ssl;
}

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct client_conn *cc = arg;

	(void)io;
	cc->closed = true;
	cc->io = NULL;
	snprintf(cc->why, sizeof(cc->why), "%s", why);
}

static const struct grpc_io_ops io_ops = { .closed = on_closed };
static const struct grpc_conn_ops conn_ops = { 0 };

static void join(struct tls_rig *tr, struct client_conn *cc,
		 const struct attempt *a)
{
	struct grpc_io_params params = { .tls = grpc_tls_new(ssl_of(tr, a)) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(cc, 0, sizeof(*cc));
	assert_int_equal(
		connect(fd, (struct sockaddr *)&tr->sa, sizeof(tr->sa)), 0);
	cc->rig = tr->rig;
	cc->conn = grpc_conn_new_client(&conn_ops, cc, NULL, loop_now_ms());
	cc->io = grpc_io_new(tr->rig->loop, fd, cc->conn, &params, &io_ops, cc);
}

/* A call gets an answer of the engine's, or never reaches it. */
static bool may_call(struct tls_rig *tr, const struct attempt *a)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct client_conn cc;
	struct client_call c;

	tr->rig->method[0] = '\0';
	join(tr, &cc, a);
	client_unary(&cc, &c, "GetNode", &m.base);
	client_close(&cc);
	assert_int_equal(c.st.code == GRPC_OK, tr->rig->method[0] != '\0');
	return c.st.code == GRPC_OK;
}

static void a_master_with_its_certificate_may_call(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	struct tls_rig *tr = *state;

	assert_true(may_call(tr, &(struct attempt){ .spec = &spec }));
	assert_string_equal(tr->rig->identity, MASTER);
}

static void one_of_several_names_is_enough(void **state)
{
	const struct pki_spec spec = { .san = "DNS:a,DNS:ctl.example.org",
				       .usage = "clientAuth,serverAuth" };
	struct tls_rig *tr = *state;

	assert_true(may_call(tr, &(struct attempt){ .spec = &spec }));
	assert_string_equal(tr->rig->identity, "DNS:ctl.example.org");
}

static void without_a_certificate_nobody_may_call(void **state)
{
	assert_false(may_call(*state, &(struct attempt){ 0 }));
}

static void a_certificate_of_another_ca_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	struct tls_rig *tr = *state;

	assert_false(may_call(
		tr, &(struct attempt){ .spec = &spec, .ca = &tr->other }));
}

static void an_expired_certificate_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER,
				       .usage = "clientAuth",
				       .expired = true };

	assert_false(may_call(*state, &(struct attempt){ .spec = &spec }));
}

static void a_certificate_of_tomorrow_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER,
				       .usage = "clientAuth",
				       .not_yet = true };

	assert_false(may_call(*state, &(struct attempt){ .spec = &spec }));
}

static void a_name_that_is_not_on_the_list_is_refused(void **state)
{
	static const char *const names[] = {
		"URI:spiffe://example.org/master2",
		"URI:spiffe://example.org/maste",
		"DNS:spiffe.example.org",
		"DNS:ctl.example.org.evil.org",
		"DNS:*.example.org",
		"email:ctl@example.org",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct pki_spec spec = { .san = names[i],
					 .usage = "clientAuth" };

		assert_false(
			may_call(*state, &(struct attempt){ .spec = &spec }));
	}
}

static void a_certificate_without_a_name_is_refused(void **state)
{
	const struct pki_spec spec = { .usage = "clientAuth" };

	assert_false(may_call(*state, &(struct attempt){ .spec = &spec }));
}

static void a_servers_certificate_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "serverAuth" };

	assert_false(may_call(*state, &(struct attempt){ .spec = &spec }));
}

static void a_certificate_for_any_use_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER };

	assert_false(may_call(*state, &(struct attempt){ .spec = &spec }));
}

static void a_leaf_cannot_issue_certificates(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	struct tls_rig *tr = *state;
	struct pki_cert leaf;
	struct pki_ca fake;

	pki_cert_new(&leaf, &tr->ca, &spec);
	fake = (struct pki_ca){ leaf.cert, leaf.key };
	assert_false(may_call(tr, &(struct attempt){ .spec = &spec,
						     .ca = &fake,
						     .chain = leaf.cert }));
	pki_cert_free(&leaf);
}

static void tls_1_2_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };

	assert_false(may_call(
		*state,
		&(struct attempt){ .spec = &spec, .version = TLS1_2_VERSION }));
}

static void another_protocol_than_h2_is_refused(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };

	assert_false(
		may_call(*state, &(struct attempt){ .spec = &spec,
						    .alpn = "\10http/1.1" }));
	assert_false(may_call(*state,
			      &(struct attempt){ .spec = &spec, .alpn = "" }));
}

static void plain_text_on_the_tls_port_is_cut_off(void **state)
{
	struct tls_rig *tr = *state;
	struct client_conn cc = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&tr->sa, sizeof(tr->sa)), 0);
	cc.conn = grpc_conn_new_client(&conn_ops, &cc, NULL, loop_now_ms());
	cc.io = grpc_io_new(tr->rig->loop, fd, cc.conn, NULL, &io_ops, &cc);
	rig_until(tr->rig, cc.closed);
}

static void renewed_certificates_are_for_new_connections_only(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	const struct pki_spec server = { .san = "DNS:node",
					 .usage = "serverAuth" };
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	const struct attempt a = { .spec = &spec };
	struct tls_rig *tr = *state;
	struct client_conn old, new;
	struct pki_cert renewed;
	struct client_call c;

	join(tr, &old, &a);
	client_unary(&old, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	pki_cert_new(&renewed, &tr->ca, &server);
	certify(tr, &renewed);
	join(tr, &new, &a);
	client_unary(&new, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(X509_cmp(SSL_get0_peer_certificate(grpc_tls_session(
					  grpc_io_tls(new.io))),
				  renewed.cert),
			 0);
	client_unary(&old, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&old);
	client_close(&new);
	pki_cert_free(&renewed);
}

static void certificates_that_do_not_load_leave_the_old_ones(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	struct tls_rig *tr = *state;
	struct pki_cert mixed = { .cert = tr->server.cert, .key = tr->ca.key };

	certify(tr, &mixed);
	assert_true(may_call(tr, &(struct attempt){ .spec = &spec }));
}

static void a_peer_that_never_shakes_hands_is_dropped(void **state)
{
	struct tls_rig *tr = *state;
	uint64_t begin = loop_now_ms();
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	assert_int_equal(
		connect(fd, (struct sockaddr *)&tr->sa, sizeof(tr->sa)), 0);
	while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
		assert_true(loop_now_ms() - begin < 15000);
		rig_step(tr->rig);
	}
	assert_true(loop_now_ms() - begin >= GRPC_IO_HANDSHAKE_MS - 500);
	close(fd);
}

static void silent_peers_do_not_keep_the_master_out(void **state)
{
	const struct pki_spec spec = { .san = MASTER, .usage = "clientAuth" };
	struct tls_rig *tr = *state;
	uint64_t begin = loop_now_ms();
	int fds[20];

	tr->connections_max = 8;
	certify(tr, &tr->server);
	for (size_t i = 0; i < 20; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&tr->sa,
					 sizeof(tr->sa)),
				 0);
	}
	assert_true(may_call(tr, &(struct attempt){ .spec = &spec }));
	assert_true(loop_now_ms() - begin < GRPC_IO_HANDSHAKE_MS - 1000);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_master_with_its_certificate_may_call),
		T(one_of_several_names_is_enough),
		T(without_a_certificate_nobody_may_call),
		T(a_certificate_of_another_ca_is_refused),
		T(an_expired_certificate_is_refused),
		T(a_certificate_of_tomorrow_is_refused),
		T(a_name_that_is_not_on_the_list_is_refused),
		T(a_certificate_without_a_name_is_refused),
		T(a_servers_certificate_is_refused),
		T(a_certificate_for_any_use_is_refused),
		T(a_leaf_cannot_issue_certificates),
		T(tls_1_2_is_refused),
		T(another_protocol_than_h2_is_refused),
		T(plain_text_on_the_tls_port_is_cut_off),
		T(renewed_certificates_are_for_new_connections_only),
		T(certificates_that_do_not_load_leave_the_old_ones),
		T(silent_peers_do_not_keep_the_master_out),
		T(a_peer_that_never_shakes_hands_is_dropped),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
