/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_check.c - what clients and guests may put into messages */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "front/check.h"
#include "front/proxy.h"
#include "front/status.h"
#include "front/wire.h"

#include <stdlib.h>
#include <string.h>

#define LIST (&sandbox__node__v1__list_directory_response__descriptor)
#define GET  (&sandbox__node__v1__get_sandbox_request__descriptor)

static int unpack(const ProtobufCMessageDescriptor *desc, const void *data,
		  size_t len, struct error *err)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;

	return wire_unpack(desc, data, len, &m, err);
}

static void only_text_passes_as_text(void **state)
{
	/* clang-format off */
	static const struct { const char *bytes; size_t len; int rc; } rows[] = {
		{ "plain", 5, 0 },
		{ "\xc3\xa9", 2, 0 },
		{ "\xe2\x82\xac", 3, 0 },
		{ "\xf0\x9f\x98\x80", 4, 0 },
		{ "", 0, 0 },
		{ "a\0b", 3, -1 },
		{ "\xff", 1, -1 },
		{ "\xc3", 1, -1 },		/* cut short */
		{ "\xc0\x80", 2, -1 },		/* overlong NUL */
		{ "\xe0\x80\x80", 3, -1 },	/* overlong */
		{ "\xed\xa0\x80", 3, -1 },	/* surrogate */
		{ "\xf4\x90\x80\x80", 4, -1 },	/* over U+10FFFF */
		{ "\x80", 1, -1 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t buf[16] = { 0x0a, (uint8_t)rows[i].len };
		struct error err = { 0 };

		memcpy(buf + 2, rows[i].bytes, rows[i].len);
		assert_int_equal(unpack(GET, buf, rows[i].len + 2, &err),
				 rows[i].rc);
		if (rows[i].rc < 0)
			assert_string_equal(err.field, "sandbox_id");
	}
}

static void lengths_that_lie_are_refused(void **state)
{
	static const char *const rows[] = {
		"\x0a\x05x",		    /* longer than there is */
		"\x0a\xff\xff\xff\xff\x0f", /* 4 GiB */
		"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x0a",	     /* no length */
		"\x80",	     /* half a tag */
		"\x0b",	     /* a group */
		"\x07",	     /* no such type */
		"\x02\x01x", /* field 0 */
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(unpack(GET, rows[i], strlen(rows[i]), &err),
				 -1);
}

static void a_small_message_cannot_become_a_large_one(void **state)
{
	size_t len = 4u << 20;
	uint8_t *buf = xcalloc(1, len);
	struct error err;

	(void)state;
	/* Two million empty entries in four megabytes. */
	for (size_t i = 0; i < len; i += 2)
		buf[i] = 0x0a;
	assert_int_equal(unpack(LIST, buf, len, &err), -1);
	assert_non_null(strstr(err.msg, "fields"));
	free(buf);
}

static void unknown_fields_are_dropped_at_every_depth(void **state)
{
	/* entries { name: "a", 99: "zz" }, 98: "y" */
	static const uint8_t in[] = { 0x0a, 0x08, 0x0a, 0x01, 'a',  0x9a, 0x06,
				      0x02, 'z',  'z',	0x92, 0x06, 0x01, 'y' };
	static const uint8_t want[] = { 0x0a, 0x03, 0x0a, 0x01, 'a' };
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	uint8_t *out;
	size_t len;

	(void)state;
	assert_int_equal(wire_unpack(LIST, in, sizeof(in), &m, NULL), 0);
	out = wire_pack(m, &len);
	assert_int_equal(len, sizeof(want));
	assert_memory_equal(out, want, len);
	free(out);
}

static void a_guests_names_are_names_and_no_paths(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "../x" };
	static const char *const good[] = { "a", "...", ".x", "a b\n", "\xff" };
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ProtobufCBinaryData b = { strlen(bad[i]),
					  (uint8_t *)(size_t)bad[i] };

		assert_int_equal(check_name(&b, "name", &err), -1);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ProtobufCBinaryData b = { strlen(good[i]),
					  (uint8_t *)(size_t)good[i] };

		assert_int_equal(check_name(&b, "name", &err), 0);
	}
	assert_int_equal(
		check_name(
			&(ProtobufCBinaryData){ 3, (uint8_t *)(size_t) "a\0b" },
			"name", &err),
		-1);
}

