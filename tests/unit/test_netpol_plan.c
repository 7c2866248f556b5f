/* SPDX-License-Identifier: Apache-2.0 */
/* test_netpol_plan.c - what rules become in sets and chains */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/net/netpol.h"
#include "engine/net/netpol_plan.h"
#include "net_rules.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool covered(const struct net_rule *rules, size_t n, uint32_t a,
		    uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < n; i++) {
		const struct net_rule *r = &rules[i];
		bool in = r->n_ports == 0;

		if (r->is_name || (a & r->mask) != r->network ||
		    (r->protocol == NET_TCP && protocol != IPPROTO_TCP) ||
		    (r->protocol == NET_UDP && protocol != IPPROTO_UDP))
			continue;
		for (size_t k = 0; k < r->n_ports; k++)
			in |= port >= r->ports[k].first &&
			      port <= r->ports[k].last;
		if (in)
			return true;
	}
	return false;
}

/* Random rules, some inside others. */
static void ranges_mean_what_the_rules_say(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[12];
	unsigned int seed = 4711;

	(void)state;
	for (int round = 0; round < 200; round++) {
		size_t n = 1 + (size_t)(rand_r(&seed) % 12);
		struct net_policy policy = { .n_allow = n, .allow = rules };
		struct plan plan;

		for (size_t i = 0; i < n; i++) {
			int bits = rand_r(&seed) % 33;
			uint16_t first = (uint16_t)(rand_r(&seed) % 100);

			rules[i] = (struct net_rule){
				.protocol = rand_r(&seed) % 3,
				.n_ports = (size_t)(rand_r(&seed) % 2),
				.mask = bits ? 0xffffffffu << (32 - bits) : 0,
			};
			rules[i].network = IP(203, 0, 113, rand_r(&seed) % 8) &
					   rules[i].mask;
			rules[i].ports[0] = (struct net_ports){
				first, (uint16_t)(first + rand_r(&seed) % 50)
			};
		}
		assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL),
				 0);
		for (size_t i = 1; i < plan.allow.n; i++)
			assert_true(plan_range_order(&plan.allow.ranges[i - 1],
						     &plan.allow.ranges[i]) <
				    0);
		for (int probe = 0; probe < 200; probe++) {
			uint32_t a = IP(203, 0, 113, rand_r(&seed) % 10);
			uint16_t port = (uint16_t)(rand_r(&seed) % 160);
			uint8_t p =
				rand_r(&seed) % 2 ? IPPROTO_TCP : IPPROTO_UDP;

			assert_int_equal(
				plan_side_holds(&plan.allow, a, p, port),
				covered(rules, n, a, p, port));
		}
		plan_fini(&plan);
	}
}

static void ranges_are_looked_up_once_for_each_pair_of_lengths(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[] = { ports("0.0.0.0/0", NET_TCP, 443, 443),
				    ports("192.0.2.7", NET_TCP, 8443, 8443),
				    ports("192.0.2.9", NET_TCP, 443, 443),
				    ports("192.0.2.7", NET_TCP, 8443, 8443),
				    ports("192.0.2.9", NET_ANY, 443, 443),
				    rule("192.0.2.8") };
	struct net_policy policy = { .n_allow = 6, .allow = rules };
	struct plan plan;

	(void)state;
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL), 0);
	assert_int_equal(plan.allow.n_lengths, 3);
	assert_int_equal(plan.allow.n, 6);
	assert_true(plan_side_holds(&plan.allow, 1, IPPROTO_TCP, 443));
	assert_false(plan_side_holds(&plan.allow, 1, IPPROTO_UDP, 443));
	plan_fini(&plan);
}

