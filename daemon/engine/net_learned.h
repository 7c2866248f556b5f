/* SPDX-License-Identifier: Apache-2.0 */
/* net_learned.h - addresses that one slot was told for names (pure)
 *
 * The kernel's sets decide; this remembers which name brought an address, so
 * that a new policy keeps what its names still allow.
 */
#ifndef ENGINE_NET_LEARNED_H
#define ENGINE_NET_LEARNED_H

#include "engine/net.h"

#define LEARNED_MAX	     1024 /* of one slot */
#define LEARNED_PER_NAME_MAX 64

struct learned {
	uint32_t address;
	uint64_t expires_ms; /* CLOCK_MONOTONIC */
	char *name;	     /* lower case, as asked */
};

/**
 * struct learned_table
 * @gone, @gone_address, @gone_name: Whether an entry had to go for the last one
 *		that was put, and which (its name's hash)
 */
struct learned_table {
	struct learned *entries;
	size_t n, room;
	bool gone;
	uint32_t gone_address, gone_name;
};

void learned_fini(struct learned_table *t);

/**
 * learned_put() - Note an address, or that it lives longer
 * @ret_evicted: The address that had to go for it (the limits above): set if
 *		the return value is true
 *
 * The one that expires first goes, of the same name if that has its share.
 */
bool learned_put(struct learned_table *t, const char *name, uint32_t address,
		 uint64_t expires_ms, uint32_t *ret_evicted);

/* A name as one number, for the kernel's sets. */
uint32_t learned_hash(const char *name);

/* Forget those that have expired. */
void learned_expire(struct learned_table *t, uint64_t now_ms);
/* Forget those whose names @policy does not allow by a rule. */
void learned_filter(struct learned_table *t, const struct net_policy *policy);
bool learned_has(const struct learned_table *t, uint32_t address);
/* By this very name, and still. */
bool learned_by_name(const struct learned_table *t, const char *name,
		     uint32_t address, uint64_t now_ms);
/* Longest life first. */
void learned_sort(struct learned_table *t);

/* Which of the policy's allow rules, by place, cover a name that no deny rule
 * covers. Return: how many; those over @max are left out.
 */
size_t net_rules_of_name(const struct net_policy *policy, const char *name,
			 uint16_t *ret, size_t max);

#endif /* ENGINE_NET_LEARNED_H */
