/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_guest.c - front with the real agent, as a process on this host */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK (256u << 10)

struct guest_rig {
	struct rig *rig;
	pid_t agent;
	char sock[96];
	struct client_conn cc;
};

static const char *agent_program(void)
{
	const char *path = getenv("SANDBOX_AGENT");

	return path ? path : "./sandbox-agent";
}

/* Connect to the agent's socket, once it is there. */
static int dial(struct guest_rig *gr)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t end = loop_now_ms() + 10000;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", gr->sock);
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		assert_true(loop_now_ms() < end);
		rig_step(gr->rig);
	}
	return fd;
}

static int setup(void **state)
{
	struct guest_rig *gr = xcalloc(1, sizeof(*gr));
	char listen[160];
	char *argv[] = { (char *)agent_program(), (char *)"--listen", listen,
			 NULL };

	gr->rig = rig_new();
	snprintf(gr->sock, sizeof(gr->sock), "%s/agent.sock", gr->rig->dir);
	snprintf(listen, sizeof(listen), "unix:%s", gr->sock);
	assert_int_equal(
		posix_spawn(&gr->agent, argv[0], NULL, NULL, argv, environ), 0);
	rig_attach_fd(gr->rig, "sb_1", dial(gr), 10000);
	rig_until(gr->rig, gr->rig->answered);
	assert_int_equal(gr->rig->answer_err.code, ERR_NONE);
	client_connect(gr->rig, &gr->cc);
	*state = gr;
	return 0;
}

static int teardown(void **state)
{
	struct guest_rig *gr = *state;

	client_close(&gr->cc);
	kill(gr->agent, SIGKILL);
	waitpid(gr->agent, NULL, 0);
	unlink(gr->sock);
	rig_free(gr->rig);
	free(gr);
	return 0;
}

static void start_command(struct guest_rig *gr, struct client_call *c,
			  const char *command, bool with_stdin)
{
	Sandbox__Node__V1__ExecRequest m =
		SANDBOX__NODE__V1__EXEC_REQUEST__INIT;
	Sandbox__Node__V1__ExecStart start =
		SANDBOX__NODE__V1__EXEC_START__INIT;
	Sandbox__Node__V1__ProcessSpec spec =
		SANDBOX__NODE__V1__PROCESS_SPEC__INIT;

	spec.command = (ProtobufCBinaryData){ strlen(command),
					      (uint8_t *)(size_t)command };
	spec.stdin = with_stdin;
	start.sandbox_id = (char *)"sb_1";
	start.process = &spec;
	m.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	m.start = &start;
	client_start(&gr->cc, c, "Exec");
	client_send(c, &m.base);
}

static uint32_t exit_code(const struct client_call *c)
{
	Sandbox__Node__V1__ExecResponse *m =
		sandbox__node__v1__exec_response__unpack(NULL, c->last_len,
							 c->last);
	uint32_t code;

	assert_non_null(m);
	assert_int_equal(m->output_case,
			 SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED);
	code = m->exited->exit_code;
	sandbox__node__v1__exec_response__free_unpacked(m, NULL);
	return code;
}

static void a_command_runs_and_its_exit_code_comes_back(void **state)
{
	struct guest_rig *gr = *state;
	struct client_call c;

	start_command(gr, &c, "echo hello; exit 5", false);
	grpc_call_half_close(c.call);
	rig_until(gr->rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.bytes, 6);
	assert_int_equal(exit_code(&c), 5);
}

static void a_command_that_is_waited_for_keeps_its_sandbox_awake(void **state)
{
	struct guest_rig *gr = *state;
	struct client_call c;

	start_command(gr, &c, "sleep 0.3", false);
	rig_until(gr->rig, c.started);
	rig_settle(gr->rig);
	assert_int_equal(gr->rig->released, 0);
	rig_until(gr->rig, c.done);
	rig_until(gr->rig, gr->rig->released == 1);
	assert_int_equal(gr->rig->acquired, 1);
}

static void a_command_that_waits_for_input_lets_it_sleep(void **state)
{
	struct guest_rig *gr = *state;
	struct client_call c;

	start_command(gr, &c, "cat >/dev/null; sleep 0.3", true);
	rig_until(gr->rig, gr->rig->released == 1);
	/* Only its bytes are use; and the end of them makes it a command that
	 * is waited for.
	 */
	gr->rig->activities = 0;
	client_stdin(&c, "x", 1);
	rig_until(gr->rig, gr->rig->activities == 1);
	grpc_call_half_close(c.call);
	rig_until(gr->rig, gr->rig->acquired == 2);
	rig_settle(gr->rig);
	assert_int_equal(gr->rig->released, 1);
	rig_until(gr->rig, c.done);
	assert_int_equal(exit_code(&c), 0);
	rig_until(gr->rig, gr->rig->released == 2);
}

