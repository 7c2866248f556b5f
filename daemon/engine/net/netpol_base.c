/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_base.c - the part of the packet filter that all guests share (pure)
 *
 * Theory of operation
 * ===================
 *
 * Every interface whose name begins with "sbx" is a guest's, whether a slot is
 * attached or not: one that is not known gets nothing.
 *
 *   guard    prerouting, before conntrack: what is hard-denied never makes an
 *            entry there. Sender bound (interface, MAC, address), rate, no
 *            IPv6, no options or left-over fragments; DNS to the gateway goes
 *            on untracked; then the host's own addresses, the ranges of
 *            netpol_hard.c, and other resolvers, each to its "deny-" chain.
 *   forward  guest to guest never; to a guest only what belongs to a
 *            connection it opened; from a guest by the chain of its shape,
 *            after flows that live.
 *   p<N>     one a shape: deny rules, allow rules, what was learned, default.
 *   c<N>     what p<N> lets be is counted against the slot's limit and accepted.
 *   input    only DNS, and what is bound to names (netpol_splice.c); a second
 *            wall behind the guard.
 *
 * A shape (struct plan_shape) is all that rules depend on but addresses; slots of
 * one shape share its chains. What differs between them are elements of sets that
 * all share: an interface leads to its slot's mark, which a new connection bears
 * when addresses are looked up, by it, group of rules and address; to the number of
 * its shape; and to limits of packets and bytes. For the kernel
 * walks through all chains at each transaction and through all sets at each
 * message, and checks all chains again when one is changed or led to; an element
 * without a verdict costs the same at any number. A slot is replaced in one
 * transaction.
 *
 * Refusing is the end of a "deny-" chain: a log message to the resolver's group
 * (so many a second for each interface), a count, and an answer: TCP reset or
 * ICMP "administratively prohibited", so that programs fail at once.
 *
 * ARP is a table of its own: only questions for the gateway from the slot's MAC
 * and address. The kernel would remember any sender otherwise.
 */
#include "engine/net/netpol.h"

#include "engine/net/netpol_rule.h"
#include "engine/net/netpol_splice.h"
#include "engine/net/nft_expr.h"
#include "engine/net/tap.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define PRIORITY_GUARD	(-290) /* after defragmentation, before conntrack */
#define PRIORITY_RAW	(-300)
#define PRIORITY_FILTER (-10) /* before other programs' 0 */
#define PRIORITY_SRCNAT 100
#define LOG_PER_S	10
#define LOG_BURST	20
#define LOG_SNAPLEN	64
#define LOG_FORGET_MS	60000

/* Why something is refused, beyond the kinds of hard ranges. */
static const struct reason {
	const char *chain, *rule;
} reasons[] = {
	{ "deny-host", "hard:host" },
	{ "deny-broadcast", "hard:broadcast" },
	{ "deny-dns", "hard:dns" },
	{ "deny-protocol", "hard:protocol" },
	{ "deny-flows", "limit:connections" },
	{ "deny-rule", "deny" },
	{ "deny-default", "default" },
};

#define N_REASONS (sizeof(reasons) / sizeof(reasons[0]))

static void hard_chain(enum hard_kind kind, char ret[32])
{
	snprintf(ret, 32, "deny-%s", hard_kind_names[kind]);
}
/* ---- base: refusing ----------------------------------------------------- */

static void deny_chain(struct nft_batch *b, const char *chain, const char *rule)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_limit_each(&r, 0, "log-rate", LOG_PER_S, LOG_BURST);
	nft_log(&r, NETPOL_LOG_GROUP, rule, LOG_SNAPLEN);
	nft_rule_end(&r);
	rule_always(b, chain, NFT_GOTO, "refuse");
}