static void ports_are_cut_into_blocks_of_powers_of_two(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[] = { ports("192.0.2.7", NET_TCP, 8000, 8010) };
	struct net_policy policy = { .n_allow = 1, .allow = rules };
	struct plan plan;

	(void)state;
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL), 0);
	assert_int_equal(plan.allow.n, 3);
	for (uint32_t port = 0; port < 65536; port++)
		assert_int_equal(plan_side_holds(&plan.allow, IP(192, 0, 2, 7),
						 IPPROTO_TCP, (uint16_t)port),
				 port >= 8000 && port <= 8010);
	plan_fini(&plan);
	rules[0].ports[0] = (struct net_ports){ 1, 65534 };
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL), 0);
	assert_int_equal(plan.allow.n, 30);
	plan_fini(&plan);
}

static bool same_shape(const struct net_policy *x, const struct net_policy *y)
{
	static const struct net_limits none;
	struct plan_shape *a, *b;
	struct plan p, q;
	bool same;

	assert_int_equal(plan_make(x, NULL, &none, &p, NULL), 0);
	assert_int_equal(plan_make(y, NULL, &none, &q, NULL), 0);
	a = plan_shape_of(&p);
	b = plan_shape_of(&q);
	same = plan_same_shape(a, b);
	assert_int_equal(same, a->hash == b->hash);
	free(a);
	free(b);
	plan_fini(&p);
	plan_fini(&q);
	return same;
}

static void a_shape_is_all_but_names_addresses_and_their_ports(void **state)
{
	struct net_rule x[] = { rule("a.example"), rule("192.0.2.0/24"),
				ports("10.9.1.1", NET_UDP, 53, 53) };
	struct net_rule y[] = { ports("10.9.2.2", NET_UDP, 53, 53),
				rule("*.b.example"), rule("198.51.100.0/24") };
	struct net_policy p = { .n_allow = 3, .allow = x };
	struct net_policy q = { .n_allow = 3, .allow = y };

	(void)state;
	assert_true(same_shape(&p, &q));
	y[2] = rule("198.51.100.0/25");
	assert_false(same_shape(&p, &q));
	y[2] = rule("198.51.100.0/24");
	y[0].ports[0] = (struct net_ports){ 54, 54 };
	assert_true(same_shape(&p, &q));
	y[0].ports[0].last = 55;
	assert_false(same_shape(&p, &q));
	y[0].ports[0] = (struct net_ports){ 53, 53 };
	y[1].verify_names = false;
	assert_false(same_shape(&p, &q));
	y[1].verify_names = true;
	q.default_allow = true;
	assert_false(same_shape(&p, &q));
	q = (struct net_policy){ .n_deny = 3, .deny = y };
	assert_false(same_shape(&p, &q));
}

static void too_many_ranges_are_refused_and_leave_nothing(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[NET_RULES_MAX];
	struct net_policy policy = { .n_deny = NET_RULES_MAX, .deny = rules };
	struct error err;
	struct plan plan;

	(void)state;
	for (uint16_t i = 0; i < NET_RULES_MAX; i++) {
		rules[i] = ports("192.0.2.1", NET_ANY, i, i);
		for (uint16_t k = 1; k < 8; k++)
			rules[i].ports[k] =
				(struct net_ports){ (uint16_t)(9000 + 2 * k),
						    (uint16_t)(9000 + 2 * k) };
		rules[i].n_ports = 8;
	}
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, &err), 0);
	plan_fini(&plan);
	rules[0].ports[8] = (struct net_ports){ 9100, 9100 };
	rules[0].n_ports = 9;
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
}

static void names_with_the_same_ports_share_a_group(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[] = { rule("a.example"), rule("*.b.example"),
				    ports("c.example", NET_ANY, 22, 22),
				    rule("192.0.2.1") };
	struct net_policy policy = { .n_allow = 4, .allow = rules };
	struct plan plan;

	(void)state;
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL), 0);
	assert_int_equal(plan.n_groups, 2);
	assert_int_equal(plan.rule_group[0], 0);
	assert_int_equal(plan.rule_group[1], 0);
	assert_int_equal(plan.rule_group[2], 1);
	assert_int_equal(plan.rule_group[3], PLAN_NO_GROUP);
	assert_true(plan_group_holds(&plan.groups[0], IPPROTO_TCP, 443));
	assert_false(plan_group_holds(&plan.groups[0], IPPROTO_UDP, 443));
	assert_true(plan_group_holds(&plan.groups[1], IPPROTO_UDP, 22));
	assert_false(plan_group_holds(&plan.groups[1], IPPROTO_TCP, 80));
	plan_fini(&plan);
}

