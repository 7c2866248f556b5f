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
 * @slot:	Its chain, and the element that leads there
 * @bound:	The elements that let its tap through the guard
 * @names:	Chains and elements of what must say its name
 * @policy, @limits: Chains of their own
 * @allow, @deny: Sets of addresses
 * @empty:	Those sets are known to be
 * @rules:	How many in its chains
 */
struct netpol_objects {
	bool slot, bound, names, policy, limits, allow, deny, empty;
	uint32_t rules;
};

/* Tables, base chains and their sets. When they are there already (@anew
 * false), rules and ranges are replaced and what belongs to slots is kept.
 */
void netpol_base(struct nft_batch *b, const struct netpol_node *node,
		 bool anew);
/* Add the empty tables and delete them: works whether they are there or not. */
void netpol_remove_all(struct nft_batch *b);

/**
 * netpol_slot() - Let a slot through as its plan says, instead of what was
 * @have:	What the kernel has of it; afterwards: will have
 *
 * The kernel checks all chains of the table when one is changed, so this costs
 * more the more slots there are. What was learned is not touched.
 */
void netpol_slot(struct nft_batch *b, const struct netpol_node *node,
		 const struct slot *slot, const struct plan *plan,
		 struct netpol_objects *have);

/* The same for a slot whose rules are of the plan's shape already: only what is
 * in its sets is replaced, and its tap bound. Costs the same at any number.
 */
void netpol_slot_fill(struct nft_batch *b, const struct netpol_node *node,
		      const struct slot *slot, const struct plan *plan,
		      struct netpol_objects *have);

/* The rules of a plan (without its addresses) for a slot that has none. Its tap
 * is not bound: nothing passes.
 */
void netpol_slot_ahead(struct nft_batch *b, const struct slot *slot,
		       const struct plan *plan, struct netpol_objects *have);

/* Nothing passes any more, and its own sets are empty; the rules stay. */
void netpol_slot_close(struct nft_batch *b, const struct netpol_node *node,
		       const struct slot *slot, struct netpol_objects *have);

/* Take it all away. */
void netpol_slot_del(struct nft_batch *b, const struct netpol_node *node,
		     const struct slot *slot, struct netpol_objects *have);

/* Its chains and sets, once no element leads to them. */
void netpol_objects_del(struct nft_batch *b, uint32_t number,
			struct netpol_objects *have);

/* ---- learned addresses ---- */

/* Sets that all slots share, of a key's first part (number << 8 | group) and the
 * address: those that rules look up; and those that nothing looks up but whoever
 * takes over after a restart: which names (by hash) brought an address that is
 * bound to them, beside the first, whose group is 0.
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

/* The key of an element of them; false: it is none. @ret_hash: NETPOL_NAMES. */
bool netpol_learned_key(const uint8_t *key, size_t len, uint32_t *ret_number,
			unsigned int *ret_group, uint32_t *ret_address,
			uint32_t *ret_hash);

/* Note an object's name in its slot's entry of @slots (@n of them). False: not
 * a slot's object, or of none of them.
 */
bool netpol_note_chain(const char *name, struct netpol_objects *slots,
		       uint32_t n);
bool netpol_note_set(const char *name, struct netpol_objects *slots,
		     uint32_t n);

/* Sets whose elements belong to slots by their key's first part: name and family,
 * ended by a NULL.
 */
enum netpol_key {
	NETPOL_BY_TAP,
	NETPOL_BY_MARK,
	NETPOL_BY_NUMBER, /* as above: they expire */
};
struct netpol_keyed {
	const char *set;
	uint8_t family;
	enum netpol_key by;
};
extern const struct netpol_keyed netpol_keyed_sets[];

/* What binds a tap to its address: interface, MAC, address. */
#define NETPOL_BIND "bind"

/* The sets that count, by interface. */
#define NETPOL_ALLOWED "allowed"
#define NETPOL_DENIED  "denied"

#endif /* ENGINE_NETPOL_H */
