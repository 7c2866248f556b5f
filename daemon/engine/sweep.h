/* SPDX-License-Identifier: Apache-2.0 */
/* sweep.h - guests and files that nobody knows */
#ifndef ENGINE_SWEEP_H
#define ENGINE_SWEEP_H

#include <stdbool.h>

struct engine;

/* The hypervisor answers (again): they go, once, and not from beside a database
 * that is new.
 */
void sweep_unknown(struct engine *e);

/* Whether something on the node, or on its way, is @name in @dir: guests,
 * snapshots or templates.
 */
bool sweep_knows(struct engine *e, const char *dir, const char *name);

#endif /* ENGINE_SWEEP_H */
