/* SPDX-License-Identifier: Apache-2.0 */
/* nft_expr.c - nftables messages and rule expressions, built into a batch
 *
 * libnl knows no nf_tables objects, so each message is put together from its
 * attributes here. Integers in attributes are big-endian; registers hold data
 * as the packet has it (network order) or, for marks and interface types, in
 * host order.
 *
 * A put that fails (the message is full, memory is out) sets b->failed, and
 * everything after it does nothing: the caller checks once, in nft_commit().
 */
#include "engine/nft_expr.h"

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

/* A message with this many bytes of elements is full (an attribute holds at
 * most 64 KiB), and one element is never larger than a few hundred bytes.
 */
#define ELEMS_BYTES_MAX 32768
#define MESSAGE_ROOM	49152
#define GC_INTERVAL_MS	60000 /* expired elements never match before either */
#define BATCH_MAX	(64u << 20)

/* ---- the batch ---------------------------------------------------------- */

void nft_batch_init(struct nft_batch *b, uint8_t family)
{
	*b = (struct nft_batch){ .family = family };
}

void nft_batch_fini(struct nft_batch *b)
{
	free(b->data);
	*b = (struct nft_batch){ 0 };
}

static struct nl_msg *msg_new(struct nft_batch *b, int type, int flags,
			      size_t room)
{
	struct nfgenmsg nfg = { .nfgen_family = b->family,
				.version = NFNETLINK_V0 };
	struct nl_msg *msg = NULL;

	if (!b->failed)
		msg = nlmsg_alloc_size(room);
	if (!msg ||
	    !nlmsg_put(msg, 0, 0, NFNL_SUBSYS_NFTABLES << 8 | type, 0,
		       NLM_F_REQUEST | flags) ||
	    nlmsg_append(msg, &nfg, sizeof(nfg), NLMSG_ALIGNTO) < 0) {
		b->failed = true;
		nlmsg_free(msg);
		return NULL;
	}
	return msg;
}

/* Consumes @msg. */
static void batch_add(struct nft_batch *b, struct nl_msg *msg)
{
	struct nlmsghdr *nh = msg ? nlmsg_hdr(msg) : NULL;
	size_t need = nh ? NLMSG_ALIGN(nh->nlmsg_len) : 0;

	if (!b->failed && nh) {
		if (need > BATCH_MAX - b->len)
			b->failed = true;
		while (!b->failed && need > b->room - b->len) {
			b->room = b->room ? b->room * 2 : 8192;
			b->data = xrealloc(b->data, b->room, 1);
		}
	}
	if (!b->failed && nh) {
		memset(b->data + b->len, 0, need);
		memcpy(b->data + b->len, nh, nh->nlmsg_len);
		b->len += need;
		b->messages++;
	}
	nlmsg_free(msg);
}

static void put(struct nft_batch *b, struct nl_msg *msg, int type,
		const void *data, size_t len)
{
	if (msg && nla_put(msg, type, (int)len, data) < 0)
		b->failed = true;
}

static void put_str(struct nft_batch *b, struct nl_msg *msg, int type,
		    const char *s)
{
	put(b, msg, type, s, strlen(s) + 1);
}

static void put_u32(struct nft_batch *b, struct nl_msg *msg, int type,
		    uint32_t v)
{
	uint32_t be = htonl(v);

	put(b, msg, type, &be, sizeof(be));
}

static void put_u64(struct nft_batch *b, struct nl_msg *msg, int type,
		    uint64_t v)
{
	uint64_t be = htobe64(v);

	put(b, msg, type, &be, sizeof(be));
}

static struct nlattr *nest(struct nft_batch *b, struct nl_msg *msg, int type)
{
	struct nlattr *a = msg ? nla_nest_start(msg, type) : NULL;

	if (!a)
		b->failed = true;
	return a;
}

static void unnest(struct nft_batch *b, struct nl_msg *msg, struct nlattr *a)
{
	if (msg && a && nla_nest_end_keep_empty(msg, a) < 0)
		b->failed = true;
}

