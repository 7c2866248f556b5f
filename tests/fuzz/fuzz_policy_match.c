/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_policy_match.c - any rule against any name, in engine and resolver
 *
 * Input: rule, newline, name. What a rule parses to must match by both
 * implementations alike: the resolver decides what it asks for, the engine
 * whether it believes the answer.
 */
#include "base/error.h"
#include "engine/net/net_learned.h"
#include "resolver/policy_match.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool cut(char dst[256], const uint8_t *src, size_t len)
{
	if (len > 255 || memchr(src, 0, len))
		return false;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\n', size);
	char target[256], name[256];
	struct net_policy policy = { .n_allow = 1 };
	struct name_rule other = { 0 };
	struct net_rule rule;
	struct error err;
	uint16_t which;
	size_t n;

	if (!end || !cut(target, data, (size_t)(end - data)) ||
	    !cut(name, end + 1, size - (size_t)(end - data) - 1) ||
	    net_rule_parse(target, &rule, &err) < 0)
		return 0;
	assert(strlen(rule.target) <= NET_TARGET_MAX);
	assert(rule.is_name || (rule.network & ~rule.mask) == 0);
	policy.allow = &rule;
	n = net_rules_of_name(&policy, name, &which, 1);
	if (!rule.is_name) {
		assert(n == 0);
		return 0;
	}
	snprintf(other.name, sizeof(other.name), "%s", rule.target);
	other.wildcard = rule.wildcard;
	assert(n == (name_rule_matches(&other, name) ? 1u : 0u));
	return 0;
}
