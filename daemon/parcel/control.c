/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - sandboxd-parcel's end of the socket to the engine */
#include "parcel/control.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 200

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void take_fds(struct msghdr *msg, struct parcel_order *order)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > PARCEL_FDS_MAX - order->n_fds)
			n = PARCEL_FDS_MAX - order->n_fds;
		memcpy(order->fds + order->n_fds, CMSG_DATA(c),
		       n * sizeof(int));
		order->n_fds += n;
	}
}

int parcel_control_order(struct parcel_control *c, struct parcel_order *ret,
			 struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PARCEL_MANIFEST_MAX + 4096);
	char control[CMSG_SPACE(sizeof(int) * PARCEL_FDS_MAX)];
	struct iovec iov = { buf, PARCEL_MANIFEST_MAX + 4096 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	*ret = (struct parcel_order){ .n_fds = 0 };
	do {
		n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		_exit(1); /* the engine is gone, or wants nothing any more */
	take_fds(&msg, ret);
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return err_set(err, ERR_INTERNAL, "an order that is too long");
	ret->msg = sandbox__ipc__v1__parcel_order__unpack(NULL, (size_t)n, buf);
	if (!ret->msg || ret->msg->files != ret->n_fds)
		return err_set(err, ERR_INTERNAL, "no proper order");
	return 0;
}

void parcel_order_fini(struct parcel_order *order)
{
	for (size_t i = 0; i < order->n_fds; i++)
		fd_close(&order->fds[i]);
	sandbox__ipc__v1__parcel_order__free_unpacked(order->msg, NULL);
	order->msg = NULL;
}

void parcel_control_report(struct parcel_control *c,
			   const Sandbox__Ipc__V1__ParcelReport *report)
{
	size_t len = sandbox__ipc__v1__parcel_report__get_packed_size(report);
	_cleanup_free_ uint8_t *packed = xcalloc(1, len + 1);

	sandbox__ipc__v1__parcel_report__pack(report, packed);
	if (send(c->fd, packed, len, MSG_NOSIGNAL) < 0)
		_exit(1);
}

void parcel_control_failure(struct parcel_control *c, const struct error *err)
{
	Sandbox__Ipc__V1__ParcelReport report =
		SANDBOX__IPC__V1__PARCEL_REPORT__INIT;
	Sandbox__Ipc__V1__ParcelFailure f =
		SANDBOX__IPC__V1__PARCEL_FAILURE__INIT;
	char text[ERR_MSG_MAX * 2];

	switch (err->code) {
	case ERR_INVALID:
		f.kind = SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_INVALID;
		break;
	case ERR_DATA_LOSS:
		f.kind = SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_DATA_LOSS;
		break;
	case ERR_LIMIT:
		f.kind = SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_LIMIT;
		break;
	default:
		f.kind = SANDBOX__IPC__V1__PARCEL_FAILURE__KIND__KIND_INTERNAL;
	}
	f.message = (char *)(uintptr_t)str_escape(text, sizeof(text), err->msg,
						  strlen(err->msg));
	report.body_case = SANDBOX__IPC__V1__PARCEL_REPORT__BODY_FAILURE;
	report.failure = &f;
	parcel_control_report(c, &report);
}

void parcel_control_done(struct parcel_control *c)
{
	Sandbox__Ipc__V1__ParcelReport report =
		SANDBOX__IPC__V1__PARCEL_REPORT__INIT;
	Sandbox__Ipc__V1__ParcelDone done = SANDBOX__IPC__V1__PARCEL_DONE__INIT;

	report.body_case = SANDBOX__IPC__V1__PARCEL_REPORT__BODY_DONE;
	report.done = &done;
	parcel_control_report(c, &report);
}

void parcel_control_count(struct parcel_control *c, uint64_t n)
{
	Sandbox__Ipc__V1__ParcelReport report =
		SANDBOX__IPC__V1__PARCEL_REPORT__INIT;
	Sandbox__Ipc__V1__ParcelProgress p =
		SANDBOX__IPC__V1__PARCEL_PROGRESS__INIT;
	uint64_t now = now_ms();

	c->done += n;
	if (now - c->last_ms < TICK_MS)
		return;
	c->last_ms = now;
	p.done = c->done;
	p.total = c->total;
	report.body_case = SANDBOX__IPC__V1__PARCEL_REPORT__BODY_PROGRESS;
	report.progress = &p;
	parcel_control_report(c, &report);
}