static void refuse_chain(struct nft_batch *b)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, "refuse");
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_lookup(&r, 0, NETPOL_DENIED, false);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "refuse");
	nft_l4proto(&r, IPPROTO_TCP, true);
	nft_reject(&r, NFT_REJECT_TCP_RST, 0);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "refuse");
	nft_reject(&r, NFT_REJECT_ICMPX_UNREACH,
		   NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
	nft_rule_end(&r);
}

/* More than the interface's element lets through. */
static void limit_rule(struct nft_batch *b, const char *chain, bool out,
		       const char *set)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_meta(&r, out ? NFT_META_OIFNAME : NFT_META_IIFNAME, 0);
	nft_lookup(&r, 0, set, false);
	rule_drop(&r);
}

/* ---- base: guard -------------------------------------------------------- */

static void guard_sender(struct nft_batch *b)
{
	struct nft_rule r;
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_NFPROTO, 0);
	nft_cmp(&r, false, 0, &ipv4, sizeof(ipv4));
	rule_drop(&r);
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_payload(&r, NFT_PAYLOAD_LL_HEADER, 6, 6, 4);
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, 6);
	nft_lookup(&r, 0, "bind", true);
	rule_drop(&r);
	limit_rule(b, "guest", false, NETPOL_PACKETS_FROM);
	limit_rule(b, "guest", false, NETPOL_BYTES_FROM);
}

static void guard_dns(struct nft_batch *b, const struct netpol_node *node,
		      const char *chain, bool notrack)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (size_t i = 0; i < 2; i++) {
		struct nft_rule r;

		nft_rule_begin(&r, b, chain);
		rule_address(&r, IP_DADDR, node->gateway);
		nft_l4proto(&r, protocols[i], true);
		rule_port(&r, 2, NETPOL_DNS_PORT);
		if (notrack)
			nft_notrack(&r);
		nft_verdict(&r, NF_ACCEPT, NULL);
		nft_rule_end(&r);
	}
}

/* Options, and fragments that nobody put together. */
static void guard_shape(struct nft_batch *b)
{
	static const uint8_t ihl_mask = 0x0f, ihl = 5;
	static const uint8_t frag_mask[2] = { 0x3f, 0xff }, none[2] = { 0 };
	struct nft_rule r;

	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 0, 1, 0);
	nft_mask(&r, 0, &ihl_mask, 1);
	nft_cmp(&r, false, 0, &ihl, 1);
	rule_drop(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 0);
	nft_mask(&r, 0, frag_mask, 2);
	nft_cmp(&r, false, 0, none, 2);
	rule_drop(&r);
}

static void guard_destination(struct nft_batch *b)
{
	uint32_t local = RTN_LOCAL, unicast = RTN_UNICAST;
	struct nft_rule r;

	nft_rule_begin(&r, b, "guest");
	nft_fib_daddr_type(&r, 0);
	nft_cmp(&r, true, 0, &local, sizeof(local));
	nft_verdict(&r, NFT_GOTO, "deny-host");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "guest");
	rule_daddr(&r, 0);
	nft_vmap(&r, 0, "hard");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "guest");
	nft_fib_daddr_type(&r, 0);
	nft_cmp(&r, false, 0, &unicast, sizeof(unicast));
	nft_verdict(&r, NFT_GOTO, "deny-broadcast");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_L4PROTO, 0);
	rule_dport(&r, 1);
	nft_lookup(&r, 0, "resolvers", false);
	nft_verdict(&r, NFT_GOTO, "deny-dns");
	nft_rule_end(&r);
}

/* ---- base: forward, input, output --------------------------------------- */

