/* SPDX-License-Identifier: Apache-2.0 */
/* test_denial.c - the last things that each guest was refused */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/net/denial.h"

#include <stdio.h>

static int setup(void **state)
{
	*state = denials_new();
	return 0;
}

static int teardown(void **state)
{
	denials_free(*state);
	return 0;
}

static void the_same_again_counts_up(void **state)
{
	struct net_denial got[NET_DENIALS_MAX];

	assert_true(denials_add(*state, 1, "1.2.3.4", "", 80, 6, "default",
				5000, NULL));
	assert_false(denials_add(*state, 1, "1.2.3.4", "", 80, 6, "default",
				 5500, NULL));
	assert_int_equal(denials_get(*state, 1, got), 1);
	assert_int_equal(got[0].count, 2);
	assert_string_equal(got[0].protocol, "tcp");
	assert_int_equal(denials_total(*state, 1), 2);
}

static void the_newest_hundred_are_kept_newest_first(void **state)
{
	struct net_denial got[NET_DENIALS_MAX];
	char name[32];

	for (int i = 0; i < 250; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		denials_add(*state, 2, name, "", 0, 0, "default", i * 10000,
			    NULL);
	}
	assert_int_equal(denials_get(*state, 2, got), NET_DENIALS_MAX);
	assert_string_equal(got[0].target, "n249.example");
	assert_string_equal(got[NET_DENIALS_MAX - 1].target, "n150.example");
}

static void events_are_at_most_one_a_second(void **state)
{
	assert_true(
		denials_add(*state, 3, "a", "", 0, 0, "default", 10000, NULL));
	assert_false(
		denials_add(*state, 3, "b", "", 0, 0, "default", 10500, NULL));
	assert_true(
		denials_add(*state, 3, "c", "", 0, 0, "default", 11000, NULL));
}

static void a_new_guest_in_the_slot_starts_empty(void **state)
{
	struct net_denial got[NET_DENIALS_MAX];

	denials_add(*state, 4, "a", "", 0, 0, "default", 10000, NULL);
	denials_clear(*state, 4);
	assert_int_equal(denials_get(*state, 4, got), 0);
	assert_int_equal(denials_total(*state, 4), 0);
}

static void slots_out_of_range_are_passed_over(void **state)
{
	assert_false(
		denials_add(*state, SLOT_MAX, "a", "", 0, 0, "x", 1, NULL));
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_same_again_counts_up),
		T(the_newest_hundred_are_kept_newest_first),
		T(events_are_at_most_one_a_second),
		T(a_new_guest_in_the_slot_starts_empty),
		T(slots_out_of_range_are_passed_over),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
