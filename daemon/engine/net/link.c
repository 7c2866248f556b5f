/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - interfaces, addresses, routes and neighbours by rtnetlink
 *
 * libnl-route builds the messages. Objects of libnl are freed where they are
 * made, by the cleanup attributes below.
 */
#include "engine/net/link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Interfaces are in it only to be deleted; "SBXD", so that nobody else's is. */
#define GOING_GROUP 0x53425844u

struct links {
	struct nl_sock *sock;
};

static void put_link(struct rtnl_link **p)
{
	rtnl_link_put(*p);
}

static void put_addr(struct rtnl_addr **p)
{
	rtnl_addr_put(*p);
}

static void put_neigh(struct rtnl_neigh **p)
{
	rtnl_neigh_put(*p);
}

static void put_route(struct rtnl_route **p)
{
	rtnl_route_put(*p);
}

static void put_nl_addr(struct nl_addr **p)
{
	nl_addr_put(*p);
}

static void put_cache(struct nl_cache **p)
{
	if (*p)
		nl_cache_free(*p);
}

/* The one place where libnl's errors become ours. */
static int nl_fail(struct error *err, int r, const char *what, const char *name)
{
	enum err_code code = r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND
				     ? ERR_NOT_FOUND
				     : ERR_INTERNAL;

	return err_set(err, code, "%s '%s': %s", what, name, nl_geterror(r));
}

int links_open(struct links **ret, struct error *err)
{
	struct links *links = xcalloc(1, sizeof(*links));
	int r;

	links->sock = nl_socket_alloc();
	r = links->sock ? nl_connect(links->sock, NETLINK_ROUTE) : -NLE_NOMEM;
	if (r < 0) {
		links_close(links);
		return err_set(err, ERR_UNAVAILABLE, "open rtnetlink: %s",
			       nl_geterror(r));
	}
	*ret = links;
	return 0;
}

struct links *links_close(struct links *links)
{
	if (!links)
		return NULL;
	nl_socket_free(links->sock);
	free(links);
	return NULL;
}

static struct nl_addr *ipv4(uint32_t host_order, int prefix)
{
	uint32_t n = htonl(host_order);
	struct nl_addr *a = nl_addr_build(AF_INET, &n, sizeof(n));

	if (a)
		nl_addr_set_prefixlen(a, prefix);
	return a;
}

static int change_link(struct links *links, const struct link_spec *spec,
		       struct rtnl_link *have, struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *want = rtnl_link_alloc();
	_cleanup_(put_nl_addr) struct nl_addr *mac =
		nl_addr_build(AF_LLC, spec->mac, sizeof(spec->mac));
	struct nl_addr *old = rtnl_link_get_addr(have);
	int r;

	if (!want || !mac)
		return err_set(err, ERR_INTERNAL, "out of memory");
	if (!old || nl_addr_get_len(old) != sizeof(spec->mac) ||
	    memcmp(nl_addr_get_binary_addr(old), spec->mac, sizeof(spec->mac)))
		rtnl_link_set_addr(want, mac);
	if (rtnl_link_get_mtu(have) != spec->mtu)
		rtnl_link_set_mtu(want, spec->mtu);
	rtnl_link_set_flags(want, IFF_UP);
	r = rtnl_link_change(links->sock, have, want, 0);
	return r < 0 ? nl_fail(err, r, "set up interface", spec->name) : 0;
}

static int add_address(struct links *links, const struct link_spec *spec,
		       int ifindex, struct error *err)
{
	_cleanup_(put_addr) struct rtnl_addr *addr = rtnl_addr_alloc();
	_cleanup_(put_nl_addr) struct nl_addr *local = ipv4(spec->gateway, 32);
	int r;

	if (!addr || !local)
		return err_set(err, ERR_INTERNAL, "out of memory");
	rtnl_addr_set_ifindex(addr, ifindex);
	rtnl_addr_set_local(addr, local);
	rtnl_addr_set_scope(addr, RT_SCOPE_LINK);
	r = rtnl_addr_add(links->sock, addr, NLM_F_REPLACE);
	return r < 0 && r != -NLE_EXIST
		       ? nl_fail(err, r, "give an address to", spec->name)
		       : 0;
}

