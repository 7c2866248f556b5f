/* SPDX-License-Identifier: Apache-2.0 */
/* test_spoiled.c - templates whose files are no longer what was made */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/image_use.h"
#include "engine/pool.h"
#include "engine/templates.h"
#include "engine_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void start_with(const char *pool)
{
	rig_stop();
	snprintf(rig.settings, sizeof(rig.settings),
		 "[pool]\nrefill = 0\n%s", pool);
	rig_start();
}

static struct sandbox *sandbox(const char *id)
{
	struct sandbox *sb = sandbox_find(&rig.e->sandboxes, id);

	assert_non_null(sb);
	return sb;
}

static void started_from(const char *id, const char *kind, const char *template)
{
	assert_int_equal(rig_state(id), SBX_RUNNING);
	assert_string_equal(sandbox(id)->row.start_kind, kind);
	if (template)
		assert_string_equal(sandbox(id)->row.template_id, template);
}

static struct template *current(void)
{
	list_for_each(&rig.e->templates, t, struct template, link)
		if (!t->building && template_is_current(rig.e, t))
			return t;
	return NULL;
}

static size_t templates(void)
{
	size_t n = 0;

	list_for_each(&rig.e->templates, t, struct template, link)
		n++;
	return n;
}

static void path_of(const char *id, const char *more, char path[200])
{
	snprintf(path, 200, "%s/state/templates/%s%s", rig.dir, id, more);
}

