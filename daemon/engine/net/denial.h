/* SPDX-License-Identifier: Apache-2.0 */
/* denial.h - the last things that each guest was refused */
#ifndef ENGINE_DENIAL_H
#define ENGINE_DENIAL_H

#include "engine/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct denials;

#define DENIAL_MERGE_MS	    1000 /* the same again within: count it up */
#define DENIAL_EVENTS_PER_S 1	 /* of one guest, for the event log */

struct denials *denials_new(void);
struct denials *denials_free(struct denials *denials);

/**
 * denials_add() - Something of @slot was refused
 * @address:	Where the name would have been reached, or ""
 * @now_ms:	Wall clock
 * @ret:	The entry as it stands now; may be NULL
 *
 * Return: whether it is worth an event: new, and not too many a second
 */
bool denials_add(struct denials *denials, uint32_t slot, const char *target,
		 const char *address, uint16_t port, uint8_t protocol,
		 const char *rule, int64_t now_ms, struct net_denial *ret);

/* Newest first. */
size_t denials_get(const struct denials *denials, uint32_t slot,
		   struct net_denial ret[NET_DENIALS_MAX]);

/* How many there were in all since the slot was cleared. */
uint64_t denials_total(const struct denials *denials, uint32_t slot);

/* The slot has another guest. */
void denials_clear(struct denials *denials, uint32_t slot);

#endif /* ENGINE_DENIAL_H */
