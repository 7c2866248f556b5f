/* SPDX-License-Identifier: Apache-2.0 */
/* pressure.c - the host runs out of disk or memory: what is done about it */
#include "engine/pressure.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/pool.h"
#include "engine/sandbox_ops.h"
#include "engine/templates.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define MIB	       (1ull << 20)
#define RETRY_MS       5000u
#define INODES_LOW     5u  /* percent free */
#define STALLED_HIGH   40u /* percent of the time */
#define STALLED_OVER   10u
#define PAUSES_AT_ONCE 2u
#define UNUSED_MIN_MS  5000u /* less long unused is in use */

const char *pressure_level_str(enum pressure_level level)
{
	static const char *const names[PRESSURE_LEVEL_COUNT] = { "none", "low",
								 "high" };

	return (unsigned int)level < PRESSURE_LEVEL_COUNT ? names[level] : "?";
}

/* ---- reading ---- */

static uint64_t read_available_mib(void)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	uint64_t kib = UINT64_MAX;

	if (fd_read_file(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0)
		return UINT64_MAX;
	line = strstr(text, "MemAvailable:");
	if (!line || sscanf(line, "MemAvailable: %" SCNu64, &kib) != 1)
		return UINT64_MAX;
	return kib / 1024;
}

static uint32_t read_stalled_percent(void)
{
	_cleanup_free_ char *text = NULL;
	double percent;

	if (fd_read_file(AT_FDCWD, "/proc/pressure/memory", 4096, &text, NULL) <
		    0 ||
	    sscanf(text, "some avg10=%lf", &percent) != 1 || percent < 0)
		return 0;
	return percent > 100 ? 100 : (uint32_t)percent;
}

int pressure_read(const char *state_dir, struct pressure_reading *ret,
		  struct error *err)
{
	struct statvfs fs;

	if (statvfs(state_dir, &fs) < 0)
		return err_sys(err, errno, "measure '%s'", state_dir);
	*ret = (struct pressure_reading){
		.disk_mib = (uint64_t)fs.f_bavail * fs.f_frsize / MIB,
		.memory_mib = read_available_mib(),
		.inodes_percent = fs.f_files ?
					  (uint32_t)((uint64_t)fs.f_favail *
						     100 / fs.f_files) :
					  100,
		.stalled_percent = read_stalled_percent(),
	};
	return 0;
}

/* ---- judging ---- */

static enum pressure_level level_of(enum pressure_level before, uint64_t left,
				    uint64_t reserve)
{
	if (left < reserve / 2)
		return PRESSURE_HIGH;
	if (left < reserve)
		return PRESSURE_LOW;
	if (before != PRESSURE_NONE && left < reserve + reserve / 8)
		return PRESSURE_LOW;
	return PRESSURE_NONE;
}

static enum pressure_level stalled_level(enum pressure_level before,
					 uint32_t percent)
{
	if (percent >= STALLED_HIGH)
		return PRESSURE_HIGH;
	return before != PRESSURE_NONE && percent >= STALLED_OVER ?
		       PRESSURE_LOW :
		       PRESSURE_NONE;
}

static enum pressure_level higher(enum pressure_level a, enum pressure_level b)
{
	return a > b ? a : b;
}

void pressure_judge(struct pressure *p, const struct config *config,
		    const struct pressure_reading *r)
{
	p->disk = higher(
		level_of(p->disk, r->disk_mib, config->disk_reserve_mib),
		config->disk_reserve_mib ?
			level_of(p->disk, r->inodes_percent, INODES_LOW) :
			PRESSURE_NONE);
	p->memory =
		config->memory_reserve_mib ?
			higher(level_of(p->memory, r->memory_mib,
					config->memory_reserve_mib),
			       stalled_level(p->memory, r->stalled_percent)) :
			PRESSURE_NONE;
	p->last = *r;
}

int pressure_check(const struct engine *e, struct error *err)
{
	const struct pressure *p = &e->pressure;

	if (p->disk == PRESSURE_NONE && p->memory == PRESSURE_NONE)
		return 0;
	if (p->disk != PRESSURE_NONE)
		err_set(err, ERR_LIMIT,
			"the node runs out of disk: %" PRIu64 " MiB and %u %% "
			"of the inodes are left",
			p->last.disk_mib, p->last.inodes_percent);
	else
		err_set(err, ERR_LIMIT,
			"the node runs out of memory: %" PRIu64 " MiB are "
			"left, tasks wait for it %u %% of the time",
			p->last.memory_mib, p->last.stalled_percent);
	if (err)
		err->retry_ms = RETRY_MS;
	return err_reason(err, "RESOURCE_EXHAUSTED", NULL);
}

/* ---- telling and acting ---- */

static void tell(struct engine *e, const char *resource,
		 enum pressure_level before, enum pressure_level now,
		 uint64_t left_mib)
{
	char left[24];

	if (before == now)
		return;
	snprintf(left, sizeof(left), "%" PRIu64, left_mib);
	if (now > before)
		log_warn("%s pressure is %s: %s MiB are left", resource,
			 pressure_level_str(now), left);
	else
		log_info("%s pressure is %s: %s MiB are left", resource,
			 pressure_level_str(now), left);
	event_emit(e, "node.pressure", "",
		   EVENT_DATA({ "resource", resource },
			      { "level", pressure_level_str(now) },
			      { "freeMib", left }));
}

/* Runs, and neither a call nor a task keeps it. */
static bool is_unused(const struct sandbox *sb)
{
	return sb->row.state == SBX_RUNNING && !sb->task && sb->attached &&
	       !sb->row.spec->no_idle_pause && list_empty(&sb->leases) &&
	       list_empty(&sb->waiting) &&
	       sb->row.busy_boot_ms + UNUSED_MIN_MS <= loop_boot_ms();
}

static void pause_longest_unused(struct engine *e)
{
	struct sandbox *oldest = NULL;
	struct error err;

	list_for_each (&e->sandboxes.all, sb, struct sandbox, link)
		if (is_unused(sb) &&
		    (!oldest ||
		     sb->row.busy_boot_ms < oldest->row.busy_boot_ms))
			oldest = sb;
	if (!oldest)
		return;
	log_info("sandbox '%s': is paused, memory is short", oldest->row.id);
	if (sandbox_pause(oldest, NULL, &err) < 0)
		log_warn("sandbox '%s': %s", oldest->row.id, err.msg);
}

void pressure_look(struct engine *e)
{
	struct pressure before = e->pressure;
	struct pressure_reading reading;
	struct error err;

	if (e->read_pressure(e->config->state_dir, &reading, &err) < 0) {
		log_warn("%s", err.msg);
		return;
	}
	pressure_judge(&e->pressure, e->config, &reading);
	tell(e, "disk", before.disk, e->pressure.disk, reading.disk_mib);
	tell(e, "memory", before.memory, e->pressure.memory,
	     reading.memory_mib);
	if (pressure_check(e, NULL) == 0)
		return;
	pool_empty(e);
	if (e->pressure.disk != PRESSURE_NONE)
		templates_evict(e);
	if (e->pressure.memory == PRESSURE_HIGH && e->config->pressure_pause &&
	    e->pressure.disk == PRESSURE_NONE)
		for (unsigned int i = 0; i < PAUSES_AT_ONCE; i++)
			pause_longest_unused(e);
}
