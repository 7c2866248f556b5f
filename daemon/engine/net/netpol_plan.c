/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_plan.c - a policy in the form that the packet filter wants (pure)
 *
 * Theory of operation
 * ===================
 *
 * The kernel keeps all slots' addresses in one set without ranges: such a set
 * is changed in the same time whatever it holds, where one of ranges is copied.
 * So a range of addresses, which is a prefix, and ranges of ports, which are cut
 * into such, are looked up by their first bits: once for each pair of lengths
 * that there is. Ranges may overlap in any way, as all of a side say the same.
 */
#include "engine/net/netpol_plan.h"

#include "base/error.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

const uint16_t plan_web_ports[PLAN_WEB_PORTS] = { 80, 443 };

static int by_first(const void *a, const void *b)
{
	const struct net_ports *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sorted, and joined where they touch. */
static size_t merge_ports(struct net_ports *ports, size_t n)
{
	size_t out = 0;

	qsort(ports, n, sizeof(*ports), by_first);
	for (size_t i = 0; i < n; i++) {
		if (out && ports[i].first <= ports[out - 1].last + 1u) {
			if (ports[i].last > ports[out - 1].last)
				ports[out - 1].last = ports[i].last;
		} else {
			ports[out++] = ports[i];
		}
	}
	return out;
}

static size_t add_ports(struct net_ports *dst, size_t n,
			const struct net_rule *rule)
{
	for (size_t i = 0; i < rule->n_ports; i++)
		dst[n++] = rule->ports[i];
	if (rule->n_ports == 0)
		dst[n++] = (struct net_ports){ 0, 65535 };
	return n;
}

static int by_what(const struct plan_group *a, const struct plan_group *b)
{
	if (a->protocols != b->protocols)
		return a->protocols < b->protocols ? -1 : 1;
	if (a->verify != b->verify)
		return a->verify < b->verify ? -1 : 1;
	if (a->n_ports != b->n_ports)
		return a->n_ports < b->n_ports ? -1 : 1;
	for (size_t i = 0; i < a->n_ports; i++) {
		if (a->ports[i].first != b->ports[i].first)
			return a->ports[i].first < b->ports[i].first ? -1 : 1;
		if (a->ports[i].last != b->ports[i].last)
			return a->ports[i].last < b->ports[i].last ? -1 : 1;
	}
	return 0;
}

static void make_group(const struct net_rule *rule, struct plan_group *ret)
{
	*ret = (struct plan_group){ .protocols = rule->protocol == NET_ANY ?
							 PLAN_TCP | PLAN_UDP :
						 rule->protocol == NET_UDP ?
							 PLAN_UDP :
							 PLAN_TCP };
	ret->n_ports = merge_ports(ret->ports, add_ports(ret->ports, 0, rule));
}

static int group_of(struct plan *plan, const struct net_rule *rule,
		    uint8_t *ret, struct error *err)
{
	struct plan_group g;
	size_t i = 0;

	make_group(rule, &g);
	for (size_t k = 0; rule->verify_names && k < PLAN_WEB_PORTS; k++)
		g.verify |=
			plan_group_holds(&g, IPPROTO_TCP, plan_web_ports[k]);
	while (i < plan->n_groups && by_what(&plan->groups[i], &g))
		i++;
	if (i == PLAN_GROUPS_MAX)
		return err_set(err, ERR_LIMIT,
			       "the names' ports and protocols make more than "
			       "%u combinations",
			       PLAN_GROUPS_MAX);
	if (i == plan->n_groups)
		plan->groups[plan->n_groups++] = g;
	*ret = (uint8_t)i;
	return 0;
}

/* ---- addresses ---------------------------------------------------------- */

static int length_order(const struct plan_length *a,
			const struct plan_length *b)
{
	if (a->address != b->address)
		return a->address > b->address ? -1 : 1;
	return (a->port < b->port) - (a->port > b->port);
}

int plan_range_order(const struct plan_range *a, const struct plan_range *b)
{
	int r = length_order(&a->length, &b->length);

	if (r)
		return r;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	return (a->port > b->port) - (a->port < b->port);
}

static int by_order(const void *a, const void *b)
{
	return plan_range_order(a, b);
}

static void side_fini(struct plan_side *side)
{
	free(side->lengths);
	free(side->ranges);
	*side = (struct plan_side){ 0 };
}

static int add_range(struct plan_side *side, const struct plan_range *r,
		     struct error *err)
{
	if (side->n == PLAN_RANGES_MAX)
		return err_set(err, ERR_LIMIT,
			       "the rules' addresses and ports make more than "
			       "%u combinations",
			       PLAN_RANGES_MAX);
	if (side->n == side->room) {
		side->room = side->room ? side->room * 2 : 8;
		side->ranges = xrealloc(side->ranges, side->room,
					sizeof(*side->ranges));
	}
	side->ranges[side->n++] = *r;
	return 0;
}

/* Ports @first to @last, cut into the largest blocks that begin at a multiple of
 * their size.
 */
static int add_blocks(struct plan_side *side, struct plan_range r,
		      uint32_t first, uint32_t last, struct error *err)
{
	while (first <= last) {
		unsigned int bits =
			first ? (unsigned int)__builtin_ctz(first) : 16;

		while ((1u << bits) - 1 > last - first)
			bits--;
		r.length.port = (uint8_t)(16 - bits);
		r.port = (uint16_t)first;
		if (add_range(side, &r, err) < 0)
			return -1;
		first += 1u << bits;
	}
	return 0;
}

static int add_rule(struct plan_side *side, const struct net_rule *rule,
		    struct error *err)
{
	struct plan_range r = { .address = rule->network };
	struct plan_group g;

	make_group(rule, &g);
	r.length.address = (uint8_t)__builtin_popcount(rule->mask);
	for (unsigned int p = PLAN_TCP; p <= PLAN_UDP; p <<= 1) {
		if (!(g.protocols & p))
			continue;
		r.protocol = p == PLAN_TCP ? IPPROTO_TCP : IPPROTO_UDP;
		for (size_t i = 0; i < g.n_ports; i++) {
			if (add_blocks(side, r, g.ports[i].first,
				       g.ports[i].last, err) < 0)
				return -1;
		}
	}
	return 0;
}

static int make_side(const struct net_rule *rules, size_t n_rules,
		     struct plan_side *side, struct error *err)
{
	size_t n = 0;

	if (n_rules > NET_RULES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d rules",
			       NET_RULES_MAX);
	for (size_t i = 0; i < n_rules; i++) {
		if (!rules[i].is_name && add_rule(side, &rules[i], err) < 0)
			return -1;
	}
	if (side->n == 0)
		return 0;
	qsort(side->ranges, side->n, sizeof(*side->ranges), by_order);
	side->lengths = xcalloc(side->n, sizeof(*side->lengths));
	for (size_t i = 0; i < side->n; i++) {
		struct plan_range *r = &side->ranges[i];

		if (n && plan_range_order(&side->ranges[n - 1], r) == 0)
			continue;
		if (!n || length_order(&side->ranges[n - 1].length, &r->length))
			side->lengths[side->n_lengths++] = r->length;
		side->ranges[n++] = *r;
	}
	side->n = n;
	return 0;
}

static int fill(struct plan *plan, const struct net_policy *policy,
		struct error *err)
{
	plan->open = true;
	plan->default_allow = policy->default_allow;
	plan->n_rules = policy->n_allow;
	plan->rule_group = xcalloc(policy->n_allow, 1);
	for (size_t i = 0; i < policy->n_allow; i++) {
		plan->rule_group[i] = PLAN_NO_GROUP;
		if (policy->allow[i].is_name &&
		    group_of(plan, &policy->allow[i], &plan->rule_group[i],
			     err) < 0)
			return -1;
	}
	if (make_side(policy->allow, policy->n_allow, &plan->allow, err) < 0)
		return err_wrap(err, "allow");
	if (make_side(policy->deny, policy->n_deny, &plan->deny, err) < 0)
		return err_wrap(err, "deny");
	return 0;
}

int plan_make(const struct net_policy *policy, const struct net_limits *limits,
	      const struct net_limits *defaults, struct plan *ret,
	      struct error *err)
{
	struct plan plan = { .limits = *defaults };

	if (limits && limits->connections_max)
		plan.limits.connections_max = limits->connections_max;
	if (limits && limits->bandwidth_mbps)
		plan.limits.bandwidth_mbps = limits->bandwidth_mbps;
	if (limits && limits->packets_per_second)
		plan.limits.packets_per_second = limits->packets_per_second;
	if (policy && fill(&plan, policy, err) < 0) {
		plan_fini(&plan);
		return -1;
	}
	*ret = plan;
	return 0;
}

/* FNV-1a over words. */
static uint32_t mix(uint32_t h, uint32_t v)
{
	for (int i = 0; i < 4; i++, v >>= 8)
		h = (h ^ (v & 255)) * 16777619u;
	return h;
}

static uint32_t shape_hash(const struct plan_shape *s)
{
	uint32_t h = mix(2166136261u, s->default_allow);

	h = mix(h, s->connections_max);
	h = mix(mix(h, (uint32_t)s->n_names), (uint32_t)s->n_allow);
	for (size_t i = 0; i < s->n_allow + s->n_deny; i++)
		h = mix(h, (uint32_t)s->lengths[i].address << 8 |
				   s->lengths[i].port);
	for (size_t i = 0; i < s->n_names; i++) {
		const struct plan_group *g = &s->groups[i];

		h = mix(h, (uint32_t)g->protocols << 8 | g->verify);
		for (size_t k = 0; k < g->n_ports; k++)
			h = mix(h, (uint32_t)g->ports[k].first << 16 |
					   g->ports[k].last);
	}
	return h;
}

struct plan_shape *plan_shape_of(const struct plan *plan)
{
	size_t n_allow = plan->allow.n_lengths, n_deny = plan->deny.n_lengths;
	size_t groups = plan->n_groups * sizeof(plan->groups[0]);
	struct plan_shape *shape = xcalloc(
		1, sizeof(*shape) + groups +
			   (n_allow + n_deny) * sizeof(struct plan_length));

	shape->default_allow = plan->default_allow;
	shape->connections_max = plan->limits.connections_max;
	shape->n_names = plan->n_groups;
	shape->n_allow = n_allow;
	shape->n_deny = n_deny;
	memcpy(shape->groups, plan->groups, groups);
	shape->lengths = (void *)&shape->groups[plan->n_groups];
	for (size_t i = 0; i < n_allow; i++)
		shape->lengths[i] = plan->allow.lengths[i];
	for (size_t i = 0; i < n_deny; i++)
		shape->lengths[n_allow + i] = plan->deny.lengths[i];
	shape->hash = shape_hash(shape);
	return shape;
}

bool plan_same_shape(const struct plan_shape *a, const struct plan_shape *b)
{
	if (a->hash != b->hash || a->default_allow != b->default_allow ||
	    a->connections_max != b->connections_max ||
	    a->n_names != b->n_names || a->n_allow != b->n_allow ||
	    a->n_deny != b->n_deny)
		return false;
	for (size_t i = 0; i < a->n_allow + a->n_deny; i++) {
		if (length_order(&a->lengths[i], &b->lengths[i]))
			return false;
	}
	for (size_t i = 0; i < a->n_names; i++) {
		if (by_what(&a->groups[i], &b->groups[i]))
			return false;
	}
	return true;
}

void plan_fini(struct plan *plan)
{
	side_fini(&plan->allow);
	side_fini(&plan->deny);
	free(plan->rule_group);
	*plan = (struct plan){ 0 };
}

uint32_t plan_address_mask(struct plan_length length)
{
	return length.address ? UINT32_MAX << (32 - length.address) : 0;
}

uint16_t plan_port_mask(struct plan_length length)
{
	return (uint16_t)(0xffff0000u >> length.port);
}

bool plan_side_holds(const struct plan_side *side, uint32_t address,
		     uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < side->n; i++) {
		const struct plan_range *r = &side->ranges[i];

		if ((address & plan_address_mask(r->length)) == r->address &&
		    (port & plan_port_mask(r->length)) == r->port &&
		    protocol == r->protocol)
			return true;
	}
	return false;
}

