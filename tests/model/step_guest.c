/* SPDX-License-Identifier: Apache-2.0 */
/* step_guest.c - steps in a guest: commands, files, ports; and questions */
#include "ref.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D(name) (&sandbox__node__v1__##name##__descriptor)
#define FREE(m) protobuf_c_message_free_unpacked(&(m)->base, NULL)

/* A call into @box's guest has just been answered so. False: it was refused as
 * it had to be; else the guest runs now.
 */
static bool has_woken(struct ref *r, struct ref_box *box,
		      const struct grpc_status *st, const char *what)
{
	if (box->state == REF_PAUSED && !box->auto_resume) {
		ref_expect(r, st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			   what);
		return false;
	}
	if (box->state == REF_PAUSED && ref_failed_as_told(r, st))
		return false;
	if (box->state == REF_PAUSED)
		box->value = box->saved;
	box->state = REF_RUNNING;
	return true;
}

/* ---- commands ---- */

struct result {
	bool started, exited;
	unsigned int pid, code;
	char out[256];
	size_t out_len;
	struct grpc_status st;
};

static void take(struct result *x, const NODE(ExecResponse) * m)
{
	switch (m->output_case) {
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STARTED:
		x->started = true;
		x->pid = m->started->pid;
		break;
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_STDOUT:
		if (x->out_len + m->stdout->data.len < sizeof(x->out))
			memcpy(x->out + x->out_len, m->stdout->data.data,
			       m->stdout->data.len);
		x->out_len += m->stdout->data.len;
		break;
	case SANDBOX__NODE__V1__EXEC_RESPONSE__OUTPUT_EXITED:
		x->exited = true;
		x->code = m->exited->exit_code;
		break;
	default:
		break;
	}
}

static struct call *begin(struct ref *r, const char *id, const char *command,
			  bool background)
{
	NODE(ExecRequest) rq = NODE_INIT(EXEC_REQUEST);
	NODE(ProcessSpec) spec = NODE_INIT(PROCESS_SPEC);
	NODE(ExecStart) start = NODE_INIT(EXEC_START);
	struct call *call = house_call(r->house, "Exec");

	spec.command = BYTES(command);
	spec.background = background;
	start.sandbox_id = (char *)id;
	start.process = &spec;
	rq.input_case = SANDBOX__NODE__V1__EXEC_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	call_half_close(call);
	return call;
}

static struct result end(struct call *call)
{
	struct result x = { 0 };
	NODE(ExecResponse) * m;

	while ((m = call_recv_message(call, D(exec_response)))) {
		take(&x, m);
		FREE(m);
	}
	x.st = *call_wait(call);
	call_free(call);
	return x;
}

/* One that may be begun again as often as it takes. */
static struct result run(struct ref *r, const char *id, const char *command)
{
	uint64_t until = now_ms() + 30000;
	struct result x;

	do {
		x = end(begin(r, id, command, false));
		r->calls++;
	} while (x.st.code != GRPC_OK && house_is_passing(&x.st) &&
		 now_ms() < until);
	return x;
}

void step_write(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, 0);
	char command[64];
	struct result x;
	int value = (int)(r->step % 1000000);

	if (!box)
		return;
	trace(r, "write %d in '%s'", value, box->id);
	/* Renamed into place, so that a strike leaves the old or the new. */
	snprintf(command, sizeof(command),
		 "printf %d >value.new && mv value.new value", value);
	x = run(r, box->id, command);
	if (!has_woken(r, box, &x.st, "Exec"))
		return;
	if (x.st.code != GRPC_OK || !x.exited || x.code != 0)
		wrong(r, "'%s': exit %u, %s %s", command, x.code,
		      grpc_code_str(x.st.code), x.st.message);
	box->value = value;
	ref_check_box(r, box);
}

void step_exec(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, 0);
	unsigned int code = pick(r, 200);
	char command[64];
	struct result x;

	if (!box)
		return;
	trace(r, "exec in '%s'", box->id);
	snprintf(command, sizeof(command), "echo hello; exit %u", code);
	x = run(r, box->id, command);
	if (!has_woken(r, box, &x.st, "Exec"))
		return;
	if (x.st.code != GRPC_OK || x.code != code || x.out_len != 6 ||
	    memcmp(x.out, "hello\n", 6) != 0)
		wrong(r, "exec: exit %u instead of %u, %zu bytes, %s %s",
		      x.code, code, x.out_len, grpc_code_str(x.st.code),
		      x.st.message);
}

