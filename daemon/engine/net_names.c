/* SPDX-License-Identifier: Apache-2.0 */
/* net_names.c - what names open: the engine's part in what the resolver does */
#include "engine/net_priv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/denial.h"
#include "engine/net_sockets.h"
#include "engine/nft.h"
#include "engine/nft_expr.h"
#include "engine/resolver_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

uint32_t net_groups_of_name(const struct net_slot *s, const char *name)
{
	uint16_t rules[NET_RULES_MAX];
	size_t n = net_rules_of_name(&s->policy, name, rules, NET_RULES_MAX);
	uint32_t groups = 0;

	for (size_t i = 0; i < n; i++)
		groups |= 1u << s->plan.rule_group[rules[i]];
	return groups;
}

static const char *comment(const char *name)
{
	return strlen(name) <= NFT_COMMENT_MAX ? name : NULL;
}

void net_put_learned(struct nft_batch *b, const struct net_slot *s,
		     const char *name, uint32_t address, uint64_t timeout_ms,
		     bool there)
{
	uint32_t groups = net_groups_of_name(s, name);
	bool bound = false;

	for (unsigned int g = 0; g < s->plan.n_groups; g++) {
		if (groups & 1u << g)
			netpol_learn(b, s->slot.number, g, address, timeout_ms,
				     comment(name), there);
		bound |= groups & 1u << g && s->plan.groups[g].verify;
	}
	if (bound && comment(name))
		netpol_learn_name(b, s->slot.number, address,
				  learned_hash(name), timeout_ms, name, there);
}

/* The longest life first: a
 * second name's shorter one does not cut it, as adding again changes nothing.
 */
void net_put_all_learned(struct net *net, struct nft_batch *b,
			 const struct net_slot *s)
{
	struct learned_table *t = &net->learned[s->slot.number];
	uint64_t now = loop_now_ms();

	learned_expire(t, now);
	learned_filter(t, s->has_policy ? &s->policy : NULL);
	learned_sort(t);
	for (size_t i = 0; i < t->n; i++)
		net_put_learned(b, s, t->entries[i].name, t->entries[i].address,
				t->entries[i].expires_ms - now, false);
}

/* ---- what the resolver says --------------------------------------------- */

static bool learn_is_ours(const struct net *net,
			  const struct resolver_learn *learn,
			  const struct net_slot **ret)
{
	const struct net_slot *s;

	if (learn->slot >= net->config.slots)
		return false;
	s = net->slots[learn->slot];
	if (!s || !s->has_policy || s->generation != learn->generation)
		return false;
	*ret = s;
	return true;
}

static uint64_t learn_timeout_ms(const struct net_times *t, uint32_t ttl_s)
{
	uint64_t ms = (uint64_t)ttl_s * 1000;

	if (ms < t->learn_min_ms)
		ms = t->learn_min_ms;
	if (ms > t->learn_max_ms)
		ms = t->learn_max_ms;
	return ms + t->learn_grace_ms;
}

static void forget_everywhere(struct nft_batch *b, const struct net_slot *s,
			      uint32_t address)
{
	for (unsigned int g = 0; g < s->plan.n_groups; g++)
		netpol_forget(b, s->slot.number, g, address);
}

/* The resolver may be taken over: it can name only addresses that are not
 * hard-denied, for names that a rule of this very sandbox allows. Its word on
 * which rules those are is not needed.
 */
static int learn(struct net *net, const struct resolver_learn *learn,
		 struct error *err)
{
	const struct net_slot *s;
	struct learned_table *t;
	struct nft_batch b;
	int rc;

	if (!learn_is_ours(net, learn, &s))
		return err_set(err, ERR_CONFLICT,
			       "it is another sandbox's now");
	if (!net_groups_of_name(s, learn->name))
		return err_set(err, ERR_DENIED, "no rule allows '%s'",
			       learn->name);
	t = &net->learned[learn->slot];
	learned_expire(t, loop_now_ms());
	nft_batch_init(&b, NFPROTO_INET);
	for (size_t i = 0; i < learn->n_addresses; i++) {
		uint32_t a = learn->addresses[i].address, evicted;
		uint64_t timeout = learn_timeout_ms(&net->config.times,
						    learn->addresses[i].ttl_s);
		enum hard_kind kind =
			hard_kind_of(net->hard, net->node.n_hard, a);

		if (kind != HARD_NONE && kind != HARD_PERMITTED) {
			nft_batch_fini(&b);
			return err_set(err, ERR_DENIED,
				       "'%s' is at a %s address", learn->name,
				       hard_kind_names[kind]);
		}
		if (learned_put(t, learn->name, a, loop_now_ms() + timeout,
				&evicted))
			forget_everywhere(&b, s, evicted);
		if (t->gone && plan_binds(&s->plan))
			netpol_forget_name(&b, learn->slot, t->gone_address,
					   t->gone_name);
		net_put_learned(&b, s, learn->name, a, timeout, true);
	}
	rc = nft_commit(net->nft, &b, err);
	nft_batch_fini(&b);
	return rc;
}

static bool on_learn(const struct resolver_learn *l, void *arg)
{
	struct error err;

	if (learn(arg, l, &err) == 0)
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
