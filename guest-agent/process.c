/* SPDX-License-Identifier: Apache-2.0 */
/* process.c - the processes that the node started: their life
 *
 * Theory of operation
 *
 * STARTING until the report pipe says that exec worked, then RUNNING. When the
 * main process dies it is DRAINING: what its pipes hold at that moment is still
 * its output, and is read even if slowly, because a client is slow. What others
 * that it left behind write later is not: they may live for ever. When all is
 * read it is EXITED, and clients get the exit as the last message.
 *
 * pid is ours to signal until it is reaped, which happens only here. After that
 * only the cgroup is.
 *
 * process_io.c has the descriptors; this file the states.
 */
#include "process.h"

#include "agent.h"
#include "exits.h"
#include "cgroup.h"
#include "env.h"
#include "loop.h"
#include "process_io.h"
#include "pty.h"
#include "request.h"
#include "spawn.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void process_free(struct process *p)
{
	if (p->state != PROCESS_STARTING)
		p->agent->n_processes--;
	if (p->state == PROCESS_STARTING || p->state == PROCESS_RUNNING)
		p->agent->n_running--;
	cgroup_remove(p->agent, p->io->serial);
	process_io_free(p->io);
	ring_fini(&p->ring[PROCESS_STDOUT]);
	ring_fini(&p->ring[PROCESS_STDERR]);
	process_request_fini(p->request);
	free(p->request);
	list_del(&p->item);
	free(p);
}

/* ---- forgetting ---- */

static bool is_forgettable(const struct process *p)
{
	return p->state == PROCESS_EXITED && p->n_clients == 0;
}

/* The oldest exited one that nobody watches; those whose exit was taken first.
 */
static struct process *oldest(struct agent *agent, bool taken)
{
	list_for_each(&agent->processes, p, struct process,
		      item) if (is_forgettable(p) &&
				(!taken || p->io->taken_ms)) return p;
	return NULL;
}

static void forget_one(struct agent *agent)
{
	struct process *p = oldest(agent, true);

	if (!p)
		p = oldest(agent, false);
	if (p)
		process_free(p);
}

/* Keep within the numbers above and the memory that rings may have. */
static void forget_old(struct agent *agent)
{
	uint64_t now = loop_now_ms(agent->loop);
	unsigned int exited = 0, taken = 0;

	list_for_each(&agent->processes, p, struct process, item)
	{
		if (is_forgettable(p) && p->io->taken_ms &&
		    now - p->io->taken_ms >= PROCESS_TAKEN_MS) {
			process_free(p);
			continue;
		}
		exited += p->state == PROCESS_EXITED;
		taken += p->state == PROCESS_EXITED && p->io->taken_ms != 0;
	}
	for (; exited > PROCESS_EXITED_MAX || taken > PROCESS_TAKEN_MAX;
	     exited--) {
		forget_one(agent);
		taken -= taken != 0;
	}
	while (agent->ring_budget.used > agent->ring_budget.max / 4 * 3 &&
	       oldest(agent, false))
		forget_one(agent);
}

/* ---- clients ---- */

static void update_clients(struct process *p)
{
	list_for_each(&p->io->clients, c, struct process_client, item)
		c->update(c);
}

static bool a_client_is_blocked(const struct process *p)
{
	list_for_each(&p->io->clients, c, struct process_client,
		      item) if (c->blocked) return true;
	return false;
}

void process_client_changed(struct process *p)
{
	/* Who is slow slows the process down, but not one in the background:
	 * its life must not hang on a client's.
	 */
	process_io_hold(p->io,
			!p->request->background && a_client_is_blocked(p));
}

int process_attach(struct process *p, struct process_client *client,
		   struct error *err)
{
	if (p->n_clients >= PROCESS_CLIENTS_MAX)
		return err_set(err, ERR_LIMIT,
			       "process %d has %u clients already", p->pid,
			       PROCESS_CLIENTS_MAX);
	list_add_tail(&p->io->clients, &client->item);
	p->n_clients++;
	return 0;
}

void process_detach(struct process *p, struct process_client *client,
		    bool took_exit)
{
	struct agent *agent = p->agent;

	list_del(&client->item);
	p->n_clients--;
	if (took_exit)
		p->io->taken_ms = loop_now_ms(agent->loop);
	process_client_changed(p);
	forget_old(agent);
}

