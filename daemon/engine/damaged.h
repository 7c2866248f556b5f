/* SPDX-License-Identifier: Apache-2.0 */
/* damaged.h - at start: rows that cannot be read
 *
 * The store leaves them out, or makes of them what can be removed
 * (store_damaged.c). Here they are told, and what another row knows is put right.
 */
#ifndef ENGINE_DAMAGED_H
#define ENGINE_DAMAGED_H

struct engine;
struct error;

/* Log and events; e->damaged. After all rows are read. */
int damaged_tell(struct engine *e, struct error *err);
/* Snapshots that a sandbox is paused to. */
void damaged_mend(struct engine *e);

#endif /* ENGINE_DAMAGED_H */
