/* SPDX-License-Identifier: Apache-2.0 */
/* net_names.c - what names open: the engine's part in what the resolver does */
#include "engine/net/net_priv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/net/denial.h"
#include "engine/net/net_sockets.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"
#include "engine/net/resolver_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- what the resolver says --------------------------------------------- */

static bool on_learn(const struct resolver_learn *l, void *arg)
{
	struct error err;

	if (net_learn(arg, l, &err) == 0)
		return true;
	log_warn("names of slot %u: %s", l->slot, err.msg);
	return false;
}

/* Which rule that is, of an address or (@protocol 0) a name. */
static bool rule_covers(const struct net_rule *r, const char *target,
			uint8_t protocol)
{
	size_t have = strlen(target), want = strlen(r->target);
	struct in_addr in;

	if (!r->is_name)
		return protocol && inet_pton(AF_INET, target, &in) == 1 &&
		       (ntohl(in.s_addr) & r->mask) == r->network;
	if (protocol || have < want || strcmp(target + have - want, r->target))
		return false;
	return r->wildcard ? have > want && target[have - want - 1] == '.' :
			     have == want;
}

void net_note_denial(struct net *net, uint32_t slot, const char *target,
		     const char *address, uint16_t port, uint8_t protocol,
		     const char *rule)
{
	char which[NET_TARGET_MAX + 32];
	struct net_denial told;
	struct net_slot *s;

	if (slot >= net->config.slots || !net->slots[slot])
		return;
	s = net->slots[slot];
	snprintf(which, sizeof(which), "%.31s", rule);
	for (size_t i = 0; !strcmp(rule, "deny") && i < s->policy.n_deny; i++) {
		const struct net_rule *r = &s->policy.deny[i];

		if (!rule_covers(r, target, protocol))
			continue;
		snprintf(which, sizeof(which), "deny:%s%s",
			 r->wildcard ? "*." : "", r->target);
		break;
	}
	if (denials_add(net->denials, slot, target, address, port, protocol,
			which, loop_wall_ms(), &told) &&
	    net->denied)
		net->denied(slot, &told, net->arg);
}

static void on_denied(uint32_t slot, const char *target, uint16_t port,
		      uint8_t protocol, const char *rule, void *arg)
{
	net_note_denial(arg, slot, target, "", port, protocol, rule);
}

static const struct resolver_link_ops resolver_ops = { .learn = on_learn,
						       .denied = on_denied };

size_t net_denials(struct net *net, const struct slot *slot,
		   struct net_denial ret[NET_DENIALS_MAX])
{
	return denials_get(net->denials, slot->number, ret);
}

int net_names_open(struct net *net, struct error *err)
{
	struct error log_err;
	int sockets[3] = { -EBADF, -EBADF, -EBADF };

	sockets[0] = net_socket_dns(SOCK_DGRAM, net->node.gateway, err);
	if (sockets[0] >= 0)
		sockets[1] =
			net_socket_dns(SOCK_STREAM, net->node.gateway, err);
	if (sockets[1] < 0) {
		fd_close(&sockets[0]);
		return -1;
	}
	sockets[2] = net_socket_log(NETPOL_LOG_GROUP, &log_err);
	if (sockets[2] < 0)
		log_warn("%s: refused packets are not listed", log_err.msg);
	if (resolver_link_new(net->loop, &net->config, sockets, &resolver_ops,
			      net, &net->resolver, err) < 0)
		return -1;
	return 0;
}
