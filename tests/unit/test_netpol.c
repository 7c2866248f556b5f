/* SPDX-License-Identifier: Apache-2.0 */
/* test_netpol.c - what is pure of the network: rules, ranges, plans, replies */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/net/net_learned.h"
#include "engine/net/netpol.h"
#include "engine/net/netpol_hard.h"
#include "engine/net/netpol_plan.h"
#include "engine/net/nft_expr.h"
#include "engine/net/nft_reply.h"
#include "engine/net/tap.h"

#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IP(a, b, c, d)                                                         \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

static struct net_rule rule(const char *target)
{
	struct net_rule r;
	struct error err;

	if (net_rule_parse(target, &r, &err) < 0)
		fail_msg("%s: %s", target, err.msg);
	return r;
}

static struct net_rule ports(const char *target, enum net_protocol protocol,
			     uint16_t first, uint16_t last)
{
	struct net_rule r = rule(target);

	r.protocol = protocol;
	r.n_ports = 1;
	r.ports[0] = (struct net_ports){ first, last };
	return r;
}

/* ---- rules -------------------------------------------------------------- */

static void a_name_is_web_ports_and_lower_case(void **state)
{
	struct net_rule r = rule("Example.COM.");

	(void)state;
	assert_true(r.is_name);
	assert_false(r.wildcard);
	assert_string_equal(r.target, "example.com");
	assert_int_equal(r.protocol, NET_TCP);
	assert_int_equal(r.n_ports, 2);
	assert_int_equal(r.ports[0].first, 80);
	assert_int_equal(r.ports[1].last, 443);
}

static void a_wildcard_is_noted_and_cut_off(void **state)
{
	struct net_rule r = rule("*.example.com");

	(void)state;
	assert_true(r.wildcard);
	assert_string_equal(r.target, "example.com");
}

static void a_range_is_all_ports_and_protocols(void **state)
{
	struct net_rule r = rule("192.0.2.0/24");

	(void)state;
	assert_false(r.is_name);
	assert_int_equal(r.network, IP(192, 0, 2, 0));
	assert_int_equal(r.mask, 0xffffff00);
	assert_int_equal(r.protocol, NET_ANY);
	assert_int_equal(r.n_ports, 0);
	assert_int_equal(rule("0.0.0.0/0").mask, 0);
	assert_int_equal(rule("192.0.2.7").mask, 0xffffffff);
}

static void what_is_neither_name_nor_range_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	     ".",	    "a..b",	    "*",
		"*.",	     "a.*.b",	    "*a.example",   "1.2.3",
		"1.2.3.256", "1.2.3.4/33",  "1.2.3.4/8",    "1.2.3.4/",
		"::1",	     "2001:db8::1", "ex ample.com", "ex\xc3\xa4.com",
		"a/b",	     "1.2.3.4.",    "host.123",	    "*.*.com",
	};
	char label[80], name[300];
	struct net_rule r;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (net_rule_parse(bad[i], &r, &err) == 0)
			fail_msg("'%s' passed", bad[i]);
		assert_int_equal(err.code, ERR_INVALID);
	}
	memset(label, 'a', 64);
	snprintf(label + 64, sizeof(label) - 64, ".com");
	assert_int_equal(net_rule_parse(label, &r, &err), -1);
	memset(name, 'a', sizeof(name));
	name[299] = '\0';
	assert_int_equal(net_rule_parse(name, &r, &err), -1);
}

/* ---- hard ranges -------------------------------------------------------- */

static enum hard_kind kind(uint32_t address, const char *allowed)
{
	struct hard_range h[HARD_RANGES_MAX];
	struct net_rule r;
	size_t n;

	if (allowed)
		r = rule(allowed);
	n = hard_ranges(IP(10, 200, 0, 0), 0xffff0000, &r, allowed ? 1 : 0, h);
	return hard_kind_of(h, n, address);
}

