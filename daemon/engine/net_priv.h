/* SPDX-License-Identifier: Apache-2.0 */
/* net_priv.h - what net.c, net_names.c and net_repair.c share */
#ifndef ENGINE_NET_PRIV_H
#define ENGINE_NET_PRIV_H

#include "engine/net.h"
#include "engine/net_learned.h"
#include "engine/netpol.h"

#include <systemd/sd-event.h>

struct denials;
struct links;
struct nft;
struct nft_batch;
struct resolver_learn;
struct resolver_link;

/* What an attached slot was attached with. */
struct net_slot {
	struct slot slot;
	uint64_t generation;
	uint32_t ifindex;
	bool has_policy;
	struct net_policy policy;
	struct net_limits limits;
	struct plan plan;
	uint32_t rules; /* of its chains */
};

struct net {
	struct loop *loop;
	struct net_config config;
	net_denied_fn denied;
	void *arg;
	char uplink[IFNAMSIZ];
	struct links *links;
	struct nft *nft;
	struct resolver_link *resolver;
	struct denials *denials;
	struct netpol_node node;
	struct hard_range hard[HARD_RANGES_MAX];
	/* By slot number. What the kernel has; what was learned; and the slots
	 * that are attached.
	 */
	struct netpol_objects *have;
	struct learned_table *learned;
	struct net_slot **slots;
	uint32_t n_attached, base_rules;
	bool unswept; /* there may be objects of slots that are not attached */
	sd_event_source *check, *renew;
};

/* ---- net_names.c ---- */

/* Bit g: what is learned for this name goes into group g. */
uint32_t net_groups_of_name(const struct net_slot *s, const char *name);

/* All that still holds, into sets that are empty. */
void net_put_all_learned(struct net *net, struct nft_batch *b,
			 const struct net_slot *s);

/* Starts the resolver, and the timer that keeps addresses in use. */
int net_names_open(struct net *net, struct error *err);

/* ---- net_repair.c ---- */

/* Takes stock of what there is, and makes the base rules. */
int net_filter_open(struct net *net, struct error *err);
void net_start_checking(struct net *net);

#endif /* ENGINE_NET_PRIV_H */
