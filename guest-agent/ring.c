/* SPDX-License-Identifier: Apache-2.0 */
/* ring.c - the last bytes of a stream, found by their offset in it
 *
 * The byte of offset N lies at buf[N % size], so growing means laying out anew
 * what is held. begin <= end <= begin + size always.
 */
#include "ring.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void ring_init(struct ring *r, size_t max, struct ring_budget *budget)
{
	*r = (struct ring){ .max = max < RING_MIN ? RING_MIN : max,
			    .budget = budget };
}

void ring_fini(struct ring *r)
{
	r->budget->used -= r->size;
	free(r->buf);
	r->buf = NULL;
	r->size = 0;
	r->begin = r->end;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Copy in at an offset, round the corner if need be. */
static void put(struct ring *r, uint64_t at, const uint8_t *data, size_t len)
{
	size_t pos = (size_t)(at % r->size);
	size_t first = min_size(len, r->size - pos);

	memcpy(r->buf + pos, data, first);
	memcpy(r->buf, data + first, len - first);
}

static void grow(struct ring *r, size_t want)
{
	struct ring old = *r;
	size_t size = r->size ? r->size : RING_MIN;
	uint64_t at = old.begin;

	while (size < want && size < r->max)
		size = min_size(size * 2, r->max);
	while (size > RING_MIN && size > old.size &&
	       r->budget->used - old.size + size > r->budget->max)
		size /= 2;
	if (size <= old.size)
		return;
	r->buf = xcalloc(1, size);
	r->size = size;
	r->budget->used += size - old.size;
	while (at < old.end) {
		const uint8_t *p;
		size_t n = ring_peek(&old, at, &p);

		put(r, at, p, n);
		at += n;
	}
	free(old.buf);
}

void ring_append(struct ring *r, const uint8_t *data, size_t len)
{
	size_t held = (size_t)(r->end - r->begin);

	if (len == 0)
		return;
	if (held + len > r->size)
		grow(r, held + len);
	r->end += len;
	if (r->end - r->begin > r->size)
		r->begin = r->end - r->size;
	if (len > r->size) {
		data += len - r->size;
		len = r->size;
	}
	put(r, r->end - len, data, len);
}

size_t ring_peek(const struct ring *r, uint64_t at, const uint8_t **ret)
{
	size_t pos;

	assert(at >= r->begin && at <= r->end);
	if (at == r->end)
		return 0;
	pos = (size_t)(at % r->size);
	*ret = r->buf + pos;
	return min_size((size_t)(r->end - at), r->size - pos);
}
