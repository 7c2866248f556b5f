/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_slot.c - one slot's part of the packet filter: elements (pure)
 *
 * netpol_base.c says how it all works together.
 */
#include "engine/net/netpol.h"

#include "base/mem.h"
#include "engine/net/netpol_splice.h"
#include "engine/net/nft_expr.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

const struct netpol_keyed netpol_keyed_sets[] = {
	{ NETPOL_BIND, NFPROTO_INET, false, false },
	{ NETPOL_MARKS, NFPROTO_INET, false, false },
	{ NETPOL_SHAPES, NFPROTO_INET, false, false },
	{ NETPOL_PACKETS_FROM, NFPROTO_INET, false, false },
	{ NETPOL_BYTES_FROM, NFPROTO_INET, false, false },
	{ NETPOL_BYTES_TO, NFPROTO_INET, false, false },
	{ NETPOL_ALLOWED, NFPROTO_INET, false, false },
	{ NETPOL_DENIED, NFPROTO_INET, false, false },
	{ NETPOL_UPSTREAMS, NFPROTO_INET, true, false },
	{ NETPOL_FLOW_MARKS, NFPROTO_INET, true, false },
	{ NETPOL_RANGES, NFPROTO_INET, true, false },
	{ NETPOL_LEARNED, NFPROTO_INET, true, true },
	{ NETPOL_NAMES, NFPROTO_INET, true, true },
	{ NETPOL_BIND, NFPROTO_ARP, false, false },
	{ NULL, 0, false, false },
};

static void one_elem(struct nft_batch *b, bool add, const char *set,
		     const void *key, size_t len, const uint32_t *data)
{
	struct nft_elem e = { .key = key, .key_len = len };

	if (data && add) {
		e.data = (const uint8_t *)data;
		e.data_len = sizeof(*data);
	}
	if (add)
		nft_elems_add(b, set, &e, 1);
	else
		nft_elems_del(b, set, &e, 1);
}

struct slot_keys {
	uint8_t name[16];
	uint8_t bind[28]; /* interface, MAC (padded), address */
	uint8_t arp[20];  /* interface, address */
};

static void make_keys(const struct netpol_node *node, const struct slot *slot,
		      struct slot_keys *ret)
{
	uint32_t address = htonl(slot->address);

	memset(ret, 0, sizeof(*ret));
	nft_key_ifname(ret->name, slot->tap);
	memcpy(ret->bind, ret->name, 16);
	memcpy(ret->bind + 16, node->guest_mac, 6);
	memcpy(ret->bind + 24, &address, 4);
	memcpy(ret->arp, ret->name, 16);
	memcpy(ret->arp + 16, &address, 4);
}

static void bind_elems(struct nft_batch *b, bool add,
		       const struct netpol_node *node, const struct slot *slot)
{
	struct slot_keys k;

	make_keys(node, slot, &k);
	one_elem(b, add, NETPOL_BIND, k.bind, sizeof(k.bind), NULL);
	one_elem(b, add, NETPOL_MARKS, k.name, 16, &slot->mark);
	one_elem(b, add, NETPOL_ALLOWED, k.name, 16, NULL);
	one_elem(b, add, NETPOL_DENIED, k.name, 16, NULL);
	b->family = NFPROTO_ARP;
	one_elem(b, add, NETPOL_BIND, k.arp, sizeof(k.arp), NULL);
	b->family = NFPROTO_INET;
}

static void shape_elem(struct nft_batch *b, bool add, const struct slot *slot,
		       uint32_t id)
{
	uint8_t key[16];

	nft_key_ifname(key, slot->tap);
	one_elem(b, add, NETPOL_SHAPES, key, sizeof(key), &id);
}

/* What the splice has for it is known by both marks. */
static void name_elems(struct nft_batch *b, bool add, const struct slot *slot,
		       uint32_t id)
{
	const uint32_t both[2] = { slot->mark, slot->mark };

	one_elem(b, add, NETPOL_UPSTREAMS, &slot->mark, sizeof(slot->mark),
		 &id);
	one_elem(b, add, NETPOL_FLOW_MARKS, both, sizeof(both), NULL);
}