/* Its files are altered (fake_hv.c); it was built long ago. */
static void alter(struct template *t, char id[OBJECT_ID_SIZE])
{
	char path[200];
	int fd;

	strcpy(id, t->row.id);
	path_of(id, "/altered", path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	t->row.created_ms -= 24 * 3600 * 1000;
}

/* Housekeeping would, in its time. */
static void look_again(void)
{
	rig.e->pool_taken_ms = 0;
	pool_trim(rig.e);
	pool_refill(rig.e);
	images_tidy(rig.e);
}

static void the_create_that_finds_out_boots_cold_and_the_next_has_another(
	void **state)
{
	char old[OBJECT_ID_SIZE], path[200];

	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	alter(current(), old);
	assert_true(rig_create("b"));
	started_from("b", "cold", "");
	assert_null(current());
	assert_non_null(strstr(rig_event("template.damaged"), old));
	assert_non_null(strstr(rig_event("template.damaged"), "users=1"));
	assert_true(rig_create("c"));
	started_from("c", "template", current()->row.id);
	assert_string_not_equal(current()->row.id, old);
	assert_true(rig_create("d"));
	started_from("d", "template", current()->row.id);
	/* What stands on it has it as long as it needs it. */
	look_again();
	assert_non_null(template_find(rig.e, old));
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_true(rig_terminate("a"));
	rig_settle();
	look_again();
	assert_null(template_find(rig.e, old));
	assert_int_equal(templates(), 1);
	/* Who wants to know what was altered finds it. */
	path_of(old, ".quarantined", path);
	assert_int_equal(access(path, F_OK), 0);
	assert_nothing_but(3, 0);
	assert_true(rig_create("e"));
	started_from("e", "template", current()->row.id);
	assert_int_equal(templates(), 1);
}

static void one_that_pools_stand_on_is_built_again_before_anybody_asks(
	void **state)
{
	char old[OBJECT_ID_SIZE];

	(void)state;
	start_with("min = 1\n");
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	alter(current(), old);
	/* It would have taken the clone. */
	assert_true(rig_create("b"));
	started_from("b", "cold", "");
	assert_int_equal(pool_ready(rig.e, old), 0);
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_int_equal(pool_ready(rig.e, current()->row.id), 1);
	assert_true(rig_create("c"));
	started_from("c", "pool", current()->row.id);
	assert_true(rig_terminate("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	look_again();
	assert_null(template_find(rig.e, old));
	rig_until(fake_hv_count() == 3);
}

static void one_that_a_clone_for_the_pool_finds_is_built_again(void **state)
{
	char old[OBJECT_ID_SIZE];

	(void)state;
	start_with("min = 1\n");
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	assert_true(rig_terminate("a"));
	alter(current(), old);
	rig.e->config->pool_min = 2;
	look_again();
	rig_until(!current());
	rig_settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	look_again();
	rig_until(pool_ready(rig.e, NULL) == 2);
	rig_settle();
	look_again();
	assert_int_equal(templates(), 1);
	assert_string_not_equal(current()->row.id, old);
	assert_nothing_but(2, 0);
}

static void what_stands_on_it_is_left_its_files(void **state)
{
	char old[OBJECT_ID_SIZE], path[200];

	(void)state;
	start_with("min = 1\n");
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	current()->row.created_ms = 1;
	strcpy(old, current()->row.id);
	path_of(old, "", path);
	/* As fsck tells, which leaves them where they are. */
	template_spoiled(rig.e, old);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	look_again();
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	look_again();
	assert_int_equal(templates(), 2);
	assert_true(rig_resume("a"));
	started_from("a", "snapshot", old);
	assert_int_equal(access(path, F_OK), 0);
	/* Also through a restart. */
	rig_stop();
	rig_start();
	rig_settle();
	look_again();
	assert_int_equal(access(path, F_OK), 0);
	assert_true(template_find(rig.e, old)->row.bad);
	assert_true(rig_terminate("a"));
	rig_settle();
	look_again();
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(templates(), 1);
}

static void a_snapshot_of_it_is_refused_and_stays(void **state)
{
	char old[OBJECT_ID_SIZE];

	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	alter(current(), old);
	assert_false(rig_resume("a"));
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	assert_true(template_find(rig.e, old)->row.bad);
	assert_true(rig_create("b"));
	started_from("b", "template", current()->row.id);
	assert_false(rig_resume("a"));
	look_again();
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	assert_int_equal(rig_files("snapshots"), 1);
}

static void a_pause_that_finds_out_leaves_the_guest_running(void **state)
{
	char old[OBJECT_ID_SIZE];

	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	alter(current(), old);
	assert_false(rig_pause("a"));
	rig_settle();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_null(current());
	assert_true(rig_create("b"));
	started_from("b", "template", current()->row.id);
}

static void one_that_is_gone_is_as_one_that_is_altered(void **state)
{
	char from[200], to[200];

	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	path_of(current()->row.id, "", from);
	path_of(".away", "", to);
	assert_int_equal(rename(from, to), 0);
	assert_true(rig_create("b"));
	started_from("b", "cold", "");
	assert_true(rig_create("c"));
	started_from("c", "template", current()->row.id);
}

static void one_that_cannot_be_put_aside_is_out_of_use_too(void **state)
{
	char old[OBJECT_ID_SIZE], path[200];

	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	alter(current(), old);
	path_of(old, ".quarantined", path);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	assert_true(rig_create("b"));
	started_from("b", "cold", "");
	assert_true(rig_create("c"));
	started_from("c", "template", current()->row.id);
}

static void a_start_that_fails_for_another_reason_spoils_nothing(void **state)
{
	(void)state;
	start_with("min = 0\n");
	assert_true(rig_create("a"));
	world.fail_op = "start";
	assert_false(rig_create("b"));
	world.fail_op = NULL;
	rig_settle();
	assert_non_null(current());
	assert_string_equal(rig_event("template.damaged"), "");
	assert_true(rig_create("b"));
	started_from("b", "template", current()->row.id);
}

static void one_new_that_is_spoiled_is_not_built_again_for_nobody(void **state)
{
	char old[OBJECT_ID_SIZE];

	(void)state;
	start_with("min = 1\n");
	assert_true(rig_create("a"));
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	strcpy(old, current()->row.id);
	template_spoiled(rig.e, old);
	look_again();
	rig_settle();
	assert_int_equal(templates(), 1);
	/* Ten minutes later. */
	template_find(rig.e, old)->retry_ms = 0;
	look_again();
	rig_until(pool_ready(rig.e, NULL) == 1);
	rig_settle();
	/* Who asks need not wait so long. */
	template_spoiled(rig.e, current()->row.id);
	assert_true(rig_create("b"));
	started_from("b", "template", current()->row.id);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(the_create_that_finds_out_boots_cold_and_the_next_has_another),
		T(one_that_pools_stand_on_is_built_again_before_anybody_asks),
		T(one_that_a_clone_for_the_pool_finds_is_built_again),
		T(what_stands_on_it_is_left_its_files),
		T(a_snapshot_of_it_is_refused_and_stays),
		T(a_pause_that_finds_out_leaves_the_guest_running),
		T(one_that_is_gone_is_as_one_that_is_altered),
		T(one_that_cannot_be_put_aside_is_out_of_use_too),
		T(a_start_that_fails_for_another_reason_spoils_nothing),
		T(one_new_that_is_spoiled_is_not_built_again_for_nobody),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
