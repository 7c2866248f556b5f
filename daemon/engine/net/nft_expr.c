/* SPDX-License-Identifier: Apache-2.0 */
/* nft_expr.c - rules of nftables: expressions built into a batch (pure) */
#include "engine/net/nft_expr.h"
#include "engine/net/nft_put.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

/* ---- rules -------------------------------------------------------------- */

void nft_rule_begin(struct nft_rule *r, struct nft_batch *b, const char *chain)
{
	struct nl_msg *msg = nft_msg_new(b, NFT_MSG_NEWRULE,
					 NLM_F_CREATE | NLM_F_APPEND, 4096);

	nft_put_str(b, msg, NFTA_RULE_TABLE, NFT_TABLE_NAME);
	nft_put_str(b, msg, NFTA_RULE_CHAIN, chain);
	*r = (struct nft_rule){ .b = b, .msg = msg };
	r->list = nft_nest(b, msg, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_rule *r)
{
	nft_unnest(r->b, r->msg, r->list);
	nft_batch_add(r->b, r->msg);
	r->b->rules++;
	*r = (struct nft_rule){ 0 };
}

/* One expression, being written. */
struct expr {
	struct nft_batch *b;
	struct nl_msg *msg;
	struct nlattr *elem, *data;
};

static struct expr expr_begin(struct nft_rule *r, const char *name)
{
	struct expr x = { .b = r->b, .msg = r->msg };

	x.elem = nft_nest(x.b, x.msg, NFTA_LIST_ELEM);
	nft_put_str(x.b, x.msg, NFTA_EXPR_NAME, name);
	x.data = nft_nest(x.b, x.msg, NFTA_EXPR_DATA);
	return x;
}

static void expr_u32(struct expr *x, int type, uint32_t v)
{
	nft_put_u32(x->b, x->msg, type, v);
}

static void expr_reg(struct expr *x, int type, unsigned int reg)
{
	nft_put_u32(x->b, x->msg, type, NFT_REG32_00 + reg);
}

static void expr_data(struct expr *x, int type, const void *data, uint32_t len)
{
	nft_put_data(x->b, x->msg, type, data, len);
}

static void expr_end(struct expr *x)
{
	nft_unnest(x->b, x->msg, x->data);
	nft_unnest(x->b, x->msg, x->elem);
}

void nft_meta(struct nft_rule *r, uint32_t key, unsigned int reg)
{
	struct expr x = expr_begin(r, "meta");

	expr_u32(&x, NFTA_META_KEY, key);
	expr_reg(&x, NFTA_META_DREG, reg);
	expr_end(&x);
}

void nft_payload(struct nft_rule *r, uint32_t base, uint32_t offset,
		 uint32_t len, unsigned int reg)
{
	struct expr x = expr_begin(r, "payload");

	expr_reg(&x, NFTA_PAYLOAD_DREG, reg);
	expr_u32(&x, NFTA_PAYLOAD_BASE, base);
	expr_u32(&x, NFTA_PAYLOAD_OFFSET, offset);
	expr_u32(&x, NFTA_PAYLOAD_LEN, len);
	expr_end(&x);
}

void nft_ct(struct nft_rule *r, uint32_t key, unsigned int reg)
{
	struct expr x = expr_begin(r, "ct");

	expr_u32(&x, NFTA_CT_KEY, key);
	expr_reg(&x, NFTA_CT_DREG, reg);
	expr_end(&x);
}

void nft_load(struct nft_rule *r, unsigned int reg, const void *data,
	      uint32_t len)
{
	struct expr x = expr_begin(r, "immediate");

	expr_reg(&x, NFTA_IMMEDIATE_DREG, reg);
	expr_data(&x, NFTA_IMMEDIATE_DATA, data, len);
	expr_end(&x);
}

void nft_ct_mark_set(struct nft_rule *r, unsigned int reg)
{
	struct expr x = expr_begin(r, "ct");

	expr_u32(&x, NFTA_CT_KEY, NFT_CT_MARK);
	expr_reg(&x, NFTA_CT_SREG, reg);
	expr_end(&x);
}

void nft_fib_daddr_type(struct nft_rule *r, unsigned int reg)
{
	struct expr x = expr_begin(r, "fib");

	expr_reg(&x, NFTA_FIB_DREG, reg);
	expr_u32(&x, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	expr_u32(&x, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expr_end(&x);
}

void nft_mask(struct nft_rule *r, unsigned int reg, const void *mask,
	      uint32_t len)
{
	static const uint8_t zero[16];
	struct expr x = expr_begin(r, "bitwise");

	expr_reg(&x, NFTA_BITWISE_SREG, reg);
	expr_reg(&x, NFTA_BITWISE_DREG, reg);
	expr_u32(&x, NFTA_BITWISE_LEN, len);
	expr_data(&x, NFTA_BITWISE_MASK, mask, len);
	expr_data(&x, NFTA_BITWISE_XOR, zero, len);
	expr_end(&x);
}

void nft_cmp(struct nft_rule *r, bool equal, unsigned int reg, const void *data,
	     uint32_t len)
{
	struct expr x = expr_begin(r, "cmp");

	expr_reg(&x, NFTA_CMP_SREG, reg);
	expr_u32(&x, NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
	expr_data(&x, NFTA_CMP_DATA, data, len);
	expr_end(&x);
}

void nft_range(struct nft_rule *r, unsigned int reg, const void *from,
	       const void *to, uint32_t len)
{
	struct expr x = expr_begin(r, "range");

	expr_reg(&x, NFTA_RANGE_SREG, reg);
	expr_u32(&x, NFTA_RANGE_OP, NFT_RANGE_EQ);
	expr_data(&x, NFTA_RANGE_FROM_DATA, from, len);
	expr_data(&x, NFTA_RANGE_TO_DATA, to, len);
	expr_end(&x);
}

void nft_lookup(struct nft_rule *r, unsigned int reg, const char *set,
		bool invert)
{
	struct expr x = expr_begin(r, "lookup");

	nft_put_str(x.b, x.msg, NFTA_LOOKUP_SET, set);
	expr_reg(&x, NFTA_LOOKUP_SREG, reg);
	if (invert)
		expr_u32(&x, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	expr_end(&x);
}

void nft_map(struct nft_rule *r, unsigned int reg, const char *map,
	     unsigned int to_reg)
{
	struct expr x = expr_begin(r, "lookup");

	nft_put_str(x.b, x.msg, NFTA_LOOKUP_SET, map);
	expr_reg(&x, NFTA_LOOKUP_SREG, reg);
	expr_reg(&x, NFTA_LOOKUP_DREG, to_reg);
	expr_end(&x);
}

void nft_vmap(struct nft_rule *r, unsigned int reg, const char *map)
{
	struct expr x = expr_begin(r, "lookup");

	nft_put_str(x.b, x.msg, NFTA_LOOKUP_SET, map);
	expr_reg(&x, NFTA_LOOKUP_SREG, reg);
	expr_u32(&x, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
	expr_end(&x);
}

/* In a dynamic set: what each of its elements counts by. */
struct each {
	struct expr dynset, inner;
};

static struct each each_begin(struct nft_rule *r, unsigned int reg,
			      const char *set, const char *inner)
{
	struct each e = { .dynset = expr_begin(r, "dynset") };

	nft_put_str(r->b, r->msg, NFTA_DYNSET_SET_NAME, set);
	expr_u32(&e.dynset, NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
	expr_reg(&e.dynset, NFTA_DYNSET_SREG_KEY, reg);
	e.inner = (struct expr){ .b = r->b, .msg = r->msg };
	e.inner.elem = nft_nest(r->b, r->msg, NFTA_DYNSET_EXPR);
	nft_put_str(r->b, r->msg, NFTA_EXPR_NAME, inner);
	e.inner.data = nft_nest(r->b, r->msg, NFTA_EXPR_DATA);
	return e;
}

static void each_end(struct each *e)
{
	expr_end(&e->inner);
	expr_end(&e->dynset);
}

void nft_limit_each(struct nft_rule *r, unsigned int reg, const char *set,
		    uint64_t per_s, uint32_t burst)
{
	struct each e = each_begin(r, reg, set, "limit");

	nft_put_limit(r->b, r->msg,
		      &(struct nft_limit){ .per_s = per_s, .burst = burst },
		      false);
	each_end(&e);
}

void nft_connections_each(struct nft_rule *r, unsigned int reg, const char *set,
			  uint32_t count)
{
	struct each e = each_begin(r, reg, set, "connlimit");

	expr_u32(&e.inner, NFTA_CONNLIMIT_COUNT, count);
	expr_u32(&e.inner, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	each_end(&e);
}

void nft_verdict(struct nft_rule *r, int code, const char *chain)
{
	struct expr x = expr_begin(r, "immediate");

	expr_u32(&x, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	nft_put_verdict(x.b, x.msg, NFTA_IMMEDIATE_DATA, code, chain);
	expr_end(&x);
}

void nft_counter(struct nft_rule *r)
{
	struct expr x = expr_begin(r, "counter");

	expr_end(&x);
}

void nft_log(struct nft_rule *r, uint16_t group, const char *prefix,
	     uint32_t snaplen)
{
	struct expr x = expr_begin(r, "log");
	uint16_t be = htons(group);

	nft_put(x.b, x.msg, NFTA_LOG_GROUP, &be, sizeof(be));
	nft_put_str(x.b, x.msg, NFTA_LOG_PREFIX, prefix);
	expr_u32(&x, NFTA_LOG_SNAPLEN, snaplen);
	expr_end(&x);
}

void nft_reject(struct nft_rule *r, uint32_t type, uint8_t code)
{
	struct expr x = expr_begin(r, "reject");

	expr_u32(&x, NFTA_REJECT_TYPE, type);
	nft_put(x.b, x.msg, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
	expr_end(&x);
}

void nft_masquerade(struct nft_rule *r)
{
	struct expr x = expr_begin(r, "masq");

	expr_end(&x);
}

void nft_redirect(struct nft_rule *r, uint16_t port)
{
	struct expr x;
	uint16_t be = htons(port);

	nft_load(r, 0, &be, sizeof(be));
	x = expr_begin(r, "redir");
	expr_reg(&x, NFTA_REDIR_REG_PROTO_MIN, 0);
	expr_u32(&x, NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
	expr_end(&x);
}

void nft_notrack(struct nft_rule *r)
{
	struct expr x = expr_begin(r, "notrack");

	expr_end(&x);
}

/* ---- what rules often ask ----------------------------------------------- */

void nft_if_prefix(struct nft_rule *r, bool out, const char *prefix, bool not )
{
	nft_meta(r, out ? NFT_META_OIFNAME : NFT_META_IIFNAME, 0);
	nft_cmp(r, !not, 0, prefix, (uint32_t)strlen(prefix));
}

void nft_is_ipv4(struct nft_rule *r)
{
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_meta(r, NFT_META_NFPROTO, 0);
	nft_cmp(r, true, 0, &ipv4, sizeof(ipv4));
}

void nft_l4proto(struct nft_rule *r, uint8_t proto, bool equal)
{
	nft_meta(r, NFT_META_L4PROTO, 0);
	nft_cmp(r, equal, 0, &proto, sizeof(proto));
}

void nft_key_ifname(uint8_t key[16], const char *name)
{
	memset(key, 0, IFNAMSIZ);
	memcpy(key, name, strnlen(name, IFNAMSIZ - 1));
}