static void what_is_not_public_is_hard(void **state)
{
	(void)state;
	assert_int_equal(kind(IP(8, 8, 8, 8), NULL), HARD_NONE);
	assert_int_equal(kind(IP(9, 255, 255, 255), NULL), HARD_NONE);
	assert_int_equal(kind(IP(11, 0, 0, 0), NULL), HARD_NONE);
	assert_int_equal(kind(IP(10, 0, 0, 0), NULL), HARD_PRIVATE);
	assert_int_equal(kind(IP(10, 255, 255, 255), NULL), HARD_PRIVATE);
	assert_int_equal(kind(IP(10, 200, 3, 4), NULL), HARD_GUESTS);
	assert_int_equal(kind(IP(172, 31, 255, 255), NULL), HARD_PRIVATE);
	assert_int_equal(kind(IP(172, 32, 0, 0), NULL), HARD_NONE);
	assert_int_equal(kind(IP(169, 254, 169, 254), NULL), HARD_METADATA);
	assert_int_equal(kind(IP(169, 254, 1, 1), NULL), HARD_LINK_LOCAL);
	assert_int_equal(kind(IP(127, 0, 0, 1), NULL), HARD_LOOPBACK);
	assert_int_equal(kind(IP(0, 0, 0, 0), NULL), HARD_RESERVED);
	assert_int_equal(kind(IP(224, 0, 0, 1), NULL), HARD_MULTICAST);
	assert_int_equal(kind(IP(255, 255, 255, 255), NULL), HARD_RESERVED);
}

static void the_operator_opens_private_ranges_and_no_others(void **state)
{
	(void)state;
	assert_int_equal(kind(IP(10, 9, 1, 1), "10.9.0.0/16"), HARD_PERMITTED);
	assert_int_equal(kind(IP(10, 8, 1, 1), "10.9.0.0/16"), HARD_PRIVATE);
	assert_int_equal(kind(IP(10, 200, 0, 9), "10.0.0.0/8"), HARD_GUESTS);
	assert_int_equal(kind(IP(127, 0, 0, 1), "0.0.0.0/0"), HARD_LOOPBACK);
	assert_int_equal(kind(IP(169, 254, 169, 254), "0.0.0.0/0"),
			 HARD_METADATA);
	assert_int_equal(kind(IP(169, 254, 7, 7), "169.254.0.0/16"),
			 HARD_PERMITTED);
	assert_int_equal(kind(IP(224, 0, 0, 1), "224.0.0.0/4"), HARD_MULTICAST);
	assert_int_equal(kind(IP(8, 8, 8, 8), "0.0.0.0/0"), HARD_NONE);
}

static enum hard_kind hides(const char *target, const char *allowed)
{
	struct hard_range h[HARD_RANGES_MAX];
	struct net_rule r = rule(target), a;
	size_t n;

	if (allowed)
		a = rule(allowed);
	n = hard_ranges(IP(10, 200, 0, 0), 0xffff0000, &a, allowed ? 1 : 0, h);
	return hard_hides(h, n, r.network, r.network | ~r.mask);
}

static void a_rule_is_useless_only_if_all_it_names_is_hard(void **state)
{
	(void)state;
	assert_int_equal(hides("10.0.0.0/8", NULL), HARD_PRIVATE);
	assert_int_equal(hides("10.1.2.3", NULL), HARD_PRIVATE);
	assert_int_equal(hides("192.168.0.0/16", NULL), HARD_PRIVATE);
	assert_int_equal(hides("169.254.169.254", NULL), HARD_METADATA);
	assert_int_equal(hides("127.0.0.0/8", NULL), HARD_LOOPBACK);
	assert_int_equal(hides("224.0.0.0/3", NULL), HARD_MULTICAST);
	assert_int_equal(hides("10.200.1.0/24", "10.0.0.0/8"), HARD_GUESTS);
	assert_int_equal(hides("10.0.0.0/8", "10.9.0.0/16"), HARD_NONE);
	assert_int_equal(hides("10.9.1.1", "10.9.0.0/16"), HARD_NONE);
	assert_int_equal(hides("10.8.1.1", "10.9.0.0/16"), HARD_PRIVATE);
	assert_int_equal(hides("0.0.0.0/0", NULL), HARD_NONE);
	assert_int_equal(hides("8.0.0.0/6", NULL), HARD_NONE);
	assert_int_equal(hides("192.0.2.1", NULL), HARD_NONE);
	assert_int_equal(hides("255.255.255.255", NULL), HARD_RESERVED);
}

