/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - the main thread's event loop, and the one door into it */
#include "base/loop.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct post {
	struct post *next;
	loop_fn fn;
	void *arg;
};

struct loop {
	sd_event *event;
	int inbox_fd;
	pthread_mutex_t lock; /* guards first, last */
	struct post *first, **last;
};

/* What a timer source carries; freed with the source. */
struct timer {
	loop_fn fn;
	void *arg;
};

static struct post *take_posts(struct loop *loop)
{
	struct post *first;

	pthread_mutex_lock(&loop->lock);
	first = loop->first;
	loop->first = NULL;
	loop->last = &loop->first;
	pthread_mutex_unlock(&loop->lock);
	return first;
}

static int on_inbox(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct loop *loop = arg;
	uint64_t count;

	(void)s;
	(void)revents;
	(void)!read(fd, &count, sizeof(count));
	for (struct post *p = take_posts(loop); p;) {
		struct post *next = p->next;

		p->fn(p->arg);
		free(p);
		p = next;
	}
	return 0;
}

int loop_new(struct loop **ret, struct error *err)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	int r;

	loop->inbox_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->last = &loop->first;
	pthread_mutex_init(&loop->lock, NULL);
	r = loop->inbox_fd < 0 ? -errno : sd_event_new(&loop->event);
	if (r >= 0)
		r = sd_event_add_io(loop->event, NULL, loop->inbox_fd, EPOLLIN,
				    on_inbox, loop);
	if (r < 0) {
		loop_free(loop);
		return err_sys(err, -r, "make the event loop");
	}
	*ret = loop;
	return 0;
}

struct loop *loop_free(struct loop *loop)
{
	if (!loop)
		return NULL;
	/* What was posted may own memory that only its function can free. */
	for (struct post *p; (p = take_posts(loop));) {
		while (p) {
			struct post *next = p->next;

			p->fn(p->arg);
			free(p);
			p = next;
		}
	}
	sd_event_unref(loop->event);
	fd_close(&loop->inbox_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
	return NULL;
}

sd_event *loop_event(struct loop *loop)
{
	return loop->event;
}

int loop_run(struct loop *loop)
{
	return sd_event_loop(loop->event);
}

void loop_stop(struct loop *loop, int code)
{
	sd_event_exit(loop->event, code);
}

void loop_post(struct loop *loop, loop_fn fn, void *arg)
{
	struct post *post = xcalloc(1, sizeof(*post));

	*post = (struct post){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&loop->lock);
	*loop->last = post;
	loop->last = &post->next;
	pthread_mutex_unlock(&loop->lock);
	(void)!write(loop->inbox_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct timer *timer = arg;

	(void)s;
	(void)usec;
	timer->fn(timer->arg);
	return 0;
}

void loop_timer(struct loop *loop, sd_event_source **ret, uint64_t at_ms,
		loop_fn fn, void *arg)
{
	uint64_t usec = at_ms > UINT64_MAX / 1000 ? UINT64_MAX - 1 :
						    at_ms * 1000;
	struct timer *timer;

	if (*ret) {
		timer = sd_event_source_get_userdata(*ret);
		*timer = (struct timer){ .fn = fn, .arg = arg };
		sd_event_source_set_time(*ret, usec);
		sd_event_source_set_enabled(*ret, SD_EVENT_ONESHOT);
		return;
	}
	timer = xcalloc(1, sizeof(*timer));
	*timer = (struct timer){ .fn = fn, .arg = arg };
	if (sd_event_add_time(loop->event, ret, CLOCK_MONOTONIC, usec, 1000,
			      on_timer, timer) < 0)
		abort();
	sd_event_source_set_destroy_callback(*ret, free);
}

void loop_timer_off(sd_event_source *timer)
{
	if (timer)
		sd_event_source_set_enabled(timer, SD_EVENT_OFF);
}

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t loop_now_ms(void)
{
	return (uint64_t)clock_ms(CLOCK_MONOTONIC);
}

uint64_t loop_boot_ms(void)
{
	return (uint64_t)clock_ms(CLOCK_BOOTTIME);
}

int64_t loop_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}
