/* SPDX-License-Identifier: Apache-2.0 */
/* bench_client.c - times calls on one kept gRPC connection
 *
 *	bench_client exec ID COUNT	`true`, from the call's start to its status
 *	bench_client get ID COUNT	GetSandbox
 *	bench_client list COUNT		ListSandboxes, 20 of them
 *	bench_client create IMAGE COUNT	create, then the first exec; terminated
 *					after each, outside of the clock
 *	bench_client pause ID COUNT	pause; resume and the first exec
 *	bench_client rate get|list|create|start WHAT CLIENTS COUNT
 *					so many clients at once; start: create
 *					and the first exec
 *					$BENCH_MEMORY: in MiB, of those made
 *	bench_client during ID SECONDS	GetSandbox from before the node answers
 *
 * The node is $SANDBOXD_CONNECT. Prints a JSON object: arrays of milliseconds.
 */
#include "bench_client.h"

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct client *bench_client;
static const char *command = "true";

#define CONNECT_MS 20000 /* a node that is being started */

double bench_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void bench_die(const char *what, const struct grpc_status *st)
{
	fprintf(stderr, "bench_client: %s: %s: %s\n", what,
		*st->reason ? st->reason : grpc_code_str(st->code),
		st->message);
	exit(1);
}

ProtobufCMessage *bench_ask(const char *method, const ProtobufCMessage *req)
{
	struct grpc_status st = { 0 };
	ProtobufCMessage *m = client_unary(bench_client, method, req, &st);

	if (!m)
		bench_die(method, &st);
	return m;
}

void bench_run_true(const char *id)
{
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	ProtobufCBinaryData argv = pb_bytes(command);
	struct grpc_status st = { 0 };
	struct call *call = call_open(bench_client, "Exec");
	ProtobufCMessage *m;
	uint32_t code = 255;

	spec.argv = &argv;
	spec.n_argv = 1;
	start.sandbox_id = (char *)(uintptr_t)id;
	start.process = &spec;
	req.input_case = NODE_CASE(EXEC_REQUEST__INPUT, START);
	req.start = &start;
	if (call_send(call, &req.base) == 0)
		call_half_close(call);
	while ((m = call_recv(call))) {
		const NODE(ExecResponse) *r = (const NODE(ExecResponse) *)m;

		if (r->output_case == NODE_CASE(EXEC_RESPONSE__OUTPUT, EXITED))
			code = r->exited->exit_code;
		message_free(m);
	}
	call_close(call, &st);
	if (st.code != GRPC_OK || code != 0)
		bench_die("Exec", &st);
}

void bench_print(const char *name, const double *ms, size_t n, const char *end)
{
	printf("\"%s\":[", name);
	for (size_t i = 0; i < n; i++)
		printf("%s%.4f", i ? "," : "", ms[i]);
	printf("]%s", end);
}

static void bench_exec(const char *id, double *ms, int n)
{
	for (int i = 0; i < n; i++) {
		double t = bench_now_ms();

		bench_run_true(id);
		ms[i] = bench_now_ms() - t;
	}
	bench_print("exec_ms", ms, (size_t)n, "");
}

static void bench_get(const char *id, double *ms, int n)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);

	req.sandbox_id = (char *)(uintptr_t)id;
	for (int i = 0; i < n; i++) {
		double t = bench_now_ms();

		message_free(bench_ask("GetSandbox", &req.base));
		ms[i] = bench_now_ms() - t;
	}
	bench_print("get_ms", ms, (size_t)n, "");
}

static void bench_list(double *ms, int n)
{
	NODE(ListSandboxesRequest) req = NODE_INIT(LIST_SANDBOXES_REQUEST);

	for (int i = 0; i < n; i++) {
		double t = bench_now_ms();

		message_free(bench_ask("ListSandboxes", &req.base));
		ms[i] = bench_now_ms() - t;
	}
	bench_print("list_ms", ms, (size_t)n, "");
}

void bench_resources(NODE(CreateSandboxRequest) * req,
		     Sandbox__Node__V1__Resources *r)
{
	const char *memory = getenv("BENCH_MEMORY");

	if (!memory)
		return;
	r->memory_mib = (uint32_t)strtoul(memory, NULL, 10);
	req->resources = r;
}

