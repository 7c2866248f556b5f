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
struct net_ahead;
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
	struct plan_shape **shapes; /* of the rules it has; NULL: not known */
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
	struct net_ahead *ahead;
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

/* ---- net_ahead.c ---- */

void net_ahead_open(struct net *net);
void net_ahead_close(struct net *net);
/* It is known which slots are guests'. */
void net_ahead_begin(struct net *net);
/* A slot was given rules of this shape; its guest is gone. */
void net_ahead_took(struct net *net, uint32_t number);
void net_ahead_gave(struct net *net, uint32_t number);
/* What the kernel has of a slot is not known to be of any shape. */
void net_set_shape(struct net *net, uint32_t number, const struct plan *plan);

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

/* The first part of an element's key: an interface, or a number that stands for
 * one.
 */
bool net_key_tap(const struct netpol_keyed *set, const struct nft_got_elem *e,
		 char ret[IFNAMSIZ]);

/* Takes stock of what there is, and makes the base rules. */
int net_filter_open(struct net *net, struct error *err);
int net_start_checking(struct net *net, struct error *err);

#endif /* ENGINE_NET_PRIV_H */
