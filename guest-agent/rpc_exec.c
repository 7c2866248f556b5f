/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_exec.c - Exec and AttachProcess: a call beside a process
 *
 * Theory of operation
 *
 * Both calls are one thing: a client of a process, with a position in each of
 * its output streams, that takes bytes from the rings as fast as its connection
 * does. Exec makes the process first. Nothing that happens to a client happens
 * to the process; a slow one holds it back (process_client_changed()).
 *
 * The inputs of both have the same numbers and types on the wire, apart from
 * `start`, and are turned into struct input here.
 */
#include "process.h"

#include "agent.h"
#include "request.h"
#include "rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "grpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct client {
	struct process_client pc;
	struct agent *agent;
	struct grpc_call *call;
	struct process *process; /* NULL: none yet, or no more */
	bool attach;		 /* AttachProcess, not Exec */
	bool asked;		 /* `start` came */
	bool started_sent;
	bool exit_sent;
	bool paused;
	bool ended; /* grpc_call_finish() was called */
	uint64_t at[PROCESS_STREAMS];
};

enum input_kind {
	INPUT_NONE,
	INPUT_START,
	INPUT_STDIN,
	INPUT_CLOSE_STDIN,
	INPUT_SIGNAL,
	INPUT_RESIZE,
};

/* Borrowed from the message. */
struct input {
	enum input_kind kind;
	const ProtobufCBinaryData *stdin_data;
	bool close_stdin;
	uint32_t signal;
	const NODE(PtySize) * resize;
};

static void end(struct client *c, const struct error *err)
{
	struct grpc_status st = { .code = GRPC_OK };

	if (c->ended)
		return;
	c->ended = true;
	if (err)
		agent_status(&st, err);
	grpc_call_finish(c->call, &st);
}

/* ---- output ---- */

static void send_packed(struct client *c, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(msg, data);
	if (grpc_call_send(c->call, data, len) > 0)
		c->pc.blocked = true;
}

/* ExecResponse and AttachProcessResponse agree in all but `lost`. */
static_assert(
	(int)SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDERR ==
			(int)SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STDERR &&
		(int)SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED ==
			(int)SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_EXITED,
	"the same numbers on the wire");

static void send_started(struct client *c)
{
	NODE(ProcessStarted) started = NODE_INIT(PROCESS_STARTED);
	NODE(ExecResponse) msg = NODE_INIT(EXEC_RESPONSE);

	started.pid = (uint32_t)c->process->pid;
	msg.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED;
	msg.started = &started;
	c->started_sent = true;
	send_packed(c, &msg.base);
}

static void send_lost(struct client *c, int stream, uint64_t bytes)
{
	NODE(OutputLost) lost = NODE_INIT(OUTPUT_LOST);
	NODE(AttachProcessResponse) msg = NODE_INIT(ATTACH_PROCESS_RESPONSE);

	if (stream == PROCESS_STDOUT)
		lost.stdout_bytes = bytes;
	else
		lost.stderr_bytes = bytes;
	msg.output_case =
		SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_LOST;
	msg.lost = &lost;
	send_packed(c, &msg.base);
}

static void send_chunk(struct client *c, int stream, const uint8_t *data,
		       size_t len)
{
	NODE(OutputChunk) chunk = NODE_INIT(OUTPUT_CHUNK);
	NODE(ExecResponse) msg = NODE_INIT(EXEC_RESPONSE);

	chunk.data.data = (uint8_t *)data;
	chunk.data.len = len;
	chunk.offset = c->at[stream];
	if (stream == PROCESS_STDOUT) {
		msg.output_case =
			SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT;
		msg.stdout = &chunk;
	} else {
		msg.output_case =
			SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDERR;
		msg.stderr = &chunk;
	}
	c->at[stream] += len;
	send_packed(c, &msg.base);
}

static void send_exited(struct client *c)
{
	NODE(ExecResponse) msg = NODE_INIT(EXEC_RESPONSE);
	char signal[PROCESS_SIGNAL_SIZE];
	NODE(ProcessExited) exited;

	process_exit_tell(&c->process->exit, signal, &exited);
	msg.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED;
	msg.exited = &exited;
	c->exit_sent = true;
	send_packed(c, &msg.base);
	end(c, NULL);
}

static void send_stream(struct client *c, int stream)
{
	struct ring *r = &c->process->ring[stream];
	const uint8_t *data;
	size_t len;

	while (!c->pc.blocked && c->at[stream] < r->end) {
		if (c->at[stream] < r->begin) {
			uint64_t lost = r->begin - c->at[stream];

			c->at[stream] = r->begin;
			/* Exec has no word for it: the next offset tells. */
			if (c->attach)
				send_lost(c, stream, lost);
			continue;
		}
		len = ring_peek(r, c->at[stream], &data);
		if (len > PROCESS_CHUNK)
			len = PROCESS_CHUNK;
		send_chunk(c, stream, data, len);
	}
}

