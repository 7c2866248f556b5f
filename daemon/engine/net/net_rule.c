/* SPDX-License-Identifier: Apache-2.0 */
/* net_rule.c - one egress rule's text, and copies of policies (pure) */
#include "engine/net.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_MAX      63
#define NAME_MAX_CHARS 253

static int parse_cidr(const char *target, struct net_rule *ret,
		      struct error *err)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(target, '/');
	size_t n = slash ? (size_t)(slash - target) : strlen(target);
	struct in_addr in;
	uint64_t bits = 32;

	if (n >= sizeof(address))
		n = 0;
	memcpy(address, target, n);
	address[n] = '\0';
	if (inet_pton(AF_INET, address, &in) != 1 ||
	    (slash && str_parse_u64(slash + 1, 32, &bits) < 0))
		return err_set(err, ERR_INVALID,
			       "'%.64s' is neither a name nor an IPv4 address "
			       "or range",
			       target);
	ret->mask = bits ? 0xffffffffu << (32 - bits) : 0;
	ret->network = ntohl(in.s_addr);
	if (ret->network & ~ret->mask)
		return err_set(err, ERR_INVALID,
			       "'%.64s' has bits set beyond its prefix",
			       target);
	str_copy(ret->target, sizeof(ret->target), target);
	return 0;
}

static bool label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '_';
}

/* @name is lower case. */
static int check_name(const char *name, struct error *err)
{
	size_t label = 0, total = strlen(name);

	if (total == 0 || total > NAME_MAX_CHARS)
		return err_set(err, ERR_INVALID,
			       "a name has 1 to %d characters", NAME_MAX_CHARS);
	for (const char *p = name;; p++) {
		if (*p == '.' || !*p) {
			if (label == 0 || label > LABEL_MAX)
				return err_set(err, ERR_INVALID,
					       "'%.64s' has a label that is "
					       "empty or longer than %d",
					       name, LABEL_MAX);
			label = 0;
			if (!*p)
				return 0;
		} else if (!label_char(*p)) {
			return err_set(err, ERR_INVALID,
				       "'%.64s': a name has letters, digits, "
				       "'-' and '_' (write others as xn--...), "
				       "and '*' only as its first label",
				       name);
		} else {
			label++;
		}
	}
}

/* All of digits and dots, or with a slash: what was meant is an address. */
static bool looks_like_address(const char *s)
{
	const char *last = strrchr(s, '.');

	return strchr(s, '/') || strchr(s, ':') ||
	       strspn(s, "0123456789.") == strlen(s) ||
	       (last && last[1] &&
		strspn(last + 1, "0123456789") == strlen(last + 1));
}

int net_rule_parse(const char *target, struct net_rule *ret, struct error *err)
{
	struct net_rule rule = { .protocol = NET_TCP };
	char name[NET_TARGET_MAX + 1];
	size_t len;

	if (str_empty(target) || str_copy(name, sizeof(name), target) < 0)
		return err_set(err, ERR_INVALID,
			       "a rule's target has 1 to %d characters",
			       NET_TARGET_MAX);
	if (looks_like_address(target)) {
		rule.protocol = NET_ANY;
		if (parse_cidr(target, &rule, err) < 0)
			return -1;
		*ret = rule;
		return 0;
	}
	for (char *p = name; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	rule.is_name = true;
	rule.wildcard = name[0] == '*' && name[1] == '.';
	if (check_name(name + (rule.wildcard ? 2 : 0), err) < 0)
		return -1;
	str_copy(rule.target, sizeof(rule.target),
		 name + (rule.wildcard ? 2 : 0));
	rule.verify_names = true;
	rule.n_ports = 2;
	rule.ports[0] = (struct net_ports){ 80, 80 };
	rule.ports[1] = (struct net_ports){ 443, 443 };
	*ret = rule;
	return 0;
}

void net_policy_copy(struct net_policy *dst, const struct net_policy *src)
{
	*dst = (struct net_policy){ .default_allow = src->default_allow,
				    .n_allow = src->n_allow,
				    .n_deny = src->n_deny };
	if (src->n_allow)
		dst->allow =
			xmemdup(src->allow, src->n_allow * sizeof(*src->allow));
	if (src->n_deny)
		dst->deny =
			xmemdup(src->deny, src->n_deny * sizeof(*src->deny));
}

void net_policy_fini(struct net_policy *policy)
{
	free(policy->allow);
	free(policy->deny);
	*policy = (struct net_policy){ 0 };
}
