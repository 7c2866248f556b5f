/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_plan.c - a policy in the form that the packet filter wants (pure)
 *
 * Rules with addresses may overlap in any way; the elements of one of the
 * kernel's interval sets may not. So the address space is cut at every rule's
 * first and last address, and in each piece the port ranges of the rules that
 * cover it are merged. Pieces beside each other with the same ports become one
 * again.
 */
#include "engine/net/netpol_plan.h"

#include "base/error.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* A piece is covered by at most all rules, each with all its ranges. */
#define PORTS_MAX (NET_RULES_MAX * NET_RULE_PORTS_MAX)

const uint16_t plan_web_ports[PLAN_WEB_PORTS] = { 80, 443 };

static bool has_protocol(const struct net_rule *rule, uint8_t protocol)
{
	return rule->protocol == NET_ANY ||
	       (protocol == IPPROTO_TCP) == (rule->protocol == NET_TCP);
}

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

struct pieces {
	struct plan_box *boxes;
	size_t n;
	/* Those of the piece before, to be made longer. */
	size_t last, n_last;
};

static int add_piece(struct pieces *p, const struct plan_box *boxes, size_t n,
		     struct error *err)
{
	bool same = n == p->n_last && n > 0 &&
		    (uint64_t)p->boxes[p->last].last + 1 == boxes[0].first;

	for (size_t i = 0; same && i < n; i++) {
		const struct plan_box *old = &p->boxes[p->last + i];

		same = old->protocol == boxes[i].protocol &&
		       old->ports.first == boxes[i].ports.first &&
		       old->ports.last == boxes[i].ports.last;
	}
	if (same) {
		for (size_t i = 0; i < n; i++)
			p->boxes[p->last + i].last = boxes[i].last;
		return 0;
	}
	if (n > PLAN_BOXES_MAX - p->n)
		return err_set(err, ERR_LIMIT,
			       "the rules' addresses and ports make more than "
			       "%u combinations",
			       PLAN_BOXES_MAX);
	p->boxes = xrealloc(p->boxes, p->n + n, sizeof(*p->boxes));
	if (n)
		memcpy(p->boxes + p->n, boxes, n * sizeof(*boxes));
	p->last = p->n;
	p->n_last = n;
	p->n += n;
	return 0;
}

/* The boxes of [first, last], no rule beginning or ending inside it. */
static int piece(const struct net_rule *rules, size_t n_rules, uint32_t first,
		 uint32_t last, struct net_ports *ports, struct plan_box *boxes,
		 struct pieces *p, struct error *err)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP };
	size_t n_boxes = 0;

	for (size_t k = 0; k < 2; k++) {
		size_t n = 0;

		for (size_t i = 0; i < n_rules; i++) {
			if (!rules[i].is_name &&
			    (first & rules[i].mask) == rules[i].network &&
			    has_protocol(&rules[i], protocols[k]))
				n = add_ports(ports, n, &rules[i]);
		}
		n = merge_ports(ports, n);
		for (size_t i = 0; i < n; i++)
			boxes[n_boxes++] =
				(struct plan_box){ first, last, protocols[k],
						   ports[i] };
	}
	return add_piece(p, boxes, n_boxes, err);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int make_boxes(const struct net_rule *rules, size_t n_rules,
		      struct plan_box **ret, size_t *ret_n, struct error *err)
{
	uint64_t *cuts;
	struct net_ports *ports;
	struct plan_box *boxes;
	struct pieces p = { 0 };
	size_t n = 0;
	int rc = 0;

	if (n_rules > NET_RULES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d rules",
			       NET_RULES_MAX);
	cuts = xcalloc(2 * n_rules, sizeof(*cuts));
	ports = xcalloc(PORTS_MAX, sizeof(*ports));
	boxes = xcalloc(2 * PORTS_MAX, sizeof(*boxes));
	for (size_t i = 0; i < n_rules; i++) {
		if (rules[i].is_name)
			continue;
		cuts[n++] = rules[i].network;
		cuts[n++] = (uint64_t)(rules[i].network | ~rules[i].mask) + 1;
	}
	qsort(cuts, n, sizeof(*cuts), by_value);
	for (size_t i = 0; rc == 0 && i + 1 < n; i++) {
		if (cuts[i] != cuts[i + 1])
			rc = piece(rules, n_rules, (uint32_t)cuts[i],
				   (uint32_t)(cuts[i + 1] - 1), ports, boxes,
				   &p, err);
	}
	free(cuts);
	free(ports);
	free(boxes);
	if (rc < 0) {
		free(p.boxes);
		return -1;
	}
	*ret = p.boxes;
	*ret_n = p.n;
	return 0;
}

