/* SPDX-License-Identifier: Apache-2.0 */
/* task.h - a call that is served by blocking code, on a thread of its own
 *
 * File operations block in the kernel for as long as disks please. Each such
 * call has a thread that sees only its struct task: it takes requests with
 * task_recv(), gives answers with task_send(), and returns how it ended.
 */
#ifndef AGENT_TASK_H
#define AGENT_TASK_H

#include "user.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

struct agent;
struct error;
struct grpc_call;
struct loop;
struct task;

/* Calls at once that have a thread; more wait their turn. */
#define TASKS_MAX 64
/* Bytes between thread and connection, each way, before one of them waits. */
#define TASK_QUEUE_MAX (1u << 20)

/* Return: 0, or -1 with *@err set. */
typedef int (*task_fn)(struct task *t, struct error *err);

/* Loop: take @call over; @fn runs once the first message is in. */
void task_accept(struct agent *agent, struct grpc_call *call, task_fn fn);

/**
 * task_work() - Blocking work that is no call's: a thread, then back
 * @run:	On a thread of its own; sees only @arg
 * @done:	On the loop, after it
 *
 * Return: 0, or -1: no thread could be started, nothing was done
 */
int task_work(struct loop *loop, void (*run)(void *arg),
	      void (*done)(void *arg), void *arg);

/* ---- what follows is for the task's own thread ---- */

/* The sandbox's workdir and user as they were when the call began. */
const char *task_workdir(const struct task *t);
const char *task_user(const struct task *t);

/**
 * task_recv() - The next message of the client; waits for it
 * @ret:	Now the caller's to free
 *
 * Return: 1; 0: the client has sent all; -ECANCELED: the call is over
 */
int task_recv(struct task *t, uint8_t **ret, size_t *ret_len);

/* Unpack the next message, which must come. NULL with *@err set: the call is
 * over or the bytes are no such message. Free it with
 * protobuf_c_message_free_unpacked().
 */
void *task_recv_message(struct task *t, const ProtobufCMessageDescriptor *type,
			struct error *err);

/* Queue an answer; waits while the client does not read. -ECANCELED as above. */
int task_send(struct task *t, const ProtobufCMessage *msg);
/* The same, of packed bytes. */
int task_send_bytes(struct task *t, const uint8_t *data, size_t len);

/* Whether there is still someone to work for: ask in long loops. */
bool task_cancelled(struct task *t);

/* Readable once the call is over: for poll() beside other descriptors. */
int task_cancel_fd(const struct task *t);

#endif /* AGENT_TASK_H */
