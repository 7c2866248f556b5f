/* SPDX-License-Identifier: Apache-2.0 */
/* nft_batch.h - nftables messages, built into a batch
 *
 * Pure: bytes in memory, nothing is sent (nft.h does). A batch that ran out of
 * memory or was given what does not fit remembers it; nft_commit() refuses it.
 * Everything is in the table "sandboxd" of the batch's present family.
 */
#ifndef ENGINE_NFT_BATCH_H
#define ENGINE_NFT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_msg;
struct nlattr;

#define NFT_TABLE_NAME "sandboxd"
#define NFT_KEY_MAX    64

struct nft_batch {
	uint8_t *data; /* whole netlink messages */
	size_t len, room;
	unsigned int messages, rules;
	bool failed;
	uint8_t family; /* NFPROTO_INET, NFPROTO_ARP */
};

void nft_batch_init(struct nft_batch *b, uint8_t family);
void nft_batch_fini(struct nft_batch *b);

/* ---- tables, chains, sets ---------------------------------------------- */

void nft_table_add(struct nft_batch *b);
void nft_table_del(struct nft_batch *b);

/* A chain that only jumps lead to. One that exists stays as it is. */
void nft_chain_add(struct nft_batch *b, const char *name);
/* @type: "filter", "nat"; @hook: NF_INET_*. Policy accept. */
void nft_chain_add_base(struct nft_batch *b, const char *name, const char *type,
			uint32_t hook, int32_t priority);
void nft_chain_flush(struct nft_batch *b, const char *name);
void nft_chain_del(struct nft_batch *b, const char *name);

/* nft's data types, so that `nft list ruleset` can be read. */
enum nft_type {
	NFT_TYPE_ADDRESS = 7,
	NFT_TYPE_ETHER = 9,
	NFT_TYPE_PROTO = 12,
	NFT_TYPE_PORT = 13,
	NFT_TYPE_MARK = 19,
	NFT_TYPE_IFNAME = 41,
};

/**
 * struct nft_set_spec - A set or verdict map
 * @types:	Of the key's parts, in order
 * @interval:	Its elements are ranges
 * @verdicts:	A map to verdicts
 * @data:	A map to what is of this type; 0: none
 * @timeout:	Its elements can have one
 * @dynamic:	Rules add elements (with a timeout of @timeout_ms)
 * @counter:	Each element counts what it matches
 * @size:	Most elements; 0: no limit
 */
struct nft_set_spec {
	const char *name;
	enum nft_type types[5], data;
	size_t n_types;
	bool interval, verdicts, timeout, dynamic, counter;
	uint32_t size;
	uint64_t timeout_ms;
};

void nft_set_add(struct nft_batch *b, const struct nft_set_spec *spec);
void nft_set_flush(struct nft_batch *b, const char *name);
void nft_set_del(struct nft_batch *b, const char *name);

/* So many packets, or @bytes, a second; and a burst of so many. */
struct nft_limit {
	uint64_t per_s;
	uint32_t burst;
	bool bytes;
};

/**
 * struct nft_elem - One element
 * @key, @key_len:	As in registers: parts padded to four bytes
 * @key_end:	Last key of a range of concatenated parts; NULL: none
 * @interval_end: This is where a range of a plain interval ended (first key
 *		after it)
 * @timeout_ms:	0: none
 * @chain:	Verdict: go there, or with @jump come back from there; NULL: not
 *		a map
 * @over:	Found only by what is more than this; NULL: by all
 * @data:	What a map to data leads to, of its type's size; NULL: not one
 * @comment:	Shown by nft, and read back; NULL: none
 */
struct nft_elem {
	const uint8_t *key, *key_end;
	size_t key_len;
	bool interval_end;
	bool jump;
	uint64_t timeout_ms;
	const char *chain;
	const struct nft_limit *over;
	const uint8_t *data;
	size_t data_len;
	const char *comment;
};

#define NFT_COMMENT_MAX 127

void nft_elems_add(struct nft_batch *b, const char *set,
		   const struct nft_elem *elems, size_t n);
void nft_elems_del(struct nft_batch *b, const char *set,
		   const struct nft_elem *elems, size_t n);

#endif /* ENGINE_NFT_BATCH_H */
