/* SPDX-License-Identifier: Apache-2.0 */
/* test_splice_look.c - a whole connection, as it passes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client_hello.h"
#include "splice/look.h"

#include <stdio.h>
#include <string.h>

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_keeps_its_first_name),
		cmocka_unit_test(
			nothing_passes_between_an_upgrade_and_its_answer),
		cmocka_unit_test(
			an_upgrade_to_what_cannot_be_followed_is_refused),
		cmocka_unit_test(
			a_tls_connection_is_free_when_the_server_has_chosen),
		cmocka_unit_test(an_encrypted_hello_needs_leave),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
