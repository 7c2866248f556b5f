/* SPDX-License-Identifier: Apache-2.0 */
/* grant.c - what the splice was let do for each slot, and has not ended (pure)
 */
#include "engine/net/grant.h"

#include "base/mem.h"

#include <stdlib.h>

struct list {
	struct grant *entries;
	size_t n, room;
};

struct grants {
	struct list slots[SLOT_MAX];
};

struct grants *grants_new(void)
{
	return xcalloc(1, sizeof(struct grants));
}

static void drop(struct list *l, size_t i)
{
	free(l->entries[i].name);
	l->entries[i] = l->entries[--l->n];
	if (l->n)
		return;
	free(l->entries);
	*l = (struct list){ 0 };
}

struct grants *grants_free(struct grants *grants)
{
	if (grants)
		grants_clear(grants);
	free(grants);
	return NULL;
}

bool grants_add(struct grants *grants, uint32_t slot, uint64_t id,
		uint32_t address, uint16_t port, const char *name)
{
	struct list *l = &grants->slots[slot];

	if (l->n == GRANTS_MAX)
		return false;
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 4;
		l->entries = xrealloc(l->entries, l->room, sizeof(*l->entries));
	}
	l->entries[l->n++] = (struct grant){ id, address, port, xstrdup(name) };
	return true;
}

void grants_remove(struct grants *grants, uint32_t slot, uint64_t id)
{
	struct list *l = &grants->slots[slot];

	for (size_t i = 0; i < l->n; i++) {
		if (l->entries[i].id != id)
			continue;
		drop(l, i);
		return;
	}
}

size_t grants_filter(struct grants *grants, uint32_t slot,
		     bool (*keep)(const struct grant *grant, void *arg),
		     void *arg, uint64_t ret_ids[GRANTS_MAX])
{
	struct list *l = &grants->slots[slot];
	size_t n = 0;

	for (size_t i = l->n; i > 0; i--) {
		if (keep && keep(&l->entries[i - 1], arg))
			continue;
		ret_ids[n++] = l->entries[i - 1].id;
		drop(l, i - 1);
	}
	return n;
}

void grants_clear(struct grants *grants)
{
	for (uint32_t i = 0; i < SLOT_MAX; i++) {
		while (grants->slots[i].n)
			drop(&grants->slots[i], grants->slots[i].n - 1);
	}
}
