/* SPDX-License-Identifier: Apache-2.0 */
/* front_rig.c - a front with a fake engine, a fake agent and clients */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/grpc_io.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"
#include "front/front.h"
#include "front/wire.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the fake engine ---- */

static void tell_all(struct rig *rig);

static void on_up(void *arg)
{
	struct rig *rig = arg;

	rig->up = true;
	rig->down = false;
	tell_all(rig);
}

static void on_down(const char *why, void *arg)
{
	(void)why;
	((struct rig *)arg)->down = true;
	((struct rig *)arg)->up = false;
}

static void on_call(uint64_t id, const char *method, const char *identity,
		    const uint8_t *request, size_t len, int *fd, void *arg)
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct rig *rig = arg;
	size_t n = 0;

	rig->call_id = id;
	snprintf(rig->method, sizeof(rig->method), "%s", method);
	snprintf(rig->identity, sizeof(rig->identity), "%s", identity);
	free(rig->request);
	rig->request = len ? xmemdup(request, len) : NULL;
	rig->request_len = len;
	fd_close(&rig->call_fd);
	rig->call_fd = TAKE_FD(*fd);
	if (rig->hold_calls)
		return;
	if (rig->call_answer)
		buf = wire_pack(rig->call_answer, &n);
	front_link_reply(rig->engine, id,
			 rig->call_err.code ? &rig->call_err : NULL, buf, n,
			 false);
}

static void on_cancel(uint64_t id, void *arg)
{
	((struct rig *)arg)->cancelled_id = id;
}

static void grant(struct rig *rig, uint64_t id)
{
	Sandbox__Ipc__V1__AcquireResponse m =
		SANDBOX__IPC__V1__ACQUIRE_RESPONSE__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	m.lease = ++rig->acquired;
	m.generation = 1;
	if (rig->allow_port) {
		m.n_allow_ports = 1;
		m.allow_ports = &rig->allow_port;
	}
	buf = wire_pack(&m.base, &len);
	front_link_reply(rig->engine, id,
			 rig->acquire_err.code ? &rig->acquire_err : NULL, buf,
			 len, false);
	if (rig->acquire_err.code)
		rig->acquired--;
}

static void on_acquire(uint64_t id, const char *sandbox_id,
		       const char *identity, void *arg)
{
	struct rig *rig = arg;

	(void)sandbox_id;
	(void)identity;
	if (rig->hold_acquires)
		rig->held_acquire = id;
	else
		grant(rig, id);
}

static void on_release(uint64_t lease, void *arg)
{
	(void)lease;
	((struct rig *)arg)->released++;
}

static void on_activity(const char *sandbox_id, void *arg)
{
	(void)sandbox_id;
	((struct rig *)arg)->activities++;
}

static void on_event(const char *sandbox_id, const char *type,
		     const struct front_pair *data, size_t n, void *arg)
{
	struct rig *rig = arg;
	char *at = rig->events[rig->n_events % RIG_EVENTS_MAX];
	size_t len;

	(void)sandbox_id;
	len = (size_t)snprintf(at, 128, "%s", type);
	for (size_t i = 0; i < n && len < 128; i++)
		len += (size_t)snprintf(at + len, 128 - len, " %s=%s",
					data[i].key, data[i].value);
	rig->n_events++;
}

static void on_link_lost(const char *key, uint64_t generation, const char *why,
			 void *arg)
{
	struct rig *rig = arg;

	(void)key;
	(void)generation;
	rig->lost++;
	snprintf(rig->lost_why, sizeof(rig->lost_why), "%s", why);
}

/* A log of events numbered log_oldest..log_newest. */
static void on_read_events(uint64_t id, uint64_t since, const char *sandbox_id,
			   char *const *types, size_t n_types, uint32_t limit,
			   void *arg)
{
	Sandbox__Ipc__V1__ReadEventsResponse m =
		SANDBOX__IPC__V1__READ_EVENTS_RESPONSE__INIT;
	ProtobufCBinaryData events[100];
	_cleanup_free_ uint8_t *buf = NULL;
	struct rig *rig = arg;
	uint64_t seq =
		since + 1 > rig->log_oldest ? since + 1 : rig->log_oldest;
	size_t len;

	(void)sandbox_id;
	(void)types;
	(void)n_types;
	rig->reads++;
	for (; seq <= rig->log_newest && m.n_events < limit; seq++) {
		Sandbox__Node__V1__Event e = SANDBOX__NODE__V1__EVENT__INIT;

		e.sequence = seq;
		e.type = (char *)"sandbox.started";
		events[m.n_events].data =
			wire_pack(&e.base, &events[m.n_events].len);
		m.n_events++;
	}
	m.events = events;
	m.oldest_sequence = rig->log_oldest;
	m.newest_sequence = rig->log_newest;
	m.next_since = seq - 1;
	buf = wire_pack(&m.base, &len);
	front_link_reply(rig->engine, id, NULL, buf, len, false);
	for (size_t i = 0; i < m.n_events; i++)
		free(events[i].data);
}

