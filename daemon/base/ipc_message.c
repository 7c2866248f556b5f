/* SPDX-License-Identifier: Apache-2.0 */
/* ipc_message.c - protobuf messages over base/ipc.h, and a helper's end of it */
#include "base/ipc_message.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdlib.h>

struct engine_end {
	struct loop *loop;
	struct ipc *ipc; /* NULL: the engine is gone */
	const struct engine_end_ops *ops;
	void *arg;
};

int ipc_send_message(struct ipc *ipc, const ProtobufCMessage *m, const int *fds,
		     size_t n_fds, struct error *err)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xcalloc(1, len + 1);

	protobuf_c_message_pack(m, buf);
	return ipc_send(ipc, buf, len, fds, n_fds, err);
}

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	struct engine_end *end = arg;
	ProtobufCMessage *m =
		protobuf_c_message_unpack(end->ops->command, NULL, len, data);

	(void)ipc;
	if (!m) {
		log_err("the engine sent what is not a command");
		loop_stop(end->loop, 1);
		return;
	}
	end->ops->message(m, fds, n_fds, end->arg);
	protobuf_c_message_free_unpacked(m, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	struct engine_end *end = arg;

	(void)why;
	end->ipc = ipc_free(ipc);
	if (end->ops->gone)
		end->ops->gone(end->arg);
	else
		loop_stop(end->loop, 0);
}

static const struct ipc_ops ipc_ops = { .message = on_message,
					.closed = on_closed };

int engine_end_new(struct loop *loop, int fd, const struct engine_end_ops *ops,
		   void *arg, struct engine_end **ret, struct error *err)
{
	struct engine_end *end = xcalloc(1, sizeof(*end));

	*end = (struct engine_end){ .loop = loop, .ops = ops, .arg = arg };
	if (ipc_new(loop, fd, &ipc_ops, end, &end->ipc, err) < 0) {
		free(end);
		return -1;
	}
	*ret = end;
	return 0;
}

struct engine_end *engine_end_free(struct engine_end *end)
{
	if (!end)
		return NULL;
	ipc_free(end->ipc);
	free(end);
	return NULL;
}

void engine_end_report(struct engine_end *end, const ProtobufCMessage *m)
{
	if (end->ipc)
		ipc_send_message(end->ipc, m, NULL, 0, NULL);
}
