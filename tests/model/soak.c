/* SPDX-License-Identifier: Apache-2.0 */
/* soak.c - the same things over and over on a whole node, and much at once
 *
 * usage: soak [--full] [cycles|parallel|restarts|duplicates]..
 *
 * Short by default; --full is what the numbers in the tests' names say. Prints
 * a line of measurements and PASS or FAIL for each part.
 */
#include "house.h"
#include "vm.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define D(name) (&sandbox__node__v1__##name##__descriptor)
#define FREE(m) protobuf_c_message_free_unpacked(&(m)->base, NULL)

/* By a thousand cycles. What is kept for a day of those that ended (ended.h) is
 * in this; the first cycles fill SQLite's page cache, 2 MiB, and do not count.
 */
#define GROWTH_MAX_KIB	1024u
#define RESTARTS_MAX_MS 5000u

static struct house house;
static bool full;
static int failed;

static void on_abort(int sig)
{
	(void)sig;
	signal(SIGABRT, SIG_DFL);
	puts("FAIL soak");
	house.keep = true;
	house_end(&house);
	_exit(1);
}

static void verdict(bool ok, const char *name)
{
	printf("%s %s\n", ok ? "PASS" : "FAIL", name);
	failed += !ok;
}

/* ---- calls on any connection ---- */

static struct call *begin(struct client *c, const char *method,
			  const ProtobufCMessage *rq)
{
	_cleanup_free_ char *path =
		xasprintf("/sandbox.node.v1.NodeService/%s", method);
	struct call *call = call_start(c, path);

	call_send(call, rq);
	call_half_close(call);
	return call;
}

static struct client *connect_one(void)
{
	_cleanup_free_ char *path = xasprintf("%s/r/node.sock", house.dir);
	struct client *c = client_connect(path, false);

	if (!c)
		die("cannot connect");
	return c;
}

static struct call *begin_create(struct client *c, const char *id)
{
	NODE(CreateSandboxRequest) rq = NODE_INIT(CREATE_SANDBOX_REQUEST);

	rq.sandbox_id = (char *)id;
	rq.image = (char *)"debian:12";
	rq.workdir = (char *)VM_WORKDIR;
	rq.timeout_ms = rq.idle_timeout_ms = 86400000;
	return begin(c, "CreateSandbox", &rq.base);
}

static struct call *begin_exec(struct client *c, const char *id)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	ProtobufCBinaryData argv = BYTES("true");

	spec.argv = &argv;
	spec.n_argv = 1;
	start.sandbox_id = (char *)id;
	start.process = &spec;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	rq.start = &start;
	return begin(c, "Exec", &rq.base);
}

static struct call *begin_end(struct client *c, const char *id)
{
	NODE(TerminateSandboxRequest) rq = NODE_INIT(TERMINATE_SANDBOX_REQUEST);

	rq.sandbox_id = (char *)id;
	return begin(c, "TerminateSandbox", &rq.base);
}

static void end_ok(struct call *call, const char *what)
{
	const struct grpc_status *st = call_wait(call);

	if (st->code != GRPC_OK)
		die("%s: %s %s: %s", what, grpc_code_str(st->code), st->reason,
		    st->message);
	call_free(call);
}

/* ---- one after another ---- */

static void cycle(unsigned int n)
{
	struct client *c = house_client(&house);
	char id[32];

	snprintf(id, sizeof(id), "cycle-%u", n);
	end_ok(begin_create(c, id), "CreateSandbox");
	end_ok(begin_exec(c, id), "Exec");
	end_ok(begin_end(c, id), "TerminateSandbox");
}

static bool nothing_is_left(void)
{
	uint64_t until = now_ms() + 20000;
	size_t guests, dirs;

	do {
		char **names;

		guests = house_guests(&house, &names);
		for (size_t i = 0; i < guests; i++)
			free(names[i]);
		free(names);
		dirs = house_entries(&house, "guests");
		nap_ms(20);
	} while ((guests || dirs) && now_ms() < until);
	if (guests || dirs)
		printf("left: %zu guests, %zu directories\n", guests, dirs);
	return !guests && !dirs;
}

