/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - a remote process with our terminal, streams and signals
 *
 * Theory of operation
 * ===================
 *
 * The session is over when the call has ended and both sinks are empty: the
 * last output must reach its reader before the exit status does. While a sink
 * is full the call is paused, which closes the peer's window; while the call
 * takes no more input the source is paused. So nothing here grows with what
 * the command prints or reads.
 *
 * Exec and AttachProcess differ in their first message only. What follows has
 * the same field numbers, and so the same wire and the same C layout; the
 * assertions below hold node.proto to that.
 */
#include "ctl/session.h"

#include "ctl/ctl.h"
#include "ctl/json.h"
#include "ctl/pump.h"
#include "ctl/term.h"

#include "base/loop.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define IN(v)  NODE_CASE(EXEC_REQUEST__INPUT, v)
#define OUT(v) NODE_CASE(ATTACH_PROCESS_RESPONSE__OUTPUT, v)
#define SAME(m, v)                                                             \
	static_assert((int)NODE_CASE(EXEC_##m, v) ==                           \
			      (int)NODE_CASE(ATTACH_PROCESS_##m, v),           \
		      "Exec and AttachProcess differ")
SAME(REQUEST__INPUT, STDIN);
SAME(REQUEST__INPUT, CLOSE_STDIN);
SAME(REQUEST__INPUT, SIGNAL);
SAME(REQUEST__INPUT, RESIZE);
SAME(RESPONSE__OUTPUT, STARTED);
SAME(RESPONSE__OUTPUT, STDOUT);
SAME(RESPONSE__OUTPUT, STDERR);
SAME(RESPONSE__OUTPUT, EXITED);
static_assert(offsetof(NODE(ExecResponse), started) ==
		      offsetof(NODE(AttachProcessResponse), started),
	      "Exec and AttachProcess differ");

/* So many SIGINTs in so short a time mean us, not the command. */
#define GIVE_UP_COUNT 3
#define GIVE_UP_MS    2000
/* With --json each stream is kept to be printed at the end; so much of it. */
#define CAPTURE_MAX (16u << 20)

static const int forwarded[] = { SIGINT,  SIGTERM, SIGQUIT, SIGUSR1,
				 SIGUSR2, SIGHUP,  SIGWINCH };
#define N_FORWARDED (sizeof(forwarded) / sizeof(forwarded[0]))

struct capture {
	uint8_t *data;
	size_t len;
	bool cut;
};

struct session {
	struct ctl *ctl;
	const struct session_params *params;
	struct rpc *rpc; /* NULL once over */
	struct sink *out, *err;
	struct source *in;
	sd_event_source *signals[N_FORWARDED];
	bool detach; /* leave as soon as it has started */

	struct grpc_status status;
	NODE(ProcessExited) * exited;
	uint32_t pid;
	int own_signal; /* the session is given up because of it */
	int write_error;
	uint64_t interrupts[GIVE_UP_COUNT]; /* when SIGINT came, a ring */
	unsigned int n_interrupts;
	struct capture captured[2];
};

/* ---- towards the process ---- */

static int send_input(struct session *s, NODE(ExecRequest) * req)
{
	return s->rpc ? rpc_send(s->rpc, &req->base) : -EPIPE;
}

static void on_stdin(struct source *source, const uint8_t *data, size_t len,
		     void *arg)
{
	struct session *s = arg;
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);

	req.input_case = IN(STDIN);
	req.stdin.data = (uint8_t *)(uintptr_t)data;
	req.stdin.len = len;
	if (send_input(s, &req) != 0)
		source_pause(source, true);
}

static void on_stdin_end(struct source *source, int errnum, void *arg)
{
	struct session *s = arg;
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);

	(void)source;
	if (errnum)
		fprintf(stderr, "sandboxctl: standard input: %s\r\n",
			strerror(errnum));
	req.input_case = IN(CLOSE_STDIN);
	req.close_stdin = 1;
	send_input(s, &req);
	s->in = source_free(s->in);
}

static const struct source_ops stdin_ops = {
	.data = on_stdin,
	.end = on_stdin_end,
};

static void send_size(struct session *s)
{
	NODE(PtySize) size = NODE_INIT(PTY_SIZE);
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);

	if (!s->params->tty)
		return;
	term_size(STDIN_FILENO, &size.rows, &size.columns);
	req.input_case = IN(RESIZE);
	req.resize = &size;
	send_input(s, &req);
}

static void give_up(struct session *s, int signal)
{
	s->own_signal = signal;
	if (s->rpc)
		rpc_cancel(s->rpc);
}

