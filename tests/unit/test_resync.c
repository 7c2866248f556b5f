/* SPDX-License-Identifier: Apache-2.0 */
/* test_resync.c - marks on a serial line, however the bytes are cut */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "resync.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t random_a[16] = "0123456789abcdef";
static const uint8_t magic[17] = "\0SANDBOX-RESYNC";

/* What a guest made of its input. */
struct heard {
	uint8_t data[4096]; /* since the last mark */
	size_t len;
	unsigned int marks;
	uint8_t mark[RESYNC_MARK_LEN];
};

static void hear(struct resync_guest *rs, struct heard *h, const uint8_t *data,
		 size_t len)
{
	enum resync_event event;
	const uint8_t *out;
	size_t out_len;

	while ((event = resync_guest_next(rs, &data, &len, &out, &out_len)) !=
	       RESYNC_MORE) {
		if (event == RESYNC_MARK) {
			assert_int_equal(out_len, RESYNC_MARK_LEN);
			memcpy(h->mark, out, out_len);
			h->marks++;
			h->len = 0;
			continue;
		}
		assert_true(out_len > 0 && h->len + out_len < sizeof(h->data));
		memcpy(h->data + h->len, out, out_len);
		h->len += out_len;
	}
	assert_int_equal(len, 0);
}

static void release(struct resync_guest *rs, struct heard *h)
{
	const uint8_t *out;
	size_t n = resync_guest_release(rs, &out);

	if (n)
		memcpy(h->data + h->len, out, n);
	h->len += n;
}

static void a_mark_is_found_wherever_the_input_is_cut(void **state)
{
	struct resync_node node;
	uint8_t line[100] = "half a frame\0SAND";
	size_t before = 17, all = before + RESYNC_MARK_LEN + 4;

	(void)state;
	resync_node_init(&node, random_a);
	memcpy(line + before, node.mark, RESYNC_MARK_LEN);
	memcpy(line + before + RESYNC_MARK_LEN, "next", 4);
	for (size_t a = 0; a <= all; a++) {
		for (size_t b = a; b <= all; b++) {
			struct heard h = { 0 };
			struct resync_guest guest;

			resync_guest_init(&guest);
			hear(&guest, &h, line, a);
			hear(&guest, &h, line + a, b - a);
			hear(&guest, &h, line + b, all - b);
			assert_int_equal(h.marks, 1);
			assert_memory_equal(h.mark, node.mark, RESYNC_MARK_LEN);
			assert_int_equal(h.len, 4);
			assert_memory_equal(h.data, "next", 4);
		}
	}
}

static void what_may_become_a_mark_is_held_and_can_be_released(void **state)
{
	struct resync_guest guest;
	struct heard h = { 0 };

	(void)state;
	resync_guest_init(&guest);
	hear(&guest, &h, (const uint8_t *)"end\0S", 5);
	assert_int_equal(h.len, 3);
	assert_true(resync_guest_holds(&guest));
	release(&guest, &h);
	assert_false(resync_guest_holds(&guest));
	assert_memory_equal(h.data, "end\0S", 5);
	/* It goes on matching behind a release, and gives nothing twice. */
	hear(&guest, &h, (const uint8_t *)"ANx", 3);
	assert_int_equal(h.len, 8);
	assert_memory_equal(h.data, "end\0SANx", 8);
}

static void a_mark_is_found_across_a_release(void **state)
{
	struct resync_node node;
	struct resync_guest guest;
	struct heard h = { 0 };

	(void)state;
	resync_node_init(&node, random_a);
	resync_guest_init(&guest);
	hear(&guest, &h, node.mark, 5);
	release(&guest, &h);
	hear(&guest, &h, node.mark + 5, RESYNC_MARK_LEN - 5);
	assert_int_equal(h.marks, 1);
	assert_memory_equal(h.mark, node.mark, RESYNC_MARK_LEN);
}

