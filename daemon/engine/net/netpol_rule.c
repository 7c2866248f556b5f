/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_rule.c - what several rules of the packet filter have in common */
#include "engine/net/netpol_rule.h"

#include "engine/net/netpol.h"
#include "engine/net/tap.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

void rule_daddr(struct nft_rule *r, unsigned int reg)
{
	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, IP_DADDR, 4, reg);
}

void rule_dport(struct nft_rule *r, unsigned int reg)
{
	nft_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg);
}

void rule_address(struct nft_rule *r, uint32_t offset, uint32_t address)
{
	uint32_t be = htonl(address);

	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, 0);
	nft_cmp(r, true, 0, &be, sizeof(be));
}

void rule_port(struct nft_rule *r, uint32_t offset, uint16_t port)
{
	uint16_t be = htons(port);

	nft_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, 0);
	nft_cmp(r, true, 0, &be, sizeof(be));
}

void rule_ct_state(struct nft_rule *r, uint32_t any_of)
{
	uint32_t zero = 0;

	nft_ct(r, NFT_CT_STATE, 0);
	nft_mask(r, 0, &any_of, sizeof(any_of));
	nft_cmp(r, false, 0, &zero, sizeof(zero));
}

void rule_learned(struct nft_rule *r, unsigned int group)
{
	uint32_t host_order = group;

	nft_ct(r, NFT_CT_MARK, 0);
	nft_load(r, 1, &host_order, sizeof(host_order));
	rule_daddr(r, 2);
	nft_lookup(r, 0, NETPOL_LEARNED, false);
}

/* A rule that is only a verdict. */
void rule_always(struct nft_batch *b, const char *chain, int code,
		 const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

void rule_from_guest(struct nft_batch *b, const char *chain, int code,
		     const char *to)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_if_prefix(&r, false, TAP_PREFIX, false);
	nft_verdict(&r, code, to);
	nft_rule_end(&r);
}

/* nft prints a rule that looks up in one map what another has for an interface only
 * if a mark is between them. Of a connection that is refused nothing is kept.
 */
void rule_ct_mark(struct nft_batch *b, const char *chain, uint32_t meta_key,
		  const char *map)
{
	struct nft_rule r;

	nft_rule_begin(&r, b, chain);
	nft_meta(&r, meta_key, 0);
	if (map)
		nft_map(&r, 0, map, 0);
	nft_ct_mark_set(&r, 0);
	nft_rule_end(&r);
}

void rule_by_shape(struct nft_batch *b, const char *chain, uint32_t meta_key,
		   const char *shapes, const char *chains)
{
	struct nft_rule r;

	rule_ct_mark(b, chain, meta_key, shapes);
	nft_rule_begin(&r, b, chain);
	nft_ct(&r, NFT_CT_MARK, 0);
	nft_vmap(&r, 0, chains);
	nft_rule_end(&r);
}

/* One look-up for each pair of lengths. What is neither TCP nor UDP is in no
 * element.
 */
void netpol_range_rules(struct nft_batch *b, const char *chain,
			const struct plan_shape *shape, bool deny, int code,
			const char *to)
{
	const struct plan_length *lengths =
		shape->lengths + (deny ? shape->n_allow : 0);

	for (size_t i = 0; i < (deny ? shape->n_deny : shape->n_allow); i++) {
		uint32_t group = netpol_range_group(deny, lengths[i]);
		uint32_t address = htonl(plan_address_mask(lengths[i]));
		uint16_t port = htons(plan_port_mask(lengths[i]));
		struct nft_rule r;

		nft_rule_begin(&r, b, chain);
		nft_ct(&r, NFT_CT_MARK, 0);
		nft_load(&r, 1, &group, sizeof(group));
		rule_daddr(&r, 2);
		if (lengths[i].address < 32)
			nft_mask(&r, 2, &address, sizeof(address));
		nft_meta(&r, NFT_META_L4PROTO, 3);
		rule_dport(&r, 4);
		if (lengths[i].port < 16)
			nft_mask(&r, 4, &port, sizeof(port));
		nft_lookup(&r, 0, NETPOL_RANGES, false);
		nft_verdict(&r, code, to);
		nft_rule_end(&r);
	}
}

void rule_drop(struct nft_rule *r)
{
	nft_counter(r);
	nft_verdict(r, NF_DROP, NULL);
	nft_rule_end(r);
}