static void forward_chains(struct nft_batch *b)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, "forward");
	nft_if_prefix(&r, false, TAP_PREFIX, false);
	nft_if_prefix(&r, true, TAP_PREFIX, false);
	nft_verdict(&r, NFT_GOTO, "deny-guests");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "forward");
	nft_if_prefix(&r, true, TAP_PREFIX, false);
	nft_verdict(&r, NFT_GOTO, "to-guest");
	nft_rule_end(&r);
	rule_from_guest(b, "forward", NFT_JUMP, "from-guest");
	rule_from_guest(b, "forward", NF_DROP, NULL);

	limit_rule(b, "to-guest", true, NETPOL_BYTES_TO);
	nft_rule_begin(&r, b, "to-guest");
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "to-guest");
	rule_drop(&r);

	nft_rule_begin(&r, b, "from-guest");
	rule_ct_state(&r, CT_INVALID);
	rule_drop(&r);
	nft_rule_begin(&r, b, "from-guest");
	rule_ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	rule_by_shape(b, "from-guest", NFT_META_IIFNAME, NETPOL_SHAPES,
		      "policies");
}

/* Returns if a new connection may be. */
static void default_allow_chain(struct nft_batch *b)
{
	uint8_t tcp = IPPROTO_TCP, udp = IPPROTO_UDP;
	struct nft_rule r;

	nft_rule_begin(&r, b, "default-allow");
	nft_meta(&r, NFT_META_L4PROTO, 0);
	nft_cmp(&r, false, 0, &tcp, 1);
	nft_cmp(&r, false, 0, &udp, 1);
	nft_verdict(&r, NFT_GOTO, "deny-protocol");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "default-allow");
	rule_daddr(&r, 0);
	nft_lookup(&r, 0, "permitted", false);
	nft_verdict(&r, NFT_GOTO, "deny-private");
	nft_rule_end(&r);
}

static void output_chain(struct nft_batch *b, const struct netpol_node *node)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (size_t i = 0; i < 2; i++) {
		struct nft_rule r;

		nft_rule_begin(&r, b, "output");
		nft_if_prefix(&r, true, TAP_PREFIX, false);
		nft_is_ipv4(&r);
		rule_address(&r, IP_SADDR, node->gateway);
		nft_l4proto(&r, protocols[i], true);
		rule_port(&r, 0, NETPOL_DNS_PORT);
		nft_notrack(&r);
		nft_rule_end(&r);
	}
}

static void masquerade_chain(struct nft_batch *b,
			     const struct netpol_node *node)
{
	uint32_t mask = htonl(node->pool_mask);
	uint32_t pool = htonl(node->pool & node->pool_mask);
	struct nft_rule r;

	nft_rule_begin(&r, b, "masquerade");
	nft_is_ipv4(&r);
	nft_if_prefix(&r, true, TAP_PREFIX, true);
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, 0);
	nft_mask(&r, 0, &mask, sizeof(mask));
	nft_cmp(&r, true, 0, &pool, sizeof(pool));
	nft_masquerade(&r);
	nft_rule_end(&r);
}

/* ---- base: sets --------------------------------------------------------- */

static void add_ranges(struct nft_batch *b, const struct netpol_node *node)
{
	/* Two elements a range: where it begins, and what is behind it. */
	uint32_t keys[2 * HARD_RANGES_MAX];
	char chains[HARD_KIND_COUNT][32];

	for (int k = HARD_GUESTS; k < HARD_KIND_COUNT; k++)
		hard_chain((enum hard_kind)k, chains[k]);
	for (size_t i = 0; i < node->n_hard; i++) {
		const struct hard_range *h = &node->hard[i];
		bool map = h->kind != HARD_PERMITTED;
		struct nft_elem e[2] = {
			{ .key = (uint8_t *)&keys[2 * i],
			  .key_len = 4,
			  .chain = map ? chains[h->kind] : NULL },
			{ .key = (uint8_t *)&keys[2 * i + 1],
			  .key_len = 4,
			  .interval_end = true },
		};

		keys[2 * i] = htonl(h->first);
		keys[2 * i + 1] = htonl(h->last + 1);
		nft_elems_add(b, map ? "hard" : "permitted", e,
			      h->last == UINT32_MAX ? 1 : 2);
	}
}

