/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - the server name of a TLS connection, read as it passes (pure)
 *
 * The first thing of a connection is the guest's Client Hello: tls_hello(). A
 * server may ask for a second one (HelloRetryRequest), which could name another
 * server, so both ends are watched until the server has chosen: tls_guest() and
 * tls_server(). After that everything is encrypted, and nobody's business.
 */
#ifndef SPLICE_TLS_H
#define SPLICE_TLS_H

#include "splice/peek.h"

/* Of a Client Hello with the heads of its records. */
#define TLS_HELLO_MAX 16384u

#define TLS_RECORD_HANDSHAKE 22

/**
 * struct tls_hello - What a Client Hello says
 * @name:	"" if it says none
 * @encrypted:	There is an encrypted one in it, for whom is not known
 * @len:	Bytes that it takes up in the stream, always whole records
 * @why:	If it was refused
 */
struct tls_hello {
	char name[PEEK_NAME_MAX + 1];
	bool encrypted;
	size_t len;
	const char *why;
};

/**
 * tls_hello() - Read the Client Hello that @data begins with
 *
 * It may come in any pieces, in any number of records. Refused: what is no
 * Client Hello, or none that all servers read alike; and one without a name.
 * Whether an encrypted one is welcome is for the caller to say.
 */
enum peek tls_hello(const uint8_t *data, size_t len, struct tls_hello *ret);

/**
 * struct tls_watch - A connection after its first Client Hello
 *
 * Start: the hello's name and @ech, everything else zero.
 * @ech:	Encrypted hellos are welcome
 * @hellos:	How many more have passed
 * @chosen:	The server has answered with its Server Hello
 * @retry:	It asked for another one first
 * @other:	With WHY_OTHER: the name of the one that was refused
 */
struct tls_watch {
	char name[PEEK_NAME_MAX + 1];
	bool ech;
	unsigned int hellos;
	bool chosen, retry;
	char other[PEEK_NAME_MAX + 1];
	const char *why;
	size_t pass_left;
	/* The server's records. */
	uint8_t head[5], message[38], type;
	size_t n_head, record_left, n_message;
};

/**
 * tls_guest() - How much of what the guest sent on may pass
 * @data:	All that has not passed, from where the last call's @ret_pass
 *		ended
 * @ret_pass:	So many bytes of it may go
 */
enum peek tls_guest(struct tls_watch *w, const uint8_t *data, size_t len,
		    size_t *ret_pass);

/* See what the server sent; each byte once. All of it may pass but with
 * PEEK_BAD.
 */
enum peek tls_server(struct tls_watch *w, const uint8_t *data, size_t len);

/* Nothing that follows can change which server is meant. */
bool tls_settled(const struct tls_watch *w);

#endif /* SPLICE_TLS_H */
