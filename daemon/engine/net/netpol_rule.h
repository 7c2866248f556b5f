/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_rule.h - what several rules of the packet filter have in common */
#ifndef ENGINE_NETPOL_RULE_H
#define ENGINE_NETPOL_RULE_H

#include "engine/net/netpol_plan.h"
#include "engine/net/nft_expr.h"

#define CT_INVALID     0x1u
#define CT_ESTABLISHED 0x2u
#define CT_RELATED     0x4u

#define IP_SADDR 12
#define IP_DADDR 16

/* Into registers: destination address, destination port. */
void rule_daddr(struct nft_rule *r, unsigned int reg);
void rule_dport(struct nft_rule *r, unsigned int reg);

/* Go on only if: the IPv4 header has @address at @offset; the TCP or UDP header
 * has @port at @offset; conntrack's state is one of @any_of.
 */
void rule_address(struct nft_rule *r, uint32_t offset, uint32_t address);
void rule_port(struct nft_rule *r, uint32_t offset, uint16_t port);
void rule_ct_state(struct nft_rule *r, uint32_t any_of);

/* Go on only if the destination was learned for this group of the slot whose mark
 * the connection has.
 */
void rule_learned(struct nft_rule *r, unsigned int group);

/* Ends the rule: counted, and dropped without a word. */
void rule_drop(struct nft_rule *r);

/* Whole rules: a verdict always; for what comes from a guest's tap. */
void rule_always(struct nft_batch *b, const char *chain, int code,
		 const char *to);
void rule_from_guest(struct nft_batch *b, const char *chain, int code,
		     const char *to);
/* A new connection bears what the map has for its interface, or for its packet's
 * mark; without a map, that mark itself.
 */
void rule_ct_mark(struct nft_batch *b, const char *chain, uint32_t meta_key,
		  const char *map);
/* By the shape that @shapes has for that to a chain: two rules. The connection bears
 * the shape's number until that chain puts the slot's mark in its place.
 */
void rule_by_shape(struct nft_batch *b, const char *chain, uint32_t meta_key,
		   const char *shapes, const char *chains);
/* A verdict for what is to a range of the shape's rules with addresses, of those
 * that deny or of those that allow.
 */
void netpol_range_rules(struct nft_batch *b, const char *chain,
			const struct plan_shape *shape, bool deny, int code,
			const char *to);

#endif /* ENGINE_NETPOL_RULE_H */
