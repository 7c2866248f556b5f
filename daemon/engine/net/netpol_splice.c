/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_splice.c - what binds connections to names in the packet filter (pure)
 *
 * Theory of operation
 * ===================
 *
 * A new TCP connection to port 80 or 443 of an address that was learned for a
 * name, by a rule that wants names verified, is redirected to the splice, which
 * listens at the guests' gateway; what is open by any other rule is not. It is
 * in the chain that forwards for the guest's shape (p<N>) that these ports are
 * missing: where nothing is redirected, nothing passes.
 *
 *   divert     prerouting, new connections only: by shape to n<N>, which leads
 *              the above to "to-splice"
 *   input      what was redirected, and nothing else, may reach that port: by
 *              shape to c<N>, the slot's limit and count
 *   local-out  what the engine connects for the splice carries a packet mark:
 *              by its slot's shape to u<N>, where it may go on only to addresses
 *              and ports that are still bound for this slot. So a policy that is
 *              revoked ends it even if the splice does not, and no connection
 *              that bears the mark gets to the host or to private ranges.
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
static const char *const plain[] = { "to-splice", "splice-input", "upstream",
				     "upstream-new" };

void netpol_splice_sets(struct nft_batch *b)
{
	/* clang-format off */
	static const struct nft_set_spec sets[] = {
		{ .name = NETPOL_UPSTREAMS, .n_types = 1, .data = NFT_TYPE_MARK,
		  .types = { NFT_TYPE_MARK } },
		{ .name = NETPOL_FLOW_MARKS, .n_types = 2,
		  .types = { NFT_TYPE_MARK, NFT_TYPE_MARK } },
		{ .name = NETPOL_BOUND, .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_MARK } },
		{ .name = NETPOL_SPLICED, .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_MARK } },
		{ .name = NETPOL_ONWARD, .n_types = 1, .verdicts = true,
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
	nft_lookup(&r, 0, NETPOL_BYTES_TO, false);
	rule_drop(&r);
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
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_meta(&r, NFT_META_MARK, 0);
	nft_ct(&r, NFT_CT_MARK, 1);
	nft_lookup(&r, 0, NETPOL_FLOW_MARKS, false);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "upstream");
	nft_is_ipv4(&r);
	nft_verdict(&r, NFT_JUMP, "upstream-new");
	nft_rule_end(&r);
	rule_by_shape(b, "upstream", NFT_META_MARK, NETPOL_UPSTREAMS,
		      NETPOL_ONWARD);
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
	rule_by_shape(b, "divert", NFT_META_IIFNAME, NETPOL_SHAPES,
		      NETPOL_BOUND);
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
	rule_by_shape(b, "splice-input", NFT_META_IIFNAME, NETPOL_SHAPES,
		      NETPOL_SPLICED);
	rule_always(b, "splice-input", NF_DROP, NULL);
}

/* ---- one shape ---------------------------------------------------------- */

/* Web ports of the group, addresses learned for it. Does not end the rule. */
static void match_web(struct nft_rule *r, struct nft_batch *b,
		      const char *chain, unsigned int group,
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
	rule_learned(r, group);
}

static bool has_web(const struct plan_group *g)
{
	bool held = false;

	for (size_t i = 0; i < PLAN_WEB_PORTS; i++)
		held |= plan_group_holds(g, IPPROTO_TCP, plan_web_ports[i]);
	return held;
}

/* To the splice, unless it is refused later or open without. */
void netpol_splice_divert(struct nft_batch *b, const char *chain,
			  const struct plan_shape *shape)
{
	struct nft_rule r;

	rule_ct_mark(b, chain, NFT_META_IIFNAME, NETPOL_MARKS);
	netpol_range_rules(b, chain, shape, true, NF_ACCEPT, NULL);
	netpol_range_rules(b, chain, shape, false, NF_ACCEPT, NULL);
	if (shape->default_allow) {
		nft_rule_begin(&r, b, chain);
		rule_daddr(&r, 0);
		nft_lookup(&r, 0, "permitted", true);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
	for (int verify = 0; verify < 2; verify++) {
		for (unsigned int g = 0; g < shape->n_names; g++) {
			const struct plan_group *group = &shape->groups[g];

			if (group->verify != verify || !has_web(group))
				continue;
			match_web(&r, b, chain, g, group);
			nft_verdict(&r, verify ? NFT_GOTO : NF_ACCEPT,
				    verify ? "to-splice" : NULL);
			nft_rule_end(&r);
		}
	}
}

/* What it does not let go on comes back, to what lets resets out and refuses the
 * rest.
 */
void netpol_splice_upstream(struct nft_batch *b, const char *chain,
			    const struct plan_shape *shape)
{
	struct nft_rule r;

	rule_ct_mark(b, chain, NFT_META_MARK, NULL);
	netpol_range_rules(b, chain, shape, true, NFT_GOTO, "deny-rule");
	for (unsigned int g = 0; g < shape->n_names; g++) {
		if (!shape->groups[g].verify)
			continue;
		match_web(&r, b, chain, g, &shape->groups[g]);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
}
