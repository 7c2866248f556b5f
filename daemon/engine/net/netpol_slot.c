/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_slot.c - one slot's part of the packet filter (pure)
 *
 * netpol_base.c says how it all works together.
 */
#include "engine/net/netpol.h"

#include "base/mem.h"
#include "engine/net/netpol_rule.h"
#include "engine/net/netpol_splice.h"
#include "engine/net/nft_expr.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct netpol_keyed netpol_keyed_sets[] = {
	{ NETPOL_BIND, NFPROTO_INET, NETPOL_BY_TAP },
	{ "slots", NFPROTO_INET, NETPOL_BY_TAP },
	{ "limits-from", NFPROTO_INET, NETPOL_BY_TAP },
	{ "limits-to", NFPROTO_INET, NETPOL_BY_TAP },
	{ NETPOL_ALLOWED, NFPROTO_INET, NETPOL_BY_TAP },
	{ NETPOL_DENIED, NFPROTO_INET, NETPOL_BY_TAP },
	{ NETPOL_BOUND, NFPROTO_INET, NETPOL_BY_TAP },
	{ NETPOL_SPLICED, NFPROTO_INET, NETPOL_BY_TAP },
	{ NETPOL_UPSTREAMS, NFPROTO_INET, NETPOL_BY_MARK },
	{ NETPOL_LEARNED, NFPROTO_INET, NETPOL_BY_NUMBER },
	{ NETPOL_NAMES, NFPROTO_INET, NETPOL_BY_NUMBER },
	{ NETPOL_BIND, NFPROTO_ARP, NETPOL_BY_TAP },
	{ NULL, 0, NETPOL_BY_TAP },
};

struct slot_keys {
	uint8_t name[16];
	uint8_t bind[28]; /* interface, MAC (padded), address */
	uint8_t arp[20];  /* interface, address */
};

static void make_keys(const struct netpol_node *node, const struct slot *slot,
		      struct slot_keys *ret)
{
	uint32_t address = htonl(slot->address);

	memset(ret, 0, sizeof(*ret));
	nft_key_ifname(ret->name, slot->tap);
	memcpy(ret->bind, ret->name, 16);
	memcpy(ret->bind + 16, node->guest_mac, 6);
	memcpy(ret->bind + 24, &address, 4);
	memcpy(ret->arp, ret->name, 16);
	memcpy(ret->arp + 16, &address, 4);
}

static void one_elem(struct nft_batch *b, bool add, const char *set,
		     const uint8_t *key, size_t len, const char *chain,
		     bool jump)
{
	struct nft_elem e = {
		.key = key, .key_len = len, .chain = chain, .jump = jump
	};

	if (add)
		nft_elems_add(b, set, &e, 1);
	else
		nft_elems_del(b, set, &e, 1);
}

static void bind_elems(struct nft_batch *b, bool add,
		       const struct netpol_node *node, const struct slot *slot)
{
	struct slot_keys k;

	make_keys(node, slot, &k);
	one_elem(b, add, NETPOL_BIND, k.bind, sizeof(k.bind), NULL, false);
	one_elem(b, add, NETPOL_ALLOWED, k.name, 16, NULL, false);
	one_elem(b, add, NETPOL_DENIED, k.name, 16, NULL, false);
	b->family = NFPROTO_ARP;
	one_elem(b, add, NETPOL_BIND, k.arp, sizeof(k.arp), NULL, false);
	b->family = NFPROTO_INET;
}

static void slot_elem(struct nft_batch *b, bool add, const struct slot *slot)
{
	uint8_t key[16];
	char chain[32];

	nft_key_ifname(key, slot->tap);
	netpol_slot_name(chain, 's', slot->number);
	one_elem(b, add, "slots", key, 16, chain, false);
}

static void limit_elems(struct nft_batch *b, bool add, const struct slot *slot)
{
	uint8_t key[16];
	char from[32], to[32];

	nft_key_ifname(key, slot->tap);
	netpol_slot_name(from, 'r', slot->number);
	netpol_slot_name(to, 'w', slot->number);
	one_elem(b, add, "limits-from", key, 16, from, true);
	one_elem(b, add, "limits-to", key, 16, to, true);
}

