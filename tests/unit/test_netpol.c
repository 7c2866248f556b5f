/* SPDX-License-Identifier: Apache-2.0 */
/* test_netpol.c - what rules say, and what no rule opens */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/net/netpol.h"
#include "engine/net/netpol_hard.h"
#include "net_rules.h"

#include <stdio.h>
#include <string.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
