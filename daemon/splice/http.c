/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - the host of every HTTP/1 request, read as it passes (pure) */
#include "splice/http.h"

#include <string.h>
#include <strings.h>

#define LENGTH_DIGITS_MAX 18
#define CHUNK_DIGITS_MAX  15

/* Part of the head. */
struct text {
	const uint8_t *p;
	size_t n;
};

static bool is_token(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Allowed inside a line; bytes above 127 are, as they mean nothing. */
static bool is_text(uint8_t c)
{
	return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool is(struct text t, const char *word)
{
	return t.n == strlen(word) &&
	       strncasecmp((const char *)t.p, word, t.n) == 0;
}

static bool begins(struct text t, const char *word)
{
	size_t n = strlen(word);

	return t.n >= n && strncasecmp((const char *)t.p, word, n) == 0;
}

static struct text cut(struct text t, size_t n)
{
	return (struct text){ t.p + n, t.n - n };
}

static struct text until(struct text t, uint8_t c)
{
	const uint8_t *end = t.n ? memchr(t.p, c, t.n) : NULL;

	return (struct text){ t.p, end ? (size_t)(end - t.p) : t.n };
}

static struct text trim(struct text t)
{
	while (t.n && (t.p[0] == ' ' || t.p[0] == '\t'))
		t = cut(t, 1);
	while (t.n && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t'))
		t.n--;
	return t;
}

static bool parse_digits(struct text t, size_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (t.n == 0 || t.n > max)
		return false;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(t.p[i] - '0');
	}
	*ret = v;
	return true;
}

/* "name" or "name:port". */
static const char *read_host(struct text t, uint16_t port, char *ret)
{
	struct text name = until(t, ':');
	uint64_t said = port;

	if (t.n == 0)
		return WHY_NO_NAME;
	if (name.n < t.n && !parse_digits(cut(t, name.n + 1), 5, &said))
		return WHY_NOT_NAME;
	if (!peek_name(name.p, name.n, ret))
		return WHY_NOT_NAME;
	return said == port ? NULL : WHY_NOT_NAME;
}

/* What the target itself names, if it is a whole URI. */
static const char *read_target(struct text t, uint16_t port, char *ret)
{
	size_t n = 0;

	if (is(t, "*") || begins(t, "/"))
		return NULL;
	if (!begins(t, "http://"))
		return WHY_MALFORMED;
	t = cut(t, strlen("http://"));
	while (n < t.n && !strchr("/?#", t.p[n]))
		n++;
	return read_host((struct text){ t.p, n }, port, ret);
}

static const char *read_request(struct text line, uint16_t port, bool *ret_old,
				char *ret_name)
{
	struct text method = until(line, ' '), target, version;

	if (method.n == 0 || method.n == line.n)
		return WHY_NEITHER;
	for (size_t i = 0; i < method.n; i++) {
		if (!is_token(method.p[i]))
			return WHY_NEITHER;
	}
	line = cut(line, method.n + 1);
	target = until(line, ' ');
	if (target.n == 0 || target.n == line.n)
		return WHY_NEITHER;
	version = cut(line, target.n + 1);
	if (version.n == 8 && memcmp(version.p, "HTTP/2.0", 8) == 0)
		return WHY_HTTP2;
	if (version.n != 8 || memcmp(version.p, "HTTP/1.", 7) != 0 ||
	    (version.p[7] != '0' && version.p[7] != '1'))
		return WHY_NEITHER;
	*ret_old = version.p[7] == '0';
	if (is(method, "CONNECT"))
		return WHY_CONNECT;
	if (memchr(target.p, '\t', target.n))
		return WHY_MALFORMED;
	return read_target(target, port, ret_name);
}

/* What was seen among the fields. */
struct fields {
	bool host, length, coding, upgrade;
};

static const char *read_field(struct text line, uint16_t port,
			      struct http_head *head, struct fields *seen)
{
	struct text name = until(line, ':'), value;

	if (name.n == 0 || name.n == line.n)
		return WHY_MALFORMED;
	/* No blank before the colon, and no folded line, gets past this. */
	for (size_t i = 0; i < name.n; i++) {
		if (!is_token(name.p[i]))
			return WHY_MALFORMED;
	}
	value = trim(cut(line, name.n + 1));
	if (is(name, "Host")) {
		if (seen->host)
			return WHY_TWO_NAMES;
		seen->host = true;
		return read_host(value, port, head->name);
	}
	if (is(name, "Content-Length")) {
		if (seen->length ||
		    !parse_digits(value, LENGTH_DIGITS_MAX, &head->length))
			return WHY_MALFORMED;
		seen->length = true;
	} else if (is(name, "Transfer-Encoding")) {
		if (seen->coding || !is(value, "chunked"))
			return WHY_MALFORMED;
		seen->coding = true;
	} else if (is(name, "Upgrade")) {
		head->websocket = !seen->upgrade && is(value, "websocket");
		seen->upgrade = head->upgrade = true;
	}
	return NULL;
}

/* @data: whole lines, the last of them empty. */
static const char *read_head(struct text data, uint16_t port,
			     struct http_head *head)
{
	char target[PEEK_NAME_MAX + 1] = "";
	struct fields seen = { 0 };
	struct text line = until(data, '\r');
	const char *why;
	bool old = false;

	why = read_request(line, port, &old, target);
	if (why)
		return why;
	for (;;) {
		data = cut(data, line.n + 2);
		line = until(data, '\r');
		if (line.n == 0)
			break;
		why = read_field(line, port, head, &seen);
		if (why)
			return why;
	}
	if (!seen.host)
		return WHY_NO_NAME;
	if (target[0] && strcmp(target, head->name) != 0)
		return WHY_TWO_NAMES;
	if (seen.coding && (seen.length || old))
		return WHY_MALFORMED;
	head->body = seen.coding		 ? HTTP_CHUNKED :
		     seen.length && head->length ? HTTP_LENGTH :
						   HTTP_NO_BODY;
	return NULL;
}

static enum peek refuse(struct http_head *head, const char *why)
{
	head->why = why;
	return PEEK_BAD;
}

/* The first line, as soon as it is there: who speaks another protocol may be
 * waiting for an answer.
 */
static const char *check_first(const uint8_t *line, size_t len, uint16_t port)
{
	char name[PEEK_NAME_MAX + 1] = "";
	bool old;

	return read_request((struct text){ line, len }, port, &old, name);
}

/* The line that ends at @i is empty, and so the head's last. */
static bool is_last(const uint8_t *data, size_t begin, size_t i)
{
	return i > begin && data[i - 1] == '\n';
}

enum peek http_head(const uint8_t *data, size_t len, uint16_t port,
		    struct http_head *head)
{
	/* Some send an empty line between two requests. */
	size_t begin = len >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;
	size_t i = head->scanned > begin ? head->scanned : begin;
	const char *why;

	for (; i < len && i < HTTP_HEAD_MAX; i++) {
		uint8_t c = data[i];

		head->scanned = i;
		if (c == '\r' && i + 1 == len)
			return PEEK_MORE;
		if (i == begin ? !is_token(c) :
		    c == '\r'  ? data[i + 1] != '\n' :
				 !is_text(c))
			return refuse(head,
				      i == begin ? WHY_NEITHER : WHY_MALFORMED);
		if (c != '\r')
			continue;
		if (!memchr(data + begin, '\n', i - begin)) {
			why = check_first(data + begin, i - begin, port);
			if (why)
				return refuse(head, why);
		}
		if (!is_last(data, begin, i++))
			continue;
		why = read_head((struct text){ data + begin, i + 1 - begin },
				port, head);
		if (why)
			return refuse(head, why);
		head->len = i + 1;
		return PEEK_DONE;
	}
	head->scanned = i;
	return i < HTTP_HEAD_MAX ? PEEK_MORE : refuse(head, WHY_TOO_LONG);
}

/* ---- bodies ------------------------------------------------------------- */

enum {
	CHUNK_SIZE = 0,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	TRAILER_BEGIN,
	TRAILER,
	TRAILER_LF,
	LAST_LF,
};

void http_body_begin(struct http_body *b, const struct http_head *head)
{
	*b = (struct http_body){ .kind = head->body };
	if (b->kind == HTTP_LENGTH)
		b->left = head->length;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A byte of a chunk's first line. */
static enum peek chunk_line(struct http_body *b, uint8_t c)
{
	if (++b->line > HTTP_CHUNK_LINE_MAX)
		return PEEK_BAD;
	if (b->state == CHUNK_SIZE && hex(c) >= 0) {
		b->left = b->left << 4 | (uint64_t)hex(c);
		return ++b->digits <= CHUNK_DIGITS_MAX ? PEEK_MORE : PEEK_BAD;
	}
	if (b->digits == 0)
		return PEEK_BAD;
	if (c == '\r')
		b->state = CHUNK_SIZE_LF;
	else if (b->state == CHUNK_SIZE && c == ';')
		b->state = CHUNK_EXTENSION;
	else if (b->state == CHUNK_SIZE || !is_text(c))
		return PEEK_BAD;
	return PEEK_MORE;
}

/* A byte of the lines behind the last chunk. */
static enum peek trailer(struct http_body *b, uint8_t c)
{
	if (++b->line > HTTP_HEAD_MAX)
		return PEEK_BAD;
	switch (b->state) {
	case TRAILER_BEGIN:
		if (c == '\r')
			b->state = LAST_LF;
		else if (is_token(c))
			b->state = TRAILER;
		else
			return PEEK_BAD;
		return PEEK_MORE;
	case TRAILER:
		if (c == '\r')
			b->state = TRAILER_LF;
		else if (!is_text(c))
			return PEEK_BAD;
		return PEEK_MORE;
	case TRAILER_LF:
		b->state = TRAILER_BEGIN;
		return c == '\n' ? PEEK_MORE : PEEK_BAD;
	default:
		return c == '\n' ? PEEK_DONE : PEEK_BAD;
	}
}

/* A byte that is not a chunk's data. */
static enum peek between(struct http_body *b, uint8_t c)
{
	switch (b->state) {
	case CHUNK_SIZE:
	case CHUNK_EXTENSION:
		return chunk_line(b, c);
	case CHUNK_SIZE_LF:
		b->state = b->left ? CHUNK_DATA : TRAILER_BEGIN;
		b->line = 0;
		return c == '\n' ? PEEK_MORE : PEEK_BAD;
	case CHUNK_DATA_CR:
		b->state = CHUNK_DATA_LF;
		return c == '\r' ? PEEK_MORE : PEEK_BAD;
	case CHUNK_DATA_LF:
		b->state = CHUNK_SIZE;
		b->digits = 0;
		return c == '\n' ? PEEK_MORE : PEEK_BAD;
	default:
		return trailer(b, c);
	}
}

enum peek http_body(struct http_body *b, const uint8_t *data, size_t len,
		    size_t *ret_used)
{
	size_t at = 0;

	*ret_used = 0;
	if (b->kind == HTTP_NO_BODY)
		return PEEK_DONE;
	while (at < len) {
		enum peek p;

		if (b->kind == HTTP_LENGTH || b->state == CHUNK_DATA) {
			size_t n =
				len - at < b->left ? len - at : (size_t)b->left;

			at += n;
			b->left -= n;
			*ret_used = at;
			if (b->left)
				return PEEK_MORE;
			if (b->kind == HTTP_LENGTH)
				return PEEK_DONE;
			b->state = CHUNK_DATA_CR;
			continue;
		}
		p = between(b, data[at++]);
		if (p == PEEK_BAD)
			return p;
		*ret_used = at;
		if (p == PEEK_DONE)
			return p;
	}
	return PEEK_MORE;
}

/* ---- the server's first answer ------------------------------------------ */

/* The first line is there: 1 it is known, 0 an answer before the answer. */
static bool known(struct http_status *s)
{
	static const char want[] = "HTTP/1.";

	if (memcmp(s->line, want, strlen(want)) != 0 || s->line[9] != '1')
		return true;
	s->switched = s->line[10] == '0' && s->line[11] == '1';
	return s->switched;
}

enum peek http_status(struct http_status *s, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s->n < sizeof(s->line)) {
			s->line[s->n++] = data[i];
			if (s->n == sizeof(s->line) && known(s))
				return PEEK_DONE;
			continue;
		}
		/* To the empty line behind it. */
		if (data[i] == '\n' && ++s->ends == 2)
			s->n = s->ends = 0;
		else if (data[i] != '\n' && data[i] != '\r')
			s->ends = 0;
	}
	return PEEK_MORE;
}
