/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_proc.c - one run of sandboxd-parcel */
#include "engine/parcel_proc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX  (PARCEL_MANIFEST_MAX + 4096u)
#define SOCKET_ROOM (2 << 20)
#define LOOK_MS	    5000

struct parcel_proc {
	struct loop *loop;
	const struct parcel_proc_ops *ops;
	void *arg;
	bool pack;
	pid_t pid;
	int pidfd, control;
	sd_event_source *on_exit, *on_report, *timer;
	uint64_t done_bytes, moved_ms;
	bool have_manifest, ordered, done;
	struct error err; /* the first that went wrong */
};

static void end(struct parcel_proc *p)
{
	if (p->pid > 0)
		pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
}

void parcel_proc_stop(struct parcel_proc *p, const struct error *why)
{
	if (!p->err.code)
		p->err = *why;
	end(p);
}

static void on_failure(struct parcel_proc *p,
		       const Sandbox__Ipc__V1__ParcelFailure *f)
{
	char text[ERR_MSG_MAX];
	enum err_code code = ERR_INTERNAL;

	if (f->kind == SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_INVALID)
		code = ERR_INVALID;
	else if (f->kind ==
		 SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_DATA_LOSS)
		code = ERR_DATA_LOSS;
	else if (f->kind == SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_LIMIT)
		code = ERR_LIMIT;
	if (p->err.code)
		return;
	str_escape(text, sizeof(text), f->message, strlen(f->message));
	err_set(&p->err, code, "%s", text);
}

static int take_report(struct parcel_proc *p,
		       const Sandbox__Ipc__V1__ParcelReport *r,
		       struct error *err)
{
	switch (r->body_case) {
	case SANDBOX__IPC__V1__PARCEL_REPORT__BODY_PROGRESS:
		if (r->progress->done != p->done_bytes)
			p->moved_ms = loop_now_ms();
		p->done_bytes = r->progress->done;
		return 0;
	case SANDBOX__IPC__V1__PARCEL_REPORT__BODY_MANIFEST:
		if (p->pack || p->have_manifest)
			break;
		p->have_manifest = true;
		p->moved_ms = loop_now_ms();
		p->ops->manifest(r->manifest, p->arg);
		return 0;
	case SANDBOX__IPC__V1__PARCEL_REPORT__BODY_FAILURE:
		on_failure(p, r->failure);
		return 0;
	case SANDBOX__IPC__V1__PARCEL_REPORT__BODY_DONE:
		if (!p->ordered || p->done)
			break;
		p->done = true;
		return 0;
	default:
		break;
	}
	return err_set(err, ERR_INTERNAL, "sandboxd-parcel broke the rules");
}

/* Read what there is. 0, or -1: it broke the rules. */
static int drain(struct parcel_proc *p, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, REPORT_MAX);

	for (;;) {
		Sandbox__Ipc__V1__ParcelReport *r;
		ssize_t n = recv(p->control, buf, REPORT_MAX,
				 MSG_DONTWAIT | MSG_TRUNC);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		r = n > (ssize_t)REPORT_MAX
			    ? NULL
			    : sandbox__ipc__v1__parcel_report__unpack(
				      NULL, (size_t)n, buf);
		if (!r)
			return err_set(err, ERR_INTERNAL,
				       "sandboxd-parcel broke the rules");
		rc = take_report(p, r, err);
		sandbox__ipc__v1__parcel_report__free_unpacked(r, NULL);
		if (rc < 0)
			return -1;
	}
}

static int on_report_ready(sd_event_source *s, int fd, uint32_t revents,
			   void *arg)
{
	struct parcel_proc *p = arg;
	struct error err = { 0 };

	(void)s;
	(void)fd;
	if (drain(p, &err) < 0) {
		p->on_report = sd_event_source_disable_unref(p->on_report);
		parcel_proc_stop(p, &err);
	} else if (revents & (EPOLLHUP | EPOLLERR)) {
		p->on_report = sd_event_source_disable_unref(p->on_report);
	}
	return 0;
}

static void how_it_ended(const siginfo_t *info, struct error *err)
{
	if (info->si_code == CLD_EXITED)
		err_set(err, ERR_INTERNAL, "sandboxd-parcel exited with %d",
			info->si_status);
	else if (info->si_status == SIGXFSZ)
		err_set(err, ERR_DATA_LOSS,
			"the snapshot has more data than it announced");
	else if (info->si_status == SIGABRT)
		err_set(err, ERR_LIMIT,
			"the snapshot needs more memory to read than is "
			"allowed");
	else
		err_set(err, ERR_INTERNAL,
			"sandboxd-parcel was killed by signal %d%s",
			info->si_status,
			info->si_status == SIGSYS ? " (its seccomp filter)"
						  : "");
}

static int on_proc_exit(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct parcel_proc *p = arg;
	siginfo_t info = { 0 };
	struct error err = { 0 };

	(void)s;
	(void)fd;
	(void)revents;
	if (drain(p, &err) < 0 && !p->err.code)
		p->err = err;
	while (waitid(P_PID, (id_t)p->pid, &info, WEXITED) < 0 &&
	       errno == EINTR)
		;
	p->pid = 0;
	p->on_exit = sd_event_source_disable_unref(p->on_exit);
	p->on_report = sd_event_source_disable_unref(p->on_report);
	p->timer = sd_event_source_disable_unref(p->timer);
	if (!p->err.code &&
	    (info.si_code != CLD_EXITED || info.si_status || !p->done)) {
		how_it_ended(&info, &p->err);
		log_warn("%s", p->err.msg);
	}
	/* The owner frees it in there. */
	err = p->err;
	p->ops->ended(err.code ? &err : NULL, p->arg);
	return 0;
}

