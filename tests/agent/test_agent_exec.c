/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_exec.c - processes, as a node sees them through a real agent */
#include "rig.h"

#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void output_and_exit_code_come_back(void **state)
{
	struct run run = rig_run(*state, "echo out; echo err >&2; exit 7");

	assert_int_equal(run.status.code, GRPC_OK);
	assert_string_equal(run.out, "out\n");
	assert_string_equal(run.err, "err\n");
	assert_true(run.exited);
	assert_int_equal(run.exit_code, 7);
	assert_int_equal(run.signal, 0);
	assert_int_equal(run.order_errors, 0);
	run_free(&run);
}

static void argv_is_passed_as_it_is(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	ProtobufCBinaryData argv[] = {
		BYTES("printf"), BYTES("<%s>"),	   BYTES("a b"),
		BYTES(""),	 BYTES("\n$HOME"), BYTES("\xff\xfe"),
	};
	struct run run;

	spec.argv = argv;
	spec.n_argv = 6;
	run = rig_finish(rig_exec(*state, &spec));
	assert_string_equal(run.out, "<a b><><\n$HOME><\xff\xfe>");
	run_free(&run);
}

static void a_missing_program_is_a_clear_error(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	ProtobufCBinaryData argv[] = { BYTES("no-such-program") };
	struct run run;

	spec.argv = argv;
	spec.n_argv = 1;
	run = rig_finish(rig_exec(*state, &spec));
	assert_int_equal(run.status.code, GRPC_NOT_FOUND);
	assert_string_equal(run.status.reason, "FILE_NOT_FOUND");
	assert_non_null(strstr(run.status.message, "no-such-program"));
	assert_false(run.exited);
	run_free(&run);
}

static void expect_field(struct rig *rig, NODE(ProcessSpec) * spec,
			 const char *field)
{
	struct run run = rig_finish(rig_exec(rig, spec));

	assert_int_equal(run.status.code, GRPC_INVALID_ARGUMENT);
	assert_string_equal(run.status.reason, "INVALID_CONFIG");
	assert_string_equal(run.status.field, field);
	run_free(&run);
}

static void bad_fields_are_named(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);

	expect_field(*state, &spec, "process.argv");
	spec.command = BYTES("true");
	spec.cwd = BYTES("/no/such/place");
	expect_field(*state, &spec, "process.cwd");
	spec.cwd = BYTES("/");
	spec.user = (char *)"nobody-of-that-name";
	expect_field(*state, &spec, "process.user");
	spec.user = (char *)"";
	spec.pty = &size;
	expect_field(*state, &spec, "process.pty");
}

static void env_cwd_and_user_are_set(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(ProcessSpec__EnvEntry) entry = NODE_INIT(PROCESS_SPEC__ENV_ENTRY);
	NODE(ProcessSpec__EnvEntry) * env[] = { &entry };
	struct run run;

	entry.key = (char *)"GREETING";
	entry.value = (char *)"a=b c";
	spec.env = env;
	spec.n_env = 1;
	spec.command = BYTES("echo $GREETING; pwd; id -u; id -g; echo $LANG; "
			     "umask; cat /proc/self/status | grep SigBlk");
	spec.cwd = BYTES("/usr");
	spec.user = (char *)"65534:65533";
	run = rig_finish(rig_exec(*state, &spec));
	assert_string_equal(run.out, "a=b c\n/usr\n65534\n65533\nC.UTF-8\n"
				     "0022\nSigBlk:\t0000000000000000\n");
	run_free(&run);
}

static void without_stdin_it_is_empty(void **state)
{
	struct run run = rig_run(*state, "cat; echo end");

	assert_string_equal(run.out, "end\n");
	run_free(&run);
}

static struct call *exec_cat(struct rig *rig)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);

	spec.command = BYTES("cat");
	spec.stdin = true;
	return rig_exec(rig, &spec);
}

static void stdin_reaches_the_process_and_ends(void **state)
{
	struct call *call = exec_cat(*state);
	struct run run;

	call_stdin(call, "one ", 4);
	call_stdin(call, "two\0x", 5);
	call_close_stdin(call);
	run = rig_finish(call);
	assert_int_equal(run.out_len, 9);
	assert_memory_equal(run.out, "one two\0x", 9);
	run_free(&run);
}

