/* SPDX-License-Identifier: Apache-2.0 */
/* test_ctl_options.c - command lines, taken apart */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ctl/options.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static const struct option_def table[] = {
	{ "image", 0, "I", false, "" },	 { "env", 0, "K=V", true, "" },
	{ "tty", 't', NULL, false, "" }, { "num", 'n', "N", false, "" },
	{ "time", 0, "DUR", false, "" }, { 0 },
};

struct parsed {
	struct options *o;
	int used;
	struct error err;
};

#define ARGV(...)                                                              \
	(const char *[])                                                       \
	{                                                                      \
		__VA_ARGS__, NULL                                              \
	}

static struct parsed parse(const char **argv, bool one_word)
{
	struct parsed p = { .o = options_new() };
	int argc = 0;

	while (argv[argc])
		argc++;
	p.used = options_parse(p.o, table, NULL, argc, (char **)(uintptr_t)argv,
			       one_word, &p.err);
	return p;
}

static void refuses(const char **argv, const char *why)
{
	struct parsed p = parse(argv, false);

	assert_int_equal(p.used, -1);
	assert_non_null(strstr(p.err.msg, why));
	options_free(p.o);
}

static void values_come_behind_a_space_or_an_equals_sign(void **state)
{
	struct parsed p =
		parse(ARGV("--image", "a=b", "--env=K=V=W", "-n", "-5"), false);

	(void)state;
	assert_int_equal(p.used, 5);
	assert_string_equal(options_get(p.o, "image"), "a=b");
	assert_string_equal(options_get(p.o, "env"), "K=V=W");
	assert_string_equal(options_get(p.o, "num"), "-5");
	options_free(p.o);
}

static void an_empty_value_is_a_value(void **state)
{
	struct parsed p = parse(ARGV("--image=", "--env", ""), false);

	(void)state;
	assert_true(options_has(p.o, "image"));
	assert_string_equal(options_get(p.o, "env"), "");
	options_free(p.o);
}

static void repeated_options_keep_their_order(void **state)
{
	struct parsed p =
		parse(ARGV("--env", "A=1", "x", "--env", "B=2"), false);

	(void)state;
	assert_int_equal(options_count(p.o, "env"), 2);
	assert_string_equal(options_nth(p.o, "env", 0), "A=1");
	assert_string_equal(options_nth(p.o, "env", 1), "B=2");
	assert_null(options_nth(p.o, "env", 2));
	assert_string_equal(options_word(p.o, 0), "x");
	options_free(p.o);
}

static void what_is_behind_two_dashes_is_left_alone(void **state)
{
	struct parsed p = parse(ARGV("id", "--", "--tty", "--", "-x"), false);
	char **rest;

	(void)state;
	assert_int_equal(options_words(p.o, NULL), 1);
	assert_int_equal(options_rest(p.o, &rest), 3);
	assert_string_equal(rest[0], "--tty");
	assert_string_equal(rest[1], "--");
	assert_false(options_has(p.o, "tty"));
	options_free(p.o);
}

static void one_dash_is_a_word(void **state)
{
	struct parsed p = parse(ARGV("-"), false);

	(void)state;
	assert_string_equal(options_word(p.o, 0), "-");
	options_free(p.o);
}

static void parsing_stops_before_the_first_word_when_asked(void **state)
{
	struct parsed p = parse(ARGV("--tty", "get", "--image", "i"), true);

	(void)state;
	assert_int_equal(p.used, 1);
	assert_true(options_has(p.o, "tty"));
	assert_false(options_has(p.o, "image"));
	options_free(p.o);
}

static void wrong_options_are_refused_by_name(void **state)
{
	(void)state;
	refuses(ARGV("--imag", "x"), "'--imag'");
	refuses(ARGV("--images", "x"), "'--images'");
	refuses(ARGV("-x"), "'-x'");
	refuses(ARGV("-tn", "1"), "'-tn'");
	refuses(ARGV("--image"), "needs a value");
	refuses(ARGV("--tty=1"), "takes no value");
	refuses(ARGV("--image", "a", "--image", "b"), "given twice");
	refuses(ARGV("--"
		     "=x"),
		"unknown");
}

