/* SPDX-License-Identifier: Apache-2.0 */
/* test_damaged.c - rows of the state database that make no sense */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/merge.h"
#include "engine/saves.h"
#include "engine/templates.h"
#include "engine_rig.h"

#include <sqlite3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sqlite3 *db(void)
{
	return *(sqlite3 **)rig.e->store;
}

static void sql(const char *text)
{
	char *err = NULL;

	if (sqlite3_exec(db(), text, NULL, NULL, &err) != SQLITE_OK)
		fail_msg("%s: %s", text, err);
}

static void restart(void)
{
	rig_stop();
	rig_start();
	rig_settle();
}

static bool snapshot(const char *id, const char *name)
{
	NODE(CreateSnapshot, CREATE_SNAPSHOT);

	m.sandbox_id = (char *)(uintptr_t)id;
	m.name = (char *)(uintptr_t)name;
	return rig_call("CreateSnapshot", &m.base);
}

static bool restore(const char *id, const char *snapshot_id)
{
	NODE(RestoreSandbox, RESTORE_SANDBOX);

	m.sandbox_id = (char *)(uintptr_t)id;
	m.snapshot_id = (char *)(uintptr_t)snapshot_id;
	return rig_call("RestoreSandbox", &m.base);
}

static bool expose(const char *id)
{
	NODE(ExposePort, EXPOSE_PORT);

	m.sandbox_id = (char *)(uintptr_t)id;
	m.port = 80;
	return rig_call("ExposePort", &m.base);
}

/* How many rows fsck tells of, and of the last its path and text. */
static size_t fsck(bool repair, char path[200])
{
	NODE(CheckState, CHECK_STATE);
	Sandbox__Node__V1__CheckStateResponse *r;
	size_t n = 0;

	path[0] = '\0';
	m.repair = repair;
	assert_true(rig_call("CheckState", &m.base));
	r = sandbox__node__v1__check_state_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	for (size_t i = 0; i < r->n_problems; i++)
		if (!strncmp(r->problems[i]->path, "sandboxd.db/", 12)) {
			n++;
			snprintf(path, 200, "%s%s", r->problems[i]->path,
				 r->problems[i]->repaired ? " repaired" : "");
		}
	pb_free(r);
	return n;
}

/* What fsck tells of @path; "" nothing. */
static const char *problem_of(const char *path, bool repair)
{
	NODE(CheckState, CHECK_STATE);
	Sandbox__Node__V1__CheckStateResponse *r;
	static char text[64];

	text[0] = '\0';
	m.repair = repair;
	assert_true(rig_call("CheckState", &m.base));
	r = sandbox__node__v1__check_state_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	for (size_t i = 0; i < r->n_problems; i++)
		if (!strcmp(r->problems[i]->path, path))
			snprintf(text, sizeof(text), "%s%s",
				 r->problems[i]->kind,
				 r->problems[i]->repaired ? " repaired" : "");
	pb_free(r);
	return text;
}

/* ---- each column of each table ---- */

static void copy(const char *from, const char *to)
{
	char cmd[300];

	snprintf(
		cmd, sizeof(cmd),
		"cd %s/state && rm -f %s %s-wal && cp %s %s && if [ -e %s-wal ]"
		"; then cp %s-wal %s-wal; fi",
		rig.dir, to, to, from, to, from, from, to);
	assert_int_equal(system(cmd), 0);
}

/* "UPDATE .." for the column; false: there are no more. */
static bool spoil(const char *table, int column, const char *value,
		  char ret[200])
{
	sqlite3_stmt *s;
	char *text = sqlite3_mprintf("SELECT name FROM pragma_table_info('%s')"
				     " WHERE cid = %d",
				     table, column);
	bool found;

	assert_int_equal(sqlite3_prepare_v2(db(), text, -1, &s, NULL),
			 SQLITE_OK);
	found = sqlite3_step(s) == SQLITE_ROW;
	if (found)
		snprintf(ret, 200, "UPDATE %s SET %s = %s", table,
			 (const char *)sqlite3_column_text(s, 0), value);
	sqlite3_finalize(s);
	sqlite3_free(text);
	return found;
}

static const struct {
	const char *name, *one; /* which row */
} tables[] = {
	{ "sandboxes", "id = 'a'" },
	{ "snapshots", "internal = 0" },
	{ "snapshots", "internal = 1" },
	{ "templates", "1" },
	{ "ports", "1" },
};

