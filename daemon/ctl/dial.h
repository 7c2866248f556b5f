/* SPDX-License-Identifier: Apache-2.0 */
/* dial.h - an address as people write it, to sockets that connect to it */
#ifndef CTL_DIAL_H
#define CTL_DIAL_H

#include <openssl/types.h>

struct client_target;
struct dial;
struct error;
struct grpc_tls;

/**
 * struct dial_tls - TLS 1.3, for a program that is linked with OpenSSL
 * @load:	Reads the certificates; what they are worth is the caller's
 * @begin:	A client session that accepts only the node of this name
 */
struct dial_tls {
	int (*load)(const struct client_target *target, SSL_CTX **ret,
		    struct error *err);
	struct grpc_tls *(*begin)(SSL_CTX *trust, const char *host);
	void (*free)(SSL_CTX *trust);
};
extern const struct dial_tls dial_tls;

/* By target->tls, if it is no unix socket. Reads the certificates, resolves the name (blocks for that). */
int dial_new(const struct client_target *target, struct dial **ret,
	     struct error *err);
void dial_freep(struct dial **d);

/**
 * dial_next() - Begin to connect to the next address there is
 * @ret_tls:	The caller's; NULL on a unix socket
 *
 * Return: a socket, connected or connecting, the caller's; -1 with the reason
 * when none is left. (@err is left alone when an earlier one was tried: then
 * why that failed is the better reason.)
 */
int dial_next(struct dial *d, struct grpc_tls **ret_tls, struct error *err);

#endif /* CTL_DIAL_H */
