/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_api.c - clients' calls to engine and agent, and back */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "engine/front_link.h"
#include "front/front.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static void
a_control_call_goes_to_the_engine_and_its_answer_comes_back(void **state)
{
	Sandbox__Node__V1__GetSandboxRequest m =
		SANDBOX__NODE__V1__GET_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__GetSandboxResponse r =
		SANDBOX__NODE__V1__GET_SANDBOX_RESPONSE__INIT;
	Sandbox__Node__V1__Sandbox sandbox = SANDBOX__NODE__V1__SANDBOX__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	char uid[32];

	sandbox.id = (char *)"sb_1";
	r.sandbox = &sandbox;
	rig->call_answer = &r.base;
	m.sandbox_id = (char *)"sb_1";
	client_connect(rig, &cc);
	client_unary(&cc, &c, "GetSandbox", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_string_equal(rig->method, "GetSandbox");
	snprintf(uid, sizeof(uid), "uid:%u", getuid());
	assert_string_equal(rig->identity, uid);
	assert_int_equal(c.messages, 1);
	client_close(&cc);
}

static void
an_error_of_the_engine_reaches_the_client_with_its_details(void **state)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	err_field(&rig->call_err, "cpu", "cpu: 2, 4 or 8");
	rig->call_err.retry_ms = 70;
	client_connect(rig, &cc);
	client_unary(&cc, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(c.st.reason, "INVALID_CONFIG");
	assert_string_equal(c.st.field, "cpu");
	assert_string_equal(c.st.message, "cpu: 2, 4 or 8");
	assert_int_equal(c.st.retry_ms, 70);
	client_close(&cc);
}

static void
a_malformed_request_is_refused_and_the_connection_lives(void **state)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	client_connect(rig, &cc);
	client_start(&cc, &c, "CreateSandbox");
	grpc_call_send(c.call, (const uint8_t *)"\x0a\xff", 2);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(c.st.reason, "INVALID_CONFIG");
	client_unary(&cc, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
}

static void text_with_a_nul_is_refused_and_the_field_named(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	client_connect(rig, &cc);
	client_start(&cc, &c, "GetSandbox");
	grpc_call_send(c.call,
		       (const uint8_t *)"\x0a\x03"
					"a\0b",
		       5);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(c.st.field, "sandbox_id");
	client_close(&cc);
}

static void a_method_that_does_not_exist_is_unimplemented(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	client_connect(rig, &cc);
	client_start(&cc, &c, "FlySandbox");
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_UNIMPLEMENTED);
	client_close(&cc);
}

static void a_client_that_goes_away_cancels_its_call(void **state)
{
	Sandbox__Node__V1__BuildTemplateRequest m =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->hold_calls = true;
	client_connect(rig, &cc);
	client_start(&cc, &c, "BuildTemplate");
	client_send(&c, &m.base);
	rig_until(rig, rig->call_id);
	client_close(&cc);
	rig_until(rig, rig->cancelled_id == rig->call_id);
	front_link_reply(rig->engine, rig->call_id, NULL, NULL, 0, false);
	rig_settle(rig);
	assert_int_equal(engine_waiting(rig->front->engine), 0);
}

static void progress_comes_before_the_result(void **state)
{
	Sandbox__Node__V1__BuildTemplateRequest m =
		SANDBOX__NODE__V1__BUILD_TEMPLATE_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->hold_calls = true;
	client_connect(rig, &cc);
	client_start(&cc, &c, "BuildTemplate");
	client_send(&c, &m.base);
	rig_until(rig, rig->call_id);
	front_link_reply(rig->engine, rig->call_id, NULL, "", 0, true);
	rig_until(rig, c.messages == 1);
	assert_false(c.done);
	front_link_reply(rig->engine, rig->call_id, NULL, "", 0, false);
	rig_until(rig, c.done);
	assert_int_equal(c.messages, 2);
	client_close(&cc);
}

static void an_exec_goes_both_ways(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	client_stdin(&c, "hello", 5);
	rig_until(rig, c.bytes == 5);
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_true(c.exited);
	rig_until(rig, rig->released == rig->acquired);
	assert_true(rig_has_event(rig, "exec.started command=cat pid=7"));
	assert_true(rig_has_event(rig, "exec.completed command=cat pid=7 "
				       "exitCode=3 signal=0 durationMs=12 timedOut=false"));
	client_close(&cc);
}

