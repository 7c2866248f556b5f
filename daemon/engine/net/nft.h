/* SPDX-License-Identifier: Apache-2.0 */
/* nft.h - nftables transactions, and questions, over netlink
 *
 * One socket; main thread. What a batch holds comes from nft_expr.h.
 */
#ifndef ENGINE_NFT_H
#define ENGINE_NFT_H

#include "engine/net/nft_reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct nft;
struct nft_batch;

int nft_open(struct nft **ret, struct error *err);
struct nft *nft_close(struct nft *nft);

/**
 * nft_commit() - Have the kernel take a whole batch, or nothing of it
 *
 * Retries by itself when another program changed rules in between (nobody else
 * writes our table, so the batch is still right then), and remembers that for
 * nft_foreign(). On failure nothing was applied, but for ERR_UNAVAILABLE: then
 * it is not known. An empty batch succeeds.
 */
int nft_commit(struct nft *nft, const struct nft_batch *b, struct error *err);

/* Its netlink port: the kernel names it as who made our changes. */
uint32_t nft_port(const struct nft *nft);

/* Whether someone else changed rules of any kind since this was last asked:
 * then ours are to be checked. One round trip.
 */
int nft_foreign(struct nft *nft, bool *ret, struct error *err);

/* The lists below fail with ERR_UNAVAILABLE when something was changed in
 * between, and may by then have told of a part.
 */

/* Each element of a set of @family. ERR_NOT_FOUND: no such set. */
int nft_each_elem(struct nft *nft, uint8_t family, const char *set,
		  nft_elem_fn fn, void *arg, struct error *err);

/* One element by its key. ERR_NOT_FOUND: no such element or set. */
int nft_get_elem(struct nft *nft, uint8_t family, const char *set,
		 const uint8_t *key, size_t key_len, struct nft_got_elem *ret,
		 struct error *err);

/* Names of the chains, of the sets of our table. */
typedef void (*nft_name_fn)(const char *name, void *arg);
int nft_each_chain(struct nft *nft, uint8_t family, nft_name_fn fn, void *arg,
		   struct error *err);
int nft_each_set(struct nft *nft, uint8_t family, nft_name_fn fn, void *arg,
		 struct error *err);

/* How many rules our table has. */
int nft_count_rules(struct nft *nft, uint8_t family, uint32_t *ret,
		    struct error *err);

/* Send one conntrack or log request (a whole netlink message, with NLM_F_ACK or
 * NLM_F_DUMP) and hear all answers. @what is for the error.
 */
int nft_request(struct nft *nft, uint8_t *msg, size_t len, nft_message_fn fn,
		void *arg, const char *what, struct error *err);

#endif /* ENGINE_NFT_H */
