/* SPDX-License-Identifier: Apache-2.0 */
/* guest_clock.c - what a guest's clock is to be set to */
#include "front/guest_clock.h"

void guest_clock_ask(struct guest_clock *clock, uint64_t now_ns)
{
	clock->asked_ns = now_ns;
	clock->asks++;
}

bool guest_clock_answer(struct guest_clock *clock, uint64_t now_ns,
			int64_t wall_ns, uint64_t guest_ns)
{
	uint64_t took = now_ns - clock->asked_ns;

	if (clock->asks == 1 || took < clock->took_ns) {
		clock->took_ns = took;
		clock->guest_ns = guest_ns;
		clock->wall_ns = wall_ns;
	}
	return guest_ns != 0 && clock->took_ns > GUEST_CLOCK_GOOD_NS &&
	       clock->asks < GUEST_CLOCK_ASKS_MAX;
}

int64_t guest_clock_time(const struct guest_clock *clock, int64_t wall_ns,
			 uint64_t *ret_at_ns)
{
	int64_t way = (int64_t)(clock->took_ns / 2);

	*ret_at_ns = clock->guest_ns;
	/* An older agent: the way there is as long as Hello's was, one hopes. */
	return clock->guest_ns ? clock->wall_ns - way : wall_ns + way;
}