static const struct front_link_ops engine_ops = {
	.up = on_up,
	.down = on_down,
	.call = on_call,
	.cancel = on_cancel,
	.acquire = on_acquire,
	.release = on_release,
	.activity = on_activity,
	.event = on_event,
	.link_lost = on_link_lost,
	.read_events = on_read_events,
};

void rig_answer(const struct error *err, const uint8_t *data, size_t len,
		void *arg)
{
	struct rig *rig = arg;

	(void)data;
	(void)len;
	rig->answered = true;
	rig->answer_err = err ? *err : (struct error){ 0 };
}

bool rig_has_event(struct rig *rig, const char *text)
{
	for (unsigned int i = 0; i < rig->n_events && i < RIG_EVENTS_MAX; i++) {
		if (!strcmp(rig->events[i], text))
			return true;
	}
	return false;
}

/* ---- the fake agent ---- */

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
	ended.program = (ProtobufCBinaryData){ 4, (uint8_t *)(size_t)"cat\n" };
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

static void agent_unary(struct agent_side *a)
{
	Sandbox__Agent__V1__HelloResponse hello =
		SANDBOX__AGENT__V1__HELLO_RESPONSE__INIT;
	Sandbox__Agent__V1__ConfigureResponse empty =
		SANDBOX__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	struct grpc_status ok = { .code = GRPC_OK };

	if (!strcmp(a->method, "Hello")) {
		a->rig->hellos++;
		hello.protocol_version = 1;
		hello.agent_version = (char *)"0.1";
		hello.kernel_release = (char *)"6.1";
		hello.configured = a->rig->configured;
		agent_send(a, &hello.base);
	} else {
		a->rig->configures += !strcmp(a->method, "Configure");
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
		agent_unary(a);
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
	rig->agent_closed = true;
}

static const struct grpc_io_ops agent_io_ops = { .closed = agent_closed };

void rig_attach_fd(struct rig *rig, const char *key, int fd, uint32_t ms)
{
	Sandbox__Ipc__V1__AttachAgent m = SANDBOX__IPC__V1__ATTACH_AGENT__INIT;
	Sandbox__Agent__V1__ConfigureRequest configure =
		SANDBOX__AGENT__V1__CONFIGURE_REQUEST__INIT;
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
	m.configure = rig->configured ? NULL : &configure;
	buf = wire_pack(&m.base, &len);
	rig->answered = false;
	front_link_attach(rig->engine, buf, len, fd, rig_answer, rig);
}

void rig_attach(struct rig *rig, const char *key)
{
	struct grpc_conn *conn;
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	conn = grpc_conn_new_server(&agent_conn_ops, rig, NULL, loop_now_ms());
	rig->agent_closed = false;
	rig->agent_io =
		grpc_io_new(rig->loop, fds[1], conn, NULL, &agent_io_ops, rig);
	rig_attach_fd(rig, key, fds[0], 5000);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_NONE);
}

/* ---- clients ---- */

static void client_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct client_conn *cc = arg;

	(void)io;
	cc->closed = true;
	cc->io = NULL;
	snprintf(cc->why, sizeof(cc->why), "%s", why);
}

static const struct grpc_io_ops client_io_ops = { .closed = client_closed };
static const struct grpc_conn_ops client_conn_ops = { 0 };

void client_connect(struct rig *rig, struct client_conn *cc)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(cc, 0, sizeof(*cc));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", rig->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cc->rig = rig;
	cc->conn =
		grpc_conn_new_client(&client_conn_ops, cc, NULL, loop_now_ms());
	cc->io = grpc_io_new(rig->loop, fd, cc->conn, NULL, &client_io_ops, cc);
}

void client_close(struct client_conn *cc)
{
	cc->io = grpc_io_free(cc->io);
}

static void take(struct client_call *c, const uint8_t *data, size_t len)
{
	Sandbox__Node__V1__ExecResponse *m =
		sandbox__node__v1__exec_response__unpack(NULL, len, data);

	if (!m)
		return;
	switch (m->output_case) {
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED:
		c->started = true;
		break;
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT:
		c->bytes += m->stdout->data.len;
		break;
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED:
		c->exited = true;
		break;
	default:
		break;
	}
	sandbox__node__v1__exec_response__free_unpacked(m, NULL);
}

static void client_message(struct grpc_call *call, const uint8_t *data,
			   size_t len, void *arg)
{
	struct client_call *c = arg;

	(void)call;
	c->messages++;
	c->last_len = len < sizeof(c->last) ? len : 0;
	if (c->last_len)
		memcpy(c->last, data, len);
	take(c, data, len);
}

static void client_done(struct grpc_call *call, const struct grpc_status *st,
			void *arg)
{
	struct client_call *c = arg;

	(void)call;
	c->call = NULL;
	c->done = true;
	c->st = *st;
}

static const struct grpc_call_ops client_ops = { .message = client_message,
						 .done = client_done };