/* Send what there is until the connection has enough. */
static void pump(struct client *c)
{
	struct process *p = c->process;
	bool was_blocked = c->pc.blocked;

	if (!p || c->ended || p->state == PROCESS_STARTING)
		return;
	if (!c->started_sent)
		send_started(c);
	for (int i = 0; i < PROCESS_STREAMS; i++)
		send_stream(c, i);
	if (p->state == PROCESS_EXITED && !c->pc.blocked &&
	    c->at[PROCESS_STDOUT] == p->ring[PROCESS_STDOUT].end &&
	    c->at[PROCESS_STDERR] == p->ring[PROCESS_STDERR].end)
		send_exited(c);
	if (c->pc.blocked != was_blocked)
		process_client_changed(p);
}

static void set_paused(struct client *c, bool paused)
{
	if (c->paused == paused || c->ended)
		return;
	c->paused = paused;
	grpc_call_pause(c->call, paused);
}

static void on_update(struct process_client *pc)
{
	struct client *c = list_entry(pc, struct client, pc);

	if (c->process->state == PROCESS_RUNNING &&
	    !process_stdin_is_full(c->process))
		set_paused(c, false);
	pump(c);
}

static void on_failed(struct process_client *pc, const struct error *err)
{
	struct client *c = list_entry(pc, struct client, pc);

	c->process = NULL;
	end(c, err);
}

static void on_stdin_ready(struct process_client *pc)
{
	struct client *c = list_entry(pc, struct client, pc);

	set_paused(c, false);
}

/* ---- input ---- */

static void take_stdin(struct client *c, const ProtobufCBinaryData *data,
		       struct error *err)
{
	struct process *p = c->process;

	if (!p->request->wants_stdin) {
		err_field(err, "stdin", "the process was started without it");
		end(c, err);
	} else if (data->len > REQUEST_CHUNK_MAX) {
		err_field(err, "stdin", "more than %u bytes in a message",
			  REQUEST_CHUNK_MAX);
		end(c, err);
	} else if (process_write(p, data->data, data->len)) {
		set_paused(c, true);
	}
}

static void take_input(struct client *c, const struct input *in)
{
	struct process *p = c->process;
	struct error err;
	int r = 0;

	/* It is over, or ends just now: what comes late is no error. */
	if (!p || c->ended || p->state == PROCESS_DRAINING ||
	    p->state == PROCESS_EXITED)
		return;
	switch (in->kind) {
	case INPUT_NONE:
		r = err_field(&err, "input", "is missing");
		break;
	case INPUT_START:
		r = err_field(&err, "start", "came twice");
		break;
	case INPUT_STDIN:
		take_stdin(c, in->stdin_data, &err);
		break;
	case INPUT_CLOSE_STDIN:
		if (in->close_stdin)
			process_close_stdin(p);
		break;
	case INPUT_SIGNAL:
		r = request_signal(in->signal, &err);
		if (r == 0)
			r = process_signal(p, in->signal, &err);
		break;
	case INPUT_RESIZE:
		r = request_pty_size(in->resize, "resize", &err);
		if (r == 0)
			r = process_resize(p, (uint16_t)in->resize->rows,
					   (uint16_t)in->resize->columns, &err);
		break;
	}
	if (r < 0)
		end(c, &err);
}

static void exec_start(struct client *c, const NODE(ExecStart) * start)
{
	struct process_request rq;
	struct error err;

	if (request_process(start->process, c->agent->id.workdir,
			    c->agent->id.user, &rq, &err) < 0) {
		end(c, &err);
		return;
	}
	/* Until it runs, what else the client sends waits. */
	set_paused(c, true);
	c->process = process_start(c->agent, &rq, &c->pc, &err);
	if (!c->process)
		end(c, &err);
}

/*
 * ExecRequest and AttachProcessRequest differ in what they start with, and have
 * the same input after it: in C, two types with fields of the same names.
 */
#define READ_INPUT(in, msg, CASE)                                              \
	do {                                                                   \
		switch ((msg)->input_case) {                                   \
		case CASE##_START:                                             \
			(in)->kind = INPUT_START;                              \
			break;                                                 \
		case CASE##_STDIN:                                             \
			(in)->kind = INPUT_STDIN;                              \
			(in)->stdin_data = &(msg)->stdin;                      \
			break;                                                 \
		case CASE##_CLOSE_STDIN:                                       \
			(in)->kind = INPUT_CLOSE_STDIN;                        \
			(in)->close_stdin = (msg)->close_stdin;                \
			break;                                                 \
		case CASE##_SIGNAL:                                            \
			(in)->kind = INPUT_SIGNAL;                             \
			(in)->signal = (msg)->signal->signal;                  \
			break;                                                 \
		case CASE##_RESIZE:                                            \
			(in)->kind = INPUT_RESIZE;                             \
			(in)->resize = (msg)->resize;                          \
			break;                                                 \
		default:                                                       \
			break;                                                 \
		}                                                              \
	} while (0)

