/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_splice.h - what binds connections to names in the packet filter (pure)
 *
 * The .c says how it works. Called by netpol_base.c and netpol_slot.c only.
 */
#ifndef ENGINE_NETPOL_SPLICE_H
#define ENGINE_NETPOL_SPLICE_H

#include "engine/net/netpol.h"

/* Maps to slots' chains, by interface and by the mark of what goes out. */
#define NETPOL_BOUND	 "bound"
#define NETPOL_SPLICED	 "spliced"
#define NETPOL_UPSTREAMS "upstreams"

/* The part of all slots: sets, chains, rules; and those of input. */
void netpol_splice_sets(struct nft_batch *b);
void netpol_splice_chains(struct nft_batch *b);
void netpol_splice_base(struct nft_batch *b, const struct netpol_node *node);
void netpol_splice_input(struct nft_batch *b, const struct netpol_node *node);

/* One slot's chains (@there: they are, and empty), and what leads to them. */
void netpol_splice_slot(struct nft_batch *b, const struct slot *slot,
			const struct plan *plan, bool there);
void netpol_splice_elems(struct nft_batch *b, bool add,
			 const struct slot *slot);
/* Empty its chains; remove them, once nothing leads there. */
void netpol_splice_flush(struct nft_batch *b, uint32_t number);
void netpol_splice_del(struct nft_batch *b, uint32_t number);

#endif /* ENGINE_NETPOL_SPLICE_H */
