/* SPDX-License-Identifier: Apache-2.0 */
/* guest.h - who may ask the resolver, and what */
#ifndef RESOLVER_GUEST_H
#define RESOLVER_GUEST_H

#include "base/bucket.h"
#include "resolver/policy_match.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_SLOTS_MAX	      8192u
#define GUEST_QUERIES_PER_S   50u
#define GUEST_QUERIES_BURST   100u
#define GUEST_IN_FLIGHT_MAX   256u
#define GUEST_CONNECTIONS_MAX 4u
#define GUEST_REPORTS_PER_S   20u

/**
 * struct guest - One slot
 * @in_flight:	Lookups not yet answered
 * @connections: TCP connections open
 */
struct guest {
	uint32_t slot;
	uint64_t generation;
	uint32_t ifindex;
	uint32_t address;
	struct name_policy policy;
	struct bucket queries, reports;
	uint32_t in_flight, connections;
};

struct guests;

struct guests *guests_new(void);
struct guests *guests_free(struct guests *guests);

/* Takes over @rules (heap). Replaces what the slot had, but its buckets. */
void guests_set(struct guests *guests, uint32_t slot, uint64_t generation,
		uint32_t ifindex, uint32_t address, bool default_allow,
		struct name_rule *rules, size_t n_rules);
void guests_remove(struct guests *guests, uint32_t slot);

/* NULL: nobody, or not any more. */
struct guest *guests_by_slot(struct guests *guests, uint32_t slot);
/* The guest whose interface and address these both are. */
struct guest *guests_by_source(struct guests *guests, uint32_t ifindex,
			       uint32_t address);
struct guest *guests_by_ifindex(struct guests *guests, uint32_t ifindex);

#endif /* RESOLVER_GUEST_H */
