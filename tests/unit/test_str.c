/* SPDX-License-Identifier: Apache-2.0 */
/* test_str.c - strict parsing of short strings */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"

#include <errno.h>
#include <string.h>

static void numbers_with_anything_else_are_refused(void **state)
{
	static const char *const bad[] = { "",	 " 1", "1 ", "-1", "+1",
					   "0x1", "1.", "a",  "1a" };
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(str_parse_u64(bad[i], UINT64_MAX, &v), -EINVAL);
}

static void numbers_over_the_limit_are_out_of_range(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(str_parse_u64("11", 10, &v), -ERANGE);
	assert_int_equal(str_parse_u64("18446744073709551616", UINT64_MAX, &v),
			 -ERANGE);
	assert_int_equal(str_parse_u64("10", 10, &v), 0);
	assert_int_equal(v, 10);
}

static void durations_know_their_units(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(str_parse_duration_ms("24h", UINT64_MAX, &v), 0);
	assert_int_equal(v, 86400000);
	assert_int_equal(str_parse_duration_ms("500ms", UINT64_MAX, &v), 0);
	assert_int_equal(v, 500);
	assert_int_equal(str_parse_duration_ms("5x", UINT64_MAX, &v), -EINVAL);
}

static void escape_never_overflows_and_hides_control_bytes(void **state)
{
	char buf[16];

	(void)state;
	str_escape(buf, sizeof(buf), "a\n\x1b[31mbcdefgh", 13);
	assert_true(strlen(buf) < sizeof(buf));
	assert_null(strchr(buf, '\n'));
	assert_memory_equal(buf, "a\\x0a\\x1b[31m", 9);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_with_anything_else_are_refused),
		cmocka_unit_test(numbers_over_the_limit_are_out_of_range),
		cmocka_unit_test(durations_know_their_units),
		cmocka_unit_test(escape_never_overflows_and_hides_control_bytes),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