static int add_neighbour(struct links *links, const struct link_spec *spec,
			 int ifindex, struct error *err)
{
	_cleanup_(put_neigh) struct rtnl_neigh *n = rtnl_neigh_alloc();
	_cleanup_(put_nl_addr) struct nl_addr *peer = ipv4(spec->peer, 32);
	_cleanup_(put_nl_addr) struct nl_addr *mac =
		nl_addr_build(AF_LLC, spec->peer_mac, sizeof(spec->peer_mac));
	int r;

	if (!n || !peer || !mac)
		return err_set(err, ERR_INTERNAL, "out of memory");
	rtnl_neigh_set_ifindex(n, ifindex);
	rtnl_neigh_set_dst(n, peer);
	rtnl_neigh_set_lladdr(n, mac);
	rtnl_neigh_set_state(n, NUD_PERMANENT);
	r = rtnl_neigh_add(links->sock, n, NLM_F_CREATE | NLM_F_REPLACE);
	return r < 0 ? nl_fail(err, r, "set the neighbour on", spec->name) : 0;
}

static int add_route(struct links *links, const struct link_spec *spec,
		     int ifindex, struct error *err)
{
	_cleanup_(put_route) struct rtnl_route *route = rtnl_route_alloc();
	_cleanup_(put_nl_addr) struct nl_addr *dst = ipv4(spec->peer, 32);
	_cleanup_(put_nl_addr) struct nl_addr *src = ipv4(spec->gateway, 32);
	struct rtnl_nexthop *nh = rtnl_route_nh_alloc();
	int r;

	if (!route || !dst || !src || !nh) {
		rtnl_route_nh_free(nh);
		return err_set(err, ERR_INTERNAL, "out of memory");
	}
	rtnl_route_nh_set_ifindex(nh, ifindex);
	rtnl_route_add_nexthop(route, nh); /* now the route's */
	rtnl_route_set_family(route, AF_INET);
	rtnl_route_set_table(route, RT_TABLE_MAIN);
	rtnl_route_set_scope(route, RT_SCOPE_LINK);
	rtnl_route_set_protocol(route, RTPROT_STATIC);
	rtnl_route_set_type(route, RTN_UNICAST);
	rtnl_route_set_dst(route, dst);
	rtnl_route_set_pref_src(route, src);
	r = rtnl_route_add(links->sock, route, NLM_F_CREATE | NLM_F_REPLACE);
	return r < 0 ? nl_fail(err, r, "route a guest's address to", spec->name)
		     : 0;
}

int link_set_up(struct links *links, const struct link_spec *spec,
		uint32_t *ret_ifindex, struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *have = NULL;
	int ifindex, r;

	r = rtnl_link_get_kernel(links->sock, 0, spec->name, &have);
	if (r < 0)
		return nl_fail(err, r, "find interface", spec->name);
	ifindex = rtnl_link_get_ifindex(have);
	if (change_link(links, spec, have, err) < 0 ||
	    add_address(links, spec, ifindex, err) < 0 ||
	    add_neighbour(links, spec, ifindex, err) < 0 ||
	    add_route(links, spec, ifindex, err) < 0)
		return -1;
	*ret_ifindex = (uint32_t)ifindex;
	return 0;
}

int link_counters(struct links *links, const char *name,
		  struct link_counters *ret, struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *link = NULL;
	int r = rtnl_link_get_kernel(links->sock, 0, name, &link);

	if (r < 0)
		return nl_fail(err, r, "count on", name);
	ret->rx_bytes = rtnl_link_get_stat(link, RTNL_LINK_RX_BYTES);
	ret->tx_bytes = rtnl_link_get_stat(link, RTNL_LINK_TX_BYTES);
	ret->rx_packets = rtnl_link_get_stat(link, RTNL_LINK_RX_PACKETS);
	ret->tx_packets = rtnl_link_get_stat(link, RTNL_LINK_TX_PACKETS);
	return 0;
}

static bool is_missing(int r)
{
	return r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND;
}

