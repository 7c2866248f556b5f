/* SPDX-License-Identifier: Apache-2.0 */
/* test_grpc_hostile.c - peers that break the rules, through bare nghttp2 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_pair.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A bare HTTP/2 end that joins pair.server or pair.client, and what it saw. */
static struct raw {
	nghttp2_session *session;
	bool server;
	char status[16], grpc_status[16], message[128];
	uint32_t goaway;
	int32_t stream_id;
	/* The body it sends. */
	const uint8_t *body;
	size_t body_len;
	bool body_stays_open;
	/* As a server: the answer. */
	const char *answer_status, *answer_type, *answer_grpc;
} raw;
static struct pair pair;

static ssize_t raw_read(nghttp2_session *session, int32_t stream_id,
			uint8_t *buf, size_t size, uint32_t *flags,
			nghttp2_data_source *source, void *arg)
{
	size_t n = raw.body_len < size ? raw.body_len : size;

	(void)session;
	(void)stream_id;
	(void)source;
	(void)arg;
	if (n)
		memcpy(buf, raw.body, n);
	raw.body += n;
	raw.body_len -= n;
	if (raw.body_len)
		return (ssize_t)n;
	if (!raw.body_stays_open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (!n)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

static const nghttp2_data_provider raw_body = { .read_callback = raw_read };

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name,
			     (uint8_t *)(uintptr_t)value, strlen(name),
			     strlen(value), 0 };
}

static int raw_header(nghttp2_session *session, const nghttp2_frame *frame,
		      const uint8_t *name, size_t name_len,
		      const uint8_t *value, size_t value_len, uint8_t flags,
		      void *arg)
{
	const char *n = (const char *)name, *v = (const char *)value;

	(void)session;
	(void)frame;
	(void)name_len;
	(void)value_len;
	(void)flags;
	(void)arg;
	if (!strcmp(n, ":status"))
		snprintf(raw.status, sizeof(raw.status), "%s", v);
	if (!strcmp(n, "grpc-status"))
		snprintf(raw.grpc_status, sizeof(raw.grpc_status), "%s", v);
	if (!strcmp(n, "grpc-message"))
		snprintf(raw.message, sizeof(raw.message), "%s", v);
	return 0;
}

static int raw_frame(nghttp2_session *session, const nghttp2_frame *frame,
		     void *arg)
{
	nghttp2_nv fields[3];
	size_t n = 0;

	(void)arg;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		raw.goaway = frame->goaway.error_code;
	if (!raw.server || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	fields[n++] = nv(":status", raw.answer_status);
	if (raw.answer_type)
		fields[n++] = nv("content-type", raw.answer_type);
	if (raw.answer_grpc)
		fields[n++] = nv("grpc-status", raw.answer_grpc);
	nghttp2_submit_response(session, frame->hd.stream_id, fields, n,
				raw.body ? &raw_body : NULL);
	return 0;
}

static void raw_init(bool server)
{
	nghttp2_session_callbacks *cb;

	raw = (struct raw){ .server = server };
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, raw_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, raw_frame);
	if (server)
		nghttp2_session_server_new(&raw.session, cb, NULL);
	else
		nghttp2_session_client_new(&raw.session, cb, NULL);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(raw.session, 0, NULL, 0);
}

static int setup(void **state)
{
	(void)state;
	pair_init(&pair, NULL, NULL);
	raw_init(false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nghttp2_session_del(raw.session);
	pair_fini(&pair);
	return 0;
}

/* Both ways until quiet. Returns the conn's last feed result. */
static int raw_run(struct grpc_conn *conn)
{
	static uint8_t buf[16384];
	const uint8_t *p;
	int rc = 0;

	for (;;) {
		ssize_t n = nghttp2_session_mem_send(raw.session, &p);
		size_t m;

		if (n > 0)
			rc = grpc_conn_feed(conn, p, (size_t)n);
		m = grpc_conn_output(conn, buf, sizeof(buf));
		if (m)
			nghttp2_session_mem_recv(raw.session, buf, m);
		if (n <= 0 && !m)
			return rc;
	}
}

static void request(const char *method, const char *type, const char *name,
		    const char *value)
{
	nghttp2_nv fields[6];
	size_t n = 0;

	fields[n++] = nv(":method", method);
	fields[n++] = nv(":scheme", "http");
	fields[n++] = nv(":path", "/a.B/C");
	fields[n++] = nv(":authority", "x");
	if (type)
		fields[n++] = nv("content-type", type);
	if (name)
		fields[n++] = nv(name, value);
	raw.stream_id =
		nghttp2_submit_request(raw.session, NULL, fields, n,
				       raw.body ? &raw_body : NULL, NULL);
}

#define GRPC_TYPE "application/grpc"

static void what_is_no_post_is_not_allowed(void **state)
{
	(void)state;
	request("GET", GRPC_TYPE, NULL, NULL);
	raw_run(pair.server);
	assert_string_equal(raw.status, "405");
	assert_int_equal(pair.accepted, 0);
	assert_true(grpc_conn_is_idle(pair.server));
}

static void other_content_types_are_unsupported(void **state)
{
	static const char *const types[] = { NULL, "application/json",
					     "application/grpc-web",
					     "application/grpc+json" };

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		raw.status[0] = '\0';
		request("POST", types[i], NULL, NULL);
		raw_run(pair.server);
		assert_string_equal(raw.status, "415");
	}
	assert_int_equal(pair.accepted, 0);
}