/* As it was before, with nothing lost. */
static void assert_unharmed(void)
{
	assert_int_equal(rig.e->damaged, 0);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(rig_state("b"), SBX_PAUSED);
	assert_int_equal(rig_state("c"), SBX_RUNNING);
	assert_int_equal(rig_files("snapshots"), 2);
	assert_int_equal(rig_files("guests"), 2);
	assert_int_equal(fake_hv_count(), 2);
}

static void try_one(const char *update, const char *one, size_t templates)
{
	char *text = xasprintf("%s WHERE %s", update, one), path[200];
	unsigned int told = 0;

	rig_stop();
	copy("sandboxd.db", "kept.db");
	rig_start();
	rig_settle();
	sql(text);
	restart();
	/* Nothing else is affected, and nothing goes. */
	assert_int_equal(rig_state("c"), SBX_RUNNING);
	assert_int_equal(rig_files("snapshots"), 2);
	assert_int_equal(rig_files("guests"), 2);
	assert_int_equal(rig_files("templates"), templates);
	assert_int_equal(fake_hv_count(), 2);
	told = rig.e->damaged_told;
	if (told)
		assert_non_null(strstr(strstr(text, "sandboxes") &&
						       !strstr(text, "SET id") ?
					       rig_event("sandbox.error") :
					       rig_event("node.error"),
				       "STATE_UNREADABLE"));
	/* What a sandbox knows of its pause is put right. */
	if (told && strstr(text, "internal = 1") && !strstr(text, "SET id"))
		told = 0;
	assert_int_equal(fsck(false, path), told);
	/* Nor does anything that began with the start. */
	rig_settle();
	assert_int_not_equal(rig_state("a"), SBX_TERMINATED);
	assert_int_not_equal(rig_state("b"), SBX_TERMINATED);
	assert_int_equal(rig_files("guests"), 2);
	assert_int_equal(rig_files("snapshots"), 2);
	rig_stop();
	copy("kept.db", "sandboxd.db");
	rig_start();
	rig_settle();
	assert_unharmed();
	free(text);
}

static void no_column_of_any_row_keeps_the_node_from_starting(void **state)
{
	static const char *const values[] = { "x'fe0100'", "'no/such'", "-5" };
	char update[200];
	size_t templates;

	(void)state;
	for (const char *id = "a\0b\0c\0"; *id; id += 2)
		assert_true(rig_create(id));
	assert_true(rig_pause("b"));
	assert_true(snapshot("c", "s"));
	assert_true(expose("c"));
	restart();
	assert_unharmed();
	templates = rig_files("templates");
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (size_t v = 0; v < 3; v++)
			for (int c = 0;
			     spoil(tables[t].name, c, values[v], update); c++)
				try_one(update, tables[t].one, templates);
	assert_true(rig_resume("b"));
	assert_true(restore("c", "s"));
}

/* ---- snapshots ---- */

#define JUNK "x'00534201ff'"

static void a_damaged_snapshot_is_listed_and_can_only_be_removed(void **state)
{
	NODE(ListSnapshots, LIST_SNAPSHOTS);
	Sandbox__Node__V1__RemoveSnapshotRequest m1 =
		SANDBOX__NODE__V1__REMOVE_SNAPSHOT_REQUEST__INIT;
	Sandbox__Node__V1__ForkSandboxRequest m2 =
		SANDBOX__NODE__V1__FORK_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__ListSnapshotsResponse *r;
	char path[200], id[OBJECT_ID_SIZE];

	(void)state;
	assert_true(rig_create("a"));
	assert_true(snapshot("a", "s"));
	sql("UPDATE snapshots SET spec = " JUNK);
	restart();
	assert_true(rig_call("ListSnapshots", &m.base));
	r = sandbox__node__v1__list_snapshots_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_int_equal(r->n_snapshots, 1);
	assert_string_equal(r->snapshots[0]->problem, STATE_UNREADABLE);
	assert_string_equal(r->snapshots[0]->name, "s");
	snprintf(id, sizeof(id), "%s", r->snapshots[0]->id);
	pb_free(r);
	assert_false(restore("a", "s"));
	assert_int_equal(world.answer_err.code, ERR_DATA_LOSS);
	m2.snapshot_id = (char *)(uintptr_t) "s";
	assert_false(rig_call("ForkSandbox", &m2.base));
	assert_int_equal(world.answer_err.code, ERR_DATA_LOSS);
	/* No repair takes it away. */
	assert_int_equal(fsck(true, path), 1);
	assert_non_null(strstr(path, id));
	assert_null(strstr(path, "repaired"));
	assert_int_equal(rig_files("snapshots"), 1);
	m1.snapshot_id = id;
	assert_true(rig_call("RemoveSnapshot", &m1.base));
	rig_settle();
	assert_int_equal(rig_files("snapshots"), 0);
	assert_int_equal(fsck(false, path), 0);
	restart();
	assert_int_equal(rig.e->damaged, 0);
}

