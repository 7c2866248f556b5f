/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_proc.c - one run of sandboxd-parcel */
#include "engine/snapshot/parcel_proc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/proc/worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define REPORT_MAX  (PARCEL_MANIFEST_MAX + 4096u)
#define SOCKET_ROOM (2 << 20)
#define LOOK_MS	    5000

struct parcel_proc {
	struct loop *loop;
	const struct parcel_proc_ops *ops;
	void *arg;
	bool pack;
	struct worker *worker;
	sd_event_source *timer;
	uint64_t done_bytes, moved_ms;
	bool have_manifest, ordered, done;
	struct error err; /* the first that went wrong */
};

void parcel_proc_stop(struct parcel_proc *p, const struct error *why)
{
	if (!p->err.code)
		p->err = *why;
	worker_end(p->worker);
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

int parcel_proc_packet(struct parcel_proc *p, const uint8_t *data, size_t len,
		       struct error *err)
{
	Sandbox__Ipc__V1__ParcelReport *r =
		sandbox__ipc__v1__parcel_report__unpack(NULL, len, data);
	int rc;

	if (!r)
		return err_set(err, ERR_INTERNAL,
			       "sandboxd-parcel broke the rules");
	rc = take_report(p, r, err);
	sandbox__ipc__v1__parcel_report__free_unpacked(r, NULL);
	return rc;
}

static int on_packet(const uint8_t *data, size_t len, void *arg,
		     struct error *err)
{
	return parcel_proc_packet(arg, data, len, err);
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
			info->si_status == SIGSYS ? " (its seccomp filter)" :
						    "");
}

static void on_ended(const siginfo_t *info, const struct error *broke,
		     void *arg)
{
	struct parcel_proc *p = arg;
	struct error err;

	if (broke && !p->err.code)
		p->err = *broke;
	p->timer = sd_event_source_disable_unref(p->timer);
	if (!p->err.code &&
	    (info->si_code != CLD_EXITED || info->si_status || !p->done)) {
		how_it_ended(info, &p->err);
		log_warn("%s", p->err.msg);
	}
	/* The owner frees it in there. */
	err = p->err;
	p->ops->ended(err.code ? &err : NULL, p->arg);
}

static const struct worker_ops worker_ops = { .packet = on_packet,
					      .ended = on_ended };

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

struct parcel_proc *parcel_proc_new(bool pack,
				    const struct parcel_proc_ops *ops,
				    void *arg)
{
	struct parcel_proc *p = xcalloc(1, sizeof(*p));

	*p = (struct parcel_proc){ .ops = ops,
				   .arg = arg,
				   .pack = pack,
				   .moved_ms = loop_now_ms() };
	return p;
}

int parcel_proc_start(struct loop *loop, const struct parcel_proc_config *c,
		      const struct parcel_proc_ops *ops, void *arg,
		      struct parcel_proc **ret, struct error *err)
{
	struct parcel_proc *p = parcel_proc_new(c->pack, ops, arg);
	char uid[16], gid[16];
	const char *const argv[] = { c->program, uid, gid,
				     c->pack ? "pack" : "unpack", NULL };
	struct worker_config worker = { .name = "sandboxd-parcel",
					.argv = argv,
					.fds = &c->stream,
					.n_fds = 1,
					.packet_max = REPORT_MAX,
					/* A manifest is one packet. */
					.room = SOCKET_ROOM };

	snprintf(uid, sizeof(uid), "%u", c->uid);
	snprintf(gid, sizeof(gid), "%u", c->gid);
	p->loop = loop;
	if (worker_start(loop, &worker, &worker_ops, p, &p->worker, err) < 0) {
		parcel_proc_free(p);
		return -1;
	}
	loop_timer(loop, &p->timer, loop_now_ms() + LOOK_MS, on_look, p);
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
	if (sendmsg(worker_socket(p->worker), &msg,
		    MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
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
	pid_t pid = worker_pid(p->worker);

	if (pid > 0 && prlimit(pid, RLIMIT_FSIZE, &limit, NULL) < 0)
		log_warn("limit sandboxd-parcel: %s", strerror(errno));
}

struct parcel_proc *parcel_proc_free(struct parcel_proc *p)
{
	if (!p)
		return NULL;
	sd_event_source_disable_unref(p->timer);
	worker_free(p->worker);
	free(p);
	return NULL;
}
