/* SPDX-License-Identifier: Apache-2.0 */
/* test_grpc_flow.c - what holds back whom, and what stays bounded */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_pair.h"

#include <string.h>

#define MESSAGE 8192

static struct pair pair;

static int setup(void **state)
{
	(void)state;
	pair_init(&pair, NULL, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pair_fini(&pair);
	return 0;
}

static struct side *server_of(struct side *c)
{
	grpc_call_send(c->call, (const uint8_t *)"go", 2);
	pair_run(&pair);
	return pair_served(&pair, pair.accepted - 1);
}

static void a_sender_is_told_to_rest_and_to_go_on(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);

	(void)state;
	side_send_many(s, 1000, MESSAGE);
	assert_in_range(grpc_call_queued(s->call), GRPC_SEND_HIGH_WATER,
			GRPC_SEND_HIGH_WATER + MESSAGE + 5);
	assert_int_equal(s->writables, 0);
	pair_run(&pair);
	assert_true(s->writables > 0);
	assert_int_equal(c->messages, 1000);
	assert_int_equal(grpc_call_queued(s->call), 0);
}

static void a_paused_receiver_bounds_what_is_in_flight(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);
	size_t moved;

	(void)state;
	grpc_call_pause(c->call, true);
	side_send_many(s, 1000, MESSAGE);
	moved = pair_run(&pair);
	assert_true(moved <= GRPC_STREAM_WINDOW + 16384);
	assert_int_equal(c->messages, 0);
	/* The sender is held too: its queue, and no more. */
	assert_true(grpc_call_queued(s->call) <=
		    GRPC_SEND_HIGH_WATER + MESSAGE + 5);
	assert_true(s->send_left > 900);
	grpc_call_pause(c->call, false);
	assert_int_equal(c->messages, 0); /* never from within */
	pair_run(&pair);
	assert_int_equal(c->messages, 1000);
}

static void a_paused_call_stops_no_other(void **state)
{
	struct side *a = pair_start(&pair, "/a.B/C", 0);
	struct side *as = server_of(a);
	struct side *b = pair_start(&pair, "/a.B/D", 0);
	struct side *bs = server_of(b);

	(void)state;
	grpc_call_pause(a->call, true);
	side_send_many(as, 100, MESSAGE);
	side_send_many(bs, 1000, MESSAGE); /* more than the conn's window */
	pair_run(&pair);
	assert_int_equal(a->messages, 0);
	assert_int_equal(b->messages, 1000);
}

static void a_server_reader_is_bounded_the_same_way(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);

	(void)state;
	grpc_call_pause(s->call, true);
	side_send_many(c, 1000, MESSAGE);
	assert_true(pair_run(&pair) <= GRPC_STREAM_WINDOW + 16384);
	grpc_call_pause(s->call, false);
	pair_run(&pair);
	assert_int_equal(s->messages, 1001);
}

static void the_end_waits_for_messages_that_are_held(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);

	(void)state;
	grpc_call_pause(c->call, true);
	side_send_many(s, 3, 10);
	side_finish(s, GRPC_OK, "");
	pair_run(&pair);
	assert_int_equal(c->messages + c->dones, 0);
	grpc_call_pause(c->call, false);
	pair_run(&pair);
	assert_int_equal(c->messages, 3);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_OK);
}

static void a_large_message_passes_a_smaller_window(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);

	(void)state;
	side_send_many(s, 3, GRPC_MESSAGE_MAX);
	pair_run(&pair);
	assert_int_equal(c->messages, 3);
	assert_int_equal(c->bytes, 3ul * GRPC_MESSAGE_MAX);
}

static void streams_share_the_line(void **state)
{
	struct side *a = pair_start(&pair, "/a.B/C", 0);
	struct side *as = server_of(a);
	struct side *b = pair_start(&pair, "/a.B/D", 0);
	struct side *bs = server_of(b);
	static uint8_t buf[65536];
	size_t n;

	(void)state;
	side_send_many(as, 30, MESSAGE);
	side_send_many(bs, 30, MESSAGE);
	/* Of the first 64 KiB each has a part. */
	n = grpc_conn_output(pair.server, buf, sizeof(buf));
	assert_int_equal(grpc_conn_feed(pair.client, buf, n), 0);
	assert_true(a->messages > 0);
	assert_true(b->messages > 0);
}

static void what_a_cancelled_call_had_queued_is_dropped(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s = server_of(c);

	(void)state;
	side_send_many(s, 30, MESSAGE);
	grpc_call_cancel(c->call);
	pair_run(&pair);
	assert_int_equal(s->dones, 1);
	assert_true(grpc_conn_is_idle(pair.server));
	assert_false(grpc_conn_wants_write(pair.server));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_sender_is_told_to_rest_and_to_go_on),
		T(a_paused_receiver_bounds_what_is_in_flight),
		T(a_paused_call_stops_no_other),
		T(a_server_reader_is_bounded_the_same_way),
		T(the_end_waits_for_messages_that_are_held),
		T(a_large_message_passes_a_smaller_window),
		T(streams_share_the_line),
		T(what_a_cancelled_call_had_queued_is_dropped),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
