/* SPDX-License-Identifier: Apache-2.0 */
/* test_resolver.c - the whole resolver, between an engine, a guest and a server
 *
 * All three are played here, over real sockets on the loopback interface.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "resolver/dns_wire.h"
#include "resolver/engine_link.h"
#include "sandbox/ipc/v1/resolver.pb-c.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

struct rig {
	struct loop *loop;
	struct engine_link *link;
	struct ipc *engine;
	int guest_fd;  /* UDP, connected to the resolver */
	int server_fd; /* the upstream */
	struct sockaddr_in resolver;
	sd_event_source *guest_io, *server_io;
	/* How the engine and the server behave. */
	bool commit;
	uint32_t server_says;
	bool server_truncates;
	/* What was seen. */
	unsigned int learned, denied, asked;
	uint32_t learned_address;
	char denied_target[256];
	uint8_t reply[2048];
	ssize_t reply_len;
};

static void tell(struct rig *rig, Sandbox__Ipc__V1__ResolverCommand *cmd,
		 const int *fds, size_t n_fds)
{
	size_t len = sandbox__ipc__v1__resolver_command__get_packed_size(cmd);
	_cleanup_free_ uint8_t *buf = xcalloc(1, len);

	sandbox__ipc__v1__resolver_command__pack(cmd, buf);
	assert_int_equal(ipc_send(rig->engine, buf, len, fds, n_fds, NULL), 0);
}

static void on_report(struct ipc *ipc, const uint8_t *data, size_t len,
		      int *fds, size_t n_fds, void *arg)
{
	struct rig *rig = arg;
	Sandbox__Ipc__V1__ResolverReport *msg =
		sandbox__ipc__v1__resolver_report__unpack(NULL, len, data);

	(void)ipc;
	(void)fds;
	(void)n_fds;
	assert_non_null(msg);
	if (msg->body_case == SANDBOX__IPC__V1__RESOLVER_REPORT__BODY_LEARN) {
		Sandbox__Ipc__V1__Learned learned =
			SANDBOX__IPC__V1__LEARNED__INIT;
		Sandbox__Ipc__V1__ResolverCommand cmd =
			SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;

		/* Not a byte may have left before this. */
		assert_int_equal(rig->reply_len, 0);
		rig->learned++;
		rig->learned_address = msg->learn->addresses[0]->address;
		learned.id = msg->learn->id;
		learned.committed = rig->commit;
		cmd.body_case =
			SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_LEARNED;
		cmd.learned = &learned;
		tell(rig, &cmd, NULL, 0);
	} else {
		rig->denied++;
		snprintf(rig->denied_target, sizeof(rig->denied_target), "%s",
			 msg->denied->target);
	}
	sandbox__ipc__v1__resolver_report__free_unpacked(msg, NULL);
}

static void on_gone(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	(void)why;
	(void)arg;
}

static const struct ipc_ops engine_ops = { .message = on_report,
					   .closed = on_gone };

/* The upstream: says one address, whatever is asked. */
static int on_server(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct rig *rig = arg;
	uint8_t msg[1024];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(fd, msg, sizeof(msg), 0, (struct sockaddr *)&from,
			     &from_len);
	struct dns_query q;
	struct dns_address a = { rig->server_says, 0 };
	uint8_t out[1024];
	int len;

	(void)s;
	(void)revents;
	assert_int_equal(dns_query_parse(msg, (size_t)n, &q), 0);
	rig->asked++;
	len = dns_build_reply(out, sizeof(out), &q, DNS_NOERROR, DNS_EDE_NONE,
			      &a, 1, 30, false);
	assert_int_equal(sendto(fd, out, (size_t)len, 0,
				(struct sockaddr *)&from, from_len),
			 len);
	return 0;
}

static int on_guest(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct rig *rig = arg;

	(void)s;
	(void)revents;
	rig->reply_len = recv(fd, rig->reply, sizeof(rig->reply), 0);
	loop_stop(rig->loop, 0);
	return 0;
}

