/* SPDX-License-Identifier: Apache-2.0 */
/* test_grpc_call.c - calls of every kind, and every way they end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int send_text(struct side *side, const char *text)
{
	return grpc_call_send(side->call, (const uint8_t *)text, strlen(text));
}

static void a_unary_call_gets_its_answer_and_status(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	pair.proto.echo = pair.proto.echo_finish = true;
	assert_int_equal(send_text(c, "hello"), 0);
	grpc_call_half_close(c->call);
	pair_run(&pair);
	assert_string_equal(pair_served(&pair, 0)->path, "/a.B/C");
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	assert_int_equal(pair_served(&pair, 0)->st.code, GRPC_OK);
	assert_int_equal(c->messages, 1);
	assert_memory_equal(c->last, "hello", 5);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_OK);
	assert_true(grpc_conn_is_idle(pair.client));
	assert_true(grpc_conn_is_idle(pair.server));
}

static void bytes_may_come_one_at_a_time(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 5000);

	(void)state;
	pair.chunk = 1;
	pair.proto.echo = pair.proto.echo_finish = true;
	send_text(c, "");
	send_text(c, "one");
	send_text(c, "");
	grpc_call_half_close(c->call);
	pair_run(&pair);
	assert_int_equal(pair_served(&pair, 0)->messages, 3);
	assert_int_equal(c->messages, 3);
	assert_int_equal(c->bytes, 3);
	assert_int_equal(c->st.code, GRPC_OK);
}

static void a_server_stream_gives_all_messages_before_done(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *s;

	(void)state;
	send_text(c, "go");
	grpc_call_half_close(c->call);
	pair_run(&pair);
	s = pair_served(&pair, 0);
	assert_true(s->half_closed);
	for (int i = 0; i < 100; i++)
		send_text(s, "x");
	side_finish(s, GRPC_NOT_FOUND, "no more");
	assert_int_equal(send_text(s, "late"), -EPIPE);
	pair_run(&pair);
	assert_int_equal(c->messages, 100);
	assert_int_equal(c->st.code, GRPC_NOT_FOUND);
	assert_string_equal(c->st.message, "no more");
}

static void a_client_stream_ends_by_half_close(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	for (int i = 0; i < 10; i++)
		send_text(c, "x");
	pair_run(&pair);
	assert_int_equal(pair_served(&pair, 0)->messages, 10);
	assert_false(pair_served(&pair, 0)->half_closed);
	grpc_call_half_close(c->call);
	assert_int_equal(send_text(c, "late"), -EPIPE);
	pair_run(&pair);
	assert_true(pair_served(&pair, 0)->half_closed);
	assert_int_equal(c->dones, 0);
	side_finish(pair_served(&pair, 0), GRPC_OK, "");
	pair_run(&pair);
	assert_int_equal(c->dones, 1);
}

static void a_bidi_stream_talks_both_ways(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	pair.proto.echo = pair.proto.echo_finish = true;
	for (unsigned int i = 1; i <= 20; i++) {
		send_text(c, "ping");
		pair_run(&pair);
		assert_int_equal(c->messages, i);
	}
	grpc_call_half_close(c->call);
	pair_run(&pair);
	assert_int_equal(c->st.code, GRPC_OK);
}

static void an_answer_before_half_close_ends_the_call(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	send_text(c, "x");
	pair_run(&pair);
	side_finish(pair_served(&pair, 0), GRPC_ABORTED, "enough");
	pair_run(&pair);
	assert_int_equal(c->st.code, GRPC_ABORTED);
	assert_int_equal(pair_served(&pair, 0)->st.code, GRPC_ABORTED);
	assert_true(grpc_conn_is_idle(pair.server));
	assert_true(grpc_conn_is_idle(pair.client));
}

static void an_unknown_method_is_answered_before_any_message(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/Nope", 0);

	(void)state;
	pair.refuse = true;
	pair_run(&pair);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_UNIMPLEMENTED);
	assert_true(grpc_conn_is_idle(pair.server));
}

static void a_message_of_the_limit_passes(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	pair.proto.echo = pair.proto.echo_finish = true;
	side_send_many(c, 1, GRPC_MESSAGE_MAX);
	grpc_call_half_close(c->call);
	pair_run(&pair);
	assert_int_equal(pair_served(&pair, 0)->bytes, GRPC_MESSAGE_MAX);
	assert_int_equal(c->bytes, GRPC_MESSAGE_MAX);
	assert_int_equal(c->st.code, GRPC_OK);
}

static void a_message_over_the_limit_is_not_taken(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	uint8_t *big = calloc(1, GRPC_MESSAGE_MAX + 1);

	(void)state;
	assert_int_equal(grpc_call_send(c->call, big, GRPC_MESSAGE_MAX + 1),
			 -EMSGSIZE);
	free(big);
	assert_int_equal(grpc_call_queued(c->call), 0);
}

static void a_cancelled_client_call_ends_both_sides(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	send_text(c, "x");
	pair_run(&pair);
	grpc_call_cancel(c->call);
	assert_int_equal(c->dones, 0); /* never from within */
	grpc_call_cancel(c->call);
	pair_run(&pair);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_CANCELLED);
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	assert_int_equal(pair_served(&pair, 0)->st.code, GRPC_CANCELLED);
	assert_true(grpc_conn_is_idle(pair.server));
}

