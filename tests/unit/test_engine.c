/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - the life cycle, with every outside call failing once */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "engine_rig.h"

#include <stdlib.h>
#include <string.h>

static void a_sandbox_lives_and_ends(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_true(fake_front_has("a"));
	assert_nothing_but(1, 0);
	assert_true(rig_pause("a"));
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	assert_nothing_but(0, 1);
	assert_true(rig_resume("a"));
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(sandbox_find(&rig.e->sandboxes, "a")->row.generation,
			 2);
	assert_nothing_but(1, 1);
	assert_true(rig_terminate("a"));
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
	assert_true(rig_terminate("a"));
	assert_false(rig_pause("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_STATE");
}

/* The ids of a page, in its order, without spaces between; and its total. */
static uint32_t page(uint32_t state, uint32_t offset, uint32_t limit,
		     const char *image, char ret[64])
{
	NODE(ListSandboxes, LIST_SANDBOXES);
	Sandbox__Node__V1__ListSandboxesResponse *r;
	uint32_t total;

	m.state = (Sandbox__Node__V1__SandboxState)state;
	m.offset = offset;
	m.limit = limit;
	m.image = (char *)(uintptr_t)image;
	assert_true(rig_call("ListSandboxes", &m.base));
	r = sandbox__node__v1__list_sandboxes_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	ret[0] = '\0';
	for (size_t i = 0; i < r->n_sandboxes; i++)
		strcat(ret, r->sandboxes[i]->id);
	total = r->pagination->total;
	assert_int_equal(r->pagination->has_more,
			 offset + r->n_sandboxes < total);
	pb_free(r);
	return total;
}

static void pages_are_of_those_that_have_not_ended_newest_first(void **state)
{
	char ids[64];

	(void)state;
	for (const char *id = "abcde"; *id; id++)
		assert_true(rig_create_once((char[]){ *id, '\0' }, ""));
	assert_true(rig_terminate("b"));
	assert_true(rig_terminate("e"));
	assert_true(rig_pause("c"));
	assert_int_equal(page(0, 0, 0, "", ids), 3);
	assert_string_equal(ids, "dca");
	assert_int_equal(page(0, 1, 1, "", ids), 3);
	assert_string_equal(ids, "c");
	assert_int_equal(page(0, 7, 2, "", ids), 3);
	assert_string_equal(ids, "");
	assert_int_equal(page(SBX_RUNNING, 0, 0, "", ids), 2);
	assert_string_equal(ids, "da");
	assert_int_equal(page(SBX_PAUSED, 0, 0, "debian:12", ids), 1);
	assert_string_equal(ids, "c");
	assert_int_equal(page(SBX_TERMINATED, 0, 1, "", ids), 2);
	assert_string_equal(ids, "e");
	assert_int_equal(page(0, 1, 9, "debian:12", ids), 3);
	assert_string_equal(ids, "ca");
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(page(0, 0, 0, "", ids), 3);
	assert_string_equal(ids, "dca");
}

static void a_rule_that_opens_nothing_here_is_refused_by_its_field(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__EgressPolicy egress =
		SANDBOX__NODE__V1__EGRESS_POLICY__INIT;
	Sandbox__Node__V1__EgressRule rule =
		SANDBOX__NODE__V1__EGRESS_RULE__INIT;
	Sandbox__Node__V1__EgressRule *rules[] = { &rule };

	(void)state;
	rule.target = (char *)(uintptr_t) "10.1.2.0/24";
	egress.n_allow = 1;
	egress.allow = rules;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.egress = &egress;
	assert_false(rig_call("CreateSandbox", &m.base));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_CONFIG");
	assert_string_equal(world.answer_err.field, "egress.allow[0].target");
	assert_nothing_but(0, 0);
}

static void a_create_that_fails_anywhere_leaves_nothing(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n < 100; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (rig_create("a") && world.calls < n)
			break;
		world.fail_at = 0;
		rig_settle();
		if (rig_state("a") == SBX_RUNNING) { /* a template's failure */
			/* Its id would be taken for a day. */
			rig_teardown(NULL);
			rig_setup(NULL);
			continue;
		}
		assert_int_equal(rig_state("a"), SBX_NONE);
		assert_nothing_but(0, 0);
	}
	assert_in_range(n, 6, 99);
}

static void a_pause_that_fails_leaves_it_running(void **state)
{
	unsigned int n, failed = 0;

	(void)state;
	assert_true(rig_create("a"));
	for (n = 1; n < 50; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (rig_pause("a"))
			break;
		world.fail_at = 0;
		failed++;
		rig_settle();
		assert_int_equal(rig_state("a"), SBX_RUNNING);
		assert_true(fake_front_has("a"));
		assert_nothing_but(1, 0);
	}
	assert_in_range(failed, 2, 10);
	assert_int_equal(rig_state("a"), SBX_PAUSED);
}

