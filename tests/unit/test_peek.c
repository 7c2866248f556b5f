/* SPDX-License-Identifier: Apache-2.0 */
/* test_peek.c - the name that a connection is meant for */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "splice/look.h"

#include <stdio.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

struct bytes {
	uint8_t b[40000];
	size_t n;
};

static void put(struct bytes *o, const void *data, size_t n)
{
	memcpy(o->b + o->n, data, n);
	o->n += n;
}

static void put_number(struct bytes *o, size_t v, size_t bytes)
{
	while (bytes--)
		o->b[o->n++] = (uint8_t)(v >> 8 * bytes);
}

static void put_extension(struct bytes *o, size_t type, const void *data,
			  size_t n)
{
	put_number(o, type, 2);
	put_number(o, n, 2);
	put(o, data, n);
}

static void put_name(struct bytes *o, const char *name)
{
	struct bytes e = { .n = 0 };

	put_number(&e, strlen(name) + 3, 2);
	put_number(&e, 0, 1);
	put_number(&e, strlen(name), 2);
	put(&e, name, strlen(name));
	put_extension(o, 0, e.b, e.n);
}

/* A Client Hello's handshake message with these extensions. */
static void message(struct bytes *o, const struct bytes *extensions)
{
	struct bytes m = { .n = 0 };

	put_number(&m, 0x0303, 2);
	for (int i = 0; i < 32; i++)
		put_number(&m, 7, 1);
	put_number(&m, 0, 1);
	put_number(&m, 2, 2);
	put_number(&m, 0x1301, 2);
	put_number(&m, 0x0100, 2);
	if (extensions) {
		put_number(&m, extensions->n, 2);
		put(&m, extensions->b, extensions->n);
	}
	put_number(o, 1, 1);
	put_number(o, m.n, 3);
	put(o, m.b, m.n);
}

/* In records of @size bytes. */
static void records(struct bytes *o, const struct bytes *m, size_t size)
{
	for (size_t at = 0; at < m->n; at += size) {
		size_t n = m->n - at < size ? m->n - at : size;

		put_number(o, 22, 1);
		put_number(o, 0x0301, 2);
		put_number(o, n, 2);
		put(o, m->b + at, n);
	}
}

static void hello_in(struct bytes *o, const struct bytes *ext, size_t size)
{
	struct bytes m = { .n = 0 };

	message(&m, ext);
	records(o, &m, size);
}

static void hello_for(struct bytes *o, const char *name)
{
	struct bytes e = { .n = 0 };

	put_name(&e, name);
	hello_in(o, &e, 16000);
}

static void assert_bad(const struct bytes *b, const char *why)
{
	struct tls_hello h;

	assert_int_equal(tls_hello(b->b, b->n, &h), PEEK_BAD);
	assert_string_equal(h.why, why);
}

static void a_hello_says_its_name_in_lower_case(void **state)
{
	struct bytes b = { .n = 0 };
	struct tls_hello h;

	(void)state;
	hello_for(&b, "Www.Example.COM");
	put(&b, "rest", 4);
	assert_int_equal(tls_hello(b.b, b.n, &h), PEEK_DONE);
	assert_string_equal(h.name, "www.example.com");
	assert_int_equal(h.len, b.n - 4);
	assert_false(h.encrypted);
}

static void every_piece_of_a_hello_asks_for_more(void **state)
{
	struct bytes e = { .n = 0 }, b = { .n = 0 };
	struct tls_hello h;

	(void)state;
	put_name(&e, "example.com");
	hello_in(&b, &e, 7);
	for (size_t i = 0; i < b.n; i++)
		assert_int_equal(tls_hello(b.b, i, &h), PEEK_MORE);
	assert_int_equal(tls_hello(b.b, b.n, &h), PEEK_DONE);
	assert_string_equal(h.name, "example.com");
}

static void a_hello_in_records_of_one_byte_is_put_together(void **state)
{
	struct bytes e = { .n = 0 }, b = { .n = 0 };
	struct tls_hello h;

	(void)state;
	put_name(&e, "example.com");
	hello_in(&b, &e, 1);
	assert_int_equal(tls_hello(b.b, b.n, &h), PEEK_DONE);
	assert_string_equal(h.name, "example.com");
}