/* ---- tables, chains, sets ----------------------------------------------- */

static void table_msg(struct nft_batch *b, int type, int flags)
{
	struct nl_msg *msg = msg_new(b, type, flags, 256);

	put_str(b, msg, NFTA_TABLE_NAME, NFT_TABLE_NAME);
	batch_add(b, msg);
}

void nft_table_add(struct nft_batch *b)
{
	table_msg(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
}

void nft_table_del(struct nft_batch *b)
{
	table_msg(b, NFT_MSG_DELTABLE, 0);
}

static struct nl_msg *named_msg(struct nft_batch *b, int type, int flags,
				int table_attr, int name_attr, const char *name)
{
	struct nl_msg *msg = msg_new(b, type, flags, 512);

	put_str(b, msg, table_attr, NFT_TABLE_NAME);
	put_str(b, msg, name_attr, name);
	return msg;
}

void nft_chain_add(struct nft_batch *b, const char *name)
{
	batch_add(b, named_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE,
			       NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name));
}

void nft_chain_add_base(struct nft_batch *b, const char *name, const char *type,
			uint32_t hook, int32_t priority)
{
	struct nl_msg *msg = named_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE,
				       NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name);
	struct nlattr *a = nest(b, msg, NFTA_CHAIN_HOOK);

	put_u32(b, msg, NFTA_HOOK_HOOKNUM, hook);
	put_u32(b, msg, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	unnest(b, msg, a);
	put_u32(b, msg, NFTA_CHAIN_POLICY, NF_ACCEPT);
	put_str(b, msg, NFTA_CHAIN_TYPE, type);
	batch_add(b, msg);
}

/* Deleting rules without saying which one deletes all. */
void nft_chain_flush(struct nft_batch *b, const char *name)
{
	batch_add(b, named_msg(b, NFT_MSG_DELRULE, 0, NFTA_RULE_TABLE,
			       NFTA_RULE_CHAIN, name));
}

void nft_chain_del(struct nft_batch *b, const char *name)
{
	batch_add(b, named_msg(b, NFT_MSG_DELCHAIN, 0, NFTA_CHAIN_TABLE,
			       NFTA_CHAIN_NAME, name));
}

static uint32_t type_len(enum nft_type type)
{
	switch (type) {
	case NFT_TYPE_ADDRESS:
		return 4;
	case NFT_TYPE_ETHER:
		return 6;
	case NFT_TYPE_PROTO:
		return 1;
	case NFT_TYPE_PORT:
		return 2;
	case NFT_TYPE_MARK:
		return 4;
	case NFT_TYPE_IFNAME:
		return IFNAMSIZ;
	}
	return 0;
}

static uint32_t pad4(uint32_t len)
{
	return (len + 3) & ~3u;
}

static uint32_t set_flags(const struct nft_set_spec *s)
{
	uint32_t flags = 0;

	if (s->interval)
		flags |= NFT_SET_INTERVAL;
	if (s->verdicts)
		flags |= NFT_SET_MAP;
	if (s->timeout)
		flags |= NFT_SET_TIMEOUT;
	if (s->dynamic)
		flags |= NFT_SET_EVAL;
	if (s->n_types > 1)
		flags |= NFT_SET_CONCAT;
	return flags;
}

static void put_desc(struct nft_batch *b, struct nl_msg *msg,
		     const struct nft_set_spec *s)
{
	struct nlattr *desc, *list, *field;

	if (!s->size && s->n_types == 1)
		return;
	desc = nest(b, msg, NFTA_SET_DESC);
	if (s->size)
		put_u32(b, msg, NFTA_SET_DESC_SIZE, s->size);
	if (s->n_types > 1) {
		list = nest(b, msg, NFTA_SET_DESC_CONCAT);
		for (size_t i = 0; i < s->n_types; i++) {
			field = nest(b, msg, NFTA_LIST_ELEM);
			put_u32(b, msg, NFTA_SET_FIELD_LEN,
				type_len(s->types[i]));
			unnest(b, msg, field);
		}
		unnest(b, msg, list);
	}
	unnest(b, msg, desc);
}

