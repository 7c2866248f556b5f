/* SPDX-License-Identifier: Apache-2.0 */
/* test_fsck.c - files against rows, and what a repair may do */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/fsck.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID "11111111-1111-4111-8111-111111111111"

static struct rig {
	char dir[64];
	struct config *config;
	struct store *store;
	struct fsck f;
} rig;

static char *path_of(const char *name)
{
	return xasprintf("%s/%s", rig.dir, name);
}

static void make(const char *name)
{
	char *path = path_of(name);

	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
}

static bool is_there(const char *name)
{
	char *path = path_of(name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static void write_to(const char *name, const char *text)
{
	char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static void open_store(void)
{
	char *path = path_of("sandboxd.db");
	struct error err;

	if (store_open(path, &rig.store, &err) < 0)
		fail_msg("%s", err.msg);
	free(path);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "guests", "snapshots", "templates",
					    "images" };
	char text[160];
	struct error err;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	strcpy(rig.dir, "/tmp/sbxfsck.XXXXXX");
	if (!mkdtemp(rig.dir))
		return -1;
	for (size_t i = 0; i < 4; i++)
		make(dirs[i]);
	snprintf(text, sizeof(text), "[node]\nstate_dir = %s\n", rig.dir);
	if (config_parse("test", text, &rig.config, &err) < 0)
		return -1;
	open_store();
	rig.f.state_dir = rig.dir;
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	store_close(rig.store);
	fsck_fini(&rig.f);
	config_free(rig.config);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", rig.dir);
	return system(cmd);
}

static void put_meta(void)
{
	store_begin(rig.store);
	store_meta_set(rig.store, "node_id", "node_1");
	assert_int_equal(store_commit(rig.store, NULL), 0);
}

static void put_template(const char *id)
{
	struct template_row row = { .cpu = 2 };

	strcpy(row.id, id);
	store_begin(rig.store);
	store_template_put(rig.store, &row);
	assert_int_equal(store_commit(rig.store, NULL), 0);
}

static size_t count(enum fsck_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < rig.f.report.n; i++)
		n += rig.f.report.problems[i].kind == kind;
	return n;
}

static int offline(bool repair)
{
	int status;

	rig.store = store_close(rig.store);
	status = fsck_offline(rig.config, repair);
	open_store();
	return status;
}

static void see_port(const struct port_row *row, void *arg)
{
	(void)row;
	++*(size_t *)arg;
}

static size_t count_ports(void)
{
	size_t n = 0;

	assert_int_equal(store_ports(rig.store, see_port, &n, NULL), 0);
	return n;
}

/* ---- tests ---- */

static void a_directory_that_no_row_knows_is_a_stray(void **state)
{
	struct sandbox_row sb = { .id = "a", .state = SBX_TERMINATED };

	(void)state;
	make("guests/" UUID);
	make("snapshots/snap_1");
	make("templates/tpl_1");
	fsck_add_sandbox(&rig.f, &sb);
	fsck_run(&rig.f);
	assert_int_equal(count(FSCK_STRAY), 3);
	assert_int_equal(rig.f.report.n, 3);
	assert_int_equal(rig.f.report.unrepaired, 3);
}

static void what_a_row_tells_of_is_no_stray(void **state)
{
	struct sandbox_row sb = { .id = "a",
				  .state = SBX_PAUSING,
				  .uuid = UUID,
				  .next_snapshot = "snap_1" };

	(void)state;
	make("guests/" UUID);
	make("snapshots/snap_1");
	fsck_add_sandbox(&rig.f, &sb);
	fsck_run(&rig.f);
	assert_int_equal(rig.f.report.n, 0);
}

static void cut_off_work_is_told_only_when_nobody_works(void **state)
{
	(void)state;
	make("guests/.trash-x-1");
	make("images/.import-1-1");
	rig.f.running = true;
	fsck_run(&rig.f);
	assert_int_equal(rig.f.report.n, 0);
	rig.f.running = false;
	fsck_run(&rig.f);
	assert_int_equal(count(FSCK_LEFTOVER), 2);
}

static void rows_without_what_they_need_are_told(void **state)
{
	struct sandbox_row paused = { .id = "a",
				      .state = SBX_PAUSED,
				      .snapshot_id = "snap_1" };
	struct sandbox_row running = { .id = "b",
				       .state = SBX_RUNNING,
				       .uuid = UUID,
				       .template_id = "tpl_1",
				       .image_digest = "sha256:1" };
	struct snapshot_row snapshot = { .id = "snap_2" };

	(void)state;
	fsck_add_sandbox(&rig.f, &paused);
	fsck_add_sandbox(&rig.f, &running);
	fsck_add_snapshot(&rig.f, &snapshot);
	fsck_run(&rig.f);
	assert_int_equal(count(FSCK_DANGLING), 3); /* snapshot, tpl, image */
	assert_int_equal(count(FSCK_MISSING), 2);  /* guest, snapshot */
}

static void ports_of_sandboxes_that_are_gone_are_told_and_forgotten(
	void **state)
{
	struct sandbox_row live = { .id = "a", .state = SBX_RUNNING },
			   dead = { .id = "b", .state = SBX_TERMINATED };
	struct port_row ports[] = { { "a", 80, 1 }, { "b", 81, 2 },
				    { "c", 82, 3 } };

	(void)state;
	make("guests/" UUID);
	strcpy(live.uuid, UUID);
	fsck_add_sandbox(&rig.f, &live);
	fsck_add_sandbox(&rig.f, &dead);
	for (size_t i = 0; i < 3; i++)
		fsck_add_port(&rig.f, &ports[i]);
	fsck_run(&rig.f);
	assert_int_equal(count(FSCK_DANGLING), 2);
	assert_string_equal(rig.f.report.problems[0].name, "b:81");
	/* The guest's directory has no row in this database. */
	put_meta();
	put_template("tpl_1");
	make("templates/tpl_1");
	store_begin(rig.store);
	store_port_put(rig.store, &ports[2]);
	assert_int_equal(store_commit(rig.store, NULL), 0);
	assert_int_equal(offline(true), 0);
	assert_int_equal(count_ports(), 0);
}

static void what_does_not_verify_is_damaged(void **state)
{
	struct snapshot_row snapshot = { .id = "snap_1" };
	struct template_row template = { .id = "tpl_1" };
	struct template_row known = { .id = "tpl_2", .bad = true };

	(void)state;
	make("snapshots/snap_1");
	write_to("snapshots/snap_1/manifest", "{}\n");
	make("templates/tpl_1");
	make("templates/tpl_2");
	make("images/0123");
	write_to("images/0123/manifest.json", "{}");
	fsck_add_snapshot(&rig.f, &snapshot);
	fsck_add_template(&rig.f, &template);
	fsck_add_template(&rig.f, &known);
	fsck_run(&rig.f);
	assert_int_equal(count(FSCK_DAMAGED), 3);
	assert_int_equal(rig.f.report.n, 3);
	/* The check only looks: a template stays where it is. */
	assert_true(is_there("templates/tpl_1"));
}

static void problems_are_bounded(void **state)
{
	(void)state;
	for (int i = 0; i < FSCK_PROBLEMS_MAX + 5; i++)
		fsck_tell(&rig.f, FSCK_STRAY, "guests", "x", "%d", i);
	assert_int_equal(rig.f.report.n, FSCK_PROBLEMS_MAX);
	assert_int_equal(rig.f.report.untold, 5);
}

static void a_repair_deletes_strays_and_forgets_empty_rows(void **state)
{
	(void)state;
	put_meta();
	put_template("tpl_1");
	make("guests/" UUID);
	make("snapshots/.trash-x-1");
	assert_int_equal(offline(false), 1);
	assert_true(is_there("guests/" UUID));
	assert_int_equal(offline(true), 0);
	assert_false(is_there("guests/" UUID));
	assert_false(is_there("snapshots/.trash-x-1"));
	/* And with it the last row: an empty database repairs nothing. */
	make("guests/" UUID);
	assert_int_equal(offline(true), 1);
	assert_true(is_there("guests/" UUID));
}

static void a_new_or_foreign_database_repairs_nothing(void **state)
{
	(void)state;
	make("guests/" UUID);
	assert_int_equal(offline(true), 1);
	assert_true(is_there("guests/" UUID));
	put_meta();
	put_template("tpl_1");
	free(rig.config->node_id);
	rig.config->node_id = strdup("node_2");
	assert_int_equal(offline(true), 1);
	assert_true(is_there("guests/" UUID));
}

static void without_a_database_nothing_is_checked_and_none_made(void **state)
{
	char *path = path_of("sandboxd.db");

	(void)state;
	rig.store = store_close(rig.store);
	unlink(path);
	assert_int_equal(fsck_offline(rig.config, true), 2);
	assert_int_equal(access(path, F_OK), -1);
	free(path);
}

static void a_daemon_that_runs_keeps_it_out(void **state)
{
	(void)state;
	assert_int_equal(fsck_offline(rig.config, true), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_directory_that_no_row_knows_is_a_stray),
		T(what_a_row_tells_of_is_no_stray),
		T(cut_off_work_is_told_only_when_nobody_works),
		T(rows_without_what_they_need_are_told),
		T(ports_of_sandboxes_that_are_gone_are_told_and_forgotten),
		T(what_does_not_verify_is_damaged),
		T(problems_are_bounded),
		T(a_repair_deletes_strays_and_forgets_empty_rows),
		T(a_new_or_foreign_database_repairs_nothing),
		T(without_a_database_nothing_is_checked_and_none_made),
		T(a_daemon_that_runs_keeps_it_out),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
