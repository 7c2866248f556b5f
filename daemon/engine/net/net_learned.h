/* SPDX-License-Identifier: Apache-2.0 */
/* net_learned.h - addresses that one slot was told for names (pure)
 *
 * The kernel's sets decide; this remembers which name brought an address, so
 * that a new policy keeps what its names still allow; and what the kernel may
 * have, so that it can be taken out again.
 */
#ifndef ENGINE_NET_LEARNED_H
#define ENGINE_NET_LEARNED_H

#include "engine/net.h"

#define LEARNED_MAX	     1024 /* of one slot */
#define LEARNED_PER_NAME_MAX 64

/* The kernel's clock for an element begins later than ours. */
#define LEARNED_SLACK_MS 5000

/**
 * struct learned - One address by one name
 * @expires_ms:	CLOCK_MONOTONIC; 0: retired, to be taken out of the kernel's sets
 * @name:	Lower case, as asked; "": not known, as it was too long to be noted
 * @groups, @named: What the kernel may have because of it, until @kernel_ms: a
 *		bit for each group; that the name brought it
 * @next, @next_named: The same once the batch that is being made is committed
 * @dirty:	The kernel's part is not as it should be
 */
struct learned {
	uint32_t address;
	uint64_t expires_ms;
	char *name;
	uint32_t groups, next;
	bool named, next_named, dirty;
	uint64_t kernel_ms;
};

/* What the kernel has of a slot is never more than the entries say, whether a
 * commit failed or not: they go once it was taken out, or by itself.
 */
struct learned_table {
	struct learned *entries;
	size_t n, room;
};

void learned_fini(struct learned_table *t);

/**
 * learned_put() - Note an address, or that it lives longer
 * Return: its entry, until the next call; NULL: too many wait to be taken out
 *
 * If the limits above are reached, the one that expires first is retired, of the
 * same name if that has its share.
 */
struct learned *learned_put(struct learned_table *t, const char *name,
			    uint32_t address, uint64_t expires_ms);
/* The one of this name, retired or not; or NULL. */
struct learned *learned_find(const struct learned_table *t, const char *name,
			     uint32_t address);

/* A name as one number, for the kernel's sets. */
uint32_t learned_hash(const char *name);

/* Forget those that have expired, here and in the kernel. */
void learned_expire(struct learned_table *t, uint64_t now_ms);
/* Retire those whose names @policy (NULL: nothing) does not allow by a rule. */
void learned_retire(struct learned_table *t, const struct net_policy *policy);
/* The batch that was made of this table is in: what was retired goes. */
void learned_committed(struct learned_table *t);
/* The kernel has none of it any more. */
void learned_lost(struct learned_table *t);
/* By any name that is not retired. */
bool learned_has(const struct learned_table *t, uint32_t address);
/* By this very name, and still. */
bool learned_by_name(const struct learned_table *t, const char *name,
		     uint32_t address, uint64_t now_ms);
/* Which of the policy's allow rules, by place, cover a name that no deny rule
 * covers. Return: how many; those over @max are left out.
 */
size_t net_rules_of_name(const struct net_policy *policy, const char *name,
			 uint16_t *ret, size_t max);

#endif /* ENGINE_NET_LEARNED_H */
