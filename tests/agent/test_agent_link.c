/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_link.c - who may talk to an agent, what flows, and what is held */
#include "rig.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1u << 20)

static void nothing_works_before_hello(void **state)
{
	AGENT(StatsRequest) rq = AGENT_INIT(STATS_REQUEST);
	struct rig *rig = *state;
	struct client *c = client_connect(rig->socket, false);
	struct grpc_status st;

	assert_null(client_ask(c, "Stats", &rq.base,
			       &sandbox__agent__v1__stats_response__descriptor,
			       &st));
	assert_int_equal(st.code, GRPC_UNAUTHENTICATED);
	client_close(c);
}

static void an_unknown_method_is_unimplemented(void **state)
{
	AGENT(StatsRequest) rq = AGENT_INIT(STATS_REQUEST);
	struct rig *rig = *state;
	struct grpc_status st;

	assert_null(client_ask(rig->client, "Reboot", &rq.base,
			       &sandbox__agent__v1__stats_response__descriptor,
			       &st));
	assert_int_equal(st.code, GRPC_UNIMPLEMENTED);
}

static uint64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void a_deadline_counts_from_its_call_not_from_the_last(void **state)
{
	const uint32_t deadline_ms = 1000;
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	struct rig *rig = *state;
	uint64_t quiet = monotonic_ms() + deadline_ms + 100;
	struct call *call;

	while (monotonic_ms() < quiet)
		client_step(rig->client, (int)(quiet - monotonic_ms()));
	spec.command = BYTES("sleep 0.2");
	start.process = &spec;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	rq.start = &start;
	call = call_start_within(rig->client, "Exec", deadline_ms);
	assert_true(call_send(call, &rq.base));
	call_half_close(call);
	assert_int_equal(call_wait(call)->code, GRPC_OK);
	call_free(call);
}

static void a_short_nonce_is_refused(void **state)
{
	struct rig *rig = *state;
	struct client *c = client_connect(rig->socket, false);
	struct grpc_status st;

	assert_false(client_hello(c, "short", &st));
	assert_int_equal(st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(st.field, "nonce");
	client_close(c);
}

static struct grpc_status configure(struct rig *rig,
				    AGENT(ConfigureRequest) * rq)
{
	struct grpc_status st;
	AGENT(ConfigureResponse) *m = client_ask(
		rig->client, "Configure", &rq->base,
		&sandbox__agent__v1__configure_response__descriptor, &st);

	if (m)
		sandbox__agent__v1__configure_response__free_unpacked(m, NULL);
	return st;
}

static void bad_configurations_name_their_field(void **state)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	AGENT(NetworkConfig) net = AGENT_INIT(NETWORK_CONFIG);
	struct grpc_status st;

	rq.workdir = (char *)"relative";
	st = configure(*state, &rq);
	assert_int_equal(st.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(st.field, "workdir");
	rq.workdir = (char *)"";
	rq.network = &net;
	net.address = (char *)"1.2.3";
	st = configure(*state, &rq);
	assert_string_equal(st.field, "network.address");
	net.address = (char *)"";
	net.mac = (char *)"52:54:00:00:00:0g";
	st = configure(*state, &rq);
	assert_string_equal(st.field, "network.mac");
	net.mac = (char *)"";
	rq.entropy = BYTES("short");
	st = configure(*state, &rq);
	assert_string_equal(st.field, "entropy");
}

static struct call *begin_configure(struct rig *rig)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	struct call *call = call_start(rig->client, "Configure");

	assert_true(call_send(call, &rq.base));
	call_half_close(call);
	return call;
}

/* The node lost its link in the middle of one, and begins again. */
static void a_configure_during_another_is_to_be_tried_again(void **state)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	struct call *first = begin_configure(*state);
	struct call *second = begin_configure(*state);

	assert_int_equal(call_wait(second)->code, GRPC_UNAVAILABLE);
	assert_int_equal(call_wait(first)->code, GRPC_OK);
	assert_int_equal(configure(*state, &rq).code, GRPC_OK);
	call_free(first);
	call_free(second);
}

