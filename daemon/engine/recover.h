/* SPDX-License-Identifier: Apache-2.0 */
/* recover.h - at start: what the last daemon left, finished or undone */
#ifndef ENGINE_RECOVER_H
#define ENGINE_RECOVER_H

struct engine;
struct error;

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

/* A guest or clone that e->recovering counts is decided; the last one sweeps away
 * what no row knows.
 */
void recover_decided(struct engine *e);

/* Nothing is asked any more. */
void recover_free(struct engine *e);

#endif /* ENGINE_RECOVER_H */
