/* SPDX-License-Identifier: Apache-2.0 */
/* test_metrics_http.c - sandboxd-metrics, between an engine and scrapers
 *
 * Both are played here; the process itself runs, jailed as in earnest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "sandbox/ipc/v1/metrics.pb-c.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT "# HELP x An x.\n# TYPE x gauge\nx 1\n"
#define MANY 16

static struct {
	struct loop *loop;
	struct ipc *ipc;
	struct sockaddr_in at;
	pid_t pid;
	unsigned int asked[3]; /* by kind */
	uint64_t id;
	bool hold, refuse, closed;
} rig;

static void tell(Sandbox__Ipc__V1__MetricsCommand *m, int fd)
{
	size_t len = sandbox__ipc__v1__metrics_command__get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xcalloc(1, len);

	sandbox__ipc__v1__metrics_command__pack(m, buf);
	assert_int_equal(ipc_send(rig.ipc, buf, len, &fd, fd >= 0, NULL), 0);
}

static void answer(uint64_t id, const char *text, bool more)
{
	Sandbox__Ipc__V1__MetricsCommand m =
		SANDBOX__IPC__V1__METRICS_COMMAND__INIT;
	Sandbox__Ipc__V1__ScrapeAnswer a =
		SANDBOX__IPC__V1__SCRAPE_ANSWER__INIT;

	a.id = id;
	a.refused = rig.refuse;
	a.more = more;
	a.text = (ProtobufCBinaryData){ strlen(text),
					(uint8_t *)(uintptr_t)text };
	m.body_case = SANDBOX__IPC__V1__METRICS_COMMAND__BODY_ANSWER;
	m.answer = &a;
	tell(&m, -1);
}

static void on_scrape(struct ipc *ipc, const uint8_t *data, size_t len,
		      int *fds, size_t n_fds, void *arg)
{
	Sandbox__Ipc__V1__Scrape *m =
		sandbox__ipc__v1__scrape__unpack(NULL, len, data);

	(void)ipc;
	(void)fds;
	(void)n_fds;
	(void)arg;
	rig.asked[m->kind]++;
	rig.id = m->id;
	if (!rig.hold) {
		answer(m->id, "# HELP x An x.\n", true);
		answer(m->id + 100, "not for this question", false);
		answer(m->id, "# TYPE x gauge\nx 1\n", false);
	}
	sandbox__ipc__v1__scrape__free_unpacked(m, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	(void)why;
	(void)arg;
	rig.closed = true;
}

static const struct ipc_ops ops = { .message = on_scrape, .closed = on_closed };

static void start_process(int fd)
{
	rig.pid = fork();
	if (rig.pid == 0) {
		char id[16];

		snprintf(id, sizeof(id), "%u", geteuid() == 0 ? 65534u : 0u);
		dup2(fd, 3);
		fcntl(3, F_SETFD, 0);
		execl("./sandboxd-metrics", "sandboxd-metrics", id, id, NULL);
		_exit(127);
	}
}

static int setup(void **state)
{
	Sandbox__Ipc__V1__MetricsCommand m =
		SANDBOX__IPC__V1__METRICS_COMMAND__INIT;
	Sandbox__Ipc__V1__MetricsListen listening =
		SANDBOX__IPC__V1__METRICS_LISTEN__INIT;
	socklen_t len = sizeof(rig.at);
	struct error err;
	int fds[2], fd;

	(void)state;
	memset(&rig, 0, sizeof(rig));
	if (loop_new(&rig.loop, &err) < 0 || ipc_pair(fds, &err) < 0)
		return -1;
	start_process(fds[1]);
	close(fds[1]);
	if (ipc_new(rig.loop, fds[0], &ops, NULL, &rig.ipc, &err) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rig.at.sin_family = AF_INET;
	rig.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&rig.at, sizeof(rig.at)) < 0 ||
	    listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&rig.at, &len) < 0)
		return -1;
	m.body_case = SANDBOX__IPC__V1__METRICS_COMMAND__BODY_LISTEN;
	m.listen = &listening;
	tell(&m, fd);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	int status;

	(void)state;
	/* The engine's end: the process goes by itself, and well. */
	ipc_free(rig.ipc);
	assert_int_equal(waitpid(rig.pid, &status, 0), rig.pid);
	assert_int_equal(status, 0);
	loop_free(rig.loop);
	return 0;
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
	return fd;
}