static void the_end_of_requests_is_the_end_of_stdin(void **state)
{
	struct call *call = exec_cat(*state);
	struct run run;

	call_stdin(call, "x", 1);
	call_half_close(call);
	run = rig_finish(call);
	assert_string_equal(run.out, "x");
	assert_int_equal(run.exit_code, 0);
	run_free(&run);
}

static void a_terminal_is_one_and_can_be_resized(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);
	struct call *call;
	struct run run;

	size.rows = 33;
	size.columns = 99;
	spec.pty = &size;
	spec.stdin = true;
	/* dash loses a signal that comes while it is in vfork(): it only waits
	 * once it said that it is ready.
	 */
	spec.command = BYTES("tty >/dev/null && stty size; sleep 1000 & "
			     "trap 'stty size; kill $!; exit 3' WINCH; "
			     "echo ready; wait");
	call = rig_exec(*state, &spec);
	rig_wait_output(call, "33 99\r\nready");
	call_resize(call, 40, 120);
	run = rig_finish(call);
	assert_non_null(strstr(run.out, "40 120"));
	assert_int_equal(run.exit_code, 3);
	run_free(&run);
}

static void a_terminal_gets_the_end_of_file(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);
	struct run run;

	size.rows = size.columns = 50;
	spec.pty = &size;
	spec.command = BYTES("cat; echo over");
	run = rig_finish(rig_exec(*state, &spec));
	assert_non_null(strstr(run.out, "over"));
	run_free(&run);
}

static void a_signal_reaches_the_process(void **state)
{
	struct call *call = rig_exec_command(*state, "exec sleep 1000");
	struct run run;

	rig_started(call);
	call_signal(call, SIGTERM);
	run = rig_finish(call);
	assert_int_equal(run.signal, SIGTERM);
	assert_int_equal(run.exit_code, 128 + SIGTERM);
	assert_string_equal(run.signal_name, "SIGTERM");
	run_free(&run);
}

static void a_timeout_kills_the_whole_group(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	struct run run;

	spec.command = BYTES("sleep 1000 & echo $!; wait");
	spec.timeout_ms = 300;
	run = rig_finish(rig_exec(*state, &spec));
	assert_true(run.timed_out);
	assert_int_equal(run.signal, SIGKILL);
	assert_true(run.duration_ms >= 300);
	/* It dies at the same moment, but is collected a little later. */
	while (kill((pid_t)atoi(run.out), 0) == 0)
		client_step(((struct rig *)*state)->client, 10);
	run_free(&run);
}

static void a_child_left_behind_does_not_hang_the_call(void **state)
{
	struct run run = rig_run(*state, "sleep 300 & echo $!");
	pid_t left = (pid_t)atoi(run.out);

	assert_true(run.exited);
	assert_true(run.duration_ms < 60000);
	/* And it lives. */
	assert_int_equal(kill(left, 0), 0);
	kill(left, SIGKILL);
	run_free(&run);
}

static void what_a_child_left_behind_writes_does_not_kill_it(void **state)
{
	struct rig *rig = *state;
	char *mark = rig_path(rig, "alive");
	char *command = xasprintf("(while [ ! -e %s.go ]; do sleep 0.02; done; "
				  "echo late && echo later; touch %s) & exit 0",
				  mark, mark);
	char *go = xasprintf("touch %s.go; while [ ! -e %s ]; do sleep 0.02; "
			     "done",
			     mark, mark);
	struct run run = rig_run(rig, command);

	assert_string_equal(run.out, "");
	run_free(&run);
	run = rig_run(rig, go);
	assert_int_equal(run.exit_code, 0);
	run_free(&run);
	free(command);
	free(go);
	free(mark);
}

