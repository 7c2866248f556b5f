/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_state.c - agents that hang or lie: what the sandbox and its events
 * tell, and what can still be done
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/agent.h"
#include "engine/pb.h"
#include "engine_rig.h"

#include <string.h>

static struct sandbox *sb_of(const char *id)
{
	return sandbox_find(&rig.e->sandboxes, id);
}

static int setup(void **state)
{
	int rc = rig_setup(state);

	if (rc == 0)
		rig.e->agent_steady_ms = 300;
	return rc;
}

/* What front tells. */
static void hush(const char *id, bool silent)
{
	world.front_ops->agent_silent(id, sb_of(id)->row.generation, silent,
				      world.front_arg);
}

static void lose(const char *id, bool broken)
{
	world.front_ops->link_lost(id, sb_of(id)->row.generation,
				   broken ? "the agent broke the protocol: x" :
					    "the link to the guest ended",
				   broken, world.front_arg);
}

static unsigned int n_events;

static bool count(const struct store_event *event, void *arg)
{
	n_events += !strcmp(event->type, arg);
	return true;
}

static unsigned int events(const char *type)
{
	n_events = 0;
	store_events(rig.e->store, 0, "", 100000, count, (void *)(size_t)type,
		     NULL);
	return n_events;
}

/* What a client is told. */
static int agent_of(const char *id, const char *problem)
{
	Sandbox__Node__V1__GetSandboxResponse *m;
	int agent;

	assert_true(rig_do("GetSandbox", id));
	m = sandbox__node__v1__get_sandbox_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(m);
	agent = (int)m->sandbox->agent;
	assert_string_equal(m->sandbox->agent_problem, problem);
	pb_free(m);
	return agent;
}

static void create(const char *id)
{
	assert_true(rig_create(id));
	assert_int_equal(agent_of(id, ""), AGENT_WELL);
}

static void a_hung_agent_shows_at_once_and_as_one_event(void **state)
{
	(void)state;
	create("a");
	create("b");
	hush("a", true);
	assert_int_equal(agent_of("a", "the agent does not answer"),
			 AGENT_SILENT);
	assert_int_equal(agent_of("b", ""), AGENT_WELL);
	assert_non_null(strstr(rig_event("sandbox.error"), "AGENT_SILENT"));
	assert_non_null(strstr(rig_event("sandbox.error"),
			       "the agent does not answer"));
	/* The link is given up, and there is no other. */
	world.fail_op = "attach";
	lose("a", false);
	rig_until(sb_of("a")->agent.failures > 5);
	assert_int_equal(events("sandbox.error"), 1);
	assert_int_equal(agent_of("a", "the agent does not answer"),
			 AGENT_SILENT);
	world.fail_op = NULL;
	rig_until(sb_of("a")->attached);
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
	assert_int_equal(events("sandbox.recovered"), 1);
	assert_non_null(strstr(rig_event("sandbox.recovered"), "durationMs="));
}

static void an_agent_that_answers_again_is_told_to_be_well(void **state)
{
	(void)state;
	create("a");
	hush("a", true);
	hush("a", false);
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
	assert_int_equal(events("sandbox.recovered"), 1);
	assert_true(sb_of("a")->attached);
}

static void one_that_hangs_now_and_then_does_not_fill_the_log(void **state)
{
	(void)state;
	create("a");
	for (int i = 0; i < 100; i++) {
		hush("a", true);
		assert_int_equal(agent_of("a", "the agent does not answer"),
				 AGENT_SILENT);
		hush("a", false);
	}
	assert_int_equal(events("sandbox.error"), 1);
	assert_int_equal(events("sandbox.recovered"), 1);
	/* One that stays is told all the same, when its link is given up. */
	hush("a", true);
	world.fail_op = "attach";
	lose("a", false);
	rig_until(events("sandbox.error") == 2);
	world.fail_op = NULL;
}

static void an_agent_that_cannot_be_reached_is_told(void **state)
{
	(void)state;
	create("a");
	world.fail_op = "attach";
	lose("a", false);
	rig_until(events("sandbox.error") == 1);
	assert_int_equal(agent_of("a", "the agent does not answer"),
			 AGENT_SILENT);
	world.fail_op = NULL;
	rig_until(events("sandbox.recovered") == 1);
}

static void a_lying_agent_shows_until_it_was_well_for_a_while(void **state)
{
	uint64_t begin;

	(void)state;
	create("a");
	create("b");
	lose("a", true);
	assert_int_equal(agent_of("a", "the agent broke the protocol: x"),
			 AGENT_BROKEN);
	assert_non_null(strstr(rig_event("sandbox.error"),
			       "code=AGENT_BROKEN message=the agent broke the "
			       "protocol: x"));
	rig_until(sb_of("a")->attached);
	begin = loop_now_ms();
	assert_int_equal(agent_of("a", "the agent broke the protocol: x"),
			 AGENT_BROKEN);
	assert_int_equal(agent_of("b", ""), AGENT_WELL);
	rig_until(agent_state_of(sb_of("a")) == AGENT_WELL);
	assert_true(loop_now_ms() - begin >= 290);
	assert_int_equal(events("sandbox.recovered"), 1);
}