static void grpc_types_with_a_suffix_are_taken(void **state)
{
	(void)state;
	request("POST", "application/grpc+proto", NULL, NULL);
	request("POST", "application/grpc; x=y", NULL, NULL);
	raw_run(pair.server);
	assert_int_equal(pair.accepted, 2);
}

static void a_malformed_timeout_is_refused(void **state)
{
	static const char *const bad[] = { "1",	 "m",	"123456789m",
					   "1x", "-1S", "1 S" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		raw.grpc_status[0] = '\0';
		request("POST", GRPC_TYPE, "grpc-timeout", bad[i]);
		raw_run(pair.server);
		assert_string_equal(raw.grpc_status, "3");
	}
}

static void a_timeout_of_any_unit_is_kept(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} units[] = { { "2H", 7200000 }, { "3M", 180000 }, { "4S", 4000 },
		      { "5m", 5 },	 { "1500u", 2 },   { "1n", 1 } };

	(void)state;
	for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		raw.body = (const uint8_t *)"";
		raw.body_stays_open = true;
		request("POST", GRPC_TYPE, "grpc-timeout", units[i].text);
		raw_run(pair.server);
		assert_int_equal(
			grpc_call_time_left(pair_served(&pair, i)->call),
			units[i].ms);
	}
}

static void too_many_headers_are_refused(void **state)
{
	static char value[9000];

	(void)state;
	memset(value, 'a', sizeof(value) - 1);
	request("POST", GRPC_TYPE, "x-one", value);
	raw_run(pair.server);
	assert_int_equal(pair.accepted, 1);
	for (int i = 0; i < 2; i++) {
		nghttp2_nv fields[] = { nv(":method", "POST"),
					nv(":scheme", "http"),
					nv(":path", "/a.B/C"),
					nv(":authority", "x"),
					nv("content-type", GRPC_TYPE),
					nv("x-one", value),
					nv("x-two", value) };

		raw.grpc_status[0] = '\0';
		nghttp2_submit_request(raw.session, NULL, fields, 7, NULL,
				       NULL);
		raw_run(pair.server);
		assert_string_equal(raw.grpc_status, "8");
	}
	assert_int_equal(pair.accepted, 1);
}

static void send_body(const char *body, size_t len, bool stays_open)
{
	raw.body = (const uint8_t *)body;
	raw.body_len = len;
	raw.body_stays_open = stays_open;
	request("POST", GRPC_TYPE, NULL, NULL);
	raw_run(pair.server);
}

