/* SPDX-License-Identifier: Apache-2.0 */
/* front_rig_agent.c - the fake agent: a gRPC server that does as it is told */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/grpc_io.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"
#include "front/wire.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct agent_side {
	struct list link;
	struct rig *rig;
	struct grpc_call *call;
	char method[32];
	uint64_t left; /* of the flood */
	bool begun;
	bool listens, quiet;
};

static void agent_send(struct agent_side *a, const ProtobufCMessage *m)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	buf = wire_pack(m, &len);
	if (grpc_call_send(a->call, buf, len) == 1)
		grpc_call_pause(a->call, true);
}

static void agent_started(struct agent_side *a)
{
	Sandbox__Node__V1__ExecResponse m =
		SANDBOX__NODE__V1__EXEC_RESPONSE__INIT;
	Sandbox__Node__V1__ProcessStarted s =
		SANDBOX__NODE__V1__PROCESS_STARTED__INIT;

	s.pid = 7;
	m.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED;
	m.started = &s;
	agent_send(a, &m.base);
}

static void agent_stdout(struct agent_side *a, const uint8_t *data, size_t len)
{
	Sandbox__Node__V1__ExecResponse m =
		SANDBOX__NODE__V1__EXEC_RESPONSE__INIT;
	Sandbox__Node__V1__OutputChunk chunk =
		SANDBOX__NODE__V1__OUTPUT_CHUNK__INIT;

	chunk.data = (ProtobufCBinaryData){ len, (uint8_t *)data };
	m.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT;
	m.stdout = &chunk;
	agent_send(a, &m.base);
	a->rig->agent_sent += len;
}

static void agent_exited(struct agent_side *a)
{
	Sandbox__Node__V1__ExecResponse m =
		SANDBOX__NODE__V1__EXEC_RESPONSE__INIT;
	Sandbox__Node__V1__ProcessExited e =
		SANDBOX__NODE__V1__PROCESS_EXITED__INIT;
	struct grpc_status ok = { .code = GRPC_OK };

	e.exit_code = 3;
	e.duration_ms = 12;
	m.output_case = SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED;
	m.exited = &e;
	agent_send(a, &m.base);
	if (a->rig->way == AGENT_TWICE)
		agent_send(a, &m.base);
	grpc_call_finish(a->call, &ok);
}

static void agent_flood(struct agent_side *a)
{
	static const uint8_t zeros[32 << 10];

	while (a->left > 0 &&
	       grpc_call_queued(a->call) < GRPC_SEND_HIGH_WATER) {
		agent_stdout(a, zeros, sizeof(zeros));
		a->left = a->left > sizeof(zeros) ? a->left - sizeof(zeros) : 0;
	}
	if (a->left == 0) {
		a->left = UINT64_MAX;
		agent_exited(a);
	}
}

static void agent_next_exits(struct agent_side *a, const uint8_t *data,
			     size_t len)
{
	Sandbox__Agent__V1__NextExitsRequest *m =
		sandbox__agent__v1__next_exits_request__unpack(NULL, len, data);

	a->rig->exits_acked = m->acked;
	a->rig->exits_call = a->call;
	sandbox__agent__v1__next_exits_request__free_unpacked(m, NULL);
}

void rig_exit(struct rig *rig, uint64_t sequence, uint32_t pid, uint32_t code)
{
	Sandbox__Agent__V1__NextExitsResponse m =
		SANDBOX__AGENT__V1__NEXT_EXITS_RESPONSE__INIT;
	Sandbox__Agent__V1__ProcessEnded ended =
		SANDBOX__AGENT__V1__PROCESS_ENDED__INIT;
	Sandbox__Agent__V1__ProcessEnded *at[] = { &ended };
	Sandbox__Node__V1__ProcessExited exited =
		SANDBOX__NODE__V1__PROCESS_EXITED__INIT;
	struct grpc_call *call = rig->exits_call;
	struct grpc_status ok = { .code = GRPC_OK };
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	assert_non_null(call);
	exited.exit_code = code;
	exited.duration_ms = 5;
	ended.sequence = sequence;
	ended.pid = pid;
	ended.program = (ProtobufCBinaryData){ 4, (uint8_t *)(size_t) "cat\n" };
	ended.exited = &exited;
	m.n_exits = 1;
	m.exits = at;
	buf = wire_pack(&m.base, &len);
	rig->exits_call = NULL;
	grpc_call_send(call, buf, len);
	grpc_call_finish(call, &ok);
}