static bool same_group(const struct plan_group *a, const struct plan_group *b)
{
	return a->protocols == b->protocols && a->verify == b->verify &&
	       a->n_ports == b->n_ports &&
	       !memcmp(a->ports, b->ports, a->n_ports * sizeof(a->ports[0]));
}

static int group_of(struct plan *plan, const struct net_rule *rule,
		    uint8_t *ret, struct error *err)
{
	struct plan_group g = { .protocols = rule->protocol == NET_ANY
						     ? PLAN_TCP | PLAN_UDP
					     : rule->protocol == NET_UDP
						     ? PLAN_UDP
						     : PLAN_TCP };
	size_t i = 0;

	g.n_ports = merge_ports(g.ports, add_ports(g.ports, 0, rule));
	for (size_t k = 0; rule->verify_names && k < PLAN_WEB_PORTS; k++)
		g.verify |=
			plan_group_holds(&g, IPPROTO_TCP, plan_web_ports[k]);
	while (i < plan->n_groups && !same_group(&plan->groups[i], &g))
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
	if (make_boxes(policy->allow, policy->n_allow, &plan->allow,
		       &plan->n_allow, err) < 0)
		return err_wrap(err, "allow");
	if (make_boxes(policy->deny, policy->n_deny, &plan->deny, &plan->n_deny,
		       err) < 0)
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

struct plan_shape *plan_shape_of(const struct plan *plan)
{
	struct plan_shape *shape = xcalloc(
		1, sizeof(*shape) + plan->n_groups * sizeof(plan->groups[0]));

	shape->default_allow = plan->default_allow;
	shape->allow = plan->n_allow > 0;
	shape->deny = plan->n_deny > 0;
	shape->limits = plan->limits;
	shape->n_groups = plan->n_groups;
	memcpy(shape->groups, plan->groups,
	       plan->n_groups * sizeof(plan->groups[0]));
	return shape;
}

bool plan_has_shape(const struct plan *plan, const struct plan_shape *shape)
{
	const struct net_limits *l = &shape->limits;

	if (plan->default_allow != shape->default_allow ||
	    (plan->n_allow > 0) != shape->allow ||
	    (plan->n_deny > 0) != shape->deny ||
	    plan->limits.connections_max != l->connections_max ||
	    plan->limits.bandwidth_mbps != l->bandwidth_mbps ||
	    plan->limits.packets_per_second != l->packets_per_second ||
	    plan->n_groups != shape->n_groups)
		return false;
	for (size_t i = 0; i < shape->n_groups; i++) {
		if (!same_group(&plan->groups[i], &shape->groups[i]))
			return false;
	}
	return true;
}

void plan_of_shape(const struct plan_shape *shape, struct plan *ret)
{
	*ret = (struct plan){ .open = true,
			      .default_allow = shape->default_allow,
			      .limits = shape->limits,
			      .n_allow = shape->allow,
			      .n_deny = shape->deny,
			      .n_groups = shape->n_groups };
	memcpy(ret->groups, shape->groups,
	       shape->n_groups * sizeof(ret->groups[0]));
}

void plan_fini(struct plan *plan)
{
	free(plan->allow);
	free(plan->deny);
	free(plan->rule_group);
	*plan = (struct plan){ 0 };
}

bool plan_box_holds(const struct plan_box *boxes, size_t n, uint32_t address,
		    uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < n; i++) {
		const struct plan_box *b = &boxes[i];

		if (b->protocol == protocol && address >= b->first &&
		    address <= b->last && port >= b->ports.first &&
		    port <= b->ports.last)
			return true;
	}
	return false;
}

bool plan_group_holds(const struct plan_group *group, uint8_t protocol,
		      uint16_t port)
{
	if (!(group->protocols & (protocol == IPPROTO_TCP   ? PLAN_TCP
				  : protocol == IPPROTO_UDP ? PLAN_UDP
							    : 0)))
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
