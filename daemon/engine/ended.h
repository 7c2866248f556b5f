/* SPDX-License-Identifier: Apache-2.0 */
/* ended.h - sandboxes that have ended: an index in memory, the rest on disk
 *
 * Theory of operation
 * ===================
 *
 * They are remembered for a day, thousands of them, and hardly ever asked for.
 * So once nothing is done to one any more its struct sandbox goes, and what
 * stays is its id, its place in the order of creation, when it may be forgotten
 * and what lists filter by: no filter reads thousands of rows. Its row in the
 * database has all and changes no more; whoever finds one has a struct sandbox
 * made of that.
 *
 * A sandbox is in one of sandboxes.all and sandboxes.ended, never in both.
 * Those TERMINATED are in the first until ended_retire(), which runs from the
 * loop: whoever terminates one may look at it until he is through.
 */
#ifndef ENGINE_ENDED_H
#define ENGINE_ENDED_H

#include "base/list.h"

#include <stdint.h>

struct engine;
struct sandbox;
struct sandbox_row;
struct sandboxes;

/**
 * struct ended - One that is in the database alone
 * @order:	Of creation, as of struct sandbox
 * @image, @tenant: Within @id, as is @metadata
 * @metadata:	Key, value, key, value.. up to @end, each with its NUL
 */
struct ended {
	struct list link; /* sandboxes.ended, newest last */
	struct ended *next_id;
	uint64_t order;
	int64_t terminated_ms;
	const char *image, *tenant, *metadata, *end;
	char id[];
};

/* @row is in the database; it stays the caller's. */
void ended_add(struct sandboxes *s, uint64_t order,
	       const struct sandbox_row *row);
void ended_remove(struct sandboxes *s, struct ended *ended);
struct ended *ended_find(const struct sandboxes *s, const char *id);

/**
 * ended_show() - One as it was when it ended
 *
 * Return: good until this turn of the loop ends; NULL: it cannot be read, which
 * is logged
 */
struct sandbox *ended_show(struct engine *e, const struct ended *ended);

/* NULL: it has none of this key. */
const char *ended_metadata(const struct ended *ended, const char *key);

/* From the loop: nobody below holds a sandbox. */
void ended_retire(struct engine *e);

void ended_free(struct engine *e);

#endif /* ENGINE_ENDED_H */