static bool is_impatient(struct session *s)
{
	uint64_t now = loop_now_ms();
	unsigned int i = s->n_interrupts++ % GIVE_UP_COUNT;
	uint64_t oldest;

	s->interrupts[i] = now;
	oldest = s->interrupts[(i + 1) % GIVE_UP_COUNT];
	return s->n_interrupts >= GIVE_UP_COUNT && now - oldest < GIVE_UP_MS;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si,
		     void *arg)
{
	struct session *s = arg;
	NODE(SignalInput) signal = NODE_INIT(SIGNAL_INPUT);
	NODE(ExecRequest) req = NODE_INIT(EXEC_REQUEST);

	(void)source;
	switch (si->ssi_signo) {
	case SIGWINCH:
		send_size(s);
		return 0;
	case SIGHUP: /* nobody is there to see the rest */
		give_up(s, SIGHUP);
		return 0;
	case SIGINT:
		if (is_impatient(s)) {
			give_up(s, SIGINT);
			return 0;
		}
		break;
	default:
		break;
	}
	if (!s->rpc) { /* only our own output is left to write */
		give_up(s, (int)si->ssi_signo);
		return 0;
	}
	signal.signal = si->ssi_signo;
	req.input_case = IN(SIGNAL);
	req.signal = &signal;
	send_input(s, &req);
	return 0;
}

/* ---- from the process ---- */

static void capture(struct capture *c, const NODE(OutputChunk) * chunk)
{
	size_t len = chunk->data.len;

	if (len > CAPTURE_MAX - c->len) {
		len = CAPTURE_MAX - c->len;
		c->cut = true;
	}
	c->data = xrealloc(c->data, c->len + len + 1, 1);
	if (len)
		memcpy(c->data + c->len, chunk->data.data, len);
	c->len += len;
}

static void take_output(struct session *s, int stream,
			const NODE(OutputChunk) * chunk)
{
	if (s->ctl->json) {
		capture(&s->captured[stream], chunk);
		return;
	}
	sink_write(stream ? s->err : s->out, chunk->data.data, chunk->data.len);
	if (sink_is_full(s->out) || sink_is_full(s->err))
		rpc_pause(s->rpc, true);
}

static void on_message(struct rpc *rpc, const ProtobufCMessage *m, void *arg)
{
	const NODE(AttachProcessResponse) *r =
		(const NODE(AttachProcessResponse) *)m;
	struct session *s = arg;

	(void)rpc;
	switch ((int)r->output_case) {
	case OUT(STARTED):
		s->pid = r->started->pid;
		if (s->detach)
			rpc_cancel(s->rpc);
		break;
	case OUT(STDOUT):
		take_output(s, 0, r->stdout);
		break;
	case OUT(STDERR):
		take_output(s, 1, r->stderr);
		break;
	case OUT(EXITED):
		free(s->exited);
		s->exited = xmemdup(r->exited, sizeof(*r->exited));
		/* The name is not needed, and not ours. */
		s->exited->signal_name = NULL;
		/* The node has said all; nothing more to say to it either. */
		if (s->in)
			source_pause(s->in, true);
		rpc_half_close(s->rpc);
		break;
	case OUT(LOST):
		fprintf(stderr,
			"sandboxctl: lost before it was read: %" PRIu64
			" bytes of stdout, %" PRIu64 " of stderr\r\n",
			r->lost->stdout_bytes, r->lost->stderr_bytes);
		break;
	default: /* of a newer node */
		break;
	}
}

static void on_rpc_writable(struct rpc *rpc, void *arg)
{
	struct session *s = arg;

	(void)rpc;
	if (s->in)
		source_pause(s->in, false);
}

static void on_done(struct rpc *rpc, const struct grpc_status *st, void *arg)
{
	struct session *s = arg;

	(void)rpc;
	s->rpc = NULL;
	s->status = *st;
	if (s->in)
		source_pause(s->in, true);
}

static const struct rpc_ops rpc_ops = {
	.message = on_message,
	.writable = on_rpc_writable,
	.done = on_done,
};

static void on_drained(struct sink *sink, void *arg)
{
	struct session *s = arg;

	(void)sink;
	if (s->rpc && !sink_is_full(s->out) && !sink_is_full(s->err))
		rpc_pause(s->rpc, false);
}

static void on_out_failed(struct sink *sink, int errnum, void *arg)
{
	struct session *s = arg;

	(void)sink;
	s->write_error = errnum;
	if (s->rpc)
		rpc_cancel(s->rpc);
}

/* The command goes on without anybody to read its stderr. */
static void on_err_failed(struct sink *sink, int errnum, void *arg)
{
	(void)errnum;
	on_drained(sink, arg);
}