static void a_hello_without_a_name_is_refused(void **state)
{
	struct bytes e = { .n = 0 }, b = { .n = 0 }, c = { .n = 0 };

	(void)state;
	put_extension(&e, 16, "\0\3\2h2", 5);
	hello_in(&b, &e, 16000);
	assert_bad(&b, WHY_NO_NAME);
	hello_in(&c, NULL, 16000);
	assert_bad(&c, WHY_NO_NAME);
}

static void two_names_are_refused_wherever_they_are(void **state)
{
	static const uint8_t list[] = { 0,   12, 0, 0, 3,   'a', '.',
					'b', 0,	 0, 3, 'c', '.', 'd' };
	struct bytes e = { .n = 0 }, b = { .n = 0 };

	(void)state;
	put_name(&e, "a.example");
	put_name(&e, "b.example");
	hello_in(&b, &e, 16000);
	assert_bad(&b, WHY_TWO_NAMES);
	e.n = b.n = 0;
	put_extension(&e, 0, list, sizeof(list));
	hello_in(&b, &e, 16000);
	assert_bad(&b, WHY_TWO_NAMES);
}

static void addresses_and_odd_letters_are_no_names(void **state)
{
	static const char *const names[] = {
		"192.0.2.1",   "a b.example", "a..example",
		"2001:db8::1", "1.2",	      "exampl\xc3\xa9.com"
	};

	(void)state;
	for (size_t i = 0; i < N(names); i++) {
		struct bytes b = { .n = 0 };

		hello_for(&b, names[i]);
		assert_bad(&b, WHY_NOT_NAME);
	}
}

static void an_encrypted_hello_is_told(void **state)
{
	struct bytes e = { .n = 0 }, b = { .n = 0 };
	struct tls_hello h;

	(void)state;
	put_name(&e, "outer.example");
	put_extension(&e, 0xfe0d, "x", 1);
	hello_in(&b, &e, 16000);
	assert_int_equal(tls_hello(b.b, b.n, &h), PEEK_DONE);
	assert_true(h.encrypted);
}

static void a_hello_longer_than_the_limit_is_refused_at_once(void **state)
{
	struct bytes b = { .n = 0 };
	struct tls_hello h;

	(void)state;
	put(&b, "\x16\x03\x01\x02\x00\x01\x01\x00\x00", 9);
	assert_int_equal(tls_hello(b.b, b.n, &h), PEEK_BAD);
	assert_string_equal(h.why, WHY_TOO_LONG);
}

static void what_rides_in_the_hellos_record_is_refused(void **state)
{
	struct bytes e = { .n = 0 }, m = { .n = 0 }, b = { .n = 0 };

	(void)state;
	put_name(&e, "example.com");
	message(&m, &e);
	put(&m, m.b, 8);
	records(&b, &m, 16000);
	assert_bad(&b, WHY_MALFORMED);
}

static void what_is_no_hello_is_told_at_its_first_byte(void **state)
{
	struct tls_hello h;

	(void)state;
	assert_int_equal(tls_hello((const uint8_t *)"S", 1, &h), PEEK_BAD);
	assert_string_equal(h.why, WHY_NEITHER);
}

/* ---- after the hello ---------------------------------------------------- */

static const uint8_t server_hello[] = { 22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3 };

static void put_server_hello(struct bytes *o, bool retry)
{
	static const uint8_t random[32] = {
		0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11,
		0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
		0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e,
		0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
	};

	put(o, server_hello, sizeof(server_hello));
	for (size_t i = 0; i < 32; i++)
		put_number(o, retry ? random[i] : i, 1);
	put_number(o, 0, 4);
}

static struct tls_watch watch(void)
{
	return (struct tls_watch){ .name = "example.com" };
}

static void the_servers_hello_settles_it(void **state)
{
	struct tls_watch w = watch();
	struct bytes b = { .n = 0 };

	(void)state;
	put(&b, "\x15\x03\x03\x00\x02\x01\x70", 7); /* a warning before */
	put_server_hello(&b, false);
	for (size_t i = 0; i < b.n; i++)
		assert_int_not_equal(tls_server(&w, b.b + i, 1), PEEK_BAD);
	assert_true(tls_settled(&w));
}

static void after_a_retry_the_second_hello_settles_it(void **state)
{
	struct tls_watch w = watch();
	struct bytes s = { .n = 0 }, g = { .n = 0 };
	size_t pass;

	(void)state;
	put_server_hello(&s, true);
	assert_int_equal(tls_server(&w, s.b, s.n), PEEK_DONE);
	assert_false(tls_settled(&w));
	put(&g, "\x14\x03\x03\x00\x01\x01", 6);
	hello_for(&g, "example.com");
	assert_int_equal(tls_guest(&w, g.b, g.n, &pass), PEEK_MORE);
	assert_int_equal(pass, g.n);
	assert_true(tls_settled(&w));
}