static void on_look(void *arg)
{
	struct parcel_proc *p = arg;
	struct error err;

	if (loop_now_ms() - p->moved_ms > PARCEL_STALL_MS) {
		err_set(&err, ERR_TIMEOUT, "nothing moved for %u s",
			PARCEL_STALL_MS / 1000);
		parcel_proc_stop(p, &err);
		return;
	}
	loop_timer(p->loop, &p->timer, loop_now_ms() + LOOK_MS, on_look, p);
}

/* A manifest is one packet. */
static void make_room(int fd)
{
	int room = SOCKET_ROOM;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

/* With its two descriptors as 3 and 4, and nothing else. */
static int spawn(struct parcel_proc *p, const struct parcel_proc_config *c,
		 int theirs, struct error *err)
{
	int fds[2] = { c->stream, theirs }, high[2];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char uid[16], gid[16];
	const char *argv[] = { c->program,  c->pack ? "pack" : "unpack",
			       "--stream",  "3",
			       "--control", "4",
			       "--uid",	    uid,
			       "--gid",	    gid,
			       NULL };
	sigset_t set;
	int r;

	snprintf(uid, sizeof(uid), "%u", c->uid);
	snprintf(gid, sizeof(gid), "%u", c->gid);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < 2; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
		posix_spawn_file_actions_adddup2(&actions, high[i], 3 + i);
	}
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(&p->pid, argv[0], &actions, &attr, (char **)argv,
			environ);
	if (r != 0)
		p->pid = 0;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < 2; i++)
		fd_close(&high[i]);
	return r == 0 ? 0 : err_sys(err, r, "start '%s'", argv[0]);
}

static int watch(struct parcel_proc *p, struct error *err)
{
	sd_event *event = loop_event(p->loop);
	int r;

	p->pidfd = pidfd_open(p->pid, 0);
	r = p->pidfd < 0 ? -errno : 0;
	if (r == 0)
		r = sd_event_add_io(event, &p->on_exit, p->pidfd, EPOLLIN,
				    on_proc_exit, p);
	if (r >= 0)
		r = sd_event_add_io(event, &p->on_report, p->control, EPOLLIN,
				    on_report_ready, p);
	if (r < 0)
		return err_sys(err, -r, "watch sandboxd-parcel");
	loop_timer(p->loop, &p->timer, loop_now_ms() + LOOK_MS, on_look, p);
	return 0;
}

int parcel_proc_start(struct loop *loop, const struct parcel_proc_config *c,
		      const struct parcel_proc_ops *ops, void *arg,
		      struct parcel_proc **ret, struct error *err)
{
	struct parcel_proc *p = xcalloc(1, sizeof(*p));
	_cleanup_close_ int theirs = -EBADF;
	int fds[2];

	*p = (struct parcel_proc){ .loop = loop,
				   .ops = ops,
				   .arg = arg,
				   .pack = c->pack,
				   .pidfd = -EBADF,
				   .control = -EBADF,
				   .moved_ms = loop_now_ms() };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
		parcel_proc_free(p);
		return err_sys(err, errno, "make a socket");
	}
	p->control = fds[0];
	theirs = fds[1];
	make_room(fds[0]);
	make_room(fds[1]);
	if (spawn(p, c, theirs, err) < 0 || watch(p, err) < 0) {
		parcel_proc_free(p);
		return -1;
	}
	*ret = p;
	return 0;
}

static int send_order(struct parcel_proc *p,
		      const Sandbox__Ipc__V1__ParcelOrder *order,
		      const int *fds, size_t n_fds, struct error *err)
{
	size_t len = sandbox__ipc__v1__parcel_order__get_packed_size(order);
	_cleanup_free_ uint8_t *packed = xcalloc(1, len + 1);
	char control[CMSG_SPACE(sizeof(int) * (PARCEL_PARTS_MAX + 1))] = { 0 };
	struct iovec iov = { packed, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n_fds == 0 || n_fds > PARCEL_PARTS_MAX + 1 ||
	    len > PARCEL_MANIFEST_MAX)
		return err_set(err, ERR_LIMIT,
			       "its description has %zu bytes and %zu files",
			       len, n_fds);
	sandbox__ipc__v1__parcel_order__pack(order, packed);
	msg.msg_control = control;
	msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	if (sendmsg(p->control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return err_sys(err, errno, "tell sandboxd-parcel");
	p->ordered = true;
	p->moved_ms = loop_now_ms();
	return 0;
}

int parcel_proc_order(struct parcel_proc *p,
		      Sandbox__Ipc__V1__ParcelOrder *order, const int *fds,
		      size_t n_fds, struct error *err)
{
	/* An order is never an empty packet: that would be the end. */
	order->files = (uint32_t)n_fds;
	return send_order(p, order, fds, n_fds, err);
}
void parcel_proc_limit(struct parcel_proc *p, uint64_t file_max)
{
	struct rlimit limit = { file_max, file_max };

	if (p->pid > 0 && prlimit(p->pid, RLIMIT_FSIZE, &limit, NULL) < 0)
		log_warn("limit sandboxd-parcel: %s", strerror(errno));
}

struct parcel_proc *parcel_proc_free(struct parcel_proc *p)
{
	if (!p)
		return NULL;
	sd_event_source_disable_unref(p->on_exit);
	sd_event_source_disable_unref(p->on_report);
	sd_event_source_disable_unref(p->timer);
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(&p->pidfd);
	fd_close(&p->control);
	free(p);
	return NULL;
}
