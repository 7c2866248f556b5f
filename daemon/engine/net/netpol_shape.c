/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_shape.c - the chains of all slots whose rules have the same shape (pure)
 *
 * netpol_base.c says how it all works together. A chain's name is a letter and
 * the shape's number.
 */
#include "engine/net/netpol.h"

#include "engine/net/netpol_rule.h"
#include "engine/net/netpol_splice.h"
#include "engine/net/nft_expr.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Chains, in the order that they can be deleted in: the first lead to the last. */
enum letter { POLICY, DIVERT, UPSTREAM, ADMIT, N_LETTERS };
static const char letters[N_LETTERS + 1] = "pnuc";

struct names {
	char of[N_LETTERS][32];
};

static void make_names(struct names *ret, uint32_t id)
{
	for (int i = 0; i < N_LETTERS; i++)
		snprintf(ret->of[i], sizeof(ret->of[i]), "%c%u", letters[i],
			 id);
}

bool netpol_binds(const struct plan_shape *shape)
{
	for (size_t i = 0; i < shape->n_names; i++) {
		if (shape->groups[i].verify)
			return true;
	}
	return false;
}

static const struct {
	const char *map;
	enum letter to;
	bool jump;
	bool names; /* only if the shape has such */
} ways[] = {
	{ "policies", POLICY, false, false },
	{ NETPOL_BOUND, DIVERT, false, true },
	/* What these do not decide comes back. */
	{ NETPOL_SPLICED, ADMIT, true, true },
	{ NETPOL_ONWARD, UPSTREAM, true, true },
};

static void lead(struct nft_batch *b, bool add, const struct netpol_chains *c)
{
	struct names names;

	make_names(&names, c->number);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct nft_elem e = { .key = (const uint8_t *)&c->number,
				      .key_len = sizeof(c->number),
				      .jump = ways[i].jump };

		if (ways[i].names && !c->names)
			continue;
		e.chain = names.of[ways[i].to];
		if (add)
			nft_elems_add(b, ways[i].map, &e, 1);
		else
			nft_elems_del(b, ways[i].map, &e, 1);
	}
}

static bool has_chain(const struct netpol_chains *c, enum letter l)
{
	return (l != DIVERT && l != UPSTREAM) || c->names;
}

/* ---- policy ------------------------------------------------------------- */

static void match_ports(struct nft_rule *r, uint8_t protocol,
			const struct net_ports *ports)
{
	uint16_t first = htons(ports->first), last = htons(ports->last);

	nft_l4proto(r, protocol, true);
	rule_dport(r, 0);
	if (first == last)
		nft_cmp(r, true, 0, &first, sizeof(first));
	else
		nft_range(r, 0, &first, &last, sizeof(first));
}

static void name_rules(struct nft_batch *b, const struct names *names,
		       unsigned int group, const struct plan_group *g)
{
	struct net_ports direct[NET_RULE_PORTS_MAX + PLAN_WEB_PORTS];
	size_t n_direct = plan_direct_ports(g, direct);

	for (unsigned int p = PLAN_TCP; p <= PLAN_UDP; p <<= 1) {
		const struct net_ports *ports =
			p == PLAN_TCP ? direct : g->ports;
		size_t n = p == PLAN_TCP ? n_direct : g->n_ports;

		for (size_t i = 0; i < n && g->protocols & p; i++) {
			struct nft_rule r;

			nft_rule_begin(&r, b, names->of[POLICY]);
			match_ports(&r,
				    p == PLAN_TCP ? IPPROTO_TCP : IPPROTO_UDP,
				    &ports[i]);
			rule_learned(&r, group);
			nft_verdict(&r, NFT_GOTO, names->of[ADMIT]);
			nft_rule_end(&r);
		}
	}
}

/* Deny, then allow, then learned names, then the default. */
static void policy_chain(struct nft_batch *b, const struct names *names,
			 const struct plan_shape *shape)
{
	const char *chain = names->of[POLICY], *admit = names->of[ADMIT];

	rule_ct_mark(b, chain, NFT_META_IIFNAME, NETPOL_MARKS);
	netpol_range_rules(b, chain, shape, true, NFT_GOTO, "deny-rule");
	netpol_range_rules(b, chain, shape, false, NFT_GOTO, admit);
	for (unsigned int g = 0; g < shape->n_names; g++)
		name_rules(b, names, g, &shape->groups[g]);
	if (shape->default_allow)
		rule_always(b, chain, NFT_JUMP, "default-allow");
	rule_always(b, chain, NFT_GOTO,
		    shape->default_allow ? admit : "deny-default");
}

/* A new connection that the policy lets be: counted, accepted. */
static void admit_chain(struct nft_batch *b, const char *chain,
			const struct plan_shape *shape)
{
	uint32_t max = shape->connections_max;
	struct nft_rule r;

	/* What comes from the splice has not been where policies are. */
	rule_ct_mark(b, chain, NFT_META_IIFNAME, NETPOL_MARKS);
	if (max) {
		nft_rule_begin(&r, b, chain);
		nft_ct(&r, NFT_CT_MARK, 0);
		nft_load(&r, 1, &max, sizeof(max));
		nft_connections_each(&r, 0, NETPOL_FLOWS, max);
		nft_verdict(&r, NFT_GOTO, "deny-flows");
		nft_rule_end(&r);
	}
	nft_rule_begin(&r, b, chain);
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_lookup(&r, 0, NETPOL_ALLOWED, false);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
}

void netpol_shape(struct nft_batch *b, uint32_t id,
		  const struct plan_shape *shape)
{
	const struct netpol_chains c = { .number = id,
					 .any = true,
					 .names = netpol_binds(shape) };
	struct names names;

	b->family = NFPROTO_INET;
	make_names(&names, id);
	for (int i = 0; i < N_LETTERS; i++) {
		if (has_chain(&c, (enum letter)i))
			nft_chain_add(b, names.of[i]);
	}
	admit_chain(b, names.of[ADMIT], shape);
	policy_chain(b, &names, shape);
	if (c.names) {
		netpol_splice_divert(b, names.of[DIVERT], shape);
		netpol_splice_upstream(b, names.of[UPSTREAM], shape);
	}
	lead(b, true, &c);
}

void netpol_shape_del(struct nft_batch *b, const struct netpol_chains *chains)
{
	struct names names;

	b->family = NFPROTO_INET;
	make_names(&names, chains->number);
	lead(b, false, chains);
	for (int i = 0; i < N_LETTERS; i++) {
		if (has_chain(chains, (enum letter)i))
			nft_chain_del(b, names.of[i]);
	}
}

bool netpol_note_chain(const char *name, struct netpol_chains *ret)
{
	const char *at = name[0] ? strchr(letters, name[0]) : NULL;
	enum letter l = at ? (enum letter)(at - letters) : N_LETTERS;
	uint64_t v = 0;

	if (l == N_LETTERS || !name[1])
		return false;
	for (const char *p = name + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*ret = (struct netpol_chains){ .number = (uint32_t)v,
				       .any = true,
				       .names = l == DIVERT || l == UPSTREAM };
	return true;
}