/* -1: somebody else has the port that @ret says (0: any). */
static int bound(int type, struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = ret->sin_port,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(*ret);

	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &(int){ 1 },
				    sizeof(int)),
			 0);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		assert_int_equal(errno, EADDRINUSE);
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static void set_up_resolver(struct rig *rig, const struct sockaddr_in *server)
{
	Sandbox__Ipc__V1__Upstream up = SANDBOX__IPC__V1__UPSTREAM__INIT;
	Sandbox__Ipc__V1__Upstream *ups[] = { &up };
	Sandbox__Ipc__V1__StaticHost host = SANDBOX__IPC__V1__STATIC_HOST__INIT;
	Sandbox__Ipc__V1__StaticHost *hosts[] = { &host };
	Sandbox__Ipc__V1__ResolverSetup setup =
		SANDBOX__IPC__V1__RESOLVER_SETUP__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;
	int fds[2];

	/* One port for both: a free one of UDP may be taken of TCP. */
	for (;;) {
		rig->resolver.sin_port = 0;
		fds[0] = bound(SOCK_DGRAM, &rig->resolver);
		fds[1] = bound(SOCK_STREAM, &rig->resolver);
		if (fds[1] >= 0)
			break;
		close(fds[0]);
	}
	assert_int_equal(listen(fds[1], 16), 0);
	up.address = INADDR_LOOPBACK;
	up.port = ntohs(server->sin_port);
	setup.upstreams = ups;
	setup.n_upstreams = 1;
	host.name = (char *)"static.example";
	host.address = 0x05060708;
	setup.hosts = hosts;
	setup.n_hosts = 1;
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SETUP;
	cmd.setup = &setup;
	tell(rig, &cmd, fds, 2);
	close(fds[0]);
	close(fds[1]);
}

static void set_guest(struct rig *rig, bool default_allow)
{
	Sandbox__Ipc__V1__NameRule rule = SANDBOX__IPC__V1__NAME_RULE__INIT;
	Sandbox__Ipc__V1__NameRule *rules[] = { &rule };
	Sandbox__Ipc__V1__SetGuest set = SANDBOX__IPC__V1__SET_GUEST__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;

	rule.name = (char *)"example";
	rule.wildcard = true;
	set.slot = 3;
	set.generation = 1;
	set.ifindex = if_nametoindex("lo");
	set.address = INADDR_LOOPBACK;
	set.default_allow = default_allow;
	set.rules = rules;
	set.n_rules = default_allow ? 0 : 1;
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SET_GUEST;
	cmd.set_guest = &set;
	tell(rig, &cmd, NULL, 0);
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	struct sockaddr_in server = { 0 };
	int fds[2];

	rig->commit = true;
	rig->server_says = 0x01020304;
	assert_int_equal(loop_new(&rig->loop, NULL), 0);
	assert_int_equal(ipc_pair(fds, NULL), 0);
	assert_int_equal(engine_link_new(rig->loop, fds[1], &rig->link, NULL),
			 0);
	assert_int_equal(ipc_new(rig->loop, fds[0], &engine_ops, rig,
				 &rig->engine, NULL),
			 0);
	rig->server_fd = bound(SOCK_DGRAM, &server);
	set_up_resolver(rig, &server);
	set_guest(rig, false);
	rig->guest_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(rig->guest_fd,
				 (struct sockaddr *)&rig->resolver,
				 sizeof(rig->resolver)),
			 0);
	sd_event_add_io(loop_event(rig->loop), &rig->server_io, rig->server_fd,
			EPOLLIN, on_server, rig);
	sd_event_add_io(loop_event(rig->loop), &rig->guest_io, rig->guest_fd,
			EPOLLIN, on_guest, rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	engine_link_free(rig->link);
	ipc_free(rig->engine);
	sd_event_source_disable_unref(rig->server_io);
	sd_event_source_disable_unref(rig->guest_io);
	close(rig->server_fd);
	close(rig->guest_fd);
	loop_free(rig->loop);
	free(rig);
	return 0;
}

