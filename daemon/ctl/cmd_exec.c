/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_exec.c - exec, shell, ps, attach, kill */
#include "ctl/ctl.h"

#include "ctl/json.h"
#include "ctl/session.h"
#include "ctl/signame.h"
#include "ctl/term.h"
#include "ctl/text.h"

#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef NODE(ProcessSpec__EnvEntry) env_entry;

/* bash where there is one, and the image's sh where not. */
#define SHELL                                                                  \
	"if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"

/* @key is consumed. */
static void add_env(NODE(ProcessSpec) * p, char *key, const char *value)
{
	env_entry *e = xcalloc(1, sizeof(*e));

	sandbox__node__v1__process_spec__env_entry__init(e);
	e->key = key;
	e->value = xstrdup(value);
	p->env = xrealloc(p->env, p->n_env + 1, sizeof(*p->env));
	p->env[p->n_env++] = e;
}

static int fill_env(const struct options *o, NODE(ProcessSpec) * p,
		    struct error *err)
{
	const char *text;

	for (size_t i = 0; (text = options_nth(o, "env", i)); i++) {
		const char *value;
		char *key;

		if (options_env("env", text, &key, &value, err) < 0)
			return -1;
		add_env(p, key, value);
	}
	return 0;
}

static ProtobufCBinaryData copy_bytes(const char *s)
{
	ProtobufCBinaryData b = { .len = strlen(s) };

	b.data = xmemdup(s, b.len + 1);
	return b;
}

static void fill_pty(NODE(ProcessSpec) * p)
{
	const char *term = getenv("TERM");

	p->pty = xcalloc(1, sizeof(*p->pty));
	sandbox__node__v1__pty_size__init(p->pty);
	term_size(STDIN_FILENO, &p->pty->rows, &p->pty->columns);
	add_env(p, xstrdup("TERM"), term && *term ? term : "xterm");
}

static NODE(ExecRequest) * new_start(const struct ctl *ctl)
{
	NODE(ExecRequest) *req = xcalloc(1, sizeof(*req));
	NODE(ExecStart) *start = xcalloc(1, sizeof(*start));

	sandbox__node__v1__exec_request__init(req);
	sandbox__node__v1__exec_start__init(start);
	start->process = xcalloc(1, sizeof(*start->process));
	sandbox__node__v1__process_spec__init(start->process);
	req->input_case = NODE_CASE(EXEC_REQUEST__INPUT, START);
	req->start = start;
	start->sandbox_id = xstrdup(ctl_word(ctl, 0));
	return req;
}

static int cmd_exec(struct ctl *ctl)
{
	NODE(ExecRequest) *req = new_start(ctl);
	_cleanup_(message_freep) ProtobufCMessage *owned = &req->base;
	NODE(ProcessSpec) *p = req->start->process;
	const struct options *o = ctl->options;
	struct session_params params = { .method = "Exec", .start = owned };
	struct error err = { 0 };
	char **argv;

	if (fill_env(o, p, &err) < 0 ||
	    options_duration(o, "timeout", &p->timeout_ms, &err) < 0)
		return ctl_usage(&err);
	p->n_argv = options_rest(o, &argv);
	p->argv = xcalloc(p->n_argv, sizeof(*p->argv));
	for (size_t i = 0; i < p->n_argv; i++)
		p->argv[i] = copy_bytes(argv[i]);
	p->cwd = copy_bytes(ctl_option(ctl, "cwd"));
	p->user = xstrdup(ctl_option(ctl, "user"));
	p->background = options_has(o, "background");
	p->stdin = options_has(o, "interactive");
	if (options_has(o, "tty"))
		fill_pty(p);
	params.input = p->stdin;
	params.tty = p->pty && p->stdin && isatty(STDIN_FILENO);
	return session_run(ctl, &params);
}

static int cmd_shell(struct ctl *ctl)
{
	NODE(ExecRequest) *req = new_start(ctl);
	_cleanup_(message_freep) ProtobufCMessage *owned = &req->base;
	NODE(ProcessSpec) *p = req->start->process;
	struct session_params params = { .method = "Exec",
					 .start = owned,
					 .input = true };

	p->command = copy_bytes(SHELL);
	p->stdin = true;
	params.tty = isatty(STDIN_FILENO);
	if (params.tty)
		fill_pty(p);
	return session_run(ctl, &params);
}

static int parse_pid(const struct ctl *ctl, uint32_t *ret)
{
	struct error err = { 0 };
	uint64_t pid;

	if (str_parse_u64(ctl_word(ctl, 1), UINT32_MAX, &pid) < 0 || pid == 0) {
		err_set(&err, ERR_INVALID, "PID '%s': a number is needed",
			ctl_word(ctl, 1));
		return ctl_usage(&err);
	}
	*ret = (uint32_t)pid;
	return 0;
}

/* Whether the process is on a terminal; 0 or an exit status. */
static int find_pty(struct ctl *ctl, uint32_t pid, bool *ret)
{
	NODE(ListProcessesRequest) req = NODE_INIT(LIST_PROCESSES_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListProcessesResponse) * r;
	struct grpc_status st = { 0 };

	req.sandbox_id = ctl_word(ctl, 0);
	m = client_unary(ctl->client, "ListProcesses", &req.base, &st);
	if (!m)
		return ctl_status(ctl, &st);
	r = (const NODE(ListProcessesResponse) *)m;
	for (size_t i = 0; i < r->n_processes; i++) {
		if (r->processes[i]->pid == pid)
			*ret = r->processes[i]->has_pty;
	}
	return 0;
}

