/* SPDX-License-Identifier: Apache-2.0 */
/* test_recovery.c - the engine dying at every outside call, and starting again
 * over what it left
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine_rig.h"

#include <sqlite3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_guest_that_is_gone_is_noticed(void **state)
{
	struct sandbox *sb;

	(void)state;
	assert_true(rig_create("a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	world.n_guests = 0;
	engine_guest_gone(sb->row.uuid, rig.e);
	while (rig_state("a") != SBX_TERMINATED)
		rig_tick();
	rig_settle();
	sb = sandbox_find(&rig.e->sandboxes, "a");
	assert_string_equal(sb->row.reason, "GUEST_GONE");
	assert_nothing_but(0, 0);
}

static void guests_live_through_a_restart(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	assert_true(rig_pause("b"));
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(rig_state("b"), SBX_PAUSED);
	while (!fake_front_has("a"))
		rig_tick();
	assert_nothing_but(1, 1);
	assert_true(rig_resume("b"));
}

static void one_guest_that_nobody_knows_of_fails_and_holds_nobody_up(
	void **state)
{
	NODE(CheckState, CHECK_STATE);
	struct fake_guest *g;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	rig_stop();
	/* The guest of "a". */
	g = &world.guests[0];
	for (size_t i = 0; i < world.n_guests; i++)
		if (world.guests[i].life == GUEST_LIFE_RUNNING) {
			g = &world.guests[i];
			break;
		}
	g->life = GUEST_LIFE_UNKNOWN;
	rig_start();
	rig.e->recover_give_up_ms = 600;
	rig_until(sandbox_find(&rig.e->sandboxes, "b")->attached);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_false(rig_call("CheckState", &m.base));
	/* While there is no hypervisor at all, nothing is given up. */
	engine_hv_link(false, rig.e);
	rig.e->recover_give_up_ms = 0;
	for (uint64_t end = loop_now_ms() + 1200; loop_now_ms() < end;)
		rig_tick();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	engine_hv_link(true, rig.e);
	rig_until(rig_state("a") == SBX_FAILED);
	assert_non_null(strstr(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			       "libvirt does not know its guest"));
	assert_non_null(strstr(rig_event("sandbox.error"),
			       "libvirt does not know its guest"));
	assert_false(rig_pause("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_STATE");
	rig_settle();
	assert_true(rig_call("CheckState", &m.base));
	/* So it is after another start, and it can be ended. */
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_FAILED);
	assert_int_equal(rig_state("b"), SBX_RUNNING);
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	assert_true(rig_terminate("b"));
	rig_settle();
	assert_nothing_but(0, 0);
}

/* Nobody can say how they are; their clients end them all the same. */
static void a_guest_that_nobody_knows_of_can_be_terminated(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	rig_stop();
	for (size_t i = 0; i < world.n_guests; i++)
		if (world.guests[i].life == GUEST_LIFE_RUNNING)
			world.guests[i].life = GUEST_LIFE_UNKNOWN;
	rig_start();
	rig_until(sandbox_find(&rig.e->sandboxes, "a")->unknown_ms);
	assert_int_not_equal(rig.e->recovering, 0);
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_TERMINATED);
	assert_int_equal(rig.e->recovering, 0);
	assert_nothing_but(0, 0);
}

static void note_odd(const char *request_id, enum store_odd why, void *arg)
{
	(void)request_id;
	(void)why;
	++*(unsigned int *)arg;
}

static void a_create_that_is_undone_leaves_no_request(void **state)
{
	struct store_request r;
	unsigned int odd = 0;

	(void)state;
	world.calls = 0;
	world.die_at = 4;
	rig_create_once("a", "r1");
	assert_true(rig.dead);
	world.die_at = 0;
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_NONE);
	assert_int_equal(store_requests_odd(rig.e->store, loop_wall_ms(),
					    loop_wall_ms(), 10, note_odd, &odd,
					    NULL),
			 0);
	assert_int_equal(odd, 0);
	assert_int_equal(store_request_get(rig.e->store, "r1", &r, NULL), 0);
	assert_true(rig_create_once("a", "r1"));
}

/* One that ran, one that was paused, one that ran and can be resumed, one whose
 * creation was cut off, and a waiting clone; then the host starts anew.
 */
static void reboot(const char *settings)
{
	assert_true(rig_create("ran"));
	assert_true(rig_create("paused"));
	assert_true(rig_pause("paused"));
	assert_true(rig_create("saved"));
	assert_true(rig_pause("saved"));
	assert_true(rig_resume("saved"));
	world.calls = 0;
	world.die_at = 4;
	rig_create("cut");
	assert_true(rig.dead);
	world.die_at = 0;
	store_begin(rig.e->store);
	store_meta_set(rig.e->store, "boot_id", "another");
	assert_int_equal(store_commit(rig.e->store, NULL), 0);
	rig_stop();
	world.n_guests = 0;
	for (size_t i = 0; i < SLOT_MAX; i++)
		world.attached_slots[i] = false;
	strcpy(rig.settings, settings);
	rig_start();
	rig_settle();
}

static const char *reason_of(const char *id)
{
	return sandbox_find(&rig.e->sandboxes, id)->row.reason;
}

static void after_a_reboot_what_ran_has_ended_and_what_was_paused_is(
	void **state)
{
	(void)state;
	reboot("[node]\npause_after_reboot = no\n");
	assert_int_equal(rig_state("ran"), SBX_TERMINATED);
	assert_string_equal(reason_of("ran"), "HOST_REBOOT");
	assert_int_equal(rig_state("saved"), SBX_TERMINATED);
	assert_string_equal(reason_of("saved"), "HOST_REBOOT");
	assert_int_equal(rig_state("paused"), SBX_PAUSED);
	assert_int_equal(rig_state("cut"), SBX_NONE);
	assert_non_null(strstr(rig_event("sandbox.terminated"),
			       "reason=HOST_REBOOT"));
	assert_nothing_but(0, 1);
	assert_true(rig_resume("paused"));
	assert_true(rig_terminate("paused"));
	rig_settle();
	assert_nothing_but(0, 0);
}