static bool is_listed(struct ref *r, const char *id, unsigned int pid,
		      bool *ret_running)
{
	NODE(ListProcessesRequest) rq = NODE_INIT(LIST_PROCESSES_REQUEST);
	NODE(ListProcessesResponse) * m;
	struct grpc_status st;
	bool found = false;

	rq.sandbox_id = (char *)id;
	m = ref_ask(r, "ListProcesses", &rq.base, D(list_processes_response),
		    &st);
	if (!m)
		wrong(r, "ListProcesses: %s", st.message);
	for (size_t i = 0; i < m->n_processes; i++)
		if (m->processes[i]->pid == pid) {
			found = true;
			*ret_running =
				m->processes[i]->state ==
				SANDBOX__NODE__V1__PROCESS_STATE__PROCESS_STATE_RUNNING;
		}
	FREE(m);
	return found;
}

static struct result attach(struct ref *r, const char *id, unsigned int pid)
{
	NODE(AttachProcessRequest) rq = NODE_INIT(ATTACH_PROCESS_REQUEST);
	NODE(AttachStart) start = NODE_INIT(ATTACH_START);
	struct call *call = house_call(r->house, "AttachProcess");

	start.sandbox_id = (char *)id;
	start.pid = pid;
	start.stdout_offset = 2;
	rq.input_case = SANDBOX__NODE__V1__ATTACH_PROCESS_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	/* The answers have ExecResponse's numbers. */
	return end(call);
}

/* Begun, left, found again, read from an offset, and killed. Only in what
 * runs: a process does not come back from this hypervisor's pauses.
 */
void step_background(struct ref *r)
{
	NODE(SignalProcessRequest) rq = NODE_INIT(SIGNAL_PROCESS_REQUEST);
	struct ref_box *box = ref_box_any(r, REF_RUNNING);
	NODE(SignalProcessResponse) * m;
	struct grpc_status st;
	struct result x;
	struct call *call;
	bool running = false;

	if (!box)
		return;
	trace(r, "background process in '%s'", box->id);
	call = begin(r, box->id, "echo abcdef; exec sleep 1000", true);
	memset(&x, 0, sizeof(x));
	while (!x.out_len) {
		NODE(ExecResponse) *e =
			call_recv_message(call, D(exec_response));

		if (!e)
			break;
		take(&x, e);
		FREE(e);
	}
	call_free(call);
	if (!x.started) /* struck */
		return;
	if (chance(r, 30) && r->faults)
		strike_now(r, KILL_FRONT + pick(r, 3));
	if (!is_listed(r, box->id, x.pid, &running) || !running)
		wrong(r, "process %u is not there when its client has gone",
		      x.pid);
	rq.sandbox_id = box->id;
	rq.pid = x.pid;
	rq.signal = 9;
	m = ref_ask(r, "SignalProcess", &rq.base, D(signal_process_response),
		    &st);
	if (!m)
		wrong(r, "SignalProcess: %s", st.message);
	FREE(m);
	x = attach(r, box->id, rq.pid);
	if (x.st.code != GRPC_OK || x.code != 137 || x.out_len != 5 ||
	    memcmp(x.out, "cdef\n", 5) != 0)
		wrong(r, "attach: %s %s, exit %u, %zu bytes",
		      grpc_code_str(x.st.code), x.st.message, x.code,
		      x.out_len);
}

/* ---- files ---- */

static void write_file(struct ref *r, const char *id, const char *path,
		       const char *text)
{
	NODE(WriteFileRequest) rq = NODE_INIT(WRITE_FILE_REQUEST);
	NODE(WriteFileStart) start = NODE_INIT(WRITE_FILE_START);
	struct call *call = house_call(r->house, "WriteFile");
	struct grpc_status st;

	start.sandbox_id = (char *)id;
	start.path = BYTES(path);
	start.make_parents = true;
	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA;
	rq.data = BYTES(text);
	call_send(call, &rq.base);
	call_half_close(call);
	st = *call_wait(call);
	call_free(call);
	if (st.code != GRPC_OK)
		wrong(r, "WriteFile '%s': %s %s", path, grpc_code_str(st.code),
		      st.message);
}

