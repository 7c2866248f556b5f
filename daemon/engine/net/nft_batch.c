/* SPDX-License-Identifier: Apache-2.0 */
/* nft_batch.c - nftables messages for tables, chains, sets and elements
 *
 * libnl knows no nf_tables objects, so each message is put together from its
 * attributes here. Integers in attributes are big-endian; registers hold data
 * as the packet has it (network order) or, for marks and interface types, in
 * host order.
 *
 * A put that fails (the message is full, memory is out) sets b->failed, and
 * everything after it does nothing: the caller checks once, in nft_commit().
 */
#include "engine/net/nft_batch.h"
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

/* A message with this many bytes of elements is full (an attribute holds at
 * most 64 KiB), and one element is never larger than a few hundred bytes.
 */
#define ELEMS_BYTES_MAX 32768
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

struct nl_msg *nft_msg_new(struct nft_batch *b, int type, int flags,
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
void nft_batch_add(struct nft_batch *b, struct nl_msg *msg)
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

void nft_put(struct nft_batch *b, struct nl_msg *msg, int type,
	     const void *data, size_t len)
{
	if (msg && nla_put(msg, type, (int)len, data) < 0)
		b->failed = true;
}

void nft_put_str(struct nft_batch *b, struct nl_msg *msg, int type,
		 const char *s)
{
	nft_put(b, msg, type, s, strlen(s) + 1);
}

void nft_put_u32(struct nft_batch *b, struct nl_msg *msg, int type, uint32_t v)
{
	uint32_t be = htonl(v);

	nft_put(b, msg, type, &be, sizeof(be));
}

void nft_put_u64(struct nft_batch *b, struct nl_msg *msg, int type, uint64_t v)
{
	uint64_t be = htobe64(v);

	nft_put(b, msg, type, &be, sizeof(be));
}

struct nlattr *nft_nest(struct nft_batch *b, struct nl_msg *msg, int type)
{
	struct nlattr *a = msg ? nla_nest_start(msg, type) : NULL;

	if (!a)
		b->failed = true;
	return a;
}

void nft_unnest(struct nft_batch *b, struct nl_msg *msg, struct nlattr *a)
{
	if (msg && a && nla_nest_end_keep_empty(msg, a) < 0)
		b->failed = true;
}

/* ---- tables, chains, sets ----------------------------------------------- */

static void table_msg(struct nft_batch *b, int type, int flags)
{
	struct nl_msg *msg = nft_msg_new(b, type, flags, 256);

	nft_put_str(b, msg, NFTA_TABLE_NAME, NFT_TABLE_NAME);
	nft_batch_add(b, msg);
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
	struct nl_msg *msg = nft_msg_new(b, type, flags, 512);

	nft_put_str(b, msg, table_attr, NFT_TABLE_NAME);
	nft_put_str(b, msg, name_attr, name);
	return msg;
}

void nft_chain_add(struct nft_batch *b, const char *name)
{
	nft_batch_add(b, named_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE,
				   NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name));
}

void nft_chain_add_base(struct nft_batch *b, const char *name, const char *type,
			uint32_t hook, int32_t priority)
{
	struct nl_msg *msg = named_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE,
				       NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name);
	struct nlattr *a = nft_nest(b, msg, NFTA_CHAIN_HOOK);

	nft_put_u32(b, msg, NFTA_HOOK_HOOKNUM, hook);
	nft_put_u32(b, msg, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	nft_unnest(b, msg, a);
	nft_put_u32(b, msg, NFTA_CHAIN_POLICY, NF_ACCEPT);
	nft_put_str(b, msg, NFTA_CHAIN_TYPE, type);
	nft_batch_add(b, msg);
}

/* Deleting rules without saying which one deletes all. */
void nft_chain_flush(struct nft_batch *b, const char *name)
{
	nft_batch_add(b, named_msg(b, NFT_MSG_DELRULE, 0, NFTA_RULE_TABLE,
				   NFTA_RULE_CHAIN, name));
}