static void an_exec_waits_until_its_sandbox_is_resumed(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->hold_acquires = true;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	client_stdin(&c, "early", 5);
	grpc_call_half_close(c.call);
	rig_until(rig, rig->held_acquire);
	rig_attach(rig, "sb_1");
	assert_false(c.done);
	rig->hold_acquires = false;
	{
		Sandbox__Ipc__V1__AcquireResponse m =
			SANDBOX__IPC__V1__ACQUIRE_RESPONSE__INIT;
		uint8_t buf[64];

		m.lease = 5;
		front_link_reply(
			rig->engine, rig->held_acquire, NULL, buf,
			sandbox__ipc__v1__acquire_response__pack(&m, buf),
			false);
	}
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.bytes, 5);
	client_close(&cc);
}

static void a_lease_that_comes_too_late_is_given_back(void **state)
{
	Sandbox__Ipc__V1__AcquireResponse m =
		SANDBOX__IPC__V1__ACQUIRE_RESPONSE__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	uint8_t buf[64];

	rig->hold_acquires = true;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, rig->held_acquire);
	client_close(&cc);
	rig_settle(rig);
	m.lease = 5;
	front_link_reply(rig->engine, rig->held_acquire, NULL, buf,
			 sandbox__ipc__v1__acquire_response__pack(&m, buf),
			 false);
	rig_until(rig, rig->released == 1);
}

static void a_refused_lease_is_the_calls_answer(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	err_set(&rig->acquire_err, ERR_NOT_FOUND, "no sandbox 'sb_9'");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_9");
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_NOT_FOUND);
	assert_string_equal(c.st.reason, "SANDBOX_NOT_FOUND");
	client_close(&cc);
}

static void a_client_that_stops_reading_stops_the_guest(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	struct mallinfo2 before;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_FLOOD;
	rig->flood = 64 << 20;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	grpc_call_pause(c.call, true);
	before = mallinfo2();
	rig_settle(rig);
	/* Windows, queues and a socket buffer or two, on three connections. */
	assert_true(rig->agent_sent < 4 << 20);
	assert_true(mallinfo2().uordblks < before.uordblks + (6 << 20));
	grpc_call_pause(c.call, false);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.bytes, 64 << 20);
	client_close(&cc);
}

static void a_client_that_goes_away_ends_the_agents_call(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	client_close(&cc);
	rig_until(rig, rig->agent_cancels == 1);
	rig_until(rig, rig->released == 1);
}

static void a_detached_guests_calls_end_with_the_reason(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	rig->answered = false;
	front_link_detach(rig->engine, "sb_1", "SANDBOX_PAUSED", "it sleeps",
			  rig_answer, rig);
	rig_until(rig, rig->answered);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_UNAVAILABLE);
	assert_string_equal(c.st.reason, "SANDBOX_PAUSED");
	assert_string_equal(c.st.message, "it sleeps");
	assert_true(c.st.retry_ms > 0);
	assert_int_equal(rig->lost, 0);
	client_close(&cc);
}

