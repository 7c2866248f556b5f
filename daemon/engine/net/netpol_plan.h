/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_plan.h - a policy in the form that the packet filter wants (pure) */
#ifndef ENGINE_NETPOL_PLAN_H
#define ENGINE_NETPOL_PLAN_H

#include "engine/net.h"

struct error;

/* Different sets of ports and protocol among the names that are allowed. */
#define PLAN_GROUPS_MAX 16u
#define PLAN_BOXES_MAX	4096u /* in each of allow, deny */

#define PLAN_TCP 1u
#define PLAN_UDP 2u

/* Addresses × one protocol × ports. */
struct plan_box {
	uint32_t first, last;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	struct net_ports ports;
};

/**
 * struct plan_group - Names with the same ports
 * @verify:	TCP to those of plan_web_ports[] is bound to the names
 *
 * What is learned for them goes into one set.
 */
struct plan_group {
	uint8_t protocols; /* PLAN_TCP | PLAN_UDP */
	bool verify;
	size_t n_ports;
	struct net_ports ports[NET_RULE_PORTS_MAX]; /* disjoint, ascending */
};

/**
 * struct plan - What a slot's chain says
 * @open:	There is a policy; else nothing passes
 * @allow, @deny: Of the rules with addresses: boxes that do not overlap
 * @rule_group:	Of each allow rule, by its place; PLAN_NO_GROUP if no name
 */
struct plan {
	bool open, default_allow;
	struct net_limits limits;
	size_t n_allow, n_deny;
	struct plan_box *allow, *deny;
	size_t n_groups;
	struct plan_group groups[PLAN_GROUPS_MAX];
	size_t n_rules;
	uint8_t *rule_group;
};

#define PLAN_NO_GROUP 0xff

/**
 * struct plan_shape - What a slot's rules depend on: all but addresses
 * @allow, @deny: There are such
 */
struct plan_shape {
	bool default_allow, allow, deny;
	struct net_limits limits;
	size_t n_groups;
	struct plan_group groups[];
};

/* Heap: free() it. */
struct plan_shape *plan_shape_of(const struct plan *plan);
bool plan_has_shape(const struct plan *plan, const struct plan_shape *shape);
/* A plan of that shape without addresses. Nothing of it is to be freed. */
void plan_of_shape(const struct plan_shape *shape, struct plan *ret);

/* Where a connection says which name it is meant for: HTTP, TLS. */
#define PLAN_WEB_PORTS 2
extern const uint16_t plan_web_ports[PLAN_WEB_PORTS];

/* @policy NULL: nothing passes. A limit that is 0 is the default's.
 * ERR_LIMIT: more than can be expressed.
 */
int plan_make(const struct net_policy *policy, const struct net_limits *limits,
	      const struct net_limits *defaults, struct plan *ret,
	      struct error *err);
void plan_fini(struct plan *plan);

bool plan_box_holds(const struct plan_box *boxes, size_t n, uint32_t address,
		    uint8_t protocol, uint16_t port);
bool plan_group_holds(const struct plan_group *group, uint8_t protocol,
		      uint16_t port);

/* This port of the group is reached only by name. */
bool plan_group_binds(const struct plan_group *group, uint8_t protocol,
		      uint16_t port);
/* Some group of it does so. */
bool plan_binds(const struct plan *plan);
/* The group's TCP ports that are reached without. Return: how many. */
size_t
plan_direct_ports(const struct plan_group *group,
		  struct net_ports ret[NET_RULE_PORTS_MAX + PLAN_WEB_PORTS]);

#endif /* ENGINE_NETPOL_PLAN_H */
