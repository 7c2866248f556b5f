/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox_fsm.h - the life cycle of a sandbox, as a table */
#ifndef ENGINE_SANDBOX_FSM_H
#define ENGINE_SANDBOX_FSM_H

#include "engine/sandbox.h"

struct error;

/**
 * enum sandbox_event - What may happen to a sandbox
 *
 * Wishes come from clients and timers; outcomes from tasks; EV_LOST from the
 * hypervisor or from recovery.
 */
enum sandbox_event {
	/* wishes */
	EV_USE,	     /* exec, files, tunnels: it has to run */
	EV_UPDATE,
	EV_PORT,     /* expose, close */
	EV_PAUSE,
	EV_RESUME,
	EV_SNAPSHOT, /* and fork, of what runs */
	EV_RESTORE,
	EV_TERMINATE,
	/* outcomes */
	EV_STARTED,	   /* create or resume is through */
	EV_START_UNDONE,   /* a resume failed and left nothing */
	EV_SAVED,	   /* the pause is committed */
	EV_SAVE_UNDONE,	   /* the pause failed, the guest goes on */
	EV_BROKEN,	   /* cannot be brought to any good state */
	EV_LOST,	   /* the guest is gone, nothing to go back to */
	EV_LOST_TO_SAVED,  /* the guest is gone, a snapshot is there */
	EV_ENDED,	   /* all of it is gone */

	EV_COUNT,
};

/* SBX_NONE: cannot happen. */
enum sandbox_state sandbox_fsm(enum sandbox_state state,
			       enum sandbox_event event);

const char *sandbox_event_str(enum sandbox_event event);

/* 0, or -1 with INVALID_STATE naming the state. */
int sandbox_may(const struct sandbox *sb, enum sandbox_event event,
		struct error *err);

/* Change the row's state; what the table forbids is a bug and aborts. */
void sandbox_move(struct sandbox *sb, enum sandbox_event event);

#endif /* ENGINE_SANDBOX_FSM_H */