static void ask(int fd, const char *head)
{
	char text[256];
	int n = snprintf(text, sizeof(text),
			 "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			 head);

	assert_int_equal(write(fd, text, (size_t)n), n);
}

/* All that comes until the connection's end, while the engine is played. */
static const char *hear(int fd)
{
	static char text[65536];
	uint64_t end = loop_now_ms() + 20000;
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_true(loop_now_ms() < end);
		sd_event_run(loop_event(rig.loop), 1000);
		if (poll(&p, 1, 5) <= 0)
			continue;
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	close(fd);
	return text;
}

static const char *get(const char *head)
{
	int fd = dial();

	ask(fd, head);
	return hear(fd);
}

static void until(unsigned int *n, unsigned int want)
{
	uint64_t end = loop_now_ms() + 10000;

	while (*n < want) {
		assert_true(loop_now_ms() < end);
		sd_event_run(loop_event(rig.loop), 10000);
	}
}

static void both_pages_are_served(void **state)
{
	const char *text = get("GET /metrics");

	(void)state;
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	assert_non_null(strstr(text, "text/plain; version=0.0.4"));
	assert_non_null(strstr(text, "\r\n\r\n" TEXT));
	assert_int_equal(rig.asked[1], 1);
	text = get("GET /metrics/sandboxes");
	assert_non_null(strstr(text, "\r\n\r\n" TEXT));
	assert_int_equal(rig.asked[2], 1);
}

static void anything_else_is_refused(void **state)
{
	(void)state;
	assert_non_null(strstr(get("GET /"), "HTTP/1.1 404"));
	assert_non_null(strstr(get("GET /metrics/"), "HTTP/1.1 404"));
	assert_non_null(strstr(get("POST /metrics"), "HTTP/1.1 405"));
	assert_non_null(strstr(get("DELETE /metrics"), "HTTP/1.1 405"));
	get("\x01\x02 garbage");
	assert_int_equal(rig.asked[1] + rig.asked[2], 0);
	assert_non_null(strstr(get("GET /metrics"), TEXT));
}

static void a_head_has_no_body(void **state)
{
	const char *text = get("HEAD /metrics");

	(void)state;
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	assert_null(strstr(text, TEXT));
}

static void who_asks_at_once_is_answered_at_once(void **state)
{
	int fds[MANY];

	(void)state;
	rig.hold = true;
	for (int i = 0; i < MANY; i++) {
		fds[i] = dial();
		ask(fds[i], "GET /metrics");
	}
	until(&rig.asked[1], 1);
	rig.hold = false;
	answer(rig.id, TEXT, false);
	for (int i = 0; i < MANY; i++)
		assert_non_null(strstr(hear(fds[i]), TEXT));
	/* A late one among them may have asked again, once. */
	assert_in_range(rig.asked[1], 1, 2);
}

static void an_engine_that_refuses_is_a_503(void **state)
{
	const char *text;

	(void)state;
	rig.refuse = true;
	text = get("GET /metrics");
	assert_non_null(strstr(text, "HTTP/1.1 503"));
	assert_non_null(strstr(text, "Retry-After"));
	rig.refuse = false;
	assert_non_null(strstr(get("GET /metrics"), TEXT));
}

static void connections_over_the_limit_do_not_stop_it(void **state)
{
	int fds[64];

	(void)state;
	for (int i = 0; i < 64; i++)
		fds[i] = dial();
	for (int i = 0; i < 64; i++)
		close(fds[i]);
	assert_non_null(strstr(get("GET /metrics"), TEXT));
}

static void a_scraper_that_leaves_harms_nobody(void **state)
{
	int fd = dial();

	(void)state;
	rig.hold = true;
	ask(fd, "GET /metrics");
	until(&rig.asked[1], 1);
	close(fd);
	rig.hold = false;
	answer(rig.id, TEXT, false);
	assert_non_null(strstr(get("GET /metrics/sandboxes"), TEXT));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_pages_are_served),
		TEST(anything_else_is_refused),
		TEST(a_head_has_no_body),
		TEST(who_asks_at_once_is_answered_at_once),
		TEST(an_engine_that_refuses_is_a_503),
		TEST(connections_over_the_limit_do_not_stop_it),
		TEST(a_scraper_that_leaves_harms_nobody),
	};

	if (access("./sandboxd-metrics", X_OK) < 0)
		return 77;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
