/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - clones that wait, started, for a sandbox to be
 *
 * Theory of operation
 * ===================
 *
 * Only a matter of time saved: an empty pool changes nothing else. A waiting
 * clone holds a slot, vCPUs and memory; it goes when a sandbox needs the room,
 * those of the largest pools first, and so does one that is being started.
 *
 * Templates in use have pools: those that a create asked for within [pool] idle
 * and that creates start from now. How many of one should wait begins at min
 * and follows the creates, between min and max. One that finds none waiting
 * raises it by one, unless it is what brought the template into use: there
 * could be none. When for [pool] keep none took the last one or found none, one
 * was always to spare: it falls by one, and what is too many ends. Resumes,
 * forks and restores take clones too, but say nothing of how many: a sandbox
 * that is woken now and then asks for no pool.
 *
 * How much it has grown is not stored. What waits after a restart is the
 * measure, as if it had just been needed.
 */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "base/list.h"
#include "engine/guest.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct template;

/* Within a transaction: take a clone of @template_id's, its uuid and slot into
 * @plan. False: none is ready. After the commit pool_taken(), else
 * pool_untake().
 */
bool pool_take(struct engine *e, const char *template_id,
	       struct guest_plan *plan);
void pool_taken(struct engine *e, const char *uuid);
void pool_untake(struct engine *e, const char *uuid);
/* A create asked for one: @found or not. @in_use: Its template was before. */
void pool_asked(struct engine *e, const char *template_id, bool found,
		bool in_use);

/* Start what is missing, one at a time: a clone, or the template for some. */
void pool_refill(struct engine *e);
/* What templates_build_heir() began has ended. */
void pool_built(struct engine *e);
void pool_each(struct engine *e,
	       void (*fn)(const struct pool_row *row, void *arg), void *arg);
/* End one that waits, or is about to. False: none does. */
bool pool_shrink(struct engine *e);
/* End all, and do not build for more. */
void pool_empty(struct engine *e);
/* End those that configuration, templates and demand of now want no more. */
void pool_trim(struct engine *e);
/* End all of a template. */
void pool_clear(struct engine *e, const char *template_id);
uint32_t pool_ready(struct engine *e, const char *template_id /* NULL: all */);
/* How many are to wait. */
uint32_t pool_wanted(struct engine *e, const struct template *tpl);
uint32_t pool_wanted_all(struct engine *e);
/* [pool] max, as it counts. */
uint32_t pool_max(const struct engine *e);

/* From the database, at start; @adopt when its guest stands as it was left. */
void pool_restore(struct engine *e, const struct pool_row *row, bool adopt);
bool pool_has(struct engine *e, const char *uuid);
/* It ended by itself. True: it was one of the pool. */
bool pool_lost(struct engine *e, const char *uuid);
void pool_free(struct engine *e);

#endif /* ENGINE_POOL_H */