static void bench_create(const char *image, double *ms, int n)
{
	NODE(CreateSandboxRequest) req = NODE_INIT(CREATE_SANDBOX_REQUEST);
	double *first = xcalloc((size_t)n, sizeof(*first));
	char kinds[1024] = "";
	Sandbox__Node__V1__Resources res = SANDBOX__NODE__V1__RESOURCES__INIT;

	bench_resources(&req, &res);
	req.image = (char *)(uintptr_t)image;
	for (int i = 0; i < n; i++) {
		NODE(TerminateSandboxRequest)
		end = NODE_INIT(TERMINATE_SANDBOX_REQUEST);
		NODE(CreateSandboxResponse) * r;
		double t = bench_now_ms();

		r = (NODE(CreateSandboxResponse) *)bench_ask("CreateSandbox",
							     &req.base);
		ms[i] = bench_now_ms() - t;
		bench_run_true(r->sandbox->id);
		first[i] = bench_now_ms() - t;
		if (strlen(kinds) + 32 < sizeof(kinds))
			sprintf(kinds + strlen(kinds), "%s\"%.16s\"",
				i ? "," : "", r->sandbox->start_kind);
		end.sandbox_id = r->sandbox->id;
		message_free(bench_ask("TerminateSandbox", &end.base));
		message_free(&r->base);
	}
	bench_print("create_ms", ms, (size_t)n, ",");
	bench_print("first_exec_ms", first, (size_t)n, ",");
	printf("\"start_kind\":[%s]", kinds);
	free(first);
}

static void bench_pause(const char *id, double *ms, int n)
{
	NODE(PauseSandboxRequest) pause = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	NODE(ResumeSandboxRequest) resume = NODE_INIT(RESUME_SANDBOX_REQUEST);
	double *back = xcalloc((size_t)n, sizeof(*back));
	double *bytes = xcalloc((size_t)n, sizeof(*bytes));

	pause.sandbox_id = resume.sandbox_id = (char *)(uintptr_t)id;
	for (int i = 0; i < n; i++) {
		NODE(PauseSandboxResponse) * r;
		double t = bench_now_ms();

		r = (NODE(PauseSandboxResponse) *)bench_ask("PauseSandbox",
							    &pause.base);
		ms[i] = bench_now_ms() - t;
		bytes[i] = (double)r->snapshot_bytes;
		message_free(&r->base);
		t = bench_now_ms();
		message_free(bench_ask("ResumeSandbox", &resume.base));
		bench_run_true(id);
		back[i] = bench_now_ms() - t;
	}
	bench_print("pause_ms", ms, (size_t)n, ",");
	bench_print("resume_ms", back, (size_t)n, ",");
	bench_print("snapshot_bytes", bytes, (size_t)n, "");
	free(back);
	free(bytes);
}

void bench_connect(void)
{
	struct client_target target = { .address = getenv("SANDBOXD_CONNECT") };
	const struct timespec pause = { .tv_nsec = 2000000 };
	double until = bench_now_ms() + CONNECT_MS;
	struct loop *loop = NULL;
	struct error err = { 0 };

	if (!target.address || loop_new(&loop, &err) < 0) {
		fprintf(stderr, "bench_client: no SANDBOXD_CONNECT\n");
		exit(3);
	}
	while (client_connect(loop, &target, &bench_client, &err) < 0) {
		if (bench_now_ms() > until) {
			fprintf(stderr, "bench_client: %s\n", err.msg);
			exit(3);
		}
		nanosleep(&pause, NULL);
	}
}

void bench_disconnect(void)
{
	struct loop *loop = client_loop(bench_client);

	bench_client = client_free(bench_client);
	loop_free(loop);
}

static int bench_one(const char *what, const char *arg, int n)
{
	double *ms = n > 0 ? xcalloc((size_t)n, sizeof(*ms)) : NULL;

	if (!ms)
		return 2;
	bench_connect();
	if (strcmp(what, "exec") == 0)
		bench_exec(arg, ms, n);
	else if (strcmp(what, "get") == 0)
		bench_get(arg, ms, n);
	else if (strcmp(what, "list") == 0)
		bench_list(ms, n);
	else if (strcmp(what, "create") == 0)
		bench_create(arg, ms, n);
	else if (strcmp(what, "pause") == 0)
		bench_pause(arg, ms, n);
	free(ms);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int r = 2;

	if (getenv("BENCH_COMMAND"))
		command = getenv("BENCH_COMMAND");
	putchar('{');
	if (strcmp(what, "rate") == 0)
		r = bench_rate(argc - 2, argv + 2);
	else if (strcmp(what, "during") == 0)
		r = bench_during(argc - 2, argv + 2);
	else if (argc > 2)
		r = bench_one(what, argv[2], atoi(argv[argc - 1]));
	puts("}");
	if (r == 2)
		fprintf(stderr, "usage: bench_client exec|get|list|create|"
				"pause|rate|during ...\n");
	return r;
}
