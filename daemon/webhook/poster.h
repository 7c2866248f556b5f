/* SPDX-License-Identifier: Apache-2.0 */
/* poster.h - events from the engine to the receiver, in order, until taken
 *
 * One batch at a time. A try that fails is repeated, with pauses that grow and
 * are drawn by lot, for as long as it takes: what happens to events that nobody
 * takes is the event log's retention.
 */
#ifndef WEBHOOK_POSTER_H
#define WEBHOOK_POSTER_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct poster;

/**
 * poster_new() - Post what the engine at the other end of @ipc_fd gives
 * @ipc_fd:	Consumed
 *
 * Stops the loop when the engine is gone.
 */
int poster_new(struct loop *loop, int ipc_fd, struct poster **ret,
	       struct error *err);
struct poster *poster_free(struct poster *poster);

/* The pause after the @n-th failure in a row (from 1): half of min * 2^(n-1),
 * at most max, and up to as much again by @lot (0 to 1).
 */
uint64_t poster_pause_ms(uint64_t min_ms, uint64_t max_ms, unsigned int n,
			 double lot);

#endif /* WEBHOOK_POSTER_H */