static void add_resolvers(struct nft_batch *b)
{
	static const uint8_t keys[][8] = {
		{ IPPROTO_TCP, 0, 0, 0, 0, 53 },
		{ IPPROTO_UDP, 0, 0, 0, 0, 53 },
		{ IPPROTO_TCP, 0, 0, 0, 853 >> 8, 853 & 255 },
		{ IPPROTO_UDP, 0, 0, 0, 853 >> 8, 853 & 255 },
	};

	for (size_t i = 0; i < 4; i++)
		nft_elems_add(
			b, "resolvers",
			&(struct nft_elem){ .key = keys[i], .key_len = 8 }, 1);
}

static void base_sets(struct nft_batch *b)
{
	/* clang-format off */
	/* The kernel finds a set by walking through all there are, from the first:
	 * so those come first that are changed most often.
	 */
	static const struct nft_set_spec sets[] = {
		{ .name = NETPOL_LEARNED, .n_types = 3, .timeout = true,
		  .types = { NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_ADDRESS } },
		{ .name = NETPOL_NAMES, .n_types = 4, .timeout = true,
		  .types = { NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_ADDRESS,
			     NFT_TYPE_MARK } },
		{ .name = NETPOL_RANGES, .n_types = 5,
		  .types = { NFT_TYPE_MARK, NFT_TYPE_MARK, NFT_TYPE_ADDRESS,
			     NFT_TYPE_PROTO, NFT_TYPE_PORT } },
		{ .name = NETPOL_BIND, .n_types = 3, .types = { NFT_TYPE_IFNAME,
		  NFT_TYPE_ETHER, NFT_TYPE_ADDRESS } },
		{ .name = NETPOL_MARKS, .n_types = 1, .data = NFT_TYPE_MARK,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_SHAPES, .n_types = 1, .data = NFT_TYPE_MARK,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = "policies", .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_MARK } },
		{ .name = NETPOL_PACKETS_FROM, .n_types = 1,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_BYTES_FROM, .n_types = 1,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_BYTES_TO, .n_types = 1,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_ALLOWED, .n_types = 1, .counter = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_DENIED, .n_types = 1, .counter = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = "log-rate", .n_types = 1, .dynamic = true,
		  .timeout = true, .timeout_ms = LOG_FORGET_MS,
		  .size = 2 * SLOT_MAX, .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_FLOWS, .n_types = 2, .dynamic = true,
		  .size = 2 * SLOT_MAX, .types = { NFT_TYPE_MARK, NFT_TYPE_MARK } },
		{ .name = "hard", .n_types = 1, .interval = true,
		  .verdicts = true, .types = { NFT_TYPE_ADDRESS } },
		{ .name = "permitted", .n_types = 1, .interval = true,
		  .types = { NFT_TYPE_ADDRESS } },
		{ .name = "resolvers", .n_types = 2,
		  .types = { NFT_TYPE_PROTO, NFT_TYPE_PORT } },
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		nft_set_add(b, &sets[i]);
	netpol_splice_sets(b);
}

/* ---- base: all of it ---------------------------------------------------- */

static void arp_table(struct nft_batch *b, const struct netpol_node *node)
{
	const struct nft_set_spec bind = { .name = "bind",
					   .n_types = 2,
					   .types = { NFT_TYPE_IFNAME,
						      NFT_TYPE_ADDRESS } };
	uint16_t request = htons(ARPOP_REQUEST);
	uint32_t gateway = htonl(node->gateway);
	struct nft_rule r;

	b->family = NFPROTO_ARP;
	nft_table_add(b);
	nft_set_add(b, &bind);
	nft_chain_add_base(b, "input", "filter", NF_ARP_IN, 0);
	nft_chain_add(b, "guest");
	nft_chain_flush(b, "input");
	nft_chain_flush(b, "guest");
	rule_from_guest(b, "input", NFT_JUMP, "guest");
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, 4);
	nft_lookup(&r, 0, "bind", true);
	rule_drop(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 0);
	nft_cmp(&r, false, 0, &request, sizeof(request));
	rule_drop(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 8, 6, 0);
	nft_cmp(&r, false, 0, node->guest_mac, sizeof(node->guest_mac));
	rule_drop(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 24, 4, 0);
	nft_cmp(&r, false, 0, &gateway, sizeof(gateway));
	rule_drop(&r);
	b->family = NFPROTO_INET;
}

