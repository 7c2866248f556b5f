/* SPDX-License-Identifier: Apache-2.0 */
/* hv_call.h - one operation of the hypervisor, as a job */
#ifndef ENGINE_HV_CALL_H
#define ENGINE_HV_CALL_H

#include "engine/hv.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct error;
struct hv_call;

enum hv_call_op {
	HV_START,
	HV_RELEASE,
	HV_OPEN_AGENT,
	HV_SAVE,
	HV_CAPTURE,
	HV_WAKE,
	HV_DESTROY,
	HV_LIFE,
	HV_LIST,
	HV_VERIFY,
	HV_STATS,
	HV_SELFTEST,
	HV_MERGE,
};

/* Main thread. Owns what the call brought but did not have taken from it. */
typedef void (*hv_call_fn)(struct hv_call *call, int rc,
			   const struct error *err);

/**
 * struct hv_call - The operation, its arguments and what it brought
 *
 * Fill in, give to hv_call_start(), which copies it. @done sees the copy,
 * which goes after it.  @cpu_ms is also what the guest had used when its
 * destroy or last save began.  @progress is borrowed for as long as the job takes.
 */
struct hv_call {
	enum hv_call_op op;
	struct guest_spec spec;
	char template_dir[PATH_MAX], snapshot_dir[PATH_MAX]; /* "": none */
	char out_dir[PATH_MAX]; /* of a merge */
	bool flag; /* start: hold; save: keep_running; stats: memory too */
	struct hv_progress *progress;
	hv_call_fn done;
	void *arg;
	/* results */
	int fd;
	uint64_t bytes, cpu_ms, memory;
	enum guest_life life;
	char (*list)[HV_UUID_SIZE];
	int n;
	struct hv *hv;
	struct engine *engine;
	uint64_t began_us;
};

void hv_call_start(struct engine *e, const struct hv_call *call);

#endif /* ENGINE_HV_CALL_H */
