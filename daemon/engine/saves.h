/* SPDX-License-Identifier: Apache-2.0 */
/* saves.h - the snapshots of this node, as rows and who uses them
 *
 * The files are the hypervisor's business (hv.h); here is what they are of,
 * and when they go: a snapshot that is removed while a guest starts from it
 * disappears from the list at once and from the disk after.
 */
#ifndef ENGINE_SAVES_H
#define ENGINE_SAVES_H

#include "base/list.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct error;

struct snapshot {
	struct list link;
	struct snapshot *next_id; /* in its bucket */
	struct snapshot_row row;
	unsigned int users;
	bool removed; /* files go with the last user */
	bool short_chain; /* of disk layers: seen to be so, or made so */
	bool resumable; /* a sandbox was paused to it: at start, then stale */
	uint64_t try_ms; /* no merge before this */
};

/* Takes @row's spec over. Not into the database. */
struct snapshot *snapshot_add(struct engine *e, const struct snapshot_row *row);
struct snapshot *snapshot_find(struct engine *e, const char *id);
/* By id, or by name if only one has it. 0, or -1: SNAPSHOT_NOT_FOUND. */
int snapshot_get(struct engine *e, const char *id_or_name,
		 struct snapshot **ret, struct error *err);
/* The same, but of one sandbox's if it has such a one. */
int snapshot_get_of(struct engine *e, const char *sandbox_id,
		    const char *id_or_name, struct snapshot **ret,
		    struct error *err);
/* -1: its row cannot be read. It can be removed, and nothing else. */
int snapshot_check(const struct snapshot *snapshot, struct error *err);
bool snapshot_name_taken(struct engine *e, const char *sandbox_id,
			 const char *name);
void snapshot_use(struct engine *e, struct snapshot *snapshot);
void snapshot_unuse(struct engine *e, struct snapshot *snapshot);
/* After its row is gone from the database. */
void snapshot_drop(struct engine *e, struct snapshot *snapshot);
void snapshots_free(struct engine *e);

/* What a sandbox is, for a row: image, template, spec (a copy), nonce. */
struct sandbox;
void snapshot_row_of(const struct sandbox *sb, const char *id,
		     struct snapshot_row *ret);

#endif /* ENGINE_SAVES_H */