/* ---- the end ---- */

static void kill_all(struct process *p)
{
	if (cgroup_kill(p->io->cgroup_fd))
		return;
	if (p->state == PROCESS_STARTING || p->state == PROCESS_RUNNING)
		kill(-p->pid, SIGKILL);
}

static void on_timeout(void *arg)
{
	struct process *p = arg;

	if (p->state != PROCESS_RUNNING && p->state != PROCESS_STARTING)
		return;
	p->exit.timed_out = true;
	kill_all(p);
}

/* process_io.c: the streams are at their ends, or what was in them is read. */
static void on_drained(void *arg)
{
	struct process *p = arg;

	if (p->state != PROCESS_DRAINING)
		return;
	p->state = PROCESS_EXITED;
	update_clients(p);
	exits_add(p->agent->exits, p->pid,
		  p->request->is_command ? "sh" : p->request->argv[0],
		  &p->exit);
	forget_old(p->agent);
}

static void on_output(void *arg)
{
	update_clients(arg);
}

static void on_stdin_ready(void *arg)
{
	struct process *p = arg;

	list_for_each(&p->io->clients, c, struct process_client, item)
		c->stdin_ready(c);
}

static void set_exit(struct process *p, int status)
{
	p->exit.duration_ms = loop_now_ms(p->agent->loop) - p->io->started_ms;
	if (WIFSIGNALED(status)) {
		p->exit.signal = (uint32_t)WTERMSIG(status);
		p->exit.code = 128 + p->exit.signal;
	} else {
		p->exit.code = (uint32_t)WEXITSTATUS(status);
	}
	/* It may have ended just before the kill. */
	if (p->exit.signal != SIGKILL)
		p->exit.timed_out = false;
}

/* ---- the begin ---- */

/* False: it did not start and is gone. */
static bool take_report(struct process *p)
{
	struct spawn s = { .argv = p->request->argv, .cwd = p->request->cwd };
	struct agent *agent = p->agent;
	struct error err;
	int r = spawn_report(p->io->report_fd, &s, &err);

	if (r == -EAGAIN)
		return true;
	process_io_report_end(p->io);
	if (r == 0) {
		p->state = PROCESS_RUNNING;
		agent->n_processes++;
		update_clients(p);
		return true;
	}
	list_for_each(&p->io->clients, c, struct process_client, item)
	{
		list_del(&c->item);
		p->n_clients--;
		c->failed(c, &err);
	}
	process_free(p);
	return false;
}

static void on_report(void *arg)
{
	take_report(arg);
}

static const struct process_io_ops io_ops = {
	.report = on_report,
	.output = on_output,
	.stdin_ready = on_stdin_ready,
	.drained = on_drained,
	.timeout = on_timeout,
};

/* Give up a record of the same number: the kernel uses it again. */
static void forget_pid(struct agent *agent, pid_t pid)
{
	list_for_each(&agent->processes, p, struct process,
		      item) if (p->pid == pid && is_forgettable(p))
	{
		process_free(p);
		return;
	}
}

static pid_t spawn(struct process *p, const struct user *user,
		   struct process_io_ends *ends, struct error *err)
{
	struct process_request *rq = p->request;
	char **env = env_default(user, rq->pty);
	struct spawn s;
	pid_t pid;

	env_merge(&env, p->agent->id.env);
	env_merge(&env, rq->env);
	s = (struct spawn){
		.argv = rq->argv,
		.env = env,
		.cwd = rq->cwd,
		.user = user,
		.in = rq->wants_stdin ? ends->in : p->agent->null_fd,
		.out = ends->out,
		.errors = ends->err,
		.terminal = ends->terminal,
		.cgroup_fd = p->io->cgroup_fd,
		.keep_oom = !p->agent->is_init,
	};
	pid = spawn_start(&s, &p->io->report_fd, err);
	env_free(env);
	return pid;
}

static int start(struct process *p, const struct user *user, struct error *err)
{
	struct process_io_ends ends;
	int r = process_io_open(p->io, p->request, &ends, err);

	if (r == 0) {
		p->pid = spawn(p, user, &ends, err);
		process_io_ends_close(&ends);
		r = p->pid < 0 ? -1 : 0;
	}
	if (r == 0)
		r = process_io_begin(p->io, p->request->timeout_ms, err);
	if (r < 0 && p->pid > 0) {
		/* It may be no group's leader yet. */
		kill(p->pid, SIGKILL);
		kill_all(p);
	}
	return r;
}