/* The kernel's bucket for bytes holds a second's worth and the burst beside it:
 * without one, at most rate * (t + 1) bytes pass in any t seconds. The least rate
 * is more than the largest packet.
 *
 * Deleting what is absent would fail the batch, so what is to go is added first;
 * without limits of its own, as those of one that is there are not compared.
 */
static void limit_elem(struct nft_batch *b, const char *set,
		       const struct slot *slot, const struct nft_limit *limit)
{
	uint8_t key[16];
	struct nft_elem e = { .key = key, .key_len = sizeof(key) };

	nft_key_ifname(key, slot->tap);
	nft_elems_add(b, set, &e, 1);
	nft_elems_del(b, set, &e, 1);
	e.over = limit;
	if (limit && limit->per_s)
		nft_elems_add(b, set, &e, 1);
}

static void limit_elems(struct nft_batch *b, const struct slot *slot,
			const struct net_limits *l)
{
	uint32_t pps = l->packets_per_second;
	const struct nft_limit packets = { .per_s = pps,
					   .burst = pps / 10 + 16 };
	const struct nft_limit bytes = {
		.bytes = true, .per_s = (uint64_t)l->bandwidth_mbps * 125000
	};

	limit_elem(b, NETPOL_PACKETS_FROM, slot, &packets);
	limit_elem(b, NETPOL_BYTES_FROM, slot, &bytes);
	limit_elem(b, NETPOL_BYTES_TO, slot, &bytes);
}

void netpol_slot(struct nft_batch *b, const struct netpol_node *node,
		 const struct slot *slot, uint32_t shape_id, bool binds,
		 const struct net_limits *limits, bool move,
		 struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	/* Where one leads is not changed by adding it again. */
	if (have->bound && move)
		shape_elem(b, false, slot, 0);
	if (have->names && (move || !binds))
		name_elems(b, false, slot, 0);
	shape_elem(b, true, slot, shape_id);
	if (binds)
		name_elems(b, true, slot, shape_id);
	if (limits)
		limit_elems(b, slot, limits);
	bind_elems(b, true, node, slot);
	have->bound = true;
	have->names = binds;
}

void netpol_slot_close(struct nft_batch *b, const struct netpol_node *node,
		       const struct slot *slot, const struct net_limits *limits,
		       struct netpol_objects *have)
{
	b->family = NFPROTO_INET;
	if (have->bound) {
		bind_elems(b, false, node, slot);
		shape_elem(b, false, slot, 0);
	}
	if (have->names)
		name_elems(b, false, slot, 0);
	if (!limits || limits->packets_per_second || limits->bandwidth_mbps)
		limit_elems(b, slot, &(struct net_limits){ 0 });
	/* There only if it had a connection: see ranges below. */
	if (limits && limits->connections_max) {
		const uint32_t key[2] = { slot->mark, limits->connections_max };

		one_elem(b, true, NETPOL_FLOWS, key, sizeof(key), NULL);
		one_elem(b, false, NETPOL_FLOWS, key, sizeof(key), NULL);
	}
	*have = (struct netpol_objects){ 0 };
}

/* ---- ranges and learned addresses --------------------------------------- */

#define GONE_SOON_MS 1000

struct address_key {
	uint32_t mark, group, address, hash;
};

#define SHORT_KEY offsetof(struct address_key, hash)

#define GROUP_DENY 0x10000u

struct range_key {
	uint32_t mark, group, address;
	uint8_t protocol, pad1[3];
	uint16_t port;
	uint8_t pad2[2];
};

uint32_t netpol_range_group(bool deny, struct plan_length length)
{
	return (deny ? GROUP_DENY : 0) | (uint32_t)length.address << 8 |
	       length.port;
}

bool netpol_range_key(const uint8_t *key, size_t len, uint32_t *ret_number,
		      struct netpol_range *ret)
{
	struct range_key k;

