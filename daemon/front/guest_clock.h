/* SPDX-License-Identifier: Apache-2.0 */
/* guest_clock.h - what a guest's clock is to be set to
 *
 * A guest that starts or resumes takes long to answer for the first time, and
 * long to take its Configure: a time that is sent is old when it arrives, by
 * nobody knows how much. So Hello tells the guest's CLOCK_MONOTONIC, which runs
 * on, and Configure says what time it was at that reading. How far that is off
 * is at most half of what Hello took, and Hello is said again while it took
 * long.
 *
 * Times are nanoseconds; the caller reads the clocks.
 */
#ifndef FRONT_GUEST_CLOCK_H
#define FRONT_GUEST_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_CLOCK_GOOD_NS  10000000 /* an answer that was quick enough */
#define GUEST_CLOCK_ASKS_MAX 4

struct guest_clock {
	unsigned int asks;
	uint64_t asked_ns; /* our CLOCK_MONOTONIC */
	uint64_t took_ns;  /* the quickest answer, and what it said: */
	uint64_t guest_ns; /* the guest's CLOCK_MONOTONIC; 0: it tells none */
	int64_t wall_ns;   /* the wall clock when it came */
};

/* A Hello leaves at @now_ns of CLOCK_MONOTONIC. */
void guest_clock_ask(struct guest_clock *clock, uint64_t now_ns);

/* Its answer came at @now_ns, when the wall clock showed @wall_ns.
 * Return: true: ask once more.
 */
bool guest_clock_answer(struct guest_clock *clock, uint64_t now_ns,
			int64_t wall_ns, uint64_t guest_ns);

/**
 * guest_clock_time() - What to say in a Configure that leaves now
 * @wall_ns:	The wall clock
 * @ret_at_ns:	The guest's CLOCK_MONOTONIC that the result belongs to; 0: when
 *		it arrives
 *
 * Return: the wall clock at that moment
 */
int64_t guest_clock_time(const struct guest_clock *clock, int64_t wall_ns,
			 uint64_t *ret_at_ns);

#endif /* FRONT_GUEST_CLOCK_H */
