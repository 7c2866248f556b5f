/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_splice.h - what binds connections to names in the packet filter (pure)
 *
 * The .c says how it works. Called by netpol_base.c and netpol_shape.c only.
 */
#ifndef ENGINE_NETPOL_SPLICE_H
#define ENGINE_NETPOL_SPLICE_H

#include "engine/net/netpol.h"
#include "engine/net/netpol_rule.h"

/* Maps of shapes to their chains: where connections are diverted, admitted, may
 * go on to.
 */
#define NETPOL_BOUND   "bound"
#define NETPOL_SPLICED "spliced"
#define NETPOL_ONWARD  "onward"
/* Of slots with such rules, by their mark: to their shape; and packets' mark and
 * that of their connection.
 */
#define NETPOL_UPSTREAMS  "upstreams"
#define NETPOL_FLOW_MARKS "flow-marks"
/* How many connections a slot has: by its mark and its limit. */
#define NETPOL_FLOWS "flows"

/* The part of all slots: sets, chains, rules; and those of input. */
void netpol_splice_sets(struct nft_batch *b);
void netpol_splice_chains(struct nft_batch *b);
void netpol_splice_base(struct nft_batch *b, const struct netpol_node *node);
void netpol_splice_input(struct nft_batch *b, const struct netpol_node *node);

/* A shape's rules: which connections of its guests go to the splice; where they
 * may go on to.
 */
void netpol_splice_divert(struct nft_batch *b, const char *chain,
			  const struct plan_shape *shape);
void netpol_splice_upstream(struct nft_batch *b, const char *chain,
			    const struct plan_shape *shape);

#endif /* ENGINE_NETPOL_SPLICE_H */
