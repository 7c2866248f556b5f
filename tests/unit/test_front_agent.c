/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_agent.c - hostile agents: what one guest does, no other notices
 *
 * P1-P9 of the threat model. Each test has a second, well-behaved guest that
 * must go on working.
 *
 * A guest that is played in two: a real agent answers until it is attached, and
 * then its bytes are the test's (struct played).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/grpc_io.h"
#include "base/loop.h"
#include "engine/front_link.h"
#include "front/front.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = rig_new();
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* A guest whose agent is played by the test, byte by byte. */
static int raw_guest(struct rig *rig, const char *key, uint32_t ms)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, fds),
			 0);
	rig_attach_fd(rig, key, fds[0], ms);
	return fds[1];
}

static void expect_refused(struct rig *rig)
{
	rig_until(rig, rig->answered);
	assert_int_not_equal(rig->answer_err.code, ERR_NONE);
}

/* The other guest still serves. */
static void expect_others_well(struct rig *rig)
{
	struct client_conn cc;
	struct client_call c;
	enum agent_way way = rig->way;

	rig->way = AGENT_ECHO;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "good");
	grpc_call_half_close(c.call);
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_OK);
	client_close(&cc);
	rig->way = way;
}

static void send_all(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* An HTTP/2 frame's head, and SETTINGS that a server begins with. */
static void begin_http2(int fd)
{
	send_all(fd, "\0\0\0\4\0\0\0\0\0", 9);
}

static void p1_a_frame_that_claims_too_much_ends_the_link(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_attach(rig, "good");
	fd = raw_guest(rig, "bad", 5000);
	begin_http2(fd);
	send_all(fd, "\xff\xff\xff\0\0\0\0\0\1", 9);
	expect_refused(rig);
	expect_others_well(rig);
	close(fd);
}

static void p1_garbage_instead_of_http2_ends_the_link(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_attach(rig, "good");
	fd = raw_guest(rig, "bad", 5000);
	send_all(fd, "SSH-2.0-OpenSSH_9.2 and more of it\r\n", 36);
	expect_refused(rig);
	expect_others_well(rig);
	close(fd);
}

static void p2_an_agent_that_is_silent_is_given_up_in_time(void **state)
{
	struct rig *rig = *state;
	uint64_t begin = loop_now_ms();
	int fd;

	rig_attach(rig, "good");
	fd = raw_guest(rig, "bad", 300);
	expect_refused(rig);
	assert_int_equal(rig->answer_err.code, ERR_TIMEOUT);
	assert_true(loop_now_ms() - begin < 5000);
	expect_others_well(rig);
	close(fd);
}

static void p2_half_a_frame_and_silence_is_given_up_in_time(void **state)
{
	struct rig *rig = *state;
	int fd;

	rig_attach(rig, "good");
	fd = raw_guest(rig, "bad", 300);
	begin_http2(fd);
	send_all(fd, "\0\1\0", 3);
	expect_refused(rig);
	expect_others_well(rig);
	close(fd);
}

static void p3_streams_that_the_guest_opens_end_the_link(void **state)
{
	/* HEADERS on stream 2: a server may not begin one. */
	static const uint8_t headers[] = { 0, 0, 1, 1, 4, 0, 0, 0, 2, 0x88 };
	struct rig *rig = *state;
	int fd;

	rig_attach(rig, "good");
	fd = raw_guest(rig, "bad", 2000);
	begin_http2(fd);
	send_all(fd, headers, sizeof(headers));
	expect_refused(rig);
	expect_others_well(rig);
	close(fd);
}

/* Run an exec against a guest that lies, and expect the end of its link. */
static void lie(struct rig *rig, enum agent_way way)
{
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "bad");
	rig->way = way;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "bad");
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_UNAVAILABLE);
	assert_string_equal(c.st.reason, "UNAVAILABLE");
	rig_until(rig, rig->lost == 1);
	assert_int_equal(rig->lost_broken, 1);
	rig_until(rig, rig->released == 1);
	client_close(&cc);
}

static void p3_output_before_the_start_ends_the_link(void **state)
{
	lie(*state, AGENT_LIES);
}

static void p3_two_exits_end_the_link(void **state)
{
	lie(*state, AGENT_TWICE);
}

static void p4_a_message_that_does_not_parse_ends_the_link(void **state)
{
	lie(*state, AGENT_GARBAGE);
}

static void p3_all_calls_of_a_lying_guest_end(void **state)
{
	struct rig *rig = *state;
	struct client_call calls[4];
	struct client_conn cc;

	rig_attach(rig, "bad");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	for (int i = 0; i < 3; i++) {
		client_exec(&cc, &calls[i], "bad");
		rig_until(rig, calls[i].started);
	}
	rig->way = AGENT_GARBAGE;
	client_exec(&cc, &calls[3], "bad");
	for (int i = 0; i < 4; i++) {
		rig_until(rig, calls[i].done);
		assert_int_equal(calls[i].st.code, GRPC_UNAVAILABLE);
	}
	rig_until(rig, rig->released == 4);
	assert_int_equal(rig->lost, 1);
	client_close(&cc);
}