static const struct sink_ops out_ops = {
	.drained = on_drained,
	.failed = on_out_failed,
};
static const struct sink_ops err_ops = {
	.drained = on_drained,
	.failed = on_err_failed,
};

/* ---- the whole ---- */

static void watch_signals(struct session *s)
{
	sd_event *event = loop_event(s->ctl->loop);
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < N_FORWARDED; i++)
		sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < N_FORWARDED; i++) {
		if (sd_event_add_signal(event, &s->signals[i], forwarded[i],
					on_signal, s) < 0)
			abort();
	}
}

static bool is_over(const struct session *s)
{
	if (s->rpc)
		return false;
	if (s->own_signal)
		return true;
	return (s->write_error || sink_is_empty(s->out)) &&
	       (sink_has_failed(s->err) || sink_is_empty(s->err));
}

static void print_json(struct session *s)
{
	NODE(ProcessExited) *e = s->exited;
	char name[16] = "";

	if (e->signal) {
		const char *abbrev = sigabbrev_np((int)e->signal);

		snprintf(name, sizeof(name), "SIG%s", abbrev ? abbrev : "?");
	}
	printf("{\"pid\":%u,\"exitCode\":%u,\"signal\":%u,\"signalName\":\"%"
	       "s\","
	       "\"durationMs\":\"%" PRIu64 "\",\"timedOut\":%s,\"stdout\":",
	       s->pid, e->exit_code, e->signal, name, e->duration_ms,
	       e->timed_out ? "true" : "false");
	json_base64(stdout, s->captured[0].data, s->captured[0].len);
	fputs(",\"stderr\":", stdout);
	json_base64(stdout, s->captured[1].data, s->captured[1].len);
	if (s->captured[0].cut || s->captured[1].cut)
		fputs(",\"truncated\":true", stdout);
	puts("}");
}

static int exit_status(struct session *s)
{
	if (s->own_signal)
		return 128 + s->own_signal;
	if (s->write_error == EPIPE)
		return 128 + SIGPIPE;
	if (s->write_error) {
		fprintf(stderr, "sandboxctl: standard output: %s\n",
			strerror(s->write_error));
		return CTL_REFUSED;
	}
	if (s->detach && s->pid) {
		printf(s->ctl->json ? "{\"pid\":%u}\n" : "%u\n", s->pid);
		return CTL_OK;
	}
	if (!s->exited) {
		if (s->status.code == GRPC_OK)
			grpc_status_set(&s->status, GRPC_INTERNAL, "",
					"the node did not tell how it ended");
		return ctl_status(s->ctl, &s->status);
	}
	if (s->ctl->json)
		print_json(s);
	else if (s->exited->timed_out)
		fprintf(stderr, "sandboxctl: killed: its time was over\n");
	if (s->exited->signal)
		return 128 + (int)s->exited->signal;
	return (int)s->exited->exit_code;
}

static void run_until_over(struct session *s)
{
	while (!is_over(s)) {
		if (sd_event_run(loop_event(s->ctl->loop), UINT64_MAX) < 0)
			abort();
	}
}

static void session_fini(struct session *s)
{
	term_restore();
	for (size_t i = 0; i < N_FORWARDED; i++)
		sd_event_source_disable_unref(s->signals[i]);
	source_free(s->in);
	sink_free(s->out);
	sink_free(s->err);
	free(s->exited);
	free(s->captured[0].data);
	free(s->captured[1].data);
}

int session_run(struct ctl *ctl, const struct session_params *params)
{
	struct session s = { .ctl = ctl, .params = params };
	struct error err = { 0 };
	int status = ctl_connect(ctl);

	if (status)
		return status;
	s.detach = options_has(ctl->options, "background");
	s.out = sink_new(ctl->loop, STDOUT_FILENO, &out_ops, &s);
	s.err = sink_new(ctl->loop, STDERR_FILENO, &err_ops, &s);
	watch_signals(&s);
	s.rpc = rpc_start(ctl->client, params->method, &rpc_ops, &s);
	if (!s.rpc) {
		grpc_status_set(&s.status, GRPC_UNAVAILABLE, "",
				"the connection is closing");
		session_fini(&s);
		return ctl_status(ctl, &s.status);
	}
	if (rpc_send(s.rpc, params->start) < 0)
		rpc_cancel(s.rpc);
	if (params->tty && term_raw(STDIN_FILENO, &err) < 0) {
		rpc_cancel(s.rpc);
		run_until_over(&s);
		session_fini(&s);
		return ctl_local(&err);
	}
	if (params->input)
		s.in = source_new(ctl->loop, STDIN_FILENO, &stdin_ops, &s);
	run_until_over(&s);
	term_restore();
	status = exit_status(&s);
	session_fini(&s);
	return status;
}
