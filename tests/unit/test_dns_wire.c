/* SPDX-License-Identifier: Apache-2.0 */
/* test_dns_wire.c - strict DNS messages, both ways */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "resolver/dns_wire.h"

#include <errno.h>
#include <string.h>

/* clang-format off */
static const uint8_t query_a[] = {
	0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	7, 'E', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'c', 'o', 'm', 0,
	0, 1, 0, 1,
};
/* clang-format on */

static struct dns_query parsed(const uint8_t *msg, size_t len, int want)
{
	struct dns_query q;

	assert_int_equal(dns_query_parse(msg, len, &q), want);
	return q;
}

static void a_plain_query_is_understood(void **state)
{
	struct dns_query q = parsed(query_a, sizeof(query_a), 0);

	(void)state;
	assert_int_equal(q.id, 0x1234);
	assert_true(q.plain);
	assert_string_equal(q.name, "example.com");
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_false(q.edns);
}

static void a_query_cut_anywhere_is_refused(void **state)
{
	struct dns_query q;

	(void)state;
	for (size_t len = 0; len < sizeof(query_a); len++)
		assert_int_not_equal(dns_query_parse(query_a, len, &q), 0);
}

static void an_answer_is_not_a_query(void **state)
{
	uint8_t msg[sizeof(query_a)];

	(void)state;
	memcpy(msg, query_a, sizeof(msg));
	msg[2] |= 0x80;
	parsed(msg, sizeof(msg), -EBADMSG);
}

static void two_questions_or_a_trailing_byte_are_refused(void **state)
{
	uint8_t msg[sizeof(query_a) + 1] = { 0 };

	(void)state;
	memcpy(msg, query_a, sizeof(query_a));
	parsed(msg, sizeof(msg), DNS_FORMERR);
	msg[5] = 2;
	parsed(msg, sizeof(query_a), DNS_FORMERR);
}

static void a_pointer_to_itself_ends(void **state)
{
	/* clang-format off */
	static const uint8_t msg[] = {
		0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
		0xc0, 12, 0, 1, 0, 1,
	};
	/* clang-format on */

	(void)state;
	parsed(msg, sizeof(msg), DNS_FORMERR);
}

static void a_name_with_odd_bytes_is_not_plain(void **state)
{
	uint8_t msg[sizeof(query_a)];

	(void)state;
	memcpy(msg, query_a, sizeof(msg));
	msg[14] = '.';
	assert_false(parsed(msg, sizeof(msg), 0).plain);
	msg[14] = 0;
	assert_false(parsed(msg, sizeof(msg), 0).plain);
}

static void another_opcode_is_not_implemented(void **state)
{
	uint8_t msg[sizeof(query_a)];

	(void)state;
	memcpy(msg, query_a, sizeof(msg));
	msg[2] = 0x28;
	parsed(msg, sizeof(msg), DNS_NOTIMP);
}

/* An answer to a question for "a.b" with the records appended by the test. */
struct built {
	uint8_t msg[2048];
	size_t len;
	uint8_t wire[5];
	unsigned int records;
};

static void begin(struct built *b)
{
	static const uint8_t wire[] = { 1, 'a', 1, 'B', 0 };

	memset(b, 0, sizeof(*b));
	memcpy(b->wire, wire, sizeof(wire));
	memcpy(b->msg, "\x00\x07\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00", 12);
	memcpy(b->msg + 12, wire, sizeof(wire));
	memcpy(b->msg + 17, "\x00\x01\x00\x01", 4);
	b->len = 21;
}

static void record(struct built *b, const char *owner, size_t owner_len,
		   uint8_t type, uint8_t ttl, const char *data, uint8_t len)
{
	uint8_t head[] = { 0, type, 0, 1, 0, 0, 0, ttl, 0, len };

	memcpy(b->msg + b->len, owner, owner_len);
	b->len += owner_len;
	memcpy(b->msg + b->len, head, sizeof(head));
	b->len += sizeof(head);
	memcpy(b->msg + b->len, data, len);
	b->len += len;
	b->msg[7] = (uint8_t)++b->records;
}

static int answered(const struct built *b, struct dns_answer *ret)
{
	return dns_answer_parse(b->msg, b->len, 7, b->wire, sizeof(b->wire),
				DNS_TYPE_A, ret);
}

static void addresses_at_the_end_of_the_chain_count_with_the_least_ttl(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	record(&b, "\xc0\x0c", 2, DNS_TYPE_CNAME, 5, "\1c\0", 3);
	record(&b, "\1C\0", 3, DNS_TYPE_A, 60, "\1\2\3\4", 4);
	assert_int_equal(answered(&b, &a), 0);
	assert_int_equal(a.n_addresses, 1);
	assert_int_equal(a.addresses[0].address, 0x01020304);
	assert_int_equal(a.addresses[0].ttl, 5);
}

