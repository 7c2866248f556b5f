/* SPDX-License-Identifier: Apache-2.0 */
/* resync.h - where one conversation ends and the next begins on a serial line
 *
 * A virtio-serial port has no connections: what the node before us wrote half
 * of still lies in it. So each new conversation starts with a mark, 16 bytes of
 * magic and 16 random ones, that the node sends and the guest echoes. The guest
 * looks for the magic in all that comes; the node discards everything up to its
 * own mark.
 *
 * So that no content can be taken for a mark, the node puts a stuffing byte
 * behind any 15 bytes of its own that begin like one, and the guest takes it
 * out again.  From guest to node nothing is stuffed: the node waits for bytes
 * that nobody can guess, and looks no further once it has them.
 *
 * Nothing here blocks or allocates.  One thread.
 */
#ifndef RESYNC_H
#define RESYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESYNC_MAGIC_LEN  16
#define RESYNC_RANDOM_LEN 16
#define RESYNC_MARK_LEN	  (RESYNC_MAGIC_LEN + RESYNC_RANDOM_LEN)
/* How long the guest keeps back bytes that may become a mark. */
#define RESYNC_HOLD_MS 20

/* ---- the node's end ---- */

/**
 * struct resync_node - The node's end of one conversation
 * @mark:	To be written first, raw
 *
 * The rest is private.
 */
struct resync_node {
	uint8_t mark[RESYNC_MARK_LEN];
	unsigned int seen;    /* bytes of @mark matched in the input */
	unsigned int stuffed; /* bytes of the magic matched in the output */
};

void resync_node_init(struct resync_node *rs,
		      const uint8_t random[RESYNC_RANDOM_LEN]);

/**
 * resync_node_skip() - Bytes came from the guest
 *
 * Return: how many of them to drop; the rest, and all that comes later, is
 * HTTP/2 once resync_node_in_sync()
 */
size_t resync_node_skip(struct resync_node *rs, const uint8_t *data,
			size_t len);
bool resync_node_in_sync(const struct resync_node *rs);

/* Room that resync_node_stuff() may need for @len bytes. */
#define RESYNC_STUFFED_MAX(len) ((len) + (len) / (RESYNC_MAGIC_LEN - 1) + 1)

/**
 * resync_node_stuff() - Make HTTP/2 bytes fit for the line
 * @dst:	RESYNC_STUFFED_MAX(@len) bytes, not overlapping @src
 *
 * Return: bytes written to @dst
 */
size_t resync_node_stuff(struct resync_node *rs, uint8_t *dst,
			 const uint8_t *src, size_t len);

/* ---- the guest's end ---- */

/* The guest's end of the line, for as long as it is open. Private. */
struct resync_guest {
	uint8_t mark[RESYNC_MARK_LEN];
	unsigned int have; /* bytes of @mark matched */
	unsigned int out;  /* of these, how many were released already */
};

enum resync_event {
	RESYNC_MORE = 0, /* all input is taken */
	RESYNC_DATA,	 /* *ret_data is HTTP/2: to the session there is */
	RESYNC_MARK,	 /* drop the session; write the 32 bytes at *ret_data;
			  * begin a new one */
};

void resync_guest_init(struct resync_guest *rs);

/**
 * resync_guest_next() - Take some of what came from the node
 * @data, @len:	What is left of the input; moved on
 * @ret_data, @ret_len: What the event is about; valid until the next call and
 *		as long as the input
 *
 * Call until RESYNC_MORE. Before the first RESYNC_MARK there is no session:
 * drop RESYNC_DATA.
 */
enum resync_event resync_guest_next(struct resync_guest *rs,
				    const uint8_t **data, size_t *len,
				    const uint8_t **ret_data, size_t *ret_len);

/**
 * resync_guest_release() - No more came for RESYNC_HOLD_MS
 *
 * The end of the last input may have looked like the beginning of a mark and
 * be held back.  Return: how many such bytes *@ret_data has for the session.
 */
size_t resync_guest_release(struct resync_guest *rs, const uint8_t **ret_data);

/* Whether resync_guest_release() would give anything: arm a timer. */
bool resync_guest_holds(const struct resync_guest *rs);

#endif /* RESYNC_H */