static size_t open_files(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", pid);

	return house_count(path);
}

static void cycles(void)
{
	unsigned int n = full ? 3000 : 200, warm = full ? 1000 : 50;
	size_t node, front, files;
	uint64_t began;
	double k = (n - warm) / 1000.0;
	long grown, front_grown;

	for (unsigned int i = 0; i < warm; i++)
		cycle(i);
	node = house_rss(house.pid);
	front = house_rss(house_front_pid(&house));
	files = open_files(house.pid) + open_files(house_front_pid(&house));
	began = now_ms();
	for (unsigned int i = warm; i < n; i++)
		cycle(i);
	grown = (long)house_rss(house.pid) - (long)node;
	front_grown = (long)house_rss(house_front_pid(&house)) - (long)front;
	printf("cycles: %u create/exec/terminate, %.1f a second; per 1,000: "
	       "engine %+.0f KiB (at %zu), front %+.0f KiB (at %zu)\n",
	       n, (n - warm) * 1000.0 / (double)(now_ms() - began), grown / k,
	       house_rss(house.pid), front_grown / k,
	       house_rss(house_front_pid(&house)));
	verdict(nothing_is_left(), "cycles leave no guest");
	verdict(open_files(house.pid) + open_files(house_front_pid(&house)) <=
			files + 2,
		"cycles leave no descriptor");
	/* In few of them single pages of the heap count too much. */
	if (full)
		verdict(grown / k < GROWTH_MAX_KIB &&
				front_grown / k < GROWTH_MAX_KIB,
			"2000 cycles leave memory as it was");
}

/* ---- 20 x 50 ---- */

enum stage { CREATE, EXEC, END, THROUGH };

struct lane {
	struct client *client;
	struct call *call;
	enum stage stage;
	unsigned int left;
	char id[32];
};

static void next_call(struct lane *l, unsigned int number)
{
	switch (l->stage) {
	case CREATE:
		snprintf(l->id, sizeof(l->id), "lane-%u-%u", number, l->left);
		l->call = begin_create(l->client, l->id);
		break;
	case EXEC:
		l->call = begin_exec(l->client, l->id);
		break;
	case END:
		l->call = begin_end(l->client, l->id);
		break;
	case THROUGH:
		break;
	}
}

static void go_on(struct lane *l, unsigned int number)
{
	end_ok(l->call, l->id);
	if (l->stage == END && --l->left == 0)
		l->stage = THROUGH;
	else
		l->stage = l->stage == END ? CREATE : l->stage + 1;
	next_call(l, number);
}

static void parallel(void)
{
	unsigned int n = 20, each = full ? 50 : 5, open = n;
	struct lane *lanes = xcalloc(n, sizeof(*lanes));
	uint64_t began = now_ms();

	for (unsigned int i = 0; i < n; i++) {
		lanes[i].client = connect_one();
		lanes[i].left = each;
		next_call(&lanes[i], i);
	}
	while (open) {
		open = 0;
		for (unsigned int i = 0; i < n; i++) {
			if (lanes[i].stage == THROUGH)
				continue;
			open++;
			client_step(lanes[i].client, 1);
			if (call_is_over(lanes[i].call))
				go_on(&lanes[i], i);
		}
	}
	printf("parallel: %u x %u create/exec/terminate in %.1f s\n", n, each,
	       (double)(now_ms() - began) / 1000);
	for (unsigned int i = 0; i < n; i++)
		client_close(lanes[i].client);
	free(lanes);
	verdict(nothing_is_left(), "cycles at once leave no guest");
}

/* ---- 100 guests over restarts ---- */

static void read_all(unsigned int n)
{
	struct call **calls = xcalloc(n, sizeof(*calls));
	char id[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "stay-%u", i);
		calls[i] = begin_exec(house_client(&house), id);
	}
	for (unsigned int i = 0; i < n; i++)
		end_ok(calls[i], "Exec after a restart");
	free(calls);
}

