/* SPDX-License-Identifier: Apache-2.0 */
/* test_nft.c - messages to nftables, its replies, names of our objects */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/net/netpol.h"
#include "engine/net/netpol_hard.h"
#include "engine/net/nft_expr.h"
#include "engine/net/nft_reply.h"
#include "engine/net/tap.h"
#include "net_rules.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

/* ---- names of objects --------------------------------------------------- */

static void chains_of_shapes_are_known_by_their_names(void **state)
{
	struct netpol_chains c;

	(void)state;
	assert_true(netpol_note_chain("p3", &c));
	assert_true(c.any && !c.names);
	assert_int_equal(c.number, 3);
	assert_true(netpol_note_chain("u4294967295", &c) && c.names);
	assert_false(netpol_note_chain("w7", &c));
	assert_false(netpol_note_chain("p4294967296", &c));
	assert_false(netpol_note_chain("policies", &c));
	assert_false(netpol_note_chain("s3", &c));
	assert_false(netpol_note_chain("p", &c));
	assert_false(netpol_note_chain("", &c));
}

static void only_taps_of_ours_have_a_number(void **state)
{
	uint32_t n;

	(void)state;
	assert_true(tap_number("sbx0", 100, &n));
	assert_int_equal(n, 0);
	assert_true(tap_number("sbx42", 100, &n));
	assert_int_equal(n, 42);
	assert_false(tap_number("sbx042", 100, &n));
	assert_false(tap_number("sbx101", 100, &n));
	assert_false(tap_number("sbx", 100, &n));
	assert_false(tap_number("sbx1a", 100, &n));
	assert_false(tap_number("eth0", 100, &n));
}

/* ---- batches and replies ------------------------------------------------ */

static void a_batch_is_whole_messages(void **state)
{
	struct hard_range hard[HARD_RANGES_MAX];
	struct netpol_node node = { .pool = IP(10, 200, 0, 0),
				    .pool_mask = 0xffff0000,
				    .gateway = IP(169, 254, 1, 1),
				    .hard = hard };
	struct nft_batch b;
	unsigned int messages = 0;
	size_t at = 0;

	(void)state;
	node.n_hard = hard_ranges(node.pool, node.pool_mask, NULL, 0, hard);
	nft_batch_init(&b, NFPROTO_INET);
	netpol_base(&b, &node, true);
	assert_false(b.failed);
	while (at < b.len) {
		struct nlmsghdr nh;
		struct nft_attr attrs[64];

		memcpy(&nh, b.data + at, sizeof(nh));
		assert_true(nh.nlmsg_len <= b.len - at);
		assert_int_equal(nh.nlmsg_type >> 8, NFNL_SUBSYS_NFTABLES);
		assert_true(nft_attrs(
			b.data + at + sizeof(nh) + sizeof(struct nfgenmsg),
			nh.nlmsg_len - sizeof(nh) - sizeof(struct nfgenmsg),
			attrs, 64));
		at += NLMSG_ALIGN(nh.nlmsg_len);
		messages++;
	}
	assert_int_equal(messages, b.messages);
	nft_batch_fini(&b);
}

/* Chains and rules are the shape's; a slot is elements only. */
static void a_slot_is_elements_of_what_all_share(void **state)
{
	static const struct net_limits limits = { 10, 10, 10 };
	struct netpol_node node = { 0 };
	struct slot slot = { .number = 3, .tap = "sbx3", .mark = 4 };
	struct netpol_objects have = { 0 };
	struct nft_batch b;
	size_t at = 0;

	(void)state;
	nft_batch_init(&b, NFPROTO_INET);
	netpol_slot(&b, &node, &slot, 7, true, &limits, true, &have);
	assert_true(have.bound && have.names);
	netpol_slot(&b, &node, &slot, 8, false, NULL, true, &have);
	assert_true(have.bound && !have.names);
	netpol_slot_close(&b, &node, &slot, NULL, &have);
	assert_false(have.bound || have.names);
	assert_false(b.failed);
	while (at < b.len) {
		struct nlmsghdr nh;

		memcpy(&nh, b.data + at, sizeof(nh));
		assert_true((nh.nlmsg_type & 255) == NFT_MSG_NEWSETELEM ||
			    (nh.nlmsg_type & 255) == NFT_MSG_DELSETELEM);
		at += NLMSG_ALIGN(nh.nlmsg_len);
	}
	assert_int_equal(b.rules, 0);
	nft_batch_fini(&b);
}

struct error_reply {
	struct nlmsghdr nh;
	struct nlmsgerr e;
};

static struct error_reply reply(int error, uint32_t seq)
{
	return (struct error_reply){
		.nh = { .nlmsg_len = sizeof(struct error_reply),
			.nlmsg_type = NLMSG_ERROR,
			.nlmsg_seq = seq },
		.e = { .error = error },
	};
}

static void the_first_error_counts_whatever_was_acknowledged(void **state)
{
	struct error_reply replies[] = { reply(0, 1), reply(-2, 2),
					 reply(-17, 3) };
	struct nft_result result = { 0 };

	(void)state;
	nft_reply_parse((uint8_t *)replies, sizeof(replies), &result, NULL,
			NULL);
	assert_int_equal(result.acks, 1);
	assert_int_equal(result.errnum, 2);
	assert_int_equal(result.seq, 2);
}

static void a_reply_cut_short_is_passed_over(void **state)
{
	struct error_reply r = reply(-2, 2);
	struct nft_result result = { 0 };

	(void)state;
	for (size_t n = 0; n < sizeof(r); n++)
		nft_reply_parse((uint8_t *)&r, n, &result, NULL, NULL);
	assert_int_equal(result.errnum, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_shapes_are_known_by_their_names),
		cmocka_unit_test(only_taps_of_ours_have_a_number),
		cmocka_unit_test(a_batch_is_whole_messages),
		cmocka_unit_test(a_slot_is_elements_of_what_all_share),
		cmocka_unit_test(
			the_first_error_counts_whatever_was_acknowledged),
		cmocka_unit_test(a_reply_cut_short_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
