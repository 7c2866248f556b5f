/* SPDX-License-Identifier: Apache-2.0 */
/* merge.h - long chains of disk layers become short while nobody waits
 *
 * One snapshot at a time, none that is in use. Whoever comes to use or remove
 * the one being merged does not wait: the merge is given up.
 */
#ifndef ENGINE_MERGE_H
#define ENGINE_MERGE_H

#include <stdbool.h>

struct engine;
struct snapshot;

/* What is being made, in snapshots/; removed at the next start. */
#define MERGE_STAGING ".merge-"

/* Merge the next one that needs it, if there is one and nothing is under way;
 * part of keeping house.
 */
void merge_next(struct engine *e);

/* @snapshot is wanted by someone. */
void merge_stop(struct engine *e, struct snapshot *snapshot);

/* Whether a guest's directory is the one that it is done in. */
bool merge_has(struct engine *e, const char *uuid);

/* The engine ends; its jobs have. */
void merge_free(struct engine *e);

#endif /* ENGINE_MERGE_H */
