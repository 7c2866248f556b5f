/* SPDX-License-Identifier: Apache-2.0 */
/* methods.c - which calls there are, and when they may be made */
#include "methods.h"

#include "agent.h"
#include "freeze.h"
#include "task.h"

#include "grpc.h"

#include <string.h>

/* When a method may be called. */
#define BEFORE_HELLO 1u
#define WHEN_FROZEN  2u
#define WITHOUT_ROOT 4u
#define ALWAYS	     (WHEN_FROZEN | WITHOUT_ROOT)

/* Exactly one of the functions. */
struct method {
	const char *name;
	unsigned int when;
	rpc_unary_fn unary;
	rpc_stream_fn stream;
	task_fn task;
};

/* clang-format off */
static const struct method methods[] = {
	{ "Hello",	    BEFORE_HELLO | ALWAYS, .unary = rpc_hello },
	{ "Configure",	    ALWAYS,	.unary = rpc_configure },
	{ "Freeze",	    WHEN_FROZEN, .unary = rpc_freeze },
	{ "Thaw",	    ALWAYS,	.unary = rpc_thaw },
	{ "Stats",	    ALWAYS,	.unary = rpc_stats },
	{ "NextExits",	    ALWAYS,	.unary = rpc_next_exits },
	{ "Exec",	    0,		.stream = rpc_exec },
	{ "ListProcesses",  0,		.unary = rpc_list_processes },
	{ "AttachProcess",  0,		.stream = rpc_attach },
	{ "SignalProcess",  0,		.unary = rpc_signal_process },
	{ "ReadFile",	    0,		.task = file_read_task },
	{ "WriteFile",	    0,		.task = file_write_task },
	{ "StatFile",	    0,		.task = file_stat_task },
	{ "ListDirectory",  0,		.task = file_list_task },
	{ "MakeDirectory",  0,		.task = file_mkdir_task },
	{ "RemoveFile",	    0,		.task = file_remove_task },
	{ "MoveFile",	    0,		.task = file_move_task },
	{ "WatchDirectory", 0,		.task = watch_task },
	{ "SearchFiles",    0,		.task = search_task },
	{ "Tunnel",	    0,		.stream = rpc_tunnel },
};
/* clang-format on */

#define SERVICE "/sandbox.agent.v1.AgentService/"

static const struct method *find_method(const char *path)
{
	size_t len = strlen(SERVICE);

	if (strncmp(path, SERVICE, len) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (!strcmp(methods[i].name, path + len))
			return &methods[i];
	return NULL;
}

/* Whether this call may be made now; else *st says why not. */
static bool may_call(const struct agent *agent, bool open,
		     const struct method *m, struct grpc_status *st)
{
	if (!open && !(m->when & BEFORE_HELLO)) {
		grpc_status_set(st, GRPC_UNAUTHENTICATED, "UNAUTHENTICATED",
				"Hello comes first");
		return false;
	}
	if (freezer_is_frozen(agent->freezer) && !(m->when & WHEN_FROZEN)) {
		grpc_status_set(st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
				"the guest is frozen");
		return false;
	}
	if (agent->root_failed[0] && !(m->when & WITHOUT_ROOT)) {
		grpc_status_set(st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
				"the guest has no root file system: %s",
				agent->root_failed);
		return false;
	}
	return true;
}

void methods_accept(struct agent *agent, struct grpc_call *call,
		    const char *path, bool open, const struct rpc_peer *peer)
{
	const struct method *m = find_method(path);
	struct grpc_status st;

	if (!m) {
		grpc_status_set(&st, GRPC_UNIMPLEMENTED, "",
				"there is no such method");
		grpc_call_finish(call, &st);
	} else if (!may_call(agent, open, m, &st)) {
		grpc_call_finish(call, &st);
	} else if (m->stream) {
		m->stream(agent, call);
	} else if (m->task) {
		task_accept(agent, call, m->task);
	} else {
		rpc_accept(agent, call, m->unary, peer);
	}
}
