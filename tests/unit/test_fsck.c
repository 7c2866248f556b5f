/* SPDX-License-Identifier: Apache-2.0 */
/* test_fsck.c - files against rows, and what a repair may do */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/fsck.h"
#include "fakes.h"

#include <fcntl.h>
#include <sqlite3.h>
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
	world_reset();
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

static void spoil(const char *text)
{
	assert_int_equal(sqlite3_exec(*(sqlite3 **)rig.store, text, NULL, NULL,
				      NULL),
			 SQLITE_OK);
}

/* The first repair takes the row, which is nothing's; only then is a stray
 * nobody's for sure.
 */
static void what_may_be_a_damaged_rows_stays_until_that_is_repaired(
	void **state)
{
	(void)state;
	put_meta();
	put_template("tpl_1");
	put_template("tpl_2");
	make("templates/tpl_1");
	make("templates/tpl_2");
	spoil("UPDATE templates SET id = x'fe01', bad = 1 WHERE id = 'tpl_2';"
	      "UPDATE templates SET bad = 1");
	assert_int_equal(offline(false), 1);
	assert_int_equal(offline(true), 1);
	assert_true(is_there("templates/tpl_2"));
	assert_int_equal(offline(true), 0);
	assert_false(is_there("templates/tpl_2"));
	assert_true(is_there("templates/tpl_1"));
}

static void a_damaged_row_of_an_object_is_told_and_kept(void **state)
{
	(void)state;
	put_meta();
	put_template("tpl_1");
	make("templates/tpl_1");
	spoil("UPDATE templates SET cpu = 'two'");
	assert_int_equal(offline(true), 1);
	assert_int_equal(offline(true), 1);
	assert_true(is_there("templates/tpl_1"));
	spoil("UPDATE templates SET cpu = 2, bad = 1");
	assert_int_equal(offline(false), 0);
}

/* ---- requests ---- */

#define HOUR INT64_C(3600000)

static void put_request(const char *id, const char *method,
			const char *sandbox_id, int64_t expires_ms,
			bool answered)
{
	static const uint8_t digest[REQUEST_DIGEST_LEN];

	store_begin(rig.store);
	store_request_put(rig.store, id, method, sandbox_id, digest,
			  loop_wall_ms() + expires_ms);
	if (answered)
		store_request_answer(rig.store, id, (const uint8_t *)"x", 1);
	assert_int_equal(store_commit(rig.store, NULL), 0);
}

static void put_sandbox(const char *id, enum sandbox_state state, int64_t slot)
{
	Spec spec = SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;
	struct sandbox_row row = { .state = state, .slot = slot,
				   .spec = &spec };

	strcpy(row.id, id);
	if (slot >= 0)
		strcpy(row.uuid, UUID);
	store_begin(rig.store);
	store_sandbox_put(rig.store, &row);
	assert_int_equal(store_commit(rig.store, NULL), 0);
}

/* When a daemon worked on it last. */
static void put_event(int64_t ago_ms)
{
	struct store_event event = { .type = "node.stopping",
				     .time_ms = loop_wall_ms() - ago_ms,
				     .data = (const uint8_t *)"",
				     .data_len = 0 };

	store_begin(rig.store);
	store_event_add(rig.store, &event);
	assert_int_equal(store_commit(rig.store, NULL), 0);
}

static bool has_request(const char *id)
{
	struct store_request r;
	int found = store_request_get(rig.store, id, &r, NULL);

	assert_true(found >= 0);
	if (found)
		free(r.answer);
	return found;
}

/* What is told of this name in a directory; "" nothing. */
static const char *told(const char *dir, const char *name)
{
	const struct fsck_report *r = &rig.f.report;

	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->problems[i].dir, dir) &&
		    !strcmp(r->problems[i].name, name))
			return fsck_kind_str(r->problems[i].kind);
	return "";
}

static void check_requests(int64_t alive_ago_ms)
{
	struct error err;
	int64_t now = loop_wall_ms();

	fsck_fini(&rig.f);
	rig.f.state_dir = rig.dir;
	assert_int_equal(fsck_requests(&rig.f, rig.store, now,
				       now - alive_ago_ms, &err),
			 0);
}

