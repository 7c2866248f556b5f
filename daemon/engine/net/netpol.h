/* SPDX-License-Identifier: Apache-2.0 */
/* netpol.h - the node's packet filter as nftables batches (pure)
 *
 * What is written here is the whole rule set; the .c says how it works. Nothing
 * is sent from here.
 */
#ifndef ENGINE_NETPOL_H
#define ENGINE_NETPOL_H

#include "engine/net/netpol_hard.h"
#include "engine/net/netpol_plan.h"
#include "engine/slot.h"

struct nft_batch;

/* NFLOG group of refused packets; the prefix is the rule's name. */
#define NETPOL_LOG_GROUP 21314
#define NETPOL_DNS_PORT	 53
/* Where the splice listens for what is redirected to it. */
#define NETPOL_SPLICE_PORT 21315

/* What is the same for all guests of a node. */
struct netpol_node {
	uint32_t pool, pool_mask;
	uint32_t gateway;
	uint8_t guest_mac[6];
	size_t n_hard;
	const struct hard_range *hard;
};

/**
 * struct netpol_objects - What the kernel has of one slot
 * @bound:	The elements that let its tap through, to its shape
 * @names:	Those that let what is bound to names go on
 */
struct netpol_objects {
	bool bound, names;
};

/* Tables, base chains and their sets. When they are there already (@anew
 * false), rules and ranges are replaced and what belongs to slots is kept.
 */
void netpol_base(struct nft_batch *b, const struct netpol_node *node,
		 bool anew);
/* Add the empty tables and delete them: works whether they are there or not. */
void netpol_remove_all(struct nft_batch *b);

/* ---- shapes ---- */

/* What leads from a tap to its slot's mark, which is the first part of all keys
 * below, and to the number of its shape.
 */
#define NETPOL_MARKS  "marks"
#define NETPOL_SHAPES "shapes"

/**
 * netpol_shape() - The chains of a shape that has none, and what leads there
 *
 * The kernel checks all chains of the table then, so this costs more the more
 * shapes there are.
 */
void netpol_shape(struct nft_batch *b, uint32_t id,
		  const struct plan_shape *shape);

/**
 * struct netpol_chains - Which chains of a shape there are
 * @number:	Its number, if @any
 */
struct netpol_chains {
	uint32_t number;
	bool any, names;
};
/* Take them away; no slot leads there. */
void netpol_shape_del(struct nft_batch *b, const struct netpol_chains *chains);

/* Whether it binds connections to names. */
bool netpol_binds(const struct plan_shape *shape);

/* Of which shape the chain of this name is. False: of none. */
bool netpol_note_chain(const char *name, struct netpol_chains *ret);

/* ---- slots ---- */

/**
 * netpol_slot() - Let a slot through by a shape's rules
 * @limits:	Of packets and bytes; NULL: as they are
 * @move:	It may lead to another shape's
 * @have:	What the kernel has of it; afterwards: will have
 *
 * Only elements: costs the same at any number of slots. What was learned and
 * ranges are not touched.
 */
void netpol_slot(struct nft_batch *b, const struct netpol_node *node,
		 const struct slot *slot, uint32_t shape_id, bool binds,
		 const struct net_limits *limits, bool move,
		 struct netpol_objects *have);

/* Nothing passes any more. @limits: those that it had, or NULL. */
void netpol_slot_close(struct nft_batch *b, const struct netpol_node *node,
		       const struct slot *slot, const struct net_limits *limits,
		       struct netpol_objects *have);

/* ---- ranges ---- */

/* The set of what rules with addresses name: by mark, group, address, protocol and
 * port. A group is a pair of lengths, of allow or deny rules.
 */
#define NETPOL_RANGES "ranges"
uint32_t netpol_range_group(bool deny, struct plan_length length);

struct netpol_range {
	bool deny;
	struct plan_range range;
};
/* From an element's key; false: it is none. */
bool netpol_range_key(const uint8_t *key, size_t len, uint32_t *ret_number,
		      struct netpol_range *ret);

/* Add them, whether they are there or not; take them out, the same. */
void netpol_ranges_add(struct nft_batch *b, uint32_t number,
		       const struct netpol_range *ranges, size_t n);
void netpol_ranges_del(struct nft_batch *b, uint32_t number,
		       const struct netpol_range *ranges, size_t n);

/* ---- learned addresses ---- */

/* Sets that all slots share, by mark, group and address: one that rules look up;
 * and one that nothing looks up but whoever takes over after a restart: which
 * names (by hash) brought an address that is bound to them. Its groups are 0.
 */
#define NETPOL_LEARNED "learned"
#define NETPOL_NAMES   "names"

/**
 * struct netpol_learned - An element of either
 * @hash:	Of the name; NETPOL_NAMES only
 * @name:	Noted with it unless it is too long; NULL: none
 */
struct netpol_learned {
	uint32_t number;
	unsigned int group;
	uint32_t address, hash;
	uint64_t timeout_ms;
	const char *name;
};

/* Into that set, where none of them is; its kernel does not renew what there is.
 */
void netpol_learn(struct nft_batch *b, const char *set,
		  const struct netpol_learned *elems, size_t n);
/* Out of it, whether they are there or not. All differ. */
void netpol_forget(struct nft_batch *b, const char *set,
		   const struct netpol_learned *elems, size_t n);

/* The key of an element of these sets; false: it is none.
 * @ret_hash: NETPOL_NAMES.
 */
bool netpol_key(const uint8_t *key, size_t len, uint32_t *ret_number,
		uint32_t *ret_group, uint32_t *ret_address, uint32_t *ret_hash);

/* Sets whose elements belong to slots by their key's first part: name and family,
 * ended by a NULL.
 */
struct netpol_keyed {
	const char *set;
	uint8_t family;
	bool by_mark; /* else by its tap */
	bool expires;
};
extern const struct netpol_keyed netpol_keyed_sets[];

/* What binds a tap to its address: interface, MAC, address. */
#define NETPOL_BIND "bind"

/* Limits, by interface. */
#define NETPOL_PACKETS_FROM "packets-from"
#define NETPOL_BYTES_FROM   "bytes-from"
#define NETPOL_BYTES_TO	    "bytes-to"

/* The sets that count, by interface. */
#define NETPOL_ALLOWED "allowed"
#define NETPOL_DENIED  "denied"

#endif /* ENGINE_NETPOL_H */
