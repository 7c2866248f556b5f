/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h - at start: what the last daemon left, finished or undone */
#ifndef ENGINE_RECOVER_H
#define ENGINE_RECOVER_H

/* So long libvirt may not say how one guest is. */
#define RECOVER_GIVE_UP_MS 120000u

struct engine;
struct error;
struct sandbox;

/**
 * recover_begin() - Read the database and begin to set things right
 *
 * Rows are in memory and rules stand when it returns; what needs the
 * hypervisor goes on in the loop, each guest on its own. e->recovering counts
 * what has not been decided yet.
 *
 * Return: 0, or -1: the database cannot be read
 */
int recover_begin(struct engine *e, struct error *err);

/* The guest of @sb is gone, and row.next_snapshot may be all of it: PAUSED by
 * that and resumed, or lost.
 */
void recover_saved(struct sandbox *sb);

/* It is being terminated: recovery need not find out how its guest is. */
void recover_overtake(struct sandbox *sb);

/* Nothing is asked any more. */
void recover_free(struct engine *e);

/* Which of the running sandboxes' guests are gone: asked now and then. */
void recover_look_at_all(struct engine *e);

#endif /* ENGINE_RECOVER_H */
