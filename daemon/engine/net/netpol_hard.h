/* SPDX-License-Identifier: Apache-2.0 */
/* netpol_hard.h - addresses that no policy opens (pure)
 *
 * Refused before any rule of a sandbox is looked at. The operator may take
 * private and link-local ranges out of it; what is loopback, multicast,
 * reserved, a cloud's metadata service or another guest stays in.
 */
#ifndef ENGINE_NETPOL_HARD_H
#define ENGINE_NETPOL_HARD_H

#include <stddef.h>
#include <stdint.h>

struct net_rule;

enum hard_kind {
	HARD_NONE = 0,
	HARD_GUESTS,
	HARD_METADATA,
	HARD_LOOPBACK,
	HARD_MULTICAST,
	HARD_RESERVED,
	HARD_LINK_LOCAL,
	HARD_PRIVATE,
	HARD_PERMITTED, /* private, but the operator allows rules to name it */

	HARD_KIND_COUNT,
};

/* "metadata"... */
extern const char *const hard_kind_names[HARD_KIND_COUNT];

#define HARD_ALLOWED_MAX 64 /* the operator's ranges */
#define HARD_RANGES_MAX	 256

struct hard_range {
	uint32_t first, last;
	enum hard_kind kind;
};

/**
 * hard_ranges() - All that is not simply public
 * @pool, @pool_mask:	The guests' own addresses
 * @allowed:		CIDRs that the operator allows; those over
 *			HARD_ALLOWED_MAX are passed over
 *
 * Return: how many of @ret are set: disjoint, ascending
 */
size_t hard_ranges(uint32_t pool, uint32_t pool_mask,
		   const struct net_rule *allowed, size_t n_allowed,
		   struct hard_range ret[HARD_RANGES_MAX]);

enum hard_kind hard_kind_of(const struct hard_range *ranges, size_t n,
			    uint32_t address);

/* Why no address of [@first, @last] can be opened by a rule; HARD_NONE: some
 * can.
 */
enum hard_kind hard_hides(const struct hard_range *ranges, size_t n,
			  uint32_t first, uint32_t last);

#endif /* ENGINE_NETPOL_HARD_H */
