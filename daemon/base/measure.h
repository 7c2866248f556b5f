/* SPDX-License-Identifier: Apache-2.0 */
/* measure.h - how often things happened, and how long they took
 *
 * A table of histograms, by name and outcome. Names and outcomes are literals,
 * so a table's size is bounded by the program's text. Not thread-safe.
 */
#ifndef BASE_MEASURE_H
#define BASE_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BUCKETS 20

/* Upper bounds in seconds, growing; what is over the last is counted too. */
extern const double histogram_bounds[HISTOGRAM_BUCKETS];

/* @n of each bucket alone, not of those below; the last has no bound. */
struct histogram {
	uint64_t n[HISTOGRAM_BUCKETS + 1];
	double sum;
};

void histogram_add(struct histogram *h, double seconds);

struct measure {
	const char *name, *outcome; /* borrowed for ever */
	struct histogram h;
};

struct measures {
	struct measure *v;
	size_t n;
};

void measures_add(struct measures *m, const char *name, const char *outcome,
		  double seconds);
void measures_fini(struct measures *m);

/* CLOCK_MONOTONIC in microseconds, and how long ago that was in seconds. */
uint64_t measure_now(void);
double measure_since(uint64_t then);

#endif /* BASE_MEASURE_H */
