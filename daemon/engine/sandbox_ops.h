/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_ops.h - what can be done to a sandbox
 *
 * Each either refuses at once (-1: the call is still the caller's to fail) or
 * takes the call over and answers it when the task that it started, or joined,
 * has ended. @call NULL: the node itself wants it.
 */
#ifndef ENGINE_SANDBOX_OPS_H
#define ENGINE_SANDBOX_OPS_H

#include "engine/sandbox.h"
#include "engine/sandbox_fsm.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct engine;
struct error;
struct image;
struct snapshot;

/* @spec is checked and completed; consumed on success. */
int sandbox_create(struct engine *e, Spec *spec, const struct image *image,
		   struct call *call, struct error *err);
int sandbox_pause(struct sandbox *sb, struct call *call, struct error *err);
int sandbox_resume(struct sandbox *sb, struct call *call, struct error *err);
/* Back to @snapshot, in place. */
int sandbox_restore(struct sandbox *sb, struct snapshot *snapshot,
		    struct call *call, struct error *err);
/* A new sandbox from a snapshot; @done tells how it went, with the sandbox. */
typedef void (*sandbox_fork_fn)(struct sandbox *sb, const struct error *err,
				void *arg);
int sandbox_fork(struct engine *e, struct snapshot *snapshot,
		 sandbox_fork_fn done, void *arg, struct error *err);
/* Save what runs, and let it run on. @done gets the new snapshot, or why not;
 * a snapshot that nobody then uses and that is internal goes away.
 */
typedef void (*sandbox_snapshot_fn)(struct snapshot *snapshot,
				    uint32_t stopped_ms,
				    const struct error *err, void *arg);
int sandbox_snapshot(struct sandbox *sb, const char *name, bool internal,
		     struct call *call, sandbox_snapshot_fn done, void *arg,
		     struct error *err);

/* Always possible. @reason is kept; the first one counts. */
void sandbox_end(struct sandbox *sb, const char *reason, struct call *call);
/* Its guest is gone, without anybody having asked for it. */
void sandbox_lost(struct sandbox *sb, const char *reason);
/* Look whether the guest is still there. */
void sandbox_look(struct sandbox *sb, const char *reason);

/*
 * Write down, durably, what is going to be done (@ev, and whatever the caller
 * changed in the row since @old) before any of it is. On failure the row is
 * @old again.
 */
int sandbox_intend(struct sandbox *sb, enum sandbox_event ev,
		   const struct sandbox_row *old, struct call *call,
		   struct error *err);

/* Speak to the agent of a running guest again. */
void sandbox_reattach(struct sandbox *sb);
/* The link to it ended by itself: the same, perhaps after a while. */
void sandbox_link_lost(struct sandbox *sb, const char *why, bool broken);

/* A task ended or the state changed: what waited goes on. */
void sandbox_settled(struct sandbox *sb);
/* The same after a restart, which is no use of it. */
void sandbox_adopted(struct sandbox *sb);
/* Set the timer for what comes first: end of life, idle pause. */
void sandbox_arm(struct sandbox *sb);
/* It is in use now. */
void sandbox_touch(struct sandbox *sb);

/* ---- for the operations' own files ---- */

/* Count a run that ends now, in the row; within a transaction (cost event).
 * @cpu_ms: what its guest used; 0: as far as it was seen.
 */
uint64_t sandbox_run_ended(struct sandbox *sb, uint64_t cpu_ms);
/* The same of a pause; its length. */
uint64_t sandbox_pause_ended(struct sandbox *sb);
/* See what the guest uses, soon: it may be gone when that is asked. */
void sandbox_measure(struct sandbox *sb);
/* A task of the sandbox is under way: -1, busy. */
int sandbox_not_busy(struct sandbox *sb, struct error *err);
/* Start task kinds that bring a guest up, shared by create, resume, ... */
struct task;
extern const struct task_kind task_create, task_resume, task_fork,
	task_restore, task_pause, task_snapshot, task_end;

#endif /* ENGINE_SANDBOX_OPS_H */