static void put_expr_counter(struct nft_batch *b, struct nl_msg *msg, int type)
{
	struct nlattr *a = nest(b, msg, type);

	put_str(b, msg, NFTA_EXPR_NAME, "counter");
	unnest(b, msg, a);
}

void nft_set_add(struct nft_batch *b, const struct nft_set_spec *s)
{
	struct nl_msg *msg = named_msg(b, NFT_MSG_NEWSET, NLM_F_CREATE,
				       NFTA_SET_TABLE, NFTA_SET_NAME, s->name);
	uint32_t key_type = 0, key_len = 0;

	for (size_t i = 0; i < s->n_types; i++) {
		key_type = key_type << 6 | s->types[i];
		key_len += s->n_types > 1 ? pad4(type_len(s->types[i]))
					  : type_len(s->types[i]);
	}
	put_u32(b, msg, NFTA_SET_FLAGS, set_flags(s));
	put_u32(b, msg, NFTA_SET_KEY_TYPE, key_type);
	put_u32(b, msg, NFTA_SET_KEY_LEN, key_len);
	if (s->verdicts)
		put_u32(b, msg, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
	/* Found by its name, but the kernel wants a number as well. */
	put_u32(b, msg, NFTA_SET_ID, b->messages + 1);
	if (s->timeout) {
		if (s->timeout_ms)
			put_u64(b, msg, NFTA_SET_TIMEOUT, s->timeout_ms);
		put_u32(b, msg, NFTA_SET_GC_INTERVAL, GC_INTERVAL_MS);
	}
	put_desc(b, msg, s);
	/* Only so that nft prints names, and not as big-endian numbers. */
	if (s->n_types == 1 && (s->types[0] == NFT_TYPE_IFNAME ||
				s->types[0] == NFT_TYPE_MARK)) {
		struct {
			uint8_t type, len;
			uint8_t host_endian[4];
		} user = { 0, 4, { 1, 0, 0, 0 } };

		put(b, msg, NFTA_SET_USERDATA, &user, sizeof(user));
	}
	if (s->counter)
		put_expr_counter(b, msg, NFTA_SET_EXPR);
	batch_add(b, msg);
}

void nft_set_flush(struct nft_batch *b, const char *name)
{
	batch_add(b,
		  named_msg(b, NFT_MSG_DELSETELEM, 0, NFTA_SET_ELEM_LIST_TABLE,
			    NFTA_SET_ELEM_LIST_SET, name));
}

void nft_set_del(struct nft_batch *b, const char *name)
{
	batch_add(b, named_msg(b, NFT_MSG_DELSET, 0, NFTA_SET_TABLE,
			       NFTA_SET_NAME, name));
}

static void put_data(struct nft_batch *b, struct nl_msg *msg, int type,
		     const void *data, size_t len)
{
	struct nlattr *a = nest(b, msg, type);

	put(b, msg, NFTA_DATA_VALUE, data, len);
	unnest(b, msg, a);
}

static void put_verdict(struct nft_batch *b, struct nl_msg *msg, int type,
			int code, const char *chain)
{
	struct nlattr *a = nest(b, msg, type);
	struct nlattr *v = nest(b, msg, NFTA_DATA_VERDICT);

	put_u32(b, msg, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		put_str(b, msg, NFTA_VERDICT_CHAIN, chain);
	unnest(b, msg, v);
	unnest(b, msg, a);
}

/* As nft writes a comment: type 0, length with the NUL, text. */
static void put_comment(struct nft_batch *b, struct nl_msg *msg,
			const char *text)
{
	uint8_t data[2 + NFT_COMMENT_MAX + 1] = { 0 };
	size_t len = strlen(text);

	if (len > NFT_COMMENT_MAX)
		return;
	data[1] = (uint8_t)(len + 1);
	memcpy(data + 2, text, len);
	put(b, msg, NFTA_SET_ELEM_USERDATA, data, 2 + len + 1);
}

static void put_elem(struct nft_batch *b, struct nl_msg *msg,
		     const struct nft_elem *e)
{
	struct nlattr *a = nest(b, msg, NFTA_LIST_ELEM);

	put_data(b, msg, NFTA_SET_ELEM_KEY, e->key, e->key_len);
	if (e->key_end)
		put_data(b, msg, NFTA_SET_ELEM_KEY_END, e->key_end, e->key_len);
	if (e->chain)
		put_verdict(b, msg, NFTA_SET_ELEM_DATA,
			    e->jump ? NFT_JUMP : NFT_GOTO, e->chain);
	if (e->interval_end)
		put_u32(b, msg, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	if (e->timeout_ms)
		put_u64(b, msg, NFTA_SET_ELEM_TIMEOUT, e->timeout_ms);
	if (e->comment)
		put_comment(b, msg, e->comment);
	unnest(b, msg, a);
}

static void elems(struct nft_batch *b, int type, int flags, const char *set,
		  const struct nft_elem *elem, size_t n)
{
	size_t i = 0;

	while (i < n && !b->failed) {
		struct nl_msg *msg =
			msg_new(b, type, flags, n > 8 ? MESSAGE_ROOM : 4096);
		struct nlattr *list;

		put_str(b, msg, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE_NAME);
		put_str(b, msg, NFTA_SET_ELEM_LIST_SET, set);
		list = nest(b, msg, NFTA_SET_ELEM_LIST_ELEMENTS);
		do {
			put_elem(b, msg, &elem[i++]);
		} while (i < n && !b->failed &&
			 nlmsg_hdr(msg)->nlmsg_len < ELEMS_BYTES_MAX);
		unnest(b, msg, list);
		batch_add(b, msg);
	}
}

void nft_elems_add(struct nft_batch *b, const char *set,
		   const struct nft_elem *elem, size_t n)
{
	elems(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elem, n);
}

void nft_elems_del(struct nft_batch *b, const char *set,
		   const struct nft_elem *elem, size_t n)
{
	elems(b, NFT_MSG_DELSETELEM, 0, set, elem, n);
}

/* ---- rules -------------------------------------------------------------- */

void nft_rule_begin(struct nft_rule *r, struct nft_batch *b, const char *chain)
{
	struct nl_msg *msg =
		msg_new(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, 4096);

	put_str(b, msg, NFTA_RULE_TABLE, NFT_TABLE_NAME);
	put_str(b, msg, NFTA_RULE_CHAIN, chain);
	*r = (struct nft_rule){ .b = b, .msg = msg };
	r->list = nest(b, msg, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_rule *r)
{
	unnest(r->b, r->msg, r->list);
	batch_add(r->b, r->msg);
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

	x.elem = nest(x.b, x.msg, NFTA_LIST_ELEM);
	put_str(x.b, x.msg, NFTA_EXPR_NAME, name);
	x.data = nest(x.b, x.msg, NFTA_EXPR_DATA);
	return x;
}

static void expr_u32(struct expr *x, int type, uint32_t v)
{
	put_u32(x->b, x->msg, type, v);
}

static void expr_reg(struct expr *x, int type, unsigned int reg)
{
	put_u32(x->b, x->msg, type, NFT_REG32_00 + reg);
}

static void expr_data(struct expr *x, int type, const void *data, uint32_t len)
{
	put_data(x->b, x->msg, type, data, len);
}

static void expr_end(struct expr *x)
{
	unnest(x->b, x->msg, x->data);
	unnest(x->b, x->msg, x->elem);
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

static void immediate(struct nft_rule *r, unsigned int reg, const void *data,
		      uint32_t len)
{
	struct expr x = expr_begin(r, "immediate");

	expr_reg(&x, NFTA_IMMEDIATE_DREG, reg);
	expr_data(&x, NFTA_IMMEDIATE_DATA, data, len);
	expr_end(&x);
}

void nft_ct_mark_set(struct nft_rule *r, uint32_t mark)
{
	struct expr x;

	immediate(r, 0, &mark, sizeof(mark));
	x = expr_begin(r, "ct");
	expr_u32(&x, NFTA_CT_KEY, NFT_CT_MARK);
	expr_reg(&x, NFTA_CT_SREG, 0);
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

	put_str(x.b, x.msg, NFTA_LOOKUP_SET, set);
	expr_reg(&x, NFTA_LOOKUP_SREG, reg);
	if (invert)
		expr_u32(&x, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
	expr_end(&x);
}

void nft_vmap(struct nft_rule *r, unsigned int reg, const char *map)
{
	struct expr x = expr_begin(r, "lookup");

	put_str(x.b, x.msg, NFTA_LOOKUP_SET, map);
	expr_reg(&x, NFTA_LOOKUP_SREG, reg);
	expr_u32(&x, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
	expr_end(&x);
}

static void put_limit(struct expr *x, uint32_t type, uint64_t per_s,
		      uint32_t burst, bool over)
{
	put_u64(x->b, x->msg, NFTA_LIMIT_RATE, per_s);
	put_u64(x->b, x->msg, NFTA_LIMIT_UNIT, 1);
	expr_u32(x, NFTA_LIMIT_BURST, burst);
	expr_u32(x, NFTA_LIMIT_TYPE, type);
	expr_u32(x, NFTA_LIMIT_FLAGS, over ? NFT_LIMIT_F_INV : 0);
}

void nft_limit_packets(struct nft_rule *r, uint64_t per_s, uint32_t burst,
		       bool over)
{
	struct expr x = expr_begin(r, "limit");

	put_limit(&x, NFT_LIMIT_PKTS, per_s, burst, over);
	expr_end(&x);
}

void nft_limit_bytes(struct nft_rule *r, uint64_t per_s, uint32_t burst,
		     bool over)
{
	struct expr x = expr_begin(r, "limit");

	put_limit(&x, NFT_LIMIT_PKT_BYTES, per_s, burst, over);
	expr_end(&x);
}

void nft_connections_over(struct nft_rule *r, uint32_t count)
{
	struct expr x = expr_begin(r, "connlimit");

	expr_u32(&x, NFTA_CONNLIMIT_COUNT, count);
	expr_u32(&x, NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	expr_end(&x);
}

void nft_limit_each(struct nft_rule *r, unsigned int reg, const char *set,
		    uint64_t per_s, uint32_t burst)
{
	struct expr x = expr_begin(r, "dynset");
	struct expr limit = { .b = r->b, .msg = r->msg };

	put_str(x.b, x.msg, NFTA_DYNSET_SET_NAME, set);
	expr_u32(&x, NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
	expr_reg(&x, NFTA_DYNSET_SREG_KEY, reg);
	limit.elem = nest(x.b, x.msg, NFTA_DYNSET_EXPR);
	put_str(x.b, x.msg, NFTA_EXPR_NAME, "limit");
	limit.data = nest(x.b, x.msg, NFTA_EXPR_DATA);
	put_limit(&limit, NFT_LIMIT_PKTS, per_s, burst, false);
	expr_end(&limit);
	expr_end(&x);
}

void nft_verdict(struct nft_rule *r, int code, const char *chain)
{
	struct expr x = expr_begin(r, "immediate");

	expr_u32(&x, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	put_verdict(x.b, x.msg, NFTA_IMMEDIATE_DATA, code, chain);
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

	put(x.b, x.msg, NFTA_LOG_GROUP, &be, sizeof(be));
	put_str(x.b, x.msg, NFTA_LOG_PREFIX, prefix);
	expr_u32(&x, NFTA_LOG_SNAPLEN, snaplen);
	expr_end(&x);
}

void nft_reject(struct nft_rule *r, uint32_t type, uint8_t code)
{
	struct expr x = expr_begin(r, "reject");

	expr_u32(&x, NFTA_REJECT_TYPE, type);
	put(x.b, x.msg, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
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

	immediate(r, 0, &be, sizeof(be));
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
