/* SPDX-License-Identifier: Apache-2.0 */
/* netpol.c - the node's packet filter as nftables batches (pure)
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
 *            connection it opened; from a guest by its slot's chain.
 *   s<N>     one a slot: flows that live pass; a new one must come back from
 *            the policy's chain (p<N>, or "default-allow" when there are no
 *            rules), then is counted against the slot's limit, marked and
 *            accepted. p<N>: deny set, allow set, learned sets, default.
 *   input    only DNS; a second wall behind the guard.
 *
 * The number of rules that a packet meets does not grow with the number of
 * slots: chains are found by interface in verdict maps. A slot is replaced in
 * one transaction.
 *
 * Refusing is the end of a "deny-" chain: a log message to the resolver's group
 * (so many a second for each interface), a count, and an answer: TCP reset or
 * ICMP "administratively prohibited", so that programs fail at once.
 *
 * ARP is a table of its own: only questions for the gateway from the slot's MAC
 * and address. The kernel would remember any sender otherwise.
 */
#include "engine/netpol.h"

#include "base/mem.h"
#include "engine/nft_expr.h"
#include "engine/tap.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRIORITY_GUARD	(-290) /* after defragmentation, before conntrack */
#define PRIORITY_RAW	(-300)
#define PRIORITY_FILTER (-10) /* before other programs' 0 */
#define PRIORITY_SRCNAT 100
#define LOG_PER_S	10
#define LOG_BURST	20
#define LOG_SNAPLEN	64
#define LOG_FORGET_MS	60000
#define BURST_BYTES_MIN (64u << 10)

#define CT_ESTABLISHED 0x2u
#define CT_RELATED     0x4u
#define CT_INVALID     0x1u

#define IP_SADDR 12
#define IP_DADDR 16

const struct netpol_keyed netpol_keyed_sets[] = {
	{ "bind", NFPROTO_INET },	  { "slots", NFPROTO_INET },
	{ "limits-from", NFPROTO_INET },  { "limits-to", NFPROTO_INET },
	{ NETPOL_ALLOWED, NFPROTO_INET }, { NETPOL_DENIED, NFPROTO_INET },
	{ "bind", NFPROTO_ARP },	  { NULL, 0 },
};

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

static void slot_name(char ret[32], char letter, uint32_t number)
{
	snprintf(ret, 32, "%c%u", letter, number);
}

void netpol_group_name(char ret[32], uint32_t number, unsigned int group)
{
	snprintf(ret, 32, "l%ug%u", number, group);
}

/* ---- small rules -------------------------------------------------------- */

static void daddr(struct nft_rule *r, unsigned int reg)
{
	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, reg);
}

static void dport(struct nft_rule *r, unsigned int reg)
{
	nft_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg);
}

static void is_address(struct nft_rule *r, uint32_t offset, uint32_t address)
{
	uint32_t be = htonl(address);

	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, 0);
	nft_cmp(r, true, 0, &be, sizeof(be));
}

static void is_port(struct nft_rule *r, uint32_t offset, uint16_t port)
{
	uint16_t be = htons(port);

	nft_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, 0);
	nft_cmp(r, true, 0, &be, sizeof(be));
}

static void ct_state(struct nft_rule *r, uint32_t any_of)
{
	uint32_t zero = 0;

	nft_ct(r, NFT_CT_STATE, 0);
	nft_mask(r, 0, &any_of, sizeof(any_of));
	nft_cmp(r, false, 0, &zero, sizeof(zero));
}

/* A rule that is only a verdict. */
static void always(struct nft_batch *b, const char *chain, int code,
		   const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

static void from_guest(struct nft_batch *b, const char *chain, int code,
		       const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_if_prefix(&r, false, TAP_PREFIX, false);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

/* A map of interfaces to chains of slots. */
static void by_interface(struct nft_batch *b, const char *chain, bool out,
			 const char *map)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_meta(&r, out ? NFT_META_OIFNAME : NFT_META_IIFNAME, 0);
	nft_vmap(&r, 0, map);
	nft_rule_end(&r);
}

static void drop_counted(struct nft_rule *r)
{
	nft_counter(r);
	nft_verdict(r, NF_DROP, NULL);
	nft_rule_end(r);
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
	always(b, chain, NFT_GOTO, "refuse");
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

/* ---- base: guard -------------------------------------------------------- */

static void guard_sender(struct nft_batch *b)
{
	struct nft_rule r;
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_NFPROTO, 0);
	nft_cmp(&r, false, 0, &ipv4, sizeof(ipv4));
	drop_counted(&r);
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_payload(&r, NFT_PAYLOAD_LL_HEADER, 6, 6, 4);
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, IP_SADDR, 4, 6);
	nft_lookup(&r, 0, "bind", true);
	drop_counted(&r);
	by_interface(b, "guest", false, "limits-from");
}

