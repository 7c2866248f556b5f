/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c - clones that wait: how many, for how long, and who gets them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/templates.h"
#include "pool_rig.h"

#include <stdio.h>
#include <string.h>

static void a_pool_serves_and_is_filled_again(void **state)
{
	(void)state;
	rig_stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	rig_start();
	assert_true(rig_create("a"));
	while (pool_ready(rig.e, NULL) < 1)
		rig_tick();
	assert_true(rig_create("b"));
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "b")->row.start_kind, "pool");
	while (pool_ready(rig.e, NULL) < 1)
		rig_tick();
	rig_settle();
	assert_nothing_but(3, 0);
	/* It waits through a restart. */
	rig_stop();
	rig_start();
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 1);
	assert_nothing_but(3, 0);
}

static void clones_wait_until_the_hypervisor_is_there(void **state)
{
	char uuid[HV_UUID_SIZE] = "";
	uint64_t end;

	(void)state;
	rig_stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	rig_start();
	assert_true(rig_create("a"));
	while (pool_ready(rig.e, NULL) < 1)
		rig_tick();
	rig_settle();
	for (size_t i = 0; i < world.n_guests; i++)
		if (pool_has(rig.e, world.guests[i].uuid))
			strcpy(uuid, world.guests[i].uuid);
	rig_stop();
	world.hv_hangs = true;
	rig_start();
	for (end = loop_now_ms() + 100; loop_now_ms() < end;)
		rig_tick();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	world.hv_hangs = false;
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 1);
	assert_true(pool_has(rig.e, uuid));
	assert_nothing_but(2, 0);
}

static void a_clone_that_does_not_start_costs_only_time(void **state)
{
	(void)state;
	rig_stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	rig_start();
	assert_true(rig_create("a"));
	while (pool_ready(rig.e, NULL) < 1)
		rig_tick();
	world.fail_op = "release";
	assert_true(rig_create("b"));
	world.fail_op = NULL;
	rig_settle();
	assert_int_equal(rig_state("b"), SBX_RUNNING);
}

static void clones_follow_the_configuration(void **state)
{
	(void)state;
	start_with_clone("");
	rig.e->config->pool_min = 3;
	engine_reloaded(rig.e);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	assert_nothing_but(4, 0);
	rig.e->config->pool_min = 1;
	engine_reloaded(rig.e);
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 1);
	rig_until(fake_hv_count() == 2);
	rig.e->config->pool_min = 0;
	engine_reloaded(rig.e);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	rig_until(fake_hv_count() == 1);
	rig_until(rig_files("guests") == 1);
	assert_nothing_but(1, 0);
}

static void clones_of_what_is_no_longer_used_go(void **state)
{
	(void)state;
	start_with_clone("");
	current_template()->row.asked_ms -= 3600001;
	look_again();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
}

/* ---- as many as are asked for ---- */

static uint32_t wanted(void)
{
	return pool_wanted(rig.e, current_template());
}

/* So many creates at once, none of which sees what is filled up after. */
static void create_at_once(unsigned int n)
{
	static unsigned int number;
	uint64_t ids[16];
	char names[16][16];

	for (unsigned int i = 0; i < n; i++) {
		NODE(CreateSandbox, CREATE_SANDBOX);
		Sandbox__Node__V1__Resources r =
			SANDBOX__NODE__V1__RESOURCES__INIT;

		snprintf(names[i], sizeof(names[i]), "s%u", ++number);
		r.memory_mib = 2048;
		m.resources = &r;
		m.sandbox_id = names[i];
		m.image = (char *)(uintptr_t) "debian:12";
		ids[i] = rig_ask("CreateSandbox", &m.base);
	}
	for (unsigned int i = 0; i < n; i++) {
		rig_until(world.answered[ids[i]]);
		assert_int_equal(world.answered[ids[i]], 1);
	}
}

/* As if nobody had been short of a clone for so long. */
static void nobody_is_short(uint64_t ms)
{
	current_template()->short_ms -= ms;
	pool_trim(rig.e);
}

static void a_pool_grows_to_max_with_creates_that_find_none(void **state)
{
	NODE(ListTemplates, LIST_TEMPLATES);
	Sandbox__Node__V1__ListTemplatesResponse *r;

	(void)state;
	start_with_clone("max = 3\n");
	assert_int_equal(wanted(), 1);
	/* One takes it, one finds none. */
	create_at_once(2);
	assert_int_equal(wanted(), 2);
	rig_until(pool_ready(rig.e, NULL) == 2);
	create_at_once(8);
	assert_int_equal(wanted(), 3);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	assert_nothing_but(11 + 3, 0);
	assert_true(rig_call("ListTemplates", &m.base));
	r = sandbox__node__v1__list_templates_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_int_equal(r->templates[0]->pool_ready, 3);
	assert_int_equal(r->templates[0]->pool_wanted, 3);
	sandbox__node__v1__list_templates_response__free_unpacked(r, NULL);
}