static void megabytes_go_in_and_come_out(void **state)
{
	enum { TOTAL = 32 << 20 };
	struct guest_rig *gr = *state;
	_cleanup_free_ uint8_t *chunk = xcalloc(1, CHUNK);
	struct client_call c;
	size_t sent = 0;

	start_command(gr, &c, "cat", true);
	while (sent < TOTAL) {
		rig_until(gr->rig,
			  grpc_call_queued(c.call) < GRPC_SEND_HIGH_WATER);
		client_stdin(&c, chunk, CHUNK);
		sent += CHUNK;
	}
	grpc_call_half_close(c.call);
	rig_until(gr->rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.bytes, TOTAL);
	assert_int_equal(exit_code(&c), 0);
}

static void endless_output_to_one_who_does_not_read_harms_nobody(void **state)
{
	struct guest_rig *gr = *state;
	struct client_call flood, c;

	start_command(gr, &flood, "yes", false);
	rig_until(gr->rig, flood.started);
	grpc_call_pause(flood.call, true);
	rig_settle(gr->rig);
	start_command(gr, &c, "true", false);
	grpc_call_half_close(c.call);
	rig_until(gr->rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	grpc_call_cancel(flood.call);
	rig_until(gr->rig, flood.done);
}

static void a_missing_program_is_a_clear_error(void **state)
{
	struct guest_rig *gr = *state;
	Sandbox__Node__V1__ExecRequest m =
		SANDBOX__NODE__V1__EXEC_REQUEST__INIT;
	Sandbox__Node__V1__ExecStart start =
		SANDBOX__NODE__V1__EXEC_START__INIT;
	Sandbox__Node__V1__ProcessSpec spec =
		SANDBOX__NODE__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv = { 9, (uint8_t *)(size_t) "no-such-x" };
	struct client_call c;

	spec.n_argv = 1;
	spec.argv = &argv;
	start.sandbox_id = (char *)"sb_1";
	start.process = &spec;
	m.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	m.start = &start;
	client_unary(&gr->cc, &c, "Exec", &m.base);
	assert_int_not_equal(c.st.code, GRPC_OK);
	assert_int_not_equal(c.st.code, GRPC_INTERNAL);
	assert_true(c.st.reason[0]);
}

static void write_file(struct guest_rig *gr, struct client_call *c,
		       const char *path, size_t chunks)
{
	Sandbox__Node__V1__WriteFileRequest m =
		SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INIT;
	Sandbox__Node__V1__WriteFileStart start =
		SANDBOX__NODE__V1__WRITE_FILE_START__INIT;
	_cleanup_free_ uint8_t *chunk = xcalloc(1, CHUNK);

	start.sandbox_id = (char *)"sb_1";
	start.path =
		(ProtobufCBinaryData){ strlen(path), (uint8_t *)(size_t)path };
	m.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START;
	m.start = &start;
	client_start(&gr->cc, c, "WriteFile");
	client_send(c, &m.base);
	m.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA;
	m.data = (ProtobufCBinaryData){ CHUNK, chunk };
	for (size_t i = 0; i < chunks && !c->done; i++) {
		rig_until(gr->rig, c->done || grpc_call_queued(c->call) <
						      GRPC_SEND_HIGH_WATER);
		if (!c->done)
			client_send(c, &m.base);
	}
	if (!c->done)
		grpc_call_half_close(c->call);
	rig_until(gr->rig, c->done);
}

static void a_file_is_written_told_of_and_read(void **state)
{
	Sandbox__Node__V1__ReadFileRequest read =
		SANDBOX__NODE__V1__READ_FILE_REQUEST__INIT;
	Sandbox__Node__V1__StatFileRequest stat =
		SANDBOX__NODE__V1__STAT_FILE_REQUEST__INIT;
	Sandbox__Node__V1__RemoveFileRequest rm =
		SANDBOX__NODE__V1__REMOVE_FILE_REQUEST__INIT;
	struct guest_rig *gr = *state;
	char path[128], event[192];
	struct client_call c;

	snprintf(path, sizeof(path), "%s/file", gr->rig->dir);
	write_file(gr, &c, path, 32);
	assert_int_equal(c.st.code, GRPC_OK);
	snprintf(event, sizeof(event), "file.created path=%s", path);
	rig_until(gr->rig, rig_has_event(gr->rig, event));
	read.sandbox_id = stat.sandbox_id = rm.sandbox_id = (char *)"sb_1";
	read.path = (ProtobufCBinaryData){ strlen(path), (uint8_t *)path };
	stat.path = rm.path = read.path;
	client_unary(&gr->cc, &c, "StatFile", &stat.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_unary(&gr->cc, &c, "ReadFile", &read.base);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_true(c.messages >= 8);
	client_unary(&gr->cc, &c, "RemoveFile", &rm.base);
	assert_int_equal(c.st.code, GRPC_OK);
	snprintf(event, sizeof(event), "file.removed path=%s", path);
	rig_until(gr->rig, rig_has_event(gr->rig, event));
	client_unary(&gr->cc, &c, "StatFile", &stat.base);
	assert_int_equal(c.st.code, GRPC_NOT_FOUND);
	assert_string_equal(c.st.reason, "FILE_NOT_FOUND");
}

static void directories_processes_and_searches_are_listed(void **state)
{
	Sandbox__Node__V1__ListDirectoryRequest list =
		SANDBOX__NODE__V1__LIST_DIRECTORY_REQUEST__INIT;
	Sandbox__Node__V1__SearchFilesRequest search =
		SANDBOX__NODE__V1__SEARCH_FILES_REQUEST__INIT;
	Sandbox__Node__V1__ListProcessesRequest processes =
		SANDBOX__NODE__V1__LIST_PROCESSES_REQUEST__INIT;
	struct guest_rig *gr = *state;
	struct client_call c;

	list.sandbox_id = search.sandbox_id = processes.sandbox_id =
		(char *)"sb_1";
	list.path = (ProtobufCBinaryData){ 4, (uint8_t *)(size_t) "/etc" };
	search.path = list.path;
	search.pattern = (ProtobufCBinaryData){ 4, (uint8_t *)(size_t) "root" };
	client_unary(&gr->cc, &c, "ListDirectory", &list.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_unary(&gr->cc, &c, "SearchFiles", &search.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_unary(&gr->cc, &c, "ListProcesses", &processes.base);
	assert_int_equal(c.st.code, GRPC_OK);
}

static void a_connection_to_a_port_reaches_a_server_in_the_guest(void **state)
{
	struct guest_rig *gr = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET }, guest = sa;
	socklen_t len = sizeof(sa);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), inside;
	char buf[16];

	sa.sin_addr.s_addr = guest.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server, (struct sockaddr *)&guest, len), 0);
	assert_int_equal(listen(server, 4), 0);
	getsockname(server, (struct sockaddr *)&guest, &len);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	getsockname(fd, (struct sockaddr *)&sa, &len);
	gr->rig->answered = false;
	front_link_listen_port(gr->rig->engine, "sb_1", ntohs(guest.sin_port),
			       5000, fd, rig_answer, gr->rig);
	rig_until(gr->rig, gr->rig->answered);
	assert_int_equal(gr->rig->answer_err.code, ERR_NONE);
	/* The first was the probe's. */
	close(accept(server, NULL, NULL));
	assert_int_equal(connect(client, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(send(client, "ping", 4, 0), 4);
	shutdown(client, SHUT_WR);
	rig_settle(gr->rig);
	inside = accept(server, NULL, NULL);
	assert_int_equal(recv(inside, buf, sizeof(buf), MSG_WAITALL), 4);
	assert_int_equal(send(inside, "pong", 4, 0), 4);
	close(inside);
	rig_settle(gr->rig);
	assert_int_equal(recv(client, buf, sizeof(buf), MSG_WAITALL), 4);
	assert_int_equal(recv(client, buf, sizeof(buf), 0), 0);
	close(client);
	close(server);
	close(fd);
}

static void the_next_connection_finds_the_same_guest(void **state)
{
	struct guest_rig *gr = *state;
	struct client_call c;

	gr->rig->answered = false;
	front_link_detach(gr->rig->engine, "sb_1", "SANDBOX_PAUSED", "x",
			  rig_answer, gr->rig);
	rig_until(gr->rig, gr->rig->answered);
	rig_attach_fd(gr->rig, "sb_1", dial(gr), 10000);
	rig_until(gr->rig, gr->rig->answered);
	assert_int_equal(gr->rig->answer_err.code, ERR_NONE);
	start_command(gr, &c, "true", false);
	rig_until(gr->rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_command_runs_and_its_exit_code_comes_back),
		T(megabytes_go_in_and_come_out),
		T(a_command_that_is_waited_for_keeps_its_sandbox_awake),
		T(a_command_that_waits_for_input_lets_it_sleep),
		T(endless_output_to_one_who_does_not_read_harms_nobody),
		T(a_missing_program_is_a_clear_error),
		T(a_file_is_written_told_of_and_read),
		T(directories_processes_and_searches_are_listed),
		T(a_connection_to_a_port_reaches_a_server_in_the_guest),
		T(the_next_connection_finds_the_same_guest),
	};

	/* As an ordinary user it cannot become the users of a guest. */
	if (access(agent_program(), X_OK) < 0)
		return 77;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