static void an_invalid_exec_never_reaches_the_engine(void **state)
{
	Sandbox__Node__V1__ExecRequest m =
		SANDBOX__NODE__V1__EXEC_REQUEST__INIT;
	Sandbox__Node__V1__ExecStart start =
		SANDBOX__NODE__V1__EXEC_START__INIT;
	Sandbox__Node__V1__ProcessSpec spec =
		SANDBOX__NODE__V1__PROCESS_SPEC__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	start.sandbox_id = (char *)"sb_1";
	start.process = &spec;
	m.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	m.start = &start;
	client_connect(rig, &cc);
	client_unary(&cc, &c, "Exec", &m.base);
	assert_int_equal(c.st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(c.st.field, "argv");
	assert_int_equal(rig->acquired, 0);
	client_close(&cc);
}

static void the_65th_call_to_a_guest_is_told_to_come_again(void **state)
{
	struct client_call calls[65];
	struct rig *rig = *state;
	struct client_conn cc;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	for (int i = 0; i < 64; i++) {
		client_exec(&cc, &calls[i], "sb_1");
		rig_until(rig, calls[i].started);
	}
	client_exec(&cc, &calls[64], "sb_1");
	rig_until(rig, calls[64].done);
	assert_int_equal(calls[64].st.code, GRPC_RESOURCE_EXHAUSTED);
	assert_true(calls[64].st.retry_ms > 0);
	client_close(&cc);
}

static void an_import_writes_its_data_into_the_engines_pipe(void **state)
{
	Sandbox__Node__V1__ImportSnapshotRequest m =
		SANDBOX__NODE__V1__IMPORT_SNAPSHOT_REQUEST__INIT;
	static uint8_t data[256 << 10], got[256 << 10];
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	size_t have = 0;

	rig->hold_calls = true;
	client_connect(rig, &cc);
	client_start(&cc, &c, "ImportSnapshot");
	memset(data, 'x', sizeof(data));
	m.data = (ProtobufCBinaryData){ sizeof(data), data };
	client_send(&c, &m.base);
	grpc_call_half_close(c.call);
	rig_until(rig, rig->call_fd >= 0);
	fcntl(rig->call_fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		ssize_t n = read(rig->call_fd, got, sizeof(got));

		if (n == 0)
			break;
		if (n > 0)
			have += (size_t)n;
		else
			rig_step(rig);
	}
	assert_int_equal(have, sizeof(data));
	front_link_reply(rig->engine, rig->call_id, NULL, "", 0, false);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
}

static void an_import_cut_short_is_cancelled_before_its_end(void **state)
{
	Sandbox__Node__V1__ImportSnapshotRequest m =
		SANDBOX__NODE__V1__IMPORT_SNAPSHOT_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	char buf[8];

	rig->hold_calls = true;
	client_connect(rig, &cc);
	client_start(&cc, &c, "ImportSnapshot");
	m.data = (ProtobufCBinaryData){ 3, (uint8_t *)(size_t) "abc" };
	client_send(&c, &m.base);
	rig_until(rig, rig->call_fd >= 0);
	client_close(&cc);
	rig_until(rig, rig->cancelled_id == rig->call_id);
	fcntl(rig->call_fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(read(rig->call_fd, buf, sizeof(buf)), 3);
	assert_int_equal(read(rig->call_fd, buf, sizeof(buf)), -1);
	front_link_reply(rig->engine, rig->call_id, NULL, "", 0, false);
	rig_settle(rig);
	assert_int_equal(read(rig->call_fd, buf, sizeof(buf)), 0);
}

static void an_export_ends_when_engine_and_pipe_are_done(void **state)
{
	Sandbox__Node__V1__ExportSnapshotRequest m =
		SANDBOX__NODE__V1__EXPORT_SNAPSHOT_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->hold_calls = true;
	client_connect(rig, &cc);
	client_start(&cc, &c, "ExportSnapshot");
	client_send(&c, &m.base);
	grpc_call_half_close(c.call);
	rig_until(rig, rig->call_fd >= 0);
	assert_int_equal(write(rig->call_fd, "snap", 4), 4);
	front_link_reply(rig->engine, rig->call_id, NULL, "", 0, false);
	rig_until(rig, c.messages == 1);
	assert_false(c.done);
	fd_close(&rig->call_fd);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_memory_equal(c.last, "\x0a\x04snap", 6);
	client_close(&cc);
}

static void events_are_streamed_in_pages_and_then_as_they_come(void **state)
{
	Sandbox__Node__V1__WatchEventsRequest m =
		SANDBOX__NODE__V1__WATCH_EVENTS_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->log_newest = 250;
	client_connect(rig, &cc);
	client_start(&cc, &c, "WatchEvents");
	client_send(&c, &m.base);
	rig_until(rig, c.messages == 250);
	rig_settle(rig);
	assert_int_equal(rig->reads, 3);
	rig->log_newest = 251;
	front_link_events_grew(rig->engine, 251);
	rig_until(rig, c.messages == 251);
	client_close(&cc);
}

static void a_reader_that_is_too_late_is_told_where_the_log_begins(void **state)
{
	Sandbox__Node__V1__WatchEventsRequest m =
		SANDBOX__NODE__V1__WATCH_EVENTS_REQUEST__INIT;
	Sandbox__Node__V1__WatchEventsResponse *r;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->log_newest = 250;
	rig->log_oldest = 251;
	m.since = 7;
	m.no_follow = true;
	client_connect(rig, &cc);
	client_unary(&cc, &c, "WatchEvents", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.messages, 1);
	r = sandbox__node__v1__watch_events_response__unpack(NULL, c.last_len,
							     c.last);
	assert_int_equal(r->oldest_sequence, 251);
	sandbox__node__v1__watch_events_response__free_unpacked(r, NULL);
	client_close(&cc);
}

static void a_drain_is_answered_when_the_clients_are_gone(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	rig->answered = false;
	front_link_drain(rig->engine, rig_answer, rig);
	rig_settle(rig);
	assert_false(rig->answered);
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	rig_until(rig, rig->answered);
	client_close(&cc);
}

static void at_connections_max_the_next_client_waits(void **state)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	Sandbox__Ipc__V1__Setup limits = SANDBOX__IPC__V1__SETUP__INIT;
	struct rig *rig = *state;
	struct client_conn cc[3];
	struct client_call c;

	limits.connections_max = 2;
	rig_setup(rig, &limits, NULL);
	for (int i = 0; i < 2; i++) {
		client_connect(rig, &cc[i]);
		client_unary(&cc[i], &c, "GetNode", &m.base);
	}
	client_connect(rig, &cc[2]);
	client_start(&cc[2], &c, "GetNode");
	client_send(&c, &m.base);
	grpc_call_half_close(c.call);
	rig_settle(rig);
	assert_false(c.done);
	assert_int_equal(rig->front->n_clients, 2);
	client_close(&cc[0]);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc[1]);
	client_close(&cc[2]);
}

