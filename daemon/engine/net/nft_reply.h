/* SPDX-License-Identifier: Apache-2.0 */
/* nft_reply.h - what the kernel answers on a netlink socket (pure)
 *
 * The kernel is trusted, but elements and counters in its answers were partly
 * made by others, and lengths that do not fit must not become reads beyond a
 * buffer: every parser here takes any bytes.
 */
#ifndef ENGINE_NFT_REPLY_H
#define ENGINE_NFT_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFT_REPLY_TEXT_MAX 96
#define NFT_NAME_SIZE	   64

/**
 * struct nft_result - How a batch or a request went, over all its replies
 * @acks:	Messages acknowledged
 * @errnum:	Of the first error, positive; 0: none
 * @seq:	Of the message that it is about
 * @text:	The kernel's own words for it, or ""
 * @done:	A dump is at its end
 * @again:	A dump was interrupted by a change: it must be repeated
 */
struct nft_result {
	unsigned int acks;
	int errnum;
	uint32_t seq;
	char text[NFT_REPLY_TEXT_MAX];
	bool done, again;
};

/* Called for each message that is neither ack, error nor end. */
typedef void (*nft_message_fn)(uint16_t type, const uint8_t *attrs, size_t len,
			       void *arg);

/* One datagram of replies, added to @result. @fn may be NULL. */
void nft_reply_parse(const uint8_t *data, size_t len, struct nft_result *result,
		     nft_message_fn fn, void *arg);

/* The attributes of one level, by type; those from @max on and all but the last
 * of a kind are passed over. False: broken.
 */
struct nft_attr {
	const uint8_t *data;
	size_t len;
};
bool nft_attrs(const uint8_t *data, size_t len, struct nft_attr *ret,
	       unsigned int max);
uint32_t nft_attr_u32(const struct nft_attr *a);
uint64_t nft_attr_u64(const struct nft_attr *a);
/* Cut to fit, always ended. */
void nft_attr_str(const struct nft_attr *a, char *dst, size_t size);

/* One element of a set, as a dump has it. */
struct nft_got_elem {
	uint8_t key[64];
	size_t key_len;
	uint64_t expires_ms; /* 0: never */
	uint64_t packets, bytes;
	char comment[128];
};

typedef void (*nft_elem_fn)(const struct nft_got_elem *elem, void *arg);

/* The elements in one NEWSETELEM message. */
void nft_reply_elems(const uint8_t *attrs, size_t len, nft_elem_fn fn,
		     void *arg);

#endif /* ENGINE_NFT_REPLY_H */