	if (len != sizeof(k))
		return false;
	memcpy(&k, key, sizeof(k));
	*ret_number = k.mark - SLOT_MARK_BASE;
	*ret = (struct netpol_range){
		.deny = k.group & GROUP_DENY,
		.range = { .length = { (uint8_t)(k.group >> 8),
				       (uint8_t)k.group },
			   .address = ntohl(k.address),
			   .protocol = k.protocol,
			   .port = ntohs(k.port) }
	};
	return true;
}

/* Deleting what is absent would fail the batch, and adding what is there changes
 * nothing.
 */
static void put_ranges(struct nft_batch *b, uint32_t number,
		       const struct netpol_range *ranges, size_t n, bool del)
{
	struct range_key *keys = xcalloc(n, sizeof(*keys));
	struct nft_elem *list = xcalloc(n, sizeof(*list));

	b->family = NFPROTO_INET;
	for (size_t i = 0; i < n; i++) {
		const struct plan_range *r = &ranges[i].range;

		keys[i] = (struct range_key){
			.mark = SLOT_MARK_BASE + number,
			.group = netpol_range_group(ranges[i].deny, r->length),
			.address = htonl(r->address),
			.protocol = r->protocol,
			.port = htons(r->port)
		};
		list[i] = (struct nft_elem){ .key = (uint8_t *)&keys[i],
					     .key_len = sizeof(keys[i]) };
	}
	if (n)
		nft_elems_add(b, NETPOL_RANGES, list, n);
	if (n && del)
		nft_elems_del(b, NETPOL_RANGES, list, n);
	free(keys);
	free(list);
}

void netpol_ranges_add(struct nft_batch *b, uint32_t number,
		       const struct netpol_range *ranges, size_t n)
{
	put_ranges(b, number, ranges, n, false);
}

void netpol_ranges_del(struct nft_batch *b, uint32_t number,
		       const struct netpol_range *ranges, size_t n)
{
	put_ranges(b, number, ranges, n, true);
}

static void learned_elems(struct nft_batch *b, const char *set,
			  const struct netpol_learned *elems, size_t n,
			  bool add, bool keep)
{
	struct address_key *keys = xcalloc(n, sizeof(*keys));
	struct nft_elem *list = xcalloc(n, sizeof(*list));
	bool names = !strcmp(set, NETPOL_NAMES);

	for (size_t i = 0; i < n; i++) {
		const struct netpol_learned *e = &elems[i];

		keys[i] = (struct address_key){ SLOT_MARK_BASE + e->number,
						e->group, htonl(e->address),
						e->hash };
		list[i] = (struct nft_elem){
			.key = (uint8_t *)&keys[i],
			.key_len = names ? sizeof(keys[i]) : SHORT_KEY,
		};
		if (!add)
			continue;
		list[i].timeout_ms = keep ? e->timeout_ms : GONE_SOON_MS;
		if (keep && e->name && strlen(e->name) <= NFT_COMMENT_MAX)
			list[i].comment = e->name;
	}
	if (n && add)
		nft_elems_add(b, set, list, n);
	else if (n)
		nft_elems_del(b, set, list, n);
	free(keys);
	free(list);
}

void netpol_learn(struct nft_batch *b, const char *set,
		  const struct netpol_learned *elems, size_t n)
{
	learned_elems(b, set, elems, n, true, true);
}

/* As with ranges. */
void netpol_forget(struct nft_batch *b, const char *set,
		   const struct netpol_learned *elems, size_t n)
{
	learned_elems(b, set, elems, n, true, false);
	learned_elems(b, set, elems, n, false, false);
}

bool netpol_key(const uint8_t *key, size_t len, uint32_t *ret_number,
		uint32_t *ret_group, uint32_t *ret_address, uint32_t *ret_hash)
{
	struct address_key k = { 0 };

	if (len < SHORT_KEY)
		return false;
	memcpy(&k, key, len < sizeof(k) ? len : sizeof(k));
	*ret_number = k.mark - SLOT_MARK_BASE;
	*ret_group = k.group;
	*ret_address = ntohl(k.address);
	*ret_hash = k.hash;
	return true;
}