/* The kernel's bucket for bytes holds a second's worth and the burst beside it:
 * without one, at most rate * (t + 1) bytes pass in any t seconds. The least rate
 * is more than the largest packet.
 */
static void limit_bandwidth(struct nft_batch *b, const char *chain,
			    uint32_t mbps)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_limit_bytes(&r, (uint64_t)mbps * 125000, 0, true);
	rule_drop(&r);
}

static bool has_limits(const struct plan *plan)
{
	return plan->limits.bandwidth_mbps || plan->limits.packets_per_second;
}

static void limit_chains(struct nft_batch *b, const struct slot *slot,
			 const struct plan *plan, bool there)
{
	uint32_t pps = plan->limits.packets_per_second;
	char from[32], to[32];
	struct nft_rule r;

	netpol_slot_name(from, 'r', slot->number);
	netpol_slot_name(to, 'w', slot->number);
	if (there) {
		nft_chain_flush(b, from);
		nft_chain_flush(b, to);
	} else {
		nft_chain_add(b, from);
		nft_chain_add(b, to);
		limit_elems(b, true, slot);
	}
	if (pps) {
		nft_rule_begin(&r, b, from);
		nft_limit_packets(&r, pps, pps / 10 + 16, true);
		rule_drop(&r);
	}
	if (plan->limits.bandwidth_mbps) {
		limit_bandwidth(b, from, plan->limits.bandwidth_mbps);
		limit_bandwidth(b, to, plan->limits.bandwidth_mbps);
	}
}

static void limit_chains_del(struct nft_batch *b, uint32_t number)
{
	char name[32];

	netpol_slot_name(name, 'r', number);
	nft_chain_del(b, name);
	netpol_slot_name(name, 'w', number);
	nft_chain_del(b, name);
}

static void boxes_set(struct nft_batch *b, const char *name)
{
	const struct nft_set_spec spec = {
		.name = name,
		.n_types = 3,
		.interval = true,
		.types = { NFT_TYPE_ADDRESS, NFT_TYPE_PROTO, NFT_TYPE_PORT }
	};

	nft_set_add(b, &spec);
}

static void boxes_fill(struct nft_batch *b, const char *name,
		       const struct plan_box *boxes, size_t n)
{
	uint8_t(*keys)[2][12] = xcalloc(n, sizeof(*keys));
	struct nft_elem *elems = xcalloc(n, sizeof(*elems));

	for (size_t i = 0; i < n; i++) {
		uint32_t first = htonl(boxes[i].first);
		uint32_t last = htonl(boxes[i].last);
		uint16_t port[2] = { htons(boxes[i].ports.first),
				     htons(boxes[i].ports.last) };

		memcpy(keys[i][0], &first, 4);
		memcpy(keys[i][1], &last, 4);
		for (int k = 0; k < 2; k++) {
			keys[i][k][4] = boxes[i].protocol;
			memcpy(keys[i][k] + 8, &port[k], 2);
		}
		elems[i] = (struct nft_elem){ .key = keys[i][0],
					      .key_end = keys[i][1],
					      .key_len = 12 };
	}
	nft_elems_add(b, name, elems, n);
	free(keys);
	free(elems);
}

/* Into sets that are empty. */
static void fill_sets(struct nft_batch *b, const struct slot *slot,
		      const struct plan *plan)
{
	char name[32];

	netpol_slot_name(name, 'x', slot->number);
	if (plan->n_deny)
		boxes_fill(b, name, plan->deny, plan->n_deny);
	netpol_slot_name(name, 'a', slot->number);
	if (plan->n_allow)
		boxes_fill(b, name, plan->allow, plan->n_allow);
}

static void empty_sets(struct nft_batch *b, uint32_t number,
		       const struct netpol_objects *have)
{
	char name[32];

	/* The kernel finds a set by walking through all there are. */
	if (have->empty)
		return;
	netpol_slot_name(name, 'x', number);
	if (have->deny)
		nft_set_flush(b, name);
	netpol_slot_name(name, 'a', number);
	if (have->allow)
		nft_set_flush(b, name);
}