static int cmd_attach(struct ctl *ctl)
{
	NODE(AttachProcessRequest) req = NODE_INIT(ATTACH_PROCESS_REQUEST);
	NODE(AttachStart) start = NODE_INIT(ATTACH_START);
	const struct options *o = ctl->options;
	struct session_params params = { .method = "AttachProcess",
					 .start = &req.base };
	struct error err = { 0 };
	bool pty = false;
	int status;

	status = parse_pid(ctl, &start.pid);
	if (status)
		return status;
	if (options_u64(o, "offset", &start.stdout_offset, &err) < 0 ||
	    options_u64(o, "stderr-offset", &start.stderr_offset, &err) < 0)
		return ctl_usage(&err);
	status = ctl_connect(ctl);
	if (!status)
		status = find_pty(ctl, start.pid, &pty);
	if (status)
		return status;
	start.sandbox_id = ctl_word(ctl, 0);
	start.from_now =
		!options_has(o, "offset") && !options_has(o, "stderr-offset");
	req.input_case = NODE_CASE(ATTACH_PROCESS_REQUEST__INPUT, START);
	req.start = &start;
	params.tty = pty && isatty(STDIN_FILENO);
	params.input = params.tty || options_has(o, "interactive");
	return session_run(ctl, &params);
}

static int cmd_kill(struct ctl *ctl)
{
	NODE(SignalProcessRequest) req = NODE_INIT(SIGNAL_PROCESS_REQUEST);
	const char *name = options_get(ctl->options, "signal");
	struct error err = { 0 };
	int status;

	status = parse_pid(ctl, &req.pid);
	if (status)
		return status;
	if (signame_parse(name ? name : "TERM", &req.signal, &err) < 0) {
		err_wrap(&err, "--signal");
		return ctl_usage(&err);
	}
	req.sandbox_id = ctl_word(ctl, 0);
	return ctl_simple(ctl, "SignalProcess", &req.base);
}

/* argv as one line, cut where it gets long. */
static char *command_line(const NODE(Process) * p)
{
	_cleanup_free_ char *raw = NULL;
	size_t size;
	FILE *out;

	if (p->n_argv == 0)
		return text_safe_bytes(&p->command);
	out = open_memstream(&raw, &size);
	if (!out)
		abort();
	for (size_t i = 0; i < p->n_argv; i++) {
		if (i)
			fputc(' ', out);
		fwrite(p->argv[i].data, 1, p->argv[i].len, out);
	}
	fclose(out);
	return text_safe(raw, size);
}

static void print_processes(const NODE(ListProcessesResponse) * r)
{
	static const char *const head[] = { "PID",     "STATE",	 "USER",
					    "STARTED", "OUTPUT", "COMMAND",
					    NULL };
	struct table *t = table_new(head);
	char time[CTL_TIME_MAX];
	char size[TEXT_SIZE_MAX];

	for (size_t i = 0; i < r->n_processes; i++) {
		const NODE(Process) *p = r->processes[i];
		_cleanup_free_ char *line = command_line(p);

		table_cell(t, "%u", p->pid);
		if (!p->exited)
			table_cell(t, "running%s", p->background ? " &" : "");
		else if (p->exited->signal)
			table_cell(t, "%s", p->exited->signal_name);
		else
			table_cell(t, "exit %u", p->exited->exit_code);
		table_cell(t, "%s", p->user);
		table_cell(t, "%s", ctl_time(time, p->started_at));
		table_cell(t, "%s",
			   text_size(size, p->stdout_end + p->stderr_end));
		table_cell(t, "%s", line);
	}
	table_print(t, stdout);
	table_free(t);
}

static int cmd_ps(struct ctl *ctl)
{
	NODE(ListProcessesRequest) req = NODE_INIT(LIST_PROCESSES_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "ListProcesses", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json)
		ctl_print_json(m);
	else
		print_processes((const NODE(ListProcessesResponse) *)m);
	return CTL_OK;
}

static const struct option_def exec_options[] = {
	{ "cwd", 0, "D", false, "where it starts" },
	{ "env", 0, "K=V", true, "added to the sandbox's environment" },
	{ "user", 0, "U", false, "name or uid[:gid] in the image" },
	{ "timeout", 0, "DUR", false, "killed after this long" },
	{ "interactive", 'i', NULL, false, "send it our standard input" },
	{ "tty", 't', NULL, false, "run it on a terminal" },
	{ "background", 0, NULL, false, "leave it running, print its pid" },
	{ 0 },
};

static const struct option_def attach_options[] = {
	{ "offset", 0, "N", false, "from this byte of its output on" },
	{ "stderr-offset", 0, "N", false, "the same for stderr (0)" },
	{ "interactive", 'i', NULL, false, "send it our standard input" },
	{ 0 },
};

static const struct option_def kill_options[] = {
	{ "signal", 0, "S", false, "name or number (TERM)" },
	{ 0 },
};

const struct command exec_commands[] = {
	{ "exec", "ID [OPTIONS] -- CMD [ARG..]",
	  "run a command; exit with its status", 1, 1, true, exec_options,
	  cmd_exec },
	{ "shell", "ID", "an interactive shell", 1, 1, false, NULL, cmd_shell },
	{ "ps", "ID", "list its processes", 1, 1, false, NULL, cmd_ps },
	{ "attach", "ID PID [--offset N]", "join a process again", 2, 2, false,
	  attach_options, cmd_attach },
	{ "kill", "ID PID [--signal S]", "send a signal", 2, 2, false,
	  kill_options, cmd_kill },
	{ 0 },
};