static void a_process_outlives_its_client(void **state)
{
	struct rig *rig = *state;
	struct call *call;
	struct run run;
	uint32_t pid;

	call = rig_exec_command(rig, "echo first; sleep 0.3; echo second; "
				     "exit 5");
	pid = rig_started(call);
	rig_wait_output(call, "first");
	call_free(call);
	run = rig_finish(rig_attach(rig, pid, 0));
	assert_int_equal(run.status.code, GRPC_OK);
	assert_int_equal(run.pid, pid);
	assert_string_equal(run.out, "first\nsecond\n");
	assert_int_equal(run.exit_code, 5);
	run_free(&run);
	run = rig_finish(rig_attach(rig, pid, 6));
	assert_string_equal(run.out, "second\n");
	assert_int_equal(run.out_begin, 6);
	run_free(&run);
}

static void lost_output_is_told(void **state)
{
	struct rig *rig = *state;
	char *done = rig_path(rig, "written");
	char *command = xasprintf("head -c 3000000 /dev/zero; touch %s; "
				  "exec sleep 1000",
				  done);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	struct call *call;
	struct run run;
	uint32_t pid;

	spec.command = BYTES(command);
	spec.background = true;
	call = rig_exec(rig, &spec);
	pid = rig_started(call);
	call_free(call);
	while (access(done, F_OK) < 0)
		client_step(rig->client, 10);
	call = rig_attach(rig, pid, 0);
	call_signal(call, SIGKILL);
	run = rig_finish(call);
	assert_true(run.lost > 0);
	assert_int_equal(run.lost + run.out_len, 3000000);
	assert_int_equal(run.out_begin, run.lost);
	assert_int_equal(run.signal, SIGKILL);
	run_free(&run);
	free(command);
	free(done);
}

static void attaching_to_nothing_is_refused(void **state)
{
	struct run run = rig_finish(rig_attach(*state, 4000000, 0));

	assert_int_equal(run.status.code, GRPC_NOT_FOUND);
	assert_string_equal(run.status.reason, "PROCESS_NOT_FOUND");
	run_free(&run);
}

static NODE(ListProcessesResponse) * list(struct rig *rig)
{
	NODE(ListProcessesRequest) rq = NODE_INIT(LIST_PROCESSES_REQUEST);
	struct grpc_status st;

	return client_ask(
		rig->client, "ListProcesses", &rq.base,
		&sandbox__node__v1__list_processes_response__descriptor, &st);
}

static void processes_are_listed_and_signalled_by_number(void **state)
{
	NODE(SignalProcessRequest) rq = NODE_INIT(SIGNAL_PROCESS_REQUEST);
	struct rig *rig = *state;
	struct call *call = rig_exec_command(rig, "exec sleep 1000");
	uint32_t pid = rig_started(call);
	NODE(ListProcessesResponse) *l = list(rig);
	struct grpc_status st;
	struct run run;
	bool found = false;

	assert_non_null(l);
	for (size_t i = 0; i < l->n_processes; i++)
		if (l->processes[i]->pid == pid) {
			found = true;
			assert_int_equal(
				l->processes[i]->state,
				SANDBOX__NODE__V1__PROCESS_STATE__PROCESS_STATE_RUNNING);
			assert_int_equal(l->processes[i]->attached_clients, 1);
			assert_int_equal(l->processes[i]->command.len, 15);
		}
	assert_true(found);
	sandbox__node__v1__list_processes_response__free_unpacked(l, NULL);
	rq.pid = pid;
	rq.signal = SIGINT;
	protobuf_c_message_free_unpacked(
		client_ask(
			rig->client, "SignalProcess", &rq.base,
			&sandbox__node__v1__signal_process_response__descriptor,
			&st),
		NULL);
	assert_int_equal(st.code, GRPC_OK);
	run = rig_finish(call);
	assert_int_equal(run.signal, SIGINT);
	run_free(&run);
	assert_null(client_ask(
		rig->client, "SignalProcess", &rq.base,
		&sandbox__node__v1__signal_process_response__descriptor, &st));
	assert_string_equal(st.reason, "INVALID_STATE");
}

static void exec_without_start_is_refused(void **state)
{
	struct rig *rig = *state;
	struct call *call = call_start(rig->client, "Exec");

	call_stdin(call, "x", 1);
	assert_int_equal(call_wait(call)->code, GRPC_INVALID_ARGUMENT);
	call_free(call);
}

