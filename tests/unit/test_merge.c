/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge.c - long chains of layers, merged while nobody waits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/merge.h"
#include "engine_rig.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The only directory in snapshots/. */
static ino_t snapshot_inode(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	ino_t ino = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/state/snapshots", rig.dir);
	d = opendir(path);
	assert_non_null(d);
	while ((entry = readdir(d)))
		if (!strncmp(entry->d_name, "snap_", 5))
			ino = entry->d_ino;
	closedir(d);
	assert_true(ino);
	return ino;
}

static void paused(const char *id)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);

	assert_true(rig_create(id));
	m.sandbox_id = (char *)(uintptr_t)id;
	assert_true(rig_call("PauseSandbox", &m.base));
	rig_settle();
}

static void a_long_chain_is_merged_while_nobody_waits(void **state)
{
	ino_t before;

	(void)state;
	paused("a");
	before = snapshot_inode();
	merge_next(rig.e);
	while (rig.e->merge)
		rig_tick();
	assert_true(before == snapshot_inode());
	/* Looked at once, it is not looked at again. */
	world.long_chains = true;
	merge_next(rig.e);
	assert_null(rig.e->merge);
	paused("b");
	merge_next(rig.e);
	assert_non_null(rig.e->merge);
	while (rig.e->merge)
		rig_tick();
	assert_int_equal(world.merges, 1);
	assert_int_equal(rig_files("guests"), 0);
	assert_int_equal(rig_files("snapshots"), 2);
}

static void a_merge_is_given_up_for_who_comes(void **state)
{
	NODE(ResumeSandbox, RESUME_SANDBOX);
	ino_t before;

	(void)state;
	world.long_chains = world.merge_hangs = true;
	paused("a");
	before = snapshot_inode();
	merge_next(rig.e);
	assert_non_null(rig.e->merge);
	m.sandbox_id = (char *)(uintptr_t) "a";
	assert_true(rig_call("ResumeSandbox", &m.base));
	rig_settle();
	while (rig.e->merge)
		rig_tick();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_true(before == snapshot_inode());
	assert_int_equal(rig_files("guests"), 1);
}

static void a_merge_is_given_up_for_a_terminate(void **state)
{
	NODE(TerminateSandbox, TERMINATE_SANDBOX);

	(void)state;
	world.long_chains = world.merge_hangs = true;
	paused("a");
	merge_next(rig.e);
	m.sandbox_id = (char *)(uintptr_t) "a";
	assert_true(rig_call("TerminateSandbox", &m.base));
	rig_settle();
	while (rig.e->merge)
		rig_tick();
	assert_int_equal(rig_files("snapshots"), 0);
	assert_int_equal(rig_files("guests"), 0);
}

static void what_a_crash_left_of_a_merge_goes(void **state)
{
	char path[PATH_MAX];

	(void)state;
	paused("a");
	snprintf(path, sizeof(path), "%s/state/snapshots/.merge-snap_x",
		 rig.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	rig_stop();
	rig_start();
	rig_settle();
	while (access(path, F_OK) == 0)
		rig_tick();
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	snapshot_inode();
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_long_chain_is_merged_while_nobody_waits),
		T(a_merge_is_given_up_for_who_comes),
		T(a_merge_is_given_up_for_a_terminate),
		T(what_a_crash_left_of_a_merge_goes),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
