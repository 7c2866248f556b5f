/* SPDX-License-Identifier: Apache-2.0 */
/* nft_put.h - attributes of nftables messages, for nft_batch.c and nft_expr.c
 *
 * @msg may be NULL, after a failure: nothing is done then.
 */
#ifndef ENGINE_NFT_PUT_H
#define ENGINE_NFT_PUT_H

#include "engine/net/nft_batch.h"

#include <stddef.h>
#include <stdint.h>

#define NFT_MESSAGE_ROOM 49152 /* bytes */

struct nl_msg *nft_msg_new(struct nft_batch *b, int type, int flags,
			   size_t room);
void nft_batch_add(struct nft_batch *b, struct nl_msg *msg);
void nft_put(struct nft_batch *b, struct nl_msg *msg, int type,
	     const void *data, size_t len);
void nft_put_str(struct nft_batch *b, struct nl_msg *msg, int type,
		 const char *s);
void nft_put_u32(struct nft_batch *b, struct nl_msg *msg, int type, uint32_t v);
void nft_put_u64(struct nft_batch *b, struct nl_msg *msg, int type, uint64_t v);
struct nlattr *nft_nest(struct nft_batch *b, struct nl_msg *msg, int type);
void nft_unnest(struct nft_batch *b, struct nl_msg *msg, struct nlattr *a);
void nft_put_data(struct nft_batch *b, struct nl_msg *msg, int type,
		  const void *data, size_t len);
void nft_put_verdict(struct nft_batch *b, struct nl_msg *msg, int type,
		     int code, const char *chain);

void nft_put_limit(struct nft_batch *b, struct nl_msg *msg,
		   const struct nft_limit *limit, bool over);

#endif /* ENGINE_NFT_PUT_H */