static void agent_exec(struct agent_side *a, const uint8_t *data, size_t len)
{
	Sandbox__Node__V1__ExecRequest *m =
		sandbox__node__v1__exec_request__unpack(NULL, len, data);

	assert_non_null(m);
	if (m->input_case == SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START) {
		assert_string_equal(m->start->sandbox_id, "");
		if (a->rig->way == AGENT_GARBAGE)
			grpc_call_send(a->call, (const uint8_t *)"\xff\xff\xff",
				       3);
		if (a->rig->way == AGENT_LIES)
			agent_stdout(a, (const uint8_t *)"x", 1);
		agent_started(a);
		a->begun = true;
		if (a->rig->way == AGENT_FLOOD) {
			a->left = a->rig->flood;
			agent_flood(a);
		}
		if (a->rig->way == AGENT_TWICE)
			agent_exited(a);
	} else if (m->input_case ==
			   SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_STDIN &&
		   a->rig->way == AGENT_ECHO) {
		agent_stdout(a, m->stdin.data, m->stdin.len);
	}
	sandbox__node__v1__exec_request__free_unpacked(m, NULL);
}

static void agent_tunnel(struct agent_side *a, const uint8_t *data, size_t len)
{
	Sandbox__Node__V1__TunnelRequest *m =
		sandbox__node__v1__tunnel_request__unpack(NULL, len, data);
	Sandbox__Node__V1__TunnelResponse r =
		SANDBOX__NODE__V1__TUNNEL_RESPONSE__INIT;
	struct grpc_status st;

	if (m->input_case == SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START) {
		if (m->start->port == 81) {
			grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE",
					"refused");
			grpc_call_finish(a->call, &st);
		} else {
			r.output_case =
				SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_CONNECTED;
			r.connected = true;
			a->listens = m->start->port == 82;
			agent_send(a, &r.base);
			if (m->start->port == 83)
				grpc_call_pause(a->call, true);
		}
	} else {
		r.output_case = SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_DATA;
		r.data = m->data;
		a->rig->tunnelled += m->data.len;
		/* Port 82 says all it has to say at once, then only listens. */
		if (!a->quiet)
			agent_send(a, &r.base);
		if (a->listens && !a->quiet) {
			r.data.len = 0;
			agent_send(a, &r.base);
			a->quiet = true;
		}
	}
	sandbox__node__v1__tunnel_request__free_unpacked(m, NULL);
}

static void agent_configured(struct rig *rig, const uint8_t *data, size_t len)
{
	Sandbox__Agent__V1__ConfigureRequest *m =
		sandbox__agent__v1__configure_request__unpack(NULL, len, data);

	assert_non_null(m);
	assert_non_null(m->time);
	rig->configures++;
	rig->clock_ms = m->time->seconds * 1000 + m->time->nanos / 1000000;
	sandbox__agent__v1__configure_request__free_unpacked(m, NULL);
}

static void agent_garbage(struct agent_side *a, size_t len)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, len);

	memset(buf, 0xff, len);
	grpc_call_send(a->call, buf, len);
}

static void agent_unary(struct agent_side *a, const uint8_t *data, size_t len)
{
	Sandbox__Agent__V1__HelloResponse hello =
		SANDBOX__AGENT__V1__HELLO_RESPONSE__INIT;
	Sandbox__Agent__V1__ConfigureResponse empty =
		SANDBOX__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	struct grpc_status ok = { .code = GRPC_OK };

	if (!strcmp(a->method, "Hello")) {
		a->rig->hellos++;
		hello.protocol_version =
			a->rig->hello_version ? a->rig->hello_version : 1;
		hello.agent_version = (char *)"0.1";
		hello.kernel_release = (char *)"6.1";
		hello.configured = a->rig->configured;
		agent_send(a, &hello.base);
	} else {
		if (!strcmp(a->method, "Configure"))
			agent_configured(a->rig, data, len);
		if (a->rig->unary_garbage)
			agent_garbage(a, a->rig->unary_garbage);
		else
			agent_send(a, &empty.base);
	}
	grpc_call_finish(a->call, &ok);
}

static void agent_message(struct grpc_call *call, const uint8_t *data,
			  size_t len, void *arg)
{
	struct agent_side *a = arg;

	(void)call;
	if (!strcmp(a->method, "NextExits"))
		agent_next_exits(a, data, len);
	else if (!strcmp(a->method, "Exec"))
		agent_exec(a, data, len);
	else if (!strcmp(a->method, "Tunnel"))
		agent_tunnel(a, data, len);
	else if (!a->begun)
		agent_unary(a, data, len);
	a->begun = true;
}

