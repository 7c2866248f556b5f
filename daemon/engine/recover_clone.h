/* SPDX-License-Identifier: Apache-2.0 */
/* recover_clone.h - at start: clones that waited in the pool */
#ifndef ENGINE_RECOVER_CLONE_H
#define ENGINE_RECOVER_CLONE_H

struct engine;
struct pool_row;

/* Ask how it is until that is known; then it is the pool's, or ended.
 * e->recovering counts it.
 */
void recover_clone_begin(struct engine *e, const struct pool_row *row);
/* Nothing is asked any more. */
void recover_clones_free(struct engine *e);

#endif /* ENGINE_RECOVER_CLONE_H */
