/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - TLS 1.3 with certificates on both sides */
#ifndef FRONT_TLS_H
#define FRONT_TLS_H

#include <stddef.h>
#include <openssl/types.h>

struct error;

#define TLS_FILE_MAX (1u << 20)

/**
 * tls_new() - What all connections that begin from now on use
 * @chain, @key, @ca: Descriptors of PEM files, read from their beginning
 *
 * Only TLS 1.3 with ALPN "h2"; a client must have a certificate for client
 * authentication that leads to one of @ca.  Sessions are not resumed, so that
 * each connection is checked anew.
 */
int tls_new(int chain, int key, int ca, SSL_CTX **ret, struct error *err);

/**
 * tls_identify() - Whether the peer may call, and who it is
 * @allowed:	"URI:..." or "DNS:...", exactly; none: whoever verifies
 * @identity:	The name that matched, or the first there is
 */
int tls_identify(SSL *ssl, char *const *allowed, size_t n, char *identity,
		 size_t size, struct error *err);

#endif /* FRONT_TLS_H */
