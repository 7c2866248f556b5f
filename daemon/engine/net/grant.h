/* SPDX-License-Identifier: Apache-2.0 */
/* grant.h - what the splice was let do for each slot, and has not ended (pure)
 *
 * Kept so that a connection can be ended when its name is no longer allowed,
 * though its address may still be, for another name.
 */
#ifndef ENGINE_GRANT_H
#define ENGINE_GRANT_H

#include "engine/slot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRANTS_MAX 512u /* of one slot: as many as the splice keeps open */

struct grant {
	uint64_t id; /* the splice's */
	uint32_t address;
	uint16_t port;
	char *name;
};

struct grants;

struct grants *grants_new(void);
struct grants *grants_free(struct grants *grants);

/* False: the slot has GRANTS_MAX. */
bool grants_add(struct grants *grants, uint32_t slot, uint64_t id,
		uint32_t address, uint16_t port, const char *name);
void grants_remove(struct grants *grants, uint32_t slot, uint64_t id);

/* Forget those that @keep (NULL: none) does not want to. @ret_ids: theirs, room
 * for GRANTS_MAX.  Return: how many.
 */
size_t grants_filter(struct grants *grants, uint32_t slot,
		     bool (*keep)(const struct grant *grant, void *arg),
		     void *arg, uint64_t ret_ids[GRANTS_MAX]);

/* All of all slots: whoever had them open is gone. */
void grants_clear(struct grants *grants);

#endif /* ENGINE_GRANT_H */