static void guard_dns(struct nft_batch *b, const struct netpol_node *node,
		      const char *chain, bool notrack)
{
	static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };

	for (size_t i = 0; i < 2; i++) {
		struct nft_rule r;

		nft_rule_begin(&r, b, chain);
		is_address(&r, IP_DADDR, node->gateway);
		nft_l4proto(&r, protocols[i], true);
		is_port(&r, 2, NETPOL_DNS_PORT);
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
	drop_counted(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 0);
	nft_mask(&r, 0, frag_mask, 2);
	nft_cmp(&r, false, 0, none, 2);
	drop_counted(&r);
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
	daddr(&r, 0);
	nft_vmap(&r, 0, "hard");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "guest");
	nft_fib_daddr_type(&r, 0);
	nft_cmp(&r, false, 0, &unicast, sizeof(unicast));
	nft_verdict(&r, NFT_GOTO, "deny-broadcast");
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_L4PROTO, 0);
	dport(&r, 1);
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
	from_guest(b, "forward", NFT_JUMP, "from-guest");
	from_guest(b, "forward", NF_DROP, NULL);

	by_interface(b, "to-guest", true, "limits-to");
	nft_rule_begin(&r, b, "to-guest");
	ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	nft_rule_begin(&r, b, "to-guest");
	drop_counted(&r);

	nft_rule_begin(&r, b, "from-guest");
	ct_state(&r, CT_INVALID);
	drop_counted(&r);
	by_interface(b, "from-guest", false, "slots");
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
	daddr(&r, 0);
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
		is_address(&r, IP_SADDR, node->gateway);
		nft_l4proto(&r, protocols[i], true);
		is_port(&r, 0, NETPOL_DNS_PORT);
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
	static const struct nft_set_spec sets[] = {
		{ .name = "bind", .n_types = 3, .types = { NFT_TYPE_IFNAME,
		  NFT_TYPE_ETHER, NFT_TYPE_ADDRESS } },
		{ .name = "slots", .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = "limits-from", .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = "limits-to", .n_types = 1, .verdicts = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_ALLOWED, .n_types = 1, .counter = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = NETPOL_DENIED, .n_types = 1, .counter = true,
		  .types = { NFT_TYPE_IFNAME } },
		{ .name = "log-rate", .n_types = 1, .dynamic = true,
		  .timeout = true, .timeout_ms = LOG_FORGET_MS,
		  .size = 2 * SLOT_MAX, .types = { NFT_TYPE_IFNAME } },
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
	from_guest(b, "input", NFT_JUMP, "guest");
	nft_rule_begin(&r, b, "guest");
	nft_meta(&r, NFT_META_IIFNAME, 0);
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, 4);
	nft_lookup(&r, 0, "bind", true);
	drop_counted(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 0);
	nft_cmp(&r, false, 0, &request, sizeof(request));
	drop_counted(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 8, 6, 0);
	nft_cmp(&r, false, 0, node->guest_mac, sizeof(node->guest_mac));
	drop_counted(&r);
	nft_rule_begin(&r, b, "guest");
	nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, 24, 4, 0);
	nft_cmp(&r, false, 0, &gateway, sizeof(gateway));
	drop_counted(&r);
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
	}
	add_ranges(b, node);
	add_resolvers(b);
	deny_chains(b);
	from_guest(b, "guard", NFT_JUMP, "guest");
	guard_sender(b);
	guard_shape(b);
	guard_dns(b, node, "guest", true);
	guard_destination(b);
	forward_chains(b);
	default_allow_chain(b);
	from_guest(b, "input", NFT_JUMP, "host-input");
	guard_dns(b, node, "host-input", false);
	always(b, "host-input", NF_DROP, NULL);
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

/* ---- one slot ----------------------------------------------------------- */

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

static void slot_elems(struct nft_batch *b, bool add,
		       const struct netpol_node *node, const struct slot *slot)
{
	struct slot_keys k;
	char chain[32];

	make_keys(node, slot, &k);
	slot_name(chain, 's', slot->number);
	one_elem(b, add, "bind", k.bind, sizeof(k.bind), NULL, false);
	one_elem(b, add, NETPOL_ALLOWED, k.name, 16, NULL, false);
	one_elem(b, add, NETPOL_DENIED, k.name, 16, NULL, false);
	one_elem(b, add, "slots", k.name, 16, chain, false);
	b->family = NFPROTO_ARP;
	one_elem(b, add, "bind", k.arp, sizeof(k.arp), NULL, false);
	b->family = NFPROTO_INET;
}

