/* SPDX-License-Identifier: Apache-2.0 */
/* net_learned.c - addresses that one slot was told for names (pure) */
#include "engine/net/net_learned.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void learned_fini(struct learned_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->entries[i].name);
	free(t->entries);
	*t = (struct learned_table){ 0 };
}

static void drop(struct learned_table *t, size_t i)
{
	free(t->entries[i].name);
	t->entries[i] = t->entries[--t->n];
}

/* FNV-1a. */
uint32_t learned_hash(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

/* The entry to go, so that there is room for one of @name; t->n: none. */
static size_t victim(const struct learned_table *t, const char *name)
{
	size_t first = t->n, first_same = t->n, same = 0, live = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct learned *e = &t->entries[i];

		if (!e->expires_ms)
			continue;
		live++;
		if (first == t->n ||
		    e->expires_ms < t->entries[first].expires_ms)
			first = i;
		if (strcmp(e->name, name))
			continue;
		same++;
		if (first_same == t->n ||
		    e->expires_ms < t->entries[first_same].expires_ms)
			first_same = i;
	}
	if (same >= LEARNED_PER_NAME_MAX)
		return first_same;
	return live >= LEARNED_MAX ? first : t->n;
}

static void retire(struct learned *e)
{
	e->expires_ms = 0;
	e->dirty = true;
}

bool learned_has(const struct learned_table *t, uint32_t address)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->entries[i].address == address &&
		    t->entries[i].expires_ms)
			return true;
	}
	return false;
}

bool learned_by_name(const struct learned_table *t, const char *name,
		     uint32_t address, uint64_t now_ms)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct learned *e = &t->entries[i];

		if (e->address == address && e->expires_ms > now_ms &&
		    !strcmp(e->name, name))
			return true;
	}
	return false;
}

struct learned *learned_find(const struct learned_table *t, const char *name,
			     uint32_t address)
{
	for (size_t i = 0; i < t->n; i++) {
		struct learned *e = &t->entries[i];

		if (e->address == address && !strcmp(e->name, name))
			return e;
	}
	return NULL;
}

struct learned *learned_put(struct learned_table *t, const char *name,
			    uint32_t address, uint64_t expires_ms)
{
	struct learned *e = learned_find(t, name, address);
	size_t out = e && e->expires_ms ? t->n : victim(t, name);

	if (!e && t->n == 2 * LEARNED_MAX)
		return NULL;
	if (out < t->n)
		retire(&t->entries[out]);
	if (!e && t->n == t->room) {
		t->room = t->room ? t->room * 2 : 8;
		t->entries = xrealloc(t->entries, t->room, sizeof(*t->entries));
	}
	if (!e) {
		e = &t->entries[t->n++];
		*e = (struct learned){ .address = address,
				       .name = xstrdup(name) };
	}
	if (expires_ms > e->expires_ms)
		e->expires_ms = expires_ms;
	e->dirty = true;
	return e;
}

void learned_expire(struct learned_table *t, uint64_t now_ms)
{
	for (size_t i = 0; i < t->n;) {
		if (t->entries[i].expires_ms <= now_ms &&
		    t->entries[i].kernel_ms <= now_ms)
			drop(t, i);
		else
			i++;
	}
}

void learned_retire(struct learned_table *t, const struct net_policy *policy)
{
	uint16_t rule;

	for (size_t i = 0; i < t->n; i++) {
		if (!policy ||
		    !net_rules_of_name(policy, t->entries[i].name, &rule, 1))
			retire(&t->entries[i]);
	}
}

void learned_committed(struct learned_table *t)
{
	for (size_t i = 0; i < t->n;) {
		struct learned *e = &t->entries[i];

		if (e->dirty && !e->expires_ms) {
			drop(t, i);
			continue;
		}
		e->groups = e->next;
		e->named = e->next_named;
		e->dirty = false;
		i++;
	}
}

void learned_lost(struct learned_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct learned *e = &t->entries[i];

		e->groups = e->next = 0;
		e->named = e->next_named = false;
		e->kernel_ms = 0;
		e->dirty = true;
	}
}

static bool covers(const struct net_rule *rule, const char *name)
{
	size_t have = strlen(name), want = strlen(rule->target);

	if (!rule->is_name || want == 0 || have < want)
		return false;
	if (!rule->wildcard)
		return !strcmp(name, rule->target);
	return have > want + 1 && name[have - want - 1] == '.' &&
	       !strcmp(name + have - want, rule->target);
}

size_t net_rules_of_name(const struct net_policy *policy, const char *name,
			 uint16_t *ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_deny; i++) {
		if (covers(&policy->deny[i], name))
			return 0;
	}
	for (size_t i = 0; i < policy->n_allow && n < max; i++) {
		if (covers(&policy->allow[i], name))
			ret[n++] = (uint16_t)i;
	}
	return n;
}
