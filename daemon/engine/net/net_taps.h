/* SPDX-License-Identifier: Apache-2.0 */
/* net_taps.h - taps made ahead, and taken away behind
 *
 * Making a tap costs a millisecond, taking one away twenty (the kernel waits
 * until nobody can see it any more), and both hold a lock that every change of
 * interfaces needs. So a thread of its own does both: the taps of the numbers
 * that come next stand ready, and what a guest leaves goes when it can.
 *
 * Main thread, but for what net_taps.c says.
 */
#ifndef ENGINE_NET_TAPS_H
#define ENGINE_NET_TAPS_H

#include "engine/net/link.h"
#include "engine/slot.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct loop;
struct net_taps;

#define NET_TAPS_AHEAD 16u /* ready for guests that come */

/* Fills in a slot's names and numbers. */
typedef void (*net_taps_slot_fn)(uint32_t number, struct slot *ret,
				 const void *arg);

/* @like: of every tap, but for name and peer. */
int net_taps_open(struct loop *loop, uint32_t slots,
		  const struct link_spec *like, net_taps_slot_fn slot,
		  const void *arg, struct net_taps **ret, struct error *err);

/* Waits for what is being done, and takes away what stood ready. */
struct net_taps *net_taps_close(struct net_taps *taps);

/**
 * net_taps_take() - A tap for a guest: up, with address, route and neighbour
 *
 * The one made ahead, or made now. One that is on its way out goes first: the
 * caller waits for that. One that a guest has already (after a restart, or
 * asked for again) is put right and stays.
 */
int net_taps_take(struct net_taps *taps, const struct slot *slot,
		  uint32_t *ret_ifindex, struct error *err);

/* No guest has it any more, and no rule lets it speak: soon it is gone, and
 * all flows with its mark.
 */
void net_taps_give(struct net_taps *taps, uint32_t number);

/* It is made or taken away by this, or is a guest's. */
bool net_taps_has(struct net_taps *taps, uint32_t number);

/* Begin to make taps ahead: once it is known which are guests'. */
void net_taps_begin(struct net_taps *taps);

/* Wait until nothing is under way. */
void net_taps_settle(struct net_taps *taps);

#endif /* ENGINE_NET_TAPS_H */