static void limit_elems(struct nft_batch *b, bool add, const struct slot *slot)
{
	uint8_t key[16];
	char from[32], to[32];

	nft_key_ifname(key, slot->tap);
	slot_name(from, 'r', slot->number);
	slot_name(to, 'w', slot->number);
	one_elem(b, add, "limits-from", key, 16, from, true);
	one_elem(b, add, "limits-to", key, 16, to, true);
}

static void limit_bandwidth(struct nft_batch *b, const char *chain,
			    uint32_t mbps)
{
	uint64_t bytes = (uint64_t)mbps * 125000;
	uint64_t burst = bytes / 10;
	struct nft_rule r;

	if (burst < BURST_BYTES_MIN)
		burst = BURST_BYTES_MIN;
	if (burst > UINT32_MAX)
		burst = UINT32_MAX;
	nft_rule_begin(&r, b, chain);
	nft_limit_bytes(&r, bytes, (uint32_t)burst, true);
	drop_counted(&r);
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

	slot_name(from, 'r', slot->number);
	slot_name(to, 'w', slot->number);
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
		drop_counted(&r);
	}
	if (plan->limits.bandwidth_mbps) {
		limit_bandwidth(b, from, plan->limits.bandwidth_mbps);
		limit_bandwidth(b, to, plan->limits.bandwidth_mbps);
	}
}

static void limit_chains_del(struct nft_batch *b, uint32_t number)
{
	char name[32];

	slot_name(name, 'r', number);
	nft_chain_del(b, name);
	slot_name(name, 'w', number);
	nft_chain_del(b, name);
}

static void boxes_set(struct nft_batch *b, const char *name,
		      const struct plan_box *boxes, size_t n)
{
	const struct nft_set_spec spec = {
		.name = name,
		.n_types = 3,
		.interval = true,
		.types = { NFT_TYPE_ADDRESS, NFT_TYPE_PROTO, NFT_TYPE_PORT }
	};
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
	nft_set_add(b, &spec);
	nft_elems_add(b, name, elems, n);
	free(keys);
	free(elems);
}