static void a_second_hello_for_another_name_is_refused(void **state)
{
	struct tls_watch w = watch();
	struct bytes g = { .n = 0 };
	size_t pass;

	(void)state;
	put(&g, "\x17\x03\x03\x00\x04", 5); /* early data passes */
	put(&g, "data", 4);
	hello_for(&g, "evil.example");
	assert_int_equal(tls_guest(&w, g.b, g.n, &pass), PEEK_BAD);
	assert_string_equal(w.why, WHY_OTHER);
	assert_int_equal(pass, 9);
}

static void nothing_of_a_second_hello_passes_before_it_is_whole(void **state)
{
	struct tls_watch w = watch();
	struct bytes g = { .n = 0 };
	size_t pass;

	(void)state;
	hello_for(&g, "example.com");
	assert_int_equal(tls_guest(&w, g.b, g.n - 1, &pass), PEEK_MORE);
	assert_int_equal(pass, 0);
	assert_int_equal(tls_guest(&w, g.b, g.n, &pass), PEEK_MORE);
	assert_int_equal(pass, g.n);
}

static void a_second_hello_that_is_encrypted_is_refused(void **state)
{
	struct tls_watch w = watch();
	struct bytes e = { .n = 0 }, g = { .n = 0 };
	size_t pass;

	(void)state;
	put_name(&e, "example.com");
	put_extension(&e, 0xfe0d, "x", 1);
	hello_in(&g, &e, 16000);
	assert_int_equal(tls_guest(&w, g.b, g.n, &pass), PEEK_BAD);
	assert_string_equal(w.why, WHY_ENCRYPTED);
	w = watch();
	w.ech = true;
	assert_int_equal(tls_guest(&w, g.b, g.n, &pass), PEEK_MORE);
}

static void a_server_that_speaks_no_tls_is_refused(void **state)
{
	struct tls_watch w = watch();
	struct bytes b = { .n = 0 };

	(void)state;
	assert_int_equal(tls_server(&w, (const uint8_t *)"HTTP/1.1 400", 12),
			 PEEK_BAD);
	/* One that sends back what it gets, for example. */
	w = watch();
	hello_for(&b, "example.com");
	assert_int_equal(tls_server(&w, b.b, b.n), PEEK_BAD);
}

/* ---- HTTP --------------------------------------------------------------- */

static enum peek head(const char *text, struct http_head *h)
{
	*h = (struct http_head){ 0 };
	return http_head((const uint8_t *)text, strlen(text), 80, h);
}

static void assert_refused(const char *text, const char *why)
{
	struct http_head h;

	if (head(text, &h) != PEEK_BAD || strcmp(h.why, why) != 0) {
		print_error("%s: %s\n", text, h.why ? h.why : "not refused");
		fail();
	}
}

static void a_request_says_its_host(void **state)
{
	struct http_head h;

	(void)state;
	assert_int_equal(head("GET / HTTP/1.1\r\nA: b\r\n"
			      "hOST:  Example.com.:80 \r\n\r\nrest",
			      &h),
			 PEEK_DONE);
	assert_string_equal(h.name, "example.com");
	assert_int_equal(h.body, HTTP_NO_BODY);
	assert_int_equal(h.len, strlen("GET / HTTP/1.1\r\nA: b\r\n"
				       "hOST:  Example.com.:80 \r\n\r\n"));
}

static void every_piece_of_a_head_asks_for_more(void **state)
{
	static const char text[] =
		"\r\nPOST /x HTTP/1.1\r\nHost: a.example\r\n\r\n";
	struct http_head h = { 0 };

	(void)state;
	for (size_t i = 0; i < strlen(text); i++)
		assert_int_equal(http_head((const uint8_t *)text, i, 80, &h),
				 PEEK_MORE);
	assert_int_equal(http_head((const uint8_t *)text, strlen(text), 80, &h),
			 PEEK_DONE);
	assert_int_equal(h.len, strlen(text));
}