struct process *process_start(struct agent *agent,
			      struct process_request *request,
			      struct process_client *client, struct error *err)
{
	_cleanup_free_ struct user *user = xcalloc(1, sizeof(*user));
	struct process *p;

	forget_old(agent);
	if (agent->n_running >= agent->processes_max) {
		process_request_fini(request);
		err_set(err, ERR_LIMIT, "%u processes run already",
			agent->n_running);
		return NULL;
	}
	if (user_lookup(request->user, user, err) < 0) {
		if (err)
			snprintf(err->field, sizeof(err->field),
				 "process.user");
		process_request_fini(request);
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->agent = agent;
	p->request = xmemdup(request, sizeof(*request));
	snprintf(p->user, sizeof(p->user), "%s",
		 request->user[0] ? request->user : "root");
	clock_gettime(CLOCK_REALTIME, &p->started_at);
	for (int i = 0; i < PROCESS_STREAMS; i++)
		ring_init(&p->ring[i], agent->ring_bytes, &agent->ring_budget);
	p->io = process_io_new(agent, p->ring, &io_ops, p);
	p->io->serial = ++agent->process_serial;
	p->io->cgroup_fd = cgroup_make(agent, p->io->serial);
	list_add_tail(&agent->processes, &p->item);
	agent->n_running++;
	if (start(p, user, err) < 0) {
		process_free(p);
		return NULL;
	}
	forget_pid(agent, p->pid);
	process_attach(p, client, NULL);
	return p;
}

/* ---- from outside ---- */

struct process *process_find(struct agent *agent, uint32_t pid,
			     struct error *err)
{
	list_for_each(&agent->processes, p, struct process,
		      item) if (p->pid == (pid_t)pid &&
				p->state != PROCESS_STARTING) return p;
	err_set(err, ERR_NOT_FOUND, "there is no process %u", pid);
	err_reason(err, "PROCESS_NOT_FOUND", "pid");
	return NULL;
}

bool process_write(struct process *p, const uint8_t *data, size_t len)
{
	return process_io_write(p->io, data, len);
}

void process_close_stdin(struct process *p)
{
	process_io_close_stdin(p->io);
}

bool process_stdin_is_full(const struct process *p)
{
	return process_io_stdin_is_full(p->io);
}

int process_signal(struct process *p, uint32_t signal, struct error *err)
{
	bool alive = p->state == PROCESS_RUNNING;

	/* Also what an exited one has left behind. */
	if (signal == SIGKILL &&
	    (alive || cgroup_is_populated(p->io->cgroup_fd))) {
		kill_all(p);
		return 0;
	}
	if (!alive)
		return err_set(err, ERR_CONFLICT, "process %d has exited",
			       p->pid);
	if (kill(-p->pid, (int)signal) < 0 && errno != ESRCH)
		return err_sys(err, errno, "signal process %d", p->pid);
	return 0;
}

int process_resize(struct process *p, uint16_t rows, uint16_t columns,
		   struct error *err)
{
	if (!p->request->pty)
		return err_field(err, "resize", "process %d has no terminal",
				 p->pid);
	if (p->io->terminal >= 0)
		pty_resize(p->io->terminal, rows, columns);
	return 0;
}

static struct process *find_living(struct agent *agent, pid_t pid)
{
	list_for_each(&agent->processes, p, struct process,
		      item) if (p->pid == pid &&
				(p->state == PROCESS_STARTING ||
				 p->state == PROCESS_RUNNING)) return p;
	return NULL;
}

static void on_death(struct process *p, int status)
{
	if (p->state == PROCESS_STARTING && !take_report(p))
		return;
	if (p->state == PROCESS_STARTING)
		return; /* cannot be: the dead hold no pipe */
	p->state = PROCESS_DRAINING;
	p->agent->n_running--;
	set_exit(p, status);
	process_io_drain(p->io);
}

void process_reap(struct agent *agent)
{
	struct process *p;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		p = find_living(agent, pid);
		if (p)
			on_death(p, status);
	}
	cgroup_tend_soon(agent);
}