void nft_chain_del(struct nft_batch *b, const char *name)
{
	nft_batch_add(b, named_msg(b, NFT_MSG_DELCHAIN, 0, NFTA_CHAIN_TABLE,
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
	if (s->verdicts || s->data)
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
	desc = nft_nest(b, msg, NFTA_SET_DESC);
	if (s->size)
		nft_put_u32(b, msg, NFTA_SET_DESC_SIZE, s->size);
	if (s->n_types > 1) {
		list = nft_nest(b, msg, NFTA_SET_DESC_CONCAT);
		for (size_t i = 0; i < s->n_types; i++) {
			field = nft_nest(b, msg, NFTA_LIST_ELEM);
			nft_put_u32(b, msg, NFTA_SET_FIELD_LEN,
				    type_len(s->types[i]));
			nft_unnest(b, msg, field);
		}
		nft_unnest(b, msg, list);
	}
	nft_unnest(b, msg, desc);
}

static void put_expr_counter(struct nft_batch *b, struct nl_msg *msg, int type)
{
	struct nlattr *a = nft_nest(b, msg, type);

	nft_put_str(b, msg, NFTA_EXPR_NAME, "counter");
	nft_unnest(b, msg, a);
}

void nft_set_add(struct nft_batch *b, const struct nft_set_spec *s)
{
	struct nl_msg *msg = named_msg(b, NFT_MSG_NEWSET, NLM_F_CREATE,
				       NFTA_SET_TABLE, NFTA_SET_NAME, s->name);
	uint32_t key_type = 0, key_len = 0;

	for (size_t i = 0; i < s->n_types; i++) {
		key_type = key_type << 6 | s->types[i];
		key_len += s->n_types > 1 ? pad4(type_len(s->types[i])) :
					    type_len(s->types[i]);
	}
	nft_put_u32(b, msg, NFTA_SET_FLAGS, set_flags(s));
	nft_put_u32(b, msg, NFTA_SET_KEY_TYPE, key_type);
	nft_put_u32(b, msg, NFTA_SET_KEY_LEN, key_len);
	if (s->verdicts)
		nft_put_u32(b, msg, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
	if (s->data) {
		nft_put_u32(b, msg, NFTA_SET_DATA_TYPE, s->data);
		nft_put_u32(b, msg, NFTA_SET_DATA_LEN, type_len(s->data));
	}
	/* Found by its name, but the kernel wants a number as well. */
	nft_put_u32(b, msg, NFTA_SET_ID, b->messages + 1);
	if (s->timeout) {
		if (s->timeout_ms)
			nft_put_u64(b, msg, NFTA_SET_TIMEOUT, s->timeout_ms);
		nft_put_u32(b, msg, NFTA_SET_GC_INTERVAL, GC_INTERVAL_MS);
	}
	put_desc(b, msg, s);
	/* Only so that nft prints names, and not as big-endian numbers. */
	if (s->n_types == 1 &&
	    (s->types[0] == NFT_TYPE_IFNAME || s->types[0] == NFT_TYPE_MARK)) {
		static const struct {
			uint8_t type, len;
			uint8_t host_endian[4];
		} user[2] = { { 0, 4, { 1, 0, 0, 0 } },
			      { 1, 4, { 1, 0, 0, 0 } } };

		nft_put(b, msg, NFTA_SET_USERDATA, user,
			s->data == NFT_TYPE_MARK ? sizeof(user) :
						   sizeof(user[0]));
	}
	if (s->counter)
		put_expr_counter(b, msg, NFTA_SET_EXPR);
	nft_batch_add(b, msg);
}

void nft_set_flush(struct nft_batch *b, const char *name)
{
	nft_batch_add(b, named_msg(b, NFT_MSG_DELSETELEM, 0,
				   NFTA_SET_ELEM_LIST_TABLE,
				   NFTA_SET_ELEM_LIST_SET, name));
}

void nft_set_del(struct nft_batch *b, const char *name)
{
	nft_batch_add(b, named_msg(b, NFT_MSG_DELSET, 0, NFTA_SET_TABLE,
				   NFTA_SET_NAME, name));
}

void nft_put_data(struct nft_batch *b, struct nl_msg *msg, int type,
		  const void *data, size_t len)
{
	struct nlattr *a = nft_nest(b, msg, type);

	nft_put(b, msg, NFTA_DATA_VALUE, data, len);
	nft_unnest(b, msg, a);
}

void nft_put_verdict(struct nft_batch *b, struct nl_msg *msg, int type,
		     int code, const char *chain)
{
	struct nlattr *a = nft_nest(b, msg, type);
	struct nlattr *v = nft_nest(b, msg, NFTA_DATA_VERDICT);

	nft_put_u32(b, msg, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		nft_put_str(b, msg, NFTA_VERDICT_CHAIN, chain);
	nft_unnest(b, msg, v);
	nft_unnest(b, msg, a);
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
	nft_put(b, msg, NFTA_SET_ELEM_USERDATA, data, 2 + len + 1);
}

void nft_put_limit(struct nft_batch *b, struct nl_msg *msg,
		   const struct nft_limit *limit, bool over)
{
	nft_put_u64(b, msg, NFTA_LIMIT_RATE, limit->per_s);
	nft_put_u64(b, msg, NFTA_LIMIT_UNIT, 1);
	nft_put_u32(b, msg, NFTA_LIMIT_BURST, limit->burst);
	nft_put_u32(b, msg, NFTA_LIMIT_TYPE,
		    limit->bytes ? NFT_LIMIT_PKT_BYTES : NFT_LIMIT_PKTS);
	nft_put_u32(b, msg, NFTA_LIMIT_FLAGS, over ? NFT_LIMIT_F_INV : 0);
}

static void put_over(struct nft_batch *b, struct nl_msg *msg,
		     const struct nft_limit *limit)
{
	struct nlattr *a = nft_nest(b, msg, NFTA_SET_ELEM_EXPR);
	struct nlattr *data;

	nft_put_str(b, msg, NFTA_EXPR_NAME, "limit");
	data = nft_nest(b, msg, NFTA_EXPR_DATA);
	nft_put_limit(b, msg, limit, true);
	nft_unnest(b, msg, data);
	nft_unnest(b, msg, a);
}

static void put_elem(struct nft_batch *b, struct nl_msg *msg,
		     const struct nft_elem *e)
{
	struct nlattr *a = nft_nest(b, msg, NFTA_LIST_ELEM);

	nft_put_data(b, msg, NFTA_SET_ELEM_KEY, e->key, e->key_len);
	if (e->key_end)
		nft_put_data(b, msg, NFTA_SET_ELEM_KEY_END, e->key_end,
			     e->key_len);
	if (e->chain)
		nft_put_verdict(b, msg, NFTA_SET_ELEM_DATA,
				e->jump ? NFT_JUMP : NFT_GOTO, e->chain);
	if (e->data)
		nft_put_data(b, msg, NFTA_SET_ELEM_DATA, e->data, e->data_len);
	if (e->interval_end)
		nft_put_u32(b, msg, NFTA_SET_ELEM_FLAGS,
			    NFT_SET_ELEM_INTERVAL_END);
	if (e->timeout_ms)
		nft_put_u64(b, msg, NFTA_SET_ELEM_TIMEOUT, e->timeout_ms);
	if (e->over)
		put_over(b, msg, e->over);
	if (e->comment)
		put_comment(b, msg, e->comment);
	nft_unnest(b, msg, a);
}

static void elems(struct nft_batch *b, int type, int flags, const char *set,
		  const struct nft_elem *elem, size_t n)
{
	size_t i = 0;

	while (i < n && !b->failed) {
		struct nl_msg *msg = nft_msg_new(
			b, type, flags, n > 8 ? NFT_MESSAGE_ROOM : 4096);
		struct nlattr *list;

		nft_put_str(b, msg, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE_NAME);
		nft_put_str(b, msg, NFTA_SET_ELEM_LIST_SET, set);
		list = nft_nest(b, msg, NFTA_SET_ELEM_LIST_ELEMENTS);
		do {
			put_elem(b, msg, &elem[i++]);
		} while (i < n && !b->failed &&
			 nlmsg_hdr(msg)->nlmsg_len < ELEMS_BYTES_MAX);
		nft_unnest(b, msg, list);
		nft_batch_add(b, msg);
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
