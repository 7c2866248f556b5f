/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - a call that is served by blocking code, on a thread of its own
 *
 * Theory of operation
 *
 * A task is shared by the loop and its thread; two queues, a few flags and the
 * lock lie between them. It is freed when both are through with it: the call is
 * done (loop side) and the thread has posted its end. The thread is detached
 * and touches the task no more after that post.
 *
 * The thread wakes the loop by posting task_pump(), at most one post at a time.
 * The loop wakes the thread by the condition, and when the call is over also by
 * the eventfd, which stays readable.
 */
#include "task.h"

#include "agent.h"
#include "loop.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "grpc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define STACK_SIZE (512u << 10)

struct message {
	struct list item;
	size_t len;
	uint8_t data[];
};

struct queue {
	struct list messages;
	size_t bytes;
};

struct task {
	struct list item; /* in agent->tasks_waiting */
	struct agent *agent;
	task_fn fn;
	char workdir[PATH_MAX];
	char user[USER_NAME_MAX];

	/* The loop's: */
	struct grpc_call *call; /* NULL: done */
	bool started;
	bool thread_over;
	bool blocked; /* wait for writable */
	bool paused;
	int rc;
	struct error err;

	/* Of both, under the lock: */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct queue in, out;
	bool in_end;
	bool cancelled;
	bool posted;
	int cancel_fd;
};

static void queue_put(struct queue *q, const uint8_t *data, size_t len)
{
	struct message *m = xcalloc(1, sizeof(*m) + len);

	m->len = len;
	if (len)
		memcpy(m->data, data, len);
	list_add_tail(&q->messages, &m->item);
	q->bytes += len + sizeof(*m);
}

static struct message *queue_take(struct queue *q)
{
	struct message *m;

	if (list_empty(&q->messages))
		return NULL;
	m = list_entry(q->messages.next, struct message, item);
	list_del(&m->item);
	q->bytes -= m->len + sizeof(*m);
	return m;
}

static void queue_clear(struct queue *q)
{
	struct message *m;

	while ((m = queue_take(q)))
		free(m);
}

static void start_waiting(struct agent *agent);

static void task_free_if_over(struct task *t)
{
	if (t->call || (t->started && !t->thread_over))
		return;
	list_del(&t->item);
	queue_clear(&t->in);
	queue_clear(&t->out);
	fd_close(&t->cancel_fd);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->changed);
	free(t);
}

/* ---- the loop's side ---- */

static struct message *take_out(struct task *t)
{
	struct message *m;

	pthread_mutex_lock(&t->lock);
	m = queue_take(&t->out);
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	return m;
}

/* Move answers to the connection, then the end if it has come. */
static void pump_out(struct task *t)
{
	struct grpc_status st = { .code = GRPC_OK };
	struct message *m;

	while (t->call && !t->blocked && (m = take_out(t))) {
		/* Not "blocked = send() > 0", which is one SETG to memory: see
		 * tests/agent/emulated.sh.
		 */
		if (grpc_call_send(t->call, m->data, m->len) == 1)
			t->blocked = true;
		free(m);
	}
	if (!t->call || !t->thread_over || t->blocked)
		return;
	if (t->rc < 0)
		agent_status(&st, &t->err);
	grpc_call_finish(t->call, &st);
}

static void pump_in(struct task *t)
{
	bool full;

	pthread_mutex_lock(&t->lock);
	full = t->in.bytes >= TASK_QUEUE_MAX;
	pthread_mutex_unlock(&t->lock);
	if (t->call && full != t->paused) {
		t->paused = full;
		grpc_call_pause(t->call, full);
	}
}

static void task_pump(void *arg)
{
	struct task *t = arg;

	pthread_mutex_lock(&t->lock);
	t->posted = false;
	pthread_mutex_unlock(&t->lock);
	pump_in(t);
	pump_out(t);
}

static void on_thread_over(void *arg)
{
	struct task *t = arg;

	t->thread_over = true;
	t->agent->n_tasks--;
	start_waiting(t->agent);
	pump_out(t);
	task_free_if_over(t);
}

static void *thread_main(void *arg)
{
	struct task *t = arg;

	t->rc = t->fn(t, &t->err);
	loop_post(t->agent->loop, on_thread_over, t);
	return NULL;
}

/* All signals are blocked in the agent, and so in its threads. */
static int start_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t id;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&id, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return r;
}

