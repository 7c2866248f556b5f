/* SPDX-License-Identifier: Apache-2.0 */
/* recover_guest.h - at start: is the guest still there, and how?
 *
 * Each guest on its own, in the loop; e->recovering counts those that are not
 * decided yet (recover.h).
 */
#ifndef ENGINE_RECOVER_GUEST_H
#define ENGINE_RECOVER_GUEST_H

/* So long libvirt may not say how one guest is. */
#define RECOVER_GIVE_UP_MS 120000u
/* As long as it does not answer, it is asked so often. */
#define RECOVER_ASK_AGAIN_MS 500u

struct engine;
struct sandbox;

/* @sb is RUNNING or PAUSING. */
void recover_guest_begin(struct sandbox *sb);

/* The guest of @sb is gone, and row.next_snapshot may be all of it: PAUSED by
 * that and resumed, or lost. Also later than at start.
 */
void recover_guest_saved(struct sandbox *sb);

/* It is being terminated: recovery need not find out how its guest is. */
void recover_guest_overtake(struct sandbox *sb);

/* Which of the running sandboxes' guests are gone: asked now and then. */
void recover_guest_look_at_all(struct engine *e);

#endif /* ENGINE_RECOVER_GUEST_H */
