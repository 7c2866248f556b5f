/* SPDX-License-Identifier: Apache-2.0 */
/* test_grpc_status.c - statuses across the wire, and text that lies */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_internal.h"

#include <errno.h>
#include <string.h>

static void roundtrip(const struct grpc_status *st, struct grpc_status *ret)
{
	struct grpc_status_fields buf;
	struct grpc_head head;
	nghttp2_nv nv[3];
	size_t n = grpc_status_nv(nv, 0, &buf, st);

	*ret = (struct grpc_status){ 0 };
	grpc_head_init(&head);
	for (size_t i = 0; i < n; i++)
		grpc_head_field(&head, ret, nv[i].name, nv[i].namelen,
				nv[i].value, nv[i].valuelen);
	assert_true(head.have_status);
}

static void everything_of_a_status_survives_the_wire(void **state)
{
	struct grpc_status st, got;

	(void)state;
	grpc_status_set(&st, GRPC_RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED",
			"100%% of \"q\"\nand \xc3\xa9 %s", "more");
	strcpy(st.field, "memory_mib");
	st.retry_ms = 1500;
	roundtrip(&st, &got);
	assert_int_equal(got.code, GRPC_RESOURCE_EXHAUSTED);
	assert_string_equal(got.message, "100% of \"q\"\nand \xc3\xa9 more");
	assert_string_equal(got.reason, "QUOTA_EXCEEDED");
	assert_string_equal(got.field, "memory_mib");
	assert_int_equal(got.retry_ms, 1500);
}

static void the_longest_status_fits(void **state)
{
	struct grpc_status st = { .code = GRPC_INTERNAL }, got;

	(void)state;
	memset(st.message, 0x01, sizeof(st.message) - 1);
	memset(st.reason, 'R', sizeof(st.reason) - 1);
	memset(st.field, 'f', sizeof(st.field) - 1);
	st.retry_ms = UINT32_MAX / 2;
	roundtrip(&st, &got);
	assert_int_equal(strlen(got.message), sizeof(st.message) - 1);
	assert_string_equal(got.reason, st.reason);
	assert_string_equal(got.field, st.field);
	assert_int_equal(got.retry_ms, st.retry_ms);
}

static void details_are_sent_only_when_there_are_any(void **state)
{
	char buf[GRPC_DETAILS_ENC_MAX];
	struct grpc_status st;

	(void)state;
	grpc_status_set(&st, GRPC_INTERNAL, NULL, "x");
	assert_int_equal(grpc_details_encode(buf, sizeof(buf), &st), 0);
	st.retry_ms = 1;
	assert_true(grpc_details_encode(buf, sizeof(buf), &st) > 0);
}

static void what_is_sent_is_printable(void **state)
{
	char dst[GRPC_MESSAGE_ENC_MAX];

	(void)state;
	assert_int_equal(grpc_message_encode(dst, sizeof(dst), " a\xff\n% "),
			 16);
	assert_string_equal(dst, "%20a%FF%0A%25%20");
}

static const char *decode(const char *src)
{
	static char dst[GRPC_STATUS_MESSAGE_MAX];

	grpc_message_decode(dst, sizeof(dst), (const uint8_t *)src,
			    strlen(src));
	return dst;
}

static void bad_escapes_stay_as_they_are(void **state)
{
	(void)state;
	assert_string_equal(decode("%"), "%");
	assert_string_equal(decode("%4"), "%4");
	assert_string_equal(decode("%zz%41"), "%zzA");
}

static void control_characters_and_bad_utf8_are_defused(void **state)
{
	(void)state;
	assert_string_equal(decode("%1B[31m%00%7F"), "?[31m??");
	assert_string_equal(decode("%C3"), "?");
	assert_string_equal(decode("%C0%80%ED%A0%80"), "?????");
	assert_string_equal(decode("%C2%9B"), "?");
	assert_string_equal(decode("%F0%9F%98%80"), "\xf0\x9f\x98\x80");
}

static void text_is_cut_at_a_character(void **state)
{
	char dst[6];

	(void)state;
	grpc_text_copy(dst, sizeof(dst), (const uint8_t *)"abcd\xc3\xa9", 6);
	assert_string_equal(dst, "abcd");
}

static void malformed_details_leave_the_status_alone(void **state)
{
	static const char *const bad[] = { "A", "%%%%", "AAAA=A", "/////w" };
	struct grpc_status st;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		grpc_status_set(&st, GRPC_ABORTED, "WHY", "text");
		assert_int_equal(grpc_details_decode(&st,
						     (const uint8_t *)bad[i],
						     strlen(bad[i])),
				 -EBADMSG);
		assert_string_equal(st.reason, "WHY");
	}
}

static void padded_base64_is_understood_too(void **state)
{
	struct grpc_status st, got = { 0 };
	char buf[GRPC_DETAILS_ENC_MAX];
	size_t n;

	(void)state;
	for (int i = 0; i < 3; i++) {
		grpc_status_set(&st, GRPC_ABORTED, "WHY", "%.*s", i, "abc");
		n = grpc_details_encode(buf, sizeof(buf), &st);
		while (n % 4)
			buf[n++] = '=';
		got.reason[0] = '\0';
		assert_int_equal(grpc_details_decode(&got, (uint8_t *)buf, n),
				 0);
		assert_string_equal(got.reason, "WHY");
	}
}

static void timeouts_are_never_sent_shorter(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = { { 1, "1m" },
		      { 99999999, "99999999m" },
		      { 100000001, "100001S" },
		      { UINT64_MAX, "99999999H" } };
	char buf[16];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		grpc_timeout_format(buf, cases[i].ms);
		assert_string_equal(buf, cases[i].text);
	}
}

static void every_code_has_its_name(void **state)
{
	(void)state;
	for (int i = 0; i < GRPC_CODE_COUNT; i++)
		assert_non_null(grpc_code_str((enum grpc_code)i));
	assert_string_equal(grpc_code_str((enum grpc_code)99), "UNKNOWN");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_of_a_status_survives_the_wire),
		cmocka_unit_test(the_longest_status_fits),
		cmocka_unit_test(details_are_sent_only_when_there_are_any),
		cmocka_unit_test(what_is_sent_is_printable),
		cmocka_unit_test(bad_escapes_stay_as_they_are),
		cmocka_unit_test(control_characters_and_bad_utf8_are_defused),
		cmocka_unit_test(text_is_cut_at_a_character),
		cmocka_unit_test(malformed_details_leave_the_status_alone),
		cmocka_unit_test(padded_base64_is_understood_too),
		cmocka_unit_test(timeouts_are_never_sent_shorter),
		cmocka_unit_test(every_code_has_its_name),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
