/* SPDX-License-Identifier: Apache-2.0 */
/* fake_exec.c - what commands do in the fake's sandbox
 *
 *	exit N		exits with N
 *	kill N		is killed by signal N
 *	args A..	prints its arguments, a line each
 *	spec		prints cwd, user, timeout, environment
 *	err TEXT	prints TEXT to stderr
 *	bytes N		prints N bytes, byte i being i * 31 >> 3
 *	cat		prints its stdin, exits at its end
 *	count		prints how many bytes of stdin there were
 *	signals		prints each signal; exits with it at SIGTERM
 *	size		prints the terminal's size, and each new one
 *	ln -sfn -- T P	makes the link P below the root
 *	hangup		the node is gone
 */
#include "fake.h"

#include "base/grpc_io.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK 65536

struct process {
	char word[16];
	uint64_t left, at; /* of bytes N */
	uint64_t count;
};

static void output(struct fake_call *c, int stream, const void *data,
		   size_t len)
{
	NODE(ExecResponse) resp = NODE_INIT(EXEC_RESPONSE);
	NODE(OutputChunk) chunk = NODE_INIT(OUTPUT_CHUNK);

	chunk.data.data = (uint8_t *)(uintptr_t)data;
	chunk.data.len = len;
	resp.output_case = stream ? NODE_CASE(EXEC_RESPONSE__OUTPUT, STDERR)
				  : NODE_CASE(EXEC_RESPONSE__OUTPUT, STDOUT);
	resp.stdout = &chunk;
	fake_send(c, &resp.base);
}

