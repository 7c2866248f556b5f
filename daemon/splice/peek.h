/* SPDX-License-Identifier: Apache-2.0 */
/* peek.h - the name that a connection is meant for (pure)
 *
 * A guest writes what it likes, so only what can be read in one way is read:
 * anything else is refused, with a word that says why. What is let through is
 * passed on as it is, byte for byte, so these must never see another name in it
 * than the server does.
 *
 * All of it works on bytes in memory, keeps no pointer and allocates nothing.
 */
#ifndef SPLICE_PEEK_H
#define SPLICE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEEK_NAME_MAX 253

enum peek {
	PEEK_MORE = 0, /* more bytes are needed */
	PEEK_DONE,
	PEEK_BAD, /* not to be let through */
};

/* Why; literals that are shown to people. */
#define WHY_NO_NAME   "no-name"	   /* nothing says what it is meant for */
#define WHY_TWO_NAMES "two-names"  /* more than one thing does */
#define WHY_NOT_NAME  "not-a-name" /* an address, or letters no name has */
#define WHY_ENCRYPTED "ech"	   /* encrypted Client Hello */
#define WHY_TOO_LONG  "too-long"   /* beyond the sizes below */
#define WHY_NEITHER   "unknown"	   /* neither TLS nor HTTP/1 */
#define WHY_MALFORMED "malformed"  /* or open to more than one reading */
#define WHY_CONNECT   "connect"	   /* a proxy's method */
#define WHY_HTTP2     "http2"	   /* HTTP/2 without TLS */
#define WHY_OTHER     "other-name" /* than this connection began with */
#define WHY_UPGRADE   "upgrade"	   /* to what cannot be followed */

/**
 * peek_name() - A name as names are compared
 *
 * Lower case, without a final dot. False: no host's name, or an address.
 */
bool peek_name(const uint8_t *text, size_t len, char ret[PEEK_NAME_MAX + 1]);

#endif /* SPLICE_PEEK_H */
