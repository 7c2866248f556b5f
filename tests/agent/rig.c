/* SPDX-License-Identifier: Apache-2.0 */
/* rig.c - a real agent on a unix socket, and calls on it in one line each */
#include "rig.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NONCE "a nonce of the tests"

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

static pid_t start_agent(const struct rig *rig)
{
	const char *program = getenv("SANDBOX_AGENT");
	char listen[128];
	pid_t pid = fork();

	if (pid)
		return pid;
	/* A test that dies takes its agent with it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(listen, sizeof(listen), "unix:%s", rig->socket);
	if (!program)
		program = "./sandbox-agent";
	execl(program, program, "--listen", listen, "--workdir", rig->dir,
	      NULL);
	_exit(127);
}

int rig_setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	struct grpc_status st;

	strcpy(rig->dir, "/tmp/sbx-agent-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->socket, sizeof(rig->socket), "%s.sock", rig->dir);
	rig->agent = start_agent(rig);
	for (int i = 0; i < 5000 && !rig->client; i++) {
		assert_int_equal(waitpid(rig->agent, NULL, WNOHANG), 0);
		rig->client = client_connect(rig->socket, false);
		if (!rig->client)
			nap();
	}
	assert_non_null(rig->client);
	assert_true(client_hello(rig->client, NONCE, &st));
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;
	int status;

	client_close(rig->client);
	kill(rig->agent, SIGTERM);
	assert_int_equal(waitpid(rig->agent, &status, 0), rig->agent);
	/* Also what sanitizers have to say. */
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	fd_remove_tree(AT_FDCWD, rig->dir, NULL);
	unlink(rig->socket);
	free(rig);
	return 0;
}

/* ---- processes ---- */

struct call *rig_exec(struct rig *rig, NODE(ProcessSpec) * spec)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	struct call *call = call_start(rig->client, "Exec");

	start.process = spec;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	return call;
}

struct call *rig_exec_command(struct rig *rig, const char *command)
{
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);

	spec.command = BYTES(command);
	return rig_exec(rig, &spec);
}

static void append(char **buf, size_t *len, const ProtobufCBinaryData *data)
{
	/* In large steps: some tests take 100 MB. */
	size_t step = 4u << 20;

	if (!*buf || *len / step != (*len + data->len) / step)
		*buf = xrealloc(*buf, (*len + data->len) / step + 1, step + 1);
	if (data->len)
		memcpy(*buf + *len, data->data, data->len);
	*len += data->len;
	(*buf)[*len] = '\0';
}

static void take_chunk(struct run *run, const NODE(OutputChunk) * chunk,
		       char **buf, size_t *len, bool is_out)
{
	if (run->pid == 0 || run->exited)
		run->order_errors++;
	if (is_out && *len == 0)
		run->out_begin = chunk->offset;
	else if (is_out && chunk->offset != run->out_begin + *len && !run->lost)
		run->order_errors++;
	append(buf, len, &chunk->data);
}

static void take_exited(struct run *run, const NODE(ProcessExited) * x)
{
	if (run->exited)
		run->order_errors++;
	run->exited = true;
	run->exit_code = x->exit_code;
	run->signal = x->signal;
	run->timed_out = x->timed_out;
	run->duration_ms = x->duration_ms;
	snprintf(run->signal_name, sizeof(run->signal_name), "%s",
		 x->signal_name);
}

/* AttachProcessResponse has all that ExecResponse has, with equal numbers. */
static void take_answer(struct run *run, const NODE(AttachProcessResponse) * m)
{
	switch (m->output_case) {
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STARTED:
		if (run->pid)
			run->order_errors++;
		run->pid = m->started->pid;
		break;
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STDOUT:
		take_chunk(run, m->stdout, &run->out, &run->out_len, true);
		break;
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_STDERR:
		take_chunk(run, m->stderr, &run->err, &run->err_len, false);
		break;
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_EXITED:
		take_exited(run, m->exited);
		break;
	case SANDBOX__NODE__V1__ATTACH_PROCESS_RESPONSE__OUTPUT_LOST:
		run->lost += m->lost->stdout_bytes;
		break;
	default:
		run->order_errors++;
	}
}

struct run rig_finish(struct call *call)
{
	struct run run = { 0 };
	NODE(AttachProcessResponse) * m;
	ProtobufCBinaryData nothing = { 0 };

