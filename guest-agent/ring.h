/* SPDX-License-Identifier: Apache-2.0 */
/* ring.h - the last bytes of a stream, found by their offset in it
 *
 * Grows from nothing to its limit as bytes come, within a budget shared by all
 * rings; when it may not grow, its oldest bytes fall out.
 */
#ifndef AGENT_RING_H
#define AGENT_RING_H

#include <stddef.h>
#include <stdint.h>

/* Every ring may have this much, whatever the budget says. */
#define RING_MIN (4u << 10)

/* Memory that all rings of an agent hold together. */
struct ring_budget {
	size_t used;
	size_t max;
};

/* Zeroed but for @max and @budget: an empty ring. */
struct ring {
	uint8_t *buf;
	size_t size;	/* of buf */
	size_t max;	/* that size may grow to */
	uint64_t begin; /* offset of the oldest byte held */
	uint64_t end;	/* offset behind the newest one */
	struct ring_budget *budget;
};

void ring_init(struct ring *r, size_t max, struct ring_budget *budget);
void ring_fini(struct ring *r);

/* Takes all of it; what does not fit any more falls out at the old end. */
void ring_append(struct ring *r, const uint8_t *data, size_t len);

/**
 * ring_peek() - Bytes from an offset on, as many as lie together
 * @at:		Between begin and end
 * @ret:	Borrowed until the next append
 *
 * Return: how many; 0 at the end
 */
size_t ring_peek(const struct ring *r, uint64_t at, const uint8_t **ret);

#endif /* AGENT_RING_H */