static void
p7_an_attached_guest_that_hangs_up_is_told_to_the_engine(void **state)
{
	struct rig *rig = *state;
	struct client_conn cc;
	struct client_call c;

	rig_attach(rig, "bad");
	rig->way = AGENT_HANG;
	client_connect(rig, &cc);
	client_exec(&cc, &c, "bad");
	rig_until(rig, c.started);
	grpc_io_close(rig->agent_io, "crash");
	rig_until(rig, c.done);
	assert_int_equal(c.st.code, GRPC_UNAVAILABLE);
	assert_true(c.st.retry_ms > 0);
	rig_until(rig, rig->lost == 1);
	client_close(&cc);
}

static void p9_an_agent_may_crash_and_come_back_many_times(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < 50; i++) {
		rig_attach(rig, "bad");
		grpc_io_close(rig->agent_io, "crash");
		rig_until(rig, rig->lost == i + 1);
		rig_until(rig, !rig->agent_io);
	}
	assert_true(list_empty(&rig->front->links));
}

static void attaching_again_replaces_the_link(void **state)
{
	struct rig *rig = *state;
	struct grpc_io *first;

	rig_attach(rig, "good");
	first = rig->agent_io;
	rig_attach(rig, "good");
	rig_until(rig, rig->agent_closed);
	assert_ptr_not_equal(first, rig->agent_io);
	assert_int_equal(rig->lost, 0);
	expect_others_well(rig);
}

static void the_engine_calls_an_agent_through_front(void **state)
{
	struct rig *rig = *state;

	rig_attach(rig, "good");
	rig->answered = false;
	front_link_call(rig->engine, "good", "Freeze", (const uint8_t *)"", 0,
			1000, rig_answer, rig);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_NONE);
	rig->answered = false;
	front_link_call(rig->engine, "gone", "Freeze", (const uint8_t *)"", 0,
			1000, rig_answer, rig);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_UNAVAILABLE);
}

static void two_hundred_silent_guests_cost_the_others_nothing(void **state)
{
	struct rig *rig = *state;
	int fds[200];

	rig_attach(rig, "good");
	for (int i = 0; i < 200; i++) {
		char key[16];

		snprintf(key, sizeof(key), "bad%d", i);
		fds[i] = raw_guest(rig, key, 60000);
		begin_http2(fds[i]);
		send_all(fds[i], "\0\1\0", 3);
	}
	for (int i = 0; i < 20; i++)
		expect_others_well(rig);
	for (int i = 0; i < 200; i++)
		close(fds[i]);
}

/* ---- guests that are attached before they do what they should not ---- */

struct played {
	struct rig *rig;
	struct grpc_conn *conn;
	int fd;
};

