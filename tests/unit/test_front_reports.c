/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_reports.c - what front tells the engine by itself: ends of
 * processes, changes of files, counts
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/loop.h"
#include "engine/front_link.h"
#include "front/front.h"

#include <string.h>

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

/* How often the fake engine has heard of this. */
static unsigned int times(struct rig *rig, const char *text)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < rig->n_events && i < RIG_EVENTS_MAX; i++)
		n += !strncmp(rig->events[i], text, strlen(text));
	return n;
}

static void an_end_is_reported_when_its_client_is_gone(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->tells_exits = true;
	rig->way = AGENT_HANG;
	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	client_close(&cc);
	rig_until(rig, rig->front->n_calls == 0);
	assert_int_equal(times(rig, "exec.completed"), 0);
	rig_exit(rig, 1, 7, 9);
	rig_until(rig, times(rig, "exec.completed") == 1);
	assert_true(rig_has_event(rig, "exec.completed command=cat\\x0a pid=7 "
				       "exitCode=9 signal=0 durationMs=5 "
				       "timedOut=false"));
	rig_until(rig, rig->exits_call);
	assert_int_equal(rig->exits_acked, 1);
}

/* As after a restart of front: nobody configures it again. */
static void a_guest_that_is_attached_again_tells_its_ends(void **state)
{
	struct rig *rig = *state;

	rig->tells_exits = true;
	rig->configured = true;
	rig_attach(rig, "sb_1");
	assert_int_equal(rig->configures, 0);
	rig_until(rig, rig->exits_call);
	rig_exit(rig, 3, 7, 0);
	rig_until(rig, times(rig, "exec.completed") == 1);
}

/* However long it took until it could be told. */
static void a_guest_is_told_the_time_of_when_it_is_told(void **state)
{
	struct rig *rig = *state;
	int64_t began = loop_wall_ms(), ended;

	rig_attach(rig, "sb_1");
	ended = loop_wall_ms();
	assert_int_equal(rig->configures, 1);
	assert_true(rig->clock_ms >= began);
	/* Half of Hello's way there and back may be added. */
	assert_true(rig->clock_ms <= ended + (ended - began));
}

static void an_end_that_a_client_sees_is_reported_once(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig->tells_exits = true;
	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	client_exec(&cc, &c, "sb_1");
	rig_until(rig, c.started);
	rig_exit(rig, 1, 7, 3);
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	rig_settle(rig);
	assert_int_equal(times(rig, "exec.started"), 1);
	assert_int_equal(times(rig, "exec.completed"), 1);
	client_close(&cc);
}

static void a_guest_that_tells_an_end_twice_loses_its_link(void **state)
{
	struct rig *rig = *state;

	rig->tells_exits = true;
	rig_attach(rig, "sb_1");
	rig_until(rig, rig->exits_call);
	rig_exit(rig, 5, 7, 0);
	rig_until(rig, rig->exits_call);
	rig_exit(rig, 5, 7, 0);
	rig_until(rig, rig->lost == 1);
	assert_int_equal(times(rig, "exec.completed"), 1);
}

static void ends_that_nobody_began_come_out_of_an_allowance(void **state)
{
	struct rig *rig = *state;

	rig->tells_exits = true;
	rig_attach(rig, "sb_1");
	rig_until(rig, rig->exits_call);
	rig_exit(rig, 1, 7, 0);
	rig_until(rig, rig->exits_call);
	assert_int_equal(times(rig, "exec.completed"), 1);
	/* Used up: nothing more is reported, and the link lives on. */
	rig->front->strays = 0;
	rig->front->stray_ms = loop_now_ms();
	rig_exit(rig, 2, 7, 0);
	rig_until(rig, rig->exits_call);
	assert_int_equal(rig->exits_acked, 2);
	assert_int_equal(times(rig, "exec.completed"), 1);
	assert_int_equal(rig->lost, 0);
}

