/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c - which slots are taken */
#include "engine/slots.h"

#include "base/error.h"

void slots_init(struct slots *slots, uint32_t n)
{
	*slots = (struct slots){ .n = n < SLOT_MAX ? n : SLOT_MAX };
}

int slots_take(struct slots *slots, int64_t *ret, struct error *err)
{
	for (uint32_t i = 0; i < slots->n; i++) {
		uint32_t number = (slots->next + i) % slots->n;

		if (slots->taken[number])
			continue;
		slots->taken[number] = true;
		slots->used++;
		slots->next = (number + 1) % slots->n;
		*ret = number;
		return 0;
	}
	return err_set(err, ERR_LIMIT, "all %u addresses of the node are taken",
		       slots->n);
}

bool slots_take_this(struct slots *slots, int64_t number)
{
	if (number < 0 || number >= slots->n || slots->taken[number])
		return false;
	slots->taken[number] = true;
	slots->used++;
	return true;
}

void slots_give(struct slots *slots, int64_t number)
{
	if (number < 0 || number >= slots->n || !slots->taken[number])
		return;
	slots->taken[number] = false;
	slots->used--;
}
