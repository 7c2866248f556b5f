/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_tls.c - the name in how a TLS connection begins */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client_hello.h"
#include "splice/tls.h"

#include <string.h>

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

int main(int argc, char **argv)
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
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
