/* SPDX-License-Identifier: Apache-2.0 */
/* policy_match.h - which names a sandbox may look up
 *
 * "example.com" is exactly that; "*.example.com" is one or more labels below
 * it, not itself. Pure; any thread.
 */
#ifndef RESOLVER_POLICY_MATCH_H
#define RESOLVER_POLICY_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_RULES_MAX 512 /* allow and deny of one sandbox */

/**
 * struct name_rule - One name of a policy
 * @name:	Lower case, no final dot, "*." cut off when @wildcard
 * @number:	Which rule of the policy it is: what the engine checks again
 */
struct name_rule {
	char name[256];
	bool wildcard;
	bool deny;
	uint16_t number;
};

struct name_policy {
	bool default_allow;
	size_t n_rules;
	struct name_rule *rules;
};

enum name_verdict {
	NAME_REFUSED = 0,
	NAME_ALLOWED_BY_RULE,	 /* addresses must be learned for the rule */
	NAME_ALLOWED_BY_DEFAULT, /* addresses are open already */
};

/* Whether @rule covers @name (lower case, no final dot). */
bool name_rule_matches(const struct name_rule *rule, const char *name);

/**
 * name_policy_decide() - Deny, then allow, then the default
 * @ret_rules:	Numbers of the allow rules that cover @name (a name can be
 *		allowed on some ports by one and on others by another), for
 *		ALLOWED_BY_RULE
 * @max:	Room in it; further ones are left out
 */
enum name_verdict name_policy_decide(const struct name_policy *policy,
				     const char *name, uint16_t *ret_rules,
				     size_t max, size_t *ret_n);

/* Whether an address is never given to a guest: not a public unicast one. */
bool address_is_hard_denied(uint32_t address);

#endif /* RESOLVER_POLICY_MATCH_H */