static void sandbox_ids_are_as_the_contract_says(void **state)
{
	char long_one[65];
	struct error err;

	(void)state;
	memset(long_one, 'a', 64);
	long_one[64] = '\0';
	assert_int_equal(check_sandbox_id("sb_1", &err), 0);
	assert_int_equal(check_sandbox_id("0-a", &err), 0);
	assert_int_equal(check_sandbox_id("", &err), -1);
	assert_int_equal(check_sandbox_id("_a", &err), -1);
	assert_int_equal(check_sandbox_id("-a", &err), -1);
	assert_int_equal(check_sandbox_id("A", &err), -1);
	assert_int_equal(check_sandbox_id("a/b", &err), -1);
	assert_int_equal(check_sandbox_id(long_one, &err), -1);
	assert_int_equal(check_sandbox_id(long_one + 1, &err), 0);
	assert_string_equal(
		err_reason_of(&(struct error){ .code = ERR_INVALID }),
		"INVALID_CONFIG");
}

static void a_guest_says_only_what_is_on_the_list(void **state)
{
	struct grpc_status said, st;

	(void)state;
	grpc_status_set(&said, GRPC_NOT_FOUND, "FILE_NOT_FOUND", "no '/x'");
	status_of_agent(&st, &said);
	assert_int_equal(st.code, GRPC_NOT_FOUND);
	assert_string_equal(st.reason, "FILE_NOT_FOUND");
	/* A reason of the node's own, which a guest may not claim. */
	grpc_status_set(&said, GRPC_FAILED_PRECONDITION, "QUOTA_EXCEEDED",
			"pay \x1b[31mnow\n");
	status_of_agent(&st, &said);
	assert_int_equal(st.code, GRPC_INTERNAL);
	assert_string_equal(st.reason, "INTERNAL");
	for (const char *at = st.message; *at; at++)
		assert_in_range(*at, ' ', '~');
	/* The reason decides the code. */
	grpc_status_set(&said, GRPC_UNAUTHENTICATED, "ALREADY_EXISTS", "x");
	status_of_agent(&st, &said);
	assert_int_equal(st.code, GRPC_ALREADY_EXISTS);
	/* No clients are sent away for a day. */
	said.retry_ms = 86400000;
	status_of_agent(&st, &said);
	assert_true(st.retry_ms <= 60000);
}

/* One answer of the guest to a listing of at most two entries. */
static int list_answer(const uint8_t *data, size_t len)
{
	struct proxy p = { .limit = 2 };
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	const struct proxy_method *method = file_methods;
	struct error err;

	while (strcmp(method->name, "ListDirectory"))
		method++;
	assert_int_equal(wire_unpack(LIST, data, len, &m, &err), 0);
	return method->answer(&p, m, &err);
}

static void a_listing_has_no_paths_and_no_more_than_was_asked(void **state)
{
	static const uint8_t two[] = "\x0a\x03\x0a\x01"
				     "a\x0a\x03\x0a\x01"
				     "b";
	static const uint8_t three[] = "\x0a\x03\x0a\x01"
				       "a\x0a\x03\x0a\x01"
				       "b\x0a\x03\x0a\x01"
				       "c";
	static const uint8_t path[] = "\x0a\x05\x0a\x03"
				      "../";

	(void)state;
	assert_int_equal(list_answer(two, sizeof(two) - 1), 0);
	assert_int_equal(list_answer(three, sizeof(three) - 1), -1);
	assert_int_equal(list_answer(path, sizeof(path) - 1), -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_text_passes_as_text),
		cmocka_unit_test(lengths_that_lie_are_refused),
		cmocka_unit_test(a_small_message_cannot_become_a_large_one),
		cmocka_unit_test(unknown_fields_are_dropped_at_every_depth),
		cmocka_unit_test(a_guests_names_are_names_and_no_paths),
		cmocka_unit_test(sandbox_ids_are_as_the_contract_says),
		cmocka_unit_test(a_guest_says_only_what_is_on_the_list),
		cmocka_unit_test(
			a_listing_has_no_paths_and_no_more_than_was_asked),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
