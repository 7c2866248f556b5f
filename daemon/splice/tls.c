/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - the server name of a TLS connection, read as it passes (pure)
 *
 * Theory of operation
 * ===================
 *
 * A Client Hello is put together from its records into one piece and then read
 * once. As long as it is not whole this is done again with every read: the
 * guest pays for each of its packets more than this costs.
 *
 * The name that counts is the one of the Client Hello that the server answers
 * with its Server Hello. That is the first, or the second after a
 * HelloRetryRequest; nothing but further records in clear can bring a second.
 * So until one of these two is settled the guest's records are followed by
 * their heads, and every handshake record is read as a Client Hello that must
 * have the same name. Early data (records of another type) passes.
 */
#include "splice/tls.h"

#include <string.h>

#define HEAD		    5u
#define RECORD_MAX	    16384u
#define RECORD_CIPHER_MAX   (16384u + 2048u)
#define RECORD_CHANGE	    20
#define RECORD_ALERT	    21
#define RECORD_DATA	    23
#define CLIENT_HELLO	    1
#define SERVER_HELLO	    2
#define EXTENSION_NAME	    0x0000
#define EXTENSION_ENCRYPTED 0xfe0d
#define NAME_HOST	    0
#define RANDOM		    32u
#define SESSION_MAX	    32u
#define EXTENSIONS_MAX	    128u

/* SHA-256 of "HelloRetryRequest": the random of a Server Hello that is one. */
static const uint8_t retry_random[RANDOM] = {
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
	0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
	0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

/* Bytes not read yet; once too few were there it is @bad for good. */
struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return p;
}

