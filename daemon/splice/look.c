/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - what a connection says, as it passes (pure)
 *
 * One connection has one name. A second HTTP request for another one is
 * refused even if that could be reached too: no program of good will does it.
 *
 * A request to go on in another protocol may only be a connection's first, so
 * that the server's first answer is the answer to it. Until it is there nothing
 * more of the guest passes. The one protocol that is let through is WebSocket,
 * which stays with the host that was asked.
 */
#include "splice/look.h"

#include <string.h>

static enum peek refuse(struct look *l, const char *why)
{
	l->why = why;
	return PEEK_BAD;
}

static enum peek tls_first(struct look *l, const uint8_t *data, size_t len)
{
	struct tls_hello hello;
	enum peek p = tls_hello(data, len, &hello);

	if (p == PEEK_BAD) {
		memcpy(l->other, hello.name, sizeof(l->other));
		return refuse(l, hello.why);
	}
	if (p == PEEK_MORE)
		return p;
	if (hello.encrypted && !l->ech) {
		memcpy(l->other, hello.name, sizeof(l->other));
		return refuse(l, WHY_ENCRYPTED);
	}
	memcpy(l->name, hello.name, sizeof(l->name));
	memcpy(l->tls.name, hello.name, sizeof(l->tls.name));
	l->tls.ech = l->ech;
	l->tls.pass_left = hello.len;
	return PEEK_DONE;
}

static enum peek tls_look(struct look *l, const uint8_t *data, size_t len,
			  size_t *ret_pass)
{
	enum peek p;

	if (!l->name[0]) {
		p = tls_first(l, data, len);
		if (p != PEEK_DONE)
			return p;
	}
	p = tls_guest(&l->tls, data, len, ret_pass);
	if (p == PEEK_BAD) {
		memcpy(l->other, l->tls.other, sizeof(l->other));
		return refuse(l, l->tls.why);
	}
	l->free = l->answered = tls_settled(&l->tls);
	return p;
}

/* A head is whole. */
static const char *request(struct look *l)
{
	if (l->name[0] && strcmp(l->name, l->head.name) != 0)
		return WHY_OTHER;
	if (l->head.upgrade && l->requests > 0)
		return WHY_UPGRADE;
	memcpy(l->name, l->head.name, sizeof(l->name));
	l->requests++;
	l->upgrade = l->head.upgrade;
	l->websocket = l->head.websocket;
	l->answered = !l->upgrade;
	http_body_begin(&l->body, &l->head);
	l->in_body = true;
	return NULL;
}

static enum peek http_look(struct look *l, const uint8_t *data, size_t len,
			   size_t *ret_pass)
{
	size_t at = 0, used;

	for (;;) {
		enum peek p;

		*ret_pass = at;
		if (l->in_body) {
			p = http_body(&l->body, data + at, len - at, &used);
			at += used;
			*ret_pass = at;
			if (p == PEEK_BAD)
				return refuse(l, WHY_MALFORMED);
			if (p == PEEK_MORE)
				return p;
			l->in_body = false;
			l->head = (struct http_head){ 0 };
			continue;
		}
		if (l->upgrade || at == len)
			return PEEK_MORE;
		p = http_head(data + at, len - at, l->port, &l->head);
		if (p == PEEK_DONE)
			l->head.why = request(l);
		if (p == PEEK_BAD || l->head.why) {
			memcpy(l->other, l->head.name, sizeof(l->other));
			return refuse(l, l->head.why);
		}
		if (p == PEEK_MORE)
			return p;
		at += l->head.len;
	}
}

enum peek look_guest(struct look *l, const uint8_t *data, size_t len,
		     size_t *ret_pass)
{
	*ret_pass = 0;
	if (l->free) {
		*ret_pass = len;
		return PEEK_MORE;
	}
	if (len == 0)
		return PEEK_MORE;
	if (l->kind == LOOK_UNKNOWN)
		l->kind =
			data[0] == TLS_RECORD_HANDSHAKE ? LOOK_TLS : LOOK_HTTP;
	return l->kind == LOOK_TLS ? tls_look(l, data, len, ret_pass) :
				     http_look(l, data, len, ret_pass);
}

static enum peek http_answer(struct look *l, const uint8_t *data, size_t len)
{
	if (http_status(&l->status, data, len) == PEEK_MORE)
		return PEEK_MORE;
	if (l->status.switched && !l->websocket)
		return refuse(l, WHY_UPGRADE);
	l->answered = true;
	l->free = l->status.switched;
	l->upgrade = false;
	return PEEK_DONE;
}

enum peek look_server(struct look *l, const uint8_t *data, size_t len)
{
	if (l->answered)
		return PEEK_DONE;
	if (l->kind == LOOK_HTTP)
		return http_answer(l, data, len);
	if (tls_server(&l->tls, data, len) == PEEK_BAD)
		return refuse(l, l->tls.why);
	l->free = l->answered = tls_settled(&l->tls);
	return PEEK_DONE;
}

bool look_waits(const struct look *l, size_t held)
{
	return held > 0 && !l->free && !l->in_body && !l->upgrade;
}
