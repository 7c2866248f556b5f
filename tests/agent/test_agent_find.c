/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_find.c - searches and watches, as a node asks a real agent */
#include "rig_files.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void text_is_found(void **state)
{
	NODE(SearchFilesRequest) rq = NODE_INIT(SEARCH_FILES_REQUEST);
	struct write_options o = { .mode = -1, .make_parents = true };
	struct rig *rig = *state;
	NODE(SearchFilesResponse) * m;
	struct grpc_status st;

	write_file(rig, "s/a.txt", "nothing\nfoo bar 12\n", &o);
	write_file(rig, "s/b/c.txt", "FOO 34", &o);
	write_file(rig, "s/d.bin", "foo 56", &o);
	rq.path = BYTES("s");
	rq.pattern = BYTES("foo.*[0-9]+$");
	rq.ignore_case = true;
	rq.file_glob = BYTES("*.txt");
	m = client_ask(rig->client, "SearchFiles", &rq.base,
		       DESCRIPTOR(search_files_response), &st);
	assert_non_null(m);
	assert_int_equal(m->n_matches, 2);
	assert_int_equal(m->matches[0]->line_number, 2);
	assert_int_equal(m->matches[0]->column, 1);
	assert_memory_equal(m->matches[0]->path.data, "a.txt", 5);
	assert_memory_equal(m->matches[1]->path.data, "b/c.txt", 7);
	assert_false(m->truncated);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	rq.pattern = BYTES("(");
	expect(ask(rig, "SearchFiles", &rq.base,
		   DESCRIPTOR(search_files_response)),
	       GRPC_INVALID_ARGUMENT, "INVALID_CONFIG");
#ifndef __SANITIZE_ADDRESS__
	/* Would need gigabytes, of which a search gets few; with the sanitizer
	   it has no limit, and would take them. */
	rq.pattern = BYTES("((((a{1,255}){1,255}){1,255}){1,255})");
	expect(ask(rig, "SearchFiles", &rq.base,
		   DESCRIPTOR(search_files_response)),
	       GRPC_INVALID_ARGUMENT, "INVALID_CONFIG");
#endif
}

static void hundreds_of_searches_at_once_all_end(void **state)
{
	struct write_options o = { .mode = -1, .make_parents = true };
	struct rig *rig = *state;

	write_file(rig, "s/a.txt", "nothing\nneedle\n", &o);
	for (int i = 0; i < 100; i++)
		rig_search_at_once(rig, 4, "s", "ne+dle", 1);
}

static void a_file_itself_is_searched(void **state)
{
	NODE(SearchFilesRequest) rq = NODE_INIT(SEARCH_FILES_REQUEST);
	struct write_options o = { .mode = -1, .make_parents = true };
	struct rig *rig = *state;
	NODE(SearchFilesResponse) * m;
	struct grpc_status st;

	write_file(rig, "one/file", "needle\n", &o);
	rq.path = BYTES("one/file");
	rq.pattern = BYTES("needle");
	m = client_ask(rig->client, "SearchFiles", &rq.base,
		       DESCRIPTOR(search_files_response), &st);
	assert_non_null(m);
	assert_int_equal(m->n_matches, 1);
	assert_int_equal(m->matches[0]->path.len, 0);
	protobuf_c_message_free_unpacked(&m->base, NULL);
}

static void expect_event(struct call *call, int type, const char *path,
			 const char *to)
{
	NODE(WatchDirectoryResponse) * m;
	bool found = false;

	/* Others (a directory's attributes, a second MODIFIED) may be between.
	 */
	while (!found) {
		m = call_recv_message(call,
				      DESCRIPTOR(watch_directory_response));
		if (!m)
			fail_msg("the watch ended before '%s'", path);
		found = (int)m->type == type && m->path.len == strlen(path) &&
			(*path == '\0' ||
			 !memcmp(m->path.data, path, m->path.len)) &&
			m->to_path.len == strlen(to) &&
			(*to == '\0' ||
			 !memcmp(m->to_path.data, to, m->to_path.len));
		protobuf_c_message_free_unpacked(&m->base, NULL);
	}
}

static void do_in(struct rig *rig, const char *command)
{
	struct run run = rig_run(rig, command);

	assert_int_equal(run.exit_code, 0);
	run_free(&run);
}

/*
 * One change at a time: what is gone again before its directory is watched was
 * never there for a watcher.
 */
static void changes_below_are_watched(void **state)
{
	NODE(WatchDirectoryRequest) rq = NODE_INIT(WATCH_DIRECTORY_REQUEST);
	struct rig *rig = *state;
	struct call *call;

	expect(make_dir(rig, "w/old", true), GRPC_OK, "");
	call = call_start(rig->client, "WatchDirectory");
	rq.path = BYTES("w");
	rq.recursive = true;
	call_send(call, &rq.base);
	expect_event(call, 1, "", "");
	do_in(rig, "mkdir -p w/new/er");
	expect_event(call, 2, "new", "");
	expect_event(call, 2, "new/er", "");
	do_in(rig, ": > w/new/er/f");
	expect_event(call, 2, "new/er/f", "");
	do_in(rig, "mv w/new/er/f w/old/g");
	expect_event(call, 5, "new/er/f", "old/g");
	do_in(rig, "mv w/old w/older");
	expect_event(call, 5, "old", "older");
	do_in(rig, ": > w/older/h");
	expect_event(call, 2, "older/h", "");
	do_in(rig, "chmod 600 w/older/h");
	expect_event(call, 6, "older/h", "");
	do_in(rig, "rm w/older/h");
	expect_event(call, 4, "older/h", "");
	call_free(call);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_found),
		cmocka_unit_test(a_file_itself_is_searched),
		cmocka_unit_test(hundreds_of_searches_at_once_all_end),
		cmocka_unit_test(changes_below_are_watched),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: needs root to give files away\n");
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
