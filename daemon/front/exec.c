/* SPDX-License-Identifier: Apache-2.0 */
/* exec.c - processes in guests: what clients may ask and agents may answer
 *
 * A command that somebody waits for keeps its sandbox awake. One that waits for
 * somebody (a terminal, an open stdin) does so only as long as bytes pass: a
 * forgotten shell is idle. So does a background process that is looked at.
 */
#include "front/proxy.h"

#include "base/error.h"
#include "front/agent_call.h"
#include "front/agent_link.h"
#include "front/check.h"
#include "front/exits.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <stdio.h>
#include <string.h>

#define SIGNAL_MAX    64
#define PROCESSES_MAX 4096

#define NODE(name) (&sandbox__node__v1__##name##__descriptor)

static int check_output(const Sandbox__Node__V1__OutputChunk *chunk,
			struct error *err)
{
	return check_bytes(&chunk->data, CHECK_DATA_MAX, false, "data", err);
}

static void report_started(struct proxy *p)
{
	char pid[16];
	struct engine_pair data[] = { { "command", p->label }, { "pid", pid } };

	snprintf(pid, sizeof(pid), "%u", p->pid);
	engine_event(p->front->engine, p->sandbox_id, "exec.started", data, 2);
}

/* started, then output, then exited: each stream of a process goes so. */
static int in_order(struct proxy *p, bool is_started, bool is_exited,
		    struct error *err)
{
	if (p->exited)
		return err_set(err, ERR_INVALID, "output after the exit");
	if (is_started == p->started)
		return err_set(err, ERR_INVALID,
			       p->started ? "started twice" :
					    "output before the start");
	p->started = true;
	p->exited = is_exited;
	return 0;
}

/* ---- Exec ---- */

/* What an event tells of a command: its program, never its arguments. */
static void label_command(struct proxy *p,
			  const Sandbox__Node__V1__ProcessSpec *spec)
{
	ProtobufCBinaryData sh = { 2, (uint8_t *)(size_t) "sh" };

	label_of(p->label, spec->n_argv ? &spec->argv[0] : &sh);
}

static char **exec_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__ExecRequest *r = (void *)m;

	if (r->input_case != SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START) {
		err_field(err, "start", "start: must come first");
		return NULL;
	}
	if (check_process(r->start->process, err) < 0)
		return NULL;
	p->background = r->start->process->background;
	p->pty = r->start->process->pty;
	p->reads = r->start->process->stdin || p->pty;
	label_command(p, r->start->process);
	return &r->start->sandbox_id;
}

static int check_input(bool is_data, const ProtobufCBinaryData *data,
		       const Sandbox__Node__V1__SignalInput *signal,
		       const Sandbox__Node__V1__PtySize *resize,
		       struct error *err)
{
	if (is_data)
		return check_bytes(data, CHECK_DATA_MAX, false, "stdin", err);
	if (signal)
		return check_range(signal->signal, 1, SIGNAL_MAX, "signal",
				   err);
	return check_pty(resize, err);
}

/* No more stdin: from here on it is the client that waits. */
static void exec_input_over(struct proxy *p)
{
	if (!p->reads || p->pty || p->background)
		return;
	p->reads = false;
	proxy_hold(p);
}

static int exec_more(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__ExecRequest *r = (void *)m;

	proxy_activity(p);
	switch (r->input_case) {
	case SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_STDIN:
		return check_input(true, &r->stdin, NULL, NULL, err);
	case SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_CLOSE_STDIN:
		exec_input_over(p);
		return 0;
	case SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_SIGNAL:
		return check_input(false, NULL, r->signal, NULL, err);
	case SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_RESIZE:
		return check_input(false, NULL, NULL, r->resize, err);
	default:
		return err_field(err, "input",
				 "input: stdin, close_stdin, signal or resize");
	}
}

static int exec_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__ExecResponse *r = (void *)m;

	switch (r->output_case) {
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED:
		p->pid = r->started->pid;
		return in_order(p, true, false, err);
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT:
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDERR:
		if (in_order(p, false, false, err) < 0)
			return -1;
		/* stdout and stderr share their place in the union. */
		return check_output(r->stdout, err);
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED:
		if (in_order(p, false, true, err) < 0)
			return -1;
		return check_exited(r->exited, err);
	default:
		return err_set(err, ERR_INVALID, "an empty ExecResponse");
	}
}

static void exec_sent(struct proxy *p, ProtobufCMessage *m)
{
	Sandbox__Node__V1__ExecResponse *r = (void *)m;

	if (r->output_case ==
	    SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED) {
		report_started(p);
		agent_call_began_process(p->agent);
		if (p->background || p->reads)
			proxy_release(p);
	} else if (r->output_case !=
		   SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED) {
		proxy_activity(p);
	} else if (!agent_call_tells_exits(p->agent)) {
		exits_event(p->front, p->sandbox_id, p->label, p->pid,
			    r->exited);
	}
}