static void an_address_of_another_name_does_not_count(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	record(&b, "\1x\0", 3, DNS_TYPE_A, 60, "\1\2\3\4", 4);
	assert_int_equal(answered(&b, &a), 0);
	assert_int_equal(a.n_addresses, 0);
}

static void a_chain_in_a_circle_ends_without_addresses(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	record(&b, "\xc0\x0c", 2, DNS_TYPE_CNAME, 5, "\1c\0", 3);
	record(&b, "\1c\0", 3, DNS_TYPE_CNAME, 5, "\1a\1b\0", 5);
	assert_int_equal(answered(&b, &a), 0);
	assert_int_equal(a.n_addresses, 0);
}

static void an_answer_with_the_wrong_case_or_id_is_not_ours(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	b.msg[15] = 'b';
	assert_int_equal(answered(&b, &a), -EBADMSG);
	begin(&b);
	b.msg[1] = 8;
	assert_int_equal(answered(&b, &a), -EBADMSG);
}

static void a_broken_record_refuses_the_whole_answer(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	record(&b, "\xc0\x0c", 2, DNS_TYPE_A, 60, "\1\2\3\4", 4);
	record(&b, "\xc0\x0c", 2, DNS_TYPE_A, 60, "\1\2\3", 3);
	assert_int_equal(answered(&b, &a), -EBADMSG);
}

static void more_addresses_than_are_kept_do_no_harm(void **state)
{
	struct built b;
	struct dns_answer a;

	(void)state;
	begin(&b);
	for (int i = 0; i < DNS_ADDRESSES_MAX + 20; i++)
		record(&b, "\xc0\x0c", 2, DNS_TYPE_A, 60, "\1\2\3\4", 4);
	assert_int_equal(answered(&b, &a), 0);
	assert_int_equal(a.n_addresses, DNS_ADDRESSES_MAX);
}

static void a_reply_echoes_the_question_as_it_was_spelled(void **state)
{
	struct dns_query q = parsed(query_a, sizeof(query_a), 0);
	struct dns_address addr = { 0x01020304, 60 };
	uint8_t buf[512];
	int n = dns_build_reply(buf, sizeof(buf), &q, DNS_NOERROR, DNS_EDE_NONE,
				&addr, 1, 60, false);

	(void)state;
	assert_true(n > 0);
	assert_memory_equal(buf + 12, query_a + 12, sizeof(query_a) - 12);
	assert_int_equal(buf[7], 1);
	assert_memory_equal(buf + n - 4, "\1\2\3\4", 4);
}

static void a_reply_that_does_not_fit_says_truncated(void **state)
{
	struct dns_query q = parsed(query_a, sizeof(query_a), 0);
	struct dns_address addr[DNS_ADDRESSES_MAX] = { 0 };
	uint8_t buf[DNS_UDP_MAX];
	int n = dns_build_reply(buf, sizeof(buf), &q, DNS_NOERROR, DNS_EDE_NONE,
				addr, DNS_ADDRESSES_MAX, 60, false);

	(void)state;
	assert_in_range(n, 100, 512);
	assert_true(buf[2] & 0x02);
}

static void what_we_ask_we_recognise(void **state)
{
	uint8_t wire[] = { 3, 'a', 'b', 'c', 0 }, buf[512];
	uint8_t bits[32] = { 0x0a };
	int n = dns_build_question(buf, sizeof(buf), 9, wire, sizeof(wire),
				   bits, DNS_TYPE_A);
	struct dns_answer a;

	(void)state;
	assert_true(n > 0);
	assert_memory_equal(wire + 1, "AbC", 3);
	buf[2] |= 0x80;
	assert_int_equal(dns_answer_parse(buf, (size_t)n, 9, wire, sizeof(wire),
					  DNS_TYPE_A, &a),
			 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_query_is_understood),
		cmocka_unit_test(a_query_cut_anywhere_is_refused),
		cmocka_unit_test(an_answer_is_not_a_query),
		cmocka_unit_test(two_questions_or_a_trailing_byte_are_refused),
		cmocka_unit_test(a_pointer_to_itself_ends),
		cmocka_unit_test(a_name_with_odd_bytes_is_not_plain),
		cmocka_unit_test(another_opcode_is_not_implemented),
		cmocka_unit_test(addresses_at_the_end_of_the_chain_count_with_the_least_ttl),
		cmocka_unit_test(an_address_of_another_name_does_not_count),
		cmocka_unit_test(a_chain_in_a_circle_ends_without_addresses),
		cmocka_unit_test(an_answer_with_the_wrong_case_or_id_is_not_ours),
		cmocka_unit_test(a_broken_record_refuses_the_whole_answer),
		cmocka_unit_test(more_addresses_than_are_kept_do_no_harm),
		cmocka_unit_test(a_reply_echoes_the_question_as_it_was_spelled),
		cmocka_unit_test(a_reply_that_does_not_fit_says_truncated),
		cmocka_unit_test(what_we_ask_we_recognise),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
