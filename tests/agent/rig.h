/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - a real agent on a unix socket, and calls on it in one line each */
#ifndef TEST_AGENT_RIG_H
#define TEST_AGENT_RIG_H

#include "client.h"

/* How a run of a process ended, and all that it wrote. */
struct run {
	struct grpc_status status;
	uint32_t pid;
	bool exited;
	uint32_t exit_code, signal;
	bool timed_out;
	char signal_name[16];
	uint64_t duration_ms;
	char *out, *err; /* NUL behind them */
	size_t out_len, err_len;
	uint64_t out_begin; /* offset of the first byte that came */
	uint64_t lost;
	int order_errors; /* `started` not first, `exited` not last, gaps */
};

struct rig {
	struct client *client;
	char dir[64]; /* the agent's workdir, removed at the end */
	char socket[96];
	pid_t agent;
};

/* Start an agent and say Hello. cmocka set-up and tear-down; skips the whole
 * program when not root.
 */
int rig_setup(void **state);
int rig_teardown(void **state);

/* Leaves `call` at its first message; NULL fields are left out. */
struct call *rig_exec(struct rig *rig, NODE(ProcessSpec) * spec);
/* A shell command. */
struct call *rig_exec_command(struct rig *rig, const char *command);
/* Read it to its end and free it. */
struct run rig_finish(struct call *call);
struct run rig_run(struct rig *rig, const char *command);

/* Fails unless each of @n searches at once ends with so many matches. */
void rig_search_at_once(struct rig *rig, unsigned int n, const char *path,
			const char *pattern, size_t matches);
void run_free(struct run *run);

/* The pid of `started`, which must come next. */
uint32_t rig_started(struct call *call);
struct call *rig_attach(struct rig *rig, uint32_t pid, uint64_t offset);
void call_stdin(struct call *call, const void *data, size_t len);
void call_close_stdin(struct call *call);
void call_signal(struct call *call, uint32_t signal);
void call_resize(struct call *call, uint32_t rows, uint32_t columns);
/* Take output until it contains this; what came with it is gone. */
void rig_wait_output(struct call *call, const char *text);

/* A file of the agent's directory, as the test sees it. */
char *rig_path(struct rig *rig, const char *name);
/* VmHWM of the agent. */
size_t rig_peak_kib(struct rig *rig);

#endif /* TEST_AGENT_RIG_H */
