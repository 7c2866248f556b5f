/* SPDX-License-Identifier: Apache-2.0 */
/* test_templates.c - templates: built once or ahead, replaced, and forgotten */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/image_use.h"
#include "engine/pool.h"
#include "engine/task.h"
#include "engine/templates.h"
#include "pool_rig.h"

#include <string.h>

static void stopped(void *arg)
{
	*(bool *)arg = true;
}

static void creates_share_the_building_of_a_template(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.image = (char *)(uintptr_t) "debian:12";
	rig_ask("CreateSandbox", &m.base);
	rig_ask("CreateSandbox", &m.base);
	assert_true(rig_call("CreateSandbox", &m.base));
	rig_settle();
	assert_int_equal(rig_files("templates"), 1);
	assert_int_equal(fake_hv_count(), 3);
}

static struct template *building(void)
{
	list_for_each(&rig.e->templates, t, struct template, link)
		if (t->building)
			return t;
	return NULL;
}

static void
another_cpu_has_templates_and_clones_before_anybody_asks(void **state)
{
	(void)state;
	start_with_clone("");
	rig_stop();
	world.cpu_model = "another";
	rig_start();
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_int_equal(rig_files("templates"), 2);
	assert_nothing_but(2, 0);
	assert_true(rig_create("b"));
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "b")->row.start_kind, "pool");
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "b")->row.template_id,
		current_template()->row.id);
	/* And back. */
	rig_stop();
	world.cpu_model = NULL;
	rig_start();
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_int_equal(rig_files("templates"), 2);
	assert_nothing_but(3, 0);
}

static void a_new_template_has_the_use_of_the_old_one(void **state)
{
	struct template *old, *heir;
	int64_t used;

	(void)state;
	start_with_clone("");
	old = current_template();
	used = old->row.asked_ms -= 1000000;
	world.image_replaced = true;
	look_again();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	rig_until(pool_ready(rig.e, NULL) == 1);
	heir = current_template();
	assert_ptr_not_equal(heir, old);
	assert_string_equal(heir->row.image_digest, "sha256:2");
	assert_int_equal(heir->row.asked_ms, used);
	assert_int_equal(heir->row.used_ms, used);
	assert_int_equal(old->row.asked_ms, 0);
	assert_int_equal(old->row.used_ms, 0);
	/* Who removes it does not get it again. */
	pool_empty(rig.e);
	assert_int_equal(templates_remove(rig.e, heir->row.id, NULL, NULL), 0);
	rig_settle();
	look_again();
	rig_settle();
	assert_null(current_template());
	assert_int_equal(rig_files("templates"), 1);
}

static void a_replaced_template_stays_until_there_is_another(void **state)
{
	(void)state;
	start_with_clone("");
	assert_true(rig_terminate("a"));
	rig_settle();
	world.image_replaced = true;
	rig.e->draining = true;
	look_again();
	assert_int_equal(rig_files("templates"), 1);
	rig.e->draining = false;
	look_again();
	rig_until(pool_ready(rig.e, NULL) == 1);
	images_tidy(rig.e);
	rig_settle();
	rig_until(rig_files("templates") == 1);
	assert_non_null(current_template());
	assert_nothing_but(1, 0);
}

static void what_was_not_used_lately_is_not_built_again(void **state)
{
	(void)state;
	start_with_clone("idle = 1h\n");
	current_template()->row.asked_ms -= 3600001;
	world.image_replaced = true;
	look_again();
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	assert_null(current_template());
	assert_null(building());
	assert_nothing_but(1, 0);
}

static void no_template_is_built_ahead_where_nothing_waits_on_it(void **state)
{
	(void)state;
	start_with_clone("");
	world.image_replaced = true;
	rig.e->draining = true;
	look_again();
	assert_null(building());
	rig.e->draining = false;
	rig.e->pressure.memory = PRESSURE_LOW;
	look_again();
	assert_null(building());
	rig.e->pressure.memory = PRESSURE_NONE;
	rig.e->config->pool_min = 0;
	look_again();
	assert_null(building());
	rig.e->config->pool_min = 1;
	look_again();
	assert_non_null(building());
	/* It goes when the node is to be empty. */
	rig.e->draining = true;
	pool_empty(rig.e);
	rig_settle();
	assert_null(building());
	assert_int_equal(rig_files("templates"), 1);
	assert_nothing_but(1, 0);
}

static void a_build_ahead_waits_while_somebody_waits(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	uint64_t asked;

	(void)state;
	start_with_clone("");
	world.image_replaced = true;
	/* Of another size. */
	m.image = (char *)(uintptr_t) "debian:12";
	asked = rig_ask("CreateSandbox", &m.base);
	look_again();
	assert_non_null(building());
	assert_false(building()->ahead);
	while (!world.answered[asked]) {
		struct template *t = building();

		assert_true(!t || !t->ahead);
		rig_tick();
	}
	assert_int_equal(world.answered[asked], 1);
	rig_until(pool_ready(rig.e, NULL) == 2);
	rig_settle();
	assert_int_equal(rig_files("templates"), 3);
}

