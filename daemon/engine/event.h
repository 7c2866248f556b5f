/* SPDX-License-Identifier: Apache-2.0 */
/* event.h - the event log: rows beside the change that they tell of */
#ifndef ENGINE_EVENT_H
#define ENGINE_EVENT_H

#include "engine/front_link.h"
#include "engine/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct error;
struct sandbox;

#define EVENT_READ_MAX	 256 /* one ReadEvents answer */
#define EVENT_READ_BYTES (2u << 20)

/* Within a transaction. An event is seen by nobody before that commits. */
void event_add(struct engine *e, const char *type, const char *sandbox_id,
	       const struct front_pair *data, size_t n);

#define EVENT_DATA(...) \
	(struct front_pair[]){ __VA_ARGS__ }, \
		sizeof((struct front_pair[]){ __VA_ARGS__ }) / \
			sizeof(struct front_pair)

/* The end of a transaction, with its events. */
int event_commit(struct engine *e, struct error *err);

/* An event of its own, or a line in the log when it cannot be kept. */
void event_emit(struct engine *e, const char *type, const char *sandbox_id,
		const struct front_pair *data, size_t n);

/* cost.runtime of a run or a pause that ends now; within a transaction. A run
 * costs vCPUs, memory and disk, a pause disk alone. @cpu_ms: CPU time used.
 */
void event_add_cost(struct sandbox *sb, bool ran, uint64_t ms,
		    uint64_t cpu_ms);
/* What a sandbox has cost so far: its runs, and its disk since it was made. */
double event_cost(const struct sandbox *sb);

/* Events after @since, at most @limit; the caller's to pb_free(). */
Sandbox__Ipc__V1__ReadEventsResponse *
event_fetch(struct engine *e, uint64_t since, const char *sandbox_id,
	    char *const *types, size_t n_types, uint32_t limit,
	    struct error *err);

/* front's ReadEvents. */
void event_read(struct engine *e, uint64_t call_id, uint64_t since,
		const char *sandbox_id, char *const *types, size_t n_types,
		uint32_t limit);

/* What is older or more than is kept goes. */
void event_trim(struct engine *e);

#endif /* ENGINE_EVENT_H */