static void hard_ranges_are_disjoint_and_ascending(void **state)
{
	struct net_rule allowed[HARD_ALLOWED_MAX];
	struct hard_range h[HARD_RANGES_MAX];
	char text[32];
	size_t n;

	(void)state;
	for (unsigned int i = 0; i < HARD_ALLOWED_MAX; i++) {
		snprintf(text, sizeof(text), "10.%u.0.0/16", 2 * i);
		allowed[i] = rule(text);
	}
	n = hard_ranges(IP(10, 200, 0, 0), 0xffff0000, allowed,
			HARD_ALLOWED_MAX, h);
	assert_true(n > HARD_ALLOWED_MAX && n <= HARD_RANGES_MAX);
	for (size_t i = 0; i < n; i++) {
		assert_true(h[i].first <= h[i].last);
		if (i)
			assert_true(h[i].first > h[i - 1].last);
	}
	assert_int_equal(h[n - 1].last, 0xffffffff);
}

/* ---- plans -------------------------------------------------------------- */

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

/* ---- learned addresses -------------------------------------------------- */

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

/* ---- names of objects --------------------------------------------------- */

static void chains_of_shapes_are_known_by_their_names(void **state)
{
	struct netpol_chains c;

	(void)state;
	assert_true(netpol_note_chain("p3", &c));
	assert_true(c.any && !c.names);
	assert_int_equal(c.number, 3);
	assert_true(netpol_note_chain("u4294967295", &c) && c.names);
	assert_false(netpol_note_chain("w7", &c));
	assert_false(netpol_note_chain("p4294967296", &c));
	assert_false(netpol_note_chain("policies", &c));
	assert_false(netpol_note_chain("s3", &c));
	assert_false(netpol_note_chain("p", &c));
	assert_false(netpol_note_chain("", &c));
}

static void only_taps_of_ours_have_a_number(void **state)
{
	uint32_t n;

	(void)state;
	assert_true(tap_number("sbx0", 100, &n));
	assert_int_equal(n, 0);
	assert_true(tap_number("sbx42", 100, &n));
	assert_int_equal(n, 42);
	assert_false(tap_number("sbx042", 100, &n));
	assert_false(tap_number("sbx101", 100, &n));
	assert_false(tap_number("sbx", 100, &n));
	assert_false(tap_number("sbx1a", 100, &n));
	assert_false(tap_number("eth0", 100, &n));
}

/* ---- batches and replies ------------------------------------------------ */

static void a_batch_is_whole_messages(void **state)
{
	struct hard_range hard[HARD_RANGES_MAX];
	struct netpol_node node = { .pool = IP(10, 200, 0, 0),
				    .pool_mask = 0xffff0000,
				    .gateway = IP(169, 254, 1, 1),
				    .hard = hard };
	struct nft_batch b;
	unsigned int messages = 0;
	size_t at = 0;

	(void)state;
	node.n_hard = hard_ranges(node.pool, node.pool_mask, NULL, 0, hard);
	nft_batch_init(&b, NFPROTO_INET);
	netpol_base(&b, &node, true);
	assert_false(b.failed);
	while (at < b.len) {
		struct nlmsghdr nh;
		struct nft_attr attrs[64];

		memcpy(&nh, b.data + at, sizeof(nh));
		assert_true(nh.nlmsg_len <= b.len - at);
		assert_int_equal(nh.nlmsg_type >> 8, NFNL_SUBSYS_NFTABLES);
		assert_true(nft_attrs(
			b.data + at + sizeof(nh) + sizeof(struct nfgenmsg),
			nh.nlmsg_len - sizeof(nh) - sizeof(struct nfgenmsg),
			attrs, 64));
		at += NLMSG_ALIGN(nh.nlmsg_len);
		messages++;
	}
	assert_int_equal(messages, b.messages);
	nft_batch_fini(&b);
}