static void requests_that_are_as_they_should_be_are_not_told(void **state)
{
	(void)state;
	put_sandbox("a", SBX_RUNNING, -1);
	put_sandbox("dead", SBX_TERMINATED, -1);
	put_request("r1", "CreateSandbox", "a", 20 * HOUR, true);
	put_request("r2", "PauseSandbox", "a", 24 * HOUR, false);
	put_request("r3", "TerminateSandbox", "dead", 3 * HOUR, true);
	/* Repeated a day later, when it was forgotten. */
	put_request("r4", "TerminateSandbox", "gone", 3 * HOUR, true);
	/* Not about a sandbox at all. */
	put_request("r5", "ImportImage", "debian:12", 3 * HOUR, false);
	put_request("r6", "BuildTemplate", "", 3 * HOUR, true);
	put_request("r7", "ForkSandbox", "", 3 * HOUR, true); /* a snapshot */
	check_requests(0);
	assert_int_equal(rig.f.report.n, 0);
}

static void requests_about_nobody_are_told(void **state)
{
	(void)state;
	put_sandbox("a", SBX_RUNNING, -1);
	put_request("r1", "CreateSandbox", "gone", 20 * HOUR, true);
	put_request("r2", "PauseSandbox", "gone", 20 * HOUR, false);
	put_request("r3", "TerminateSandbox", "gone", 20 * HOUR, false);
	check_requests(0);
	assert_string_equal(told("requests", "r1"), "dangling");
	assert_string_equal(told("requests", "r2"), "dangling");
	assert_string_equal(told("requests", "r3"), "dangling");
}

static void requests_older_than_their_life_are_told_once_a_daemon_saw_them(
	void **state)
{
	(void)state;
	put_request("old", "BuildTemplate", "", -2 * HOUR, true);
	put_request("just", "BuildTemplate", "", -HOUR / 2, true);
	/* Nobody was there to forget it. */
	check_requests(3 * HOUR);
	assert_int_equal(rig.f.report.n, 0);
	check_requests(0);
	assert_int_equal(rig.f.report.n, 1);
	assert_string_equal(told("requests", "old"), "leftover");
}

static void requests_that_make_no_sense_are_told(void **state)
{
	(void)state;
	put_request("a b", "BuildTemplate", "", HOUR, true);
	put_request("", "BuildTemplate", "", HOUR, true);
	put_request("far", "BuildTemplate", "", 60 * 24 * HOUR, true);
	put_request("none", "", "", HOUR, true);
	check_requests(0);
	assert_int_equal(rig.f.report.n, 4);
	assert_string_equal(told("requests", "a b"), "damaged");
	assert_string_equal(told("requests", "far"), "damaged");
	assert_string_equal(told("requests", "none"), "damaged");
}

#define SPOIL_ANSWER                                                           \
	"UPDATE requests SET answer = substr(answer, 1, length(answer) - 1)"   \
	" || x'00' WHERE id = 'r1'"

static void an_answer_that_cannot_be_read_is_told_and_forgotten(void **state)
{
	(void)state;
	put_meta();
	put_event(0);
	put_sandbox("a", SBX_PAUSED, -1);
	put_request("r1", "PauseSandbox", "a", 20 * HOUR, true);
	put_request("r2", "PauseSandbox", "a", 20 * HOUR, true);
	put_request("r3", "PauseSandbox", "a", 20 * HOUR, false);
	spoil(SPOIL_ANSWER);
	check_requests(0);
	assert_int_equal(rig.f.report.n, 1);
	assert_string_equal(told("requests", "r1"), "damaged");
	offline(false);
	check_requests(0);
	assert_int_equal(rig.f.report.n, 1);
	offline(true);
	check_requests(0);
	assert_int_equal(rig.f.report.n, 0);
	assert_false(has_request("r1"));
	assert_true(has_request("r2") && has_request("r3"));
}

/* Then it is the key that has to be found again. */
static void with_another_key_no_answer_is_damaged_nor_forgotten(void **state)
{
	char *key = path_of("node.key"), *kept = path_of("kept.key");

	(void)state;
	put_request("r1", "BuildTemplate", "", HOUR, true);
	put_request("old", "BuildTemplate", "", -2 * HOUR, true);
	rig.store = store_close(rig.store);
	assert_int_equal(rename(key, kept), 0);
	write_to("node.key", "01234567890123456789012345678901");
	open_store();
	check_requests(0);
	assert_int_equal(rig.f.report.n, 1);
	assert_string_equal(told("requests", "old"), "leftover");
	store_begin(rig.store);
	store_requests_drop_odd(rig.store, loop_wall_ms(), loop_wall_ms());
	assert_int_equal(store_commit(rig.store, NULL), 0);
	rig.store = store_close(rig.store);
	assert_int_equal(rename(kept, key), 0);
	open_store();
	assert_true(has_request("r1"));
	assert_false(has_request("old"));
	free(key);
	free(kept);
}

