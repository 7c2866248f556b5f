/* SPDX-License-Identifier: Apache-2.0 */
/* dial.h - an address as people write it, to sockets that connect to it */
#ifndef CTL_DIAL_H
#define CTL_DIAL_H

#include <openssl/types.h>

struct client_target;
struct dial;
struct error;

/* Reads the certificates, resolves the name (blocks for that). */
int dial_new(const struct client_target *target, struct dial **ret,
	     struct error *err);
void dial_freep(struct dial **d);

/**
 * dial_next() - Begin to connect to the next address there is
 * @ret_ssl:	For TLS: a client session that accepts only the node we mean,
 *		the caller's; NULL on a unix socket
 *
 * Return: a socket, connected or connecting, the caller's; -1 with the reason
 * when none is left. (@err is left alone when an earlier one was tried: then
 * why that failed is the better reason.)
 */
int dial_next(struct dial *d, SSL **ret_ssl, struct error *err);

#endif /* CTL_DIAL_H */