static void a_request_without_one_host_is_refused(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\nA: b\r\n\r\n", WHY_NO_NAME);
	assert_refused("GET / HTTP/1.0\r\n\r\n", WHY_NO_NAME);
	assert_refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", WHY_NO_NAME);
	assert_refused("GET / HTTP/1.1\r\nHost: a.b\r\nHost: a.b\r\n\r\n",
		       WHY_TWO_NAMES);
	assert_refused("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
		       WHY_NOT_NAME);
	assert_refused("GET / HTTP/1.1\r\nHost: a.b:8080\r\n\r\n",
		       WHY_NOT_NAME);
	assert_refused("GET / HTTP/1.1\r\nHost: a.b, c.d\r\n\r\n",
		       WHY_NOT_NAME);
}

static void a_whole_uri_must_name_the_same_host(void **state)
{
	struct http_head h;

	(void)state;
	assert_int_equal(
		head("GET http://A.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n", &h),
		PEEK_DONE);
	assert_refused("GET http://c.d/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
		       WHY_TWO_NAMES);
	assert_refused("GET http://u@c.d/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
		       WHY_NOT_NAME);
	assert_refused("GET https://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
		       WHY_MALFORMED);
	assert_refused("GET a.b HTTP/1.1\r\nHost: a.b\r\n\r\n", WHY_MALFORMED);
}

static void other_protocols_are_told(void **state)
{
	(void)state;
	assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", WHY_HTTP2);
	assert_refused("CONNECT a.b:80 HTTP/1.1\r\nHost: a.b\r\n\r\n",
		       WHY_CONNECT);
	assert_refused("SSH-2.0-OpenSSH_9.2\r\n\r\n", WHY_NEITHER);
	assert_refused("GET /\r\n\r\n", WHY_NEITHER);
	assert_refused("\x80\x2e", WHY_NEITHER);
	assert_refused("\r\n\r\nGET", WHY_NEITHER);
	assert_refused(" GET / HTTP/1.1\r\n", WHY_NEITHER);
}

static void what_may_be_read_in_two_ways_is_refused(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\nHost: a.b\n\r\n\r\n",
		"GET / HTTP/1.1\nHost: a.b\n\n",
		"GET / HTTP/1.1\r\nHost : a.b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n Host: a.b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.b\r\n\tc.d\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.b\rHost: c.d\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 1\r\n"
		"Content-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: +1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 1, 1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\nContent-Length: 1\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\n"
		"Transfer-Encoding: gzip, chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.b\r\n"
		"Transfer-Encoding: xchunked\r\n\r\n",
		"POST / HTTP/1.0\r\nHost: a.b\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
		"GET /\x01 HTTP/1.1\r\nHost: a.b\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_refused(bad[i], WHY_MALFORMED);
}

static void a_head_longer_than_the_limit_is_refused(void **state)
{
	static uint8_t text[HTTP_HEAD_MAX + 1];
	struct http_head h = { 0 };

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(http_head(text, HTTP_HEAD_MAX - 1, 80, &h), PEEK_MORE);
	assert_int_equal(http_head(text, HTTP_HEAD_MAX, 80, &h), PEEK_BAD);
	assert_string_equal(h.why, WHY_TOO_LONG);
}

static enum peek body(const char *fields, const char *text, size_t *ret_used)
{
	struct http_head h;
	struct http_body b;
	char whole[512];

	snprintf(whole, sizeof(whole),
		 "POST / HTTP/1.1\r\nHost: a.b\r\n%s\r\n\r\n", fields);
	assert_int_equal(head(whole, &h), PEEK_DONE);
	http_body_begin(&b, &h);
	return http_body(&b, (const uint8_t *)text, strlen(text), ret_used);
}

static void a_body_ends_where_its_length_says(void **state)
{
	size_t used;

	(void)state;
	assert_int_equal(body("Content-Length: 5", "helloGET", &used),
			 PEEK_DONE);
	assert_int_equal(used, 5);
	assert_int_equal(body("Content-Length: 5", "hell", &used), PEEK_MORE);
	assert_int_equal(body("Content-Length: 0", "GET", &used), PEEK_DONE);
	assert_int_equal(used, 0);
}

static void a_chunked_body_ends_at_its_last_chunk(void **state)
{
	static const char text[] = "5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\n"
				   "Trailer: x\r\n\r\n";
	char more[128];
	size_t used;

	(void)state;
	snprintf(more, sizeof(more), "%sGET", text);
	assert_int_equal(body("Transfer-Encoding: chunked", more, &used),
			 PEEK_DONE);
	assert_int_equal(used, strlen(text));
	for (size_t i = 0; i < strlen(text); i++) {
		memcpy(more, text, i);
		more[i] = '\0';
		assert_int_equal(
			body("Transfer-Encoding: chunked", more, &used),
			PEEK_MORE);
	}
}