int link_delete(struct links *links, const char *name, struct error *err)
{
	_cleanup_(put_link) struct rtnl_link *link = rtnl_link_alloc();
	int r;

	if (!link)
		return err_set(err, ERR_INTERNAL, "out of memory");
	rtnl_link_set_name(link, name);
	r = rtnl_link_delete(links->sock, link);
	if (r < 0 && !is_missing(r))
		return nl_fail(err, r, "delete interface", name);
	return 0;
}

/* By hand: libnl 3.7 sends no group. @ifindex 0: all of the group. */
static int send_group(struct links *links, int type, unsigned int ifindex)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC,
				  .ifi_index = (int)ifindex };
	struct nl_msg *msg = nlmsg_alloc_simple(type, 0);

	if (!msg)
		return -NLE_NOMEM;
	/* A new message has room for both. */
	nlmsg_append(msg, &info, sizeof(info), NLMSG_ALIGNTO);
	nla_put_u32(msg, IFLA_GROUP, GOING_GROUP);
	return nl_send_sync(links->sock, msg);
}

int links_delete_all(struct links *links, const char (*names)[IFNAMSIZ],
		     size_t n, struct error *err)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		unsigned int ifindex = if_nametoindex(names[i]);

		if (!ifindex)
			continue;
		r = send_group(links, RTM_SETLINK, ifindex);
		if (r < 0 && !is_missing(r))
			return nl_fail(err, r, "set the group of", names[i]);
	}
	r = send_group(links, RTM_DELLINK, 0);
	if (r < 0 && !is_missing(r))
		return err_set(err, ERR_INTERNAL, "delete %zu interfaces: %s",
			       n, nl_geterror(r));
	return 0;
}

struct each {
	void (*fn)(const char *name, void *arg);
	void *arg;
};

static void each_link(struct nl_object *obj, void *arg)
{
	struct each *each = arg;
	const char *name = rtnl_link_get_name((struct rtnl_link *)obj);

	if (name)
		each->fn(name, each->arg);
}

int links_each(struct links *links, void (*fn)(const char *name, void *arg),
	       void *arg, struct error *err)
{
	_cleanup_(put_cache) struct nl_cache *cache = NULL;
	struct each each = { fn, arg };
	int r = rtnl_link_alloc_cache(links->sock, AF_UNSPEC, &cache);

	if (r < 0)
		return err_set(err, ERR_INTERNAL, "list interfaces: %s",
			       nl_geterror(r));
	nl_cache_foreach(cache, each_link, &each);
	return 0;
}

struct best {
	int ifindex;
	uint32_t metric;
};

static void each_route(struct nl_object *obj, void *arg)
{
	struct rtnl_route *route = (struct rtnl_route *)obj;
	struct nl_addr *dst = rtnl_route_get_dst(route);
	struct rtnl_nexthop *nh = rtnl_route_nexthop_n(route, 0);
	struct best *best = arg;

	if (rtnl_route_get_type(route) != RTN_UNICAST || !nh ||
	    rtnl_route_get_table(route) != RT_TABLE_MAIN ||
	    (dst && nl_addr_get_prefixlen(dst) != 0))
		return;
	if (!best->ifindex || rtnl_route_get_priority(route) < best->metric) {
		best->ifindex = rtnl_route_nh_get_ifindex(nh);
		best->metric = rtnl_route_get_priority(route);
	}
}

int links_uplink(struct links *links, char ret[IFNAMSIZ], struct error *err)
{
	_cleanup_(put_cache) struct nl_cache *cache = NULL;
	struct best best = { 0 };
	int r = rtnl_route_alloc_cache(links->sock, AF_INET, 0, &cache);

	if (r < 0)
		return err_set(err, ERR_INTERNAL, "list routes: %s",
			       nl_geterror(r));
	nl_cache_foreach(cache, each_route, &best);
	if (!best.ifindex || !if_indextoname((unsigned int)best.ifindex, ret))
		return err_set(err, ERR_NOT_FOUND,
			       "there is no default route to find the uplink "
			       "by");
	return 0;
}