static void a_pool_shrinks_by_one_when_one_was_always_to_spare(void **state)
{
	(void)state;
	start_with_clone("max = 3\nkeep = 1h\n");
	create_at_once(3);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	nobody_is_short(3500000);
	assert_int_equal(wanted(), 3);
	nobody_is_short(100000);
	assert_int_equal(wanted(), 2);
	assert_int_equal(pool_ready(rig.e, NULL), 2);
	pool_trim(rig.e);
	assert_int_equal(wanted(), 2);
	/* Who takes one of two leaves one to spare, */
	current_template()->short_ms -= 3500000;
	create_at_once(1);
	nobody_is_short(100000);
	assert_int_equal(wanted(), 1);
	/* and who takes the last does not. */
	create_at_once(3);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	current_template()->short_ms -= 3500000;
	create_at_once(3);
	nobody_is_short(100000);
	assert_int_equal(wanted(), 3);
	for (int i = 0; i < 4; i++)
		nobody_is_short(3600000);
	assert_int_equal(wanted(), 1);
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	rig_until(fake_hv_count() == 11 + 1);
}

static void without_a_max_as_many_wait_whatever_comes(void **state)
{
	(void)state;
	start_with_clone("");
	create_at_once(8);
	assert_int_equal(wanted(), 1);
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_nothing_but(9 + 1, 0);
}

static void a_pool_of_min_0_is_there_while_it_is_of_use(void **state)
{
	(void)state;
	rig_stop();
	strcpy(rig.settings, "[pool]\nmin = 0\nmax = 2\nrefill = 0\n");
	rig_start();
	assert_true(rig_create("a"));
	rig_settle();
	assert_int_equal(wanted(), 0);
	assert_nothing_but(1, 0);
	assert_true(rig_create("b"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	assert_true(rig_create("c"));
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "c")->row.start_kind, "pool");
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	nobody_is_short(300000);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	rig_until(fake_hv_count() == 3);
}

static void what_waits_after_a_restart_stays_its_time(void **state)
{
	(void)state;
	start_with_clone("max = 3\n");
	create_at_once(3);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	rig_stop();
	rig_start();
	rig_settle();
	pool_trim(rig.e);
	assert_int_equal(pool_ready(rig.e, NULL), 3);
	nobody_is_short(300000);
	assert_int_equal(pool_ready(rig.e, NULL), 2);
	/* A reload that wants fewer does not wait. */
	rig.e->config->pool_max = 1;
	engine_reloaded(rig.e);
	assert_int_equal(pool_ready(rig.e, NULL), 1);
}

/* Until somebody looks at it again. */
static void empty_the_pool(void)
{
	size_t others;

	rig.e->draining = true;
	rig_settle();
	others = fake_hv_count() - pool_ready(rig.e, NULL);
	pool_empty(rig.e);
	rig_until(fake_hv_count() == others);
	rig.e->draining = false;
}

static void a_resume_that_finds_none_does_not_grow_the_pool(void **state)
{
	(void)state;
	start_with_clone("max = 3\n");
	assert_true(rig_pause("a"));
	empty_the_pool();
	assert_true(rig_resume("a"));
	assert_int_equal(wanted(), 1);
	empty_the_pool();
	assert_true(rig_create("b"));
	assert_int_equal(wanted(), 2);
}

static void a_clone_that_was_wanted_when_it_was_begun_ends(void **state)
{
	(void)state;
	start_with_clone("");
	empty_the_pool();
	rig.e->pool_taken_ms = 0;
	pool_refill(rig.e);
	assert_true(rig.e->refilling);
	rig.e->config->pool_min = 0;
	engine_reloaded(rig.e);
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	rig_until(fake_hv_count() == 1);
}

static void a_clone_being_started_makes_room_for_a_create(void **state)
{
	struct quota_use use;

	(void)state;
	start_with_clone("");
	empty_the_pool();
	quota_use(rig.e->quota, &use);
	/* For one guest more. */
	rig.e->config->vcpu_overcommit *= 4.1 / use.vcpus_max;
	rig.e->pool_taken_ms = 0;
	pool_refill(rig.e);
	assert_true(rig.e->refilling);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	assert_true(rig_create("b"));
	rig_settle();
	assert_nothing_but(2, 0);
}

static void the_largest_pool_makes_room_first(void **state)
{
	(void)state;
	rig_stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nmax = 3\nrefill = 0\n");
	rig_start();
	larger_template();
	rig_until(pool_ready(rig.e, NULL) == 1);
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 2);
	rig_settle();
	create_at_once(2);
	rig_until(pool_ready(rig.e, NULL) == 3);
	rig_settle();
	assert_true(pool_shrink(rig.e));
	list_for_each(&rig.e->templates, t, struct template, link)
		assert_int_equal(pool_ready(rig.e, t->row.id), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_pool_serves_and_is_filled_again),
		T(clones_wait_until_the_hypervisor_is_there),
		T(a_clone_that_does_not_start_costs_only_time),
		T(clones_follow_the_configuration),
		T(clones_of_what_is_no_longer_used_go),
		T(a_pool_grows_to_max_with_creates_that_find_none),
		T(a_pool_shrinks_by_one_when_one_was_always_to_spare),
		T(without_a_max_as_many_wait_whatever_comes),
		T(a_pool_of_min_0_is_there_while_it_is_of_use),
		T(what_waits_after_a_restart_stays_its_time),
		T(a_resume_that_finds_none_does_not_grow_the_pool),
		T(a_clone_that_was_wanted_when_it_was_begun_ends),
		T(a_clone_being_started_makes_room_for_a_create),
		T(the_largest_pool_makes_room_first),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
