/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_splice.c - what binds connections to names in the packet filter (pure)
 *
 * Theory of operation
 * ===================
 *
 * A new TCP connection to port 80 or 443 of an address that was learned for a
 * name, by a rule that wants names verified, is redirected to the splice, which
 * listens at the guests' gateway; what is open by any other rule is not. It is
 * in the guest's own chain that forwards (p<N>) that these ports are missing:
 * where nothing is redirected, nothing passes.
 *
 *   divert     prerouting, new connections only: by interface to n<N>, which
 *              leads the above to "to-splice"
 *   input      what was redirected, and nothing else, may reach that port: by
 *              interface to c<N>, the slot's limit, mark and count
 *   local-out  what the engine connects for the splice carries a packet mark:
 *              by it to u<N>, where it may go on only to addresses and ports
 *              that are still bound for this slot. So a policy that is revoked
 *              ends it even if the splice does not, and no connection that
 *              bears the mark gets to the host or to private ranges.
 *
 * A connection of the splice's that lives is known by its conntrack mark. When
 * that is cut, the next packet is judged anew and answered by a reset. Resets
 * themselves may leave: they carry nothing, and the other side should know.
 *
 * Which names brought an address is in a set of its own, for the next process: the
 * one that rules look up holds each address once.
 *
 * What comes back to the guest passes output, not forward: its rate is limited
 * here as well.
 */
#include "engine/net/netpol_splice.h"

#include "engine/net/netpol_rule.h"
#include "engine/net/nft_expr.h"
#include "engine/net/tap.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#define PRIORITY_REDIRECT (-110) /* before other programs' -100 */
#define PRIORITY_FILTER	  (-10)
#define MARK_MASK	  0xffff0000u

static const struct {
	const char *name, *type;
	uint32_t hook;
	int32_t priority;
} hooks[] = {
	{ "divert", "nat", NF_INET_PRE_ROUTING, PRIORITY_REDIRECT },
	{ "local-out", "filter", NF_INET_LOCAL_OUT, PRIORITY_FILTER },
};
/* A slot's own: where its connections are diverted, admitted, go on. */
static const char chain_letters[] = "ncu";
static const char *const plain[] = { "to-splice", "splice-input", "upstream",
				     "upstream-new" };

void netpol_splice_sets(struct nft_batch *b)
{
	/* clang-format off */
	static const struct nft_set_spec sets[] = {
		{ .name = NETPOL_BOUND, .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_SPLICED, .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_UPSTREAMS, .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_MARK } },
		{ .name = "web", .n_types = 1, .types = { NFT_TYPE_PORT } },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		nft_set_add(b, &sets[i]);
}

void netpol_splice_chains(struct nft_batch *b)
{
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		nft_chain_add_base(b, hooks[i].name, hooks[i].type,
				   hooks[i].hook, hooks[i].priority);
		nft_chain_flush(b, hooks[i].name);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		nft_chain_add(b, plain[i]);
		nft_chain_flush(b, plain[i]);
	}
}

/* ---- all slots ---------------------------------------------------------- */

/* To guests, from the splice: as fast as their limit lets them. */
static void toward_guests(struct nft_batch *b, const struct netpol_node *node)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, "local-out");
	nft_if_prefix(&r, true, TAP_PREFIX, false);
	nft_is_ipv4(&r);
	rule_address(&r, IP_SADDR, node->gateway);
	nft_l4proto(&r, IPPROTO_TCP, true);
	rule_port(&r, 0, NETPOL_SPLICE_PORT);
	nft_meta(&r, NFT_META_OIFNAME, 0);
	nft_vmap(&r, 0, "limits-to");
	nft_rule_end(&r);
}

static void outward(struct nft_batch *b)
{
	static const uint8_t rst = 0x04, none;
	uint32_t mask = MARK_MASK, mark = SLOT_MARK_BASE;
	struct nft_rule r;

	nft_rule_begin(&r, b, "local-out");
	nft_meta(&r, NFT_META_MARK, 0);
	nft_mask(&r, 0, &mask, sizeof(mask));
	nft_cmp(&r, true, 0, &mark, sizeof(mark));
	nft_verdict(&r, NFT_GOTO, "upstream");
	nft_rule_end(&r);

	nft_rule_begin(&r, b, "upstream");
	nft_meta(&r, NFT_META_MARK, 0);
	nft_vmap(&r, 0, NETPOL_UPSTREAMS);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "upstream");
	nft_is_ipv4(&r);
	nft_l4proto(&r, IPPROTO_TCP, true);
	nft_payload(&r, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, 0);
	nft_mask(&r, 0, &rst, 1);
	nft_cmp(&r, false, 0, &none, 1);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	rule_always(b, "upstream", NFT_GOTO, "deny-default");
}

