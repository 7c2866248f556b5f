/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.h - one sandbox, and the node's sandboxes
 *
 * What must survive is in struct sandbox_row, which is what the database
 * holds; the rest is of this process. Found by id, by guest, and in the order
 * of creation.
 */
#ifndef ENGINE_SANDBOX_H
#define ENGINE_SANDBOX_H

#include "base/list.h"
#include "engine/agent.h"
#include "engine/hv.h"
#include "engine/pb.h"
#include "engine/slot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Ended ones that are remembered, at most. */
#define SANDBOX_TERMINATED_MAX 10000u

struct ended;
struct engine;
struct task;

#define SANDBOX_ID_MAX	  63
#define OBJECT_ID_SIZE	  64 /* of snapshots and templates, with NUL */
#define BOOT_ID_SIZE	  37

/* node.proto's SandboxState, shorter. */
enum sandbox_state {
	SBX_NONE = 0,
	SBX_CREATING,
	SBX_RUNNING,
	SBX_PAUSING,
	SBX_PAUSED,
	SBX_RESUMING,
	SBX_TERMINATING,
	SBX_TERMINATED,
	SBX_FAILED,

	SBX_STATE_COUNT,
};

/**
 * struct sandbox_row - What of a sandbox is in the database
 * @slot:	Its number, -1: none.  Set while a guest exists
 * @uuid:	Of the guest, "" when there is none
 * @image_digest: Of the disk under it; the name may mean another by now
 * @template_id: "" when the guest was booted cold
 * @snapshot_id: What it can be resumed from, "" before the first pause
 * @next_snapshot: The pause under way writes this one
 * @nonce:	Shared with the agent; secret
 * @boot_id:	Of the host when @created_boot_ms was read
 * @run_ms:	Wall clock when the present run began, 0 when it does not run
 * @run_boot_ms: The same by CLOCK_BOOTTIME; 0: that clock began anew since
 * @busy_boot_ms: When it was last in use, CLOCK_BOOTTIME (idle.h)
 * @runtime_ms:	Of the runs that ended
 * @cpu_ms:	CPU time of the guests that ended
 *
 * A plain value but for @spec, which the sandbox owns: take a copy to be able
 * to go back when a commit fails.
 */
struct sandbox_row {
	char id[SANDBOX_ID_MAX + 1];
	enum sandbox_state state;
	char reason[128];
	uint64_t generation;
	char uuid[HV_UUID_SIZE];
	int64_t slot;
	char image_digest[80];
	char template_id[OBJECT_ID_SIZE];
	char snapshot_id[OBJECT_ID_SIZE];
	char next_snapshot[OBJECT_ID_SIZE];
	uint8_t nonce[SANDBOX_NONCE_LEN];
	char machine_id[33];
	char boot_id[BOOT_ID_SIZE];
	char start_kind[12];
	int64_t created_ms, started_ms, paused_ms, resumed_ms, terminated_ms;
	int64_t created_boot_ms;
	int64_t run_ms;
	uint64_t run_boot_ms, busy_boot_ms;
	uint64_t runtime_ms, cpu_ms;
	Spec *spec;
};

/**
 * struct idle - What was last seen of a sandbox's use; idle.c's
 * @at_ms:	When, CLOCK_MONOTONIC; 0: not since its guest runs
 * @cpu_ms:	CPU time of its QEMU then
 * @user_ms:	CPU time of its users' processes, as the agent said
 * @asking:	An answer is on its way
 * @unused:	The last look, over a whole interval, saw no use
 */
struct idle {
	uint64_t at_ms, cpu_ms, user_ms, net_bytes;
	bool user_known, asking, unused;
};

/**
 * struct sandbox - One sandbox
 * @task:	What is being done to it; NULL: nothing.  One at a time
 * @slot:	Valid while row.slot >= 0
 * @attached:	Front speaks to its agent; agent.c's
 * @agent:	How that is
 * @leases:	Calls that keep it awake (lease.c)
 * @waiting:	Acquires that wait for it to run
 * @seen_ms:	When its guest was last measured, monotonic; 0: never.  Of
 *		@seen_generation: CPU time, host memory
 * @idle:	What was seen of its use (idle.h)
 * @busy_stored: What the database has of row.busy_boot_ms
 * @want_terminate: Ends as soon as the task has; @end_reason says why
 */
