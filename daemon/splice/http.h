/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - the host of every HTTP/1 request, read as it passes (pure)
 *
 * A connection is a row of requests, each a head and perhaps a body. For every
 * head http_head() says whom it is meant for and how long the body is; for the
 * body http_body() says where it ends. Strict, as two readings of one request
 * are how a second one is smuggled past: lines end in CR LF, nothing is folded,
 * a body's length is said once.
 */
#ifndef SPLICE_HTTP_H
#define SPLICE_HTTP_H

#include "splice/peek.h"

#define HTTP_HEAD_MAX	    16384u /* of one request, and of its trailers */
#define HTTP_CHUNK_LINE_MAX 256u

enum http_body_kind { HTTP_NO_BODY = 0, HTTP_LENGTH, HTTP_CHUNKED };

/**
 * struct http_head - What the head of a request says
 * @scanned:	Of the parser's own; zero before the first call for a head
 * @name:	Its host; also, if it is one, when the request is refused
 * @len:	Bytes with the empty line
 * @upgrade, @websocket: It asks to go on in another protocol, in that one
 * @why:	If it was refused
 */
struct http_head {
	size_t scanned;
	char name[PEEK_NAME_MAX + 1];
	size_t len;
	enum http_body_kind body;
	uint64_t length;
	bool upgrade, websocket;
	const char *why;
};

/* Read the head that @data begins with, all of it that there is. @port: where
 * the connection goes; no other may be named.
 */
enum peek http_head(const uint8_t *data, size_t len, uint16_t port,
		    struct http_head *head);

/* A body that is passing. */
struct http_body {
	enum http_body_kind kind;
	uint64_t left;
	unsigned int state, digits;
	size_t line;
};

void http_body_begin(struct http_body *b, const struct http_head *head);
/* @ret_used: so many of the bytes are the body's. PEEK_DONE: it ends there. */
enum peek http_body(struct http_body *b, const uint8_t *data, size_t len,
		    size_t *ret_used);

/**
 * struct http_status - The first answer of a server, as far as it matters
 * @switched:	It goes on in another protocol; else it does not
 */
struct http_status {
	bool switched;
	uint8_t line[12];
	size_t n;
	unsigned int ends;
};

/* See what the server sent; each byte once. PEEK_DONE: it is known. */
enum peek http_status(struct http_status *s, const uint8_t *data, size_t len);

#endif /* SPLICE_HTTP_H */