static void boxes_rule(struct nft_batch *b, const char *chain, const char *set,
		       int code, const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	rule_daddr(&r, 0);
	nft_meta(&r, NFT_META_L4PROTO, 1);
	rule_dport(&r, 2);
	nft_lookup(&r, 0, set, false);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

static void group_rules(struct nft_batch *b, const char *chain, uint32_t number,
			unsigned int group, const struct plan_group *g)
{
	struct net_ports direct[NET_RULE_PORTS_MAX + PLAN_WEB_PORTS];
	size_t n_direct = plan_direct_ports(g, direct);

	for (unsigned int p = PLAN_TCP; p <= PLAN_UDP; p <<= 1) {
		const struct net_ports *ports =
			p == PLAN_TCP ? direct : g->ports;
		size_t n = p == PLAN_TCP ? n_direct : g->n_ports;

		if (!(g->protocols & p))
			continue;
		for (size_t i = 0; i < n; i++) {
			uint16_t first = htons(ports[i].first);
			uint16_t last = htons(ports[i].last);
			struct nft_rule r;

			nft_rule_begin(&r, b, chain);
			nft_l4proto(&r,
				    p == PLAN_TCP ? IPPROTO_TCP : IPPROTO_UDP,
				    true);
			rule_dport(&r, 0);
			if (first == last)
				nft_cmp(&r, true, 0, &first, 2);
			else
				nft_range(&r, 0, &first, &last, 2);
			rule_learned(&r, number, group);
			nft_verdict(&r, NFT_RETURN, NULL);
			nft_rule_end(&r);
		}
	}
}

static bool has_rules(const struct plan *plan)
{
	return plan->n_allow || plan->n_deny || plan->n_groups;
}

/* Deny, then allow, then learned names, then the default. */
static void policy_chain(struct nft_batch *b, const struct slot *slot,
			 const struct plan *plan, struct netpol_objects *have)
{
	char chain[32], name[32];

	netpol_slot_name(chain, 'p', slot->number);
	nft_chain_add(b, chain);
	have->policy = true;
	if (plan->n_deny) {
		netpol_slot_name(name, 'x', slot->number);
		boxes_set(b, name);
		boxes_rule(b, chain, name, NFT_GOTO, "deny-rule");
		have->deny = true;
	}
	if (plan->n_allow) {
		netpol_slot_name(name, 'a', slot->number);
		boxes_set(b, name);
		boxes_rule(b, chain, name, NFT_RETURN, NULL);
		have->allow = true;
	}
	for (unsigned int g = 0; g < plan->n_groups; g++)
		group_rules(b, chain, slot->number, g, &plan->groups[g]);
	rule_always(b, chain, NFT_GOTO,
		    plan->default_allow ? "default-allow" : "deny-default");
}

/* A new connection that the policy lets be: counted, marked, accepted. */
static void admit_rules(struct nft_batch *b, const char *chain,
			const struct slot *slot, const struct plan *plan)
{
	struct nft_rule r;

	if (plan->limits.connections_max) {
		nft_rule_begin(&r, b, chain);
		nft_connections_over(&r, plan->limits.connections_max);
		nft_verdict(&r, NFT_GOTO, "deny-flows");
		nft_rule_end(&r);
	}
	nft_rule_begin(&r, b, chain);
	nft_ct_mark_set(&r, slot->mark);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, chain);
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_lookup(&r, 0, NETPOL_ALLOWED, false);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
}

static void slot_chain(struct nft_batch *b, const struct slot *slot,
		       const struct plan *plan)
{
	char chain[32], policy[32], admit[32];
	struct nft_rule r;

	netpol_slot_name(chain, 's', slot->number);
	netpol_slot_name(policy, 'p', slot->number);
	netpol_slot_name(admit, 'c', slot->number);
	nft_rule_begin(&r, b, chain);
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	if (!plan->open) {
		rule_always(b, chain, NFT_GOTO, "deny-default");
		return;
	}
	if (has_rules(plan))
		rule_always(b, chain, NFT_JUMP, policy);
	else if (plan->default_allow)
		rule_always(b, chain, NFT_JUMP, "default-allow");
	else
		rule_always(b, chain, NFT_GOTO, "deny-default");
	/* What is bound to names is admitted by the same limit. */
	if (plan_binds(plan))
		rule_always(b, chain, NFT_GOTO, admit);
	else
		admit_rules(b, chain, slot, plan);
}

