/* SPDX-License-Identifier: Apache-2.0 */
/* upload.c - a file or pipe into a call that takes a stream of data */
#include "ctl/upload.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define CHUNK (256u << 10)

static void take_answer(struct upload *u, ProtobufCMessage *m)
{
	if (u->answer)
		u->answer(u, m);
	message_free(m);
}

/* All of u->fd. Return: 1 sent, 0 the call ended early, -1 reading failed. */
static int send_all(struct upload *u, struct call *call)
{
	_cleanup_free_ uint8_t *buf = xcalloc(CHUNK, 1);
	ProtobufCMessage *m;
	uint64_t done = 0;

	for (;;) {
		ssize_t n;

		if (client_wait_readable(u->ctl->client, u->fd) < 0)
			return 0;
		n = read(u->fd, buf, CHUNK);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			progress_clear(&u->progress);
			fprintf(stderr, "sandboxctl: %s: %s\n", u->what,
				strerror(errno));
			return -1;
		}
		if (n == 0)
			return 1;
		if (call_send(call, u->wrap(buf, (size_t)n)) < 0)
			return 0;
		done += (uint64_t)n;
		progress_show(&u->progress, u->what, done, u->size);
		while ((m = call_poll(call)))
			take_answer(u, m);
	}
}

int upload_run(struct ctl *ctl, struct upload *u)
{
	struct grpc_status st = { 0 };
	ProtobufCMessage *m;
	struct call *call;
	int status = ctl_begin(ctl);
	int r = 1;

	if (status)
		return status;
	u->ctl = ctl;
	/* A build takes minutes until its first byte, or fails without one: no
	 * call is kept open for that.
	 */
	if (client_wait_readable(ctl->client, u->fd) < 0)
		return 128 + client_interrupted(ctl->client);
	call = call_open(ctl->client, u->method);
	if (u->start && call_send(call, u->start) < 0)
		r = 0;
	if (r > 0)
		r = send_all(u, call);
	if (r > 0 && u->at_end)
		status = u->at_end(u);
	if (r > 0 && status == 0) {
		call_half_close(call);
		while ((m = call_recv(call)))
			take_answer(u, m);
	}
	call_close(call, &st);
	progress_clear(&u->progress);
	if (status)
		return status;
	if (r < 0)
		return CTL_REFUSED;
	if (st.code != GRPC_OK || client_interrupted(ctl->client))
		return ctl_status(ctl, &st);
	return CTL_OK;
}