static void a_call_can_be_cancelled_before_it_was_sent(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	send_text(c, "x");
	grpc_call_cancel(c->call);
	pair_run(&pair);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_CANCELLED);
	assert_true(grpc_conn_is_idle(pair.client));
	assert_true(grpc_conn_is_idle(pair.server));
}

static void a_server_may_cancel_too(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	send_text(c, "x");
	pair_run(&pair);
	grpc_call_cancel(pair_served(&pair, 0)->call);
	pair_run(&pair);
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_CANCELLED);
}

static void a_callback_may_cancel_its_call(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	pair.proto.cancel_on_message = true;
	send_text(c, "one");
	send_text(c, "two");
	pair_run(&pair);
	assert_int_equal(pair_served(&pair, 0)->messages, 1);
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	assert_int_equal(c->dones, 1);
}

static void both_sides_keep_the_deadline(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 250);
	struct side *s;

	(void)state;
	pair_run(&pair);
	s = pair_served(&pair, 0);
	assert_int_equal(grpc_call_time_left(s->call), 250);
	assert_int_equal(grpc_conn_next_ms(pair.server), 1250);
	pair_pass(&pair, 249);
	assert_int_equal(c->dones + s->dones, 0);
	pair_pass(&pair, 1);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(s->dones, 1);
	assert_int_equal(s->st.code, GRPC_DEADLINE_EXCEEDED);
	assert_true(grpc_conn_is_idle(pair.server));
}

static void a_server_alone_answers_deadline_exceeded(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 100);

	(void)state;
	pair_run(&pair);
	grpc_conn_tick(pair.server, pair.now + 100);
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	pair_run(&pair);
	assert_int_equal(c->st.code, GRPC_DEADLINE_EXCEEDED);
	assert_true(grpc_conn_is_idle(pair.server));
}

static void a_lost_transport_ends_every_call(void **state)
{
	struct side *a = pair_start(&pair, "/a.B/C", 0);
	struct side *b = pair_start(&pair, "/a.B/D", 0);

	(void)state;
	pair_run(&pair);
	grpc_conn_abort(pair.client, "cable cut");
	assert_int_equal(a->st.code, GRPC_UNAVAILABLE);
	assert_string_equal(b->st.message, "cable cut");
	assert_string_equal(pair.client_closing, "cable cut");
	assert_true(grpc_conn_is_over(pair.client));
	assert_null(pair_start(&pair, "/a.B/C", 0));
	grpc_conn_abort(pair.server, "cable cut");
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
	assert_int_equal(pair_served(&pair, 1)->dones, 1);
}

