/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - what the engine counts */
#include "engine/metrics.h"

#include <stdio.h>
#include <string.h>

static const char *const hv_names[] = {
	[HV_START] = "start",
	[HV_RELEASE] = "release",
	[HV_OPEN_AGENT] = "open_agent",
	[HV_SAVE] = "save",
	[HV_CAPTURE] = "capture",
	[HV_WAKE] = "wake",
	[HV_DESTROY] = "destroy",
	[HV_LIFE] = "life",
	[HV_LIST] = "list",
	[HV_VERIFY] = "verify",
	[HV_STATS] = "stats",
	[HV_SELFTEST] = "selftest",
	[HV_MERGE] = "merge",
};

void tally_add(struct tally *tally, const char *name, uint64_t n)
{
	size_t i = 0;

	while (i < tally->n && strcmp(tally->v[i].name, name) != 0)
		i++;
	if (i == TALLY_MAX - 1 && i == tally->n)
		name = "other";
	if (i == TALLY_MAX)
		i = TALLY_MAX - 1;
	if (i == tally->n) {
		snprintf(tally->v[i].name, sizeof(tally->v[i].name), "%s",
			 name);
		tally->n++;
	}
	tally->v[i].n += n;
}

void metrics_fini(struct metrics *m)
{
	measures_fini(&m->operations);
	measures_fini(&m->hv);
}

void metrics_operation(struct metrics *m, const char *name, bool cancelled,
		       bool failed, uint64_t ms)
{
	measures_add(&m->operations, name,
		     !failed	 ? "ok"
		     : cancelled ? "cancelled"
				 : "failed",
		     (double)ms / 1000);
}

void metrics_hv(struct metrics *m, enum hv_call_op op, bool failed,
		double seconds)
{
	const char *name = (size_t)op < sizeof(hv_names) / sizeof(*hv_names)
				   ? hv_names[op]
				   : NULL;

	measures_add(&m->hv, name ? name : "other", failed ? "failed" : "ok",
		     seconds);
}

/* Reasons are codes or sentences; only codes make good labels. */
void metrics_end(struct metrics *m, const char *reason)
{
	size_t len = strspn(reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

	tally_add(&m->ends, len && !reason[len] ? reason : "other", 1);
}
