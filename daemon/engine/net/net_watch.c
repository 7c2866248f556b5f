/* SPDX-License-Identifier: Apache-2.0 */
/* net_watch.c - hears at once when another program changes our table
 *
 * A socket in nftables' multicast group. Our own changes, which are many, are
 * left out by a filter on the socket, before they are queued; so are not those
 * of other tables, which are looked at and passed over.
 */
#include "engine/net/net_watch.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/nft_expr.h"
#include "engine/net/nft_reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

/* Every kind of object but the generation has its table's name there. */
#define TABLE_ATTR 1

struct net_watch {
	int fd;
	uint32_t own;
	net_watch_fn fn;
	void *arg;
	sd_event_source *io;
};

static bool is_foreign(const struct nlmsghdr *nh, uint32_t own)
{
	const struct nfgenmsg *nfg = NLMSG_DATA(nh);
	size_t head = NLMSG_ALIGN(sizeof(*nfg));
	struct nft_attr a[TABLE_ATTR + 1];
	char table[64];

	if (nh->nlmsg_pid == own ||
	    nh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
	    (nh->nlmsg_type & 0xff) == NFT_MSG_NEWGEN ||
	    nh->nlmsg_len < NLMSG_LENGTH(sizeof(*nfg)) ||
	    (nfg->nfgen_family != NFPROTO_INET &&
	     nfg->nfgen_family != NFPROTO_ARP))
		return false;
	if (!nft_attrs((const uint8_t *)nfg + head,
		       nh->nlmsg_len - NLMSG_LENGTH(0) - head, a,
		       TABLE_ATTR + 1))
		return false;
	nft_attr_str(&a[TABLE_ATTR], table, sizeof(table));
	return !strcmp(table, NFT_TABLE_NAME);
}

bool net_watch_foreign(const uint8_t *data, size_t len, uint32_t own)
{
	size_t at = 0;

	while (len - at >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *nh = (const void *)(data + at);

		if (nh->nlmsg_len < sizeof(*nh) || nh->nlmsg_len > len - at)
			return false;
		if (is_foreign(nh, own))
			return true;
		at += NLMSG_ALIGN(nh->nlmsg_len);
		if (at > len)
			return false;
	}
	return false;
}

static int on_message(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	static uint8_t buf[65536] __attribute__((aligned(8)));
	struct net_watch *w = arg;
	bool foreign = false, lost = false;

	(void)s;
	(void)revents;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			lost = true;
			continue;
		}
		if (n <= 0)
			break;
		foreign |= net_watch_foreign(buf, (size_t)n, w->own);
	}
	if (foreign || lost)
		w->fn(foreign, w->arg);
	return 0;
}

int net_watch_open(struct loop *loop, uint32_t own, net_watch_fn fn, void *arg,
		   struct net_watch **ret, struct error *err)
{
	/* A classic filter reads words in network order. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct nlmsghdr, nlmsg_pid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog filter = { .len = 4, .filter = code };
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int group = NFNLGRP_NFTABLES, r;
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       NETLINK_NETFILTER);
	struct net_watch *w;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter,
		       sizeof(filter)) < 0 ||
	    bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
		       sizeof(group)) < 0)
		return err_sys(err, errno, "listen for changes of nftables");
	w = xcalloc(1, sizeof(*w));
	*w = (struct net_watch){
		.fd = TAKE_FD(fd), .own = own, .fn = fn, .arg = arg
	};
	r = sd_event_add_io(loop_event(loop), &w->io, w->fd, EPOLLIN,
			    on_message, w);
	if (r < 0) {
		net_watch_close(w);
		return err_sys(err, -r, "listen for changes of nftables");
	}
	*ret = w;
	return 0;
}

struct net_watch *net_watch_close(struct net_watch *w)
{
	if (!w)
		return NULL;
	sd_event_source_disable_unref(w->io);
	fd_close(&w->fd);
	free(w);
	return NULL;
}
