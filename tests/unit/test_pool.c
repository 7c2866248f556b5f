/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c - templates, clones that wait, and snapshots of other nodes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/mem.h"
#include "engine/image_use.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/task.h"
#include "engine/templates.h"
#include "engine_rig.h"
#include "parcel_sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

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

static void stopped(void *arg)
{
	*(bool *)arg = true;
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

/* A node with these lines in [pool], one sandbox "a", and a clone that waits. */
static void start_with_clone(const char *pool)
{
	rig_stop();
	snprintf(rig.settings, sizeof(rig.settings),
		 "[pool]\nmin = 1\nrefill = 0\n%s", pool);
	rig_start();
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
}

/* Housekeeping would, in its time. */
static void look_again(void)
{
	rig.e->pool_taken_ms = 0;
	images_tidy(rig.e);
	pool_trim(rig.e);
	pool_refill(rig.e);
}

static struct template *current_template(void)
{
	list_for_each(&rig.e->templates, t, struct template, link)
		if (!t->building && template_is_current(rig.e, t))
			return t;
	return NULL;
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

static struct template *larger_template(void)
{
	NODE(BuildTemplate, BUILD_TEMPLATE);

	m.image = (char *)(uintptr_t) "debian:12";
	m.cpu = 2;
	m.memory_mib = 4096;
	assert_true(rig_call("BuildTemplate", &m.base));
	rig_settle();
	return template_find(rig.e, list_entry(rig.e->templates.prev,
					       struct template, link)
					    ->row.id);
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

/* Import the sample; what is said of it is in the world's answer_err. */
static bool import_sample(void)
{
	struct parcel_stream s = parcel_sample_stream(&parcel_sample.m);
	size_t room = ZSTD_compressBound(s.len), n;
	uint8_t *packed = xcalloc(1, room);
	int fd = memfd_create("stream", MFD_CLOEXEC);
	unsigned int before = world.answers;

	n = ZSTD_compress(packed, room, s.data, s.len, 1);
	assert_false(ZSTD_isError(n));
	assert_int_equal(write(fd, packed, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	world.front_ops->call(++rig.next_id, "ImportSnapshot", "uid:0", NULL, 0,
			      &fd, rig.e);
	assert_int_equal(fd, -EBADF);
	while (world.answers == before)
		rig_tick();
	free(packed);
	free(s.data);
	return world.answer_ok;
}

/* One that fits this node, but for what a test changes. */
static void fitting_sample(void)
{
	parcel_sample_new();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "kvm";
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "7";
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "mine";
	parcel_sample.platform.network = true;
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:1";
	parcel_sample.m.memory_mib = parcel_sample.resources.memory_mib = 4096;
	parcel_sample.resources.disk_mib = 10240;
	parcel_sample.spec.sandbox_id = (char *)(uintptr_t) "far";
	parcel_sample.spec.image = (char *)(uintptr_t) "elsewhere:1";
	parcel_sample.spec.timeout_ms = 60000;
}

static void refused_import(const char *reason, const char *word)
{
	assert_false(import_sample());
	if (strcmp(err_reason_of(&world.answer_err), reason) != 0 ||
	    !strstr(world.answer_err.msg, word))
		fail_msg("%s: %s", err_reason_of(&world.answer_err),
			 world.answer_err.msg);
	assert_int_equal(rig_files("snapshots"), 0);
	assert_int_equal(rig_files("templates"), 0);
}

static void a_node_that_cannot_clone_boots_cold_and_says_so(void **state)
{
	NODE(GetNode, GET_NODE);
	Sandbox__Node__V1__GetNodeResponse *r;

	(void)state;
	rig_stop();
	world.clones_fail = true;
	rig_start();
	while (rig.e->testing)
		rig_tick();
	assert_true(rig_create("a"));
	rig_settle();
	assert_int_equal(rig_files("templates"), 0);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_true(rig_call("GetNode", &m.base));
	r = sandbox__node__v1__get_node_response__unpack(NULL, world.answer_len,
							 world.answer);
	assert_non_null(r);
	assert_string_equal(r->snapshot_mechanism, "save");
	assert_int_equal(r->n_problems, 1);
	assert_non_null(strstr(r->problems[0], "self-test"));
	sandbox__node__v1__get_node_response__free_unpacked(r, NULL);
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "";
	refused_import("DATA_LOSS", "cpu_model");
	fitting_sample();
	refused_import("UNAVAILABLE", "cannot clone");
}

static void snapshots_of_other_hosts_are_refused_by_what_differs(void **state)
{
	(void)state;
	rig_stop();
	world.cpu_model = "mine";
	rig_start();
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "theirs";
	refused_import("INVALID_STATE", "saved on CPU 'theirs'");
	fitting_sample();
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "99.1.0";
	refused_import("INVALID_STATE", "saved by QEMU 99.1.0");
	fitting_sample();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "tcg";
	refused_import("INVALID_STATE", "saved under tcg");
	fitting_sample();
	parcel_sample.platform.vsock = true;
	refused_import("INVALID_STATE", "vsock");
	fitting_sample();
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:2";
	refused_import("IMAGE_NOT_FOUND", "elsewhere:1");
	fitting_sample();
	parcel_sample.spec.timeout_ms = 1;
	refused_import("DATA_LOSS", "'spec'");
	/* All fits, and its disks are none. */
	fitting_sample();
	refused_import("DATA_LOSS", "part 'template disk'");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_pool_serves_and_is_filled_again),
		T(clones_wait_until_the_hypervisor_is_there),
		T(a_clone_that_does_not_start_costs_only_time),
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
		T(a_resume_and_a_fork_are_use_but_ask_for_no_pool),
		T(what_nothing_starts_from_goes_before_what_was_used_least),
		T(the_largest_pool_makes_room_first),
		T(snapshots_of_other_hosts_are_refused_by_what_differs),
		T(a_node_that_cannot_clone_boots_cold_and_says_so),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
