/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_process.c - sandboxd-front as a process: jailed, killed, replaced */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/loop.h"
#include "engine/front_link.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = rig_new_process();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

static void get_node(struct rig *rig)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct client_conn cc;
	struct client_call c;

	client_connect(rig, &cc);
	client_unary(&cc, &c, "GetNode", &m.base);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
}

static void every_kind_of_call_works_within_the_jail(void **state)
{
	Sandbox__Node__V1__ImportSnapshotRequest m =
		SANDBOX__NODE__V1__IMPORT_SNAPSHOT_REQUEST__INIT;
	struct rig *rig = *state;
	pid_t pid = front_link_pid(rig->engine);
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	client_stdin(&c, "hello", 5);
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	assert_int_equal(c.bytes, 5);
	rig->way = AGENT_FLOOD;
	rig->flood = 32 << 20;
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.done);
	assert_int_equal(c.bytes, 32 << 20);
	client_start(&cc, &c, "ImportSnapshot");
	m.data = (ProtobufCBinaryData){ 3, (uint8_t *)(size_t) "abc" };
	client_send(&c, &m.base);
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
	assert_int_equal(front_link_pid(rig->engine), pid);
}

static void killed_in_the_middle_of_an_exec_it_is_replaced(void **state)
{
	struct rig *rig = *state;
	pid_t pid = front_link_pid(rig->engine);
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	kill(pid, SIGKILL);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_UNAVAILABLE);
	rig_until(rig, rig->up && front_link_pid(rig->engine) != pid);
	rig_until(rig, cc.closed);
	rig_until(rig, !rig->agent_io);
	get_node(rig);
	rig->way = AGENT_ECHO;
	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
}

static void what_waits_for_it_is_answered_when_it_dies(void **state)
{
	struct rig *rig = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	/* An agent that never answers: a pipe is no socket to speak on. */
	rig_attach_fd(rig, "sb_1", fds[0], 60000);
	kill(front_link_pid(rig->engine), SIGKILL);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_UNAVAILABLE);
	close(fds[1]);
	rig_until(rig, rig->down);
	rig->answered = false;
	front_link_detach(rig->engine, "sb_1", "UNAVAILABLE", "x", rig_answer,
			  rig);
	assert_false(rig->answered);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_UNAVAILABLE);
}

/* The value of a line of /proc/PID/status. */
static void status_of(pid_t pid, const char *name, char *ret, size_t size)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *at;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	assert_int_equal(fd_read_file(AT_FDCWD, path, 65536, &text, &len), 0);
	at = strstr(text, name);
	assert_non_null(at);
	at += strlen(name);
	at += strspn(at, " \t");
	snprintf(ret, size, "%.*s", (int)strcspn(at, "\n"), at);
}

static void it_has_no_power_that_it_does_not_need(void **state)
{
	struct rig *rig = *state;
	pid_t pid = front_link_pid(rig->engine);
	char value[64];

	get_node(rig);
	status_of(pid, "CapEff:", value, sizeof(value));
	assert_string_equal(value, "0000000000000000");
	status_of(pid, "CapPrm:", value, sizeof(value));
	assert_string_equal(value, "0000000000000000");
	status_of(pid, "NoNewPrivs:", value, sizeof(value));
	assert_string_equal(value, "1");
	status_of(pid, "Seccomp:", value, sizeof(value));
	assert_string_equal(value, "2");
	status_of(pid, "Groups:", value, sizeof(value));
	if (getuid() == 0)
		assert_string_equal(value, "");
}

static void it_holds_no_descriptor_of_the_engines(void **state)
{
	struct rig *rig = *state;
	struct dirent *e;
	char path[64];
	int n = 0;
	DIR *dir;

	get_node(rig);
	snprintf(path, sizeof(path), "/proc/%d/fd",
		 front_link_pid(rig->engine));
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	/* stdio, IPC, epoll, eventfd, two timers, the listener; a client that
	 * is just going.
	 */
	assert_in_range(n, 6, 11);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_kind_of_call_works_within_the_jail),
		T(killed_in_the_middle_of_an_exec_it_is_replaced),
		T(what_waits_for_it_is_answered_when_it_dies),
		T(it_has_no_power_that_it_does_not_need),
		T(it_holds_no_descriptor_of_the_engines),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
