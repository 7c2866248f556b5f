/* SPDX-License-Identifier: Apache-2.0 */
/* net_rules.c - rules and addresses as tests of the network write them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net_rules.h"

#include "base/error.h"

struct net_rule rule(const char *target)
{
	struct net_rule r;
	struct error err;

	if (net_rule_parse(target, &r, &err) < 0)
		fail_msg("%s: %s", target, err.msg);
	return r;
}

struct net_rule ports(const char *target, enum net_protocol protocol,
		      uint16_t first, uint16_t last)
{
	struct net_rule r = rule(target);

	r.protocol = protocol;
	r.n_ports = 1;
	r.ports[0] = (struct net_ports){ first, last };
	return r;
}