/* The agent is well for as long as this is called. */
static void play(struct played *p)
{
	uint8_t buf[16384];
	ssize_t n;
	size_t len;

	while ((n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		grpc_conn_feed(p->conn, buf, (size_t)n);
	grpc_conn_tick(p->conn, loop_now_ms());
	while ((len = grpc_conn_output(p->conn, buf, sizeof(buf))) > 0)
		send_all(p->fd, buf, len);
}

static void play_new(struct played *p, struct rig *rig)
{
	rig_attach(rig, "good");
	*p = (struct played){ .rig = rig,
			      .conn = rig_agent_conn(rig),
			      .fd = raw_guest(rig, "bad", 5000) };
	rig_until(rig, (play(p), rig->answered));
	assert_int_equal(rig->answer_err.code, ERR_NONE);
}

static void play_end(struct played *p)
{
	grpc_conn_free(p->conn);
	close(p->fd);
}

static void an_agent_that_hangs_is_told_in_seconds_and_told_to_be_back(
	void **state)
{
	struct rig *rig = *state;
	uint64_t begin = loop_now_ms();
	struct client_conn cc;
	struct client_call c;
	struct played p;

	play_new(&p, rig);
	client_connect(rig, &cc);
	client_exec(&cc, &c, "bad");
	rig_until(rig, rig->silences == 1);
	assert_in_range(loop_now_ms() - begin, 3000, 7000);
	assert_string_equal(rig->silent_key, "bad");
	assert_int_equal(rig->lost, 0);
	expect_others_well(rig);
	/* What waited is done, and it is well. */
	grpc_call_half_close(c.call);
	rig_until(rig, (play(&p), c.done));
	assert_int_equal(c.st.code, GRPC_OK);
	rig_until(rig, rig->heard_again == 1);
	assert_int_equal(rig->lost, 0);
	client_close(&cc);
	play_end(&p);
}

/* Sent by an agent that is attached: its link ends, for that reason. */
static void expect_broken(struct rig *rig, const void *data, size_t len)
{
	struct played p;

	play_new(&p, rig);
	send_all(p.fd, data, len);
	rig_until(rig, rig->lost == 1);
	assert_int_equal(rig->lost_broken, 1);
	assert_non_null(strstr(rig->lost_why, "broke the protocol"));
	expect_others_well(rig);
	play_end(&p);
}

static void p3_an_answer_to_a_call_that_was_never_made_ends_the_link(
	void **state)
{
	static const uint8_t data[] = "\0\0\5\0\0\0\0\7\xd1\0\0\0\0\0";

	expect_broken(*state, data, 14);
}

static void p3_headers_of_a_call_that_was_never_made_end_the_link(void **state)
{
	static const uint8_t data[] = "\0\0\1\1\4\0\0\7\xd1\x88";

	expect_broken(*state, data, 10);
}

static void p1_garbage_after_a_good_start_ends_the_link(void **state)
{
	static const char text[] = "\xff\xff\xff GET / HTTP/1.1\r\n\r\n";

	expect_broken(*state, text, sizeof(text) - 1);
}

/* More than anybody asked for, and none of ours is read. */
static void p2_endless_pings_end_the_link_or_cost_others_nothing(void **state)
{
	static const uint8_t ping[17] = { 0, 0, 8, 6 };
	struct rig *rig = *state;
	uint8_t many[17 * 1000];
	struct played p;
	size_t sent = 0;

	for (size_t i = 0; i < 1000; i++)
		memcpy(many + 17 * i, ping, 17);
	play_new(&p, rig);
	for (int i = 0; i < 50 && !rig->lost; i++) {
		ssize_t n;

		/* Whole frames, though the socket takes what it likes. */
		while ((n = send(p.fd, many + sent % 17,
				 sizeof(many) - sent % 17,
				 MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
			sent += (size_t)n;
		expect_others_well(rig);
	}
	rig_until(rig, rig->lost == 1);
	expect_others_well(rig);
	play_end(&p);
}

/* @garbage: bytes of what "bad" answers to the engine's @method. */
static void expect_answer_ends_the_link(struct rig *rig, const char *method,
					size_t garbage)
{
	rig_attach(rig, "good");
	rig_attach(rig, "bad");
	rig->unary_garbage = garbage;
	rig->answered = false;
	front_link_call(rig->engine, "bad", method, (const uint8_t *)"", 0,
			5000, rig_answer, rig);
	rig_until(rig, rig->answered);
	assert_int_equal(rig->answer_err.code, ERR_UNAVAILABLE);
	rig_until(rig, rig->lost_broken == 1);
	rig->unary_garbage = 0;
	expect_others_well(rig);
}

static void p4_an_answer_to_the_engine_that_does_not_parse_ends_the_link(
	void **state)
{
	expect_answer_ends_the_link(*state, "Freeze", 3);
}

static void p1_an_answer_to_the_engine_that_is_too_long_ends_the_link(
	void **state)
{
	expect_answer_ends_the_link(*state, "Stats", 100000);
}

/* Hello that says another version, or nothing that makes sense. */
static void p7_who_is_not_our_agent_is_told_to_be_broken(void **state)
{
	struct rig *rig = *state;
	struct played p = { .rig = rig };

	rig_attach(rig, "good");
	rig->hello_version = 7;
	p.conn = rig_agent_conn(rig);
	p.fd = raw_guest(rig, "bad", 5000);
	rig_until(rig, (play(&p), rig->answered));
	assert_int_equal(rig->answer_err.code, ERR_UNAVAILABLE);
	assert_string_equal(rig->answer_err.reason, "AGENT_BROKEN");
	rig->hello_version = 0;
	expect_others_well(rig);
	play_end(&p);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(p1_a_frame_that_claims_too_much_ends_the_link),
		T(p1_garbage_instead_of_http2_ends_the_link),
		T(p2_an_agent_that_is_silent_is_given_up_in_time),
		T(p2_half_a_frame_and_silence_is_given_up_in_time),
		T(p3_streams_that_the_guest_opens_end_the_link),
		T(p3_output_before_the_start_ends_the_link),
		T(p3_two_exits_end_the_link),
		T(p4_a_message_that_does_not_parse_ends_the_link),
		T(p3_all_calls_of_a_lying_guest_end),
		T(p7_an_attached_guest_that_hangs_up_is_told_to_the_engine),
		T(p9_an_agent_may_crash_and_come_back_many_times),
		T(attaching_again_replaces_the_link),
		T(the_engine_calls_an_agent_through_front),
		T(two_hundred_silent_guests_cost_the_others_nothing),
		T(an_agent_that_hangs_is_told_in_seconds_and_told_to_be_back),
		T(p3_an_answer_to_a_call_that_was_never_made_ends_the_link),
		T(p3_headers_of_a_call_that_was_never_made_end_the_link),
		T(p1_garbage_after_a_good_start_ends_the_link),
		T(p2_endless_pings_end_the_link_or_cost_others_nothing),
		T(p4_an_answer_to_the_engine_that_does_not_parse_ends_the_link),
		T(p1_an_answer_to_the_engine_that_is_too_long_ends_the_link),
		T(p7_who_is_not_our_agent_is_told_to_be_broken),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
