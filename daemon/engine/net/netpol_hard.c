/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_hard.c - addresses that no policy opens (pure) */
#include "engine/net/netpol_hard.h"

#include "engine/net.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

/* clang-format off */
const char *const hard_kind_names[HARD_KIND_COUNT] = {
	[HARD_NONE]	  = "none",
	[HARD_GUESTS]	  = "guests",
	[HARD_METADATA]	  = "metadata",
	[HARD_LOOPBACK]	  = "loopback",
	[HARD_MULTICAST]  = "multicast",
	[HARD_RESERVED]	  = "reserved",
	[HARD_LINK_LOCAL] = "link-local",
	[HARD_PRIVATE]	  = "private",
	[HARD_PERMITTED]  = "permitted",
};

struct entry {
	uint32_t network;
	unsigned int bits;
	enum hard_kind kind;
};

/* The first that covers an address decides. */
static const struct entry table[] = {
	{ 0xa9fea9fe, 32, HARD_METADATA },   /* 169.254.169.254: most clouds */
	{ 0xa9feaa02, 32, HARD_METADATA },   /* 169.254.170.2: ECS */
	{ 0x646464c8, 32, HARD_METADATA },   /* 100.100.100.200: Alibaba */
	{ 0xa83f8110, 32, HARD_METADATA },   /* 168.63.129.16: Azure */
	{ 0xc00000c0, 32, HARD_METADATA },   /* 192.0.0.192: Oracle */
	{ 0x7f000000,  8, HARD_LOOPBACK },   /* 127.0.0.0/8 */
	{ 0xe0000000,  4, HARD_MULTICAST },  /* 224.0.0.0/4 */
	{ 0xf0000000,  4, HARD_RESERVED },   /* 240.0.0.0/4, broadcast too */
	{ 0x00000000,  8, HARD_RESERVED },   /* 0.0.0.0/8 */
	{ 0xc0000000, 24, HARD_RESERVED },   /* 192.0.0.0/24 */
	{ 0xc0586300, 24, HARD_RESERVED },   /* 192.88.99.0/24: 6to4 relays */
	{ 0xa9fe0000, 16, HARD_LINK_LOCAL }, /* 169.254.0.0/16 */
	{ 0x0a000000,  8, HARD_PRIVATE },    /* 10.0.0.0/8 */
	{ 0x64400000, 10, HARD_PRIVATE },    /* 100.64.0.0/10 */
	{ 0xac100000, 12, HARD_PRIVATE },    /* 172.16.0.0/12 */
	{ 0xc0a80000, 16, HARD_PRIVATE },    /* 192.168.0.0/16 */
	{ 0xc6120000, 15, HARD_PRIVATE },    /* 198.18.0.0/15 */
};
/* clang-format on */

#define N_TABLE (sizeof(table) / sizeof(table[0]))
/* Each range begins and ends once, and so do pool and operator's ranges. */
#define POINTS_MAX (2 * (N_TABLE + 1 + HARD_ALLOWED_MAX) + 1)
static_assert(POINTS_MAX < HARD_RANGES_MAX, "one range between two points");

static uint32_t mask_of(unsigned int bits)
{
	return bits ? 0xffffffffu << (32 - bits) : 0;
}

static enum hard_kind decide(uint32_t a, uint32_t pool, uint32_t pool_mask,
			     const struct net_rule *allowed, size_t n_allowed)
{
	enum hard_kind kind = HARD_NONE;

	if ((a & pool_mask) == (pool & pool_mask))
		return HARD_GUESTS;
	for (size_t i = 0; i < N_TABLE; i++) {
		if ((a & mask_of(table[i].bits)) == table[i].network) {
			kind = table[i].kind;
			break;
		}
	}
	if (kind != HARD_PRIVATE && kind != HARD_LINK_LOCAL)
		return kind;
	for (size_t i = 0; i < n_allowed; i++) {
		if (!allowed[i].is_name &&
		    (a & allowed[i].mask) == allowed[i].network)
			return HARD_PERMITTED;
	}
	return kind;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void add_points(uint64_t *points, size_t *n, uint32_t network,
		       uint32_t mask)
{
	points[(*n)++] = network & mask;
	points[(*n)++] = (uint64_t)(network | ~mask) + 1;
}

size_t hard_ranges(uint32_t pool, uint32_t pool_mask,
		   const struct net_rule *allowed, size_t n_allowed,
		   struct hard_range ret[HARD_RANGES_MAX])
{
	uint64_t points[POINTS_MAX];
	size_t n = 0, n_ret = 0;

	if (n_allowed > HARD_ALLOWED_MAX)
		n_allowed = HARD_ALLOWED_MAX;
	for (size_t i = 0; i < N_TABLE; i++)
		add_points(points, &n, table[i].network,
			   mask_of(table[i].bits));
	add_points(points, &n, pool, pool_mask);
	for (size_t i = 0; i < n_allowed; i++)
		add_points(points, &n, allowed[i].network, allowed[i].mask);
	qsort(points, n, sizeof(points[0]), by_value);
	for (size_t i = 0; i + 1 < n; i++) {
		struct hard_range *last = n_ret ? &ret[n_ret - 1] : NULL;
		enum hard_kind kind;

		if (points[i] == points[i + 1])
			continue;
		kind = decide((uint32_t)points[i], pool, pool_mask, allowed,
			      n_allowed);
		if (kind == HARD_NONE)
			continue;
		if (last && last->kind == kind &&
		    (uint64_t)last->last + 1 == points[i])
			last->last = (uint32_t)(points[i + 1] - 1);
		else
			ret[n_ret++] = (struct hard_range){
				(uint32_t)points[i],
				(uint32_t)(points[i + 1] - 1), kind
			};
	}
	return n_ret;
}

enum hard_kind hard_hides(const struct hard_range *ranges, size_t n,
			  uint32_t first, uint32_t last)
{
	enum hard_kind why = hard_kind_of(ranges, n, first);
	uint64_t at = first;

	for (size_t i = 0; i < n && at <= last; i++) {
		if (ranges[i].last < at)
			continue;
		if (ranges[i].first > at || ranges[i].kind == HARD_PERMITTED)
			return HARD_NONE;
		at = (uint64_t)ranges[i].last + 1;
	}
	return at > last ? why : HARD_NONE;
}

enum hard_kind hard_kind_of(const struct hard_range *ranges, size_t n,
			    uint32_t address)
{
	for (size_t i = 0; i < n; i++) {
		if (address >= ranges[i].first && address <= ranges[i].last)
			return ranges[i].kind;
	}
	return HARD_NONE;
}
