/* SPDX-License-Identifier: Apache-2.0 */
/* conntrack.h - flows that the kernel follows, found by their slot's mark */
#ifndef ENGINE_CONNTRACK_H
#define ENGINE_CONNTRACK_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct nft;

#define CONNTRACK_TUPLE_MAX 128

/**
 * struct flow - One of them, as it was opened
 * @mark:	Its slot's
 * @source, @destination: Host order
 * @answers:	Who really answers; another one when it was redirected
 * @tuple:	The kernel's own description, to name it by
 */
struct flow {
	uint32_t mark;
	uint32_t source, destination, answers;
	uint16_t port;
	uint8_t protocol;
	uint8_t tuple[CONNTRACK_TUPLE_MAX];
	size_t tuple_len;
};

typedef void (*flow_fn)(const struct flow *flow, void *arg);

/* Those of a mark; 0: of any but none. The kernel looks at its whole table for
 * it, some milliseconds, however few there are. @fn is not to use @nft.
 */
int conntrack_each(struct nft *nft, uint32_t mark, flow_fn fn, void *arg,
		   struct error *err);

/* Forget one flow, or all of a mark: the next packet is judged anew. What is
 * gone already is fine.
 */
int conntrack_cut(struct nft *nft, const struct flow *flow, struct error *err);
int conntrack_cut_all(struct nft *nft, uint32_t mark, struct error *err);

#endif /* ENGINE_CONNTRACK_H */
