/* SPDX-License-Identifier: Apache-2.0 */
/* pressure.h - the host runs out of disk or memory: what is done about it
 *
 * Quotas (quota.h) count promises; this looks at what is really left, every
 * few seconds. Each resource is at one of three levels:
 *
 *	NONE	nothing is done
 *	LOW	less than the reserve is left: nothing new is admitted or
 *		resumed, pools are emptied, templates that nobody uses go
 *	HIGH	less than half of it: if [limits] pressure_pause says so,
 *		sandboxes that nobody uses just now are paused, the one longest
 *		unused first (memory only: a pause takes disk)
 *
 * It is over when an eighth more than the reserve is free: no flapping.
 */
#ifndef ENGINE_PRESSURE_H
#define ENGINE_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct engine;
struct error;

enum pressure_level {
	PRESSURE_NONE = 0,
	PRESSURE_LOW,
	PRESSURE_HIGH,

	PRESSURE_LEVEL_COUNT,
};

/**
 * struct pressure_reading - What the host has left
 * @inodes_percent: Free, of the state directory's file system; 100 where there
 *		is no such number
 * @stalled_percent: Of the last 10 s in which some task waited for memory
 *		(PSI); 0 where the kernel does not tell
 */
struct pressure_reading {
	uint64_t disk_mib, memory_mib;
	uint32_t inodes_percent, stalled_percent;
};

struct pressure {
	enum pressure_level disk, memory;
	struct pressure_reading last;
};

/* 0, or -1: the state directory cannot be looked at. */
typedef int (*pressure_read_fn)(const char *state_dir,
				struct pressure_reading *ret,
				struct error *err);
int pressure_read(const char *state_dir, struct pressure_reading *ret,
		  struct error *err);

const char *pressure_level_str(enum pressure_level level);

/* The levels after a reading, from those before it. */
void pressure_judge(struct pressure *p, const struct config *config,
		    const struct pressure_reading *reading);

/* Look, tell, and act. */
void pressure_look(struct engine *e);

/* 0, or -1: ERR_LIMIT, RESOURCE_EXHAUSTED, and what is short. */
int pressure_check(const struct engine *e, struct error *err);

#endif /* ENGINE_PRESSURE_H */