#define FILE_CALL(r, name, NAME, lower, box_id, ...)                           \
	({                                                                     \
		NODE(name##Request) rq_ = NODE_INIT(NAME##_REQUEST);           \
		struct grpc_status st_;                                        \
		NODE(name##Response) * m_;                                     \
		rq_.sandbox_id = (char *)(box_id);                             \
		__VA_ARGS__;                                                   \
		m_ = ref_ask(r, #name, &rq_.base, D(lower##_response), &st_);  \
		if (!m_)                                                       \
			wrong(r, #name ": %s %s: %s", grpc_code_str(st_.code), \
			      st_.reason, st_.message);                        \
		m_;                                                            \
	})

static void list_and_search(struct ref *r, const char *id)
{
	NODE(ListDirectoryResponse) *l =
		FILE_CALL(r, ListDirectory, LIST_DIRECTORY, list_directory, id,
			  rq_.path = BYTES("d"), rq_.limit = 1);
	NODE(SearchFilesResponse) * s;

	if (l->n_entries != 1 || !l->has_more)
		wrong(r, "ListDirectory: %zu entries, more: %d", l->n_entries,
		      l->has_more);
	FREE(l);
	l = FILE_CALL(r, ListDirectory, LIST_DIRECTORY, list_directory, id,
		      rq_.path = BYTES("d"), rq_.after_name = BYTES("a"));
	if (l->n_entries != 1 || l->has_more)
		wrong(r, "ListDirectory: %zu entries after 'a'", l->n_entries);
	FREE(l);
	s = FILE_CALL(r, SearchFiles, SEARCH_FILES, search_files, id,
		      rq_.path = BYTES("d"), rq_.pattern = BYTES("t[w]o"));
	if (s->n_matches != 1 || s->matches[0]->line_number != 2)
		wrong(r, "SearchFiles: %zu matches", s->n_matches);
	FREE(s);
}

void step_files(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, REF_RUNNING);
	const char *id = box ? box->id : NULL;
	NODE(ReadFileResponse) * read;
	NODE(StatFileResponse) * st;

	if (!box)
		return;
	trace(r, "files in '%s'", id);
	write_file(r, id, "d/a", "one\ntwo\n");
	FREE(FILE_CALL(r, MakeDirectory, MAKE_DIRECTORY, make_directory, id,
		       rq_.path = BYTES("d/e/f"), rq_.make_parents = true));
	list_and_search(r, id);
	FREE(FILE_CALL(r, MoveFile, MOVE_FILE, move_file, id,
		       rq_.from_path = BYTES("d/a"),
		       rq_.to_path = BYTES("d/e/b")));
	st = FILE_CALL(r, StatFile, STAT_FILE, stat_file, id,
		       rq_.path = BYTES("d/e/b"));
	if (st->info->size_bytes != 8)
		wrong(r, "StatFile: %llu bytes",
		      (unsigned long long)st->info->size_bytes);
	FREE(st);
	read = FILE_CALL(r, ReadFile, READ_FILE, read_file, id,
			 rq_.path = BYTES("d/e/b"), rq_.offset = 4,
			 rq_.length = 3);
	if (read->data.len != 3 || memcmp(read->data.data, "two", 3) != 0)
		wrong(r, "ReadFile: %zu bytes", read->data.len);
	FREE(read);
	FREE(FILE_CALL(r, RemoveFile, REMOVE_FILE, remove_file, id,
		       rq_.path = BYTES("d"), rq_.recursive = true));
}

void step_watch(struct ref *r)
{
	NODE(WatchDirectoryRequest) rq = NODE_INIT(WATCH_DIRECTORY_REQUEST);
	struct ref_box *box = ref_box_any(r, REF_RUNNING);
	NODE(WatchDirectoryResponse) * m;
	struct call *call;
	bool seen = false;

	if (!box)
		return;
	trace(r, "watch in '%s'", box->id);
	rq.sandbox_id = box->id;
	rq.path = BYTES(".");
	rq.recursive = true;
	call = house_call(r->house, "WatchDirectory");
	call_send(call, &rq.base);
	call_half_close(call);
	/* The first message says that it has begun. */
	m = call_recv_message(call, D(watch_directory_response));
	if (!m)
		wrong(r, "WatchDirectory: %s", call_wait(call)->message);
	FREE(m);
	write_file(r, box->id, "watched", "x");
	while (!seen) {
		m = call_recv_message(call, D(watch_directory_response));
		if (!m)
			wrong(r, "the watch ended");
		seen = (m->path.len == 7 &&
			!memcmp(m->path.data, "watched", 7)) ||
		       (m->to_path.len == 7 &&
			!memcmp(m->to_path.data, "watched", 7));
		FREE(m);
	}
	call_free(call);
	FREE(FILE_CALL(r, RemoveFile, REMOVE_FILE, remove_file, box->id,
		       rq_.path = BYTES("watched")));
}

/* ---- ports, questions, nonsense ---- */

void step_port(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, 0);
	unsigned int bit = pick(r, 4);
	struct grpc_status st;

	if (!box)
		return;
	if (box->ports & 1u << bit) {
		NODE(ClosePortRequest) rq = NODE_INIT(CLOSE_PORT_REQUEST);
		NODE(ClosePortResponse) * m;

		rq.request_id = ref_request(r);
		rq.sandbox_id = box->id;
		rq.port = 8000 + bit;
		m = ref_mutate(r, "ClosePort", &rq.base, D(close_port_response),
			       &st);
		if (!m)
			wrong(r, "ClosePort: %s %s", st.reason, st.message);
		FREE(m);
		box->ports &= ~(1u << bit);
	} else {
		NODE(ExposePortRequest) rq = NODE_INIT(EXPOSE_PORT_REQUEST);
		NODE(ExposePortResponse) * m;

		rq.request_id = ref_request(r);
		rq.sandbox_id = box->id;
		rq.port = 8000 + bit;
		m = ref_mutate(r, "ExposePort", &rq.base,
			       D(expose_port_response), &st);
		if (!m)
			wrong(r, "ExposePort: %s %s", st.reason, st.message);
		FREE(m);
		box->ports |= 1u << bit;
	}
}

#define ASK(r, name, NAME, lower)                                              \
	do {                                                                   \
		NODE(name##Request) rq_ = NODE_INIT(NAME##_REQUEST);           \
		struct grpc_status st_;                                        \
		NODE(name##Response) *m_ = ref_ask(r, #name, &rq_.base,        \
						   D(lower##_response), &st_); \
		if (!m_)                                                       \
			wrong(r, #name ": %s %s", st_.reason, st_.message);    \
		FREE(m_);                                                      \
	} while (0)

void step_questions(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, 0);

	ASK(r, GetNode, GET_NODE, get_node);
	ASK(r, ListImages, LIST_IMAGES, list_images);
	ASK(r, ListTemplates, LIST_TEMPLATES, list_templates);
	if (!box)
		return;
	FREE(FILE_CALL(r, GetStats, GET_STATS, get_stats, box->id, (void)0));
	FREE(FILE_CALL(r, ListDenials, LIST_DENIALS, list_denials, box->id,
		       (void)0));
}

static void nobody(struct ref *r)
{
	NODE(PauseSandboxRequest) rq = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	NODE(ReadFileRequest) read = NODE_INIT(READ_FILE_REQUEST);
	struct grpc_status st;

	rq.sandbox_id = (char *)"nobody";
	rq.request_id = ref_request(r);
	ref_ask(r, "PauseSandbox", &rq.base, D(pause_sandbox_response), &st);
	ref_expect(r, &st, GRPC_NOT_FOUND, "SANDBOX_NOT_FOUND", "PauseSandbox");
	read.sandbox_id = (char *)"nobody";
	read.path = BYTES("/x");
	ref_ask(r, "ReadFile", &read.base, D(read_file_response), &st);
	ref_expect(r, &st, GRPC_NOT_FOUND, "SANDBOX_NOT_FOUND", "ReadFile");
}

void step_bad_input(struct ref *r)
{
	NODE(CreateSandboxRequest) rq = NODE_INIT(CREATE_SANDBOX_REQUEST);
	NODE(Resources) res = NODE_INIT(RESOURCES);
	struct ref_box *box = ref_box_any(r, 0);
	struct grpc_status st;

	nobody(r);
	rq.image = (char *)"debian:12";
	rq.resources = &res;
	res.cpu = 2;
	res.memory_mib = 2048;
	switch (pick(r, 5)) {
	case 0:
		res.cpu = 3;
		break;
	case 1:
		res.memory_mib = 2047;
		break;
	case 2:
		rq.workdir = (char *)"relative";
		break;
	case 3:
		rq.timeout_ms = 999;
		break;
	case 4:
		rq.sandbox_id = (char *)"Upper";
		break;
	}
	ref_ask(r, "CreateSandbox", &rq.base, D(create_sandbox_response), &st);
	ref_expect(r, &st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
		   "CreateSandbox of nonsense");
	rq = (NODE(CreateSandboxRequest))NODE_INIT(CREATE_SANDBOX_REQUEST);
	rq.image = (char *)"no-such";
	ref_ask(r, "CreateSandbox", &rq.base, D(create_sandbox_response), &st);
	ref_expect(r, &st, GRPC_NOT_FOUND, "IMAGE_NOT_FOUND",
		   "CreateSandbox of no image");
	if (!box)
		return;
	rq.image = (char *)"debian:12";
	rq.sandbox_id = box->id;
	ref_ask(r, "CreateSandbox", &rq.base, D(create_sandbox_response), &st);
	ref_expect(r, &st, GRPC_ALREADY_EXISTS, "ALREADY_EXISTS",
		   "CreateSandbox by an id that is taken");
}
