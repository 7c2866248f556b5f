/* SPDX-License-Identifier: Apache-2.0 */
/* fake_front.c - front_link.h without a process: answers everything, later */
#include "fakes.h"

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/pb.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct answer {
	struct list link;
	front_answer_fn fn;
	void *arg;
	bool ok;
	struct error err;
	uint8_t *data;
	size_t len;
};

struct front_link {
	struct loop *loop;
	struct list answers;
	bool freed;
	unsigned int posts;
};

static void pump(void *arg)
{
	struct front_link *f = arg;

	f->posts--;
	while (!f->freed && !list_empty(&f->answers)) {
		struct answer *a =
			list_entry(f->answers.next, struct answer, link);

		list_del(&a->link);
		a->fn(a->ok ? NULL : &a->err, a->data, a->len, a->arg);
		free(a->data);
		free(a);
		break;
	}
	if (f->freed && f->posts == 0)
		free(f);
}

static struct answer *answer(struct front_link *f, const char *what,
			     front_answer_fn fn, void *arg)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	a->fn = fn;
	a->arg = arg;
	a->ok = !what || !world_call(what, &a->err);
	list_add_tail(&f->answers, &a->link);
	f->posts++;
	loop_post(f->loop, pump, f);
	return a;
}

static void up(void *arg)
{
	struct front_link *f = arg;

	f->posts--;
	if (!f->freed)
		world.front_ops->up(world.front_arg);
	else if (f->posts == 0)
		free(f);
}

int front_link_new(struct loop *loop, const struct front_link_config *config,
		   const struct front_link_ops *ops, void *arg,
		   struct front_link **ret, struct error *err)
{
	struct front_link *f = xcalloc(1, sizeof(*f));

	(void)config;
	(void)err;
	f->loop = loop;
	list_init(&f->answers);
	world.front_ops = ops;
	world.front_arg = arg;
	world.n_attached = 0;
	f->posts++;
	loop_post(loop, up, f);
	*ret = f;
	return 0;
}

struct front_link *front_link_free(struct front_link *f)
{
	struct error err;

	if (!f)
		return NULL;
	err_set(&err, ERR_UNAVAILABLE, "front is gone");
	f->freed = true;
	list_for_each(&f->answers, a, struct answer, link)
	{
		list_del(&a->link);
		a->fn(&err, NULL, 0, a->arg);
		free(a->data);
		free(a);
	}
	if (f->posts == 0)
		free(f);
	return NULL;
}

void front_link_reply(struct front_link *front, uint64_t id,
		      const struct error *err, const void *data, size_t len,
		      bool more)
{
	(void)front;
	if (more)
		return;
	world.answers++;
	world.answer_id = id;
	world.answer_ok = !err;
	if (id < sizeof(world.answered))
		world.answered[id] = err ? 2 : 1;
	if (err)
		world.answer_err = *err;
	free(world.answer);
	world.answer = xmemdup(data ? data : "", err ? 0 : len);
	world.answer_len = err ? 0 : len;
}

void front_link_setup(struct front_link *front, const uint8_t *message,
		      size_t len, const int *fds, size_t n_fds)
{
	(void)front;
	(void)message;
	(void)len;
	(void)fds;
	(void)n_fds;
}

void front_link_listen(struct front_link *front, bool tls, int fd)
{
	(void)front;
	(void)tls;
	(void)fd;
}

void front_link_events_grew(struct front_link *front, uint64_t newest)
{
	(void)front;
	(void)newest;
}

static size_t find(const char *key)
{
	size_t i = 0;

	while (i < world.n_attached && strcmp(world.attached_keys[i], key) != 0)
		i++;
	return i;
}

bool fake_front_has(const char *key)
{
	return find(key) < world.n_attached;
}

void front_link_attach(struct front_link *front, const uint8_t *message,
		       size_t len, int fd, front_answer_fn fn, void *arg)
{
	Sandbox__Ipc__V1__AttachAgent *m =
		sandbox__ipc__v1__attach_agent__unpack(NULL, len, message);

	close(fd);
	if (m->configure)
		world.configures++;
	if (!fake_front_has(m->sandbox_id) && world.n_attached < 64)
		strncpy(world.attached_keys[world.n_attached++], m->sandbox_id,
			79);
	pb_free(m);
	answer(front, "attach", fn, arg);
}

void front_link_detach(struct front_link *front, const char *key,
		       const char *reason, const char *text, front_answer_fn fn,
		       void *arg)
{
	size_t at = find(key);

	(void)reason;
	(void)text;
	if (at < world.n_attached)
		memcpy(world.attached_keys[at],
		       world.attached_keys[--world.n_attached], 80);
	answer(front, NULL, fn, arg);
}

void front_link_call(struct front_link *front, const char *key,
		     const char *method, const uint8_t *request, size_t len,
		     uint32_t deadline_ms, front_answer_fn fn, void *arg)
{
	Sandbox__Agent__V1__StatsResponse msg =
		SANDBOX__AGENT__V1__STATS_RESPONSE__INIT;
	struct answer *a;

	(void)key;
	(void)request;
	(void)len;
	(void)deadline_ms;
	world.thaws += !strcmp(method, "Thaw");
	a = answer(front, strcmp(method, "Stats") ? method : NULL, fn, arg);
	if (!strcmp(method, "Stats") && world.user_cpu) {
		msg.user_cpu_known = true;
		msg.memory_total_bytes = 4;
		msg.memory_available_bytes = 3;
		msg.disk_total_bytes = 2;
		msg.disk_free_bytes = 1;
		msg.processes = 5;
		msg.user_cpu_ms = world.user_cpu == 2 ? loop_now_ms() : 7;
		a->data = pb_pack(&msg.base, &a->len);
	}
}

void front_link_listen_port(struct front_link *front, const char *sandbox_id,
			    uint16_t port, uint32_t wait_ms, int fd,
			    front_answer_fn fn, void *arg)
{
	(void)sandbox_id;
	(void)port;
	(void)wait_ms;
	(void)fd;
	world.listening++;
	answer(front, "listen_port", fn, arg);
}

void front_link_unlisten_port(struct front_link *front, const char *sandbox_id,
			      uint16_t port, front_answer_fn fn, void *arg)
{
	(void)sandbox_id;
	(void)port;
	world.listening--;
	answer(front, NULL, fn, arg);
}

void front_link_count(struct front_link *front, front_answer_fn fn, void *arg)
{
	answer(front, NULL, fn, arg);
}

uint64_t front_link_restarts(const struct front_link *front)
{
	(void)front;
	return 0;
}