/* Chains and rules are the shape's; a slot is elements only. */
static void a_slot_is_elements_of_what_all_share(void **state)
{
	static const struct net_limits limits = { 10, 10, 10 };
	struct netpol_node node = { 0 };
	struct slot slot = { .number = 3, .tap = "sbx3", .mark = 4 };
	struct netpol_objects have = { 0 };
	struct nft_batch b;
	size_t at = 0;

	(void)state;
	nft_batch_init(&b, NFPROTO_INET);
	netpol_slot(&b, &node, &slot, 7, true, &limits, true, &have);
	assert_true(have.bound && have.names);
	netpol_slot(&b, &node, &slot, 8, false, NULL, true, &have);
	assert_true(have.bound && !have.names);
	netpol_slot_close(&b, &node, &slot, NULL, &have);
	assert_false(have.bound || have.names);
	assert_false(b.failed);
	while (at < b.len) {
		struct nlmsghdr nh;

		memcpy(&nh, b.data + at, sizeof(nh));
		assert_true((nh.nlmsg_type & 255) == NFT_MSG_NEWSETELEM ||
			    (nh.nlmsg_type & 255) == NFT_MSG_DELSETELEM);
		at += NLMSG_ALIGN(nh.nlmsg_len);
	}
	assert_int_equal(b.rules, 0);
	nft_batch_fini(&b);
}

struct error_reply {
	struct nlmsghdr nh;
	struct nlmsgerr e;
};

static struct error_reply reply(int error, uint32_t seq)
{
	return (struct error_reply){
		.nh = { .nlmsg_len = sizeof(struct error_reply),
			.nlmsg_type = NLMSG_ERROR,
			.nlmsg_seq = seq },
		.e = { .error = error },
	};
}

static void the_first_error_counts_whatever_was_acknowledged(void **state)
{
	struct error_reply replies[] = { reply(0, 1), reply(-2, 2),
					 reply(-17, 3) };
	struct nft_result result = { 0 };

	(void)state;
	nft_reply_parse((uint8_t *)replies, sizeof(replies), &result, NULL,
			NULL);
	assert_int_equal(result.acks, 1);
	assert_int_equal(result.errnum, 2);
	assert_int_equal(result.seq, 2);
}

static void a_reply_cut_short_is_passed_over(void **state)
{
	struct error_reply r = reply(-2, 2);
	struct nft_result result = { 0 };

	(void)state;
	for (size_t n = 0; n < sizeof(r); n++)
		nft_reply_parse((uint8_t *)&r, n, &result, NULL, NULL);
	assert_int_equal(result.errnum, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_web_ports_and_lower_case),
		cmocka_unit_test(a_wildcard_is_noted_and_cut_off),
		cmocka_unit_test(a_range_is_all_ports_and_protocols),
		cmocka_unit_test(what_is_neither_name_nor_range_is_refused),
		cmocka_unit_test(what_is_not_public_is_hard),
		cmocka_unit_test(
			the_operator_opens_private_ranges_and_no_others),
		cmocka_unit_test(
			a_rule_is_useless_only_if_all_it_names_is_hard),
		cmocka_unit_test(hard_ranges_are_disjoint_and_ascending),
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
		cmocka_unit_test(a_full_name_gives_up_its_own_oldest),
		cmocka_unit_test(an_address_that_another_name_has_stays_open),
		cmocka_unit_test(a_slot_holds_so_many_addresses_and_no_more),
		cmocka_unit_test(what_cannot_be_committed_is_not_heaped_up),
		cmocka_unit_test(a_new_policy_keeps_what_its_names_allow),
		cmocka_unit_test(
			what_the_kernel_may_have_is_not_forgotten_before_it),
		cmocka_unit_test(chains_of_shapes_are_known_by_their_names),
		cmocka_unit_test(only_taps_of_ours_have_a_number),
		cmocka_unit_test(a_batch_is_whole_messages),
		cmocka_unit_test(a_slot_is_elements_of_what_all_share),
		cmocka_unit_test(
			the_first_error_counts_whatever_was_acknowledged),
		cmocka_unit_test(a_reply_cut_short_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
