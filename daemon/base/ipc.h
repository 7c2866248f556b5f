/* SPDX-License-Identifier: Apache-2.0 */
/* ipc.h - whole messages with descriptors between the node's processes
 *
 * Over a SOCK_SEQPACKET socketpair. A message longer than one packet goes in
 * fragments; order is kept. What the bytes mean is ipc.proto's business.
 * Main thread only.
 */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct ipc;
struct loop;

#define IPC_MESSAGE_MAX (5u << 20) /* a gRPC message and what is around it */
#define IPC_FDS_MAX	8
#define IPC_QUEUE_MAX	(64u << 20) /* over that the peer counts as dead */

/**
 * struct ipc_ops - What the owner wants to hear
 * @message:	One whole message.  @data is borrowed.  @fds are borrowed too:
 *		whoever keeps one takes it with TAKE_FD(); the rest are closed
 * @closed:	Once and last: the peer is gone or broke the rules (@why).  The
 *		owner frees the ipc in it or later
 */
struct ipc_ops {
	void (*message)(struct ipc *ipc, const uint8_t *data, size_t len,
			int *fds, size_t n_fds, void *arg);
	void (*closed)(struct ipc *ipc, const char *why, void *arg);
};

/* Consumes @fd, a SEQPACKET socket. */
int ipc_new(struct loop *loop, int fd, const struct ipc_ops *ops, void *arg,
	    struct ipc **ret, struct error *err);
struct ipc *ipc_free(struct ipc *ipc);

/**
 * ipc_send() - Queue a message (copied); descriptors are duplicated
 *
 * Return: 0, or -1: too large, too many descriptors, peer gone
 */
int ipc_send(struct ipc *ipc, const void *data, size_t len, const int *fds,
	     size_t n_fds, struct error *err);

/* A pair for ipc_new() on both sides, both close-on-exec. */
int ipc_pair(int ret_fds[2], struct error *err);

#endif /* BASE_IPC_H */
