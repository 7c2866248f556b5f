/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_plan.h - a policy in the form that the packet filter wants (pure) */
#ifndef ENGINE_NETPOL_PLAN_H
#define ENGINE_NETPOL_PLAN_H

#include "engine/net.h"

struct error;

/* Different sets of ports and protocol among the names that are allowed. */
#define PLAN_GROUPS_MAX 16u
/* Of ranges of addresses and of ports: in each of allow, deny. */
#define PLAN_RANGES_MAX 4096u

#define PLAN_TCP 1u
#define PLAN_UDP 2u

/**
 * struct plan_group - Names with the same ports
 * @verify:	TCP to those of plan_web_ports[] is bound to the names
 *
 * What is learned for them is in one set of the kernel's, with the group's number.
 */
struct plan_group {
	uint8_t protocols; /* PLAN_TCP | PLAN_UDP */
	bool verify;
	size_t n_ports;
	struct net_ports ports[NET_RULE_PORTS_MAX]; /* disjoint, ascending */
};

/* How many bits of an address, and of a port, count. */
struct plan_length {
	uint8_t address, port;
};

/* What has these bits: other bits are 0. */
struct plan_range {
	struct plan_length length;
	uint32_t address;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	uint16_t port;
};

/**
 * struct plan_side - The rules with addresses among allow, or deny
 * @lengths:	That are among the ranges, in order
 * @ranges:	All different, in order
 */
struct plan_side {
	size_t n_lengths, n, room;
	struct plan_length *lengths;
	struct plan_range *ranges;
};

/* In the order of the above. */
int plan_range_order(const struct plan_range *a, const struct plan_range *b);

/**
 * struct plan - What a slot's rules say
 * @open:	There is a policy; else nothing passes
 * @groups:	Of the names that are allowed
 * @rule_group:	Of each allow rule, by its place; PLAN_NO_GROUP if no name
 */
struct plan {
	bool open, default_allow;
	struct net_limits limits;
	struct plan_side allow, deny;
	size_t n_groups;
	struct plan_group groups[PLAN_GROUPS_MAX];
	size_t n_rules;
	uint8_t *rule_group;
};

#define PLAN_NO_GROUP 0xff

/**
 * struct plan_shape - What rules depend on: all of a plan but names, addresses,
 *		       their ports, and rates
 * @lengths:	Of what is allowed, then of what is denied
 * @groups:	Of names
 * @hash:	Equal for equal shapes
 */
struct plan_shape {
	bool default_allow;
	uint32_t connections_max, hash;
	size_t n_names, n_allow, n_deny;
	struct plan_length *lengths; /* behind the groups */
	struct plan_group groups[];
};

/* Heap: free() it. */
struct plan_shape *plan_shape_of(const struct plan *plan);
bool plan_same_shape(const struct plan_shape *a, const struct plan_shape *b);

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

/* Which bits those are, in host order. */
uint32_t plan_address_mask(struct plan_length length);
uint16_t plan_port_mask(struct plan_length length);

bool plan_side_holds(const struct plan_side *side, uint32_t address,
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
