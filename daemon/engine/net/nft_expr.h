/* SPDX-License-Identifier: Apache-2.0 */
/* nft_expr.h - rules of nftables, built into a batch
 *
 * Pure, as nft_batch.h. Addresses and ports are given in host order.
 *
 * Registers are numbered 0..15, four bytes each, as NFT_REG32_00 and up; a
 * concatenated key lies in consecutive ones, each part padded to four bytes.
 */
#ifndef ENGINE_NFT_EXPR_H
#define ENGINE_NFT_EXPR_H

#include "engine/net/nft_batch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nft_rule {
	struct nft_batch *b;
	struct nl_msg *msg;
	struct nlattr *list;
};

void nft_rule_begin(struct nft_rule *r, struct nft_batch *b, const char *chain);
void nft_rule_end(struct nft_rule *r);

/* Load: NFT_META_*, NFT_CT_*, NFT_PAYLOAD_*_HEADER. */
void nft_meta(struct nft_rule *r, uint32_t key, unsigned int reg);
void nft_payload(struct nft_rule *r, uint32_t base, uint32_t offset,
		 uint32_t len, unsigned int reg);
void nft_ct(struct nft_rule *r, uint32_t key, unsigned int reg);
/* A constant, as it lies in the register. */
void nft_load(struct nft_rule *r, unsigned int reg, const void *data,
	      uint32_t len);
/* From a register. */
void nft_ct_mark_set(struct nft_rule *r, unsigned int reg);
/* What a map leads to from the key in @reg; ends the rule if to nothing. */
void nft_map(struct nft_rule *r, unsigned int reg, const char *map,
	     unsigned int to_reg);
/* fib daddr type */
void nft_fib_daddr_type(struct nft_rule *r, unsigned int reg);
void nft_mask(struct nft_rule *r, unsigned int reg, const void *mask,
	      uint32_t len);

/* Go on with the rule only if: */
void nft_cmp(struct nft_rule *r, bool equal, unsigned int reg, const void *data,
	     uint32_t len);
void nft_range(struct nft_rule *r, unsigned int reg, const void *from,
	       const void *to, uint32_t len);
void nft_lookup(struct nft_rule *r, unsigned int reg, const char *set,
		bool invert);
/* At most so many packets a second for each key in @set, which is dynamic. */
void nft_limit_each(struct nft_rule *r, unsigned int reg, const char *set,
		    uint64_t per_s, uint32_t burst);
/* More than @count connections passed here with the key that still live. */
void nft_connections_each(struct nft_rule *r, unsigned int reg, const char *set,
			  uint32_t count);

/* Then: */
void nft_verdict(struct nft_rule *r, int code, const char *chain);
void nft_vmap(struct nft_rule *r, unsigned int reg, const char *map);
void nft_counter(struct nft_rule *r);
void nft_log(struct nft_rule *r, uint16_t group, const char *prefix,
	     uint32_t snaplen);
void nft_reject(struct nft_rule *r, uint32_t type, uint8_t code);
void nft_masquerade(struct nft_rule *r);
void nft_redirect(struct nft_rule *r, uint16_t port);
void nft_notrack(struct nft_rule *r);

/* ---- what rules often ask ---------------------------------------------- */

/* meta iifname/oifname begins with, or is. */
void nft_if_prefix(struct nft_rule *r, bool out, const char *prefix, bool not );
void nft_is_ipv4(struct nft_rule *r);
/* One byte: meta l4proto. */
void nft_l4proto(struct nft_rule *r, uint8_t proto, bool equal);
/* Interface names as set keys: 16 bytes, zero-padded. */
void nft_key_ifname(uint8_t key[16], const char *name);

#endif /* ENGINE_NFT_EXPR_H */
