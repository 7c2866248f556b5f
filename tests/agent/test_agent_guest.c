/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_guest.c - the agent as PID 1 of a guest that was booted for it
 *
 * SANDBOX_GUEST_SOCKET names the unix socket of the guest's serial port; see
 * guest_boot.sh. One guest, so the tests build on each other, in this order.
 */
#include "rig.h"

#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NONCE	"the nonce of this guest"
#define WATCHES 25

static const char *path;

static int connect_guest(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	struct grpc_status st;

	rig->client = client_connect(path, true);
	assert_non_null(rig->client);
	if (!client_hello(rig->client, NONCE, &st))
		fail_msg("Hello: %s", st.message);
	*state = rig;
	return 0;
}

static int leave_guest(void **state)
{
	struct rig *rig = *state;

	client_close(rig->client);
	free(rig);
	return 0;
}

static AGENT(ConfigureResponse) *
	configure(struct rig *rig, uint64_t generation, struct grpc_status *st)
{
	AGENT(ConfigureRequest) rq = AGENT_INIT(CONFIGURE_REQUEST);
	AGENT(NetworkConfig) net = AGENT_INIT(NETWORK_CONFIG);
	Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	AGENT(ConfigureRequest__EnvEntry)
	env = AGENT_INIT(CONFIGURE_REQUEST__ENV_ENTRY);
	AGENT(ConfigureRequest__EnvEntry) * envs[] = { &env };
	char *dns[] = { (char *)"169.254.1.1" };

	rq.sandbox_id = (char *)"guest-test";
	rq.generation = generation;
	rq.hostname = (char *)"box7";
	net.address = (char *)"10.100.0.7";
	net.gateway = (char *)"169.254.1.1";
	net.gateway_mac = (char *)"02:00:00:00:00:01";
	net.mtu = 1400;
	net.dns_servers = dns;
	net.n_dns_servers = 1;
	rq.network = &net;
	env.key = (char *)"FROM_CONFIGURE";
	env.value = (char *)"yes";
	rq.env = envs;
	rq.n_env = 1;
	rq.workdir = (char *)"/srv/work/here";
	t.seconds = 1900000000;
	rq.time = &t;
	rq.entropy = BYTES("0123456789abcdef0123456789abcdef");
	rq.grow_root = true;
	rq.machine_id = (char *)"0123456789abcdef0123456789abcdef";
	rq.nonce = BYTES(NONCE);
	return client_ask(rig->client, "Configure", &rq.base,
			  &sandbox__agent__v1__configure_response__descriptor,
			  st);
}

static void expect_run(struct rig *rig, const char *command, const char *out)
{
	struct run run = rig_run(rig, command);

	if (run.status.code != GRPC_OK)
		fail_msg("%s: %s", command, run.status.message);
	if (strcmp(run.out, out) != 0)
		fail_msg("%s: '%s%s', not '%s'", command, run.out, run.err,
			 out);
	run_free(&run);
}

static void configure_gives_an_identity(void **state)
{
	struct grpc_status st;
	AGENT(ConfigureResponse) *r = configure(*state, 1, &st);

	if (!r)
		fail_msg("Configure: %s", st.message);
	for (size_t i = 0; i < r->n_warnings; i++)
		print_error("warning: %s\n", r->warnings[i]);
	assert_int_equal(r->n_warnings, 0);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	expect_run(*state, "hostname; cat /etc/hostname /etc/machine-id",
		   "box7\nbox7\n0123456789abcdef0123456789abcdef\n");
	expect_run(*state, "pwd; echo $FROM_CONFIGURE $HOME",
		   "/srv/work/here\nyes /root\n");
	expect_run(*state, "date -u +%Y", "2030\n");
	expect_run(*state,
		   "grep -c nameserver /etc/resolv.conf; "
		   "grep box7 /etc/hosts | cut -d' ' -f1",
		   "1\n10.100.0.7\n");
}

static void the_network_is_set(void **state)
{
	expect_run(*state, "ip -4 -o addr show eth0 | grep -o 'inet [^ ]*'",
		   "inet 10.100.0.7/32\n");
	expect_run(*state, "ip route | grep -o 'default via [^ ]* dev eth0'",
		   "default via 169.254.1.1 dev eth0\n");
	expect_run(*state, "ip neigh show dev eth0 | grep -o 'lladdr.*'",
		   "lladdr 02:00:00:00:00:01 PERMANENT \n");
	expect_run(*state,
		   "cat /sys/class/net/eth0/mtu; "
		   "ip -o link show lo | grep -c UP",
		   "1400\n1\n");
}

