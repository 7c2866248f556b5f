/* SPDX-License-Identifier: Apache-2.0 */
/* net_rules.h - rules and addresses as tests of the network write them */
#ifndef TESTS_NET_RULES_H
#define TESTS_NET_RULES_H

#include "engine/net/netpol.h"

#define IP(a, b, c, d)                                                         \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

/* Fails the test when it cannot be. */
struct net_rule rule(const char *target);
/* The same for these ports. */
struct net_rule ports(const char *target, enum net_protocol protocol,
		      uint16_t first, uint16_t last);

#endif /* TESTS_NET_RULES_H */