static void exec_ended(struct proxy *p, struct grpc_status *st)
{
	if (st->code == GRPC_OK && !p->exited)
		grpc_status_set(st, GRPC_INTERNAL, "INTERNAL",
				"the agent ended the call before the command");
}

/* ---- AttachProcess ---- */

static char **attach_first(struct proxy *p, ProtobufCMessage *m,
			   struct error *err)
{
	Sandbox__Node__V1__AttachProcessRequest *r = (void *)m;

	(void)p;
	if (r->input_case !=
	    SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_START) {
		err_field(err, "start", "start: must come first");
		return NULL;
	}
	if (check_range(r->start->pid, 1, INT32_MAX, "pid", err) < 0)
		return NULL;
	return &r->start->sandbox_id;
}

static int attach_more(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__AttachProcessRequest *r = (void *)m;

	proxy_activity(p);
	switch (r->input_case) {
	case SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_STDIN:
		return check_input(true, &r->stdin, NULL, NULL, err);
	case SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_CLOSE_STDIN:
		return 0;
	case SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_SIGNAL:
		return check_input(false, NULL, r->signal, NULL, err);
	case SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_RESIZE:
		return check_input(false, NULL, NULL, r->resize, err);
	default:
		return err_field(err, "input",
				 "input: stdin, close_stdin, signal or resize");
	}
}

static int attach_answer(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__AttachProcessResponse *r = (void *)m;

	switch (r->output_case) {
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STARTED:
		return in_order(p, true, false, err);
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STDOUT:
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STDERR:
		if (in_order(p, false, false, err) < 0)
			return -1;
		return check_output(r->stdout, err);
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_EXITED:
		if (in_order(p, false, true, err) < 0)
			return -1;
		return check_exited(r->exited, err);
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_LOST:
		return in_order(p, false, false, err);
	default:
		return err_set(err, ERR_INVALID,
			       "an empty AttachProcessResponse");
	}
}

/* Who joins is a spectator: bytes count, being there does not. */
static void attach_sent(struct proxy *p, ProtobufCMessage *m)
{
	(void)m;
	proxy_release(p);
	proxy_activity(p);
}

/* ---- ListProcesses, SignalProcess ---- */

static char **list_first(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	(void)p;
	(void)err;
	return &((Sandbox__Node__V1__ListProcessesRequest *)m)->sandbox_id;
}

static int list_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__ListProcessesResponse *r = (void *)m;

	(void)p;
	if (r->n_processes > PROCESSES_MAX)
		return err_set(err, ERR_INVALID, "too many processes");
	for (size_t i = 0; i < r->n_processes; i++) {
		if (r->processes[i]->exited &&
		    check_exited(r->processes[i]->exited, err) < 0)
			return -1;
	}
	return 0;
}

static char **signal_first(struct proxy *p, ProtobufCMessage *m,
			   struct error *err)
{
	Sandbox__Node__V1__SignalProcessRequest *r = (void *)m;

	(void)p;
	if (check_range(r->pid, 1, INT32_MAX, "pid", err) < 0 ||
	    check_range(r->signal, 1, SIGNAL_MAX, "signal", err) < 0)
		return NULL;
	return &r->sandbox_id;
}

static int any_answer(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	(void)p;
	(void)m;
	(void)err;
	return 0;
}

const struct proxy_method exec_methods[] = {
	{ .name = "Exec",
	  .request = NODE(exec_request),
	  .response = NODE(exec_response),
	  .client_streams = true,
	  .server_streams = true,
	  .first = exec_first,
	  .more = exec_more,
	  .input_over = exec_input_over,
	  .answer = exec_answer,
	  .sent = exec_sent,
	  .ended = exec_ended },
	{ .name = "AttachProcess",
	  .request = NODE(attach_process_request),
	  .response = NODE(attach_process_response),
	  .client_streams = true,
	  .server_streams = true,
	  .first = attach_first,
	  .more = attach_more,
	  .answer = attach_answer,
	  .sent = attach_sent,
	  .ended = exec_ended },
	{ .name = "ListProcesses",
	  .request = NODE(list_processes_request),
	  .response = NODE(list_processes_response),
	  .first = list_first,
	  .answer = list_answer },
	{ .name = "SignalProcess",
	  .request = NODE(signal_process_request),
	  .response = NODE(signal_process_response),
	  .first = signal_first,
	  .answer = any_answer },
	{ 0 },
};
