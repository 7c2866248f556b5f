/* SPDX-License-Identifier: Apache-2.0 */
/* nft_reply.c - what the kernel answers on a netlink socket (pure) */
#include "engine/net/nft_reply.h"

#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#define NLA_ROUND(len) (((len) + 3) & ~(size_t)3)

bool nft_attrs(const uint8_t *data, size_t len, struct nft_attr *ret,
	       unsigned int max)
{
	size_t at = 0;

	memset(ret, 0, max * sizeof(*ret));
	while (len - at >= sizeof(struct nlattr)) {
		struct nlattr nla;
		unsigned int type;

		memcpy(&nla, data + at, sizeof(nla));
		if (nla.nla_len < sizeof(nla) || nla.nla_len > len - at)
			return false;
		type = nla.nla_type & NLA_TYPE_MASK;
		if (type < max)
			ret[type] =
				(struct nft_attr){ data + at + sizeof(nla),
						   nla.nla_len - sizeof(nla) };
		if (NLA_ROUND(nla.nla_len) >= len - at)
			return true;
		at += NLA_ROUND(nla.nla_len);
	}
	return at == len;
}

uint32_t nft_attr_u32(const struct nft_attr *a)
{
	uint32_t v = 0;

	if (a->len == sizeof(v))
		memcpy(&v, a->data, sizeof(v));
	return be32toh(v);
}

uint64_t nft_attr_u64(const struct nft_attr *a)
{
	uint64_t v = 0;

	if (a->len == sizeof(v))
		memcpy(&v, a->data, sizeof(v));
	return be64toh(v);
}

void nft_attr_str(const struct nft_attr *a, char *dst, size_t size)
{
	size_t n = 0;

	while (n < a->len && n + 1 < size && a->data[n]) {
		dst[n] = (char)a->data[n];
		n++;
	}
	dst[n] = '\0';
}

/* An ack is an error of 0. The failed message's header follows the number; its
 * payload does not (NETLINK_CAP_ACK); then come the kernel's own words.
 */