static void a_draining_server_ends_what_it_has(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);
	struct side *late;

	(void)state;
	pair.proto.echo = pair.proto.echo_finish = true;
	pair_run(&pair);
	/* On its way when the server decides to drain: must not be lost. */
	late = pair_start(&pair, "/a.B/D", 0);
	grpc_conn_drain(pair.server);
	pair_run(&pair);
	assert_true(pair.client_closing[0]);
	assert_null(pair_start(&pair, "/a.B/E", 0));
	assert_false(grpc_conn_is_over(pair.server));
	send_text(c, "x");
	grpc_call_half_close(c->call);
	grpc_call_half_close(late->call);
	pair_run(&pair);
	assert_int_equal(c->st.code, GRPC_OK);
	assert_int_equal(late->st.code, GRPC_OK);
	assert_true(grpc_conn_is_over(pair.server));
	assert_true(grpc_conn_is_over(pair.client));
}

static void a_drain_ends_without_the_client_s_help(void **state)
{
	(void)state;
	pair_run(&pair);
	pair.deaf = true;
	grpc_conn_drain(pair.server);
	pair_run(&pair);
	assert_false(grpc_conn_is_over(pair.server));
	assert_int_equal(grpc_conn_next_ms(pair.server), 2000);
	pair_pass(&pair, 1000);
	assert_true(grpc_conn_is_over(pair.server));
}

static void freeing_a_connection_ends_its_calls(void **state)
{
	struct side *c = pair_start(&pair, "/a.B/C", 0);

	(void)state;
	send_text(c, "x");
	pair.client = grpc_conn_free(pair.client);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_UNAVAILABLE);
}

static unsigned int wakes;

static void on_wake(struct grpc_conn *conn, void *arg)
{
	(void)conn;
	(void)arg;
	wakes++;
}

static void a_pump_hears_of_everything_to_send(void **state)
{
	static const struct grpc_hooks hooks = { .wake = on_wake };
	struct side *c;

	(void)state;
	pair_run(&pair);
	grpc_conn_set_hooks(pair.client, &hooks, NULL);
	wakes = 0;
	c = pair_start(&pair, "/a.B/C", 0);
	assert_true(wakes > 0);
	pair_run(&pair);
	wakes = 0;
	pair_run(&pair);
	assert_int_equal(wakes, 0);
	send_text(c, "x");
	assert_true(wakes > 0);
	pair_run(&pair);
	wakes = 0;
	grpc_call_half_close(c->call);
	assert_true(wakes > 0);
	pair_run(&pair);
	wakes = 0;
	grpc_call_cancel(c->call);
	assert_true(wakes > 0);
	assert_true(grpc_conn_next_ms(pair.client) <= pair.now);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_unary_call_gets_its_answer_and_status),
		T(bytes_may_come_one_at_a_time),
		T(a_server_stream_gives_all_messages_before_done),
		T(a_client_stream_ends_by_half_close),
		T(a_bidi_stream_talks_both_ways),
		T(an_answer_before_half_close_ends_the_call),
		T(an_unknown_method_is_answered_before_any_message),
		T(a_message_of_the_limit_passes),
		T(a_message_over_the_limit_is_not_taken),
		T(a_cancelled_client_call_ends_both_sides),
		T(a_call_can_be_cancelled_before_it_was_sent),
		T(a_server_may_cancel_too),
		T(a_callback_may_cancel_its_call),
		T(both_sides_keep_the_deadline),
		T(a_server_alone_answers_deadline_exceeded),
		T(a_lost_transport_ends_every_call),
		T(a_draining_server_ends_what_it_has),
		T(a_drain_ends_without_the_client_s_help),
		T(freeing_a_connection_ends_its_calls),
		T(a_pump_hears_of_everything_to_send),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
