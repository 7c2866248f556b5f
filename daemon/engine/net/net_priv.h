/* SPDX-License-Identifier: Apache-2.0 */
/* net_priv.h - what the files of struct net share */
#ifndef ENGINE_NET_PRIV_H
#define ENGINE_NET_PRIV_H

#include "engine/net.h"
#include "engine/net/net_learned.h"
#include "engine/net/netpol.h"

#include <systemd/sd-event.h>

struct denials;
struct grants;
struct links;
struct net_flows;
struct net_shapes;
struct net_taps;
struct net_watch;
struct nft;
struct nft_batch;
struct nft_got_elem;
struct resolver_learn;
struct resolver_link;
struct splice_link;

/* What an attached slot was attached with. */
struct net_slot {
	struct slot slot;
	uint64_t generation;
	uint32_t ifindex;
	bool has_policy;
	struct net_policy policy;
	struct net_limits limits;
	struct plan plan;
};

/**
 * struct net_shape - Rules that slots share
 * @binds:	Connections to names
 * @rules:	How many, if it is @there, in the kernel
 * @users:	Slots that lead to it
 * @used:	When the last left, as a count
 */
struct net_shape {
	struct plan_shape *what;
	uint32_t id, rules, users;
	bool binds, there;
	uint64_t used;
};

/* Ranges that the kernel may have of a slot, in order. */
struct net_ranges {
	struct netpol_range *list;
	size_t n, room;
};

struct net {
	struct loop *loop;
	struct net_config config;
	net_denied_fn denied;
	void *arg;
	int claim; /* net_socket_claim() */
	char uplink[IFNAMSIZ];
	struct links *links;
	struct nft *nft;
	struct resolver_link *resolver;
	struct splice_link *splice;
	struct grants *grants; /* what the splice has open */
	uint64_t *misnamed;    /* by slot: refused for their names */
	struct denials *denials;
	struct netpol_node node;
	struct hard_range hard[HARD_RANGES_MAX];
	/* By slot number. What the kernel has; what was learned; and the slots
	 * that are attached.
	 */
	struct netpol_objects *have;
	struct net_shape **shape_of; /* that it leads to; NULL: not known */
	struct net_ranges *ranges;
	struct learned_table *learned;
	struct net_slot **slots;
	uint32_t n_attached, base_rules;
	/* Between net_gather() and net_sweep(): what is not yet sent, of how
	 * many slots, and whether some of it was refused.
	 */
	struct nft_batch *gather;
	uint32_t n_gathered;
	bool unsound;
	bool unswept; /* there may be objects of slots that are not attached */
	sd_event_source *check, *mend;
	uint64_t mended_ms;
	struct net_watch *watch;
	struct net_flows *flows;
	struct net_taps *taps;
	struct net_shapes *shapes;
};

/* ---- net.c ---- */

/* Send what is gathered. */
void net_gather_send(struct net *net);

/* ---- net.c ---- */

/* A slot's, host order. */
uint32_t net_address(const struct net *net, uint32_t number);

/* ---- net_learn.c ---- */

/* Bit g: what is learned for this name goes into group g. */
uint32_t net_groups_of_name(const struct net_slot *s, const char *name);

/* Have the kernel's sets say of a slot what its table says, for the policy of @s
 * (NULL: nobody's): of all its entries or of those that are dirty. Once the batch
 * is in: learned_committed().
 */
void net_write_learned(struct net *net, struct nft_batch *b, uint32_t number,
		       const struct net_slot *s, bool all);

/* Open what the resolver found. 0: it is in the kernel. */
int net_learn(struct net *net, const struct resolver_learn *learn,
	      struct error *err);

/* ---- net_names.c ---- */

/* Starts the resolver, and the timer that keeps addresses in use. */
int net_names_open(struct net *net, struct error *err);

/* ---- net_flows.c ---- */

/* Starts the timer that keeps addresses in use open. */
int net_flows_open(struct net *net, struct error *err);
void net_flows_close(struct net *net);

/* How many a slot has, as of the last second. */
int net_flows_count(struct net *net, const struct slot *slot, uint32_t *ret,
		    struct error *err);

/* ---- net_shapes.c ---- */

void net_shapes_open(struct net *net);
void net_shapes_close(struct net *net);
/* The one that a plan's rules are of; made if there is none. */
struct net_shape *net_shape_of(struct net *net, const struct plan *plan);
/* Its chains, unless they are there. Once the batch is in, say so in @there; if it
 * is not: net_shape_failed().
 */
void net_shape_write(struct nft_batch *b, struct net_shape *s);
void net_shape_failed(struct net *net, struct net_shape *s);
/* A slot leads to it now; NULL: to none. */
void net_shape_use(struct net *net, uint32_t number, struct net_shape *s);
/* The kernel has none any more, or (not @surely) that is not known. */
void net_shapes_lost(struct net *net, bool surely);
/* NULL: there are not so many. */
struct net_shape *net_shape_at(const struct net *net, uint32_t i);
/* A chain of an earlier process; false: of no shape. Then take those away, and
 * once that is done forget them.
 */
bool net_shapes_note(struct net *net, const char *chain);
void net_shapes_sweep(struct net *net, struct nft_batch *b);
void net_shapes_swept(struct net *net);

/* ---- net_ranges.c ---- */

/* Have the kernel's set say of a slot what @plan says; NULL: nothing. Once the
 * batch is in: net_ranges_committed().
 */
void net_write_ranges(struct net *net, struct nft_batch *b, uint32_t number,
		      const struct plan *plan);
void net_ranges_committed(struct net *net, uint32_t number,
			  const struct plan *plan);
/* It has this one, too; none any more. */
void net_ranges_note(struct net_ranges *t, const struct netpol_range *range);
void net_ranges_lost(struct net *net, uint32_t number);

/* ---- net.c ---- */

/* A name, a packet or (@address not "") a connection of a slot was refused. */
void net_note_denial(struct net *net, uint32_t slot, const char *target,
		     const char *address, uint16_t port, uint8_t protocol,
		     const char *rule);

/* ---- net_splice.c ---- */

/* Starts the splice. */
int net_splice_open(struct net *net, struct error *err);
/* @keep: what it has open goes on. */
void net_splice_close(struct net *net, bool keep);
/* End what the slot's present policy does not allow; without one, all. */
void net_splice_recheck(struct net *net, uint32_t slot);
/* End all that the slot has. */
void net_splice_cut(struct net *net, uint32_t slot);

/* ---- net_repair.c ---- */

/* The first part of an element's key: an interface, or a mark that stands for one. */
bool net_key_tap(const struct netpol_keyed *set, const struct nft_got_elem *e,
		 char ret[IFNAMSIZ]);

/* Takes stock of what there is, and makes the base rules. */
int net_filter_open(struct net *net, struct error *err);
int net_start_checking(struct net *net, struct error *err);

#endif /* ENGINE_NET_PRIV_H */