static void print(struct fake_call *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void print(struct fake_call *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	output(c, 0, text, strlen(text));
}

static void exited(struct fake_call *c, uint32_t code, uint32_t signal)
{
	NODE(ExecResponse) resp = NODE_INIT(EXEC_RESPONSE);
	NODE(ProcessExited) exit = NODE_INIT(PROCESS_EXITED);

	exit.exit_code = signal ? 128 + signal : code;
	exit.signal = signal;
	exit.duration_ms = 7;
	resp.output_case = NODE_CASE(EXEC_RESPONSE__OUTPUT, EXITED);
	resp.exited = &exit;
	fake_answer(c, &resp.base);
}

/* Until the client's window is full. */
static void more_bytes(struct fake_call *c)
{
	struct process *p = c->state;
	NODE(ExecResponse) resp = NODE_INIT(EXEC_RESPONSE);
	NODE(OutputChunk) chunk = NODE_INIT(OUTPUT_CHUNK);
	static uint8_t data[CHUNK];
	int r = 0;

	if (strcmp(p->word, "bytes") != 0)
		return;
	resp.output_case = NODE_CASE(EXEC_RESPONSE__OUTPUT, STDOUT);
	resp.stdout = &chunk;
	while (p->left > 0 && r == 0) {
		size_t n = p->left < CHUNK ? p->left : CHUNK;

		for (size_t i = 0; i < n; i++)
			data[i] = (uint8_t)((p->at + i) * 31 >> 3);
		chunk.data.data = data;
		chunk.data.len = n;
		chunk.offset = p->at;
		p->at += n;
		p->left -= n;
		r = fake_send(c, &resp.base);
	}
	if (p->left == 0)
		exited(c, 0, 0);
}

static void print_spec(struct fake_call *c, const NODE(ProcessSpec) * spec)
{
	print(c, "cwd=%.*s user=%s timeout=%u\n", (int)spec->cwd.len,
	      (const char *)spec->cwd.data, spec->user, spec->timeout_ms);
	for (size_t i = 0; i < spec->n_env; i++)
		print(c, "%s=%s\n", spec->env[i]->key, spec->env[i]->value);
}

static void make_link(struct fake_call *c, const NODE(ProcessSpec) * spec)
{
	char path[4200], target[4200];

	snprintf(target, sizeof(target), "%.*s", (int)spec->argv[3].len,
		 (const char *)spec->argv[3].data);
	snprintf(path, sizeof(path), "%s/%.*s", fake_root,
		 (int)spec->argv[4].len, (const char *)spec->argv[4].data);
	unlink(path);
	exited(c, symlink(target, path) < 0, 0);
}

static void start(struct fake_call *c, const NODE(ExecStart) * s)
{
	const NODE(ProcessSpec) *spec = s->process;
	struct process *p = xcalloc(1, sizeof(*p));
	NODE(ProcessStarted) started = NODE_INIT(PROCESS_STARTED);
	NODE(ExecResponse) resp = NODE_INIT(EXEC_RESPONSE);
	char arg[64] = "";

	c->state = p;
	if (!fake_knows(c, s->sandbox_id))
		return;
	if (spec->n_argv > 0)
		snprintf(p->word, sizeof(p->word), "%.*s",
			 (int)spec->argv[0].len,
			 (const char *)spec->argv[0].data);
	if (spec->n_argv > 1)
		snprintf(arg, sizeof(arg), "%.*s", (int)spec->argv[1].len,
			 (const char *)spec->argv[1].data);
	started.pid = 42;
	resp.output_case = NODE_CASE(EXEC_RESPONSE__OUTPUT, STARTED);
	resp.started = &started;
	fake_send(c, &resp.base);

	if (strcmp(p->word, "exit") == 0) {
		exited(c, (uint32_t)atoi(arg), 0);
	} else if (strcmp(p->word, "kill") == 0) {
		exited(c, 0, (uint32_t)atoi(arg));
	} else if (strcmp(p->word, "args") == 0) {
		for (size_t i = 1; i < spec->n_argv; i++)
			print(c, "%.*s\n", (int)spec->argv[i].len,
			      (const char *)spec->argv[i].data);
		exited(c, 0, 0);
	} else if (strcmp(p->word, "spec") == 0) {
		print_spec(c, spec);
		exited(c, 0, 0);
	} else if (strcmp(p->word, "err") == 0) {
		output(c, 1, arg, strlen(arg));
		exited(c, 0, 0);
	} else if (strcmp(p->word, "bytes") == 0) {
		p->left = strtoull(arg, NULL, 10);
		more_bytes(c);
	} else if (strcmp(p->word, "size") == 0) {
		if (spec->pty)
			print(c, "%u %u\n", spec->pty->rows,
			      spec->pty->columns);
		else
			exited(c, 1, 0);
	} else if (strcmp(p->word, "signals") == 0) {
		print(c, "ready\n");
	} else if (strcmp(p->word, "ln") == 0) {
		make_link(c, spec);
	} else if (strcmp(p->word, "hangup") == 0) {
		_exit(0);
	} else if (strcmp(p->word, "cat") != 0 &&
		   strcmp(p->word, "count") != 0) {
		fake_refuse(c, GRPC_NOT_FOUND, "FILE_NOT_FOUND",
			    "there is no such program");
	}
}

static void input_end(struct fake_call *c)
{
	struct process *p = c->state;

	if (strcmp(p->word, "count") == 0)
		print(c, "%llu\n", (unsigned long long)p->count);
	if (strcmp(p->word, "signals") != 0)
		exited(c, 0, 0);
}

static void exec_message(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(ExecRequest) *r = (const NODE(ExecRequest) *)m;
	struct process *p = c->state;

	switch ((int)r->input_case) {
	case NODE_CASE(EXEC_REQUEST__INPUT, START):
		start(c, r->start);
		break;
	case NODE_CASE(EXEC_REQUEST__INPUT, STDIN):
		p->count += r->stdin.len;
		if (strcmp(p->word, "cat") == 0)
			output(c, 0, r->stdin.data, r->stdin.len);
		if (grpc_call_queued(c->call) > GRPC_SEND_HIGH_WATER)
			grpc_call_pause(c->call, true);
		break;
	case NODE_CASE(EXEC_REQUEST__INPUT, CLOSE_STDIN):
		input_end(c);
		break;
	case NODE_CASE(EXEC_REQUEST__INPUT, SIGNAL):
		print(c, "signal %u\n", r->signal->signal);
		if (r->signal->signal == 15)
			exited(c, 0, 15);
		break;
	case NODE_CASE(EXEC_REQUEST__INPUT, RESIZE):
		print(c, "resized %u %u\n", r->resize->rows,
		      r->resize->columns);
		exited(c, 0, 0);
		break;
	default:
		break;
	}
}

static void exec_writable(struct fake_call *c)
{
	grpc_call_pause(c->call, false);
	more_bytes(c);
}

/* A port that sends back what it gets, and ends when its peer does. */
static void tunnel_message(struct fake_call *c, const ProtobufCMessage *m)
{
	const NODE(TunnelRequest) *r = (const NODE(TunnelRequest) *)m;
	NODE(TunnelResponse) resp = NODE_INIT(TUNNEL_RESPONSE);

	if (r->input_case == NODE_CASE(TUNNEL_REQUEST__INPUT, START)) {
		if (r->start->port != 7) {
			fake_refuse(c, GRPC_UNAVAILABLE, "UNAVAILABLE",
				    "nothing listens there");
			return;
		}
		resp.output_case =
			NODE_CASE(TUNNEL_RESPONSE__OUTPUT, CONNECTED);
		resp.connected = 1;
	} else {
		resp.output_case = NODE_CASE(TUNNEL_RESPONSE__OUTPUT, DATA);
		resp.data = r->data;
	}
	if (fake_send(c, &resp.base) > 0)
		grpc_call_pause(c->call, true);
}

static void tunnel_writable(struct fake_call *c)
{
	grpc_call_pause(c->call, false);
}

const struct fake_method fake_exec_methods[] = {
	{ .name = "Exec", .message = exec_message, .writable = exec_writable },
	{ .name = "Tunnel",
	  .message = tunnel_message,
	  .half_close = fake_finish,
	  .writable = tunnel_writable },
	{ 0 },
};
