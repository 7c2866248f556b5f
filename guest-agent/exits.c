/* SPDX-License-Identifier: Apache-2.0 */
/* exits.c - ends of processes that the node has not heard of yet
 *
 * A ring of the last EXITS_MAX, numbered from 1. A call of NextExits that finds
 * none waits here; when its connection has gone meanwhile, the answer goes
 * nowhere, and since only the next call's `acked` forgets anything, nothing is
 * lost by that.
 */
#include "exits.h"

#include "agent.h"
#include "process_exit.h"
#include "rpc.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct record {
	uint32_t pid;
	struct process_exit exit;
	size_t len;
	uint8_t program[EXITS_PROGRAM_MAX];
};

struct exits {
	struct record v[EXITS_MAX];
	uint64_t last, acked; /* sequences */
	struct rpc *waiting;
};

struct exits *exits_new(void)
{
	return xcalloc(1, sizeof(struct exits));
}

struct exits *exits_free(struct exits *exits)
{
	free(exits);
	return NULL;
}

/* One answer, and what it points to. */
struct rows {
	AGENT(NextExitsResponse) msg;
	AGENT(ProcessEnded) ended[EXITS_ANSWER_MAX];
	NODE(ProcessExited) exited[EXITS_ANSWER_MAX];
	AGENT(ProcessEnded) * at[EXITS_ANSWER_MAX];
	char signals[EXITS_ANSWER_MAX][PROCESS_SIGNAL_SIZE];
};

static void fill(struct rows *rows, struct record *r, uint64_t sequence)
{
	size_t i = rows->msg.n_exits++;
	NODE(ProcessExited) *exited = &rows->exited[i];
	AGENT(ProcessEnded) *ended = &rows->ended[i];

	process_exit_tell(&r->exit, rows->signals[i], exited);
	sandbox__agent__v1__process_ended__init(ended);
	ended->sequence = sequence;
	ended->pid = r->pid;
	ended->program = (ProtobufCBinaryData){ r->len, r->program };
	ended->exited = exited;
	rows->at[i] = ended;
}

/* False: there is nothing to tell. */
static bool answer(struct exits *exits, struct rpc *rpc)
{
	uint64_t first = exits->acked + 1;
	struct rows *rows;

	if (exits->last >= EXITS_MAX && first <= exits->last - EXITS_MAX)
		first = exits->last - EXITS_MAX + 1;
	if (first > exits->last)
		return false;
	rows = xcalloc(1, sizeof(*rows));
	sandbox__agent__v1__next_exits_response__init(&rows->msg);
	for (; first <= exits->last && rows->msg.n_exits < EXITS_ANSWER_MAX;
	     first++)
		fill(rows, &exits->v[first % EXITS_MAX], first);
	rows->msg.exits = rows->at;
	rpc_reply(rpc, &rows->msg.base);
	free(rows);
	return true;
}

void exits_add(struct exits *exits, pid_t pid, const char *program,
	       const struct process_exit *exit)
{
	struct record *r = &exits->v[++exits->last % EXITS_MAX];
	struct rpc *rpc = exits->waiting;

	r->pid = (uint32_t)pid;
	r->exit = *exit;
	r->len = strnlen(program, EXITS_PROGRAM_MAX);
	memcpy(r->program, program, r->len);
	exits->waiting = NULL;
	if (rpc)
		answer(exits, rpc);
}

void rpc_next_exits(struct rpc *rpc, const uint8_t *data, size_t len)
{
	struct exits *exits = rpc_agent(rpc)->exits;
	AGENT(NextExitsRequest) *request = rpc_unpack(
		rpc, &sandbox__agent__v1__next_exits_request__descriptor, data,
		len);
	struct error err;

	if (!request)
		return;
	if (request->acked > exits->acked && request->acked <= exits->last)
		exits->acked = request->acked;
	sandbox__agent__v1__next_exits_request__free_unpacked(request, NULL);
	if (exits->waiting) {
		err_set(&err, ERR_CANCELLED, "a newer call waits instead");
		rpc_fail(exits->waiting, &err);
	}
	exits->waiting = answer(exits, rpc) ? NULL : rpc;
}
