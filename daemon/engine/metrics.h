/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - what the engine counts, and telling it to who watches
 *
 * Counting is cheap and always on. The text is made when somebody asks
 * (metrics_link.h): /metrics is the node, /metrics/sandboxes each sandbox.
 * Names of metrics are an interface: sandboxd-metrics(7) lists them.
 */
#ifndef ENGINE_METRICS_H
#define ENGINE_METRICS_H

#include "base/measure.h"
#include "engine/hv_call.h"
#include "engine/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct prom;

#define TALLY_MAX 64 /* names; more are counted as "other" */

/* Counters by name. Names may come from front: each is a copy. */
struct tally {
	struct {
		char name[48];
		uint64_t n;
	} v[TALLY_MAX];
	size_t n;
};

void tally_add(struct tally *tally, const char *name, uint64_t n);

/**
 * struct metrics - Counted since the daemon started
 * @operations:	Tasks, by kind and how they ended
 * @hv:		Calls of the hypervisor
 * @events:	By type
 * @starts:	By where the guest came from
 * @ends:	Terminated sandboxes, by reason
 * @denied:	What guests were refused
 */
struct metrics {
	struct measures operations, hv;
	struct tally events, starts, ends;
	uint64_t denied;
};

void metrics_fini(struct metrics *m);
void metrics_operation(struct metrics *m, const char *name, bool cancelled,
		       bool failed, uint64_t ms);
void metrics_hv(struct metrics *m, enum hv_call_op op, bool failed,
		double seconds);
void metrics_end(struct metrics *m, const char *reason);

/* Of /metrics. @counts: front's, NULL when it gave none. */
void metrics_node(struct engine *e, const Sandbox__Ipc__V1__FrontCounts *counts,
		  struct prom *prom);

/**
 * metrics_guests() - Of /metrics/sandboxes
 * @done:	Called once, later, with the text (NULL: the engine stops)
 *
 * Measures what runs, a few guests at a time, for at most 2 s: of a guest that
 * was not reached the last measurement is told.
 */
typedef void (*metrics_text_fn)(struct prom *prom, void *arg);
void metrics_guests(struct engine *e, metrics_text_fn done, void *arg);
/* Ends those under way: the engine is freed. */
void metrics_guests_free(struct engine *e);

#endif /* ENGINE_METRICS_H */