/* Last of those that connect anew: the nonce stays. */
static void the_first_configure_fixes_the_nonce(void **state)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	struct rig *rig = *state;
	struct grpc_status st;
	struct client *c;

	rq.nonce = BYTES("the nonce that counts");
	assert_int_equal(configure(rig, &rq).code, GRPC_OK);
	c = client_connect(rig->socket, false);
	assert_false(client_hello(c, "the nonce that county", &st));
	assert_int_equal(st.code, GRPC_PERMISSION_DENIED);
	assert_true(client_hello(c, "the nonce that counts", &st));
	client_close(c);
}

static void stats_are_plausible(void **state)
{
	AGENT(StatsRequest) rq = AGENT_INIT(STATS_REQUEST);
	struct rig *rig = *state;
	AGENT(StatsResponse) * m;
	struct grpc_status st;

	m = client_ask(rig->client, "Stats", &rq.base,
		       &sandbox__agent__v1__stats_response__descriptor, &st);
	assert_non_null(m);
	assert_true(m->memory_total_bytes > m->memory_available_bytes);
	assert_true(m->disk_total_bytes > 0 && m->processes > 0 &&
		    m->uptime_ms > 0);
	sandbox__agent__v1__stats_response__free_unpacked(m, NULL);
}

static void while_frozen_only_the_node_is_served(void **state)
{
	AGENT(FreezeRequest) freeze = AGENT_INIT(FREEZE_REQUEST);
	AGENT(ThawRequest) thaw = AGENT_INIT(THAW_REQUEST);
	struct rig *rig = *state;
	struct grpc_status st;
	struct run run;

	protobuf_c_message_free_unpacked(
		client_ask(rig->client, "Freeze", &freeze.base,
			   &sandbox__agent__v1__freeze_response__descriptor,
			   &st),
		NULL);
	assert_int_equal(st.code, GRPC_OK);
	run = rig_run(rig, "true");
	assert_int_equal(run.status.code, GRPC_FAILED_PRECONDITION);
	assert_string_equal(run.status.reason, "INVALID_STATE");
	run_free(&run);
	protobuf_c_message_free_unpacked(
		client_ask(rig->client, "Thaw", &thaw.base,
			   &sandbox__agent__v1__thaw_response__descriptor, &st),
		NULL);
	assert_int_equal(st.code, GRPC_OK);
	run = rig_run(rig, "true");
	assert_int_equal(run.status.code, GRPC_OK);
	run_free(&run);
}

static void much_output_passes_within_bounded_memory(void **state)
{
	struct rig *rig = *state;
	size_t before = rig_peak_kib(rig);
	struct run run = rig_run(rig, "head -c 100000000 /dev/zero | "
				      "tr '\\0' 'y'");

	assert_int_equal(run.out_len, 100000000);
	assert_int_equal(run.order_errors, 0);
	assert_int_equal(strspn(run.out, "y"), 100000000);
	run_free(&run);
#ifndef __SANITIZE_ADDRESS__
	assert_true(rig_peak_kib(rig) - before < 16 * 1024);
#else
	(void)before;
#endif
}

static void a_slow_client_stops_the_process_and_holds_little(void **state)
{
	struct rig *rig = *state;
	size_t before = rig_peak_kib(rig);
	struct call *call = rig_exec_command(rig, "head -c 50000000 /dev/zero");
	struct run run;

	rig_started(call);
	call_pause(call, true);
	/* Another call's whole life passes meanwhile. */
	run = rig_run(rig, "sleep 0.3; echo other");
	assert_string_equal(run.out, "other\n");
	run_free(&run);
#ifndef __SANITIZE_ADDRESS__
	assert_true(rig_peak_kib(rig) - before < 8 * 1024);
#else
	(void)before;
#endif
	call_pause(call, false);
	run = rig_finish(call);
	assert_int_equal(run.out_len, 50000000);
	run_free(&run);
}

static void much_stdin_passes_within_bounded_memory(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	struct rig *rig = *state;
	size_t before = rig_peak_kib(rig);
	uint8_t *data = xcalloc(1, MIB);
	struct call *call;
	struct run run;

	spec.command = BYTES("sleep 0.2; wc -c");
	spec.stdin = true;
	call = rig_exec(rig, &spec);
	for (int i = 0; i < 100; i++)
		call_stdin(call, data, MIB);
	call_half_close(call);
	run = rig_finish(call);
	assert_string_equal(run.out, "104857600\n");
	run_free(&run);
	free(data);
#ifndef __SANITIZE_ADDRESS__
	assert_true(rig_peak_kib(rig) - before < 16 * 1024);
#else
	(void)before;
#endif
}

