/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_fsm.c - the life cycle of a sandbox, as a table
 *
 * Theory of operation
 * ===================
 *
 * The table is the whole life cycle: what is not in it cannot happen. A wish
 * that is not in it is refused; an outcome that is not in it is a bug.
 *
 * Only CREATING, PAUSING and RESUMING last as long as a task does; snapshot,
 * fork and restore are tasks of a sandbox that stays RUNNING (or PAUSED) for
 * its users. TERMINATING lasts until the guest is known to be gone, however
 * often that must be tried, and nothing leads out of it but TERMINATED.
 *
 * A create that fails has no outcome here: its sandbox never was, and its row
 * is removed.
 */
#include "engine/sandbox_fsm.h"

#include "base/error.h"
#include "base/log.h"

#include <stdlib.h>

/* clang-format off */
static const enum sandbox_state table[SBX_STATE_COUNT][EV_COUNT] = {
	[SBX_CREATING] = {
		[EV_USE]	= SBX_CREATING,	/* waits */
		[EV_TERMINATE]	= SBX_TERMINATING,
		[EV_STARTED]	= SBX_RUNNING,
		[EV_BROKEN]	= SBX_FAILED,
	},
	[SBX_RUNNING] = {
		[EV_USE]	= SBX_RUNNING,
		[EV_UPDATE]	= SBX_RUNNING,
		[EV_PORT]	= SBX_RUNNING,
		[EV_PAUSE]	= SBX_PAUSING,
		[EV_SNAPSHOT]	= SBX_RUNNING,
		[EV_RESTORE]	= SBX_RUNNING,
		[EV_TERMINATE]	= SBX_TERMINATING,
		[EV_BROKEN]	= SBX_FAILED,
		[EV_LOST]	= SBX_TERMINATING,
		[EV_LOST_TO_SAVED] = SBX_PAUSED,
	},
	[SBX_PAUSING] = {
		[EV_USE]	= SBX_PAUSING,	/* waits, then resumes */
		[EV_UPDATE]	= SBX_PAUSING,
		[EV_TERMINATE]	= SBX_TERMINATING,
		[EV_SAVED]	= SBX_PAUSED,
		[EV_SAVE_UNDONE] = SBX_RUNNING,
		[EV_BROKEN]	= SBX_FAILED,
		[EV_LOST]	= SBX_TERMINATING,
		[EV_LOST_TO_SAVED] = SBX_PAUSED,
	},
	[SBX_PAUSED] = {
		[EV_USE]	= SBX_PAUSED,	/* resumes, if it may */
		[EV_UPDATE]	= SBX_PAUSED,
		[EV_PORT]	= SBX_PAUSED,
		[EV_RESUME]	= SBX_RESUMING,
		[EV_RESTORE]	= SBX_RESUMING,
		[EV_TERMINATE]	= SBX_TERMINATING,
		[EV_BROKEN]	= SBX_FAILED,
	},
	[SBX_RESUMING] = {
		[EV_USE]	= SBX_RESUMING,	/* waits */
		[EV_UPDATE]	= SBX_RESUMING,
		[EV_TERMINATE]	= SBX_TERMINATING,
		[EV_STARTED]	= SBX_RUNNING,
		[EV_START_UNDONE] = SBX_PAUSED,
		[EV_BROKEN]	= SBX_FAILED,
		[EV_LOST_TO_SAVED] = SBX_PAUSED,
	},
	[SBX_TERMINATING] = {
		[EV_TERMINATE]	= SBX_TERMINATING, /* joins */
		[EV_ENDED]	= SBX_TERMINATED,
	},
	[SBX_TERMINATED] = {
		[EV_TERMINATE]	= SBX_TERMINATED, /* is done */
	},
	[SBX_FAILED] = {
		[EV_TERMINATE]	= SBX_TERMINATING,
	},
};
/* clang-format on */

enum sandbox_state sandbox_fsm(enum sandbox_state state,
			       enum sandbox_event event)
{
	if ((unsigned int)state >= SBX_STATE_COUNT ||
	    (unsigned int)event >= EV_COUNT)
		return SBX_NONE;
	return table[state][event];
}

const char *sandbox_event_str(enum sandbox_event event)
{
	static const char *const names[EV_COUNT] = {
		[EV_USE] = "be used",
		[EV_UPDATE] = "be updated",
		[EV_PORT] = "change its ports",
		[EV_PAUSE] = "be paused",
		[EV_RESUME] = "be resumed",
		[EV_SNAPSHOT] = "be snapshotted",
		[EV_RESTORE] = "be restored",
		[EV_TERMINATE] = "be terminated",
		[EV_STARTED] = "have started",
		[EV_START_UNDONE] = "have failed to start",
		[EV_SAVED] = "have been saved",
		[EV_SAVE_UNDONE] = "have failed to be saved",
		[EV_BROKEN] = "break",
		[EV_LOST] = "be lost",
		[EV_LOST_TO_SAVED] = "fall back",
		[EV_ENDED] = "have ended",
	};

	return (unsigned int)event < EV_COUNT ? names[event] : "?";
}

int sandbox_may(const struct sandbox *sb, enum sandbox_event event,
		struct error *err)
{
	if (sandbox_fsm(sb->row.state, event) != SBX_NONE)
		return 0;
	err_set(err, ERR_CONFLICT, "sandbox '%s' is %s and cannot %s",
		sb->row.id, sandbox_state_str(sb->row.state),
		sandbox_event_str(event));
	return err_reason(err, "INVALID_STATE", sb->row.id);
}

void sandbox_move(struct sandbox *sb, enum sandbox_event event)
{
	enum sandbox_state next = sandbox_fsm(sb->row.state, event);

	if (next == SBX_NONE) {
		log_err("sandbox '%s': is %s and cannot %s: a bug", sb->row.id,
			sandbox_state_str(sb->row.state),
			sandbox_event_str(event));
		abort();
	}
	sb->row.state = next;
	sandbox_note(sb);
}
