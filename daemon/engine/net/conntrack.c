/* SPDX-License-Identifier: Apache-2.0 */
/* conntrack.c - flows that the kernel follows, found by their slot's mark */
#include "engine/net/conntrack.h"

#include "base/error.h"
#include "engine/net/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

/* Header and up to two attributes. */
struct request {
	struct nlmsghdr nh;
	struct nfgenmsg nfg;
	uint8_t attrs[2 * NLA_HDRLEN + CONNTRACK_TUPLE_MAX + 16];
};

static void begin(struct request *r, int type, int flags)
{
	*r = (struct request){
		.nh = { .nlmsg_len = sizeof(r->nh) + sizeof(r->nfg),
			.nlmsg_type =
				(uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type),
			.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags) },
		.nfg = { .nfgen_family = AF_INET, .version = NFNETLINK_V0 },
	};
}

static void put(struct request *r, int type, const void *data, size_t len)
{
	size_t at = r->nh.nlmsg_len - sizeof(r->nh) - sizeof(r->nfg);
	struct nlattr nla = { .nla_len = (uint16_t)(NLA_HDRLEN + len),
			      .nla_type = (uint16_t)type };

	memcpy(r->attrs + at, &nla, sizeof(nla));
	memcpy(r->attrs + at + NLA_HDRLEN, data, len);
	r->nh.nlmsg_len += (uint32_t)NLA_ALIGN(NLA_HDRLEN + len);
}

static void put_mark(struct request *r, uint32_t mark)
{
	uint32_t be = htonl(mark), mask = UINT32_MAX;

	put(r, CTA_MARK, &be, sizeof(be));
	put(r, CTA_MARK_MASK, &mask, sizeof(mask));
}

struct each {
	uint32_t mark;
	flow_fn fn;
	void *arg;
};

static uint16_t attr_u16(const struct nft_attr *a)
{
	return a->len == 2 ? (uint16_t)(a->data[0] << 8 | a->data[1]) : 0;
}

static bool take_ip(const struct nft_attr *tuple,
		    struct nft_attr ret_tuple[CTA_TUPLE_MAX + 1],
		    struct nft_attr ret_ip[CTA_IP_MAX + 1])
{
	return nft_attrs(tuple->data, tuple->len, ret_tuple,
			 CTA_TUPLE_MAX + 1) &&
	       nft_attrs(ret_tuple[CTA_TUPLE_IP].data,
			 ret_tuple[CTA_TUPLE_IP].len, ret_ip, CTA_IP_MAX + 1);
}

static void take_flow(uint16_t type, const uint8_t *attrs, size_t len,
		      void *arg)
{
	struct nft_attr a[CTA_MAX + 1], t[CTA_TUPLE_MAX + 1];
	struct nft_attr ip[CTA_IP_MAX + 1], proto[CTA_PROTO_MAX + 1];
	struct nft_attr back[CTA_TUPLE_MAX + 1], back_ip[CTA_IP_MAX + 1];
	const struct each *each = arg;
	struct flow flow = { 0 };

	(void)type;
	if (!nft_attrs(attrs, len, a, CTA_MAX + 1) ||
	    !(flow.mark = nft_attr_u32(&a[CTA_MARK])) ||
	    (each->mark && flow.mark != each->mark) ||
	    !take_ip(&a[CTA_TUPLE_ORIG], t, ip) ||
	    !take_ip(&a[CTA_TUPLE_REPLY], back, back_ip) ||
	    !nft_attrs(t[CTA_TUPLE_PROTO].data, t[CTA_TUPLE_PROTO].len, proto,
		       CTA_PROTO_MAX + 1) ||
	    a[CTA_TUPLE_ORIG].len > sizeof(flow.tuple))
		return;
	flow.source = nft_attr_u32(&ip[CTA_IP_V4_SRC]);
	flow.answers = nft_attr_u32(&back_ip[CTA_IP_V4_SRC]);
	flow.destination = nft_attr_u32(&ip[CTA_IP_V4_DST]);
	flow.port = attr_u16(&proto[CTA_PROTO_DST_PORT]);
	if (proto[CTA_PROTO_NUM].len == 1)
		flow.protocol = proto[CTA_PROTO_NUM].data[0];
	flow.tuple_len = a[CTA_TUPLE_ORIG].len;
	memcpy(flow.tuple, a[CTA_TUPLE_ORIG].data, flow.tuple_len);
	each->fn(&flow, each->arg);
}

int conntrack_each(struct nft *nft, uint32_t mark, flow_fn fn, void *arg,
		   struct error *err)
{
	struct each each = { mark, fn, arg };
	struct request r;

	begin(&r, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	if (mark)
		put_mark(&r, mark);
	return nft_request(nft, (uint8_t *)&r, r.nh.nlmsg_len, take_flow, &each,
			   "list flows", err);
}

static int forget(struct nft *nft, struct request *r, struct error *err)
{
	struct error local;

	if (nft_request(nft, (uint8_t *)r, r->nh.nlmsg_len, NULL, NULL,
			"cut flows", &local) == 0 ||
	    local.code == ERR_NOT_FOUND)
		return 0;
	if (err)
		*err = local;
	return -1;
}

int conntrack_cut(struct nft *nft, const struct flow *flow, struct error *err)
{
	struct request r;

	begin(&r, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	put(&r, CTA_TUPLE_ORIG | NLA_F_NESTED, flow->tuple, flow->tuple_len);
	return forget(nft, &r, err);
}

int conntrack_cut_all(struct nft *nft, uint32_t mark, struct error *err)
{
	struct request r;

	begin(&r, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	put_mark(&r, mark);
	return forget(nft, &r, err);
}
