/* SPDX-License-Identifier: Apache-2.0 */
/* resync.c - finding, making and hiding marks on a serial line
 *
 * No proper prefix of the magic is also its suffix but the single zero byte it
 * begins and ends with, so a failed match can only begin anew at the byte that
 * failed it: the matchers need no table of steps back.
 */
#include "resync.h"

#include <string.h>

static const uint8_t magic[RESYNC_MAGIC_LEN] = {
	0,   'S', 'A', 'N', 'D', 'B', 'O', 'X',
	'-', 'R', 'E', 'S', 'Y', 'N', 'C', 0,
};

#define STUFFED_AFTER (RESYNC_MAGIC_LEN - 1)
#define STUFFING      0xff

/* ---- the node's end ---- */

void resync_node_init(struct resync_node *rs,
		      const uint8_t random[RESYNC_RANDOM_LEN])
{
	*rs = (struct resync_node){ 0 };
	memcpy(rs->mark, magic, RESYNC_MAGIC_LEN);
	memcpy(rs->mark + RESYNC_MAGIC_LEN, random, RESYNC_RANDOM_LEN);
}

bool resync_node_in_sync(const struct resync_node *rs)
{
	return rs->seen == RESYNC_MARK_LEN;
}

/* How much of the mark is matched when @byte follows @seen matched bytes. The
 * random part may repeat the magic: try each shorter overlap.
 */
static unsigned int node_step(const struct resync_node *rs, unsigned int seen,
			      uint8_t byte)
{
	for (;;) {
		unsigned int border;

		if (rs->mark[seen] == byte)
			return seen + 1;
		if (!seen)
			return 0;
		for (border = seen - 1; border; border--)
			if (!memcmp(rs->mark, rs->mark + seen - border, border))
				break;
		seen = border;
	}
}

size_t resync_node_skip(struct resync_node *rs, const uint8_t *data, size_t len)
{
	size_t i = 0;

	while (i < len && rs->seen < RESYNC_MARK_LEN)
		rs->seen = node_step(rs, rs->seen, data[i++]);
	return i;
}

size_t resync_node_stuff(struct resync_node *rs, uint8_t *dst,
			 const uint8_t *src, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		dst[n++] = src[i];
		if (src[i] == magic[rs->stuffed])
			rs->stuffed++;
		else
			rs->stuffed = src[i] == magic[0];
		if (rs->stuffed == STUFFED_AFTER) {
			dst[n++] = STUFFING;
			rs->stuffed = 0;
		}
	}
	return n;
}

/* ---- the guest's end ---- */

void resync_guest_init(struct resync_guest *rs)
{
	*rs = (struct resync_guest){ 0 };
}

bool resync_guest_holds(const struct resync_guest *rs)
{
	/* Behind the whole magic nothing is anybody's data. */
	return rs->have > rs->out && rs->have < RESYNC_MAGIC_LEN;
}

size_t resync_guest_release(struct resync_guest *rs, const uint8_t **ret_data)
{
	size_t n;

	if (!resync_guest_holds(rs))
		return 0;
	n = rs->have - rs->out;
	*ret_data = rs->mark + rs->out;
	rs->out = rs->have;
	return n;
}

/* The longest run of plain bytes from the front of the input. */
static size_t plain_run(const uint8_t *data, size_t len)
{
	const uint8_t *zero = memchr(data, magic[0], len);

	return zero ? (size_t)(zero - data) : len;
}

/* Take bytes of the random half: 1 when the mark is whole. */
static bool take_random(struct resync_guest *rs, const uint8_t **data,
			size_t *len)
{
	size_t part = RESYNC_MARK_LEN - rs->have;

	if (part > *len)
		part = *len;
	memcpy(rs->mark + rs->have, *data, part);
	rs->have += part;
	*data += part;
	*len -= part;
	return rs->have == RESYNC_MARK_LEN;
}

/* What was matched is no mark: give it as data. */
static enum resync_event give_back(struct resync_guest *rs,
				   const uint8_t **ret_data, size_t *ret_len)
{
	*ret_data = rs->mark + rs->out;
	*ret_len = rs->have - rs->out;
	rs->have = rs->out = 0;
	return *ret_len ? RESYNC_DATA : RESYNC_MORE;
}

enum resync_event resync_guest_next(struct resync_guest *rs,
				    const uint8_t **data, size_t *len,
				    const uint8_t **ret_data, size_t *ret_len)
{
	if (rs->have == RESYNC_MARK_LEN)
		rs->have = rs->out = 0;
	while (*len) {
		uint8_t byte = **data;

		if (rs->have >= RESYNC_MAGIC_LEN) {
			if (!take_random(rs, data, len))
				return RESYNC_MORE;
			*ret_data = rs->mark;
			*ret_len = RESYNC_MARK_LEN;
			return RESYNC_MARK;
		}
		if (byte == magic[rs->have]) {
			rs->mark[rs->have++] = byte;
			++*data;
			--*len;
			continue;
		}
		if (rs->have) {
			/* The stuffing byte itself goes. */
			if (rs->have == STUFFED_AFTER && byte == STUFFING) {
				++*data;
				--*len;
			}
			if (give_back(rs, ret_data, ret_len) == RESYNC_DATA)
				return RESYNC_DATA;
			continue;
		}
		*ret_data = *data;
		*ret_len = plain_run(*data, *len);
		*data += *ret_len;
		*len -= *ret_len;
		return RESYNC_DATA;
	}
	return RESYNC_MORE;
}
