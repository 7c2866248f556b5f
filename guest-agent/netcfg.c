/* SPDX-License-Identifier: Apache-2.0 */
/* netcfg.c - the guest's network, said to the kernel by rtnetlink
 *
 * One request at a time, each acknowledged. The gateway is on no network of the
 * guest's (its address is a /32), so it gets a link-scope route of its own, and
 * the default route goes through it "onlink".
 */
#include "netcfg.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define DEVICE	      "eth0"
#define IFF_UP_BIT    1u
#define ADDRESSES_MAX 64

struct request {
	struct nlmsghdr h;
	uint8_t body[512];
};

struct nl {
	int fd;
	uint32_t seq;
};

static int nl_open(struct nl *nl, struct error *err)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };

	nl->seq = 1;
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (nl->fd < 0 || bind(nl->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(err, errno, "open rtnetlink");
	return 0;
}

static void begin(struct request *rq, struct nl *nl, uint16_t type,
		  uint16_t flags, const void *head, size_t len)
{
	memset(rq, 0, sizeof(*rq));
	rq->h.nlmsg_type = type;
	rq->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	rq->h.nlmsg_seq = nl->seq++;
	rq->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
	memcpy(rq->body, head, len);
}

static void put(struct request *rq, uint16_t type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(rq->h.nlmsg_len);
	struct rtattr *a = (struct rtattr *)((uint8_t *)rq + at);

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	rq->h.nlmsg_len = (uint32_t)(at + RTA_ALIGN(a->rta_len));
}

/* Send and wait for the acknowledgement. 0 or -errno. */
static int call(struct nl *nl, struct request *rq)
{
	uint8_t buf[4096] __attribute__((aligned(4)));
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	ssize_t n;

	rq->h.nlmsg_flags |= NLM_F_ACK;
	if (send(nl->fd, rq, rq->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		n = recv(nl->fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!NLMSG_OK(h, (size_t)n) || h->nlmsg_seq != rq->h.nlmsg_seq)
			continue;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
	}
}

static int link_up(struct nl *nl, unsigned int index, bool up)
{
	struct ifinfomsg ifi = {
		.ifi_index = (int)index,
		.ifi_flags = up ? IFF_UP_BIT : 0,
		.ifi_change = IFF_UP_BIT,
	};
	struct request rq;

	begin(&rq, nl, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	return call(nl, &rq);
}

static int link_set(struct nl *nl, unsigned int index, uint16_t attr,
		    const void *data, size_t len)
{
	struct ifinfomsg ifi = { .ifi_index = (int)index };
	struct request rq;

	begin(&rq, nl, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	put(&rq, attr, data, len);
	return call(nl, &rq);
}

static int address_change(struct nl *nl, unsigned int index, uint16_t type,
			  uint32_t address, uint8_t prefix)
{
	struct ifaddrmsg ifa = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = prefix,
		.ifa_index = index,
	};
	struct request rq;

	begin(&rq, nl, type,
	      type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0, &ifa,
	      sizeof(ifa));
	put(&rq, IFA_LOCAL, &address, sizeof(address));
	put(&rq, IFA_ADDRESS, &address, sizeof(address));
	return call(nl, &rq);
}

struct address {
	uint32_t address;
	uint8_t prefix;
};

static void take_address(const struct nlmsghdr *h, unsigned int index,
			 struct address *list, size_t *n)
{
	const struct ifaddrmsg *ifa = NLMSG_DATA(h);
	size_t len = IFA_PAYLOAD(h);

	if (h->nlmsg_type != RTM_NEWADDR || ifa->ifa_index != index ||
	    ifa->ifa_family != AF_INET || *n == ADDRESSES_MAX)
		return;
	for (const struct rtattr *a = IFA_RTA(ifa); RTA_OK(a, len);
	     a = RTA_NEXT(a, len)) {
		if (a->rta_type != IFA_LOCAL || RTA_PAYLOAD(a) != 4)
			continue;
		memcpy(&list[*n].address, RTA_DATA(a), 4);
		list[(*n)++].prefix = ifa->ifa_prefixlen;
		return;
	}
}

/* The IPv4 addresses of a link. How many, or -errno. */
static int list_addresses(struct nl *nl, unsigned int index,
			  struct address list[ADDRESSES_MAX])
{
	uint8_t buf[16384] __attribute__((aligned(4)));
	struct ifaddrmsg ifa = { .ifa_family = AF_INET };
	struct request rq;
	size_t n = 0;

	begin(&rq, nl, RTM_GETADDR, NLM_F_DUMP, &ifa, sizeof(ifa));
	if (send(nl->fd, &rq, rq.h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t r = recv(nl->fd, buf, sizeof(buf), 0);
		size_t len = r > 0 ? (size_t)r : 0;

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf;
		     NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return (int)n;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))
					->error;
			take_address(h, index, list, &n);
		}
	}
}

static int route_add(struct nl *nl, unsigned int index, uint32_t to,
		     uint32_t via)
{
	struct rtmsg rtm = {
		.rtm_family = AF_INET,
		.rtm_dst_len = to ? 32 : 0,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = via ? RTNH_F_ONLINK : 0,
	};
	struct request rq;
	uint32_t oif = index;

	begin(&rq, nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &rtm,
	      sizeof(rtm));
	if (to)
		put(&rq, RTA_DST, &to, sizeof(to));
	if (via)
		put(&rq, RTA_GATEWAY, &via, sizeof(via));
	put(&rq, RTA_OIF, &oif, sizeof(oif));
	return call(nl, &rq);
}

static int neighbour_set(struct nl *nl, unsigned int index, uint32_t address,
			 const uint8_t mac[6])
{
	struct ndmsg nd = {
		.ndm_family = AF_INET,
		.ndm_ifindex = (int)index,
		.ndm_state = NUD_PERMANENT,
	};
	struct request rq;

	begin(&rq, nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &nd,
	      sizeof(nd));
	put(&rq, NDA_DST, &address, sizeof(address));
	put(&rq, NDA_LLADDR, mac, 6);
	return call(nl, &rq);
}

/* The node drops IPv6: without it programs do not wait for its time-outs. */
static void disable_ipv6(void)
{
	_cleanup_close_ int fd =
		open("/proc/sys/net/ipv6/conf/" DEVICE "/disable_ipv6",
		     O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "1", 1) < 0)
		return;
}