static void bound_chains(struct nft_batch *b, const struct slot *slot,
			 const struct plan *plan, bool there)
{
	char admit[32];

	netpol_slot_name(admit, 'c', slot->number);
	if (!there)
		nft_chain_add(b, admit);
	admit_rules(b, admit, slot, plan);
	netpol_splice_slot(b, slot, plan, there);
	if (!there)
		netpol_splice_elems(b, true, slot);
}

/* All but the slot's own chain, its elements and its limits. That chain has no
 * rule left that leads here.
 */
static void policy_del(struct nft_batch *b, uint32_t number,
		       struct netpol_objects *have)
{
	char name[32];

	if (have->policy) {
		netpol_slot_name(name, 'p', number);
		nft_chain_del(b, name);
	}
	if (have->allow) {
		netpol_slot_name(name, 'a', number);
		nft_set_del(b, name);
	}
	if (have->deny) {
		netpol_slot_name(name, 'x', number);
		nft_set_del(b, name);
	}
	have->policy = have->allow = have->deny = false;
}

void netpol_slot_ahead(struct nft_batch *b, const struct slot *slot,
		       const struct plan *plan, struct netpol_objects *have)
{
	unsigned int before = b->rules;
	char chain[32];

	b->family = NFPROTO_INET;
	netpol_slot_name(chain, 's', slot->number);
	if (have->slot)
		nft_chain_flush(b, chain);
	else
		nft_chain_add(b, chain);
	if (have->names)
		netpol_splice_flush(b, slot->number);
	policy_del(b, slot->number, have);
	if (has_limits(plan))
		limit_chains(b, slot, plan, have->limits);
	else if (have->limits) {
		limit_elems(b, false, slot);
		limit_chains_del(b, slot->number);
	}
	have->limits = has_limits(plan);
	if (has_rules(plan))
		policy_chain(b, slot, plan, have);
	if (plan_binds(plan)) {
		bound_chains(b, slot, plan, have->names);
	} else if (have->names) {
		netpol_splice_elems(b, false, slot);
		netpol_splice_del(b, slot->number);
	}
	have->names = plan_binds(plan);
	slot_chain(b, slot, plan);
	slot_elem(b, true, slot);
	have->slot = have->empty = true;
	have->rules = b->rules - before;
}

void netpol_slot(struct nft_batch *b, const struct netpol_node *node,
		 const struct slot *slot, const struct plan *plan,
		 struct netpol_objects *have)
{
	netpol_slot_ahead(b, slot, plan, have);
	fill_sets(b, slot, plan);
	bind_elems(b, true, node, slot);
	have->bound = true;
	have->empty = false;
}

void netpol_slot_fill(struct nft_batch *b, const struct netpol_node *node,
		      const struct slot *slot, const struct plan *plan,
		      struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	empty_sets(b, slot->number, have);
	fill_sets(b, slot, plan);
	bind_elems(b, true, node, slot);
	have->bound = true;
	have->empty = false;
}

void netpol_slot_close(struct nft_batch *b, const struct netpol_node *node,
		       const struct slot *slot, struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	if (have->bound)
		bind_elems(b, false, node, slot);
	empty_sets(b, slot->number, have);
	have->bound = false;
	have->empty = true;
}

void netpol_slot_del(struct nft_batch *b, const struct netpol_node *node,
		     const struct slot *slot, struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	if (have->bound)
		bind_elems(b, false, node, slot);
	if (have->limits)
		limit_elems(b, false, slot);
	if (have->names)
		netpol_splice_elems(b, false, slot);
	if (have->slot)
		slot_elem(b, false, slot);
	netpol_objects_del(b, slot->number, have);
}

void netpol_objects_del(struct nft_batch *b, uint32_t number,
			struct netpol_objects *have)
{
	char chain[32];