/* ---- tunnels ---- */

static int listen_local(int family, uint16_t *port)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&v4
						: (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, sa, len) < 0 || listen(fd, 1) < 0) {
		close(fd);
		return -1;
	}
	getsockname(fd, sa, &len);
	*port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
	return fd;
}

static struct call *tunnel_to(struct rig *rig, uint32_t port)
{
	NODE(TunnelRequest) rq = NODE_INIT(TUNNEL_REQUEST);
	NODE(TunnelStart) start = NODE_INIT(TUNNEL_START);
	struct call *call = call_start(rig->client, "Tunnel");

	start.port = port;
	rq.input_case = SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	return call;
}

static NODE(TunnelResponse) * tunnel_recv(struct call *call)
{
	return call_recv_message(
		call, &sandbox__node__v1__tunnel_response__descriptor);
}

static void echo_through(struct rig *rig, int family)
{
	NODE(TunnelRequest) rq = NODE_INIT(TUNNEL_REQUEST);
	NODE(TunnelResponse) * m;
	struct call *call;
	char buf[64];
	uint16_t port;
	int fd = listen_local(family, &port), s;

	if (fd < 0)
		return; /* no such protocol here */
	call = tunnel_to(rig, port);
	m = tunnel_recv(call);
	assert_non_null(m);
	assert_true(m->connected);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	s = accept(fd, NULL, NULL);
	rq.input_case = SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_DATA;
	rq.data = BYTES("question");
	call_send(call, &rq.base);
	call_half_close(call);
	client_step(rig->client, 10);
	assert_int_equal(recv(s, buf, sizeof(buf), MSG_WAITALL), 8);
	assert_memory_equal(buf, "question", 8);
	/* Its direction has ended; ours has not. */
	assert_int_equal(send(s, "answer", 6, 0), 6);
	m = tunnel_recv(call);
	assert_int_equal(m->data.len, 6);
	assert_memory_equal(m->data.data, "answer", 6);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	close(s);
	assert_int_equal(call_wait(call)->code, GRPC_OK);
	call_free(call);
	close(fd);
}

static void a_tunnel_carries_both_ways_and_half_closes(void **state)
{
	echo_through(*state, AF_INET);
}

static void a_server_on_ipv6_is_reached_too(void **state)
{
	echo_through(*state, AF_INET6);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
	struct call *call;
	uint16_t port;
	int fd = listen_local(AF_INET, &port);

	close(fd);
	call = tunnel_to(*state, port);
	assert_int_equal(call_wait(call)->code, GRPC_UNAVAILABLE);
	call_free(call);
	call = tunnel_to(*state, 70000);
	assert_int_equal(call_wait(call)->code, GRPC_INVALID_ARGUMENT);
	call_free(call);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_works_before_hello),
		cmocka_unit_test(an_unknown_method_is_unimplemented),
		cmocka_unit_test(
			a_deadline_counts_from_its_call_not_from_the_last),
		cmocka_unit_test(a_short_nonce_is_refused),
		cmocka_unit_test(bad_configurations_name_their_field),
		cmocka_unit_test(
			a_configure_during_another_is_to_be_tried_again),
		cmocka_unit_test(stats_are_plausible),
		cmocka_unit_test(while_frozen_only_the_node_is_served),
		cmocka_unit_test(much_output_passes_within_bounded_memory),
		cmocka_unit_test(
			a_slow_client_stops_the_process_and_holds_little),
		cmocka_unit_test(much_stdin_passes_within_bounded_memory),
		cmocka_unit_test(a_tunnel_carries_both_ways_and_half_closes),
		cmocka_unit_test(a_server_on_ipv6_is_reached_too),
		cmocka_unit_test(a_port_where_nobody_listens_is_refused),
		cmocka_unit_test(the_first_configure_fixes_the_nonce),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: needs root, as the agent does\n");
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