static void malformed_http2_ends_that_connection_only(void **state)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	client_connect(rig, &cc);
	client_unary(&cc, &c, "GetNode", &m.base);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", rig->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, 0),
			 27);
	rig_until(rig, rig->front->n_clients == 2);
	rig_until(rig, rig->front->n_clients == 1);
	close(fd);
	client_unary(&cc, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
}

static void a_peer_of_another_uid_is_cut_off(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct rig *rig = *state;
	int status = 0;
	pid_t pid;

	if (getuid() != 0)
		skip();
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", rig->path);
	pid = fork();
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char byte;

		if (setuid(12345) < 0 ||
		    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			_exit(1);
		_exit(read(fd, &byte, 1) == 0 ? 0 : 2);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		rig_step(rig);
	assert_int_equal(status, 0);
	assert_int_equal(rig->front->n_clients, 0);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_control_call_goes_to_the_engine_and_its_answer_comes_back),
		T(an_error_of_the_engine_reaches_the_client_with_its_details),
		T(a_malformed_request_is_refused_and_the_connection_lives),
		T(text_with_a_nul_is_refused_and_the_field_named),
		T(a_method_that_does_not_exist_is_unimplemented),
		T(a_client_that_goes_away_cancels_its_call),
		T(progress_comes_before_the_result),
		T(an_exec_goes_both_ways),
		T(an_exec_waits_until_its_sandbox_is_resumed),
		T(a_lease_that_comes_too_late_is_given_back),
		T(a_refused_lease_is_the_calls_answer),
		T(a_client_that_stops_reading_stops_the_guest),
		T(a_client_that_goes_away_ends_the_agents_call),
		T(a_detached_guests_calls_end_with_the_reason),
		T(an_invalid_exec_never_reaches_the_engine),
		T(the_65th_call_to_a_guest_is_told_to_come_again),
		T(an_import_writes_its_data_into_the_engines_pipe),
		T(an_import_cut_short_is_cancelled_before_its_end),
		T(an_export_ends_when_engine_and_pipe_are_done),
		T(events_are_streamed_in_pages_and_then_as_they_come),
		T(a_reader_that_is_too_late_is_told_where_the_log_begins),
		T(a_drain_is_answered_when_the_clients_are_gone),
		T(at_connections_max_the_next_client_waits),
		T(malformed_http2_ends_that_connection_only),
		T(a_peer_of_another_uid_is_cut_off),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
