/* SPDX-License-Identifier: Apache-2.0 */
/* dial_tls.c - whom a client trusts, and who it is */
#include "ctl/dial.h"

#include "ctl/client.h"

#include "base/error.h"
#include "base/grpc_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static int failed(struct error *err, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e ? ERR_reason_error_string(e) : NULL;

	err_set(err, ERR_INVALID, "%s: %s", what, why ? why : "cannot be used");
	ERR_clear_error();
	return -1;
}

static int load_files(SSL_CTX *ctx, const struct client_target *t,
		      struct error *err)
{
	if (SSL_CTX_load_verify_file(ctx, t->ca) != 1)
		return failed(err, t->ca);
	if (SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
		return failed(err, t->cert);
	if (SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1)
		return failed(err, t->key);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return failed(err, "key and certificate");
	return 0;
}

static int load(const struct client_target *t, SSL_CTX **ret, struct error *err)
{
	static const unsigned char alpn[] = { 2, 'h', '2' };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return failed(err, "TLS");
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn));
	if (load_files(ctx, t, err) < 0) {
		SSL_CTX_free(ctx);
		return -1;
	}
	*ret = ctx;
	return 0;
}

static struct grpc_tls *begin(SSL_CTX *trust, const char *host)
{
	SSL *ssl = SSL_new(trust);
	uint8_t ip[16];
	int ok;

	if (!ssl)
		abort();
	if (inet_pton(AF_INET, host, ip) == 1 ||
	    inet_pton(AF_INET6, host, ip) == 1)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	else
		ok = SSL_set1_host(ssl, host) &&
		     SSL_set_tlsext_host_name(ssl, host);
	if (!ok)
		abort();
	SSL_set_connect_state(ssl);
	return grpc_tls_new(ssl);
}

const struct dial_tls dial_tls = {
	.load = load,
	.begin = begin,
	.free = SSL_CTX_free,
};