/* A query for "<label>.example", or "<label>.org". */
static size_t make_query(uint8_t *msg, const char *label, const char *zone,
			 uint16_t type)
{
	size_t n = strlen(label), z = strlen(zone), at = 12;

	memcpy(msg, "\x00\x2a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
	msg[at++] = (uint8_t)n;
	memcpy(msg + at, label, n);
	at += n;
	msg[at++] = (uint8_t)z;
	memcpy(msg + at, zone, z);
	at += z;
	msg[at++] = 0;
	msg[at++] = (uint8_t)(type >> 8);
	msg[at++] = (uint8_t)type;
	msg[at++] = 0;
	msg[at++] = 1;
	return at;
}

/* Asks by UDP and waits for the reply; its rcode. */
static int ask(struct rig *rig, const char *label, const char *zone,
	       uint16_t type)
{
	uint8_t msg[512];
	size_t len = make_query(msg, label, zone, type);

	assert_int_equal(send(rig->guest_fd, msg, len, 0), len);
	loop_run(rig->loop);
	assert_true(rig->reply_len >= 12);
	return rig->reply[3] & 15;
}

static unsigned int answers(const struct rig *rig)
{
	return rig->reply[7];
}

static void an_allowed_name_is_answered_once_the_engine_committed(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(ask(rig, "www", "example", DNS_TYPE_A), DNS_NOERROR);
	assert_int_equal(answers(rig), 1);
	assert_int_equal(rig->learned, 1);
	assert_int_equal(rig->learned_address, 0x01020304);
	assert_memory_equal(rig->reply + rig->reply_len - 4, "\1\2\3\4", 4);
}

static void without_the_commit_the_guest_learns_nothing(void **state)
{
	struct rig *rig = *state;

	rig->commit = false;
	assert_int_equal(ask(rig, "www", "example", DNS_TYPE_A), DNS_SERVFAIL);
	assert_int_equal(answers(rig), 0);
}

static void a_name_that_is_not_allowed_never_leaves(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(ask(rig, "secret", "org", DNS_TYPE_A), DNS_REFUSED);
	assert_int_equal(rig->asked, 0);
	while (!rig->denied)
		sd_event_run(loop_event(rig->loop), UINT64_MAX);
	assert_string_equal(rig->denied_target, "secret.org");
}

static void a_private_answer_is_taken_out(void **state)
{
	struct rig *rig = *state;

	rig->server_says = 0xa9fea9fe;
	assert_int_equal(ask(rig, "rebind", "example", DNS_TYPE_A),
			 DNS_NOERROR);
	assert_int_equal(answers(rig), 0);
	assert_int_equal(rig->learned, 0);
}

static void aaaa_and_https_have_no_data_at_once(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(ask(rig, "www", "example", DNS_TYPE_AAAA),
			 DNS_NOERROR);
	assert_int_equal(answers(rig), 0);
	assert_int_equal(ask(rig, "www", "example", DNS_TYPE_HTTPS),
			 DNS_NOERROR);
	assert_int_equal(rig->asked, 0);
}

static void other_types_are_refused_even_for_allowed_names(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(ask(rig, "tunnel", "example", 16), DNS_REFUSED);
	assert_int_equal(ask(rig, "tunnel", "example", 255), DNS_REFUSED);
	assert_int_equal(rig->asked, 0);
}

static void a_static_host_needs_no_server(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(ask(rig, "static", "example", DNS_TYPE_A),
			 DNS_NOERROR);
	assert_int_equal(rig->learned_address, 0x05060708);
	assert_int_equal(rig->asked, 0);
}

static void what_the_default_allows_needs_no_learning(void **state)
{
	struct rig *rig = *state;

	set_guest(rig, true);
	assert_int_equal(ask(rig, "www", "org", DNS_TYPE_A), DNS_NOERROR);
	assert_int_equal(answers(rig), 1);
	assert_int_equal(rig->learned, 0);
}

static void a_flood_is_cut_to_the_burst(void **state)
{
	struct rig *rig = *state;
	uint8_t msg[512];
	size_t len = make_query(msg, "no", "org", DNS_TYPE_A);
	unsigned int replies = 0;

	/* Replies fit the socket's buffer; nobody reads them meanwhile. */
	sd_event_source_set_enabled(rig->guest_io, SD_EVENT_OFF);
	for (int i = 0; i < 300; i++)
		assert_int_equal(send(rig->guest_fd, msg, len, 0), len);
	while (sd_event_run(loop_event(rig->loop), 0) > 0)
		;
	while (recv(rig->guest_fd, msg, sizeof(msg), MSG_DONTWAIT) > 0)
		replies++;
	/* A burst of 100, and what a slow machine's time gave on top. */
	assert_in_range(replies, 100, 200);
}

static void tcp_answers_too(void **state)
{
	struct rig *rig = *state;
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t msg[512], len_bytes[2];
	size_t len = make_query(msg + 2, "www", "example", DNS_TYPE_A);

	msg[0] = 0;
	msg[1] = (uint8_t)len;
	assert_int_equal(connect(fd, (struct sockaddr *)&rig->resolver,
				 sizeof(rig->resolver)),
			 0);
	/* In two pieces: a length alone is not yet a question. */
	assert_int_equal(send(fd, msg, 1, 0), 1);
	assert_int_equal(send(fd, msg + 1, len + 1, 0), len + 1);
	while (recv(fd, len_bytes, 2, MSG_DONTWAIT | MSG_PEEK) != 2)
		sd_event_run(loop_event(rig->loop), 100000);
	assert_int_equal(recv(fd, len_bytes, 2, 0), 2);
	assert_int_equal(recv(fd, msg, len_bytes[1], 0), len_bytes[1]);
	assert_int_equal(msg[7], 1);
	assert_int_equal(rig->learned, 1);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_allowed_name_is_answered_once_the_engine_committed),
		T(without_the_commit_the_guest_learns_nothing),
		T(a_name_that_is_not_allowed_never_leaves),
		T(a_private_answer_is_taken_out),
		T(aaaa_and_https_have_no_data_at_once),
		T(other_types_are_refused_even_for_allowed_names),
		T(a_static_host_needs_no_server),
		T(what_the_default_allows_needs_no_learning),
		T(a_flood_is_cut_to_the_burst),
		T(tcp_answers_too),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