/* "80-81,443" and so on. */
static void assert_direct(const struct plan_group *g, const char *want)
{
	struct net_ports direct[NET_RULE_PORTS_MAX + PLAN_WEB_PORTS];
	size_t n = plan_direct_ports(g, direct), at = 0;
	char text[256] = "";

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u-%u",
				       i ? "," : "", direct[i].first,
				       direct[i].last);
	assert_string_equal(text, want);
}

static void web_ports_of_names_are_reached_by_name_only(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[] = { rule("a.example"), rule("b.example"),
				    ports("c.example", NET_ANY, 1, 65535),
				    ports("d.example", NET_TCP, 22, 22) };
	struct net_policy policy = { .n_allow = 4, .allow = rules };
	struct plan plan;

	(void)state;
	rules[1].verify_names = false;
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, NULL), 0);
	assert_int_equal(plan.n_groups, 4);
	assert_true(plan_binds(&plan));
	assert_true(plan_group_binds(&plan.groups[0], IPPROTO_TCP, 443));
	assert_direct(&plan.groups[0], "");
	assert_false(plan_group_binds(&plan.groups[1], IPPROTO_TCP, 443));
	assert_direct(&plan.groups[1], "80-80,443-443");
	assert_true(plan_group_binds(&plan.groups[2], IPPROTO_TCP, 80));
	assert_false(plan_group_binds(&plan.groups[2], IPPROTO_TCP, 81));
	assert_false(plan_group_binds(&plan.groups[2], IPPROTO_UDP, 443));
	assert_direct(&plan.groups[2], "1-79,81-442,444-65535");
	assert_false(plan.groups[3].verify);
	assert_direct(&plan.groups[3], "22-22");
	plan_fini(&plan);
}

static void too_many_groups_are_refused_and_leave_nothing(void **state)
{
	static const struct net_limits none;
	struct net_rule rules[PLAN_GROUPS_MAX + 1];
	struct net_policy policy = { .n_allow = PLAN_GROUPS_MAX + 1,
				     .allow = rules };
	struct error err;
	struct plan plan;

	(void)state;
	for (uint16_t i = 0; i <= PLAN_GROUPS_MAX; i++)
		rules[i] = ports("a.example", NET_TCP, i, i);
	assert_int_equal(plan_make(&policy, NULL, &none, &plan, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
}

static void limits_of_nothing_are_the_nodes(void **state)
{
	struct net_limits defaults = { .connections_max = 9,
				       .packets_per_second = 7 };
	struct net_limits own = { .packets_per_second = 5 };
	struct plan plan;

	(void)state;
	assert_int_equal(plan_make(NULL, &own, &defaults, &plan, NULL), 0);
	assert_false(plan.open);
	assert_int_equal(plan.limits.connections_max, 9);
	assert_int_equal(plan.limits.packets_per_second, 5);
	plan_fini(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_mean_what_the_rules_say),
		cmocka_unit_test(
			ranges_are_looked_up_once_for_each_pair_of_lengths),
		cmocka_unit_test(ports_are_cut_into_blocks_of_powers_of_two),
		cmocka_unit_test(
			a_shape_is_all_but_names_addresses_and_their_ports),
		cmocka_unit_test(too_many_ranges_are_refused_and_leave_nothing),
		cmocka_unit_test(names_with_the_same_ports_share_a_group),
		cmocka_unit_test(web_ports_of_names_are_reached_by_name_only),
		cmocka_unit_test(too_many_groups_are_refused_and_leave_nothing),
		cmocka_unit_test(limits_of_nothing_are_the_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
