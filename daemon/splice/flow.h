/* SPDX-License-Identifier: Apache-2.0 */
/* flow.h - one connection of a guest's, and the table that it is in
 *
 * For flow.c, which is its life, and flows.c, which is all of them. Main thread
 * only.
 */
#ifndef SPLICE_FLOW_H
#define SPLICE_FLOW_H

#include "base/bucket.h"
#include "base/loop.h"
#include "splice/flows.h"

struct flow;
struct pipes;

/* What one guest has. */
struct load {
	uint32_t flows, nameless;
	struct bucket asks, reports;
};

/**
 * struct flows - The table
 * @free:	Places in @table that are empty; @n_free of them
 * @n:		Flows there are
 * @serial:	Of the last one: its id is @serial * FLOWS_MAX + its place
 * @stopped:	Nobody decides any more; `idle` is told when @n is 0
 * @loads:	By slot
 */
struct flows {
	struct loop *loop;
	struct flows_config config;
	const struct flows_ops *ops;
	void *arg;
	int listener;
	sd_event_source *accept, *rest;
	struct pipes *pipes;
	struct flow *table[FLOWS_MAX];
	uint32_t free[FLOWS_MAX];
	size_t n_free, n;
	uint64_t serial;
	bool stopped;
	struct load *loads;
};

/* Begin one: @fd is consumed, and there is a free place. It may have ended when
 * this returns.
 */
void flow_new(struct flows *all, int fd, const struct flow_info *info);

/* @reset: tell both peers that it was not ended in order. */
void flow_free(struct flow *f, bool reset);

uint64_t flow_id(const struct flow *f);

/* The owner has not decided on it, or was not even asked. */
bool flow_is_undecided(const struct flow *f);

/* As flows_answer(). */
bool flow_answer(struct flow *f, int up);

/* Tell that something of this guest's was refused, unless too much is told. */
void flow_report(struct flows *all, const struct flow_info *info,
		 const char *name, const char *why);

/* Close a socket whose peer is to see a reset. Consumes @fd. */
void flow_reset(int fd);

#endif /* SPLICE_FLOW_H */