static void restarts(void)
{
	unsigned int n = full ? 100 : 30, times = 3;
	uint64_t worst = 0, worst_answer = 0;
	char id[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "stay-%u", i);
		end_ok(begin_create(house_client(&house), id), "CreateSandbox");
	}
	for (unsigned int i = 0; i < times; i++) {
		NODE(GetNodeRequest) rq = NODE_INIT(GET_NODE_REQUEST);
		uint64_t began;

		house_stop(&house, i % 2 ? SIGTERM : SIGKILL);
		began = now_ms();
		house_start(&house);
		end_ok(begin(house_client(&house), "GetNode", &rq.base),
		       "GetNode");
		if (now_ms() - began > worst_answer)
			worst_answer = now_ms() - began;
		read_all(n);
		if (now_ms() - began > worst)
			worst = now_ms() - began;
	}
	printf("restarts: %u guests, %u restarts: the node answers in %llu ms, "
	       "a command has run in every guest in %llu ms at most\n",
	       n, times, (unsigned long long)worst_answer,
	       (unsigned long long)worst);
	verdict(worst < RESTARTS_MAX_MS, "guests are taken over in 5 seconds");
	for (unsigned int i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "stay-%u", i);
		end_ok(begin_end(house_client(&house), id), "TerminateSandbox");
	}
	verdict(nothing_is_left(), "restarts leave no guest");
}

/* ---- 50 clients, one sandbox ---- */

#define CLIENTS 50

static struct client *clients[CLIENTS];

/* All of them together, until each call has ended. */
static void wait_all(struct call *calls[CLIENTS])
{
	bool open = true;

	while (open) {
		open = false;
		for (unsigned int i = 0; i < CLIENTS; i++) {
			client_step(clients[i], 0);
			open |= !call_is_over(calls[i]);
		}
		if (open)
			nap_ms(1);
	}
}

static unsigned int count_events(const char *type, uint64_t since)
{
	NODE(WatchEventsRequest) rq = NODE_INIT(WATCH_EVENTS_REQUEST);
	NODE(WatchEventsResponse) * m;
	struct call *call;
	unsigned int n = 0;

	rq.since = since;
	rq.no_follow = true;
	rq.types = (char **)&type;
	rq.n_types = 1;
	call = begin(house_client(&house), "WatchEvents", &rq.base);
	while ((m = call_recv_message(call, D(watch_events_response)))) {
		n += m->event != NULL;
		FREE(m);
	}
	call_free(call);
	return n;
}

/* The same request by all: one pause, one answer. */
static bool one_pause(unsigned int round)
{
	NODE(PauseSandboxRequest) rq = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	unsigned int before = count_events("sandbox.paused", 0);
	struct call *calls[CLIENTS];
	uint8_t *first = NULL;
	size_t first_len = 0;
	bool same = true;
	char id[32];

	snprintf(id, sizeof(id), "pause-%u", round);
	rq.sandbox_id = (char *)"one";
	rq.request_id = id;
	for (unsigned int i = 0; i < CLIENTS; i++)
		calls[i] = begin(clients[i], "PauseSandbox", &rq.base);
	wait_all(calls);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		size_t len;
		uint8_t *data = call_recv(calls[i], &len);

		if (!data)
			die("a pause of many: %s",
			    call_wait(calls[i])->message);
		if (!first) {
			first = data;
			first_len = len;
		} else {
			same &= len == first_len && !memcmp(data, first, len);
			free(data);
		}
		call_free(calls[i]);
	}
	free(first);
	return same && count_events("sandbox.paused", 0) == before + 1;
}

/* Each wakes it by a command; one resume, and all succeed. */
static bool one_resume(void)
{
	unsigned int before = count_events("sandbox.resumed", 0);
	struct call *calls[CLIENTS];

	for (unsigned int i = 0; i < CLIENTS; i++)
		calls[i] = begin_exec(clients[i], "one");
	wait_all(calls);
	for (unsigned int i = 0; i < CLIENTS; i++)
		end_ok(calls[i], "Exec in what sleeps");
	return count_events("sandbox.resumed", 0) == before + 1;
}