static void base_chains(struct nft_batch *b)
{
	static const char *const plain[] = { "refuse",	   "guest",
					     "to-guest",   "from-guest",
					     "host-input", "default-allow" };
	char name[32];

	/* clang-format off */
	nft_chain_add_base(b, "guard", "filter", NF_INET_PRE_ROUTING, PRIORITY_GUARD);
	nft_chain_add_base(b, "forward", "filter", NF_INET_FORWARD, PRIORITY_FILTER);
	nft_chain_add_base(b, "input", "filter", NF_INET_LOCAL_IN, PRIORITY_FILTER);
	nft_chain_add_base(b, "output", "filter", NF_INET_LOCAL_OUT, PRIORITY_RAW);
	nft_chain_add_base(b, "masquerade", "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT);
	/* clang-format on */
	nft_chain_flush(b, "guard");
	nft_chain_flush(b, "forward");
	nft_chain_flush(b, "input");
	nft_chain_flush(b, "output");
	nft_chain_flush(b, "masquerade");
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		nft_chain_add(b, plain[i]);
		nft_chain_flush(b, plain[i]);
	}
	netpol_splice_chains(b);
	for (size_t i = 0; i < N_REASONS; i++) {
		nft_chain_add(b, reasons[i].chain);
		nft_chain_flush(b, reasons[i].chain);
	}
	for (int k = HARD_GUESTS; k < HARD_PERMITTED; k++) {
		hard_chain((enum hard_kind)k, name);
		nft_chain_add(b, name);
		nft_chain_flush(b, name);
	}
}

static void deny_chains(struct nft_batch *b)
{
	char chain[32], rule[48];

	for (size_t i = 0; i < N_REASONS; i++)
		deny_chain(b, reasons[i].chain, reasons[i].rule);
	for (int k = HARD_GUESTS; k < HARD_PERMITTED; k++) {
		hard_chain((enum hard_kind)k, chain);
		snprintf(rule, sizeof(rule), "hard:%s", hard_kind_names[k]);
		deny_chain(b, chain, rule);
	}
	refuse_chain(b);
}

void netpol_base(struct nft_batch *b, const struct netpol_node *node, bool anew)
{
	b->family = NFPROTO_INET;
	nft_table_add(b);
	base_sets(b);
	base_chains(b);
	if (!anew) {
		nft_set_flush(b, "hard");
		nft_set_flush(b, "permitted");
		nft_set_flush(b, "resolvers");
		nft_set_flush(b, "web");
	}
	add_ranges(b, node);
	add_resolvers(b);
	netpol_splice_base(b, node);
	deny_chains(b);
	rule_from_guest(b, "guard", NFT_JUMP, "guest");
	guard_sender(b);
	guard_shape(b);
	guard_dns(b, node, "guest", true);
	guard_destination(b);
	forward_chains(b);
	default_allow_chain(b);
	rule_from_guest(b, "input", NFT_JUMP, "host-input");
	guard_dns(b, node, "host-input", false);
	netpol_splice_input(b, node);
	rule_always(b, "host-input", NF_DROP, NULL);
	output_chain(b, node);
	masquerade_chain(b, node);
	arp_table(b, node);
}

void netpol_remove_all(struct nft_batch *b)
{
	b->family = NFPROTO_ARP;
	nft_table_add(b);
	nft_table_del(b);
	b->family = NFPROTO_INET;
	nft_table_add(b);
	nft_table_del(b);
}