bool plan_group_holds(const struct plan_group *group, uint8_t protocol,
		      uint16_t port)
{
	if (!(group->protocols & (protocol == IPPROTO_TCP ? PLAN_TCP :
				  protocol == IPPROTO_UDP ? PLAN_UDP :
							    0)))
		return false;
	for (size_t i = 0; i < group->n_ports; i++) {
		if (port >= group->ports[i].first &&
		    port <= group->ports[i].last)
			return true;
	}
	return false;
}

bool plan_group_binds(const struct plan_group *group, uint8_t protocol,
		      uint16_t port)
{
	bool web = false;

	for (size_t i = 0; i < PLAN_WEB_PORTS; i++)
		web |= port == plan_web_ports[i];
	return web && group->verify && protocol == IPPROTO_TCP &&
	       plan_group_holds(group, protocol, port);
}

bool plan_binds(const struct plan *plan)
{
	for (size_t g = 0; plan->open && g < plan->n_groups; g++) {
		if (plan->groups[g].verify)
			return true;
	}
	return false;
}

size_t
plan_direct_ports(const struct plan_group *group,
		  struct net_ports ret[NET_RULE_PORTS_MAX + PLAN_WEB_PORTS])
{
	size_t n = 0;

	for (size_t i = 0; i < group->n_ports; i++) {
		uint32_t first = group->ports[i].first;
		uint32_t last = group->ports[i].last;

		for (size_t k = 0; group->verify && k < PLAN_WEB_PORTS; k++) {
			uint32_t web = plan_web_ports[k];

			if (web < first || web > last)
				continue;
			if (first < web)
				ret[n++] = (struct net_ports){
					(uint16_t)first, (uint16_t)(web - 1)
				};
			first = web + 1;
		}
		if (first <= last)
			ret[n++] = (struct net_ports){ (uint16_t)first,
						       (uint16_t)last };
	}
	return n;
}