static void after_a_reboot_what_has_a_snapshot_is_paused_if_wanted(void **state)
{
	(void)state;
	reboot("[node]\npause_after_reboot = yes\n");
	assert_int_equal(rig_state("ran"), SBX_TERMINATED);
	assert_int_equal(rig_state("paused"), SBX_PAUSED);
	assert_int_equal(rig_state("saved"), SBX_PAUSED);
	assert_string_equal(reason_of("saved"), "HOST_REBOOT");
	assert_non_null(strstr(rig_event("sandbox.paused"),
			       "reason=HOST_REBOOT"));
	assert_nothing_but(0, 2);
	assert_true(rig_resume("saved"));
	assert_true(rig_terminate("saved"));
	assert_true(rig_terminate("paused"));
	rig_settle();
	assert_nothing_but(0, 0);
}

/* Front, or the engine before, may have frozen it and not lived to thaw it. */
static void whoever_is_attached_again_is_thawed(void **state)
{
	unsigned int before;

	(void)state;
	assert_true(rig_create("a"));
	before = world.thaws;
	world.front_ops->down("killed", world.front_arg);
	world.front_ops->up(world.front_arg);
	while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
		rig_tick();
	assert_int_equal(world.thaws, before + 1);
	rig_stop();
	rig_start();
	rig_settle();
	while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
		rig_tick();
	assert_int_equal(world.thaws, before + 2);
}

/* Until the world has no more calls to die at. */
static void a_death_anywhere_is_recovered_from(void **state)
{
	unsigned int n, deaths = 0;

	(void)state;
	for (n = 1; n < 200; n++) {
		world.calls = 0;
		world.die_at = n;
		if (rig_create("a") && rig_pause("a") && rig_resume("a") &&
		    rig_pause("a") && rig_resume("a")) {
			world.die_at = 0;
			break;
		}
		assert_true(rig.dead);
		deaths++;
		world.die_at = 0;
		rig_stop();
		rig_start();
		rig_settle();
		switch (rig_state("a")) {
		case SBX_NONE:
			assert_nothing_but(0, 0);
			break;
		case SBX_RUNNING:
			while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
				rig_tick();
			assert_int_equal(fake_hv_count(), 1);
			assert_true(rig_terminate("a"));
			break;
		case SBX_PAUSED:
			assert_nothing_but(0, 1);
			assert_true(rig_resume("a"));
			assert_true(rig_terminate("a"));
			break;
		default:
			fail_msg("death %u left %s", n,
				 sandbox_state_str(rig_state("a")));
		}
		rig_settle();
		assert_nothing_but(0, 0);
		rig_teardown(NULL);
		rig_setup(NULL);
	}
	assert_in_range(deaths, 20, 199);
}

static void
an_old_guest_of_nobody_is_swept_only_by_a_used_database(void **state)
{
	char path[192];
	struct guest_spec spec = {
		.uuid = "11111111-1111-4111-8111-111111111111"
	};

	(void)state;
	snprintf(path, sizeof(path), "%s/state/guests/%s", rig.dir, spec.uuid);
	assert_true(rig_create("a"));
	rig_stop();
	assert_int_equal(mkdir(path, 0700), 0);
	rig_start();
	rig_settle();
	engine_hv_link(false, rig.e);
	engine_hv_link(true, rig.e);
	rig_settle();
	assert_int_not_equal(access(path, F_OK), 0);
	assert_nothing_but(1, 0);
	/* A new database beside old files touches nothing. */
	rig_stop();
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "rm %s/state/sandboxd.db*", rig.dir);
	assert_int_equal(system(path), 0);
	rig_start();
	rig_settle();
	engine_hv_link(false, rig.e);
	engine_hv_link(true, rig.e);
	rig_settle();
	assert_true(rig.e->foreign);
	assert_int_equal(rig_files("guests"), 2);
	assert_int_equal(fake_hv_count(), 1);
}

static void a_row_that_cannot_be_read_is_of_a_sandbox_that_can_be_ended(
	void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	rig_settle();
	assert_int_equal(
		sqlite3_exec(*(sqlite3 **)rig.e->store,
			     "UPDATE sandboxes SET spec = x'00534201ff'"
			     " WHERE id = 'a'",
			     NULL, NULL, NULL),
		SQLITE_OK);
	rig_stop();
	rig_start();
	rig_settle();
	assert_string_equal(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			    "STATE_UNREADABLE");
	assert_int_equal(rig_state("a"), SBX_FAILED);
	assert_int_equal(rig_state("b"), SBX_RUNNING);
	assert_int_equal(fake_hv_count(), 2);
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_int_equal(fake_hv_count(), 1);
	assert_int_equal(rig_state("b"), SBX_RUNNING);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_guest_that_is_gone_is_noticed),
		T(guests_live_through_a_restart),
		T(a_create_that_is_undone_leaves_no_request),
		T(a_guest_that_nobody_knows_of_can_be_terminated),
		T(one_guest_that_nobody_knows_of_fails_and_holds_nobody_up),
		T(after_a_reboot_what_ran_has_ended_and_what_was_paused_is),
		T(after_a_reboot_what_has_a_snapshot_is_paused_if_wanted),
		T(whoever_is_attached_again_is_thawed),
		T(a_row_that_cannot_be_read_is_of_a_sandbox_that_can_be_ended),
		T(a_death_anywhere_is_recovered_from),
		T(an_old_guest_of_nobody_is_swept_only_by_a_used_database),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
