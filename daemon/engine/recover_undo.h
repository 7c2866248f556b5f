/* SPDX-License-Identifier: Apache-2.0 */
/* recover_undo.h - at start: what was half done for nobody is undone
 *
 * Part of recover_begin(), which calls these in their order. A failure of the
 * database is logged; the next start does it again.
 */
#ifndef ENGINE_RECOVER_UNDO_H
#define ENGINE_RECOVER_UNDO_H

struct engine;
struct sandbox;

/* @sb is CREATING: it never was. Frees @sb. */
void recover_undo_create(struct engine *e, struct sandbox *sb);
/* @sb is RESUMING: PAUSED, as before. */
void recover_undo_resume(struct engine *e, struct sandbox *sb);
/* Forks whose client has no answer: ended. */
void recover_undo_forks(struct engine *e);
/* Snapshots of pauses and forks that no sandbox resumes from: removed. */
void recover_undo_snapshots(struct engine *e);

#endif /* ENGINE_RECOVER_UNDO_H */
