/* SPDX-License-Identifier: Apache-2.0 */
/* refused.c - what the packet filter refused, read from its log group */
#include "resolver/refused.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

struct refused {
	int fd;
	sd_event_source *io;
	refused_fn fn;
	void *arg;
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

/* The IPv4 header and the first bytes behind it. */
static int parse_packet(const uint8_t *p, size_t len,
			struct refused_packet *ret)
{
	size_t header;

	if (len < 20 || p[0] >> 4 != 4)
		return -EBADMSG;
	header = (size_t)(p[0] & 15) * 4;
	if (header < 20)
		return -EBADMSG;
	ret->protocol = p[9];
	ret->address = be32(p + 16);
	/* A later fragment has no ports. */
	if (((p[6] & 0x1f) | p[7]) == 0 && len >= header + 4 &&
	    (ret->protocol == IPPROTO_TCP || ret->protocol == IPPROTO_UDP))
		ret->port = (uint16_t)(p[header + 2] << 8 | p[header + 3]);
	return 0;
}

static void take_rule(const uint8_t *data, size_t len,
		      struct refused_packet *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < len && data[i] && n < REFUSED_RULE_MAX; i++)
		ret->rule[n++] =
			data[i] >= 0x20 && data[i] < 0x7f ? (char)data[i] : '?';
	ret->rule[n] = '\0';
}

int refused_parse(const uint8_t *msg, size_t len, struct refused_packet *ret)
{
	struct nlmsghdr nh;
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	bool payload = false;

	memset(ret, 0, sizeof(*ret));
	if (len < at)
		return -EBADMSG;
	memcpy(&nh, msg, sizeof(nh));
	if (nh.nlmsg_len < at || nh.nlmsg_len > len ||
	    nh.nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
		return -EBADMSG;
	len = nh.nlmsg_len;
	while (len - at >= sizeof(struct nlattr)) {
		struct nlattr nla;
		const uint8_t *data = msg + at + NLA_HDRLEN;
		size_t n;

		memcpy(&nla, msg + at, sizeof(nla));
		if (nla.nla_len < NLA_HDRLEN || nla.nla_len > len - at)
			return -EBADMSG;
		n = nla.nla_len - NLA_HDRLEN;
		switch (nla.nla_type & NLA_TYPE_MASK) {
		case NFULA_IFINDEX_INDEV:
			if (n == 4)
				ret->ifindex = be32(data);
			break;
		case NFULA_PREFIX:
			take_rule(data, n, ret);
			break;
		case NFULA_PAYLOAD:
			payload = parse_packet(data, n, ret) == 0;
			break;
		}
		if ((size_t)NLA_ALIGN(nla.nla_len) >= len - at)
			break;
		at += NLA_ALIGN(nla.nla_len);
	}
	return payload && ret->ifindex ? 0 : -EBADMSG;
}

static int on_log(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	static uint8_t buf[65536];
	struct refused *refused = arg;

	(void)s;
	(void)revents;
	for (int i = 0; i < 16; i++) {
		ssize_t got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		size_t at = 0;

		if (got <= 0)
			break; /* ENOBUFS: some are lost, that is all */
		/* Several messages come in one read. */
		while ((size_t)got - at >= (size_t)NLMSG_HDRLEN) {
			struct refused_packet packet;
			struct nlmsghdr nh;

			memcpy(&nh, buf + at, sizeof(nh));
			if (nh.nlmsg_len < NLMSG_HDRLEN ||
			    nh.nlmsg_len > (size_t)got - at)
				break;
			if (refused_parse(buf + at, nh.nlmsg_len, &packet) == 0)
				refused->fn(&packet, refused->arg);
			at += NLMSG_ALIGN(nh.nlmsg_len);
			if (at > (size_t)got)
				break;
		}
	}
	return 0;
}

int refused_new(struct loop *loop, int fd, refused_fn fn, void *arg,
		struct refused **ret, struct error *err)
{
	struct refused *refused = xcalloc(1, sizeof(*refused));
	int r;

	*refused = (struct refused){ .fd = fd, .fn = fn, .arg = arg };
	r = sd_event_add_io(loop_event(loop), &refused->io, fd, EPOLLIN, on_log,
			    refused);
	if (r < 0) {
		refused_free(refused);
		return err_sys(err, -r, "watch the log group");
	}
	*ret = refused;
	return 0;
}

struct refused *refused_free(struct refused *refused)
{
	if (!refused)
		return NULL;
	sd_event_source_disable_unref(refused->io);
	fd_close(&refused->fd);
	free(refused);
	return NULL;
}
