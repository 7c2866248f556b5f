/* SPDX-License-Identifier: Apache-2.0 */
/* freeze.h - the guest held still while its memory and disk are copied */
#ifndef AGENT_FREEZE_H
#define AGENT_FREEZE_H

#include <stdbool.h>

struct agent;
struct freezer;

/* How long a Freeze may ask for, and what 0 means. */
#define FREEZE_DEADLINE_MAX_MS	   600000u
#define FREEZE_DEADLINE_DEFAULT_MS 30000u

struct freezer *freezer_new(struct agent *agent);
struct freezer *freezer_free(struct freezer *f);

/* From Freeze's begin until a thaw is complete: nothing may touch the root. */
bool freezer_is_frozen(const struct freezer *f);

/* While somebody (Configure) is at work on the root, a freeze waits; not in a
 * frozen guest.
 */
void freezer_take_root(struct freezer *f);
void freezer_give_root(struct freezer *f);
bool freezer_root_is_taken(const struct freezer *f);

/* Call @fn once the thaw is complete; instead of what was to be called. */
void freezer_at_thaw(struct freezer *f, void (*fn)(void *arg), void *arg);

#endif /* AGENT_FREEZE_H */
