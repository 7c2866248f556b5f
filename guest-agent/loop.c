/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - the agent's event loop: descriptors, timers, and a door for threads
 *
 * Theory of operation
 *
 * epoll hands out pointers to struct loop_fd. A callback may free a watch whose
 * event is still in the batch at hand, so a freed watch is only marked and kept
 * on a list of the dead until the batch is through.
 *
 * Timers are a list: there are a few per process and connection, and a walk is
 * cheaper than being clever about it.
 */
#include "loop.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

struct loop_fd {
	struct list item; /* in loop->dead, once freed */
	struct loop *loop;
	int fd;
	uint32_t events;
	bool on;
	bool freed;
	loop_fd_fn fn;
	void *arg;
};

struct loop_timer {
	struct list item;
	struct loop *loop;
	uint64_t at_ms;
	loop_fn fn;
	void *arg;
};

struct post {
	struct list item;
	loop_fn fn;
	void *arg;
};

struct loop {
	int epoll_fd;
	int door_fd;
	struct loop_fd *door;
	struct list timers;
	struct list dead;
	uint64_t now_ms;
	bool stop;
	loop_fn after;
	void *after_arg;

	pthread_mutex_t lock; /* of what follows */
	struct list posts;
};

uint64_t loop_clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct post *take_post(struct loop *loop)
{
	struct post *p = NULL;

	pthread_mutex_lock(&loop->lock);
	if (!list_empty(&loop->posts)) {
		p = list_entry(loop->posts.next, struct post, item);
		list_del(&p->item);
	}
	pthread_mutex_unlock(&loop->lock);
	return p;
}

static void on_door(uint32_t events, void *arg)
{
	struct loop *loop = arg;
	struct post *p;
	uint64_t n;

	(void)events;
	if (read(loop->door_fd, &n, sizeof(n)) < 0)
		return;
	while ((p = take_post(loop))) {
		p->fn(p->arg);
		free(p);
	}
}

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));

	list_init(&loop->timers);
	list_init(&loop->dead);
	list_init(&loop->posts);
	pthread_mutex_init(&loop->lock, NULL);
	loop->now_ms = loop_clock_ms();
	loop->door_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->door_fd >= 0 && loop->epoll_fd >= 0)
		loop->door = loop_fd_new(loop, loop->door_fd, EPOLLIN, on_door,
					 loop);
	if (!loop->door)
		return loop_free(loop);
	return loop;
}

static void bury(struct loop *loop)
{
	list_for_each(&loop->dead, w, struct loop_fd, item)
	{
		list_del(&w->item);
		free(w);
	}
}

struct loop *loop_free(struct loop *loop)
{
	struct post *p;
	int saved = errno;

	if (!loop)
		return NULL;
	loop_fd_free(loop->door);
	bury(loop);
	while ((p = take_post(loop)))
		free(p);
	fd_close(&loop->door_fd);
	fd_close(&loop->epoll_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
	errno = saved;
	return NULL;
}

static int next_timeout(struct loop *loop)
{
	uint64_t next = LOOP_NEVER;

	list_for_each(&loop->timers, t, struct loop_timer,
		      item) if (t->at_ms < next) next = t->at_ms;
	if (next == LOOP_NEVER)
		return -1;
	if (next <= loop->now_ms)
		return 0;
	return next - loop->now_ms > 60000 ? 60000 : (int)(next - loop->now_ms);
}

/* One at a time, from the begin again: the callback may free any timer. */
static void run_timers(struct loop *loop)
{
	bool again = true;

	while (again) {
		again = false;
		list_for_each(&loop->timers, t, struct loop_timer, item)
		{
			if (t->at_ms > loop->now_ms)
				continue;
			t->at_ms = LOOP_NEVER;
			t->fn(t->arg);
			again = true;
			break;
		}
	}
}

void loop_run(struct loop *loop)
{
	struct epoll_event events[BATCH];

	loop->now_ms = loop_clock_ms();
	while (!loop->stop) {
		int n = epoll_wait(loop->epoll_fd, events, BATCH,
				   next_timeout(loop));

		loop->now_ms = loop_clock_ms();
		for (int i = 0; i < n; i++) {
			struct loop_fd *w = events[i].data.ptr;

			if (!w->freed && w->on)
				w->fn(events[i].events, w->arg);
		}
		bury(loop);
		run_timers(loop);
		if (loop->after)
			loop->after(loop->after_arg);
	}
}

void loop_after_turn(struct loop *loop, loop_fn fn, void *arg)
{
	loop->after = fn;
	loop->after_arg = arg;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}

uint64_t loop_now_ms(const struct loop *loop)
{
	return loop->now_ms;
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, uint32_t events,
			    loop_fd_fn fn, void *arg)
{
	struct loop_fd *w = xcalloc(1, sizeof(*w));
	struct epoll_event ev = { .events = events, .data.ptr = w };

	*w = (struct loop_fd){
		.loop = loop,
		.fd = fd,
		.events = events,
		.on = true,
		.fn = fn,
		.arg = arg,
	};
	list_init(&w->item);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int saved = errno;

		free(w);
		errno = saved;
		return NULL;
	}
	return w;
}

void loop_fd_set(struct loop_fd *w, uint32_t events, bool on)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->on == on && w->events == events)
		return;
	if (w->on && !on)
		epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	else if (on)
		epoll_ctl(w->loop->epoll_fd,
			  w->on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev);
	w->on = on;
	w->events = events;
}

void loop_fd_again(struct loop_fd *w)
{
	struct epoll_event ev = { .events = w->events, .data.ptr = w };

	if (w->on)
		epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
}

struct loop_fd *loop_fd_free(struct loop_fd *w)
{
	if (!w)
		return NULL;
	if (w->on)
		epoll_ctl(w->loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->freed = true;
	list_add_tail(&w->loop->dead, &w->item);
	return NULL;
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
	struct loop_timer *t = xcalloc(1, sizeof(*t));

	*t = (struct loop_timer){
		.loop = loop,
		.at_ms = LOOP_NEVER,
		.fn = fn,
		.arg = arg,
	};
	list_add_tail(&loop->timers, &t->item);
	return t;
}

void loop_timer_at(struct loop_timer *t, uint64_t at_ms)
{
	t->at_ms = at_ms;
}

struct loop_timer *loop_timer_free(struct loop_timer *t)
{
	if (t) {
		list_del(&t->item);
		free(t);
	}
	return NULL;
}

void loop_post(struct loop *loop, loop_fn fn, void *arg)
{
	struct post *p = xcalloc(1, sizeof(*p));
	uint64_t one = 1;

	*p = (struct post){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&loop->lock);
	list_add_tail(&loop->posts, &p->item);
	pthread_mutex_unlock(&loop->lock);
	/* Full (2^64 - 2 posts unread) cannot be; awake is awake. */
	if (write(loop->door_fd, &one, sizeof(one)) < 0)
		return;
}