static int drop_addresses(struct nl *nl, unsigned int index, uint32_t but)
{
	struct address list[ADDRESSES_MAX];
	int n = list_addresses(nl, index, list);

	for (int i = 0; i < n; i++) {
		int r;

		if (list[i].address == but && list[i].prefix == 32)
			continue;
		r = address_change(nl, index, RTM_DELADDR, list[i].address,
				   list[i].prefix);
		if (r < 0 && r != -EADDRNOTAVAIL)
			return r;
	}
	return n < 0 ? n : 0;
}

static int set_device(struct nl *nl, unsigned int index,
		      const struct netcfg *cfg, struct error *err)
{
	int r = 0;

	if (cfg->has_mac)
		r = link_set(nl, index, IFLA_ADDRESS, cfg->mac, 6);
	if (r < 0)
		return err_sys(err, -r, "set the MAC of " DEVICE);
	if (cfg->mtu)
		r = link_set(nl, index, IFLA_MTU, &cfg->mtu, sizeof(cfg->mtu));
	if (r < 0)
		return err_sys(err, -r, "set the MTU of " DEVICE);
	disable_ipv6();
	r = link_up(nl, index, true);
	return r < 0 ? err_sys(err, -r, "bring " DEVICE " up") : 0;
}

static int set_addresses(struct nl *nl, unsigned int index,
			 const struct netcfg *cfg, struct error *err)
{
	int r = drop_addresses(nl, index, cfg->address);

	if (r < 0)
		return err_sys(err, -r, "drop old addresses");
	r = address_change(nl, index, RTM_NEWADDR, cfg->address, 32);
	if (r < 0)
		return err_sys(err, -r, "set the address");
	if (!cfg->gateway)
		return 0;
	if (cfg->has_gateway_mac) {
		r = neighbour_set(nl, index, cfg->gateway, cfg->gateway_mac);
		if (r < 0)
			return err_sys(err, -r, "set the gateway's MAC");
	}
	r = route_add(nl, index, cfg->gateway, 0);
	if (r == 0)
		r = route_add(nl, index, 0, cfg->gateway);
	return r < 0 ? err_sys(err, -r, "set the default route") : 0;
}

int netcfg_loopback(struct error *err)
{
	struct nl nl;
	int r = nl_open(&nl, err);

	if (r == 0) {
		r = link_up(&nl, if_nametoindex("lo"), true);
		if (r < 0)
			r = err_sys(err, -r, "bring lo up");
	}
	fd_close(&nl.fd);
	return r;
}

int netcfg_apply(const struct netcfg *cfg, struct error *err)
{
	unsigned int index = if_nametoindex(DEVICE);
	struct nl nl;
	int r;

	if (!index)
		return cfg->address ? err_set(err, ERR_NOT_FOUND,
					      "there is no " DEVICE)
				    : 0;
	r = nl_open(&nl, err);
	if (r == 0 && !cfg->address) {
		r = drop_addresses(&nl, index, 0);
		if (r == 0)
			r = link_up(&nl, index, false);
		if (r < 0)
			r = err_sys(err, -r, "take " DEVICE " down");
	} else if (r == 0) {
		r = set_device(&nl, index, cfg, err);
		if (r == 0)
			r = set_addresses(&nl, index, cfg, err);
	}
	fd_close(&nl.fd);
	return r;
}
