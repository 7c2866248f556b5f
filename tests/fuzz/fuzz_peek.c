/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_peek.c - what a guest may send first, and what a server answers
 *
 * Input: a byte that says which parser, then the stream. What is found must not
 * depend on how the stream is cut into pieces, and a name that is found must be
 * one.
 */
#include "splice/http.h"
#include "splice/tls.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 64

static void check_name(const char *name)
{
	char again[PEEK_NAME_MAX + 1];

	assert(peek_name((const uint8_t *)name, strlen(name), again) &&
	       !strcmp(name, again));
}

static void hello(const uint8_t *data, size_t size)
{
	struct tls_hello whole, part;
	enum peek p = tls_hello(data, size, &whole), q;

	if (p == PEEK_DONE) {
		check_name(whole.name);
		assert(whole.len <= size && whole.len <= TLS_HELLO_MAX);
	}
	for (size_t i = 0; i < size && i < 600; i++) {
		q = tls_hello(data, i, &part);
		assert(q == PEEK_MORE ||
		       (q == p && (p == PEEK_DONE || part.why == whole.why)));
	}
}

static void watch(const uint8_t *data, size_t size)
{
	struct tls_watch a = { .name = "example.com" }, b = a;
	size_t pass, at = 0, seen = 0;
	enum peek p = tls_guest(&a, data, size, &pass), q = PEEK_MORE;

	assert(pass <= size);
	while (q == PEEK_MORE && seen < size) {
		size_t n;

		seen++;
		q = tls_guest(&b, data + at, seen - at, &n);
		at += n;
	}
	assert(q == p && at == pass && a.hellos == b.hellos);
}

static void server(const uint8_t *data, size_t size)
{
	struct tls_watch a = { 0 }, b = { 0 };
	enum peek p = tls_server(&a, data, size), q = PEEK_MORE;

	for (size_t i = 0; q == PEEK_MORE && i < size; i++)
		q = tls_server(&b, data + i, 1);
	assert(p == q && a.chosen == b.chosen && a.retry == b.retry);
}

/* A row of requests; the head again in growing pieces. */
static void requests(const uint8_t *data, size_t size)
{
	for (int n = 0; n < REQUESTS_MAX && size; n++) {
		struct http_head whole = { 0 }, part = { 0 };
		struct http_body a, b;
		enum peek p = http_head(data, size, 80, &whole), q = PEEK_MORE;
		size_t used, at = 0;

		for (size_t i = 0; q == PEEK_MORE && i <= size; i++)
			q = http_head(data, i, 80, &part);
		assert(p == q && !strcmp(whole.name, part.name) &&
		       whole.why == part.why);
		if (p != PEEK_DONE)
			return;
		check_name(whole.name);
		assert(whole.len <= size && whole.len == part.len);
		data += whole.len;
		size -= whole.len;
		http_body_begin(&a, &whole);
		http_body_begin(&b, &whole);
		p = http_body(&a, data, size, &used);
		assert(used <= size);
		q = b.kind == HTTP_NO_BODY ? PEEK_DONE : PEEK_MORE;
		while (q == PEEK_MORE && at < size) {
			size_t m;

			q = http_body(&b, data + at, 1, &m);
			at += q == PEEK_BAD ? 0 : 1;
		}
		assert(p == q && at == used);
		if (p != PEEK_DONE)
			return;
		data += used;
		size -= used;
	}
}

static void status(const uint8_t *data, size_t size)
{
	struct http_status a = { 0 }, b = { 0 };
	enum peek p = http_status(&a, data, size), q = PEEK_MORE;

	for (size_t i = 0; q == PEEK_MORE && i < size; i++)
		q = http_status(&b, data + i, 1);
	assert(p == q && a.switched == b.switched);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *,
				       size_t) = { hello, watch, server,
						   requests, status };

	if (size > 0)
		targets[data[0] % 5](data + 1, size - 1);
	return 0;
}