static void chunks_that_may_be_read_in_two_ways_are_refused(void **state)
{
	static const char *const bad[] = {
		"5 \r\nhello\r\n",
		"0x5\r\nhello\r\n",
		"5\nhello\n",
		"5\r\nhello!\r\n",
		"-5\r\n",
		"\r\n",
		"5\r\rhello",
		";a\r\n",
		"0\r\n X: y\r\n\r\n",
		"0\r\nX: y\n\r\n",
		"fffffffffffffffff\r\n",
	};
	size_t used;

	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_int_equal(
			body("Transfer-Encoding: chunked", bad[i], &used),
			PEEK_BAD);
}

static void an_upgrade_is_told_and_so_is_its_answer(void **state)
{
	static const char yes[] = "HTTP/1.1 100 Continue\r\n\r\n"
				  "HTTP/1.1 101 Switching\r\n\r\n";
	static const char no[] = "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101";
	struct http_status s = { 0 };
	struct http_head h;

	(void)state;
	assert_int_equal(head("GET / HTTP/1.1\r\nHost: a.b\r\n"
			      "Upgrade: WebSocket\r\n\r\n",
			      &h),
			 PEEK_DONE);
	assert_true(h.upgrade && h.websocket);
	assert_int_equal(head("GET / HTTP/1.1\r\nHost: a.b\r\n"
			      "Upgrade: h2c\r\n\r\n",
			      &h),
			 PEEK_DONE);
	assert_true(h.upgrade && !h.websocket);
	for (size_t i = 0; i + 1 < sizeof(yes); i++) {
		if (http_status(&s, (const uint8_t *)yes + i, 1) == PEEK_DONE)
			break;
	}
	assert_true(s.switched);
	s = (struct http_status){ 0 };
	assert_int_equal(http_status(&s, (const uint8_t *)no, strlen(no)),
			 PEEK_DONE);
	assert_false(s.switched);
}

/* ---- a whole connection ------------------------------------------------- */

static enum peek say(struct look *l, const char *text, size_t *pass)
{
	return look_guest(l, (const uint8_t *)text, strlen(text), pass);
}