	b->family = NFPROTO_INET;
	if (have->limits)
		limit_chains_del(b, number);
	if (have->slot) {
		netpol_slot_name(chain, 's', number);
		nft_chain_del(b, chain);
	}
	if (have->names) {
		netpol_splice_flush(b, number);
		netpol_splice_del(b, number);
	}
	policy_del(b, number, have);
	*have = (struct netpol_objects){ 0 };
}

/* ---- learned addresses -------------------------------------------------- */

#define GONE_SOON_MS 1000

struct learned_key {
	uint32_t whose, address, hash;
};

static void learned_elems(struct nft_batch *b, const char *set,
			  const struct netpol_learned *elems, size_t n,
			  bool add, bool keep)
{
	struct learned_key *keys = xcalloc(n, sizeof(*keys));
	struct nft_elem *list = xcalloc(n, sizeof(*list));
	bool names = !strcmp(set, NETPOL_NAMES);

	for (size_t i = 0; i < n; i++) {
		const struct netpol_learned *e = &elems[i];

		keys[i] = (struct learned_key){ e->number << 8 | e->group,
						htonl(e->address), e->hash };
		list[i] = (struct nft_elem){
			.key = (uint8_t *)&keys[i],
			.key_len = names ? sizeof(keys[i]) :
					   offsetof(struct learned_key, hash),
		};
		if (!add)
			continue;
		list[i].timeout_ms = keep ? e->timeout_ms : GONE_SOON_MS;
		if (keep && e->name && strlen(e->name) <= NFT_COMMENT_MAX)
			list[i].comment = e->name;
	}
	if (n && add)
		nft_elems_add(b, set, list, n);
	else if (n)
		nft_elems_del(b, set, list, n);
	free(keys);
	free(list);
}

void netpol_learn(struct nft_batch *b, const char *set,
		  const struct netpol_learned *elems, size_t n)
{
	learned_elems(b, set, elems, n, true, true);
}

/* Deleting what is absent would fail the batch, and adding what is there changes
 * nothing.
 */
void netpol_forget(struct nft_batch *b, const char *set,
		   const struct netpol_learned *elems, size_t n)
{
	learned_elems(b, set, elems, n, true, false);
	learned_elems(b, set, elems, n, false, false);
}

bool netpol_learned_key(const uint8_t *key, size_t len, uint32_t *ret_number,
			unsigned int *ret_group, uint32_t *ret_address,
			uint32_t *ret_hash)
{
	struct learned_key k = { 0 };

	if (len < offsetof(struct learned_key, hash))
		return false;
	memcpy(&k, key, len < sizeof(k) ? len : sizeof(k));
	*ret_number = k.whose >> 8;
	*ret_group = k.whose & 255;
	*ret_address = ntohl(k.address);
	*ret_hash = k.hash;
	return true;
}

/* ---- what is there after a restart -------------------------------------- */

static bool parse_number(const char **s, uint32_t n, uint32_t *ret)
{
	uint64_t v = 0;
	const char *p = *s;

	if (*p < '0' || *p > '9')
		return false;
	while (*p >= '0' && *p <= '9') {
		v = v * 10 + (uint64_t)(*p++ - '0');
		if (v >= n)
			return false;
	}
	*ret = (uint32_t)v;
	*s = p;
	return true;
}

bool netpol_note_chain(const char *name, struct netpol_objects *slots,
		       uint32_t n)
{
	const char *s = name + 1;
	uint32_t number;

	if (!name[0] || !parse_number(&s, n, &number) || *s)
		return false;
	switch (name[0]) {
	case 's':
		slots[number].slot = true;
		return true;
	case 'p':
		slots[number].policy = true;
		return true;
	case 'n':
	case 'c':
	case 'u':
		slots[number].names = true;
		return true;
	case 'r':
	case 'w':
		slots[number].limits = true;
		return true;
	}
	return false;
}

bool netpol_note_set(const char *name, struct netpol_objects *slots, uint32_t n)
{
	const char *s = name + 1;
	uint32_t number;

	if (!name[0] || !parse_number(&s, n, &number) || *s)
		return false;
	if (name[0] == 'a')
		slots[number].allow = true;
	else if (name[0] == 'x')
		slots[number].deny = true;
	else
		return false;
	return true;
}
