/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - clones that wait, started, for a sandbox to be
 *
 * Only a matter of time saved: an empty pool changes nothing else. A waiting
 * clone holds a slot, vCPUs and memory; it goes when a sandbox needs the room.
 */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "base/list.h"
#include "engine/guest.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* Within a transaction: take a clone of @template_id's, its uuid and slot into
 * @plan. False: none is ready. After the commit pool_taken(), else
 * pool_untake().
 */
bool pool_take(struct engine *e, const char *template_id,
	       struct guest_plan *plan);
void pool_taken(struct engine *e, const char *uuid);
void pool_untake(struct engine *e, const char *uuid);

/* Start what is missing, one at a time: a clone, or the template for some. */
void pool_refill(struct engine *e);
/* What templates_build_heir() began has ended. */
void pool_built(struct engine *e);
void pool_each(struct engine *e,
	       void (*fn)(const struct pool_row *row, void *arg), void *arg);
/* End one that waits. False: none does. */
bool pool_shrink(struct engine *e);
/* End all, and do not build for more. */
void pool_empty(struct engine *e);
/* End those that the configuration and the templates of now want no more. */
void pool_trim(struct engine *e);
/* End all of a template. */
void pool_clear(struct engine *e, const char *template_id);
uint32_t pool_ready(struct engine *e, const char *template_id /* NULL: all */);

/* From the database, at start; @adopt when its guest stands as it was left. */
void pool_restore(struct engine *e, const struct pool_row *row, bool adopt);
bool pool_has(struct engine *e, const char *uuid);
/* It ended by itself. True: it was one of the pool. */
bool pool_lost(struct engine *e, const char *uuid);
void pool_free(struct engine *e);

#endif /* ENGINE_POOL_H */