static void take_error(const struct nlmsghdr *nh, const uint8_t *body,
		       size_t len, struct nft_result *result)
{
	struct nft_attr attrs[NLMSGERR_ATTR_MSG + 1];
	struct nlmsgerr e;

	if (len < sizeof(e))
		return;
	memcpy(&e, body, sizeof(e));
	if (e.error == 0) {
		result->acks++;
		return;
	}
	if (result->errnum)
		return;
	result->errnum = e.error > 0 || e.error < -4095 ? EPROTO : -e.error;
	result->seq = nh->nlmsg_seq;
	if (!(nh->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    !(nh->nlmsg_flags & NLM_F_CAPPED) ||
	    !nft_attrs(body + sizeof(e), len - sizeof(e), attrs,
		       NLMSGERR_ATTR_MSG + 1))
		return;
	nft_attr_str(&attrs[NLMSGERR_ATTR_MSG], result->text,
		     sizeof(result->text));
}

static void take_done(const uint8_t *body, size_t len,
		      struct nft_result *result)
{
	int32_t e = 0;

	result->done = true;
	if (len >= sizeof(e))
		memcpy(&e, body, sizeof(e));
	if (e < 0 && e >= -4095 && !result->errnum)
		result->errnum = -e;
}

void nft_reply_parse(const uint8_t *data, size_t len, struct nft_result *result,
		     nft_message_fn fn, void *arg)
{
	size_t at = 0;

	while (len - at >= sizeof(struct nlmsghdr)) {
		const size_t head = sizeof(struct nlmsghdr);
		struct nlmsghdr nh;
		const uint8_t *body = data + at + head;
		size_t n;

		memcpy(&nh, data + at, sizeof(nh));
		if (nh.nlmsg_len < head || nh.nlmsg_len > len - at)
			return;
		n = nh.nlmsg_len - head;
		if (nh.nlmsg_flags & NLM_F_DUMP_INTR)
			result->again = true;
		if (nh.nlmsg_type == NLMSG_ERROR)
			take_error(&nh, body, n, result);
		else if (nh.nlmsg_type == NLMSG_DONE)
			take_done(body, n, result);
		else if (nh.nlmsg_type >= NLMSG_MIN_TYPE && fn &&
			 n >= sizeof(struct nfgenmsg))
			fn(nh.nlmsg_type, body + sizeof(struct nfgenmsg),
			   n - sizeof(struct nfgenmsg), arg);
		if (NLA_ROUND(nh.nlmsg_len) >= len - at)
			return;
		at += NLA_ROUND(nh.nlmsg_len);
	}
}

static void take_counter(const struct nft_attr *expr, struct nft_got_elem *e)
{
	struct nft_attr x[NFTA_EXPR_MAX + 1], c[NFTA_COUNTER_MAX + 1];
	char name[16];

	if (!nft_attrs(expr->data, expr->len, x, NFTA_EXPR_MAX + 1))
		return;
	nft_attr_str(&x[NFTA_EXPR_NAME], name, sizeof(name));
	if (strcmp(name, "counter") ||
	    !nft_attrs(x[NFTA_EXPR_DATA].data, x[NFTA_EXPR_DATA].len, c,
		       NFTA_COUNTER_MAX + 1))
		return;
	e->packets = nft_attr_u64(&c[NFTA_COUNTER_PACKETS]);
	e->bytes = nft_attr_u64(&c[NFTA_COUNTER_BYTES]);
}

static bool take_elem(const struct nft_attr *a, struct nft_got_elem *ret)
{
	struct nft_attr e[NFTA_SET_ELEM_MAX + 1], d[NFTA_DATA_MAX + 1];
	const struct nft_attr *user = &e[NFTA_SET_ELEM_USERDATA];
	const struct nft_attr *value = &d[NFTA_DATA_VALUE];

	memset(ret, 0, sizeof(*ret));
	if (!nft_attrs(a->data, a->len, e, NFTA_SET_ELEM_MAX + 1) ||
	    !nft_attrs(e[NFTA_SET_ELEM_KEY].data, e[NFTA_SET_ELEM_KEY].len, d,
		       NFTA_DATA_MAX + 1) ||
	    value->len == 0 || value->len > sizeof(ret->key))
		return false;
	memcpy(ret->key, value->data, value->len);
	ret->key_len = value->len;
	ret->expires_ms = nft_attr_u64(&e[NFTA_SET_ELEM_EXPIRATION]);
	if (user->len > 2 && user->data[0] == 0 &&
	    user->data[1] <= user->len - 2)
		nft_attr_str(
			&(struct nft_attr){ user->data + 2, user->data[1] },
			ret->comment, sizeof(ret->comment));
	take_counter(&e[NFTA_SET_ELEM_EXPR], ret);
	return true;
}

void nft_reply_elems(const uint8_t *attrs, size_t len, nft_elem_fn fn,
		     void *arg)
{
	struct nft_attr top[NFTA_SET_ELEM_LIST_MAX + 1];
	const struct nft_attr *list = &top[NFTA_SET_ELEM_LIST_ELEMENTS];
	size_t at = 0;

	if (!nft_attrs(attrs, len, top, NFTA_SET_ELEM_LIST_MAX + 1))
		return;
	while (list->len - at >= sizeof(struct nlattr)) {
		struct nft_got_elem elem;
		struct nlattr nla;

		memcpy(&nla, list->data + at, sizeof(nla));
		if (nla.nla_len < sizeof(nla) || nla.nla_len > list->len - at)
			return;
		if (take_elem(&(struct nft_attr){ list->data + at + sizeof(nla),
						  nla.nla_len - sizeof(nla) },
			      &elem))
			fn(&elem, arg);
		if (NLA_ROUND(nla.nla_len) >= list->len - at)
			return;
		at += NLA_ROUND(nla.nla_len);
	}
}
