/* SPDX-License-Identifier: Apache-2.0 */
/* answer.h - what clients are shown of the node's objects
 *
 * A view borrows from what it shows and is good until that changes.
 */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include "engine/pb.h"
#include "engine/sandbox.h"
#include "engine/saves.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

struct call;

struct sandbox_view {
	PbSandbox msg;
	PbTime created, started, paused, resumed, terminated, expires;
	char address[INET_ADDRSTRLEN];
};

struct snapshot_view {
	PbSnapshot msg;
	PbTime created;
};

/* NULL for 0. */
PbTime *answer_time(PbTime *time, int64_t ms);

/* @env: with it (not in lists). */
PbSandbox *answer_sandbox(struct sandbox_view *view, const struct sandbox *sb,
			  bool env);
PbSnapshot *answer_snapshot(struct snapshot_view *view,
			    const struct snapshot *snapshot);

/* What a change of state answers beside the sandbox; by method. */
struct answer_extra {
	uint64_t runtime_ms, snapshot_bytes, paused_ms;
};

/* call_answer() with the response that belongs to the call's method. */
void answer_call(struct call *call, const struct sandbox *sb,
		 const struct answer_extra *extra);

#endif /* ENGINE_ANSWER_H */
