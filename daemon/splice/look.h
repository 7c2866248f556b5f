/* SPDX-License-Identifier: Apache-2.0 */
/* look.h - what a connection says, as it passes (pure)
 *
 * Joins tls.h and http.h to one question: how many of these bytes may go on,
 * and need the rest be looked at.
 */
#ifndef SPLICE_LOOK_H
#define SPLICE_LOOK_H

#include "splice/http.h"
#include "splice/tls.h"

enum look_kind { LOOK_UNKNOWN = 0, LOOK_TLS, LOOK_HTTP };

/**
 * struct look - All zero but @port and @ech at first
 * @name:	Whom it is meant for, once that is known; never changes then
 * @other:	With WHY_OTHER: whom the offending part was meant for
 * @why:	After PEEK_BAD
 * @free:	Nothing from the guest, @answered: from the server, need be
 *		looked at any more
 */
struct look {
	enum look_kind kind;
	uint16_t port;
	bool ech;
	char name[PEEK_NAME_MAX + 1];
	char other[PEEK_NAME_MAX + 1];
	const char *why;
	bool free, answered;
	/* TLS */
	struct tls_watch tls;
	/* HTTP */
	struct http_head head;
	struct http_body body;
	struct http_status status;
	bool in_body, upgrade, websocket;
	uint64_t requests;
};

/* What the guest sent: bytes that were not passed on yet. @ret_pass may go on;
 * with PEEK_BAD, nothing behind them.
 */
enum peek look_guest(struct look *l, const uint8_t *data, size_t len,
		     size_t *ret_pass);

/* What the server sent, each byte once: all may go on, but with PEEK_BAD. */
enum peek look_server(struct look *l, const uint8_t *data, size_t len);

/* The guest is in the middle of a head. */
bool look_waits(const struct look *l, size_t held);

#endif /* SPLICE_LOOK_H */