/* True: this is the first input, which starts. Anything else is dealt with. */
static bool is_start(struct client *c, const struct input *in,
		     struct error *err)
{
	if (c->asked) {
		take_input(c, in);
		return false;
	}
	if (in->kind != INPUT_START) {
		err_field(err, "start", "must come first");
		end(c, err);
		return false;
	}
	c->asked = true;
	return true;
}

static void exec_message(struct client *c, const uint8_t *data, size_t len,
			 struct error *err)
{
	NODE(ExecRequest) *msg =
		sandbox__node__v1__exec_request__unpack(NULL, len, data);
	struct input in = { 0 };

	if (!msg) {
		err_set(err, ERR_INVALID, "the message is no ExecRequest");
		end(c, err);
		return;
	}
	READ_INPUT(&in, msg, SANDBOX__NODE__V1__EXEC_REQUEST__INPUT);
	if (is_start(c, &in, err))
		exec_start(c, msg->start);
	sandbox__node__v1__exec_request__free_unpacked(msg, NULL);
}

static int take_offset(struct client *c, int stream, uint64_t offset,
		       const char *field, struct error *err)
{
	if (offset > c->process->ring[stream].end)
		return err_field(
			err, field, "the process has written %llu bytes only",
			(unsigned long long)c->process->ring[stream].end);
	c->at[stream] = offset;
	return 0;
}

static void attach_start(struct client *c, const NODE(AttachStart) * start)
{
	struct process *p;
	struct error err;

	p = process_find(c->agent, start->pid, &err);
	if (!p) {
		end(c, &err);
		return;
	}
	c->process = p;
	if (start->from_now) {
		for (int i = 0; i < PROCESS_STREAMS; i++)
			c->at[i] = p->ring[i].end;
	} else if (take_offset(c, PROCESS_STDOUT, start->stdout_offset,
			       "stdout_offset", &err) < 0 ||
		   take_offset(c, PROCESS_STDERR, start->stderr_offset,
			       "stderr_offset", &err) < 0) {
		c->process = NULL;
		end(c, &err);
		return;
	}
	if (process_attach(p, &c->pc, &err) < 0) {
		c->process = NULL;
		end(c, &err);
		return;
	}
	if (process_stdin_is_full(p))
		set_paused(c, true);
	pump(c);
}

static void attach_message(struct client *c, const uint8_t *data, size_t len,
			   struct error *err)
{
	NODE(AttachProcessRequest) *msg =
		sandbox__node__v1__attach_process_request__unpack(NULL, len,
								  data);
	struct input in = { 0 };

	if (!msg) {
		err_set(err, ERR_INVALID,
			"the message is no AttachProcessRequest");
		end(c, err);
		return;
	}
	READ_INPUT(&in, msg, SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT);
	if (is_start(c, &in, err))
		attach_start(c, msg->start);
	sandbox__node__v1__attach_process_request__free_unpacked(msg, NULL);
}

/* ---- the call ---- */

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	struct client *c = arg;
	struct error err;

	(void)call;
	if (c->ended)
		return;
	if (c->attach)
		attach_message(c, data, len, &err);
	else
		exec_message(c, data, len, &err);
}

/* The client sends no more. Of Exec that is the end of stdin; who attaches may
 * only want to look.
 */
static void on_half_close(struct grpc_call *call, void *arg)
{
	struct client *c = arg;
	struct error err;

	(void)call;
	if (!c->asked) {
		err_field(&err, "start", "is missing");
		end(c, &err);
	} else if (c->process && !c->attach) {
		process_close_stdin(c->process);
	}
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct client *c = arg;

	(void)call;
	if (!c->process)
		return;
	c->pc.blocked = false;
	pump(c);
	if (!c->pc.blocked)
		process_client_changed(c->process);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct client *c = arg;

	(void)call;
	c->ended = true;
	if (c->process)
		process_detach(c->process, &c->pc,
			       c->exit_sent && st->code == GRPC_OK);
	free(c);
}

static const struct grpc_call_ops ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

static void begin(struct agent *agent, struct grpc_call *call, bool attach)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->agent = agent;
	c->call = call;
	c->attach = attach;
	c->pc.update = on_update;
	c->pc.failed = on_failed;
	c->pc.stdin_ready = on_stdin_ready;
	list_init(&c->pc.item);
	grpc_call_accept(call, &ops, c);
}

void rpc_exec(struct agent *agent, struct grpc_call *call)
{
	begin(agent, call, false);
}

void rpc_attach(struct agent *agent, struct grpc_call *call)
{
	begin(agent, call, true);
}