/* As the guard does for what guests send themselves. */
static void outward_hard(struct nft_batch *b)
{
	uint32_t local = RTN_LOCAL, unicast = RTN_UNICAST;
	struct nft_rule r;

	nft_rule_begin(&r, b, "upstream-new");
	nft_fib_daddr_type(&r, 0);
	nft_cmp(&r, true, 0, &local, sizeof(local));
	nft_verdict(&r, NFT_GOTO, "deny-host");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "upstream-new");
	rule_daddr(&r, 0);
	nft_vmap(&r, 0, "hard");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "upstream-new");
	nft_fib_daddr_type(&r, 0);
	nft_cmp(&r, false, 0, &unicast, sizeof(unicast));
	nft_verdict(&r, NFT_GOTO, "deny-broadcast");
	nft_rule_end(&r);
}

void netpol_splice_base(struct nft_batch *b, const struct netpol_node *node)
{
	struct nft_rule r;

	for (size_t i = 0; i < PLAN_WEB_PORTS; i++) {
		uint16_t port = htons(plan_web_ports[i]);

		nft_elems_add(b, "web",
			      &(struct nft_elem){ .key = (uint8_t *)&port,
						  .key_len = sizeof(port) },
			      1);
	}
	rule_by_interface(b, "divert", false, NETPOL_BOUND);
	nft_rule_begin(&r, b, "to-splice");
	nft_l4proto(&r, IPPROTO_TCP, true);
	nft_redirect(&r, NETPOL_SPLICE_PORT);
	nft_rule_end(&r);
	toward_guests(b, node);
	outward(b);
	outward_hard(b);
}

void netpol_splice_input(struct nft_batch *b, const struct netpol_node *node)
{
	uint32_t redirected = IPS_DST_NAT, none = 0;
	struct nft_rule r;

	nft_rule_begin(&r, b, "host-input");
	rule_address(&r, IP_DADDR, node->gateway);
	nft_l4proto(&r, IPPROTO_TCP, true);
	rule_port(&r, 2, NETPOL_SPLICE_PORT);
	nft_ct(&r, NFT_CT_STATUS, 0);
	nft_mask(&r, 0, &redirected, sizeof(redirected));
	nft_cmp(&r, false, 0, &none, sizeof(none));
	nft_verdict(&r, NFT_GOTO, "splice-input");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "splice-input");
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	rule_by_interface(b, "splice-input", false, NETPOL_SPLICED);
	rule_always(b, "splice-input", NF_DROP, NULL);
}

/* ---- one slot ----------------------------------------------------------- */

/* Web ports of the group, addresses learned for it. Does not end the rule. */
static void match_web(struct nft_rule *r, struct nft_batch *b,
		      const char *chain, uint32_t number, unsigned int group,
		      const struct plan_group *g)
{
	size_t held = 0;
	uint16_t port = 0;

	for (size_t i = 0; i < PLAN_WEB_PORTS; i++) {
		if (!plan_group_holds(g, IPPROTO_TCP, plan_web_ports[i]))
			continue;
		held++;
		port = plan_web_ports[i];
	}
	nft_rule_begin(r, b, chain);
	nft_l4proto(r, IPPROTO_TCP, true);
	if (held == PLAN_WEB_PORTS) {
		rule_dport(r, 0);
		nft_lookup(r, 0, "web", false);
	} else {
		rule_port(r, 2, port);
	}
	rule_learned(r, number, group);
}

static bool has_web(const struct plan_group *g)
{
	bool held = false;

	for (size_t i = 0; i < PLAN_WEB_PORTS; i++)
		held |= plan_group_holds(g, IPPROTO_TCP, plan_web_ports[i]);
	return held;
}

static void match_boxes(struct nft_rule *r, struct nft_batch *b,
			const char *chain, char letter, uint32_t number)
{
	char set[32];

	netpol_slot_name(set, letter, number);
	nft_rule_begin(r, b, chain);
	rule_daddr(r, 0);
	nft_meta(r, NFT_META_L4PROTO, 1);
	rule_dport(r, 2);
	nft_lookup(r, 0, set, false);
}

