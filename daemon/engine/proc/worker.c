/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c - one run of a program of ours that reads what strangers made */
#include "engine/proc/worker.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/proc/spawn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct worker {
	const char *name;
	const struct worker_ops *ops;
	void *arg;
	struct spawned process;
	int control;
	size_t packet_max;
	sd_event_source *on_exit, *on_packet;
	struct error broke; /* the first that it did wrong */
};

/* Hear what there is. Nothing more after a broken rule. */
static void drain(struct worker *w)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, w->packet_max);

	while (!w->broke.code) {
		ssize_t n = recv(w->control, buf, w->packet_max,
				 MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		if ((size_t)n > w->packet_max)
			err_set(&w->broke, ERR_INTERNAL,
				"%s's report is too long", w->name);
		else
			w->ops->packet(buf, (size_t)n, w->arg, &w->broke);
	}
}

static int on_packet(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct worker *w = arg;

	(void)s;
	(void)fd;
	drain(w);
	if (w->broke.code)
		worker_end(w);
	if (w->broke.code || (revents & (EPOLLHUP | EPOLLERR)))
		w->on_packet = sd_event_source_disable_unref(w->on_packet);
	return 0;
}

static int on_end(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct worker *w = arg;
	struct error broke;
	siginfo_t info;

	(void)s;
	(void)fd;
	(void)revents;
	drain(w);
	w->on_exit = sd_event_source_disable_unref(w->on_exit);
	w->on_packet = sd_event_source_disable_unref(w->on_packet);
	spawn_reap(&w->process, &info);
	/* The owner may free it in there. */
	broke = w->broke;
	w->ops->ended(&info, broke.code ? &broke : NULL, w->arg);
	return 0;
}

static void make_room(int fd, int room)
{
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

static int spawn(struct worker *w, const struct worker_config *c,
		 struct error *err)
{
	_cleanup_close_ int theirs = -EBADF;
	int pair[2], fds[SPAWN_FDS_MAX];

	assert(c->n_fds < SPAWN_FDS_MAX);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "make a socket");
	w->control = pair[0];
	theirs = pair[1];
	if (c->room) {
		make_room(pair[0], c->room);
		make_room(pair[1], c->room);
	}
	for (size_t i = 0; i < c->n_fds; i++)
		fds[i] = c->fds[i];
	fds[c->n_fds] = theirs;
	return spawn_program(c->argv, fds, c->n_fds + 1, &w->process, err);
}

static int watch(struct worker *w, struct loop *loop, struct error *err)
{
	int r = sd_event_add_io(loop_event(loop), &w->on_exit, w->process.pidfd,
				EPOLLIN, on_end, w);

	if (r >= 0)
		r = sd_event_add_io(loop_event(loop), &w->on_packet, w->control,
				    EPOLLIN, on_packet, w);
	return r < 0 ? err_sys(err, -r, "watch %s", w->name) : 0;
}

int worker_start(struct loop *loop, const struct worker_config *config,
		 const struct worker_ops *ops, void *arg, struct worker **ret,
		 struct error *err)
{
	struct worker *w = xcalloc(1, sizeof(*w));

	*w = (struct worker){ .name = config->name,
			      .ops = ops,
			      .arg = arg,
			      .process = SPAWNED_NONE,
			      .control = -EBADF,
			      .packet_max = config->packet_max };
	if (spawn(w, config, err) < 0 || watch(w, loop, err) < 0) {
		worker_free(w);
		return -1;
	}
	*ret = w;
	return 0;
}

int worker_socket(const struct worker *worker)
{
	return worker->control;
}

pid_t worker_pid(const struct worker *worker)
{
	return worker->process.pid;
}

void worker_end(struct worker *worker)
{
	spawn_kill(&worker->process);
}

struct worker *worker_free(struct worker *worker)
{
	if (!worker)
		return NULL;
	sd_event_source_disable_unref(worker->on_exit);
	sd_event_source_disable_unref(worker->on_packet);
	spawn_kill(&worker->process);
	spawn_reap(&worker->process, NULL);
	fd_close(&worker->control);
	free(worker);
	return NULL;
}
