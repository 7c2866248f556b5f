/* SPDX-License-Identifier: Apache-2.0 */
/* bench_rate.c - many clients at once, and one that looks on during a restart
 *
 * Each client is a process with a connection of its own and one call under way
 * at a time. All connect first and begin together; the clock of the rate runs
 * from then to the end of the last.
 */
#include "bench_client.h"

#include "base/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define FIRST_MS    60000

/* In memory that all clients share. */
struct shared {
	double end_ms[CLIENTS_MAX];
	double ms[];
};

static void one_get(const char *id)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);

	req.sandbox_id = (char *)(uintptr_t)id;
	message_free(bench_ask("GetSandbox", &req.base));
}

static void one_list(const char *offset)
{
	NODE(ListSandboxesRequest) req = NODE_INIT(LIST_SANDBOXES_REQUEST);

	req.offset = (uint32_t)strtoul(offset, NULL, 10);
	message_free(bench_ask("ListSandboxes", &req.base));
}

static char *one_create(const char *image)
{
	NODE(CreateSandboxRequest) req = NODE_INIT(CREATE_SANDBOX_REQUEST);
	NODE(CreateSandboxResponse) * r;
	Sandbox__Node__V1__Resources res = SANDBOX__NODE__V1__RESOURCES__INIT;
	char *id;

	bench_resources(&req, &res);
	req.image = (char *)(uintptr_t)image;
	r = (NODE(CreateSandboxResponse) *)bench_ask("CreateSandbox",
						     &req.base);
	id = xstrdup(r->sandbox->id);
	message_free(&r->base);
	return id;
}

static void terminate(const char *id)
{
	NODE(TerminateSandboxRequest)
	req = NODE_INIT(TERMINATE_SANDBOX_REQUEST);

	req.sandbox_id = (char *)(uintptr_t)id;
	message_free(bench_ask("TerminateSandbox", &req.base));
}

/* @go: its other end is closed when all may begin. */
static void run_client(const char *kind, const char *what, int n,
		       struct shared *shared, int self, int ready, int go)
{
	char **made = xcalloc((size_t)n, sizeof(char *));
	double *ms = shared->ms + (size_t)self * (size_t)n;
	char byte = 0;

	bench_connect();
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
		_exit(1);
	for (int i = 0; i < n; i++) {
		double t = bench_now_ms();

		if (!strcmp(kind, "get"))
			one_get(what);
		else if (!strcmp(kind, "list"))
			one_list(what);
		else
			made[i] = one_create(what);
		if (!strcmp(kind, "start"))
			bench_run_true(made[i]);
		ms[i] = bench_now_ms() - t;
	}
	shared->end_ms[self] = bench_now_ms();
	for (int i = 0; i < n; i++)
		if (made[i])
			terminate(made[i]);
	_exit(0);
}

int bench_rate(int argc, char **argv)
{
	int clients = argc == 4 ? atoi(argv[2]) : 0,
	    n = clients ? atoi(argv[3]) : 0;
	size_t size = sizeof(struct shared) +
		      (size_t)clients * (size_t)n * sizeof(double);
	int ready[2], go[2], failed = 0;
	struct shared *shared;
	double start, end = 0;
	char byte;

	if (clients < 1 || clients > CLIENTS_MAX || n < 1)
		return 2;
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(ready) < 0 || pipe(go) < 0)
		return 1;
	fflush(stdout);
	for (int i = 0; i < clients; i++) {
		if (fork() == 0) {
			close(go[1]);
			run_client(argv[0], argv[1], n, shared, i, ready[1],
				   go[0]);
		}
	}
	close(ready[1]);
	for (int i = 0; i < clients; i++)
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	start = bench_now_ms();
	close(go[1]);
	for (int i = 0, status; i < clients; i++)
		if (wait(&status) < 0 || status != 0)
			failed++;
	for (int i = 0; i < clients; i++)
		if (shared->end_ms[i] > end)
			end = shared->end_ms[i];
	printf("\"wall_ms\":%.3f,", end - start);
	bench_print("ms", shared->ms, (size_t)clients * (size_t)n, "");
	return failed ? 1 : 0;
}

/* The first answer of a node that starts: a front whose engine was killed may
 * take the connection, and end.
 */
static void first_answer(const char *id)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);
	double until = bench_now_ms() + FIRST_MS;
	struct grpc_status st = { 0 };
	ProtobufCMessage *m;

	req.sandbox_id = (char *)(uintptr_t)id;
	for (;;) {
		bench_connect();
		m = client_unary(bench_client, "GetSandbox", &req.base, &st);
		if (m)
			break;
		if (st.code != GRPC_UNAVAILABLE || bench_now_ms() > until)
			bench_die("GetSandbox", &st);
		bench_disconnect();
	}
	message_free(m);
}

/* GetSandbox every few milliseconds and ListSandboxes now and then, from before
 * the node answers until so many seconds after it does.
 */
int bench_during(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	double begin = bench_now_ms(), first = 0, until;
	size_t n = 0, room = 0;
	double *ms = NULL;

	if (argc != 2)
		return 2;
	first_answer(argv[0]);
	first = bench_now_ms() - begin;
	until = bench_now_ms() + atof(argv[1]) * 1e3;
	while (bench_now_ms() < until) {
		double t = bench_now_ms();

		if (n % 8 == 7)
			one_list("0");
		else
			one_get(argv[0]);
		if (n == room) {
			room = room ? room * 2 : 1024;
			ms = xrealloc(ms, room, sizeof(*ms));
		}
		ms[n++] = bench_now_ms() - t;
		nanosleep(&pause, NULL);
	}
	printf("\"first_ms\":%.3f,", first);
	bench_print("ms", ms, n, "");
	free(ms);
	return 0;
}