static size_t number(struct reader *r, size_t bytes)
{
	const uint8_t *p = take(r, bytes);
	size_t v = 0;

	for (size_t i = 0; p && i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

/* A part with its length before it. */
static struct reader part(struct reader *r, size_t bytes)
{
	size_t n = number(r, bytes);
	const uint8_t *p = take(r, n);

	return (struct reader){ p, p ? n : 0, p == NULL };
}

static enum peek refuse(struct tls_hello *hello, const char *why)
{
	hello->why = why;
	return PEEK_BAD;
}

static const char *read_name(struct reader *ext, struct tls_hello *hello)
{
	struct reader list = part(ext, 2);
	size_t type = number(&list, 1);
	struct reader name = part(&list, 2);

	if (name.bad || ext->left)
		return WHY_MALFORMED;
	if (list.left)
		return WHY_TWO_NAMES;
	if (type != NAME_HOST || !peek_name(name.p, name.left, hello->name))
		return WHY_NOT_NAME;
	return NULL;
}

static const char *read_extensions(struct reader *r, struct tls_hello *hello)
{
	uint16_t seen[EXTENSIONS_MAX];
	size_t n = 0;

	while (r->left) {
		size_t type = number(r, 2);
		struct reader ext = part(r, 2);
		const char *why = NULL;

		if (ext.bad || n == EXTENSIONS_MAX)
			return WHY_MALFORMED;
		/* Which of two would the server take? */
		for (size_t i = 0; i < n; i++) {
			if (seen[i] == type)
				return type == EXTENSION_NAME ? WHY_TWO_NAMES :
								WHY_MALFORMED;
		}
		seen[n++] = (uint16_t)type;
		if (type == EXTENSION_NAME)
			why = read_name(&ext, hello);
		else if (type == EXTENSION_ENCRYPTED)
			hello->encrypted = true;
		if (why)
			return why;
	}
	return hello->name[0] ? NULL : WHY_NO_NAME;
}

/* The body of a Client Hello. */
static const char *read_hello(struct reader *r, struct tls_hello *hello)
{
	size_t version = number(r, 2);
	struct reader session, ciphers, compression, extensions;

	take(r, RANDOM);
	session = part(r, 1);
	ciphers = part(r, 2);
	compression = part(r, 1);
	if (compression.bad || version >> 8 != 3 ||
	    session.left > SESSION_MAX || ciphers.left < 2 ||
	    ciphers.left % 2 || compression.left < 1)
		return WHY_MALFORMED;
	if (!r->left)
		return WHY_NO_NAME;
	extensions = part(r, 2);
	if (extensions.bad || r->left)
		return WHY_MALFORMED;
	return read_extensions(&extensions, hello);
}

enum peek tls_hello(const uint8_t *data, size_t len, struct tls_hello *ret)
{
	uint8_t message[TLS_HELLO_MAX];
	size_t at = 0, have = 0, want = 4;
	struct reader r;
	const char *why;

	*ret = (struct tls_hello){ 0 };
	while (have < want) {
		size_t left = len - at, n;

		if (left > 0 && data[at] != TLS_RECORD_HANDSHAKE)
			return refuse(ret, at ? WHY_MALFORMED : WHY_NEITHER);
		if (left > 1 && data[at + 1] != 3)
			return refuse(ret, WHY_MALFORMED);
		if (left < HEAD)
			return len < TLS_HELLO_MAX ? PEEK_MORE :
						     refuse(ret, WHY_TOO_LONG);
		n = (size_t)data[at + 3] << 8 | data[at + 4];
		if (n == 0 || n > RECORD_MAX)
			return refuse(ret, WHY_MALFORMED);
		at += HEAD;
		left -= HEAD;
		if (at + n > TLS_HELLO_MAX)
			return refuse(ret, WHY_TOO_LONG);
		memcpy(message + have, data + at, left < n ? left : n);
		have += left < n ? left : n;
		if (have > 0 && message[0] != CLIENT_HELLO)
			return refuse(ret, WHY_MALFORMED);
		if (have >= 4) {
			want = 4 + ((size_t)message[1] << 16 |
				    (size_t)message[2] << 8 | message[3]);
			if (want > TLS_HELLO_MAX)
				return refuse(ret, WHY_TOO_LONG);
		}
		if (left < n)
			return PEEK_MORE;
		at += n;
	}
	/* It ends where its record does: nothing rides behind it. */
	if (have != want)
		return refuse(ret, WHY_MALFORMED);
	r = (struct reader){ message + 4, want - 4, false };
	why = read_hello(&r, ret);
	if (why)
		return refuse(ret, why);
	ret->len = at;
	return PEEK_DONE;
}

/* ---- after the first hello ---------------------------------------------- */

static enum peek stop(struct tls_watch *w, const char *why)
{
	w->why = why;
	return PEEK_BAD;
}

/* Another Client Hello: as the first, or not at all. */
static enum peek again(struct tls_watch *w, const uint8_t *data, size_t len)
{
	struct tls_hello hello;
	enum peek p = tls_hello(data, len, &hello);

	if (p == PEEK_BAD)
		return stop(w, hello.why);
	if (p == PEEK_MORE)
		return p;
	if (strcmp(hello.name, w->name) != 0) {
		memcpy(w->other, hello.name, sizeof(w->other));
		return stop(w, WHY_OTHER);
	}
	if (hello.encrypted && !w->ech)
		return stop(w, WHY_ENCRYPTED);
	w->hellos++;
	w->pass_left = hello.len;
	return PEEK_DONE;
}

enum peek tls_guest(struct tls_watch *w, const uint8_t *data, size_t len,
		    size_t *ret_pass)
{
	size_t at = 0;

	*ret_pass = 0;
	for (;;) {
		size_t n = len - at < w->pass_left ? len - at : w->pass_left;

		at += n;
		w->pass_left -= n;
		*ret_pass = at;
		if (w->pass_left || at == len)
			return PEEK_MORE;
		if (data[at] == TLS_RECORD_HANDSHAKE) {
			enum peek p = again(w, data + at, len - at);

			if (p != PEEK_DONE)
				return p;
			continue;
		}
		if (data[at] != RECORD_CHANGE && data[at] != RECORD_ALERT &&
		    data[at] != RECORD_DATA)
			return stop(w, WHY_MALFORMED);
		if (len - at < HEAD)
			return PEEK_MORE;
		n = (size_t)data[at + 3] << 8 | data[at + 4];
		if (n > RECORD_CIPHER_MAX)
			return stop(w, WHY_MALFORMED);
		w->pass_left = HEAD + n;
	}
}

/* The head of the server's next record is whole. */
static enum peek server_record(struct tls_watch *w)
{
	w->type = w->head[0];
	w->record_left = (size_t)w->head[3] << 8 | w->head[4];
	w->n_head = 0;
	if (w->head[1] != 3 || w->record_left > RECORD_CIPHER_MAX ||
	    (w->type != TLS_RECORD_HANDSHAKE && w->type != RECORD_ALERT &&
	     w->type != RECORD_CHANGE))
		return stop(w, WHY_MALFORMED);
	return PEEK_MORE;
}

/* The first handshake message, as far as it is needed. */
static enum peek server_message(struct tls_watch *w)
{
	if (w->message[0] != SERVER_HELLO)
		return stop(w, WHY_MALFORMED);
	if (w->n_message < sizeof(w->message))
		return PEEK_MORE;
	if (memcmp(w->message + 6, retry_random, RANDOM) == 0)
		w->retry = true;
	else
		w->chosen = true;
	return PEEK_DONE;
}

enum peek tls_server(struct tls_watch *w, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && !w->chosen && !w->retry;) {
		size_t n = len - i, room;

		if (w->record_left == 0) {
			w->head[w->n_head++] = data[i++];
			if (w->n_head == HEAD && server_record(w) == PEEK_BAD)
				return PEEK_BAD;
			continue;
		}
		if (n > w->record_left)
			n = w->record_left;
		if (w->type == TLS_RECORD_HANDSHAKE) {
			room = sizeof(w->message) - w->n_message;
			if (n > room)
				n = room;
			memcpy(w->message + w->n_message, data + i, n);
			w->n_message += n;
			if (server_message(w) == PEEK_BAD)
				return PEEK_BAD;
		}
		w->record_left -= n;
		i += n;
	}
	return w->chosen || w->retry ? PEEK_DONE : PEEK_MORE;
}

bool tls_settled(const struct tls_watch *w)
{
	return w->chosen || (w->retry && w->hellos > 0);
}
