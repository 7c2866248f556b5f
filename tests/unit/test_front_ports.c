/* SPDX-License-Identifier: Apache-2.0 */
/* test_front_ports.c - connections to exposed ports reach the guest */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front_rig.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"
#include "front/front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct port_rig {
	struct rig *rig;
	struct sockaddr_in sa;
};

static int setup(void **state)
{
	struct port_rig *pr = xcalloc(1, sizeof(*pr));

	pr->rig = rig_new();
	rig_attach(pr->rig, "sb_1");
	*state = pr;
	return 0;
}

static int teardown(void **state)
{
	struct port_rig *pr = *state;

	rig_free(pr->rig);
	free(pr);
	return 0;
}

static void expose(struct port_rig *pr, uint16_t port, uint32_t wait_ms)
{
	socklen_t len = sizeof(pr->sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	pr->sa = (struct sockaddr_in){ .sin_family = AF_INET };
	pr->sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&pr->sa, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&pr->sa, &len);
	pr->rig->answered = false;
	front_link_listen_port(pr->rig->engine, "sb_1", port, wait_ms, fd,
			       rig_answer, pr->rig);
	close(fd);
	rig_until(pr->rig, pr->rig->answered);
}

static int join(struct port_rig *pr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&pr->sa, sizeof(pr->sa)), 0);
	return fd;
}

/* Bytes, 0 at the end, -1 when reset. */
static ssize_t get(struct port_rig *pr, int fd, void *buf, size_t len)
{
	uint64_t end = loop_now_ms() + 10000;
	ssize_t n;

	while ((n = recv(fd, buf, len, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		assert_true(loop_now_ms() < end);
		rig_step(pr->rig);
	}
	return n;
}

static void bytes_go_both_ways_and_each_side_ends_alone(void **state)
{
	struct port_rig *pr = *state;
	char buf[16];
	int fd;

	expose(pr, 80, 0);
	fd = join(pr);
	assert_int_equal(send(fd, "hello", 5, 0), 5);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	/* Our end is over; the guest still has something to say. */
	shutdown(fd, SHUT_WR);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "bye", 3);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 0);
	assert_true(pr->rig->activities >= 1);
	/* The lease was for the connect only. */
	assert_int_equal(pr->rig->released, pr->rig->acquired);
	close(fd);
}

static void a_guest_that_has_said_all_can_still_listen(void **state)
{
	struct port_rig *pr = *state;
	char buf[16];
	int fd;

	expose(pr, 82, 0);
	fd = join(pr);
	assert_int_equal(send(fd, "once", 4, 0), 4);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 4);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 0);
	assert_int_equal(send(fd, "more", 4, MSG_NOSIGNAL), 4);
	rig_until(pr->rig, pr->rig->tunnelled == 8);
	shutdown(fd, SHUT_WR);
	rig_until(pr->rig, list_empty(&pr->rig->agent_calls));
	assert_int_equal(pr->rig->agent_cancels, 0);
	close(fd);
}

static void a_guest_that_does_not_take_stops_the_sender(void **state)
{
	enum { LEN = 256 << 10, TOO_MUCH = 48 << 20 };
	struct port_rig *pr = *state;
	_cleanup_free_ uint8_t *out = xcalloc(1, LEN);
	size_t sent = 0;
	int fd, full = 0;

	expose(pr, 83, 0);
	fd = join(pr);
	while (full < 20 && sent < TOO_MUCH) {
		ssize_t n = send(fd, out, LEN, MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			full = 0;
		} else {
			full++;
		}
		sd_event_run(loop_event(pr->rig->loop), 5000);
	}
	/* The kernel's buffers take some, front two windows or so. */
	assert_true(sent < TOO_MUCH);
	close(fd);
}

