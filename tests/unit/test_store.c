/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - what was committed is there again, what was not is not */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/spec_check.h"
#include "engine/store.h"

#include <sqlite3.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[96];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/sbxstore.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/db", dir);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static struct store *open_it(void)
{
	struct store *store;
	struct error err;

	if (store_open(path, &store, &err) < 0)
		fail_msg("%s", err.msg);
	return store;
}

static void fill(struct sandbox_row *row, Spec *spec, const char *id)
{
	*row = (struct sandbox_row){
		.state = SBX_RUNNING,
		.generation = 7,
		.slot = 12,
		.created_ms = 1,
		.started_ms = 2,
		.paused_ms = 3,
		.resumed_ms = 4,
		.terminated_ms = 5,
		.created_boot_ms = 6,
		.run_ms = 8,
		.run_boot_ms = 12,
		.busy_boot_ms = 13,
		.runtime_ms = 9,
		.cpu_ms = 10,
		.spec = spec,
	};
	sandbox__node__v1__create_sandbox_request__init(spec);
	spec->workdir = (char *)(uintptr_t) "/w";
	strcpy(row->id, id);
	strcpy(row->reason, "why");
	strcpy(row->uuid, "00000000-1111-4111-8111-222222222222");
	strcpy(row->image_digest, "sha256:1");
	strcpy(row->template_id, "tpl");
	strcpy(row->snapshot_id, "snap");
	strcpy(row->next_snapshot, "next");
	strcpy(row->machine_id, "m");
	strcpy(row->boot_id, "b");
	strcpy(row->start_kind, "pool");
	memset(row->nonce, 0xab, sizeof(row->nonce));
}

struct seen {
	unsigned int n;
	struct sandbox_row row;
};

static void see(const struct sandbox_row *row, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	if (seen->row.spec)
		pb_free(seen->row.spec);
	seen->row = *row;
}