static void boxes_rule(struct nft_batch *b, const char *chain, const char *set,
		       int code, const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	daddr(&r, 0);
	nft_meta(&r, NFT_META_L4PROTO, 1);
	dport(&r, 2);
	nft_lookup(&r, 0, set, false);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

static void group_set(struct nft_batch *b, const char *name)
{
	const struct nft_set_spec spec = { .name = name,
					   .n_types = 1,
					   .timeout = true,
					   .types = { NFT_TYPE_ADDRESS } };

	nft_set_add(b, &spec);
}

static void group_rules(struct nft_batch *b, const char *chain, const char *set,
			const struct plan_group *g)
{
	for (unsigned int p = PLAN_TCP; p <= PLAN_UDP; p <<= 1) {
		if (!(g->protocols & p))
			continue;
		for (size_t i = 0; i < g->n_ports; i++) {
			uint16_t first = htons(g->ports[i].first);
			uint16_t last = htons(g->ports[i].last);
			struct nft_rule r;

			nft_rule_begin(&r, b, chain);
			nft_l4proto(&r,
				    p == PLAN_TCP ? IPPROTO_TCP : IPPROTO_UDP,
				    true);
			dport(&r, 0);
			if (first == last)
				nft_cmp(&r, true, 0, &first, 2);
			else
				nft_range(&r, 0, &first, &last, 2);
			daddr(&r, 0);
			nft_lookup(&r, 0, set, false);
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

	slot_name(chain, 'p', slot->number);
	nft_chain_add(b, chain);
	have->policy = true;
	if (plan->n_deny) {
		slot_name(name, 'x', slot->number);
		boxes_set(b, name, plan->deny, plan->n_deny);
		boxes_rule(b, chain, name, NFT_GOTO, "deny-rule");
		have->deny = true;
	}
	if (plan->n_allow) {
		slot_name(name, 'a', slot->number);
		boxes_set(b, name, plan->allow, plan->n_allow);
		boxes_rule(b, chain, name, NFT_RETURN, NULL);
		have->allow = true;
	}
	for (unsigned int g = 0; g < plan->n_groups; g++) {
		netpol_group_name(name, slot->number, g);
		group_set(b, name);
		group_rules(b, chain, name, &plan->groups[g]);
		have->groups |= 1u << g;
	}
	always(b, chain, NFT_GOTO,
	       plan->default_allow ? "default-allow" : "deny-default");
}

static void slot_chain(struct nft_batch *b, const struct slot *slot,
		       const struct plan *plan)
{
	char chain[32], policy[32];
	uint8_t key[16];
	struct nft_rule r;

	slot_name(chain, 's', slot->number);
	slot_name(policy, 'p', slot->number);
	nft_key_ifname(key, slot->tap);
	nft_rule_begin(&r, b, chain);
	ct_state(&r, CT_ESTABLISHED | CT_RELATED);
	nft_verdict(&r, NF_ACCEPT, NULL);
	nft_rule_end(&r);
	if (!plan->open) {
		always(b, chain, NFT_GOTO, "deny-default");
		return;
	}
	if (has_rules(plan))
		always(b, chain, NFT_JUMP, policy);
	else if (plan->default_allow)
		always(b, chain, NFT_JUMP, "default-allow");
	else
		always(b, chain, NFT_GOTO, "deny-default");
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

/* All but the slot's own chain, its elements and its limits. That chain has no
 * rule left that leads here.
 */
static void policy_del(struct nft_batch *b, uint32_t number,
		       struct netpol_objects *have)
{
	char name[32];

	if (have->policy) {
		slot_name(name, 'p', number);
		nft_chain_del(b, name);
	}
	if (have->allow) {
		slot_name(name, 'a', number);
		nft_set_del(b, name);
	}
	if (have->deny) {
		slot_name(name, 'x', number);
		nft_set_del(b, name);
	}
	for (unsigned int g = 0; g < 32; g++) {
		if (!(have->groups & 1u << g))
			continue;
		netpol_group_name(name, number, g);
		nft_set_del(b, name);
	}
	have->policy = have->allow = have->deny = false;
	have->groups = 0;
}

void netpol_slot(struct nft_batch *b, const struct netpol_node *node,
		 const struct slot *slot, const struct plan *plan,
		 struct netpol_objects *have)
{
	char chain[32];

	b->family = NFPROTO_INET;
	slot_name(chain, 's', slot->number);
	if (have->slot)
		nft_chain_flush(b, chain);
	else
		nft_chain_add(b, chain);
	policy_del(b, slot->number, have);
	if (has_limits(plan))
		limit_chains(b, slot, plan, have->limits);
	else if (have->limits) {
		limit_elems(b, false, slot);
		limit_chains_del(b, slot->number);
	}
	have->limits = has_limits(plan);
	if (plan->open && has_rules(plan))
		policy_chain(b, slot, plan, have);
	slot_chain(b, slot, plan);
	slot_elems(b, true, node, slot);
	have->slot = true;
}

void netpol_slot_del(struct nft_batch *b, const struct netpol_node *node,
		     const struct slot *slot, struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	if (have->limits)
		limit_elems(b, false, slot);
	if (have->slot)
		slot_elems(b, false, node, slot);
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
		slot_name(chain, 's', number);
		nft_chain_del(b, chain);
	}
	policy_del(b, number, have);
	*have = (struct netpol_objects){ 0 };
}

/* ---- learned addresses -------------------------------------------------- */

/* Adding what is there does not refresh it, and deleting what is absent fails
 * the batch; but add, delete, add is always right.
 */
void netpol_learn(struct nft_batch *b, uint32_t number, unsigned int group,
		  uint32_t address, uint64_t timeout_ms, const char *name,
		  bool there)
{
	uint32_t key = htonl(address);
	struct nft_elem e = { .key = (uint8_t *)&key,
			      .key_len = sizeof(key),
			      .timeout_ms = timeout_ms };
	char set[32];

	netpol_group_name(set, number, group);
	if (there) {
		nft_elems_add(b, set, &e, 1);
		nft_elems_del(b, set, &e, 1);
	}
	e.comment = name;
	nft_elems_add(b, set, &e, 1);
}

void netpol_forget(struct nft_batch *b, uint32_t number, unsigned int group,
		   uint32_t address)
{
	uint32_t key = htonl(address);
	struct nft_elem e = { .key = (uint8_t *)&key,
			      .key_len = sizeof(key),
			      .timeout_ms = 1000 };
	char set[32];

	netpol_group_name(set, number, group);
	nft_elems_add(b, set, &e, 1);
	nft_elems_del(b, set, &e, 1);
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
	uint32_t number, group;

	if (!name[0] || !parse_number(&s, n, &number))
		return false;
	if (name[0] == 'l' && *s++ == 'g' && parse_number(&s, 32, &group) &&
	    !*s) {
		slots[number].groups |= 1u << group;
		return true;
	}
	if (*s)
		return false;
	if (name[0] == 'a')
		slots[number].allow = true;
	else if (name[0] == 'x')
		slots[number].deny = true;
	else
		return false;
	return true;
}
