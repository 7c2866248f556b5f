/* SPDX-License-Identifier: Apache-2.0 */
/* slots.h - which slots are taken
 *
 * Numbers are given out in turn, not lowest first: what the network still
 * remembers of a slot's last guest has time to fade.
 */
#ifndef ENGINE_SLOTS_H
#define ENGINE_SLOTS_H

#include "engine/slot.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

struct slots {
	uint32_t n, next, used;
	bool taken[SLOT_MAX];
};

void slots_init(struct slots *slots, uint32_t n);
/* 0 and the number, or -1: ERR_LIMIT. */
int slots_take(struct slots *slots, int64_t *ret, struct error *err);
/* One that a guest has already (recovery). False: not there, or taken. */
bool slots_take_this(struct slots *slots, int64_t number);
/* -1 is fine. */
void slots_give(struct slots *slots, int64_t number);

#endif /* ENGINE_SLOTS_H */