	while ((m = call_recv_message(
			call,
			&sandbox__node__v1__attach_process_response__descriptor))) {
		take_answer(&run, m);
		sandbox__node__v1__attach_process_response__free_unpacked(m,
									  NULL);
	}
	append(&run.out, &run.out_len, &nothing);
	append(&run.err, &run.err_len, &nothing);
	run.status = *call_wait(call);
	call_free(call);
	return run;
}

struct run rig_run(struct rig *rig, const char *command)
{
	struct call *call = rig_exec_command(rig, command);

	call_half_close(call);
	return rig_finish(call);
}

void run_free(struct run *run)
{
	free(run->out);
	free(run->err);
}

uint32_t rig_started(struct call *call)
{
	NODE(ExecResponse) *m = call_recv_message(
		call, &sandbox__node__v1__exec_response__descriptor);
	uint32_t pid;

	assert_non_null(m);
	assert_int_equal(m->output_case,
			 SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED);
	pid = m->started->pid;
	sandbox__node__v1__exec_response__free_unpacked(m, NULL);
	return pid;
}

struct call *rig_attach(struct rig *rig, uint32_t pid, uint64_t offset)
{
	NODE(AttachProcessRequest) rq = NODE_INIT(ATTACH_PROCESS_REQUEST);
	NODE(AttachStart) start = NODE_INIT(ATTACH_START);
	struct call *call = call_start(rig->client, "AttachProcess");

	start.pid = pid;
	start.stdout_offset = offset;
	rq.input_case = SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	return call;
}

void call_stdin(struct call *call, const void *data, size_t len)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);

	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_STDIN;
	rq.stdin.data = (uint8_t *)data;
	rq.stdin.len = len;
	call_send(call, &rq.base);
}

void call_close_stdin(struct call *call)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);

	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_CLOSE_STDIN;
	rq.close_stdin = true;
	call_send(call, &rq.base);
}

void call_signal(struct call *call, uint32_t signal)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	NODE(SignalInput) input = NODE_INIT(SIGNAL_INPUT);

	input.signal = signal;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_SIGNAL;
	rq.signal = &input;
	call_send(call, &rq.base);
}

void call_resize(struct call *call, uint32_t rows, uint32_t columns)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);

	size.rows = rows;
	size.columns = columns;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_RESIZE;
	rq.resize = &size;
	call_send(call, &rq.base);
}

void rig_wait_output(struct call *call, const char *text)
{
	char *seen = NULL;
	size_t len = 0;
	bool found = false;

	while (!found) {
		NODE(ExecResponse) *m = call_recv_message(
			call, &sandbox__node__v1__exec_response__descriptor);

		if (!m)
			fail_msg("the call ended before '%s' came", text);
		if (m->output_case ==
		    SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT) {
			append(&seen, &len, &m->stdout->data);
			found = strstr(seen, text) != NULL;
		}
		sandbox__node__v1__exec_response__free_unpacked(m, NULL);
	}
	free(seen);
}

/* ---- the rest ---- */

char *rig_path(struct rig *rig, const char *name)
{
	return xasprintf("%s/%s", rig->dir, name);
}

size_t rig_peak_kib(struct rig *rig)
{
	_cleanup_free_ char *path =
		xasprintf("/proc/%d/status", (int)rig->agent);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t kib = 0;
	char line[128];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %zu", &kib) == 1)
			break;
	return kib;
}

/* ---- files ---- */

void rig_search_at_once(struct rig *rig, unsigned int n, const char *path,
			const char *pattern, size_t matches)
{
	NODE(SearchFilesRequest) rq = NODE_INIT(SEARCH_FILES_REQUEST);
	struct call **calls = xcalloc(n, sizeof(*calls));

	rq.path = BYTES(path);
	rq.pattern = BYTES(pattern);
	for (unsigned int i = 0; i < n; i++) {
		calls[i] = call_start(rig->client, "SearchFiles");
		call_send(calls[i], &rq.base);
		call_half_close(calls[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		NODE(SearchFilesResponse) *m = call_recv_message(
			calls[i],
			&sandbox__node__v1__search_files_response__descriptor);

		assert_non_null(m);
		assert_int_equal(m->n_matches, matches);
		protobuf_c_message_free_unpacked(&m->base, NULL);
		assert_int_equal(call_wait(calls[i])->code, GRPC_OK);
		call_free(calls[i]);
	}
	free(calls);
}