static void the_root_has_grown(void **state)
{
	expect_run(*state,
		   "test $(df -m / | awk 'NR==2{print $2}') -gt 900 "
		   "&& echo grown",
		   "grown\n");
}

static void it_is_a_proper_machine(void **state)
{
	expect_run(*state,
		   "cat /proc/1/comm; stat -fc %T /sys/fs/cgroup /run "
		   "/dev/shm /proc; test -c /dev/ptmx && echo ptmx; "
		   "cat /proc/self/oom_score_adj; echo x > /dev/null; "
		   "cat /dev/fd/0; ls -ld /tmp | cut -c1-10",
		   "init\ncgroup2fs\ntmpfs\ntmpfs\nproc\nptmx\n0\n"
		   "drwxrwxrwt\n");
	expect_run(*state, "cat /proc/self/cgroup | cut -d/ -f1-2",
		   "0::/user\n");
}

static void init_survives_what_root_sends(void **state)
{
	expect_run(*state,
		   "kill -TERM 1; kill -INT 1; kill -KILL 1; "
		   "kill -SEGV 1; kill -HUP 1; echo alive",
		   "alive\n");
}

static void a_kill_takes_the_whole_cgroup(void **state)
{
	struct call *call = rig_exec_command(
		*state, "setsid sleep 1234 & setsid sleep 1234 & echo ready; "
			"exec sleep 1234");
	struct run run;

	rig_wait_output(call, "ready");
	call_signal(call, SIGKILL);
	run = rig_finish(call);
	assert_int_equal(run.signal, SIGKILL);
	run_free(&run);
	expect_run(*state,
		   "while pgrep -x sleep >/dev/null; do :; done; "
		   "grep -l 'populated 1' "
		   "/sys/fs/cgroup/user/p*/cgroup.events | wc -l",
		   "1\n");
}

static void a_command_finds_its_cgroup_made(void **state)
{
	expect_run(*state,
		   "cd /sys/fs/cgroup/user; mine=$(cut -d/ -f3 /proc/self/cgroup);"
		   "next=p$((${mine#p} + 1)); until test -d $next; do :; done; "
		   "echo made",
		   "made\n");
}

static void cgroups_of_commands_long_ended_are_removed(void **state)
{
	for (int i = 0; i < 40; i++)
		expect_run(*state, "exec true", "");
	expect_run(*state,
		   "until test $(ls -d /sys/fs/cgroup/user/p* | wc -l) -le 40; "
		   "do :; done; echo few",
		   "few\n");
}

static void a_fork_bomb_is_survived(void **state)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	struct run run;

	spec.command = BYTES("f() { f | f & }; f; sleep 100");
	spec.timeout_ms = 2000;
	run = rig_finish(rig_exec(*state, &spec));
	assert_true(run.timed_out);
	run_free(&run);
	expect_run(*state, "echo fine", "fine\n");
}

static struct grpc_status freeze(struct rig *rig, uint32_t deadline_ms)
{
	AGENT(FreezeRequest) rq = AGENT_INIT(FREEZE_REQUEST);
	struct grpc_status st;
	void *r;

	rq.deadline_ms = deadline_ms;
	rq.freeze_processes = true;
	r = client_ask(rig->client, "Freeze", &rq.base,
		       &sandbox__agent__v1__freeze_response__descriptor, &st);
	if (r)
		protobuf_c_message_free_unpacked(r, NULL);
	return st;
}

static struct grpc_status thaw(struct rig *rig)
{
	AGENT(ThawRequest) rq = AGENT_INIT(THAW_REQUEST);
	struct grpc_status st;
	void *r =
		client_ask(rig->client, "Thaw", &rq.base,
			   &sandbox__agent__v1__thaw_response__descriptor, &st);

	if (r)
		protobuf_c_message_free_unpacked(r, NULL);
	return st;
}

