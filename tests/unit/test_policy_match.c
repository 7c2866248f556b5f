/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_match.c - which names a sandbox may look up */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "resolver/policy_match.h"

static const struct name_rule exact = { .name = "example.com", .number = 1 };
static const struct name_rule below = { .name = "example.com",
					.wildcard = true,
					.number = 2 };

static void an_exact_rule_is_that_name_only(void **state)
{
	(void)state;
	assert_true(name_rule_matches(&exact, "example.com"));
	assert_false(name_rule_matches(&exact, "www.example.com"));
	assert_false(name_rule_matches(&exact, "badexample.com"));
	assert_false(name_rule_matches(&exact, "example.com.evil.org"));
}

static void a_wildcard_is_what_is_below_at_any_depth(void **state)
{
	(void)state;
	assert_true(name_rule_matches(&below, "a.example.com"));
	assert_true(name_rule_matches(&below, "b.a.example.com"));
	assert_false(name_rule_matches(&below, "example.com"));
	assert_false(name_rule_matches(&below, "aexample.com"));
	assert_false(name_rule_matches(&below, ".example.com"));
}

static void deny_wins_over_allow(void **state)
{
	struct name_rule rules[] = { below,
				     { .name = "bad.example.com",
				       .deny = true } };
	struct name_policy p = { .n_rules = 2, .rules = rules,
				 .default_allow = true };
	uint16_t numbers[4];
	size_t n;

	(void)state;
	assert_int_equal(name_policy_decide(&p, "bad.example.com", numbers, 4,
					    &n),
			 NAME_REFUSED);
	assert_int_equal(n, 0);
}

static void all_allow_rules_that_cover_a_name_are_told(void **state)
{
	struct name_rule rules[] = { below,
				     { .name = "a.example.com", .number = 7 } };
	struct name_policy p = { .n_rules = 2, .rules = rules };
	uint16_t numbers[4];
	size_t n;

	(void)state;
	assert_int_equal(name_policy_decide(&p, "a.example.com", numbers, 4,
					    &n),
			 NAME_ALLOWED_BY_RULE);
	assert_int_equal(n, 2);
	assert_int_equal(numbers[0], 2);
	assert_int_equal(numbers[1], 7);
}

static void without_a_rule_the_default_decides(void **state)
{
	struct name_policy p = { 0 };
	size_t n;

	(void)state;
	assert_int_equal(name_policy_decide(&p, "x.org", NULL, 0, &n),
			 NAME_REFUSED);
	p.default_allow = true;
	assert_int_equal(name_policy_decide(&p, "x.org", NULL, 0, &n),
			 NAME_ALLOWED_BY_DEFAULT);
}

static void addresses_at_the_edges_of_the_ranges(void **state)
{
	(void)state;
	assert_true(address_is_hard_denied(0xa9fea9fe));
	assert_true(address_is_hard_denied(0x0affffff));
	assert_false(address_is_hard_denied(0x0b000000));
	assert_true(address_is_hard_denied(0xac1fffff));
	assert_false(address_is_hard_denied(0xac200000));
	assert_false(address_is_hard_denied(0x08080808));
	assert_true(address_is_hard_denied(0xffffffff));
	assert_true(address_is_hard_denied(0));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exact_rule_is_that_name_only),
		cmocka_unit_test(a_wildcard_is_what_is_below_at_any_depth),
		cmocka_unit_test(deny_wins_over_allow),
		cmocka_unit_test(all_allow_rules_that_cover_a_name_are_told),
		cmocka_unit_test(without_a_rule_the_default_decides),
		cmocka_unit_test(addresses_at_the_edges_of_the_ranges),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
