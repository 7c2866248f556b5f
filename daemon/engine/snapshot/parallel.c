/* SPDX-License-Identifier: Apache-2.0 */
/* parallel.c - several threads for one piece of work, within one job */
#include "engine/snapshot/parallel.h"

#include <pthread.h>
#include <stddef.h>

#define THREADS_MAX 64

struct call {
	void (*fn)(void *arg);
	void *arg;
};

static void *run(void *opaque)
{
	struct call *call = opaque;

	call->fn(call->arg);
	return NULL;
}

void parallel_run(unsigned int threads, void (*fn)(void *arg), void *arg)
{
	struct call call = { fn, arg };
	pthread_t others[THREADS_MAX];
	unsigned int n = 0;

	while (n + 1 < threads && n < THREADS_MAX &&
	       pthread_create(&others[n], NULL, run, &call) == 0)
		n++;
	fn(arg);
	while (n > 0)
		pthread_join(others[--n], NULL);
}