void client_start(struct client_conn *cc, struct client_call *c,
		  const char *method)
{
	char path[96];

	memset(c, 0, sizeof(*c));
	c->cc = cc;
	snprintf(path, sizeof(path), "%s%s", *method == '/' ? "" : NODE_SERVICE,
		 method);
	c->call = grpc_call_start(cc->conn, path, 0, &client_ops, c);
	assert_non_null(c->call);
}

int client_send(struct client_call *c, const ProtobufCMessage *m)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	buf = wire_pack(m, &len);
	return grpc_call_send(c->call, buf, len);
}

void client_unary(struct client_conn *cc, struct client_call *c,
		  const char *method, const ProtobufCMessage *m)
{
	client_start(cc, c, method);
	client_send(c, m);
	grpc_call_half_close(c->call);
	rig_until(cc->rig, c->done);
}

void client_exec(struct client_conn *cc, struct client_call *c,
		 const char *sandbox_id)
{
	Sandbox__Node__V1__ExecRequest m =
		SANDBOX__NODE__V1__EXEC_REQUEST__INIT;
	Sandbox__Node__V1__ExecStart start =
		SANDBOX__NODE__V1__EXEC_START__INIT;
	Sandbox__Node__V1__ProcessSpec spec =
		SANDBOX__NODE__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv[] = { { 3, (uint8_t *)(size_t) "cat" },
				       { 6, (uint8_t *)(size_t) "secret" } };

	spec.n_argv = 2;
	spec.argv = argv;
	spec.stdin = true;
	start.sandbox_id = (char *)sandbox_id;
	start.process = &spec;
	m.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	m.start = &start;
	client_start(cc, c, "Exec");
	client_send(c, &m.base);
}

void client_stdin(struct client_call *c, const void *data, size_t len)
{
	Sandbox__Node__V1__ExecRequest m =
		SANDBOX__NODE__V1__EXEC_REQUEST__INIT;

	m.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_STDIN;
	m.stdin = (ProtobufCBinaryData){ len, (uint8_t *)data };
	client_send(c, &m.base);
}

/* ---- the rig ---- */

static void on_gone(struct front *front, const char *why)
{
	(void)front;
	(void)why;
}

void rig_step(struct rig *rig)
{
	sd_event_run(loop_event(rig->loop), 100000);
}

void rig_settle(struct rig *rig)
{
	while (sd_event_run(loop_event(rig->loop), 20000) > 0)
		;
}

static void listen_unix(struct rig *rig)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(rig->dir, sizeof(rig->dir), "/tmp/front-test-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/node.sock", rig->dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", rig->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	chmod(rig->dir, 0755);
	chmod(rig->path, 0666);
	assert_int_equal(listen(fd, 64), 0);
	rig->listen_fd = fd;
}

void rig_setup(struct rig *rig, Sandbox__Ipc__V1__Setup *setup, const int *fds)
{
	_cleanup_free_ uint8_t *buf = NULL;
	uint32_t uid = getuid();
	size_t len;

	setup->n_allowed_uids = 1;
	setup->allowed_uids = &uid;
	buf = wire_pack(&setup->base, &len);
	front_link_setup(rig->engine, buf, len, fds, fds ? 3 : 0);
}

static void tell_all(struct rig *rig)
{
	Sandbox__Ipc__V1__Setup setup = SANDBOX__IPC__V1__SETUP__INIT;

	rig_setup(rig, &setup, NULL);
	front_link_listen(rig->engine, false, rig->listen_fd);
}

static struct rig *begin(void)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	signal(SIGPIPE, SIG_IGN);
	rig->call_fd = -EBADF;
	rig->log_oldest = 1;
	list_init(&rig->agent_calls);
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	listen_unix(rig);
	return rig;
}

struct rig *rig_new(void)
{
	struct rig *rig = begin();
	int fds[2];

	assert_int_equal(ipc_pair(fds, NULL), 0);
	assert_int_equal(front_link_new_fd(rig->loop, fds[0], &engine_ops, rig,
					   &rig->engine, NULL),
			 0);
	assert_int_equal(
		front_new(rig->loop, fds[1], on_gone, &rig->front, NULL), 0);
	rig_until(rig, rig->up && !list_empty(&rig->front->listeners));
	return rig;
}

struct rig *rig_new_process(void)
{
	struct front_link_config config = { .program = "./sandboxd-front" };
	struct rig *rig = begin();

	if (getuid() == 0)
		config.uid = config.gid = 65534;
	assert_int_equal(front_link_new(rig->loop, &config, &engine_ops, rig,
					&rig->engine, NULL),
			 0);
	rig_until(rig, rig->up);
	return rig;
}

void rig_free(struct rig *rig)
{
	rig->front = front_free(rig->front);
	rig->agent_io = grpc_io_free(rig->agent_io);
	rig->engine = front_link_free(rig->engine);
	fd_close(&rig->call_fd);
	fd_close(&rig->listen_fd);
	free(rig->request);
	unlink(rig->path);
	rmdir(rig->dir);
	loop_free(rig->loop);
	free(rig);
}