struct sandbox {
	struct list link; /* sandboxes.all or .shown, newest last */
	uint64_t order;
	struct sandbox *next_id; /* hash chain */
	struct engine *engine;
	struct sandbox_row row;
	struct task *task;
	struct slot slot;
	bool attached, reattaching;
	struct agent agent;
	struct list leases, waiting;
	bool counted, counted_running; /* account.c */
	uint64_t seen_ms, seen_generation, seen_cpu_ms, seen_memory;
	struct idle idle;
	uint64_t busy_stored;
	bool want_terminate;
	char end_reason[128];
	unsigned int end_failures;
	struct list end_calls;	 /* TerminateSandbox that wait */
	uint64_t unknown_ms;	 /* since when recovery knows nothing; or 0 */
	sd_event_source *recovery; /* asks again */
	sd_event_source *timer;	 /* timeout, idle */
	sd_event_source *retry;	 /* attach or terminate again */
	sd_event_source *answer; /* terminate's answer is due */
};

#define SANDBOX_BUCKETS 4096 /* power of two */

/**
 * struct sandbox_entry - One sandbox as lists see it, side by side in memory
 * @order:	Of creation: what the entries are sorted by
 */
struct sandbox_entry {
	uint64_t order;
	struct sandbox *sb;
	enum sandbox_state state;
};

/**
 * struct sandboxes - The node's sandboxes
 * @all:	Oldest first, but for those in @ended
 * @live:	Those that are not TERMINATED, oldest first, with their states:
 *		kept by sandbox_note()
 * @ended:	Those that are in the database alone (ended.h), oldest first
 * @shown:	Of them, what was read in this turn of the loop
 */
struct sandboxes {
	struct list all;
	struct sandbox *by_id[SANDBOX_BUCKETS];
	size_t n;
	struct sandbox_entry *live;
	size_t n_live, room_live;
	struct list ended, shown;
	struct ended *ended_by_id[SANDBOX_BUCKETS];
	size_t n_ended;
	sd_event_source *hide;
	uint64_t next_order;
};

const char *sandbox_state_str(enum sandbox_state state);

/* Below SANDBOX_BUCKETS. */
uint32_t sandbox_hash(const char *id);

void sandboxes_init(struct sandboxes *s);
/* All of them were removed. */
void sandboxes_fini(struct sandboxes *s);
/* Takes @row over, its spec too. The list keeps the order of creation. */
struct sandbox *sandbox_add(struct engine *e, const struct sandbox_row *row);
/* The same in no list and found by nobody; for sandbox_free(). */
struct sandbox *sandbox_new(struct engine *e, const struct sandbox_row *row);
void sandbox_free(struct sandbox *sb);
/* Out of memory only, not out of the database. */
void sandbox_remove(struct sandbox *sb);
/* After each change of row.state. */
void sandbox_note(struct sandbox *sb);
/* The row as it was: what was to be could not be written. */
void sandbox_revert(struct sandbox *sb, const struct sandbox_row *old);
/* One that has ended may be read from the database for this, and is good until
 * this turn of the loop ends. NULL: there is none, or it cannot be read.
 */
struct sandbox *sandbox_find(struct sandboxes *s, const char *id);
/* SBX_NONE: there is none. Reads nothing. */
enum sandbox_state sandbox_state_of(const struct sandboxes *s, const char *id);
struct sandbox *sandbox_by_uuid(struct sandboxes *s, const char *uuid);
struct sandbox *sandbox_by_slot(struct sandboxes *s, uint32_t slot);

/* A guest's host resources are taken: it counts in vCPUs and memory. */
bool sandbox_holds_guest(const struct sandbox *sb);

/* How long it has lived, unmoved by changes of the wall clock while the host
 * is up.
 */
uint64_t sandbox_age_ms(const struct sandbox *sb);
/* How long the present run is, the same way; 0: it does not run. */
uint64_t sandbox_run_ms(const struct sandbox *sb);
uint64_t sandbox_runtime_ms(const struct sandbox *sb);

#endif /* ENGINE_SANDBOX_H */