static void megabytes_pass_unchanged(void **state)
{
	enum { LEN = 8 << 20 };
	struct port_rig *pr = *state;
	_cleanup_free_ uint8_t *out = xcalloc(1, LEN), *in = xcalloc(1, LEN);
	size_t sent = 0, got = 0;
	int fd;

	for (size_t i = 0; i < LEN; i++)
		out[i] = (uint8_t)(i * 2654435761u >> 13);
	expose(pr, 80, 0);
	fd = join(pr);
	while (got < LEN) {
		ssize_t n = send(fd, out + sent, LEN - sent, MSG_DONTWAIT);

		if (sent < LEN && n > 0)
			sent += (size_t)n;
		n = recv(fd, in + got, LEN - got, MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		sd_event_run(loop_event(pr->rig->loop), 1000);
	}
	assert_memory_equal(in, out, LEN);
	close(fd);
}

static void a_refused_port_resets_the_connection(void **state)
{
	struct port_rig *pr = *state;
	char buf[16];
	int fd;

	expose(pr, 81, 0);
	fd = join(pr);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
}

static void waiting_for_a_server_ends_when_it_listens(void **state)
{
	struct port_rig *pr = *state;

	expose(pr, 80, 5000);
	assert_int_equal(pr->rig->answer_err.code, ERR_NONE);
}

static void waiting_for_a_server_that_never_comes_times_out(void **state)
{
	struct port_rig *pr = *state;
	uint64_t begin = loop_now_ms();

	expose(pr, 81, 300);
	assert_int_equal(pr->rig->answer_err.code, ERR_TIMEOUT);
	assert_true(loop_now_ms() - begin >= 290);
	assert_true(pr->rig->acquired >= 3);
	rig_until(pr->rig, pr->rig->released == pr->rig->acquired);
}

static void closing_a_port_cuts_its_connections(void **state)
{
	struct port_rig *pr = *state;
	char buf[16];
	int fd;

	expose(pr, 80, 0);
	fd = join(pr);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 1);
	pr->rig->answered = false;
	front_link_unlisten_port(pr->rig->engine, "sb_1", 80, rig_answer,
				 pr->rig);
	rig_until(pr->rig, pr->rig->answered);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), -1);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&pr->sa, sizeof(pr->sa)), -1);
	close(fd);
	rig_until(pr->rig, pr->rig->agent_cancels == 1);
}

static void a_port_of_a_detached_guest_resets(void **state)
{
	struct port_rig *pr = *state;
	char buf[16];
	int fd;

	expose(pr, 80, 0);
	fd = join(pr);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), 1);
	front_link_detach(pr->rig->engine, "sb_1", "SANDBOX_PAUSED", "sleeps",
			  rig_answer, pr->rig);
	assert_int_equal(get(pr, fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void a_tunnel_to_a_port_that_is_not_allowed_is_refused(void **state)
{
	Sandbox__Node__V1__TunnelRequest m =
		SANDBOX__NODE__V1__TUNNEL_REQUEST__INIT;
	Sandbox__Node__V1__TunnelStart s =
		SANDBOX__NODE__V1__TUNNEL_START__INIT;
	struct port_rig *pr = *state;
	struct client_conn cc;
	struct client_call c;

	pr->rig->allow_port = 3000;
	s.sandbox_id = (char *)"sb_1";
	s.port = 80;
	m.input_case = SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START;
	m.start = &s;
	client_connect(pr->rig, &cc);
	client_start(&cc, &c, "Tunnel");
	client_send(&c, &m.base);
	rig_until(pr->rig, c.done);
	assert_int_equal(c.st.code, GRPC_PERMISSION_DENIED);
	s.port = 3000;
	client_start(&cc, &c, "Tunnel");
	client_send(&c, &m.base);
	rig_until(pr->rig, c.messages == 1);
	rig_until(pr->rig, pr->rig->released == 2);
	client_close(&cc);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways_and_each_side_ends_alone),
		T(a_guest_that_has_said_all_can_still_listen),
		T(a_guest_that_does_not_take_stops_the_sender),
		T(megabytes_pass_unchanged),
		T(a_refused_port_resets_the_connection),
		T(waiting_for_a_server_ends_when_it_listens),
		T(waiting_for_a_server_that_never_comes_times_out),
		T(closing_a_port_cuts_its_connections),
		T(a_port_of_a_detached_guest_resets),
		T(a_tunnel_to_a_port_that_is_not_allowed_is_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
