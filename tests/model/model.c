/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - random steps on a whole node, beside a reference of what it is
 *
 * usage: model [--seed N] [--steps M] [--no-faults] [--keep]
 *
 * Prints the seed; the same seed makes the same steps (what strikes within a
 * call does so after the same time, so what it hits may differ).
 */
#include "ref.h"
#include "vm.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define STEPS	    400
#define AUDIT_EVERY 20

static const struct {
	void (*fn)(struct ref *r);
	unsigned int weight;
	bool fault;   /* is one itself */
	bool mutates; /* one may strike it */
} steps[] = {
	{ step_create, 12, false, true },
	{ step_pause, 10, false, true },
	{ step_resume, 10, false, true },
	{ step_terminate, 5, false, true },
	{ step_snapshot, 7, false, true },
	{ step_remove_snapshot, 4, false, true },
	{ step_restore, 6, false, true },
	{ step_fork, 6, false, true },
	{ step_update, 3, false, true },
	{ step_drain, 1, false, true },
	{ step_port, 5, false, true },
	{ step_write, 14, false, false },
	{ step_exec, 5, false, false },
	{ step_files, 4, false, false },
	{ step_background, 3, false, false },
	{ step_watch, 3, false, false },
	{ step_questions, 3, false, false },
	{ step_bad_input, 2, false, false },
	{ step_at_once, 6, false, false },
	{ step_lose_guest, 3, true, false },
	{ step_hypervisor_away, 2, true, false },
	{ step_bare_strike, 3, true, false },
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static const char *const ops[] = { "fail-start",   "fail-release",
				   "fail-hold",	   "fail-open_agent",
				   "fail-save",	   "fail-capture",
				   "fail-destroy", "fail-verify" };
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static const char *const slow_ops[] = { "slow-start", "slow-release",
					"slow-save", "slow-open_agent",
					"slow-destroy" };
#define N_SLOW (sizeof(slow_ops) / sizeof(slow_ops[0]))

static struct ref ref;
static struct house house;

static void on_abort(int sig)
{
	(void)sig;
	signal(SIGABRT, SIG_DFL);
	fprintf(stderr, "the last steps:\n");
	for (uint64_t i = ref.n_trace > 40 ? ref.n_trace - 40 : 0;
	     i < ref.n_trace; i++)
		fprintf(stderr, "  %s\n", ref.trace[i % 64]);
	fprintf(stderr, "FAIL model: again with --seed %llu --steps %llu\n",
		(unsigned long long)ref.seed, (unsigned long long)ref.step + 1);
	house.keep = true;
	house_end(&house);
	_exit(1);
}

static void one_step(struct ref *r)
{
	unsigned int all = 0, n;
	char ms[8];
	size_t i;

	r->rng = r->seed ^ r->step * 0x2545f4914f6cdd1du;
	for (i = 0; i < N_STEPS; i++)
		all += steps[i].fault && !r->faults ? 0 : steps[i].weight;
	n = pick(r, all);
	for (i = 0; i < N_STEPS; i++) {
		unsigned int weight =
			steps[i].fault && !r->faults ? 0 : steps[i].weight;

		if (n < weight)
			break;
		n -= weight;
	}
	if (r->faults && steps[i].mutates) {
		const char *slow = slow_ops[pick(r, N_SLOW)];

		r->strike_ms = (int)pick(r, 25);
		if (chance(r, 12))
			r->strike = KILL_FRONT + pick(r, STRIKES - KILL_FRONT);
		else if (chance(r, 12))
			r->armed = ops[pick(r, N_OPS)];
		snprintf(ms, sizeof(ms), "%u", 5 + pick(r, 20));
		if (r->strike)
			house_fault(r->house, slow, ms);
		if (r->armed)
			house_fault(r->house, r->armed, "");
		steps[i].fn(r);
		house_fault(r->house, slow, NULL);
		/* Whether it was for this call cannot be told. */
		ref_disarm(r);
		r->strike = NO_STRIKE;
	} else {
		steps[i].fn(r);
	}
}

/* Nothing lives on but what the pool holds ready. */
static void the_end(struct ref *r)
{
	uint64_t until = now_ms() + 20000;
	size_t guests, dirs, snaps;

	r->strike = NO_STRIKE;
	while (ref_alive(r))
		step_terminate(r);
	while (ref_snap_any(r, NULL))
		step_remove_snapshot(r);
	ref_audit(r);
	/* Held clones are no processes; their directories are there. */
	do {
		char **names;

		guests = house_guests(r->house, &names);
		for (size_t i = 0; i < guests; i++)
			free(names[i]);
		free(names);
		dirs = house_entries(r->house, "guests");
		snaps = house_entries(r->house, "snapshots");
		nap_ms(20);
	} while ((guests || dirs > 1 || snaps) && now_ms() < until);
	if (guests || dirs > 1 || snaps)
		wrong(r,
		      "left: %zu guests, %zu directories of guests, %zu "
		      "snapshots",
		      guests, dirs, snaps);
}

static void run(struct ref *r, uint64_t n)
{
	uint64_t began = now_ms();

	for (r->step = 0; r->step < n; r->step++) {
		one_step(r);
		if (r->step % AUDIT_EVERY == AUDIT_EVERY - 1)
			ref_audit(r);
	}
	the_end(r);
	printf("model: seed %llu: %llu steps, %llu calls (%llu made again, "
	       "%llu for the same answer), %llu strikes, %llu told failures, "
	       "%llu starts, %zu sandboxes, %llu events, %.1f s\n",
	       (unsigned long long)r->seed, (unsigned long long)n,
	       (unsigned long long)r->calls, (unsigned long long)r->retries,
	       (unsigned long long)r->replays, (unsigned long long)r->struck,
	       (unsigned long long)r->failed,
	       (unsigned long long)r->house->starts, r->n_boxes,
	       (unsigned long long)r->events,
	       (double)(now_ms() - began) / 1000);
	printf("PASS the node is what the model says, seed %llu\n",
	       (unsigned long long)r->seed);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "steps", required_argument, NULL, 'n' },
		{ "no-faults", no_argument, NULL, 'f' },
		{ "keep", no_argument, NULL, 'k' },
		{ 0 },
	};
	uint64_t n = STEPS;
	bool keep = false;
	int c;

	ref.faults = true;
	if (getrandom(&ref.seed, sizeof(ref.seed), 0) < 0)
		return 1;
	ref.seed %= 1000000;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			ref.seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			n = strtoull(optarg, NULL, 10);
		else if (c == 'f')
			ref.faults = false;
		else if (c == 'k')
			keep = true;
		else
			return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("model: --seed %llu --steps %llu\n",
	       (unsigned long long)ref.seed, (unsigned long long)n);
	house_begin(&house, "[pool]\nmin = 1\nmax = 1\n");
	house.keep = keep;
	ref.house = &house;
	signal(SIGABRT, on_abort);
	signal(SIGTERM, on_abort);
	signal(SIGINT, on_abort);
	house_start(&house);
	run(&ref, n);
	house_stop(&house, SIGTERM);
	house_end(&house);
	return 0;
}
