/* SPDX-License-Identifier: Apache-2.0 */
/* fake_world.c - the numbered calls of the fakes */
#include "fakes.h"

#include "base/error.h"
#include "base/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_world world = { .lock = PTHREAD_MUTEX_INITIALIZER };

void world_reset(void)
{
	free(world.answer);
	memset(&world, 0, sizeof(world));
	pthread_mutex_init(&world.lock, NULL);
}

bool world_call(const char *what, struct error *err)
{
	bool fails, dies;

	pthread_mutex_lock(&world.lock);
	world.calls++;
	fails = world.calls == world.fail_at ||
		(world.fail_op && !strcmp(world.fail_op, what));
	dies = world.calls == world.die_at;
	if (fails)
		snprintf(world.last_failed, sizeof(world.last_failed), "%s",
			 what);
	pthread_mutex_unlock(&world.lock);
	/* Posted before the call's own end: the engine never sees that. */
	if (dies)
		loop_post(world.loop, world.die, world.die_arg);
	if (fails)
		err_set(err, ERR_INTERNAL, "%s fails as told", what);
	return fails;
}