/* One that lies whenever it is attached must not keep the node busy. */
static void links_that_do_not_last_are_made_less_and_less_often(void **state)
{
	uint64_t begin = loop_now_ms();

	(void)state;
	create("a");
	rig.e->agent_steady_ms = 60000;
	for (int i = 0; i < 5; i++) {
		rig_until(sb_of("a")->attached);
		lose("a", i == 0);
		assert_false(sb_of("a")->attached);
	}
	rig_until(sb_of("a")->attached);
	/* 100 + 200 + 400 + 800 + 1,600 ms */
	assert_true(loop_now_ms() - begin >= 3000);
	assert_int_equal(events("sandbox.error"), 1);
	assert_int_equal(events("sandbox.recovered"), 0);
}

static void a_link_that_ends_again_and_again_is_told(void **state)
{
	(void)state;
	create("a");
	rig.e->agent_steady_ms = 60000;
	for (int i = 0; i < 3; i++) {
		rig_until(sb_of("a")->attached);
		lose("a", false);
	}
	assert_int_equal(agent_of("a", "the agent's link ends again and again"),
			 AGENT_BROKEN);
	assert_int_equal(events("sandbox.error"), 1);
}

static void a_link_that_lasted_is_made_anew_at_once_and_untold(void **state)
{
	(void)state;
	create("a");
	for (int i = 0; i < 4; i++) {
		rig_until(sb_of("a")->attached);
		sb_of("a")->agent.linked_ms -= 1000;
		lose("a", false);
	}
	rig_until(sb_of("a")->attached);
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
	assert_int_equal(events("sandbox.error"), 0);
}

static void a_new_front_is_no_fault_of_the_agents(void **state)
{
	(void)state;
	create("a");
	world.front_ops->down("test", world.front_arg);
	assert_int_equal(agent_of("a", ""), AGENT_CONNECTING);
	world.front_ops->up(world.front_arg);
	rig_until(sb_of("a")->attached);
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
	assert_int_equal(events("sandbox.error"), 0);
}

static void whatever_the_agent_does_terminate_works(void **state)
{
	(void)state;
	create("a");
	create("b");
	create("c");
	hush("a", true);
	lose("b", true);
	world.fail_op = "attach";
	lose("c", false);
	rig_until(agent_state_of(sb_of("c")) == AGENT_SILENT);
	assert_true(rig_terminate("a"));
	assert_true(rig_terminate("b"));
	assert_true(rig_terminate("c"));
	world.fail_op = NULL;
	assert_int_equal(agent_of("a", ""), AGENT_NONE);
	rig_settle();
	assert_nothing_but(0, 0);
}

static void a_pause_that_the_agent_does_not_answer_is_undone(void **state)
{
	(void)state;
	create("a");
	hush("a", true);
	world.fail_op = "Freeze";
	assert_false(rig_do("PauseSandbox", "a"));
	world.fail_op = NULL;
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(agent_of("a", "the agent does not answer"),
			 AGENT_SILENT);
	hush("a", false);
	assert_true(rig_do("PauseSandbox", "a"));
	assert_int_equal(agent_of("a", ""), AGENT_NONE);
}

static void one_that_lied_can_be_paused_and_begins_anew(void **state)
{
	(void)state;
	create("a");
	rig.e->agent_steady_ms = 60000;
	lose("a", true);
	rig_until(sb_of("a")->attached);
	assert_int_equal(agent_state_of(sb_of("a")), AGENT_BROKEN);
	assert_true(rig_do("PauseSandbox", "a"));
	assert_true(rig_do("ResumeSandbox", "a"));
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
}

static void silence_while_it_is_frozen_is_not_told(void **state)
{
	uint64_t id;
	NODE(PauseSandbox, PAUSE_SANDBOX);

	(void)state;
	create("a");
	m.sandbox_id = (char *)(size_t) "a";
	id = rig_ask("PauseSandbox", &m.base);
	assert_non_null(sb_of("a")->task);
	hush("a", true);
	rig_until(world.answered[id]);
	assert_int_equal(events("sandbox.error"), 0);
}

/* A front of before: what it tells is about another guest. */
static void words_about_an_older_guest_are_passed_over(void **state)
{
	(void)state;
	create("a");
	assert_true(rig_do("PauseSandbox", "a"));
	assert_true(rig_do("ResumeSandbox", "a"));
	world.front_ops->agent_silent("a", 1, true, world.front_arg);
	world.front_ops->link_lost("a", 1, "old", true, world.front_arg);
	world.front_ops->agent_silent("nobody", 1, true, world.front_arg);
	assert_int_equal(agent_of("a", ""), AGENT_WELL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hung_agent_shows_at_once_and_as_one_event),
		TEST(an_agent_that_answers_again_is_told_to_be_well),
		TEST(one_that_hangs_now_and_then_does_not_fill_the_log),
		TEST(an_agent_that_cannot_be_reached_is_told),
		TEST(a_lying_agent_shows_until_it_was_well_for_a_while),
		TEST(links_that_do_not_last_are_made_less_and_less_often),
		TEST(a_link_that_ends_again_and_again_is_told),
		TEST(a_link_that_lasted_is_made_anew_at_once_and_untold),
		TEST(a_new_front_is_no_fault_of_the_agents),
		TEST(whatever_the_agent_does_terminate_works),
		TEST(a_pause_that_the_agent_does_not_answer_is_undone),
		TEST(one_that_lied_can_be_paused_and_begins_anew),
		TEST(silence_while_it_is_frozen_is_not_told),
		TEST(words_about_an_older_guest_are_passed_over),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
