/* SPDX-License-Identifier: Apache-2.0 */
/* guest.c - who may ask the resolver, and what */
#include "resolver/guest.h"

#include "base/mem.h"

#include <stdlib.h>

/* By interface index: slots with the same hash are chained. */
#define HASH_SIZE 4096u

struct entry {
	struct guest guest;
	struct entry *next;
};

struct guests {
	struct entry *by_slot[GUEST_SLOTS_MAX];
	struct entry *by_ifindex[HASH_SIZE];
};

struct guests *guests_new(void)
{
	return xcalloc(1, sizeof(struct guests));
}

struct guests *guests_free(struct guests *guests)
{
	if (!guests)
		return NULL;
	for (uint32_t i = 0; i < GUEST_SLOTS_MAX; i++)
		guests_remove(guests, i);
	free(guests);
	return NULL;
}

static struct entry **chain_of(struct guests *guests, uint32_t ifindex)
{
	return &guests->by_ifindex[ifindex % HASH_SIZE];
}

static void unchain(struct guests *guests, struct entry *e)
{
	struct entry **at = chain_of(guests, e->guest.ifindex);

	while (*at && *at != e)
		at = &(*at)->next;
	if (*at)
		*at = e->next;
}

void guests_set(struct guests *guests, uint32_t slot, uint64_t generation,
		uint32_t ifindex, uint32_t address, bool default_allow,
		struct name_rule *rules, size_t n_rules)
{
	struct entry *e;

	if (slot >= GUEST_SLOTS_MAX) {
		free(rules);
		return;
	}
	e = guests->by_slot[slot];
	if (e) {
		unchain(guests, e);
		free(e->guest.policy.rules);
		/* What an older generation began is no longer counted. */
		if (e->guest.generation != generation)
			e->guest.in_flight = e->guest.connections = 0;
	} else {
		e = guests->by_slot[slot] = xcalloc(1, sizeof(*e));
		e->guest.slot = slot;
		e->guest.queries.milli_tokens = GUEST_QUERIES_BURST * 1000;
		e->guest.reports.milli_tokens = GUEST_REPORTS_PER_S * 1000;
	}
	e->guest.generation = generation;
	e->guest.ifindex = ifindex;
	e->guest.address = address;
	e->guest.policy = (struct name_policy){ .default_allow = default_allow,
						.n_rules = n_rules,
						.rules = rules };
	e->next = *chain_of(guests, ifindex);
	*chain_of(guests, ifindex) = e;
}

void guests_remove(struct guests *guests, uint32_t slot)
{
	struct entry *e;

	if (slot >= GUEST_SLOTS_MAX || !guests->by_slot[slot])
		return;
	e = guests->by_slot[slot];
	guests->by_slot[slot] = NULL;
	unchain(guests, e);
	free(e->guest.policy.rules);
	free(e);
}

struct guest *guests_by_slot(struct guests *guests, uint32_t slot)
{
	if (slot >= GUEST_SLOTS_MAX || !guests->by_slot[slot])
		return NULL;
	return &guests->by_slot[slot]->guest;
}

struct guest *guests_by_ifindex(struct guests *guests, uint32_t ifindex)
{
	for (struct entry *e = *chain_of(guests, ifindex); e; e = e->next) {
		if (e->guest.ifindex == ifindex)
			return &e->guest;
	}
	return NULL;
}

struct guest *guests_by_source(struct guests *guests, uint32_t ifindex,
			       uint32_t address)
{
	struct guest *g = guests_by_ifindex(guests, ifindex);

	return g && g->address == address ? g : NULL;
}
