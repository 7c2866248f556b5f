/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - TLS 1.3 with certificates on both sides */
#include "front/tls.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define VERIFY_DEPTH 4

/* The one place where OpenSSL's errors become ours. */
static int tls_error(struct error *err, const char *what)
{
	char text[160] = "no details";
	unsigned long e = ERR_get_error();

	if (e)
		ERR_error_string_n(e, text, sizeof(text));
	ERR_clear_error();
	return err_set(err, ERR_INTERNAL, "%s: %s", what, text);
}

/* A BIO over a copy of the file, which bio_free() wipes. */
struct pem {
	BIO *bio;
	char *data;
	size_t len;
};

static void pem_fini(struct pem *pem)
{
	BIO_free(pem->bio);
	if (pem->data)
		OPENSSL_cleanse(pem->data, pem->len);
	free(pem->data);
}

#define _cleanup_pem_ _cleanup_(pem_fini)

static int pem_read(struct pem *pem, int fd, const char *what,
		    struct error *err)
{
	ssize_t n;

	pem->data = xcalloc(1, TLS_FILE_MAX);
	while ((n = pread(fd, pem->data + pem->len, TLS_FILE_MAX - pem->len,
			  (off_t)pem->len)) > 0)
		pem->len += (size_t)n;
	if (n < 0)
		return err_sys(err, errno, "read the %s", what);
	if (pem->len == TLS_FILE_MAX)
		return err_set(err, ERR_INVALID, "the %s is too long", what);
	pem->bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	return pem->bio ? 0 : tls_error(err, what);
}

/* No key of a daemon asks for a pass phrase. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static int load_chain(SSL_CTX *ctx, int fd, struct error *err)
{
	_cleanup_pem_ struct pem pem = { 0 };
	bool first = true;
	X509 *cert;

	if (pem_read(&pem, fd, "certificate", err) < 0)
		return -1;
	while ((cert = PEM_read_bio_X509(pem.bio, NULL, no_password, NULL))) {
		int ok = first ? SSL_CTX_use_certificate(ctx, cert) :
				 (int)SSL_CTX_add1_chain_cert(ctx, cert);

		X509_free(cert);
		if (ok != 1)
			return tls_error(err, "use the certificate");
		first = false;
	}
	if (first)
		return tls_error(err, "read the certificate");
	ERR_clear_error();
	return 0;
}

static int load_key(SSL_CTX *ctx, int fd, struct error *err)
{
	_cleanup_pem_ struct pem pem = { 0 };
	EVP_PKEY *key;
	int ok;

	if (pem_read(&pem, fd, "key", err) < 0)
		return -1;
	key = PEM_read_bio_PrivateKey(pem.bio, NULL, no_password, NULL);
	if (!key)
		return tls_error(err, "read the key");
	ok = SSL_CTX_use_PrivateKey(ctx, key);
	EVP_PKEY_free(key);
	if (ok != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return tls_error(err, "use the key with this certificate");
	return 0;
}

static int load_ca(SSL_CTX *ctx, int fd, struct error *err)
{
	_cleanup_pem_ struct pem pem = { 0 };
	bool any = false;
	X509 *cert;

	if (pem_read(&pem, fd, "CA file", err) < 0)
		return -1;
	while ((cert = PEM_read_bio_X509(pem.bio, NULL, no_password, NULL))) {
		int ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);

		SSL_CTX_add_client_CA(ctx, cert);
		X509_free(cert);
		if (ok != 1)
			return tls_error(err, "use the CA file");
		any = true;
	}
	if (!any)
		return tls_error(err, "read the CA file");
	ERR_clear_error();
	return 0;
}

static int select_h2(SSL *ssl, const unsigned char **out, unsigned char *outlen,
		     const unsigned char *in, unsigned int inlen, void *arg)
{
	static const unsigned char h2[] = "\2h2";

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, outlen, h2, 3, in,
				  inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static int set_up(SSL_CTX *ctx, struct error *err)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) != 1)
		return tls_error(err, "set up TLS");
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_verify(ctx,
			   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   NULL);
	SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_max_early_data(ctx, 0);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(ctx, select_h2, NULL);
	return 0;
}

int tls_new(int chain, int key, int ca, SSL_CTX **ret, struct error *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return tls_error(err, "set up TLS");
	if (set_up(ctx, err) < 0 || load_chain(ctx, chain, err) < 0 ||
	    load_key(ctx, key, err) < 0 || load_ca(ctx, ca, err) < 0) {
		SSL_CTX_free(ctx);
		return -1;
	}
	*ret = ctx;
	return 0;
}

/* "URI:spiffe://..." of one name; false: of another kind, or not plain. */
static bool name_text(const GENERAL_NAME *name, char *buf, size_t size)
{
	const char *kind = name->type == GEN_URI ? "URI" :
			   name->type == GEN_DNS ? "DNS" :
						   NULL;
	const ASN1_STRING *s = name->d.ia5;
	int len;

	if (!kind)
		return false;
	len = ASN1_STRING_length(s);
	if (len <= 0 || (size_t)len + 5 > size ||
	    memchr(ASN1_STRING_get0_data(s), 0, (size_t)len))
		return false;
	snprintf(buf, size, "%s:%.*s", kind, len,
		 (const char *)ASN1_STRING_get0_data(s));
	return true;
}

static bool is_allowed(const char *name, char *const *allowed, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(name, allowed[i]))
			return true;
	}
	return n == 0;
}

static bool find_name(X509 *cert, char *const *allowed, size_t n,
		      char *identity, size_t size)
{
	GENERAL_NAMES *names =
		X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++)
		found = name_text(sk_GENERAL_NAME_value(names, i), identity,
				  size) &&
			is_allowed(identity, allowed, n);
	GENERAL_NAMES_free(names);
	return found;
}

int tls_identify(SSL *ssl, char *const *allowed, size_t n, char *identity,
		 size_t size, struct error *err)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	const unsigned char *proto = NULL;
	unsigned int len = 0;

	SSL_get0_alpn_selected(ssl, &proto, &len);
	if (len != 2 || memcmp(proto, "h2", 2))
		return err_set(err, ERR_DENIED, "the client does not speak h2");
	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(err, ERR_DENIED, "no certificate that verifies");
	/* OpenSSL takes a certificate without the extension for any use. */
	if (!(X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) ||
	    !(X509_get_extended_key_usage(cert) & XKU_SSL_CLIENT))
		return err_set(err, ERR_DENIED,
			       "the certificate is not for clients");
	if (find_name(cert, allowed, n, identity, size))
		return 0;
	return err_set(err, ERR_DENIED,
		       "no name in the certificate may call here");
}
