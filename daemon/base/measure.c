/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - how often things happened, and how long they took */
#include "base/measure.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* From a commit of the database to a sandbox's whole life. */
const double histogram_bounds[HISTOGRAM_BUCKETS] = {
	0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
	0.25,	0.5,	 1,	 2.5,	5,	10,    30,   60,    300,  3600,
};

void histogram_add(struct histogram *h, double seconds)
{
	size_t i = 0;

	if (seconds < 0)
		seconds = 0;
	while (i < HISTOGRAM_BUCKETS && seconds > histogram_bounds[i])
		i++;
	h->n[i]++;
	h->sum += seconds;
}

void measures_add(struct measures *m, const char *name, const char *outcome,
		  double seconds)
{
	for (size_t i = 0; i < m->n; i++) {
		if (!strcmp(m->v[i].name, name) &&
		    !strcmp(m->v[i].outcome, outcome)) {
			histogram_add(&m->v[i].h, seconds);
			return;
		}
	}
	m->v = xrealloc(m->v, m->n + 1, sizeof(*m->v));
	m->v[m->n] = (struct measure){ .name = name, .outcome = outcome };
	histogram_add(&m->v[m->n++].h, seconds);
}

void measures_fini(struct measures *m)
{
	free(m->v);
	*m = (struct measures){ 0 };
}

uint64_t measure_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

double measure_since(uint64_t then)
{
	return (double)(measure_now() - then) / 1e6;
}
