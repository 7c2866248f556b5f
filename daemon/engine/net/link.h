/* SPDX-License-Identifier: Apache-2.0 */
/* link.h - interfaces, addresses, routes and neighbours by rtnetlink
 *
 * Each call is one or a few round trips to the kernel; main thread.
 */
#ifndef ENGINE_LINK_H
#define ENGINE_LINK_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct links;

int links_open(struct links **ret, struct error *err);
struct links *links_close(struct links *links);

/**
 * struct link_spec - How an interface of a guest is to be
 * @name:	It exists
 * @mac:	Its own
 * @mtu:	Bytes
 * @gateway:	Its address, host order, /32 with link scope
 * @peer:	The one address behind it, host order
 * @peer_mac:	Whose it is: nobody is asked by ARP
 */
struct link_spec {
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t gateway;
	uint32_t peer;
	uint8_t peer_mac[6];
};

/* Up, with address, route and permanent neighbour. May be repeated. */
int link_set_up(struct links *links, const struct link_spec *spec,
		uint32_t *ret_ifindex, struct error *err);

struct link_counters {
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets; /* the host's */
};

int link_counters(struct links *links, const char *name,
		  struct link_counters *ret, struct error *err);

/* Delete an interface of any kind; what is absent is fine. */
int link_delete(struct links *links, const char *name, struct error *err);

/* Delete several, in one go: the kernel takes as long as for one. */
int links_delete_all(struct links *links, const char (*names)[IFNAMSIZ],
		     size_t n, struct error *err);

/* Each interface there is. Not to call links_*() from @fn. */
int links_each(struct links *links, void (*fn)(const char *name, void *arg),
	       void *arg, struct error *err);

/* The interface of the IPv4 default route with the least metric: 0, or -1 with
 * ERR_NOT_FOUND when there is none.
 */
int links_uplink(struct links *links, char ret[IFNAMSIZ], struct error *err);

#endif /* ENGINE_LINK_H */
