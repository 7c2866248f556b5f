/* SPDX-License-Identifier: Apache-2.0 */
/* ipc_message.h - protobuf messages over base/ipc.h, and a helper's end of it
 *
 * The engine commands, the helper reports: one message type each way, named in
 * proto/sandbox/ipc/v1. Main thread only.
 */
#ifndef BASE_IPC_MESSAGE_H
#define BASE_IPC_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct engine_end;
struct error;
struct ipc;
struct loop;

/* As ipc_send(), of @m packed. */
int ipc_send_message(struct ipc *ipc, const ProtobufCMessage *m, const int *fds,
		     size_t n_fds, struct error *err);

/**
 * struct engine_end_ops - What a helper does for the engine
 * @command:	Of what type every message from the engine is.  The engine is
 *		trusted: what does not parse is a bug of ours, the loop is
 *		stopped with 1, and another process takes over
 * @message:	One command.  @m is borrowed, and so are @fds: whoever keeps one
 *		takes it with TAKE_FD(); the rest are closed
 * @gone:	Once: the engine is gone.  NULL: the loop is stopped
 */
struct engine_end_ops {
	const ProtobufCMessageDescriptor *command;
	void (*message)(ProtobufCMessage *m, int *fds, size_t n_fds, void *arg);
	void (*gone)(void *arg);
};

/* Consumes @fd, a SEQPACKET socket. */
int engine_end_new(struct loop *loop, int fd, const struct engine_end_ops *ops,
		   void *arg, struct engine_end **ret, struct error *err);
struct engine_end *engine_end_free(struct engine_end *end);

/* Queue a report. When the engine is gone it is dropped: @gone tells. */
void engine_end_report(struct engine_end *end, const ProtobufCMessage *m);

#endif /* BASE_IPC_MESSAGE_H */