static int state_now(void)
{
	NODE(GetSandboxRequest) rq = NODE_INIT(GET_SANDBOX_REQUEST);
	NODE(GetSandboxResponse) * m;
	struct grpc_status st;
	int state;

	rq.sandbox_id = (char *)"one";
	m = house_ask(&house, "GetSandbox", &rq.base, D(get_sandbox_response),
		      &st);
	if (!m)
		die("GetSandbox: %s", st.message);
	state = (int)m->sandbox->state;
	FREE(m);
	return state;
}

/* Old and new commands, in any order, bound to the generation they were meant
 * for: those for another one do nothing.
 */
static bool stale_do_nothing(void)
{
	NODE(PauseSandboxRequest) rq = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	unsigned int before = count_events("sandbox.paused", 0);
	struct call *calls[CLIENTS];
	bool ok = true;

	rq.sandbox_id = (char *)"one";
	for (unsigned int i = 0; i < CLIENTS; i++) {
		rq.generation = 100000 + i;
		calls[i] = begin(clients[i], "PauseSandbox", &rq.base);
	}
	wait_all(calls);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		const struct grpc_status *st = call_wait(calls[i]);

		ok &= st->code == GRPC_FAILED_PRECONDITION &&
		      !strcmp(st->reason, "INVALID_STATE");
		call_free(calls[i]);
	}
	return ok && count_events("sandbox.paused", 0) == before;
}

static bool one_end(void)
{
	struct call *calls[CLIENTS];
	unsigned int before = count_events("sandbox.terminated", 0);

	for (unsigned int i = 0; i < CLIENTS; i++)
		calls[i] = i % 2 ? begin_end(clients[i], "one") :
				   begin_exec(clients[i], "one");
	wait_all(calls);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (i % 2)
			end_ok(calls[i], "TerminateSandbox of many");
		else
			call_free(calls[i]);
	}
	return state_now() ==
		       SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_TERMINATED &&
	       count_events("sandbox.terminated", 0) == before + 1;
}

static void duplicates(void)
{
	unsigned int rounds = full ? 20 : 4;
	bool paused = true, resumed = true;
	uint64_t began = now_ms();

	for (unsigned int i = 0; i < CLIENTS; i++)
		clients[i] = connect_one();
	end_ok(begin_create(clients[0], "one"), "CreateSandbox");
	for (unsigned int i = 0; i < rounds; i++) {
		paused &= one_pause(i);
		resumed &= one_resume();
	}
	verdict(paused, "one request of 50 clients is one pause, one answer");
	verdict(resumed, "50 commands in what sleeps are one resume");
	verdict(stale_do_nothing(), "commands for another generation do "
				    "nothing");
	verdict(one_end(), "terminates among commands are one end");
	printf("duplicates: %u clients, %u rounds, %.1f s\n", CLIENTS, rounds,
	       (double)(now_ms() - began) / 1000);
	for (unsigned int i = 0; i < CLIENTS; i++)
		client_close(clients[i]);
}

static const struct {
	const char *name;
	void (*fn)(void);
} parts[] = {
	{ "cycles", cycles },
	{ "parallel", parallel },
	{ "restarts", restarts },
	{ "duplicates", duplicates },
};

int main(int argc, char **argv)
{
	bool all = true;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--full"))
			full = true;
		else
			all = false;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	house_begin(&house, "[pool]\nmin = 0\nmax = 0\n");
	signal(SIGABRT, on_abort);
	signal(SIGTERM, on_abort);
	signal(SIGINT, on_abort);
	house_start(&house);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		bool wanted = all;

		for (int j = 1; j < argc; j++)
			wanted |= !strcmp(argv[j], parts[i].name);
		if (wanted)
			parts[i].fn();
	}
	house_stop(&house, SIGTERM);
	house_end(&house);
	return failed != 0;
}