static void a_sandbox_comes_back_field_by_field(void **state)
{
	struct store *store = open_it();
	struct sandbox_row row;
	struct seen seen = { 0 };
	Spec spec;

	(void)state;
	fill(&row, &spec, "a");
	store_begin(store);
	store_sandbox_put(store, &row);
	assert_int_equal(store_commit(store, NULL), 0);
	store_close(store);
	store = open_it();
	assert_int_equal(store_sandboxes(store, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.row.spec->workdir, "/w");
	pb_free(seen.row.spec);
	seen.row.spec = row.spec = NULL;
	assert_memory_equal(&seen.row, &row, sizeof(row));
	store_close(store);
}

static void what_was_not_committed_is_not_there(void **state)
{
	struct store *store = open_it();
	struct sandbox_row row;
	struct seen seen = { 0 };
	Spec spec;

	(void)state;
	fill(&row, &spec, "a");
	store_begin(store);
	store_sandbox_put(store, &row);
	store_close(store);
	store = open_it();
	assert_int_equal(store_sandboxes(store, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 0);
	store_close(store);
}

static void a_failure_fails_the_whole_commit(void **state)
{
	struct store *store = open_it();
	struct sandbox_row row;
	struct seen seen = { 0 };
	struct error err;
	sqlite3 *db = *(sqlite3 **)store; /* its first member */
	Spec spec;

	(void)state;
	sqlite3_exec(db,
		     "CREATE TRIGGER t BEFORE INSERT ON ports BEGIN "
		     "SELECT RAISE(ABORT, 'no'); END",
		     NULL, NULL, NULL);
	fill(&row, &spec, "a");
	store_begin(store);
	store_sandbox_put(store, &row);
	store_port_put(store, &(struct port_row){ "a", 1, 2 });
	assert_int_equal(store_commit(store, &err), -1);
	assert_non_null(strstr(err.msg, "no"));
	assert_int_equal(store_sandboxes(store, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 0);
	/* And the next one works. */
	store_begin(store);
	store_sandbox_put(store, &row);
	assert_int_equal(store_commit(store, NULL), 0);
	store_close(store);
}

static void only_one_daemon_has_it(void **state)
{
	struct store *store = open_it(), *other;
	struct error err;

	(void)state;
	store_begin(store);
	store_meta_set(store, "a", "b");
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_open(path, &other, &err), -1);
	store_close(store);
}

static void only_its_owner_can_read_it(void **state)
{
	struct store *store = open_it();
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	store_close(store);
}

static void a_newer_schema_is_refused(void **state)
{
	struct store *store = open_it();
	struct error err;

	(void)state;
	sqlite3_exec(*(sqlite3 **)store, "PRAGMA user_version = 999", NULL,
		     NULL, NULL);
	store_close(store);
	assert_int_equal(store_open(path, &store, &err), -1);
	assert_non_null(strstr(err.msg, "newer"));
}

static void run_sql(const char *name)
{
	const char *srcdir = getenv("srcdir");
	_cleanup_free_ char *file = xasprintf("%s/tests/unit/golden/%s",
					      srcdir ? srcdir : "..", name);
	_cleanup_free_ char *text = NULL;
	sqlite3 *db;

	assert_int_equal(fd_read_file(AT_FDCWD, file, 1 << 20, &text, NULL), 0);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void see_port(const struct port_row *row, void *arg)
{
	assert_int_equal(row->host_port, 20000);
	++*(int *)arg;
}

static void see_clone(const struct pool_row *row, void *arg)
{
	assert_int_equal(row->slot, 13);
	++*(int *)arg;
}

static void see_template(const struct template_row *row, void *arg)
{
	assert_int_equal(row->memory_mib, 2048);
	assert_int_equal(row->asked_ms, row->used_ms);
	++*(int *)arg;
}

static void see_snapshot(const struct snapshot_row *row, void *arg)
{
	assert_string_equal(row->name, "n");
	pb_free(row->spec);
	++*(int *)arg;
}

/* Nothing that a daemon of the first schema knew is lost, and the present one
 * can go on with it.
 */
static void the_first_schema_is_brought_up_to_date(void **state)
{
	struct seen seen = { 0 };
	struct store_request request;
	struct sandbox_row row;
	struct store *store;
	uint64_t oldest, newest;
	char node[16];
	int n = 0;
	Spec spec;

	(void)state;
	run_sql("store-v1.sql");
	store = open_it();
	assert_int_equal(store_sandboxes(store, see, &seen, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_string_equal(seen.row.spec->workdir, "/w");
	pb_free(seen.row.spec);
	fill(&row, &spec, "a");
	/* It did not know these. */
	row.busy_boot_ms = row.run_boot_ms = 0;
	seen.row.spec = row.spec = NULL;
	assert_memory_equal(&seen.row, &row, sizeof(row));
	store_meta_get(store, "node_id", node, sizeof(node));
	assert_string_equal(node, "node_1");
	assert_int_equal(store_request_get(store, "r", &request, NULL), 1);
	store_events_range(store, &oldest, &newest);
	assert_int_equal(newest, 1);
	assert_int_equal(store_ports(store, see_port, &n, NULL), 0);
	assert_int_equal(store_pool(store, see_clone, &n, NULL), 0);
	assert_int_equal(store_templates(store, see_template, &n, NULL), 0);
	assert_int_equal(store_snapshots(store, see_snapshot, &n, NULL), 0);
	assert_int_equal(n, 4);
	fill(&row, &spec, "a");
	store_begin(store);
	store_sandbox_put(store, &row);
	store_sandbox_busy(store, "a", 77);
	assert_int_equal(store_commit(store, NULL), 0);
	seen.row.spec = NULL;
	assert_int_equal(store_sandboxes(store, see, &seen, NULL), 0);
	assert_int_equal(seen.row.busy_boot_ms, 77);
	pb_free(seen.row.spec);
	store_close(store);
	/* Once: the second time there is nothing to do. */
	store = open_it();
	store_close(store);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	struct store *store;
	struct error err;
	FILE *f = fopen(path, "w");

	(void)state;
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", f);
	fclose(f);
	assert_int_equal(store_open(path, &store, &err), -1);
}

static void a_request_is_kept_with_its_answer(void **state)
{
	struct store *store = open_it();
	struct store_request row;
	uint8_t digest[REQUEST_DIGEST_LEN] = { 1, 2, 3 };
	char id[REQUEST_ID_MAX + 1];

	(void)state;
	assert_int_equal(store_request_get(store, "r", &row, NULL), 0);
	store_begin(store);
	store_request_put(store, "r", "PauseSandbox", "a", digest, 1000);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_request_get(store, "r", &row, NULL), 1);
	assert_false(row.answered);
	assert_memory_equal(row.digest, digest, sizeof(digest));
	assert_true(store_request_pending(store, "PauseSandbox", "a", id));
	assert_string_equal(id, "r");
	store_begin(store);
	store_request_answer(store, "r", (const uint8_t *)"yes", 3);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_false(store_request_pending(store, "PauseSandbox", "a", id));
	store_close(store);
	store = open_it();
	assert_int_equal(store_request_get(store, "r", &row, NULL), 1);
	assert_true(row.answered);
	assert_int_equal(row.answer_len, 3);
	free(row.answer);
	store_begin(store);
	store_requests_expire(store, 1001);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_request_get(store, "r", &row, NULL), 0);
	store_close(store);
}

/* An empty answer is an answer too. */
static void an_empty_answer_counts(void **state)
{
	struct store *store = open_it();
	struct store_request row;
	uint8_t digest[REQUEST_DIGEST_LEN] = { 0 };

	(void)state;
	store_begin(store);
	store_request_put(store, "r", "ClosePort", "a", digest, 1000);
	store_request_answer(store, "r", NULL, 0);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_request_get(store, "r", &row, NULL), 1);
	assert_true(row.answered);
	store_close(store);
}

struct run {
	uint64_t last;
	unsigned int n;
	bool gap;
};

static bool count(const struct store_event *event, void *arg)
{
	struct run *run = arg;

	if (run->n && event->sequence != run->last + 1)
		run->gap = true;
	run->last = event->sequence;
	run->n++;
	return true;
}

static void add_events(struct store *store, unsigned int n, bool commit)
{
	struct store_event ev = { .type = "t",
				  .sandbox_id = "a",
				  .time_ms = 5 };

	store_begin(store);
	while (n--)
		store_event_add(store, &ev);
	if (commit)
		assert_int_equal(store_commit(store, NULL), 0);
	else
		store_rollback(store);
}

static void events_have_no_gaps(void **state)
{
	struct store *store = open_it();
	struct run run = { 0 };
	uint64_t oldest, newest;

	(void)state;
	add_events(store, 10, true);
	add_events(store, 5, false);
	store_close(store);
	store = open_it();
	add_events(store, 10, true);
	assert_int_equal(store_events(store, 0, "", 100, count, &run, NULL), 0);
	assert_int_equal(run.n, 20);
	assert_false(run.gap);
	/* Trimmed to nothing, numbers still go on. */
	store_begin(store);
	store_events_trim(store, 100, 1000);
	assert_int_equal(store_commit(store, NULL), 0);
	store_events_range(store, &oldest, &newest);
	assert_int_equal(oldest, 20);
	assert_int_equal(newest, 20);
	store_begin(store);
	store_events_trim(store, 100, 1000);
	assert_int_equal(store_commit(store, NULL), 0);
	add_events(store, 1, true);
	store_events_range(store, &oldest, &newest);
	assert_int_equal(newest, 21);
	store_close(store);
}

static void the_number_of_events_is_bounded(void **state)
{
	struct store *store = open_it();
	uint64_t oldest, newest;

	(void)state;
	add_events(store, 50, true);
	store_begin(store);
	store_events_trim(store, 10, 0);
	assert_int_equal(store_commit(store, NULL), 0);
	store_events_range(store, &oldest, &newest);
	assert_int_equal(oldest, 41);
	assert_int_equal(newest, 50);
	store_close(store);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- sealing ---- */

#define CANARY "q7-canary-of-an-env"

static bool file_has(const char *file, const char *text)
{
	char name[160], cmd[256];

	snprintf(name, sizeof(name), "%s/%s", dir, file);
	snprintf(cmd, sizeof(cmd), "grep -qa '%s' %s", text, name);
	return access(name, F_OK) == 0 && system(cmd) == 0;
}

static void put_canary(struct store *store)
{
	SpecEnv env;
	SpecEnv *envs[] = { &env };
	struct sandbox_row row;
	struct error err;
	Spec spec;

	fill(&row, &spec, "a");
	memcpy(row.nonce, CANARY, strlen(CANARY));
	sandbox__node__v1__create_sandbox_request__env_entry__init(&env);
	env.key = (char *)(uintptr_t) "K";
	env.value = (char *)(uintptr_t)CANARY;
	spec.n_env = 1;
	spec.env = envs;
	store_begin(store);
	store_sandbox_put(store, &row);
	store_request_put(store, "r", "CreateSandbox", "a",
			  (const uint8_t[REQUEST_DIGEST_LEN]){ 1 }, 1 << 30);
	store_request_answer(store, "r", (const uint8_t *)CANARY,
			     strlen(CANARY));
	assert_int_equal(store_commit(store, &err), 0);
}

static void take_canary(const struct sandbox_row *row, void *arg)
{
	unsigned int *n = arg;

	assert_string_equal(row->spec->env[0]->value, CANARY);
	assert_memory_equal(row->nonce, CANARY, strlen(CANARY));
	pb_free(row->spec);
	++*n;
}

static void assert_canary_comes_back(struct store *store)
{
	struct store_request request;
	unsigned int n = 0;
	struct error err;

	assert_int_equal(store_sandboxes(store, take_canary, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_request_get(store, "r", &request, &err), 1);
	assert_int_equal(request.answer_len, strlen(CANARY));
	assert_memory_equal(request.answer, CANARY, strlen(CANARY));
	free(request.answer);
}

static void env_and_nonces_are_not_in_the_file(void **state)
{
	struct store *store = open_it();
	struct stat st;
	char name[160];

	(void)state;
	put_canary(store);
	assert_false(file_has("db", CANARY));
	assert_false(file_has("db-wal", CANARY));
	store_close(store);
	assert_false(file_has("db", CANARY));
	assert_true(file_has("db", "sha256:1")); /* it is the right file */
	snprintf(name, sizeof(name), "%s/node.key", dir);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	store = open_it();
	assert_canary_comes_back(store);
	store_close(store);
}

static void without_its_key_a_database_is_refused(void **state)
{
	struct store *store = open_it();
	struct error err;
	char name[160];

	(void)state;
	put_canary(store);
	store_close(store);
	snprintf(name, sizeof(name), "%s/node.key", dir);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(store_open(path, &store, &err), -1);
	assert_non_null(strstr(err.msg, "node.key"));
}

static void with_another_key_nothing_is_made_up(void **state)
{
	struct store *store = open_it();
	unsigned int n = 0;
	struct error err;
	char cmd[200];

	(void)state;
	put_canary(store);
	store_close(store);
	snprintf(cmd, sizeof(cmd),
		 "head -c 32 /dev/urandom >%s/node.key", dir);
	assert_int_equal(system(cmd), 0);
	store = open_it();
	assert_int_equal(store_sandboxes(store, take_canary, &n, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(n, 0);
	store_close(store);
}

static void count_snapshots(const struct snapshot_row *row, void *arg)
{
	++*(unsigned int *)arg;
	pb_free(row->spec);
}

static void with_another_key_no_snapshot_is_made_up(void **state)
{
	struct snapshot_row snapshot = { .id = "snap_1", .created_ms = 1 };
	struct store *store = open_it();
	struct sandbox_row row;
	unsigned int n = 0;
	struct error err;
	char cmd[200];
	Spec spec;

	(void)state;
	fill(&row, &spec, "a");
	snapshot.spec = &spec;
	store_begin(store);
	store_snapshot_put(store, &snapshot);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_snapshots(store, count_snapshots, &n, &err), 0);
	assert_int_equal(n, 1);
	store_close(store);
	snprintf(cmd, sizeof(cmd),
		 "head -c 32 /dev/urandom >%s/node.key", dir);
	assert_int_equal(system(cmd), 0);
	store = open_it();
	assert_int_equal(store_snapshots(store, count_snapshots, &n, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(n, 1);
	store_close(store);
}

static void count_states(const struct sandbox_row *row, void *arg)
{
	unsigned int *n = arg;

	n[row->state]++;
	assert_non_null(row->spec);
	assert_non_null(row->spec->resources);
	if (row->state == SBX_FAILED) {
		assert_string_equal(row->id, "a");
		assert_string_equal(row->uuid, "00000000-1111-4111-8111-222222222222");
		assert_string_equal(row->reason, "STATE_UNREADABLE");
	}
	pb_free(row->spec);
}

static void a_row_that_cannot_be_read_is_failed_and_keeps_no_other(void **state)
{
	Sandbox__Node__V1__Resources some =
		SANDBOX__NODE__V1__RESOURCES__INIT;
	struct store *store = open_it();
	unsigned int n[SBX_STATE_COUNT] = { 0 };
	struct sandbox_row row;
	Spec spec;

	(void)state;
	store_begin(store);
	for (const char *id = "a\0b\0"; *id; id += 2) {
		fill(&row, &spec, id);
		spec.resources = &some;
		store_sandbox_put(store, &row);
	}
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(
		sqlite3_exec(*(sqlite3 **)store,
			     "UPDATE sandboxes SET spec = x'00534201ff'"
			     " WHERE id = 'a'",
			     NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(store_sandboxes(store, count_states, n, NULL), 0);
	assert_int_equal(n[SBX_FAILED], 1);
	assert_int_equal(n[SBX_RUNNING], 1);
	store_close(store);
}

static void an_answer_whose_mark_is_spoiled_is_not_given_out(void **state)
{
	struct store *store = open_it();
	struct store_request request;
	struct error err;

	(void)state;
	put_canary(store);
	assert_int_equal(sqlite3_exec(*(sqlite3 **)store,
				      "UPDATE requests SET answer = x'01' ||"
				      " substr(answer, 2)",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(store_request_get(store, "r", &request, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	store_close(store);
}

/* As a daemon before this one wrote it. */
static void an_older_database_is_sealed_at_the_next_start(void **state)
{
	struct store *store = open_it();
	char name[160], hex[512], *at = hex;
	struct sandbox_row row;
	uint8_t *packed;
	size_t len;
	SpecEnv env;
	SpecEnv *envs[] = { &env };
	struct error err;
	Spec spec;
	char *sql;

	(void)state;
	put_canary(store);
	fill(&row, &spec, "a");
	sandbox__node__v1__create_sandbox_request__env_entry__init(&env);
	env.key = (char *)(uintptr_t) "K";
	env.value = (char *)(uintptr_t)CANARY;
	spec.n_env = 1;
	spec.env = envs;
	packed = pb_pack(&spec.base, &len);
	for (size_t i = 0; i < len; i++)
		at += sprintf(at, "%02x", packed[i]);
	free(packed);
	sql = sqlite3_mprintf("UPDATE sandboxes SET spec = x'%s',"
			      " nonce = CAST('%s' || zeroblob(%d) AS BLOB);"
			      "UPDATE requests SET answer = CAST('%s' AS BLOB);"
			      "ALTER TABLE templates DROP COLUMN asked_ms;"
			      "PRAGMA user_version = 3",
			      hex, CANARY, (int)(32 - strlen(CANARY)), CANARY);
	assert_int_equal(sqlite3_exec(*(sqlite3 **)store, sql, NULL, NULL,
				      NULL),
			 SQLITE_OK);
	sqlite3_free(sql);
	store_close(store);
	assert_true(file_has("db", CANARY));
	snprintf(name, sizeof(name), "%s/node.key", dir);
	assert_int_equal(unlink(name), 0);

	assert_int_equal(store_open(path, &store, &err), 0);
	assert_canary_comes_back(store);
	assert_false(file_has("db", CANARY));
	assert_false(file_has("db-wal", CANARY));
	store_close(store);
	assert_false(file_has("db", CANARY));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_sandbox_comes_back_field_by_field),
		T(what_was_not_committed_is_not_there),
		T(a_failure_fails_the_whole_commit),
		T(only_one_daemon_has_it),
		T(only_its_owner_can_read_it),
		T(the_first_schema_is_brought_up_to_date),
		T(a_newer_schema_is_refused),
		T(a_file_that_is_no_database_is_refused),
		T(a_request_is_kept_with_its_answer),
		T(an_empty_answer_counts),
		T(events_have_no_gaps),
		T(the_number_of_events_is_bounded),
		T(env_and_nonces_are_not_in_the_file),
		T(without_its_key_a_database_is_refused),
		T(with_another_key_nothing_is_made_up),
		T(with_another_key_no_snapshot_is_made_up),
		T(a_row_that_cannot_be_read_is_failed_and_keeps_no_other),
		T(an_answer_whose_mark_is_spoiled_is_not_given_out),
		T(an_older_database_is_sealed_at_the_next_start),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