static void a_resume_that_fails_can_be_repeated(void **state)
{
	unsigned int n, failed = 0;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	for (n = 1; n < 50; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (rig_resume("a"))
			break;
		world.fail_at = 0;
		failed++;
		rig_settle();
		assert_int_equal(rig_state("a"), SBX_PAUSED);
		assert_nothing_but(0, 1);
	}
	assert_in_range(failed, 4, 10);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
}

static void pauses_at_once_are_one_pause(void **state)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);
	unsigned int before;

	(void)state;
	assert_true(rig_create("a"));
	m.sandbox_id = (char *)(uintptr_t) "a";
	before = world.answers;
	rig_ask("PauseSandbox", &m.base);
	rig_ask("PauseSandbox", &m.base);
	assert_true(rig_call("PauseSandbox", &m.base));
	assert_int_equal(world.answers - before, 3);
	assert_nothing_but(0, 1);
}

static void a_request_that_was_seen_is_answered_again(void **state)
{
	uint8_t *first;
	size_t len;

	(void)state;
	assert_true(rig_create_once("", "r1"));
	len = world.answer_len;
	first = xmemdup(world.answer, len);
	assert_true(rig_create_once("", "r1"));
	assert_int_equal(world.answer_len, len);
	assert_memory_equal(world.answer, first, len);
	assert_int_equal(fake_hv_count(), 1);
	/* Also after a restart; and not for another content. */
	rig_stop();
	rig_start();
	rig_settle();
	assert_true(rig_create_once("", "r1"));
	assert_memory_equal(world.answer, first, len);
	assert_false(rig_create_once("other", "r1"));
	assert_string_equal(world.answer_err.field, "request_id");
	free(first);
}

static void a_request_under_way_is_joined(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	unsigned int before = world.answers;

	(void)state;
	m.request_id = (char *)(uintptr_t) "r";
	m.image = (char *)(uintptr_t) "debian:12";
	rig_ask("CreateSandbox", &m.base);
	rig_ask("CreateSandbox", &m.base);
	assert_true(rig_call("CreateSandbox", &m.base));
	assert_int_equal(world.answers - before, 3);
	assert_int_equal(fake_hv_count(), 1);
}

static void a_failed_request_may_be_tried_again(void **state)
{
	(void)state;
	world.fail_op = "start";
	assert_false(rig_create_once("a", "r"));
	world.fail_op = NULL;
	assert_true(rig_create_once("a", "r"));
}

static void terminate_ends_what_is_on_its_way(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	rig_ask("CreateSandbox", &m.base);
	assert_int_equal(rig_state("a"), SBX_CREATING);
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
}

static void terminate_says_what_holds_it_and_goes_on(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	world.destroy_fails = true;
	assert_true(rig_terminate("a"));
	assert_int_equal(rig_state("a"), SBX_TERMINATING);
	assert_non_null(strstr(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			       "kernel"));
	world.destroy_fails = false;
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
}

static void calls_wake_what_sleeps_once(void **state)
{
	unsigned int before;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	before = world.answers;
	world.configures = 0;
	for (uint64_t i = 0; i < 20; i++)
		world.front_ops->acquire(1000 + i, "a", "uid:0", rig.e);
	while (world.answers - before < 20)
		rig_tick();
	assert_true(world.answer_ok);
	assert_int_equal(world.configures, 1);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
}

static bool fork_three_of(const char *id)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	m.sandbox_id = (char *)(uintptr_t)id;
	m.count = 3;
	return rig_call("ForkSandbox", &m.base);
}

static void forks_are_sandboxes_of_their_own(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(fork_three_of("a"));
	rig_settle();
	assert_nothing_but(4, 0);
}

static void a_fork_that_fails_takes_all_back(void **state)
{
	/* The second before the call that starts it has returned. */
	static const char *const failing[] = { "Thaw", "net_attach" };

	(void)state;
	assert_true(rig_create("a"));
	for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++) {
		world.fail_op = failing[i];
		assert_false(fork_three_of("a"));
		world.fail_op = NULL;
		rig_settle();
		assert_nothing_but(1, 0);
	}
}

