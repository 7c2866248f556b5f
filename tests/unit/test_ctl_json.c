/* SPDX-License-Identifier: Apache-2.0 */
/* test_ctl_json.c - protobuf messages as JSON */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ctl/json.h"
#include "ctl/pb.h"
#include "google/protobuf/duration.pb-c.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect(const ProtobufCMessage *m,
		   void (*write)(FILE *, const ProtobufCMessage *),
		   const char *want)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	write(out, m);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void expect_text(const char *s, const char *want)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	json_string(out, s);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void scalars_follow_the_proto3_mapping(void **state)
{
	NODE(FileInfo) f = NODE_INIT(FILE_INFO);
	Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;

	(void)state;
	f.name = pb_bytes("\xff\x00ok");
	f.name.len = 4;
	f.type = NODE_ENUM(FILE_TYPE, SYMLINK);
	f.size_bytes = UINT64_MAX;
	f.mode = 0644;
	t.seconds = -1;
	t.nanos = 1000;
	f.modified_at = &t;
	expect(&f.base, json_message,
	       "{\"name\":\"/wBvaw==\",\"type\":\"FILE_TYPE_SYMLINK\","
	       "\"sizeBytes\":\"18446744073709551615\",\"mode\":420,"
	       "\"uid\":0,\"gid\":0,"
	       "\"modifiedAt\":\"1969-12-31T23:59:59.000001Z\","
	       "\"linkTarget\":\"\"}");
}

static void enums_of_a_newer_peer_are_numbers(void **state)
{
	NODE(WatchDirectoryResponse) r = NODE_INIT(WATCH_DIRECTORY_RESPONSE);

	(void)state;
	r.type = (NODE(FileEventType))99;
	expect(&r.base, json_message,
	       "{\"type\":99,\"path\":\"\",\"toPath\":\"\","
	       "\"fileType\":\"FILE_TYPE_UNSPECIFIED\"}");
}

static void only_the_member_of_a_oneof_that_is_set_is_written(void **state)
{
	NODE(ExecRequest) r = NODE_INIT(EXEC_REQUEST);
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);

	(void)state;
	expect(&r.base, json_message, "{}");
	size.rows = 1;
	r.input_case = NODE_CASE(EXEC_REQUEST__INPUT, RESIZE);
	r.resize = &size;
	expect(&r.base, json_message,
	       "{\"resize\":{\"rows\":1,\"columns\":0}}");
	r.input_case = NODE_CASE(EXEC_REQUEST__INPUT, CLOSE_STDIN);
	r.close_stdin = 0;
	expect(&r.base, json_message, "{\"closeStdin\":false}");
}

static void wrappers_are_their_value(void **state)
{
	NODE(UpdateSandboxRequest) r = NODE_INIT(UPDATE_SANDBOX_REQUEST);
	Google__Protobuf__UInt32Value v = UINT32_VALUE(0);

	(void)state;
	r.timeout_ms = &v;
	expect(&r.base, json_message,
	       "{\"requestId\":\"\",\"sandboxId\":\"\",\"timeoutMs\":0}");
}

static void durations_are_seconds(void **state)
{
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;

	(void)state;
	d.seconds = 1;
	d.nanos = 500000000;
	expect(&d.base, json_message, "\"1.500s\"");
	d.seconds = 0;
	d.nanos = -1;
	expect(&d.base, json_message, "\"-0.000000001s\"");
	d.seconds = INT64_MIN;
	d.nanos = 0;
	expect(&d.base, json_message, "\"-9223372036854775808s\"");
}

static void maps_are_objects(void **state)
{
	NODE(Image) image = NODE_INIT(IMAGE);
	NODE(Image__EnvEntry) e = NODE_INIT(IMAGE__ENV_ENTRY);
	NODE(Image__EnvEntry) * env[] = { &e };

	(void)state;
	e.key = (char *)(uintptr_t) "K\"";
	e.value = (char *)(uintptr_t) "v\n";
	image.env = env;
	image.n_env = 1;
	expect(&image.base, json_message,
	       "{\"name\":\"\",\"digest\":\"\",\"sizeBytes\":\"0\","
	       "\"source\":\"\",\"env\":{\"K\\\"\":\"v\\n\"},\"user\":\"\","
	       "\"workdir\":\"\"}");
}

static void doubles_are_the_shortest_that_read_back(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = { { 0.1, "\"cost\":0.1}" },
		      { 1e300, "\"cost\":1e+300}" },
		      { 1.0 / 3, "\"cost\":0.3333333333333333}" },
		      { NAN, "\"cost\":\"NaN\"}" },
		      { -INFINITY, "\"cost\":\"-Infinity\"}" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		NODE(GetStatsResponse) r = NODE_INIT(GET_STATS_RESPONSE);
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		r.cost = cases[i].v;
		json_message(out, &r.base);
		fclose(out);
		assert_non_null(strstr(text, cases[i].text));
		free(text);
	}
}

static void strings_are_escaped_and_made_valid(void **state)
{
	(void)state;
	expect_text("a\"b\\c\n\t\x01", "\"a\\\"b\\\\c\\n\\t\\u0001\"");
	expect_text("\xc3\xa9", "\"\xc3\xa9\"");
	/* A cut, an overlong, a surrogate, and a control of two bytes. */
	expect_text("\xc3", "\"\\ufffd\"");
	expect_text("\xc0\xaf", "\"\\ufffd\\ufffd\"");
	expect_text("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
	expect_text("\xc2\x9b", "\"\\u009b\"");
	expect_text(NULL, "\"\"");
}

static void a_response_is_the_object_it_holds(void **state)
{
	NODE(StatFileResponse) r = NODE_INIT(STAT_FILE_RESPONSE);
	NODE(CreateSnapshotResponse) c = NODE_INIT(CREATE_SNAPSHOT_RESPONSE);
	NODE(Snapshot) s = NODE_INIT(SNAPSHOT);

	(void)state;
	expect(&r.base, json_response, "{}");
	c.snapshot = &s;
	c.stopped_ms = 5;
	expect(&c.base, json_response,
	       "{\"id\":\"\",\"name\":\"\",\"sandboxId\":\"\",\"image\":\"\","
	       "\"sizeBytes\":\"0\",\"problem\":\"\",\"stoppedMs\":5}");
}

static void a_response_with_a_list_is_an_array(void **state)
{
	NODE(ListPortsResponse) r = NODE_INIT(LIST_PORTS_RESPONSE);
	NODE(Port) p = NODE_INIT(PORT);
	NODE(Port) * ports[] = { &p, &p };

	(void)state;
	expect(&r.base, json_response, "[]");
	p.port = 1;
	r.ports = ports;
	r.n_ports = 2;
	expect(&r.base, json_response,
	       "[{\"port\":1,\"url\":\"\",\"hostAddress\":\"\",\"hostPort\":0},"
	       "{\"port\":1,\"url\":\"\",\"hostAddress\":\"\",\"hostPort\":0}"
	       "]");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars_follow_the_proto3_mapping),
		cmocka_unit_test(enums_of_a_newer_peer_are_numbers),
		cmocka_unit_test(
			only_the_member_of_a_oneof_that_is_set_is_written),
		cmocka_unit_test(wrappers_are_their_value),
		cmocka_unit_test(durations_are_seconds),
		cmocka_unit_test(maps_are_objects),
		cmocka_unit_test(doubles_are_the_shortest_that_read_back),
		cmocka_unit_test(strings_are_escaped_and_made_valid),
		cmocka_unit_test(a_response_is_the_object_it_holds),
		cmocka_unit_test(a_response_with_a_list_is_an_array),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