static void freeze_holds_all_still_until_thaw(void **state)
{
	struct call *writer = rig_exec_command(
		*state, "while :; do date > /srv/clock; echo tick; done");
	struct grpc_status st;
	struct run run;

	rig_wait_output(writer, "tick");
	st = freeze(*state, 30000);
	if (st.code != GRPC_OK)
		fail_msg("Freeze: %s", st.message);
	run = rig_run(*state, "true");
	assert_int_equal(run.status.code, GRPC_FAILED_PRECONDITION);
	assert_string_equal(run.status.reason, "INVALID_STATE");
	run_free(&run);
	protobuf_c_message_free_unpacked(
		(ProtobufCMessage *)configure(*state, 2, &st), NULL);
	assert_int_equal(st.code, GRPC_OK);
	st = thaw(*state);
	if (st.code != GRPC_OK)
		fail_msg("Thaw: %s", st.message);
	rig_wait_output(writer, "tick");
	call_signal(writer, SIGKILL);
	run = rig_finish(writer);
	run_free(&run);
	expect_run(*state, "date > /srv/clock && echo written", "written\n");
}

static void without_a_thaw_it_thaws_itself(void **state)
{
	struct grpc_status st = freeze(*state, 500);
	struct run run;

	assert_int_equal(st.code, GRPC_OK);
	do {
		run = rig_run(*state, "date > /srv/clock && echo written");
		run_free(&run);
	} while (run.status.code == GRPC_FAILED_PRECONDITION);
	assert_int_equal(run.status.code, GRPC_OK);
}

static void a_new_connection_starts_afresh(void **state)
{
	struct rig *rig = *state;
	struct call *call = rig_exec_command(rig, "yes");
	uint32_t pid = rig_started(call);
	struct grpc_status st;
	struct run run;

	/* In the middle of everything. */
	client_close(rig->client);
	rig->client = client_connect(path, true);
	assert_true(client_hello(rig->client, NONCE, &st));
	call = rig_attach(rig, pid, 0);
	rig_started(call);
	call_signal(call, SIGKILL);
	run = rig_finish(call);
	run_free(&run);
}

static void another_nonce_is_refused(void **state)
{
	struct rig *rig = *state;
	struct grpc_status st;

	client_close(rig->client);
	rig->client = client_connect(path, true);
	assert_false(client_hello(rig->client, "0123456789abcdef", &st));
	assert_int_equal(st.code, GRPC_PERMISSION_DENIED);
	assert_true(client_hello(rig->client, NONCE, &st));
}

static void much_output_comes_whole(void **state)
{
	struct run run = rig_run(*state, "head -c 20000000 /dev/zero | "
					 "tr '\\0' x");

	assert_int_equal(run.out_len, 20000000);
	assert_int_equal(run.order_errors, 0);
	run_free(&run);
}

/* Each forks the agent, whose pages are then copied as it writes to them. More
 * and more watches move what it writes to across the pages.
 */
static void a_thousand_searches_all_end(void **state)
{
	NODE(WatchDirectoryRequest) rq = NODE_INIT(WATCH_DIRECTORY_REQUEST);
	struct run run = rig_run(*state, "mkdir -p /srv/s && "
					 "echo needle >/srv/s/f");
	struct call *watches[WATCHES];

	rq.path = BYTES("/srv/s");
	run_free(&run);
	for (unsigned int i = 0; i < WATCHES; i++) {
		watches[i] = call_start(((struct rig *)*state)->client,
					"WatchDirectory");
		call_send(watches[i], &rq.base);
		for (unsigned int j = 0; j < 10; j++)
			rig_search_at_once(*state, 4, "/srv/s", "ne+dle", 1);
	}
	for (unsigned int i = 0; i < WATCHES; i++)
		call_free(watches[i]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configure_gives_an_identity),
		cmocka_unit_test(the_network_is_set),
		cmocka_unit_test(the_root_has_grown),
		cmocka_unit_test(it_is_a_proper_machine),
		cmocka_unit_test(init_survives_what_root_sends),
		cmocka_unit_test(a_kill_takes_the_whole_cgroup),
		cmocka_unit_test(a_command_finds_its_cgroup_made),
		cmocka_unit_test(cgroups_of_commands_long_ended_are_removed),
		cmocka_unit_test(a_fork_bomb_is_survived),
		cmocka_unit_test(freeze_holds_all_still_until_thaw),
		cmocka_unit_test(without_a_thaw_it_thaws_itself),
		cmocka_unit_test(a_new_connection_starts_afresh),
		cmocka_unit_test(another_nonce_is_refused),
		cmocka_unit_test(much_output_comes_whole),
		cmocka_unit_test(a_thousand_searches_all_end),
	};

	path = getenv("SANDBOX_GUEST_SOCKET");
	if (!path) {
		fprintf(stderr, "skipped: SANDBOX_GUEST_SOCKET names no guest; "
				"see tests/agent/guest_boot.sh\n");
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, connect_guest, leave_guest);
}