static void content_with_the_magic_in_it_passes(void **state)
{
	static const char *const contents[] = {
		"\0SANDBOX-RESYNC\0and more",
		"\0\0SANDBOX-RESYNC\0\0",
		"\0SANDBOX-RESYNC\xff\0SANDBOX-RESYNC\0",
		"\0SANDBOX-RESYN\0SANDBOX-RESYNC",
	};
	static const size_t lens[] = { 24, 19, 32, 30 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		for (size_t cut = 0; cut <= lens[i]; cut++) {
			const uint8_t *src = (const uint8_t *)contents[i];
			uint8_t out[RESYNC_STUFFED_MAX(64)];
			struct resync_guest guest;
			struct resync_node node;
			struct heard h = { 0 };
			size_t n;

			resync_node_init(&node, random_a);
			resync_guest_init(&guest);
			n = resync_node_stuff(&node, out, src, cut);
			n += resync_node_stuff(&node, out + n, src + cut,
					       lens[i] - cut);
			for (size_t j = 0; j < n; j++)
				hear(&guest, &h, out + j, 1);
			release(&guest, &h);
			assert_int_equal(h.marks, 0);
			assert_int_equal(h.len, lens[i]);
			assert_memory_equal(h.data, src, lens[i]);
		}
	}
}

static void stuffing_grows_no_more_than_said(void **state)
{
	uint8_t src[15 * 20], out[RESYNC_STUFFED_MAX(sizeof(src))];
	struct resync_node node;

	(void)state;
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = magic[i % 15];
	resync_node_init(&node, random_a);
	assert_int_equal(resync_node_stuff(&node, out, src, sizeof(src)),
			 sizeof(src) + 20);
	assert_true(sizeof(src) + 20 <= sizeof(out));
}

static void the_node_drops_all_up_to_its_own_mark(void **state)
{
	struct resync_node other, node;
	uint8_t line[200];
	size_t n = 0;

	(void)state;
	resync_node_init(&other, (const uint8_t *)"another's-random");
	resync_node_init(&node, random_a);
	memcpy(line, "old", 3);
	n += 3;
	memcpy(line + n, other.mark, RESYNC_MARK_LEN);
	n += RESYNC_MARK_LEN;
	memcpy(line + n, node.mark, 20); /* an echo cut short */
	n += 20;
	memcpy(line + n, node.mark, RESYNC_MARK_LEN);
	n += RESYNC_MARK_LEN;
	memcpy(line + n, "new", 3);
	for (size_t cut = 0; cut <= n + 3; cut++) {
		size_t dropped;

		resync_node_init(&node, random_a);
		dropped = resync_node_skip(&node, line, cut);
		assert_int_equal(resync_node_in_sync(&node), cut >= n);
		dropped += resync_node_skip(&node, line + cut, n + 3 - cut);
		assert_true(resync_node_in_sync(&node));
		assert_int_equal(dropped, n);
	}
}

static void a_random_half_that_repeats_the_magic_is_matched(void **state)
{
	struct resync_node node;
	uint8_t line[16 + RESYNC_MARK_LEN];

	(void)state;
	/* The mark is magic magic; the line has three. */
	resync_node_init(&node, magic);
	memcpy(line, magic, 16);
	memcpy(line + 16, node.mark, RESYNC_MARK_LEN);
	assert_int_equal(resync_node_skip(&node, line + 8, sizeof(line) - 8),
			 sizeof(line) - 8);
	assert_true(resync_node_in_sync(&node));
	resync_node_init(&node, (const uint8_t *)"\0SANDBOX-RESYNCx");
	memcpy(line + 16, node.mark, RESYNC_MARK_LEN);
	resync_node_skip(&node, line, sizeof(line));
	assert_true(resync_node_in_sync(&node));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_is_found_wherever_the_input_is_cut),
		cmocka_unit_test(
			what_may_become_a_mark_is_held_and_can_be_released),
		cmocka_unit_test(a_mark_is_found_across_a_release),
		cmocka_unit_test(content_with_the_magic_in_it_passes),
		cmocka_unit_test(stuffing_grows_no_more_than_said),
		cmocka_unit_test(the_node_drops_all_up_to_its_own_mark),
		cmocka_unit_test(
			a_random_half_that_repeats_the_magic_is_matched),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