static void numbers_out_of_range_are_refused(void **state)
{
	static const char *const bad[] = { "",	 "0",  "11",
					   "-1", "1x", "99999999999" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct parsed p = parse(ARGV("--num", bad[i]), false);
		uint32_t v = 7;

		assert_int_equal(options_u32(p.o, "num", 1, 10, &v, &p.err),
				 -1);
		assert_int_equal(v, 7);
		options_free(p.o);
	}
}

static void what_is_not_given_leaves_the_default(void **state)
{
	struct parsed p = parse(ARGV("word"), false);
	uint32_t v = 7;

	(void)state;
	assert_int_equal(options_u32(p.o, "num", 1, 10, &v, &p.err), 0);
	assert_int_equal(options_duration(p.o, "time", &v, &p.err), 0);
	assert_int_equal(v, 7);
	options_free(p.o);
}

static void durations_have_units(void **state)
{
	struct parsed p = parse(ARGV("--time", "24h"), false);
	uint32_t v = 0;

	(void)state;
	assert_int_equal(options_duration(p.o, "time", &v, &p.err), 0);
	assert_int_equal(v, 86400000);
	options_free(p.o);
	p = parse(ARGV("--time", "50d"), false); /* over 32 bits of ms */
	assert_int_equal(options_duration(p.o, "time", &v, &p.err), -1);
	options_free(p.o);
}

static const struct option_def env_defs[] = {
	{ "env", 0, "K=V", true, "" },
	{ "other", 0, "V", false, "" },
	{ 0 },
};

static void hidden_values_leave_the_arguments(void **state)
{
	char a[] = "--env=A=secret", b[] = "--env", c[] = "B=word",
	     d[] = "--other", e[] = "x=y";
	char *argv[] = { a, b, c, d, e };
	struct options *o = options_new();
	struct error err;

	(void)state;
	assert_int_equal(options_parse(o, env_defs, NULL, 5, argv, false,
				       &err),
			 5);
	options_hide(o, "env");
	assert_string_equal(a, "--env=A=******");
	assert_string_equal(c, "B=****");
	assert_string_equal(e, "x=y");
	assert_string_equal(options_nth(o, "env", 0), "A=secret");
	assert_string_equal(options_nth(o, "env", 1), "B=word");
	assert_string_equal(options_get(o, "other"), "x=y");
	options_free(o);
}

static void a_name_alone_takes_its_value_from_the_environment(void **state)
{
	struct error err;
	const char *value;
	char *name;

	(void)state;
	setenv("SBX_TEST_ENV", "v=1", 1);
	assert_int_equal(options_env("env", "SBX_TEST_ENV", &name, &value,
				     &err),
			 0);
	assert_string_equal(name, "SBX_TEST_ENV");
	assert_string_equal(value, "v=1");
	free(name);
	unsetenv("SBX_TEST_ENV");
	assert_int_equal(options_env("env", "SBX_TEST_ENV", &name, &value,
				     &err),
			 -1);
	assert_int_equal(options_env("env", "=x", &name, &value, &err), -1);
	assert_int_equal(options_env("env", "", &name, &value, &err), -1);
	assert_int_equal(options_env("env", "K=", &name, &value, &err), 0);
	assert_string_equal(value, "");
	free(name);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_behind_a_space_or_an_equals_sign),
		cmocka_unit_test(an_empty_value_is_a_value),
		cmocka_unit_test(repeated_options_keep_their_order),
		cmocka_unit_test(what_is_behind_two_dashes_is_left_alone),
		cmocka_unit_test(one_dash_is_a_word),
		cmocka_unit_test(
			parsing_stops_before_the_first_word_when_asked),
		cmocka_unit_test(wrong_options_are_refused_by_name),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(what_is_not_given_leaves_the_default),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(hidden_values_leave_the_arguments),
		cmocka_unit_test(
			a_name_alone_takes_its_value_from_the_environment),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