static void a_connection_keeps_its_first_name(void **state)
{
	struct look l = { .port = 80 };
	const char *one = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
	size_t pass;

	(void)state;
	assert_int_equal(say(&l, one, &pass), PEEK_MORE);
	assert_int_equal(pass, strlen(one));
	assert_string_equal(l.name, "a.example");
	assert_int_equal(say(&l, one, &pass), PEEK_MORE);
	assert_int_equal(
		say(&l, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", &pass),
		PEEK_BAD);
	assert_string_equal(l.why, WHY_OTHER);
	assert_string_equal(l.other, "b.example");
	assert_string_equal(l.name, "a.example");
	assert_int_equal(pass, 0);
}

static void nothing_passes_between_an_upgrade_and_its_answer(void **state)
{
	static const char yes[] = "HTTP/1.1 101 Switching\r\n\r\n";
	struct look l = { .port = 80 };
	size_t pass;

	(void)state;
	assert_int_equal(say(&l,
			     "GET / HTTP/1.1\r\nHost: a.example\r\n"
			     "Upgrade: websocket\r\n\r\n",
			     &pass),
			 PEEK_MORE);
	assert_int_equal(
		say(&l, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", &pass),
		PEEK_MORE);
	assert_int_equal(pass, 0);
	assert_false(l.free);
	assert_int_equal(look_server(&l, (const uint8_t *)yes, strlen(yes)),
			 PEEK_DONE);
	assert_true(l.free);
	assert_int_equal(say(&l, "frame", &pass), PEEK_MORE);
	assert_int_equal(pass, 5);
}

static void an_upgrade_to_what_cannot_be_followed_is_refused(void **state)
{
	static const char yes[] = "HTTP/1.1 101 Switching\r\n\r\n";
	const char *ask = "GET / HTTP/1.1\r\nHost: a.example\r\n"
			  "Upgrade: h2c\r\n\r\n";
	const char *plain = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
	struct look l = { .port = 80 };
	size_t pass;

	(void)state;
	assert_int_equal(say(&l, ask, &pass), PEEK_MORE);
	assert_int_equal(look_server(&l, (const uint8_t *)yes, strlen(yes)),
			 PEEK_BAD);
	assert_string_equal(l.why, WHY_UPGRADE);
	/* Not on a connection that has had a request. */
	l = (struct look){ .port = 80 };
	assert_int_equal(say(&l, plain, &pass), PEEK_MORE);
	assert_int_equal(say(&l, ask, &pass), PEEK_BAD);
	assert_string_equal(l.why, WHY_UPGRADE);
}

static void a_tls_connection_is_free_when_the_server_has_chosen(void **state)
{
	struct look l = { .port = 443 };
	struct bytes g = { .n = 0 }, s = { .n = 0 };
	size_t pass;

	(void)state;
	hello_for(&g, "a.example");
	assert_int_equal(look_guest(&l, g.b, g.n - 1, &pass), PEEK_MORE);
	assert_int_equal(pass, 0);
	assert_int_equal(look_guest(&l, g.b, g.n, &pass), PEEK_MORE);
	assert_int_equal(pass, g.n);
	assert_string_equal(l.name, "a.example");
	assert_false(l.free);
	put_server_hello(&s, false);
	assert_int_equal(look_server(&l, s.b, s.n), PEEK_DONE);
	assert_true(l.free && l.answered);
}

static void an_encrypted_hello_needs_leave(void **state)
{
	struct bytes e = { .n = 0 }, g = { .n = 0 };
	struct look l = { .port = 443 };
	size_t pass;

	(void)state;
	put_name(&e, "outer.example");
	put_extension(&e, 0xfe0d, "x", 1);
	hello_in(&g, &e, 16000);
	assert_int_equal(look_guest(&l, g.b, g.n, &pass), PEEK_BAD);
	assert_string_equal(l.why, WHY_ENCRYPTED);
	assert_string_equal(l.other, "outer.example");
	l = (struct look){ .port = 443, .ech = true };
	assert_int_equal(look_guest(&l, g.b, g.n, &pass), PEEK_MORE);
	assert_string_equal(l.name, "outer.example");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_says_its_name_in_lower_case),
		cmocka_unit_test(every_piece_of_a_hello_asks_for_more),
		cmocka_unit_test(
			a_hello_in_records_of_one_byte_is_put_together),
		cmocka_unit_test(a_hello_without_a_name_is_refused),
		cmocka_unit_test(two_names_are_refused_wherever_they_are),
		cmocka_unit_test(addresses_and_odd_letters_are_no_names),
		cmocka_unit_test(an_encrypted_hello_is_told),
		cmocka_unit_test(
			a_hello_longer_than_the_limit_is_refused_at_once),
		cmocka_unit_test(what_rides_in_the_hellos_record_is_refused),
		cmocka_unit_test(what_is_no_hello_is_told_at_its_first_byte),
		cmocka_unit_test(the_servers_hello_settles_it),
		cmocka_unit_test(after_a_retry_the_second_hello_settles_it),
		cmocka_unit_test(a_second_hello_for_another_name_is_refused),
		cmocka_unit_test(
			nothing_of_a_second_hello_passes_before_it_is_whole),
		cmocka_unit_test(a_second_hello_that_is_encrypted_is_refused),
		cmocka_unit_test(a_server_that_speaks_no_tls_is_refused),
		cmocka_unit_test(a_request_says_its_host),
		cmocka_unit_test(every_piece_of_a_head_asks_for_more),
		cmocka_unit_test(a_request_without_one_host_is_refused),
		cmocka_unit_test(a_whole_uri_must_name_the_same_host),
		cmocka_unit_test(other_protocols_are_told),
		cmocka_unit_test(what_may_be_read_in_two_ways_is_refused),
		cmocka_unit_test(a_head_longer_than_the_limit_is_refused),
		cmocka_unit_test(a_body_ends_where_its_length_says),
		cmocka_unit_test(a_chunked_body_ends_at_its_last_chunk),
		cmocka_unit_test(
			chunks_that_may_be_read_in_two_ways_are_refused),
		cmocka_unit_test(an_upgrade_is_told_and_so_is_its_answer),
		cmocka_unit_test(a_connection_keeps_its_first_name),
		cmocka_unit_test(
			nothing_passes_between_an_upgrade_and_its_answer),
		cmocka_unit_test(
			an_upgrade_to_what_cannot_be_followed_is_refused),
		cmocka_unit_test(
			a_tls_connection_is_free_when_the_server_has_chosen),
		cmocka_unit_test(an_encrypted_hello_needs_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
