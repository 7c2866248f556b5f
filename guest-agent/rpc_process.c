/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_process.c - ListProcesses and SignalProcess */
#include "process.h"

#include "agent.h"
#include "request.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Of argv and command, in a list: an answer must fit in a message however many
 * processes there are.
 */
#define LIST_ARGS_MAX 1024u

struct row {
	NODE(Process) msg;
	Google__Protobuf__Timestamp started_at;
	NODE(ProcessExited) exited;
	char signal[PROCESS_SIGNAL_SIZE];
	ProtobufCBinaryData *argv;
};

static ProtobufCBinaryData bytes_of(const char *s, size_t *room)
{
	size_t len = strlen(s);

	if (len > *room)
		len = *room;
	*room -= len;
	return (ProtobufCBinaryData){ .len = len, .data = (uint8_t *)s };
}

static void fill_what(struct row *row, const struct process_request *rq)
{
	size_t room = LIST_ARGS_MAX;

	row->msg.cwd = bytes_of(rq->cwd, &(size_t){ LIST_ARGS_MAX });
	if (rq->is_command) {
		row->msg.command = bytes_of(rq->argv[2], &room);
		return;
	}
	while (rq->argv[row->msg.n_argv])
		row->msg.n_argv++;
	if (row->msg.n_argv > LIST_ARGS_MAX / 8)
		row->msg.n_argv = LIST_ARGS_MAX / 8;
	row->argv = xcalloc(row->msg.n_argv, sizeof(*row->argv));
	for (size_t i = 0; i < row->msg.n_argv; i++)
		row->argv[i] = bytes_of(rq->argv[i], &room);
	row->msg.argv = row->argv;
}

static void fill(struct row *row, const struct process *p)
{
	*row = (struct row){
		.msg = NODE_INIT(PROCESS),
		.started_at = GOOGLE__PROTOBUF__TIMESTAMP__INIT,
	};
	fill_what(row, p->request);
	row->msg.pid = (uint32_t)p->pid;
	row->msg.state =
		SANDBOX__NODE__V1__PROCESS_STATE__PROCESS_STATE_RUNNING;
	row->msg.user = (char *)p->user;
	row->msg.background = p->request->background;
	row->msg.has_pty = p->request->pty;
	row->started_at.seconds = p->started_at.tv_sec;
	row->started_at.nanos = (int32_t)p->started_at.tv_nsec;
	row->msg.started_at = &row->started_at;
	row->msg.stdout_end = p->ring[PROCESS_STDOUT].end;
	row->msg.stdout_begin = p->ring[PROCESS_STDOUT].begin;
	row->msg.stderr_end = p->ring[PROCESS_STDERR].end;
	row->msg.stderr_begin = p->ring[PROCESS_STDERR].begin;
	row->msg.attached_clients = p->n_clients;
	if (p->state != PROCESS_EXITED)
		return;
	row->msg.state = SANDBOX__NODE__V1__PROCESS_STATE__PROCESS_STATE_EXITED;
	process_exit_tell(&p->exit, row->signal, &row->exited);
	row->msg.exited = &row->exited;
}

void rpc_list_processes(struct rpc *rpc, const uint8_t *data, size_t len)
{
	NODE(ListProcessesResponse) msg = NODE_INIT(LIST_PROCESSES_RESPONSE);
	struct agent *agent = rpc_agent(rpc);
	_cleanup_free_ NODE(Process) **list = NULL;
	_cleanup_free_ struct row *rows = NULL;
	NODE(ListProcessesRequest) * request;

	request = rpc_unpack(
		rpc, &sandbox__node__v1__list_processes_request__descriptor,
		data, len);
	if (!request)
		return;
	sandbox__node__v1__list_processes_request__free_unpacked(request, NULL);
	rows = xcalloc(agent->n_processes, sizeof(*rows));
	list = xcalloc(agent->n_processes, sizeof(NODE(Process) *));
	list_for_each(&agent->processes, p, struct process, item)
	{
		if (p->state == PROCESS_STARTING)
			continue;
		fill(&rows[msg.n_processes], p);
		list[msg.n_processes] = &rows[msg.n_processes].msg;
		msg.n_processes++;
	}
	msg.processes = list;
	rpc_reply(rpc, &msg.base);
	for (size_t i = 0; i < msg.n_processes; i++)
		free(rows[i].argv);
}

void rpc_signal_process(struct rpc *rpc, const uint8_t *data, size_t len)
{
	NODE(SignalProcessResponse) msg = NODE_INIT(SIGNAL_PROCESS_RESPONSE);
	NODE(SignalProcessRequest) * request;
	struct process *p;
	struct error err;
	int r;

	request = rpc_unpack(
		rpc, &sandbox__node__v1__signal_process_request__descriptor,
		data, len);
	if (!request)
		return;
	r = request_signal(request->signal, &err);
	if (r == 0) {
		p = process_find(rpc_agent(rpc), request->pid, &err);
		r = p ? process_signal(p, request->signal, &err) : -1;
	}
	sandbox__node__v1__signal_process_request__free_unpacked(request, NULL);
	if (r < 0)
		rpc_fail(rpc, &err);
	else
		rpc_reply(rpc, &msg.base);
}
