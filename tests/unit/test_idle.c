/* SPDX-License-Identifier: Apache-2.0 */
/* test_idle.c - what is paused, ended and forgotten as time goes by */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine_rig.h"

#include <string.h>

static void what_idles_is_paused_unless_it_is_in_use(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	struct sandbox *sb;

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.idle_timeout_ms = 1000;
	assert_true(rig_call("CreateSandbox", &m.base));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	world.front_ops->acquire(77, "a", "uid:0", rig.e);
	assert_int_equal(world.answer_id, 77);
	/* As if long ago: only the lease keeps it. */
	sb->row.busy_boot_ms -= 5000;
	for (int i = 0; i < 50; i++)
		rig_tick();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	world.front_ops->release(1, rig.e);
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
}

/* One that pauses after a second, and what its witnesses say of it. */
static struct sandbox *create_idler(bool host_busy, int user_cpu)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	world.cpu_busy = host_busy;
	world.user_cpu = user_cpu;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.idle_timeout_ms = 1000;
	assert_true(rig_call("CreateSandbox", &m.base));
	return sandbox_find(&rig.e->sandboxes, "a");
}

static void tick_for(uint64_t ms)
{
	uint64_t end = loop_now_ms() + ms;

	while (loop_now_ms() < end)
		rig_tick();
}

static void a_build_in_the_background_is_not_idle(void **state)
{
	(void)state;
	create_idler(true, 2);
	tick_for(2500);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	world.cpu_busy = false;
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
}

static void an_agent_that_lies_about_work_keeps_nothing_awake(void **state)
{
	(void)state;
	create_idler(false, 2);
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
}

static void the_hosts_own_work_for_a_guest_is_no_use_of_it(void **state)
{
	(void)state;
	create_idler(true, 1);
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
}

static void an_agent_that_says_nothing_leaves_it_to_the_host(void **state)
{
	(void)state;
	create_idler(true, 0);
	tick_for(2500);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
}

static void network_bytes_are_use(void **state)
{
	uint64_t end;

	(void)state;
	create_idler(false, 1);
	for (end = loop_now_ms() + 2500; loop_now_ms() < end;) {
		world.net_bytes++;
		rig_tick();
	}
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
}

static void on_closed(void *arg)
{
	(void)arg;
	engine_halt(rig.e);
}

static void restarts_do_not_put_off_the_idle_pause(void **state)
{
	struct sandbox *sb;
	uint64_t busy;

	(void)state;
	assert_true(rig_create("a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.busy_boot_ms = busy = loop_boot_ms();
	engine_close(rig.e, on_closed, NULL);
	rig_stop();
	rig_start();
	rig_settle();
	while (!fake_front_has("a"))
		rig_tick();
	sb = sandbox_find(&rig.e->sandboxes, "a");
	assert_int_equal(sb->row.busy_boot_ms, busy);
}

/* The wall clock is a day off while the host runs. */
static void a_clock_that_jumps_changes_no_age_and_no_cost(void **state)
{
	struct sandbox *sb;
	const int64_t day = 24 * 3600 * 1000ll;

	(void)state;
	assert_true(rig_create("a"));
	for (int64_t jump = -day; jump <= day; jump += 2 * day) {
		sb = sandbox_find(&rig.e->sandboxes, "a");
		sb->row.created_ms += jump;
		sb->row.run_ms += jump;
		store_begin(rig.e->store);
		store_sandbox_put(rig.e->store, &sb->row);
		assert_int_equal(store_commit(rig.e->store, NULL), 0);
		rig_stop();
		rig_start();
		rig_settle();
		sb = sandbox_find(&rig.e->sandboxes, "a");
		assert_int_equal(sb->row.state, SBX_RUNNING);
		assert_true(sandbox_age_ms(sb) < 60000);
		assert_true(sandbox_runtime_ms(sb) < 60000);
	}
}

/* Then only the wall clock is left, and it must not make anything negative. */
static void after_a_reboot_the_wall_clock_tells_the_age(void **state)
{
	struct sandbox *sb;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	strcpy(rig.e->boot_id, "another");
	sb->row.created_ms = loop_wall_ms() - 5000;
	assert_in_range(sandbox_age_ms(sb), 5000, 6000);
	sb->row.created_ms = loop_wall_ms() + 3600000;
	assert_int_equal(sandbox_age_ms(sb), 0);
}

static void life_ends_at_its_timeout(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.timeout_ms = 1000;
	assert_true(rig_call("CreateSandbox", &m.base));
	while (rig_state("a") != SBX_TERMINATED)
		rig_tick();
	rig_settle();
	assert_string_equal(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			    "TIMEOUT");
}

static void only_so_many_that_ended_are_remembered(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	assert_true(rig_create("c"));
	assert_true(rig_terminate("b"));
	assert_true(rig_terminate("a"));
	engine_forget_terminated(rig.e, 2);
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	engine_forget_terminated(rig.e, 1);
	assert_int_equal(rig_state("a"), SBX_NONE);
	assert_int_equal(rig_state("b"), SBX_TERMINATED);
	assert_int_equal(rig_state("c"), SBX_RUNNING);
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_NONE);
	assert_int_equal(rig_state("b"), SBX_TERMINATED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(what_idles_is_paused_unless_it_is_in_use),
		T(a_build_in_the_background_is_not_idle),
		T(an_agent_that_lies_about_work_keeps_nothing_awake),
		T(the_hosts_own_work_for_a_guest_is_no_use_of_it),
		T(an_agent_that_says_nothing_leaves_it_to_the_host),
		T(network_bytes_are_use),
		T(restarts_do_not_put_off_the_idle_pause),
		T(a_clock_that_jumps_changes_no_age_and_no_cost),
		T(after_a_reboot_the_wall_clock_tells_the_age),
		T(life_ends_at_its_timeout),
		T(only_so_many_that_ended_are_remembered),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