static void a_restore_replaces_the_guest(void **state)
{
	NODE(RestoreSandbox, RESTORE_SANDBOX);
	Sandbox__Node__V1__CreateSnapshotRequest s =
		SANDBOX__NODE__V1__CREATE_SNAPSHOT_REQUEST__INIT;

	(void)state;
	assert_true(rig_create("a"));
	s.sandbox_id = m.sandbox_id = (char *)(uintptr_t) "a";
	s.name = m.snapshot_id = (char *)(uintptr_t) "s1";
	assert_true(rig_call("CreateSnapshot", &s.base));
	assert_false(rig_call("CreateSnapshot", &s.base));
	assert_int_equal(world.answer_err.code, ERR_EXISTS);
	assert_true(rig_call("RestoreSandbox", &m.base));
	rig_settle();
	assert_nothing_but(1, 1);
	world.fail_op = "start";
	assert_false(rig_call("RestoreSandbox", &m.base));
	world.fail_op = NULL;
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	while (!fake_front_has("a"))
		rig_tick();
	assert_nothing_but(1, 1);
}

static void ports_stay_through_pause_and_restart(void **state)
{
	NODE(ExposePort, EXPOSE_PORT);
	Sandbox__Node__V1__ListPortsRequest l =
		SANDBOX__NODE__V1__LIST_PORTS_REQUEST__INIT;

	(void)state;
	assert_true(rig_create("a"));
	l.sandbox_id = m.sandbox_id = (char *)(uintptr_t) "a";
	m.port = 80;
	assert_true(rig_call("ExposePort", &m.base));
	assert_true(rig_pause("a"));
	rig_stop();
	world.listening = 0;
	rig_start();
	rig_settle();
	for (int i = 0; i < 10 && !world.listening; i++)
		rig_tick();
	assert_int_equal(world.listening, 1);
	assert_true(rig_call("ListPorts", &l.base));
	assert_true(world.answer_len > 0);
	assert_true(rig_terminate("a"));
	assert_int_equal(world.listening, 0);
}

static void admission_has_limits(void **state)
{
	(void)state;
	rig_stop();
	strcpy(rig.settings, "[limits]\nsandboxes_max = 1\n"
			     "[pool]\nmin = 0\n[quota.t]\nvcpus_max = 1\n");
	rig_start();
	assert_true(rig_create("a"));
	assert_false(rig_create("b"));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_int_equal(rig_state("b"), SBX_NONE);
	assert_true(rig_terminate("a"));
	assert_true(rig_create("b"));
}

/* ---- drain ---- */

static void drain(bool undo, uint32_t deadline_ms, uint32_t want_paused,
		  uint32_t want_running)
{
	Sandbox__Node__V1__DrainNodeRequest m =
		SANDBOX__NODE__V1__DRAIN_NODE_REQUEST__INIT;
	Sandbox__Node__V1__DrainNodeResponse *r;

	m.undo = undo;
	m.pause_all = !undo;
	m.deadline_ms = deadline_ms;
	assert_true(rig_call("DrainNode", &m.base));
	r = sandbox__node__v1__drain_node_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	assert_int_equal(r->paused, want_paused);
	assert_int_equal(r->running, want_running);
	sandbox__node__v1__drain_node_response__free_unpacked(r, NULL);
}

static void a_drained_node_has_paused_all_and_admits_none(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	drain(false, 20000, 2, 0);
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	assert_int_equal(rig_state("b"), SBX_PAUSED);
	assert_false(rig_create("c"));
	/* It is remembered. */
	rig_stop();
	rig_start();
	rig_settle();
	assert_false(rig_create("c"));
	drain(true, 0, 2, 0);
	assert_true(rig_create("c"));
}

static void a_drain_that_cannot_pause_is_answered_at_its_deadline(void **state)
{
	uint64_t began;

	(void)state;
	assert_true(rig_create("a"));
	world.fail_op = "save";
	began = loop_now_ms();
	drain(false, 500, 0, 1);
	assert_in_range(loop_now_ms() - began, 500, 5000);
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	world.fail_op = NULL;
	assert_true(rig_pause("a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_drained_node_has_paused_all_and_admits_none),
		T(a_drain_that_cannot_pause_is_answered_at_its_deadline),
		T(a_sandbox_lives_and_ends),
		T(pages_are_of_those_that_have_not_ended_newest_first),
		T(a_rule_that_opens_nothing_here_is_refused_by_its_field),
		T(a_create_that_fails_anywhere_leaves_nothing),
		T(a_pause_that_fails_leaves_it_running),
		T(a_resume_that_fails_can_be_repeated),
		T(pauses_at_once_are_one_pause),
		T(a_request_that_was_seen_is_answered_again),
		T(a_request_under_way_is_joined),
		T(a_failed_request_may_be_tried_again),
		T(terminate_ends_what_is_on_its_way),
		T(terminate_says_what_holds_it_and_goes_on),
		T(calls_wake_what_sleeps_once),
		T(forks_are_sandboxes_of_their_own),
		T(a_fork_that_fails_takes_all_back),
		T(a_restore_replaces_the_guest),
		T(ports_stay_through_pause_and_restart),
		T(admission_has_limits),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
