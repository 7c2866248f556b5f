/* SPDX-License-Identifier: Apache-2.0 */
/* test_guest_clock.c - whose word about a clock is taken, and for when */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/guest_clock.h"

#define MS	1000000
#define WALL	((int64_t)1000000 * MS)
#define ASKED	((uint64_t)500 * MS)
#define READING ((uint64_t)70 * MS)

static bool answer_after(struct guest_clock *clock, uint64_t took_ns,
			 uint64_t guest_ns)
{
	guest_clock_ask(clock, ASKED);
	return guest_clock_answer(clock, ASKED + took_ns,
				  WALL + (int64_t)took_ns, guest_ns);
}

static void a_quick_answer_is_enough(void **state)
{
	struct guest_clock clock = { 0 };

	(void)state;
	assert_false(answer_after(&clock, 4 * MS, READING));
}

static void the_reading_belongs_to_the_middle_of_its_call(void **state)
{
	struct guest_clock clock = { 0 };
	uint64_t at;

	(void)state;
	answer_after(&clock, 4 * MS, READING);
	assert_int_equal(guest_clock_time(&clock, WALL + 900 * MS, &at),
			 WALL + 2 * MS);
	assert_int_equal(at, READING);
}

static void a_slow_answer_is_asked_for_again(void **state)
{
	struct guest_clock clock = { 0 };

	(void)state;
	assert_true(answer_after(&clock, 200 * MS, READING));
	assert_false(answer_after(&clock, 3 * MS, READING + MS));
}

static void the_quickest_answer_counts(void **state)
{
	struct guest_clock clock = { 0 };
	uint64_t at;

	(void)state;
	answer_after(&clock, 200 * MS, READING);
	answer_after(&clock, 20 * MS, READING + 1);
	answer_after(&clock, 90 * MS, READING + 2);
	assert_int_equal(guest_clock_time(&clock, 0, &at), WALL + 10 * MS);
	assert_int_equal(at, READING + 1);
}

static void a_guest_that_is_always_slow_is_not_asked_for_ever(void **state)
{
	struct guest_clock clock = { 0 };
	unsigned int asked = 1;

	(void)state;
	while (answer_after(&clock, 200 * MS, READING))
		asked++;
	assert_int_equal(asked, GUEST_CLOCK_ASKS_MAX);
}

static void
an_agent_that_tells_no_reading_gets_the_time_of_arrival(void **state)
{
	struct guest_clock clock = { 0 };
	uint64_t at = 1;

	(void)state;
	assert_false(answer_after(&clock, 200 * MS, 0));
	assert_int_equal(guest_clock_time(&clock, WALL + 900 * MS, &at),
			 WALL + 1000 * MS);
	assert_int_equal(at, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quick_answer_is_enough),
		cmocka_unit_test(the_reading_belongs_to_the_middle_of_its_call),
		cmocka_unit_test(a_slow_answer_is_asked_for_again),
		cmocka_unit_test(the_quickest_answer_counts),
		cmocka_unit_test(
			a_guest_that_is_always_slow_is_not_asked_for_ever),
		cmocka_unit_test(
			an_agent_that_tells_no_reading_gets_the_time_of_arrival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
