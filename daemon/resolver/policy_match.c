/* SPDX-License-Identifier: Apache-2.0 */
/* policy_match.c - which names a sandbox may look up */
#include "resolver/policy_match.h"

#include <string.h>

bool name_rule_matches(const struct name_rule *rule, const char *name)
{
	size_t have = strlen(name), want = strlen(rule->name);

	if (want == 0 || have < want)
		return false;
	if (!rule->wildcard)
		return have == want && !memcmp(name, rule->name, want);
	/* At least one character and a dot come before the rule's name. */
	return have > want + 1 && name[have - want - 1] == '.' &&
	       !memcmp(name + have - want, rule->name, want);
}

enum name_verdict name_policy_decide(const struct name_policy *policy,
				     const char *name, uint16_t *ret_rules,
				     size_t max, size_t *ret_n)
{
	bool allowed = false;

	*ret_n = 0;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct name_rule *rule = &policy->rules[i];

		if (!name_rule_matches(rule, name))
			continue;
		if (rule->deny) {
			*ret_n = 0;
			return NAME_REFUSED;
		}
		allowed = true;
		if (*ret_n < max)
			ret_rules[(*ret_n)++] = rule->number;
	}
	if (allowed)
		return NAME_ALLOWED_BY_RULE;
	return policy->default_allow ? NAME_ALLOWED_BY_DEFAULT : NAME_REFUSED;
}

bool address_is_hard_denied(uint32_t a)
{
	/* clang-format off */
	static const struct {
		uint32_t network;
		unsigned int bits;
	} ranges[] = {
		{ 0x00000000, 8 },  /* 0.0.0.0/8: this network */
		{ 0x0a000000, 8 },  /* 10.0.0.0/8: private */
		{ 0x64400000, 10 }, /* 100.64.0.0/10: carrier NAT */
		{ 0x7f000000, 8 },  /* 127.0.0.0/8: loopback */
		{ 0xa9fe0000, 16 }, /* 169.254.0.0/16: link-local, metadata */
		{ 0xac100000, 12 }, /* 172.16.0.0/12: private */
		{ 0xc0000000, 24 }, /* 192.0.0.0/24: protocol assignments */
		{ 0xc0a80000, 16 }, /* 192.168.0.0/16: private */
		{ 0xc6120000, 15 }, /* 198.18.0.0/15: benchmarks */
		{ 0xe0000000, 3 },  /* 224.0.0.0/3: multicast and above */
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if ((a ^ ranges[i].network) >> (32 - ranges[i].bits) == 0)
			return true;
	}
	return false;
}