/* Its row would be written anew, from what could be read. */
static void a_damaged_snapshot_is_not_merged(void **state)
{
	char path[200];

	(void)state;
	assert_true(rig_create("a"));
	assert_true(snapshot("a", "s"));
	sql("UPDATE snapshots SET spec = " JUNK);
	world.long_chains = true;
	restart();
	merge_next(rig.e);
	while (rig.e->merge)
		rig_tick();
	assert_int_equal(world.merges, 0);
	assert_int_equal(fsck(false, path), 1);
}

static void
a_paused_sandbox_resumes_whose_snapshots_row_is_damaged(void **state)
{
	char path[200];

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_pause("a"));
	sql("UPDATE snapshots SET nonce = " JUNK);
	restart();
	assert_int_equal(rig_state("a"), SBX_PAUSED);
	assert_int_equal(fsck(false, path), 0);
	assert_true(rig_resume("a"));
	rig_settle();
	assert_nothing_but(1, 1);
}

static void the_only_row_there_is_may_be_the_damaged_one(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	sql("UPDATE sandboxes SET spec = " JUNK);
	restart();
	assert_int_equal(rig_state("a"), SBX_FAILED);
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_nothing_but(0, 0);
}

/* ---- answers ---- */

static void a_damaged_answer_is_told_and_given_to_nobody(void **state)
{
	Sandbox__Node__V1__PauseSandboxRequest m =
		SANDBOX__NODE__V1__PAUSE_SANDBOX_REQUEST__INIT;

	(void)state;
	assert_true(rig_create("a"));
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.request_id = (char *)(uintptr_t) "r1";
	assert_true(rig_call("PauseSandbox", &m.base));
	assert_true(rig_call("PauseSandbox", &m.base));
	assert_string_equal(problem_of("requests/r1", false), "");
	sql("UPDATE requests SET answer = substr(answer, 1,"
	    " length(answer) - 1) || x'00' WHERE id = 'r1'");
	restart();
	assert_false(rig_call("PauseSandbox", &m.base));
	assert_int_equal(world.answer_err.code, ERR_DATA_LOSS);
	assert_string_equal(problem_of("requests/r1", false), "damaged");
	assert_string_equal(problem_of("requests/r1", true),
			    "damaged repaired");
	assert_string_equal(problem_of("requests/r1", false), "");
	/* Nobody knows of the request any more: it is one like any other. */
	assert_false(rig_call("PauseSandbox", &m.base));
	assert_int_equal(world.answer_err.code, ERR_CONFLICT);
	assert_int_equal(rig_state("a"), SBX_PAUSED);
}

/* ---- ports and clones ---- */

static void a_damaged_port_is_closed_until_it_is_repaired(void **state)
{
	char path[200];

	(void)state;
	assert_true(rig_create("a"));
	assert_true(expose("a"));
	sql("UPDATE ports SET host_port = 70000");
	restart();
	assert_int_equal(rig.e->damaged, 0);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(fsck(false, path), 1);
	assert_string_equal(path, "sandboxd.db/ports/a:80");
	assert_int_equal(fsck(true, path), 1);
	assert_string_equal(path, "sandboxd.db/ports/a:80 repaired");
	assert_int_equal(fsck(false, path), 0);
	assert_true(expose("a"));
}

static void a_damaged_waiting_clone_is_ended(void **state)
{
	char path[200];

	(void)state;
	assert_true(rig_create("a"));
	sql("INSERT INTO pool VALUES ('12345678-1111-4111-8111-111111111111',"
	    " 'tpl_1', 'what')");
	sql("INSERT INTO pool VALUES ('../up', 'tpl_1', 3)");
	restart();
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_int_equal(fsck(true, path), 1);
	assert_string_equal(path, "sandboxd.db/pool/../up repaired");
	assert_int_equal(fsck(false, path), 0);
	assert_nothing_but(1, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(no_column_of_any_row_keeps_the_node_from_starting),
		T(a_damaged_snapshot_is_listed_and_can_only_be_removed),
		T(a_damaged_snapshot_is_not_merged),
		T(a_paused_sandbox_resumes_whose_snapshots_row_is_damaged),
		T(the_only_row_there_is_may_be_the_damaged_one),
		T(a_damaged_answer_is_told_and_given_to_nobody),
		T(a_damaged_port_is_closed_until_it_is_repaired),
		T(a_damaged_waiting_clone_is_ended),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
