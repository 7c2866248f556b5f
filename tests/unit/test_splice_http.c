/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_http.c - the host of each request, and where requests end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "splice/http.h"

#include <stdio.h>
#include <string.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
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
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