static void agent_half_close(struct grpc_call *call, void *arg)
{
	struct agent_side *a = arg;
	Sandbox__Node__V1__TunnelResponse r =
		SANDBOX__NODE__V1__TUNNEL_RESPONSE__INIT;
	struct grpc_status ok = { .code = GRPC_OK };

	if (!strcmp(a->method, "Exec") && a->rig->way == AGENT_ECHO)
		agent_exited(a);
	if (!strcmp(a->method, "Tunnel")) {
		/* A last word, then the guest's own end. */
		r.output_case = SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_DATA;
		r.data = (ProtobufCBinaryData){ 3, (uint8_t *)(size_t) "bye" };
		if (!a->quiet) {
			agent_send(a, &r.base);
			r.data.len = 0;
			agent_send(a, &r.base);
		}
		grpc_call_finish(call, &ok);
	}
}

static void agent_writable(struct grpc_call *call, void *arg)
{
	struct agent_side *a = arg;

	grpc_call_pause(call, false);
	if (a->rig->way == AGENT_FLOOD && a->left && a->left != UINT64_MAX)
		agent_flood(a);
}

static void agent_done(struct grpc_call *call, const struct grpc_status *st,
		       void *arg)
{
	struct agent_side *a = arg;

	if (a->rig->exits_call == call)
		a->rig->exits_call = NULL;
	else
		a->rig->agent_cancels += st->code != GRPC_OK;
	list_del(&a->link);
	free(a);
}

static const struct grpc_call_ops agent_call_ops = { .message = agent_message,
						     .half_close =
							     agent_half_close,
						     .writable = agent_writable,
						     .done = agent_done };

static void agent_accept(struct grpc_call *call, const char *path, void *arg)
{
	struct rig *rig = arg;
	struct agent_side *a;
	struct grpc_status no;

	if (!strcmp(strrchr(path, '/') + 1, "NextExits") && !rig->tells_exits) {
		grpc_status_set(&no, GRPC_UNIMPLEMENTED, "", "an older agent");
		grpc_call_finish(call, &no);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->rig = rig;
	a->call = call;
	snprintf(a->method, sizeof(a->method), "%s", strrchr(path, '/') + 1);
	list_add_tail(&a->rig->agent_calls, &a->link);
	grpc_call_accept(call, &agent_call_ops, a);
}

static const struct grpc_conn_ops agent_conn_ops = { .accept = agent_accept };

static void agent_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct rig *rig = arg;

	(void)why;
	if (rig->agent_io == io)
		rig->agent_io = NULL;
	if (rig->older_io == io)
		rig->older_io = NULL;
	rig->agent_closed = true;
}

static const struct grpc_io_ops agent_io_ops = { .closed = agent_closed };

void rig_attach_fd(struct rig *rig, const char *key, int fd, uint32_t ms)
{
	Sandbox__Ipc__V1__AttachAgent m = SANDBOX__IPC__V1__ATTACH_AGENT__INIT;
	Sandbox__Agent__V1__ConfigureRequest configure =
		SANDBOX__AGENT__V1__CONFIGURE_REQUEST__INIT;
	Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	uint8_t nonce[32] = { 1 };
	size_t len;

	m.sandbox_id = (char *)key;
	m.generation = 1;
	m.nonce = (ProtobufCBinaryData){ sizeof(nonce), nonce };
	m.deadline_ms = ms;
	configure.sandbox_id = (char *)key;
	configure.generation = 1;
	configure.hostname = (char *)"guest";
	configure.workdir = (char *)"/tmp";
	configure.nonce = m.nonce;
	/* The engine's clock when it asked, long ago. */
	time.seconds = 1;
	configure.time = &time;
	m.configure = rig->configured ? NULL : &configure;
	buf = wire_pack(&m.base, &len);
	rig->answered = false;
	front_link_attach(rig->engine, buf, len, fd, rig_answer, rig);
}

struct grpc_conn *rig_agent_conn(struct rig *rig)
{
	return grpc_conn_new_server(&agent_conn_ops, rig, NULL, loop_now_ms());
}

void rig_attach(struct rig *rig, const char *key)
{
	struct grpc_conn *conn;
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	conn = rig_agent_conn(rig);
	rig->agent_closed = false;
	assert_null(rig->older_io);
	rig->older_io = rig->agent_io;
	rig->agent_io =
		grpc_io_new(rig->loop, fds[1], conn, NULL, &agent_io_ops, rig);
	rig_attach_fd(rig, key, fds[0], 5000);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_NONE);
}