static void who_asks_while_it_is_built_ahead_waits_for_it(void **state)
{
	(void)state;
	start_with_clone("");
	world.image_replaced = true;
	look_again();
	assert_non_null(building());
	assert_true(rig_create("b"));
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "b")->row.start_kind,
		"template");
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_int_equal(rig_files("templates"), 2);
	assert_nothing_but(3, 0);
	assert_true(loop_wall_ms() - current_template()->row.used_ms < 60000);
}

static void
a_template_that_cannot_be_built_ahead_is_not_tried_at_once(void **state)
{
	unsigned int before;

	(void)state;
	start_with_clone("");
	world.image_replaced = true;
	world.fail_op = "capture";
	look_again();
	assert_non_null(building());
	rig_settle();
	assert_null(building());
	before = world.calls;
	look_again();
	rig_settle();
	assert_null(building());
	assert_int_equal(world.calls, before);
	/* Who asks has it built. */
	world.fail_op = NULL;
	assert_true(rig_create("b"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	assert_nothing_but(3, 0);
}

static void a_stop_does_not_wait_for_what_is_built_ahead(void **state)
{
	(void)state;
	start_with_clone("");
	world.image_replaced = true;
	look_again();
	assert_non_null(building());
	engine_close(rig.e, stopped, &rig.dead);
	assert_true(building()->building->cancelled);
	rig_until(rig.dead);
	rig.dead = false;
	assert_int_equal(rig_files("templates"), 1);
	assert_int_equal(fake_hv_count(), 1);
}

static void a_resume_and_a_fork_are_use_but_ask_for_no_pool(void **state)
{
	NODE(ForkSandbox, FORK_SANDBOX);
	struct template *t;
	int64_t asked;

	(void)state;
	start_with_clone("");
	t = current_template();
	assert_true(rig_pause("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	t->row.used_ms = asked = t->row.asked_ms -= 3600001;
	assert_true(rig_resume("a"));
	assert_true(loop_wall_ms() - t->row.used_ms < 60000);
	t->row.used_ms = asked;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.count = 1;
	assert_true(rig_call("ForkSandbox", &m.base));
	assert_true(loop_wall_ms() - t->row.used_ms < 60000);
	assert_int_equal(t->row.asked_ms, asked);
	look_again();
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	/* Nor is one that follows it built ahead. */
	world.image_replaced = true;
	look_again();
	assert_null(building());
	rig_settle();
	/* All that is kept. */
	rig_stop();
	rig_start();
	rig_settle();
	list_for_each(&rig.e->templates, row, struct template, link) {
		assert_true(loop_wall_ms() - row->row.used_ms < 60000);
		assert_int_equal(row->row.asked_ms, asked);
	}
	/* A create asks. */
	world.image_replaced = false;
	images_tidy(rig.e);
	assert_true(rig_create("b"));
	rig_until(pool_ready(rig.e, NULL) == 1);
}

static void what_nothing_starts_from_goes_before_what_was_used_least(void **state)
{
	struct template *a, *b;
	char current[OBJECT_ID_SIZE];

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_terminate("a"));
	rig_settle();
	a = current_template();
	b = larger_template();
	assert_ptr_not_equal(a, b);
	/* Of two that are current, the one longest unused. */
	b->row.used_ms = 5;
	templates_evict(rig.e);
	assert_ptr_equal(current_template(), a);
	assert_ptr_equal(a->link.next, &rig.e->templates);
	b = larger_template();
	a->row.used_ms = 5;
	strcpy(current, a->row.id);
	/* As if of another kernel. */
	b->row.id[6] = b->row.id[6] == '0' ? '1' : '0';
	templates_evict(rig.e);
	assert_non_null(template_find(rig.e, current));
	assert_ptr_equal(a->link.next, &rig.e->templates);
	templates_evict(rig.e);
	assert_true(list_empty(&rig.e->templates));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(creates_share_the_building_of_a_template),
		T(another_cpu_has_templates_and_clones_before_anybody_asks),
		T(a_new_template_has_the_use_of_the_old_one),
		T(a_replaced_template_stays_until_there_is_another),
		T(what_was_not_used_lately_is_not_built_again),
		T(no_template_is_built_ahead_where_nothing_waits_on_it),
		T(a_build_ahead_waits_while_somebody_waits),
		T(who_asks_while_it_is_built_ahead_waits_for_it),
		T(a_template_that_cannot_be_built_ahead_is_not_tried_at_once),
		T(a_stop_does_not_wait_for_what_is_built_ahead),
		T(a_resume_and_a_fork_are_use_but_ask_for_no_pool),
		T(what_nothing_starts_from_goes_before_what_was_used_least),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
