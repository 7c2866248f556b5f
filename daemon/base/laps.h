/* SPDX-License-Identifier: Apache-2.0 */
/* laps.h - where the time of one operation went, for the debug log
 *
 * Names are literals. A struct laps belongs to one thread at a time.
 */
#ifndef BASE_LAPS_H
#define BASE_LAPS_H

#include <stddef.h>
#include <stdint.h>

#define LAPS_MAX 24 /* later ones count as the last */

struct laps {
	uint64_t began_us, last_us;
	size_t n;
	struct {
		const char *name;
		uint64_t us;
	} lap[LAPS_MAX];
};

void laps_begin(struct laps *laps);
/* What was done since the last one has this name. */
void laps_add(struct laps *laps, const char *name);
/* "WHAT 'WHOSE': 12.3 ms: name 1.2, .." at debug level. */
void laps_log(const struct laps *laps, const char *what, const char *whose);

#endif /* BASE_LAPS_H */
