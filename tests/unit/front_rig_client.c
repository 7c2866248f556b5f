/* SPDX-License-Identifier: Apache-2.0 */
/* front_rig_client.c - clients, and what their calls have heard */
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
#include "front/wire.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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