static void changes_of_files_are_reported(void **state)
{
	Sandbox__Node__V1__RemoveFileRequest rm =
		SANDBOX__NODE__V1__REMOVE_FILE_REQUEST__INIT;
	Sandbox__Node__V1__MakeDirectoryRequest mk =
		SANDBOX__NODE__V1__MAKE_DIRECTORY_REQUEST__INIT;
	Sandbox__Node__V1__MoveFileRequest mv =
		SANDBOX__NODE__V1__MOVE_FILE_REQUEST__INIT;
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "sb_1");
	client_connect(rig, &cc);
	rm.sandbox_id = mk.sandbox_id = mv.sandbox_id = (char *)"sb_1";
	rm.path = (ProtobufCBinaryData){ 2, (uint8_t *)(size_t) "/a" };
	mk.path = (ProtobufCBinaryData){ 2, (uint8_t *)(size_t) "/b" };
	mv.from_path = (ProtobufCBinaryData){ 2, (uint8_t *)(size_t) "/c" };
	mv.to_path = (ProtobufCBinaryData){ 2, (uint8_t *)(size_t) "/d" };
	client_unary(&cc, &c, "RemoveFile", &rm.base);
	client_unary(&cc, &c, "MakeDirectory", &mk.base);
	client_unary(&cc, &c, "MoveFile", &mv.base);
	rig_until(rig, rig_has_event(rig, "file.created path=/d"));
	assert_true(rig_has_event(rig, "file.removed path=/a"));
	assert_true(rig_has_event(rig, "file.created path=/b"));
	assert_true(rig_has_event(rig, "file.removed path=/c"));
	client_close(&cc);
}

struct counted {
	bool told;
	Sandbox__Ipc__V1__FrontCounts *m;
};

static void on_counts(const struct error *err, const uint8_t *data, size_t len,
		      void *arg)
{
	struct counted *c = arg;

	assert_null(err);
	c->m = sandbox__ipc__v1__front_counts__unpack(NULL, len, data);
	c->told = true;
}

static uint64_t count_of(const struct counted *c, const char *method,
			 const char *code)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->m->n_methods; i++) {
		const Sandbox__Ipc__V1__FrontCounts__Method *m =
			c->m->methods[i];

		if (strcmp(m->method, method) || strcmp(m->code, code))
			continue;
		for (size_t b = 0; b < m->n_buckets; b++)
			n += m->buckets[b];
	}
	return n;
}

static void calls_are_counted_by_method_and_code(void **state)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	struct rig *rig = *state;
	struct counted counted = { 0 };
	struct client_call c, hangs;
	struct client_conn cc;

	rig_attach(rig, "sb_1");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	client_unary(&cc, &c, "GetNode", &m.base);
	client_unary(&cc, &c, "GetNode", &m.base);
	err_set(&rig->call_err, ERR_NOT_FOUND, "no");
	client_unary(&cc, &c, "GetNode", &m.base);
	client_unary(&cc, &c, "Nonsense", &m.base);
	client_exec(&cc, &hangs, "sb_1");
	rig_until(rig, hangs.started);
	front_link_count(rig->engine, on_counts, &counted);
	rig_until(rig, counted.told);
	assert_int_equal(count_of(&counted, "GetNode", "OK"), 2);
	assert_int_equal(count_of(&counted, "GetNode", "NOT_FOUND"), 1);
	assert_int_equal(count_of(&counted, "unknown", "UNIMPLEMENTED"), 1);
	assert_int_equal(count_of(&counted, "Exec", "OK"), 0);
	assert_int_equal(counted.m->calls, 1);
	assert_int_equal(counted.m->connections, 1);
	assert_int_equal(counted.m->agents, 1);
	sandbox__ipc__v1__front_counts__free_unpacked(counted.m, NULL);

	/* One that its client leaves is counted too. */
	client_close(&cc);
	counted.told = false;
	rig_until(rig, rig->front->n_calls == 0);
	front_link_count(rig->engine, on_counts, &counted);
	rig_until(rig, counted.told);
	assert_int_equal(count_of(&counted, "Exec", "OK"), 0);
	assert_int_equal(count_of(&counted, "Exec", "CANCELLED") +
				 count_of(&counted, "Exec", "UNAVAILABLE"),
			 1);
	sandbox__ipc__v1__front_counts__free_unpacked(counted.m, NULL);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_end_is_reported_when_its_client_is_gone),
		T(a_guest_that_is_attached_again_tells_its_ends),
		T(a_guest_is_told_the_time_of_when_it_is_told),
		T(an_end_that_a_client_sees_is_reported_once),
		T(a_guest_that_tells_an_end_twice_loses_its_link),
		T(ends_that_nobody_began_come_out_of_an_allowance),
		T(changes_of_files_are_reported),
		T(calls_are_counted_by_method_and_code),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