/* To the splice, unless it is refused later or open without. */
static void redirect_chain(struct nft_batch *b, uint32_t number,
			   const struct plan *plan)
{
	char chain[32];
	struct nft_rule r;

	netpol_slot_name(chain, 'n', number);
	for (int i = 0; i < 2; i++) {
		if (i == 0 ? !plan->n_deny : !plan->n_allow)
			continue;
		match_boxes(&r, b, chain, i == 0 ? 'x' : 'a', number);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
	if (plan->default_allow) {
		nft_rule_begin(&r, b, chain);
		rule_daddr(&r, 0);
		nft_lookup(&r, 0, "permitted", true);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
	for (int verify = 0; verify < 2; verify++) {
		for (unsigned int g = 0; g < plan->n_groups; g++) {
			if (plan->groups[g].verify != verify ||
			    !has_web(&plan->groups[g]))
				continue;
			match_web(&r, b, chain, number, g, &plan->groups[g]);
			nft_verdict(&r, verify ? NFT_GOTO : NF_ACCEPT,
				    verify ? "to-splice" : NULL);
			nft_rule_end(&r);
		}
	}
}

static void upstream_chain(struct nft_batch *b, const struct slot *slot,
			   const struct plan *plan)
{
	uint32_t mark = slot->mark;
	char chain[32];
	struct nft_rule r;

	netpol_slot_name(chain, 'u', slot->number);
	nft_rule_begin(&r, b, chain);
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_ct(&r, NFT_CT_MARK, 0);
	nft_cmp(&r, true, 0, &mark, sizeof(mark));
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, chain);
	nft_is_ipv4(&r);
	nft_verdict(&r, NFT_JUMP, "upstream-new");
	nft_rule_end(&r);
	if (plan->n_deny) {
		match_boxes(&r, b, chain, 'x', slot->number);
		nft_verdict(&r, NFT_GOTO, "deny-rule");
		nft_rule_end(&r);
	}
	for (unsigned int g = 0; g < plan->n_groups; g++) {
		if (!plan->groups[g].verify)
			continue;
		match_web(&r, b, chain, slot->number, g, &plan->groups[g]);
		nft_ct_mark_set(&r, mark);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
	/* To what lets resets out, and refuses the rest. */
}

void netpol_splice_slot(struct nft_batch *b, const struct slot *slot,
			const struct plan *plan, bool there)
{
	char chain[32];

	for (const char *c = "nu"; *c && !there; c++) {
		netpol_slot_name(chain, *c, slot->number);
		nft_chain_add(b, chain);
	}
	redirect_chain(b, slot->number, plan);
	upstream_chain(b, slot, plan);
}

void netpol_splice_elems(struct nft_batch *b, bool add, const struct slot *slot)
{
	uint32_t mark = slot->mark;
	char chains[3][32];
	uint8_t key[16];
	const struct {
		const char *set;
		struct nft_elem elem;
	} elems[] = {
		{ NETPOL_BOUND,
		  { .key = key, .key_len = 16, .chain = chains[0] } },
		{ NETPOL_SPLICED,
		  { .key = key, .key_len = 16, .chain = chains[1] } },
		/* What it does not decide comes back. */
		{ NETPOL_UPSTREAMS,
		  { .key = (uint8_t *)&mark,
		    .key_len = sizeof(mark),
		    .chain = chains[2],
		    .jump = true } },
	};

	nft_key_ifname(key, slot->tap);
	for (int i = 0; i < 3; i++)
		netpol_slot_name(chains[i], chain_letters[i], slot->number);
	for (size_t i = 0; i < sizeof(elems) / sizeof(elems[0]); i++) {
		if (add)
			nft_elems_add(b, elems[i].set, &elems[i].elem, 1);
		else
			nft_elems_del(b, elems[i].set, &elems[i].elem, 1);
	}
}

void netpol_splice_flush(struct nft_batch *b, uint32_t number)
{
	char chain[32];

	for (int i = 0; i < 3; i++) {
		netpol_slot_name(chain, chain_letters[i], number);
		nft_chain_flush(b, chain);
	}
}

void netpol_splice_del(struct nft_batch *b, uint32_t number)
{
	char chain[32];

	for (int i = 0; i < 3; i++) {
		netpol_slot_name(chain, chain_letters[i], number);
		nft_chain_del(b, chain);
	}
}
