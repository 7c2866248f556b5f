/* SPDX-License-Identifier: Apache-2.0 */
/* test_pressure.c - a host that runs short of disk or memory */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/pool.h"
#include "engine_rig.h"

#include <string.h>

static struct pressure_reading host_has;

static int read_host(const char *state_dir, struct pressure_reading *ret,
		     struct error *err)
{
	(void)state_dir;
	(void)err;
	*ret = host_has;
	return 0;
}

/* A node with a reserve of 1000 MiB of each, and clones that wait. */
static void start_with_reserves(void)
{
	rig_stop();
	strcpy(rig.settings, "[limits]\nmemory_reserve_mib = 1000\n"
			     "disk_reserve_mib = 1000\n"
			     "pressure_pause = yes\n[pool]\nmin = 1\n");
	rig_start();
	host_has = (struct pressure_reading){ .disk_mib = 5000,
					      .memory_mib = 5000,
					      .inodes_percent = 50 };
	rig.e->read_pressure = read_host;
	pressure_look(rig.e);
	assert_true(rig_create("a"));
	while (pool_ready(rig.e, NULL) == 0)
		rig_tick();
	rig_settle();
}

static void assert_refused(const char *word)
{
	assert_false(rig_create("b"));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_non_null(strstr(world.answer_err.msg, word));
	assert_true(world.answer_err.retry_ms > 0);
}

static void a_full_disk_admits_nothing_and_empties_pools(void **state)
{
	(void)state;
	start_with_reserves();
	host_has.disk_mib = 999;
	pressure_look(rig.e);
	assert_int_equal(rig.e->pressure.disk, PRESSURE_LOW);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	assert_refused("disk");
	rig_settle();
	/* Nothing comes back while it lasts, and a little more is not over. */
	pool_refill(rig.e);
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	host_has.disk_mib = 1001;
	pressure_look(rig.e);
	assert_refused("disk");
	host_has.disk_mib = 2000;
	pressure_look(rig.e);
	assert_true(rig_create("b"));
	assert_true(rig_terminate("a"));
	host_has.disk_mib = 1;
	pressure_look(rig.e);
	assert_true(rig_terminate("b"));
}

static void a_full_disk_takes_unused_templates_first_unused_first(void **state)
{
	size_t before;

	(void)state;
	start_with_reserves();
	assert_true(rig_terminate("a"));
	rig_settle();
	before = rig_files("templates");
	assert_int_equal(before, 1);
	host_has.inodes_percent = 1;
	pressure_look(rig.e);
	rig_settle();
	pressure_look(rig.e);
	rig_settle();
	assert_int_equal(rig_files("templates"), 0);
	assert_refused("inodes");
}

static void short_memory_pauses_what_nobody_uses(void **state)
{
	struct sandbox *sb;

	(void)state;
	start_with_reserves();
	assert_true(rig_create("c"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.busy_boot_ms -= 60000;
	host_has.memory_mib = 800;
	pressure_look(rig.e);
	rig_settle();
	/* Low: nothing new, but what runs runs. */
	assert_refused("memory");
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	host_has.memory_mib = 400;
	sb->row.busy_boot_ms -= 60000;
	pressure_look(rig.e);
	while (rig_state("a") != SBX_PAUSED)
		rig_tick();
	rig_settle();
	assert_int_equal(rig_state("c"), SBX_RUNNING);
	assert_false(rig_resume("a"));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	host_has.memory_mib = 5000;
	pressure_look(rig.e);
	assert_true(rig_resume("a"));
}

static void tasks_that_wait_for_memory_are_pressure_too(void **state)
{
	(void)state;
	start_with_reserves();
	host_has.stalled_percent = 60;
	pressure_look(rig.e);
	assert_int_equal(rig.e->pressure.memory, PRESSURE_HIGH);
	assert_refused("memory");
	host_has.stalled_percent = 15;
	pressure_look(rig.e);
	assert_refused("memory");
	host_has.stalled_percent = 5;
	pressure_look(rig.e);
	assert_true(rig_create("b"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_full_disk_admits_nothing_and_empties_pools),
		T(a_full_disk_takes_unused_templates_first_unused_first),
		T(short_memory_pauses_what_nobody_uses),
		T(tasks_that_wait_for_memory_are_pressure_too),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
