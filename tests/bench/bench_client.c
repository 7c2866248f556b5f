/* SPDX-License-Identifier: Apache-2.0 */
/* bench_client.c - times calls on one kept gRPC connection
 *
 *	bench_client exec ID COUNT	`true`, from the call's start to its status
 *	bench_client get ID COUNT	GetSandbox
 *	bench_client list COUNT		ListSandboxes, 20 of them
 *	bench_client create IMAGE COUNT	create, then the first exec; terminated
 *					after each, outside of the clock
 *	bench_client pause ID COUNT	pause; resume and the first exec
 *
 * The node is $SANDBOXD_CONNECT. Prints a JSON object: arrays of milliseconds.
 */
#include "ctl/client.h"
#include "ctl/pb.h"

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct client *client;
static const char *command = "true";

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, const struct grpc_status *st)
{
	fprintf(stderr, "bench_client: %s: %s: %s\n", what,
		*st->reason ? st->reason : grpc_code_str(st->code),
		st->message);
	exit(1);
}

static ProtobufCMessage *ask(const char *method, const ProtobufCMessage *req)
{
	struct grpc_status st = { 0 };
	ProtobufCMessage *m = client_unary(client, method, req, &st);

	if (!m)
		die(method, &st);
	return m;
}

static void run_true(const char *id)
{
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	ProtobufCBinaryData argv = pb_bytes(command);
	struct grpc_status st = { 0 };
	struct call *call = call_open(client, "Exec");
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
		die("Exec", &st);
}

static void print(const char *name, const double *ms, int n, const char *end)
{
	printf("\"%s\":[", name);
	for (int i = 0; i < n; i++)
		printf("%s%.4f", i ? "," : "", ms[i]);
	printf("]%s", end);
}

static void bench_exec(const char *id, double *ms, int n)
{
	for (int i = 0; i < n; i++) {
		double t = now_ms();

		run_true(id);
		ms[i] = now_ms() - t;
	}
	print("exec_ms", ms, n, "");
}

static void bench_get(const char *id, double *ms, int n)
{
	NODE(GetSandboxRequest) req = NODE_INIT(GET_SANDBOX_REQUEST);

	req.sandbox_id = (char *)(uintptr_t)id;
	for (int i = 0; i < n; i++) {
		double t = now_ms();

		message_free(ask("GetSandbox", &req.base));
		ms[i] = now_ms() - t;
	}
	print("get_ms", ms, n, "");
}

static void bench_list(double *ms, int n)
{
	NODE(ListSandboxesRequest) req = NODE_INIT(LIST_SANDBOXES_REQUEST);

	for (int i = 0; i < n; i++) {
		double t = now_ms();

		message_free(ask("ListSandboxes", &req.base));
		ms[i] = now_ms() - t;
	}
	print("list_ms", ms, n, "");
}

static void bench_create(const char *image, double *ms, int n)
{
	NODE(CreateSandboxRequest) req = NODE_INIT(CREATE_SANDBOX_REQUEST);
	double *first = xcalloc((size_t)n, sizeof(*first));
	char kinds[1024] = "";

	req.image = (char *)(uintptr_t)image;
	for (int i = 0; i < n; i++) {
		NODE(TerminateSandboxRequest)
		end = NODE_INIT(TERMINATE_SANDBOX_REQUEST);
		NODE(CreateSandboxResponse) * r;
		double t = now_ms();

		r = (NODE(CreateSandboxResponse) *)ask("CreateSandbox",
						       &req.base);
		ms[i] = now_ms() - t;
		run_true(r->sandbox->id);
		first[i] = now_ms() - t;
		if (strlen(kinds) + 32 < sizeof(kinds))
			sprintf(kinds + strlen(kinds), "%s\"%.16s\"",
				i ? "," : "", r->sandbox->start_kind);
		end.sandbox_id = r->sandbox->id;
		message_free(ask("TerminateSandbox", &end.base));
		message_free(&r->base);
	}
	print("create_ms", ms, n, ",");
	print("first_exec_ms", first, n, ",");
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
		double t = now_ms();

		r = (NODE(PauseSandboxResponse) *)ask("PauseSandbox",
						      &pause.base);
		ms[i] = now_ms() - t;
		bytes[i] = (double)r->snapshot_bytes;
		message_free(&r->base);
		t = now_ms();
		message_free(ask("ResumeSandbox", &resume.base));
		run_true(id);
		back[i] = now_ms() - t;
	}
	print("pause_ms", ms, n, ",");
	print("resume_ms", back, n, ",");
	print("snapshot_bytes", bytes, n, "");
	free(back);
	free(bytes);
}

int main(int argc, char **argv)
{
	struct client_target target = { .address = getenv("SANDBOXD_CONNECT") };
	const char *what = argc > 2 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[argc - 1]) : 0;
	struct loop *loop = NULL;
	struct error err = { 0 };
	double *ms;

	if (n <= 0 || !target.address) {
		fprintf(stderr, "usage: bench_client exec|get|list|create|"
				"pause [WHAT] COUNT\n");
		return 2;
	}
	if (loop_new(&loop, &err) < 0 ||
	    client_connect(loop, &target, &client, &err) < 0) {
		fprintf(stderr, "bench_client: %s\n", err.msg);
		return 3;
	}
	if (getenv("BENCH_COMMAND"))
		command = getenv("BENCH_COMMAND");
	ms = xcalloc((size_t)n, sizeof(*ms));
	putchar('{');
	if (strcmp(what, "exec") == 0)
		bench_exec(argv[2], ms, n);
	else if (strcmp(what, "get") == 0)
		bench_get(argv[2], ms, n);
	else if (strcmp(what, "list") == 0)
		bench_list(ms, n);
	else if (strcmp(what, "create") == 0)
		bench_create(argv[2], ms, n);
	else if (strcmp(what, "pause") == 0)
		bench_pause(argv[2], ms, n);
	puts("}");
	free(ms);
	client_free(client);
	loop_free(loop);
	return 0;
}