struct work {
	struct loop *loop;
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void *work_main(void *arg)
{
	struct work *w = arg;

	w->run(w->arg);
	loop_post(w->loop, w->done, w->arg);
	free(w);
	return NULL;
}

int task_work(struct loop *loop, void (*run)(void *arg),
	      void (*done)(void *arg), void *arg)
{
	struct work *w = xcalloc(1, sizeof(*w));

	*w = (struct work){
		.loop = loop,
		.run = run,
		.done = done,
		.arg = arg,
	};
	if (start_thread(work_main, w) != 0) {
		free(w);
		return -1;
	}
	return 0;
}

static void start_waiting(struct agent *agent)
{
	list_for_each(&agent->tasks_waiting, t, struct task, item)
	{
		if (agent->n_tasks >= TASKS_MAX)
			return;
		list_del(&t->item);
		t->started = true;
		agent->n_tasks++;
		if (start_thread(thread_main, t) != 0) {
			t->rc = err_set(&t->err, ERR_LIMIT,
					"the guest has no room for a thread");
			t->thread_over = true;
			agent->n_tasks--;
			pump_out(t);
		}
	}
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	struct task *t = arg;

	(void)call;
	pthread_mutex_lock(&t->lock);
	queue_put(&t->in, data, len);
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	pump_in(t);
	if (!t->started && list_empty(&t->item)) {
		list_add_tail(&t->agent->tasks_waiting, &t->item);
		start_waiting(t->agent);
	}
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct grpc_status st;
	struct task *t = arg;

	pthread_mutex_lock(&t->lock);
	t->in_end = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	if (t->started || !list_empty(&t->item))
		return;
	grpc_status_set(&st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
			"a request is missing");
	grpc_call_finish(call, &st);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct task *t = arg;

	(void)call;
	t->blocked = false;
	pump_out(t);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct task *t = arg;
	uint64_t one = 1;

	(void)call;
	(void)st;
	t->call = NULL;
	pthread_mutex_lock(&t->lock);
	t->cancelled = true;
	queue_clear(&t->out);
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	if (write(t->cancel_fd, &one, sizeof(one)) < 0)
		agent_log("cannot wake a task: %s", strerror(errno));
	task_free_if_over(t);
}

static const struct grpc_call_ops ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

void task_accept(struct agent *agent, struct grpc_call *call, task_fn fn)
{
	struct grpc_status st;
	struct task *t;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0) {
		grpc_status_set(&st, GRPC_RESOURCE_EXHAUSTED,
				"RESOURCE_EXHAUSTED", "no descriptor left");
		grpc_call_finish(call, &st);
		return;
	}
	t = xcalloc(1, sizeof(*t));
	list_init(&t->item);
	list_init(&t->in.messages);
	list_init(&t->out.messages);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	t->agent = agent;
	t->fn = fn;
	t->call = call;
	t->cancel_fd = fd;
	strcpy(t->workdir, agent->id.workdir);
	strcpy(t->user, agent->id.user);
	grpc_call_accept(call, &ops, t);
}

/* ---- the thread's side ---- */

const char *task_workdir(const struct task *t)
{
	return t->workdir;
}

const char *task_user(const struct task *t)
{
	return t->user;
}

/* With the lock held. */
static void wake_loop(struct task *t)
{
	if (t->posted)
		return;
	t->posted = true;
	loop_post(t->agent->loop, task_pump, t);
}

int task_recv(struct task *t, uint8_t **ret, size_t *ret_len)
{
	struct message *m = NULL;
	int r;

	pthread_mutex_lock(&t->lock);
	while (!t->cancelled && !t->in_end && list_empty(&t->in.messages))
		pthread_cond_wait(&t->changed, &t->lock);
	if (!t->cancelled && (m = queue_take(&t->in)))
		wake_loop(t);
	r = t->cancelled ? -ECANCELED : m != NULL;
	pthread_mutex_unlock(&t->lock);
	if (r == 1) {
		*ret = xmemdup(m->data, m->len);
		*ret_len = m->len;
	}
	free(m);
	return r;
}

void *task_recv_message(struct task *t, const ProtobufCMessageDescriptor *type,
			struct error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	ProtobufCMessage *msg;
	size_t len;
	int r;

	r = task_recv(t, &data, &len);
	if (r < 0) {
		err_set(err, ERR_CANCELLED, "the call is over");
		return NULL;
	}
	if (r == 0) {
		err_set(err, ERR_INVALID, "a request is missing");
		return NULL;
	}
	msg = protobuf_c_message_unpack(type, NULL, len, data);
	if (!msg)
		err_set(err, ERR_INVALID, "the message is no %s", type->name);
	return msg;
}

int task_send_bytes(struct task *t, const uint8_t *data, size_t len)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->cancelled && t->out.bytes >= TASK_QUEUE_MAX)
		pthread_cond_wait(&t->changed, &t->lock);
	if (t->cancelled) {
		r = -ECANCELED;
	} else {
		queue_put(&t->out, data, len);
		wake_loop(t);
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

int task_send(struct task *t, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(msg, data);
	return task_send_bytes(t, data, len);
}

bool task_cancelled(struct task *t)
{
	bool r;

	pthread_mutex_lock(&t->lock);
	r = t->cancelled;
	pthread_mutex_unlock(&t->lock);
	return r;
}

int task_cancel_fd(const struct task *t)
{
	return t->cancel_fd;
}