static void a_claimed_length_over_the_limit_is_refused_at_once(void **state)
{
	(void)state;
	send_body("\0\0\x40\0\x01", 5, true);
	assert_string_equal(raw.grpc_status, "8");
	assert_int_equal(pair_served(&pair, 0)->st.code,
			 GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(pair_served(&pair, 0)->dones, 1);
}

static void a_compressed_message_is_refused(void **state)
{
	(void)state;
	send_body("\1\0\0\0\1x", 6, true);
	assert_string_equal(raw.grpc_status, "12");
	assert_int_equal(pair_served(&pair, 0)->messages, 0);
}

static void a_message_cut_short_is_an_error(void **state)
{
	(void)state;
	send_body("\0\0\0\0\5abc", 8, false);
	assert_string_equal(raw.grpc_status, "13");
	assert_int_equal(pair_served(&pair, 0)->st.code, GRPC_INTERNAL);
	assert_false(pair_served(&pair, 0)->half_closed);
}

static void a_flood_of_resets_ends_the_connection(void **state)
{
	(void)state;
	raw_run(pair.server);
	raw.body = (const uint8_t *)"";
	raw.body_stays_open = true;
	for (int i = 0; i < 500 && !raw.goaway; i++) {
		request("POST", GRPC_TYPE, NULL, NULL);
		raw_run(pair.server);
		nghttp2_submit_rst_stream(raw.session, 0, raw.stream_id,
					  NGHTTP2_CANCEL);
		/* The pair has room for so many. */
		pair.accepted %= SIDES_MAX / 2;
		raw_run(pair.server);
		raw.body = (const uint8_t *)"";
	}
	assert_int_equal(raw.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
	assert_true(grpc_conn_is_over(pair.server));
	assert_non_null(strstr(pair.server_closing, "resets"));
}

static void resets_at_a_human_pace_are_fine(void **state)
{
	(void)state;
	raw_run(pair.server);
	raw.body_stays_open = true;
	for (int i = 0; i < 1000; i++) {
		raw.body = (const uint8_t *)"";
		request("POST", GRPC_TYPE, NULL, NULL);
		raw_run(pair.server);
		nghttp2_submit_rst_stream(raw.session, 0, raw.stream_id,
					  NGHTTP2_CANCEL);
		pair.accepted %= SIDES_MAX / 2;
		raw_run(pair.server);
		pair.now += 10;
		grpc_conn_tick(pair.server, pair.now);
	}
	assert_int_equal(raw.goaway, 0);
}

static void a_peer_that_sends_and_never_reads_is_cut_off(void **state)
{
	static const uint8_t hello[] =
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	static const uint8_t ping[17] = { 0, 0, 8, 6, 0, 0, 0, 0, 0 };
	int rc = grpc_conn_feed(pair.server, hello, sizeof(hello) - 1);

	(void)state;
	for (int i = 0; i < 100000 && rc == 0; i++)
		rc = grpc_conn_feed(pair.server, ping, sizeof(ping));
	assert_int_equal(rc, -EPROTO);
}

static void answers_that_are_not_read_are_bounded(void **state)
{
	struct grpc_settings set = { .streams_max = 100000 };
	const uint8_t *p;
	ssize_t n;
	int rc = 0;

	(void)state;
	pair_fini(&pair);
	pair_init(&pair, NULL, &set);
	raw_run(pair.server);
	for (int i = 0; i < 10000 && rc == 0; i++) {
		request("GET", GRPC_TYPE, NULL, NULL);
		n = nghttp2_session_mem_send(raw.session, &p);
		if (n > 0)
			rc = grpc_conn_feed(pair.server, p, (size_t)n);
	}
	assert_int_equal(rc, -EPROTO);
	raw_run(pair.server);
	assert_int_equal(raw.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void what_all_calls_hold_is_bounded(void **state)
{
	static uint8_t part[GRPC_MESSAGE_MAX];
	unsigned int refused = 0;

	(void)state;
	/* Claims all and sends all but a few bytes. */
	part[2] = 0x40;
	for (unsigned int i = 0; i < 30; i++) {
		raw.grpc_status[0] = '\0';
		send_body((const char *)part, sizeof(part), true);
		refused += !strcmp(raw.grpc_status, "8");
	}
	assert_int_equal(refused, 30 - GRPC_HELD_MAX / GRPC_MESSAGE_MAX);
	/* The connection goes on, and a call that ends makes room. */
	grpc_call_cancel(pair_served(&pair, 0)->call);
	raw_run(pair.server);
	part[2] = 0;
	send_body((const char *)part, 5, false);
	assert_int_equal(pair_served(&pair, 30)->messages, 1);
}

static void garbage_ends_the_connection_and_its_calls(void **state)
{
	uint8_t garbage[1000];

	(void)state;
	memset(garbage, 0x5a, sizeof(garbage));
	request("POST", GRPC_TYPE, NULL, NULL);
	raw.body = (const uint8_t *)"";
	raw_run(pair.server);
	grpc_conn_feed(pair.server, garbage, sizeof(garbage));
	raw_run(pair.server);
	assert_true(grpc_conn_is_over(pair.server));
	assert_true(grpc_conn_is_idle(pair.server));
	assert_int_equal(grpc_conn_feed(pair.server, garbage, 1), -EPROTO);
	assert_true(pair.server_closing[0]);
}

static void what_does_not_begin_as_http2_is_refused(void **state)
{
	static const char http1[] = "GET / HTTP/1.1\r\n\r\n                  ";

	(void)state;
	assert_int_equal(grpc_conn_feed(pair.server, (const uint8_t *)http1,
					sizeof(http1)),
			 -EPROTO);
}

static void answers_that_are_not_grpc_become_statuses(void **state)
{
	static const struct {
		const char *status, *type, *grpc;
		enum grpc_code code;
	} cases[] = {
		{ "503", NULL, NULL, GRPC_UNAVAILABLE },
		{ "404", "text/html", NULL, GRPC_UNIMPLEMENTED },
		{ "401", NULL, NULL, GRPC_UNAUTHENTICATED },
		{ "418", NULL, NULL, GRPC_UNKNOWN },
		{ "200", "text/html", "0", GRPC_UNKNOWN },
		{ "200", GRPC_TYPE, NULL, GRPC_UNKNOWN },
		{ "200", GRPC_TYPE, "5", GRPC_NOT_FOUND },
		{ "200", GRPC_TYPE, "99", GRPC_UNKNOWN },
		{ "200", GRPC_TYPE, "-1", GRPC_UNKNOWN },
		{ "200", GRPC_TYPE, "", GRPC_UNKNOWN },
	};

	(void)state;
	nghttp2_session_del(raw.session);
	raw_init(true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct side *c = pair_start(&pair, "/a.B/C", 0);

		raw.answer_status = cases[i].status;
		raw.answer_type = cases[i].type;
		raw.answer_grpc = cases[i].grpc;
		grpc_call_half_close(c->call);
		raw_run(pair.client);
		assert_int_equal(c->dones, 1);
		assert_int_equal(c->st.code, cases[i].code);
	}
}

static void an_answer_without_trailers_is_no_success(void **state)
{
	struct side *c;

	(void)state;
	nghttp2_session_del(raw.session);
	raw_init(true);
	raw.answer_status = "200";
	raw.answer_type = GRPC_TYPE;
	raw.body = (const uint8_t *)"\0\0\0\0\1x";
	raw.body_len = 6;
	c = pair_start(&pair, "/a.B/C", 0);
	grpc_call_half_close(c->call);
	raw_run(pair.client);
	assert_int_equal(c->messages, 1);
	assert_int_equal(c->st.code, GRPC_UNKNOWN);
}

/* ---- time ---- */

static void a_silent_peer_is_found_out_by_pings(void **state)
{
	struct grpc_settings set = { .keepalive_ms = 1000,
				     .keepalive_timeout_ms = 500 };
	struct side *c;

	(void)state;
	pair_fini(&pair);
	pair_init(&pair, &set, NULL);
	c = pair_start(&pair, "/a.B/C", 0);
	pair_run(&pair);
	for (int i = 0; i < 10; i++)
		pair_pass(&pair, 1000); /* answered every time */
	assert_int_equal(c->dones, 0);
	pair.deaf = true;
	pair_pass(&pair, 1000); /* what came before counts from here */
	pair_pass(&pair, 1000); /* the ping that gets no answer */
	pair_pass(&pair, 499);
	assert_int_equal(c->dones, 0);
	pair_pass(&pair, 1);
	assert_int_equal(c->dones, 1);
	assert_int_equal(c->st.code, GRPC_UNAVAILABLE);
	assert_true(grpc_conn_is_over(pair.client));
}

/* The first ping after 1,000 ms without a word, two more 100 ms apart. */
static const struct grpc_settings asking = { .keepalive_ms = 1000,
					     .keepalive_timeout_ms = 5000,
					     .ask_ms = 100,
					     .asks = 3 };

static void begin_asking(void)
{
	pair_fini(&pair);
	pair_init(&pair, &asking, NULL);
	pair_run(&pair);
}

static void a_peer_that_answers_no_ping_is_told_and_told_to_be_back(void **state)
{
	(void)state;
	begin_asking();
	pair_pass(&pair, 1000);
	pair.held = true;
	pair_pass(&pair, 1000);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(grpc_conn_next_ms(pair.client),
				 pair.now + 100);
		pair_pass(&pair, 100);
	}
	assert_int_equal(pair.silences, 0);
	pair_pass(&pair, 100);
	assert_int_equal(pair.silences, 1);
	assert_false(grpc_conn_is_over(pair.client));
	/* No more pings: there may be nobody who ever reads them. */
	assert_int_equal(grpc_conn_next_ms(pair.client), pair.now + 4700);
	pair_pass(&pair, 1000);
	assert_int_equal(pair.silences, 1);
	pair.held = false;
	pair_run(&pair);
	assert_int_equal(pair.heard_again, 1);
	pair_pass(&pair, 1000);
	pair_pass(&pair, 10000);
	assert_int_equal(pair.silences, 1);
	assert_false(grpc_conn_is_over(pair.client));
}

static void a_slow_peer_is_not_told_to_be_silent(void **state)
{
	(void)state;
	begin_asking();
	for (int i = 0; i < 5; i++) {
		pair_pass(&pair, 1000); /* heard until here */
		pair.held = true;
		pair_pass(&pair, 1000);
		pair_pass(&pair, 100);
		pair_pass(&pair, 100);
		pair_pass(&pair, 99);
		pair.held = false;
		pair_run(&pair);
		pair_pass(&pair, 1);
	}
	assert_int_equal(pair.silences, 0);
}

/* The answers may wait to be read when we come to run at last. */
static void who_is_late_to_look_does_not_call_the_peer_silent(void **state)
{
	(void)state;
	begin_asking();
	pair_pass(&pair, 1000);
	pair.held = true;
	for (int i = 0; i < 4; i++) /* three pings, and a look that is late */
		pair_pass(&pair, 1000);
	assert_int_equal(pair.silences, 0);
	pair.held = false;
	pair_run(&pair);
	pair_pass(&pair, 100);
	assert_int_equal(pair.silences + pair.heard_again, 0);
}

static void what_the_peer_did_is_told_from_what_happened(void **state)
{
	(void)state;
	assert_false(grpc_conn_is_broken(pair.client));
	grpc_conn_abort(pair.client, "the transport is gone");
	assert_false(grpc_conn_is_broken(pair.client));
	pair_fini(&pair);
	pair_init(&pair, NULL, NULL);
	grpc_conn_feed(pair.client, (const uint8_t *)"SSH-2.0-OpenSSH_9.2", 19);
	pair_run(&pair);
	assert_true(grpc_conn_is_broken(pair.client));
}

static void no_more_streams_than_allowed_are_open(void **state)
{
	struct grpc_settings set = { .streams_max = 2 };
	struct side *c[3];

	(void)state;
	pair_fini(&pair);
	pair_init(&pair, NULL, &set);
	pair_run(&pair);
	for (int i = 0; i < 3; i++)
		c[i] = pair_start(&pair, "/a.B/C", 0);
	pair_run(&pair);
	assert_int_equal(pair.accepted, 2);
	/* The third waits its turn on the client's side. */
	side_finish(pair_served(&pair, 0), GRPC_OK, "");
	pair_run(&pair);
	assert_int_equal(c[0]->dones, 1);
	assert_int_equal(c[2]->dones, 0);
	assert_int_equal(pair.accepted, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(what_is_no_post_is_not_allowed),
		T(other_content_types_are_unsupported),
		T(grpc_types_with_a_suffix_are_taken),
		T(a_malformed_timeout_is_refused),
		T(a_timeout_of_any_unit_is_kept),
		T(too_many_headers_are_refused),
		T(a_claimed_length_over_the_limit_is_refused_at_once),
		T(a_compressed_message_is_refused),
		T(a_message_cut_short_is_an_error),
		T(a_flood_of_resets_ends_the_connection),
		T(resets_at_a_human_pace_are_fine),
		T(a_peer_that_sends_and_never_reads_is_cut_off),
		T(answers_that_are_not_read_are_bounded),
		T(what_all_calls_hold_is_bounded),
		T(garbage_ends_the_connection_and_its_calls),
		T(what_does_not_begin_as_http2_is_refused),
		T(answers_that_are_not_grpc_become_statuses),
		T(an_answer_without_trailers_is_no_success),
		T(a_silent_peer_is_found_out_by_pings),
		T(a_peer_that_answers_no_ping_is_told_and_told_to_be_back),
		T(a_slow_peer_is_not_told_to_be_silent),
		T(who_is_late_to_look_does_not_call_the_peer_silent),
		T(what_the_peer_did_is_told_from_what_happened),
		T(no_more_streams_than_allowed_are_open),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
