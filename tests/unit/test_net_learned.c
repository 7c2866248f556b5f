/* SPDX-License-Identifier: Apache-2.0 */
/* test_net_learned.c - addresses that a sandbox's names have */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/net/net_learned.h"
#include "engine/net/netpol.h"
#include "net_rules.h"

#include <stdio.h>

static void a_full_name_gives_up_its_own_oldest(void **state)
{
	struct learned_table t = { 0 };

	(void)state;
	for (uint32_t i = 0; i < LEARNED_PER_NAME_MAX; i++)
		learned_put(&t, "a", 100 + i, 1000 + i);
	learned_put(&t, "b", 7, 1);
	assert_non_null(learned_put(&t, "a", 5, 5000));
	assert_true(learned_has(&t, 7));
	assert_true(learned_has(&t, 5));
	assert_false(learned_has(&t, 100));
	learned_fini(&t);
}

static void an_address_that_another_name_has_stays_open(void **state)
{
	struct learned_table t = { 0 };

	(void)state;
	learned_put(&t, "b", 100, 9000);
	for (uint32_t i = 0; i < LEARNED_PER_NAME_MAX; i++)
		learned_put(&t, "a", 100 + i, 1000 + i);
	learned_put(&t, "a", 5, 5000);
	assert_int_equal(learned_find(&t, "a", 100)->expires_ms, 0);
	assert_true(learned_has(&t, 100));
	learned_fini(&t);
}

static void a_slot_holds_so_many_addresses_and_no_more(void **state)
{
	struct learned_table t = { 0 };
	char name[16];

	(void)state;
	for (uint32_t i = 0; i < 3 * LEARNED_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		learned_put(&t, name, i, 1000 + i);
		learned_committed(&t);
	}
	assert_int_equal(t.n, LEARNED_MAX);
	learned_fini(&t);
}

static void what_cannot_be_committed_is_not_heaped_up(void **state)
{
	struct learned_table t = { 0 };
	char name[16];
	uint32_t i;

	(void)state;
	for (i = 0; i < 3 * LEARNED_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		if (!learned_put(&t, name, i, 1000 + i))
			break;
	}
	assert_int_equal(i, 2 * LEARNED_MAX);
	learned_committed(&t);
	assert_non_null(learned_put(&t, "again", 1, 9999));
	learned_fini(&t);
}

static void a_new_policy_keeps_what_its_names_allow(void **state)
{
	struct net_rule allow[] = { rule("*.example.com") };
	struct net_rule deny[] = { rule("bad.example.com") };
	struct net_policy policy = {
		.n_allow = 1, .allow = allow, .n_deny = 1, .deny = deny
	};
	struct learned_table t = { 0 };

	(void)state;
	learned_put(&t, "a.example.com", 1, 1000);
	learned_put(&t, "example.com", 2, 1000);
	learned_put(&t, "bad.example.com", 3, 1000);
	learned_put(&t, "late.example.com", 4, 10);
	learned_expire(&t, 10);
	learned_retire(&t, &policy);
	learned_committed(&t);
	assert_int_equal(t.n, 1);
	assert_int_equal(t.entries[0].address, 1);
	learned_retire(&t, NULL);
	learned_committed(&t);
	assert_int_equal(t.n, 0);
	learned_fini(&t);
}

static void what_the_kernel_may_have_is_not_forgotten_before_it(void **state)
{
	struct learned_table t = { 0 };

	(void)state;
	learned_put(&t, "a", 1, 1000)->kernel_ms = 1000 + LEARNED_SLACK_MS;
	learned_committed(&t);
	assert_true(learned_by_name(&t, "a", 1, 999));
	learned_expire(&t, 1000);
	assert_int_equal(t.n, 1);
	assert_false(learned_by_name(&t, "a", 1, 1000));
	/* A commit that fails leaves it. */
	learned_retire(&t, NULL);
	learned_expire(&t, 1001);
	assert_int_equal(t.n, 1);
	learned_expire(&t, 1000 + LEARNED_SLACK_MS);
	assert_int_equal(t.n, 0);
	learned_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_name_gives_up_its_own_oldest),
		cmocka_unit_test(an_address_that_another_name_has_stays_open),
		cmocka_unit_test(a_slot_holds_so_many_addresses_and_no_more),
		cmocka_unit_test(what_cannot_be_committed_is_not_heaped_up),
		cmocka_unit_test(a_new_policy_keeps_what_its_names_allow),
		cmocka_unit_test(
			what_the_kernel_may_have_is_not_forgotten_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