static void a_repair_forgets_odd_requests_and_no_others(void **state)
{
	(void)state;
	put_meta();
	put_event(0);
	put_sandbox("a", SBX_PAUSED, -1);
	put_template("tpl_1");
	make("templates/tpl_1");
	put_request("good", "CreateSandbox", "a", HOUR, true);
	put_request("old", "BuildTemplate", "", -2 * HOUR, true);
	put_request("lost", "CreateSandbox", "gone", 3 * HOUR, true);
	assert_int_equal(offline(false), 1);
	assert_true(has_request("old") && has_request("lost"));
	offline(true);
	assert_false(has_request("old") || has_request("lost"));
	assert_true(has_request("good"));
}

/* ---- the network ---- */

static void taps_and_rules_that_no_row_owns_are_told_and_taken_away(
	void **state)
{
	(void)state;
	put_meta();
	put_template("tpl_1");
	put_sandbox("a", SBX_RUNNING, 3);
	make("guests/" UUID);
	world.attached_slots[3] = world.attached_slots[4] = true;
	offline(false);
	assert_true(world.attached_slots[4]);
	world.tap_in_use = true;
	offline(true);
	assert_true(world.attached_slots[4]);
	world.tap_in_use = false;
	offline(true);
	assert_false(world.attached_slots[4]);
	assert_true(world.attached_slots[3]);
}

static void a_new_database_takes_no_tap_away(void **state)
{
	(void)state;
	world.attached_slots[4] = true;
	assert_int_equal(offline(true), 1);
	assert_true(world.attached_slots[4]);
}

static void the_network_of_another_node_is_not_looked_at(void **state)
{
	(void)state;
	put_meta();
	put_template("tpl_1");
	make("templates/tpl_1");
	offline(true); /* marks the template */
	world.attached_slots[4] = world.net_is_anothers = true;
	assert_int_equal(offline(true), 0);
	assert_true(world.attached_slots[4]);
}

static bool lives(const char *uuid)
{
	return !strcmp(uuid, UUID);
}

static bool is_three(uint32_t number, void *arg)
{
	(void)arg;
	return number == 3;
}

static void a_guest_that_runs_without_its_tap_is_told(void **state)
{
	struct sandbox_row a = { .id = "a", .state = SBX_RUNNING, .slot = 3,
				 .uuid = UUID },
			   b = { .id = "b", .state = SBX_RUNNING, .slot = 3,
				 .uuid = "dead" },
			   c = { .id = "c", .state = SBX_PAUSED, .slot = -1 };
	struct error err;

	(void)state;
	fsck_add_sandbox(&rig.f, &a);
	fsck_add_sandbox(&rig.f, &b);
	fsck_add_sandbox(&rig.f, &c);
	assert_int_equal(fsck_network(&rig.f, NULL, is_three, NULL, lives,
				      &err),
			 0);
	assert_int_equal(rig.f.report.n, 1);
	assert_string_equal(told("taps", "sbx3"), "missing");
	world.attached_slots[3] = true;
	fsck_fini(&rig.f);
	fsck_add_sandbox(&rig.f, &a);
	assert_int_equal(fsck_network(&rig.f, NULL, is_three, NULL, lives,
				      &err),
			 0);
	assert_int_equal(rig.f.report.n, 0);
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
		T(what_may_be_a_damaged_rows_stays_until_that_is_repaired),
		T(a_damaged_row_of_an_object_is_told_and_kept),
		T(requests_that_are_as_they_should_be_are_not_told),
		T(requests_about_nobody_are_told),
		T(requests_older_than_their_life_are_told_once_a_daemon_saw_them),
		T(requests_that_make_no_sense_are_told),
		T(an_answer_that_cannot_be_read_is_told_and_forgotten),
		T(with_another_key_no_answer_is_damaged_nor_forgotten),
		T(a_repair_forgets_odd_requests_and_no_others),
		T(taps_and_rules_that_no_row_owns_are_told_and_taken_away),
		T(a_new_database_takes_no_tap_away),
		T(the_network_of_another_node_is_not_looked_at),
		T(a_guest_that_runs_without_its_tap_is_told),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