static void many_run_at_once(void **state)
{
	struct call *calls[50];

	for (int i = 0; i < 50; i++)
		calls[i] = rig_exec_command(*state, "echo $$; sleep 0.1");
	for (int i = 0; i < 50; i++) {
		struct run run = rig_finish(calls[i]);

		assert_int_equal(run.status.code, GRPC_OK);
		assert_int_equal(atoi(run.out), run.pid);
		run_free(&run);
	}
}

static void set_limits(struct rig *rig, uint32_t processes, uint32_t ring)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	AGENT(AgentLimits) limits = AGENT_INIT(AGENT_LIMITS);
	AGENT(ConfigureResponse) * r;
	struct grpc_status st;

	limits.processes_max = processes;
	limits.output_ring_bytes = ring;
	rq.sandbox_id = (char *)"sb_1";
	rq.limits = &limits;
	r = client_ask(rig->client, "Configure", &rq.base,
		       &sandbox__agent__v1__configure_response__descriptor,
		       &st);
	if (!r)
		fail_msg("Configure: %s", st.message);
	sandbox__agent__v1__configure_response__free_unpacked(r, NULL);
}

static void at_the_limit_of_processes_the_next_is_refused(void **state)
{
	struct rig *rig = *state;
	struct call *calls[3];
	struct run run;

	set_limits(rig, 3, 0);
	for (int i = 0; i < 3; i++) {
		calls[i] = exec_cat(rig);
		rig_started(calls[i]);
	}
	run = rig_run(rig, "true");
	assert_int_equal(run.status.code, GRPC_RESOURCE_EXHAUSTED);
	assert_string_equal(run.status.reason, "RESOURCE_EXHAUSTED");
	assert_non_null(strstr(run.status.message, "3 processes run already"));
	run_free(&run);
	/* One that ends makes room. */
	call_close_stdin(calls[0]);
	run = rig_finish(calls[0]);
	assert_true(run.exited);
	run_free(&run);
	run = rig_run(rig, "echo again");
	assert_string_equal(run.out, "again\n");
	run_free(&run);
	for (int i = 1; i < 3; i++) {
		call_close_stdin(calls[i]);
		run = rig_finish(calls[i]);
		run_free(&run);
	}
	set_limits(rig, 0, 0);
}

/* The size that is asked for is what is kept of each stream. What is still in
 * the pipe when the client comes it gets besides.
 */
static void output_is_kept_up_to_the_limit(void **state)
{
	struct rig *rig = *state;
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	char *done = rig_path(rig, "kept");
	char *command = xasprintf("head -c 800000 /dev/zero; touch %s; "
				  "exec sleep 1000",
				  done);
	struct call *call;
	struct run run;
	uint32_t pid;

	set_limits(rig, 0, 16384);
	spec.command = BYTES(command);
	spec.background = true;
	call = rig_exec(rig, &spec);
	pid = rig_started(call);
	call_free(call);
	while (access(done, F_OK) < 0)
		client_step(rig->client, 10);
	call = rig_attach(rig, pid, 0);
	call_signal(call, SIGKILL);
	run = rig_finish(call);
	assert_int_equal(run.lost + run.out_len, 800000);
	assert_in_range(run.out_len, 16384, 16384 + 2 * 65536);
	run_free(&run);
	set_limits(rig, 0, 0);
	free(command);
	free(done);
}

static AGENT(NextExitsResponse) * next_exits(struct rig *rig, uint64_t acked)
{
	AGENT(NextExitsRequest) rq = AGENT_INIT(NEXT_EXITS_REQUEST);
	struct grpc_status st;

	rq.acked = acked;
	return client_ask(rig->client, "NextExits", &rq.base,
			  &sandbox__agent__v1__next_exits_response__descriptor,
			  &st);
}

/* The end of this process, asking from *@acked on. */
static uint32_t exit_of(struct rig *rig, uint32_t pid, uint64_t *acked)
{
	for (;;) {
		AGENT(NextExitsResponse) *r = next_exits(rig, *acked);
		uint32_t code = UINT32_MAX;

		assert_non_null(r);
		for (size_t i = 0; i < r->n_exits; i++) {
			assert_true(r->exits[i]->sequence > *acked);
			*acked = r->exits[i]->sequence;
			if (r->exits[i]->pid != pid)
				continue;
			code = r->exits[i]->exited->exit_code;
			assert_int_equal(r->exits[i]->program.len, 2);
			assert_memory_equal(r->exits[i]->program.data, "sh", 2);
			break;
		}
		sandbox__agent__v1__next_exits_response__free_unpacked(r, NULL);
		if (code != UINT32_MAX)
			return code;
	}
}

static void ends_are_told_until_they_are_taken(void **state)
{
	struct rig *rig = *state;
	uint64_t acked = 0, again;
	struct call *call;
	uint32_t pid;

	/* One whose client is gone. */
	call = rig_exec_command(rig, "sleep 0.1; exit 7");
	pid = rig_started(call);
	call_free(call);
	exit_of(rig, pid, &acked);
	again = 0;
	exit_of(rig, pid, &again); /* nobody has acknowledged it */
	assert_int_equal(again, acked);

	/* One that ends while a call waits for that. */
	call = rig_exec_command(rig, "sleep 0.3; exit 9");
	pid = rig_started(call);
	assert_int_equal(exit_of(rig, pid, &acked), 9);
	call_free(call);
}

static void a_newer_wait_for_ends_takes_the_place_of_an_older(void **state)
{
	AGENT(NextExitsRequest) rq = AGENT_INIT(NEXT_EXITS_REQUEST);
	struct rig *rig = *state;
	struct call *older, *newer;
	struct run run;

	for (;;) { /* take all there are */
		AGENT(NextExitsResponse) * r;

		run = rig_finish(rig_exec_command(rig, "true"));
		run_free(&run);
		r = next_exits(rig, rq.acked);
		assert_non_null(r);
		rq.acked = r->exits[r->n_exits - 1]->sequence;
		if (r->n_exits == 1) {
			sandbox__agent__v1__next_exits_response__free_unpacked(
				r, NULL);
			break;
		}
		sandbox__agent__v1__next_exits_response__free_unpacked(r, NULL);
	}
	older = call_start(rig->client, "NextExits");
	call_send(older, &rq.base);
	call_half_close(older);
	newer = call_start(rig->client, "NextExits");
	call_send(newer, &rq.base);
	call_half_close(newer);
	assert_int_equal(call_wait(older)->code, GRPC_CANCELLED);
	assert_false(call_is_over(newer));
	run = rig_finish(rig_exec_command(rig, "true"));
	run_free(&run);
	assert_int_equal(call_wait(newer)->code, GRPC_OK);
	call_free(older);
	call_free(newer);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_exit_code_come_back),
		cmocka_unit_test(argv_is_passed_as_it_is),
		cmocka_unit_test(a_missing_program_is_a_clear_error),
		cmocka_unit_test(bad_fields_are_named),
		cmocka_unit_test(env_cwd_and_user_are_set),
		cmocka_unit_test(without_stdin_it_is_empty),
		cmocka_unit_test(stdin_reaches_the_process_and_ends),
		cmocka_unit_test(the_end_of_requests_is_the_end_of_stdin),
		cmocka_unit_test(a_terminal_is_one_and_can_be_resized),
		cmocka_unit_test(a_terminal_gets_the_end_of_file),
		cmocka_unit_test(a_signal_reaches_the_process),
		cmocka_unit_test(a_timeout_kills_the_whole_group),
		cmocka_unit_test(a_child_left_behind_does_not_hang_the_call),
		cmocka_unit_test(
			what_a_child_left_behind_writes_does_not_kill_it),
		cmocka_unit_test(a_process_outlives_its_client),
		cmocka_unit_test(lost_output_is_told),
		cmocka_unit_test(attaching_to_nothing_is_refused),
		cmocka_unit_test(processes_are_listed_and_signalled_by_number),
		cmocka_unit_test(exec_without_start_is_refused),
		cmocka_unit_test(many_run_at_once),
		cmocka_unit_test(at_the_limit_of_processes_the_next_is_refused),
		cmocka_unit_test(output_is_kept_up_to_the_limit),
		cmocka_unit_test(ends_are_told_until_they_are_taken),
		cmocka_unit_test(
			a_newer_wait_for_ends_takes_the_place_of_an_older),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: needs root to become other users\n");
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
