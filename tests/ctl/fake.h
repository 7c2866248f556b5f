/* SPDX-License-Identifier: Apache-2.0 */
/* fake.h - a node that answers sandboxctl's tests
 *
 * It has no sandboxes: "sb_1" is the one it pretends to have, and what commands
 * do there is written below (fake_exec.c). Its files are real ones below a
 * directory (fake_files.c), but for /hostile, which lies.
 */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "ctl/pb.h"
#include "grpc.h"

#include <stdbool.h>

/**
 * struct fake_call - One call that the fake serves
 * @method:	Its row
 * @state:	The method's own; freed with free() at the end
 */
struct fake_call {
	struct grpc_call *call;
	const struct fake_method *method;
	void *state;
	bool finished;
};

/**
 * struct fake_method - How a method is served
 * @message:	Each message of the client
 * @half_close:	The client will send no more; NULL: nothing to do
 * @writable:	What was queued is gone; NULL: does not matter
 * @end:	The call is over; NULL: nothing to do
 */
struct fake_method {
	const char *name;
	void (*message)(struct fake_call *c, const ProtobufCMessage *m);
	void (*half_close)(struct fake_call *c);
	void (*writable)(struct fake_call *c);
	void (*end)(struct fake_call *c);
};

extern const struct fake_method fake_node_methods[];
extern const struct fake_method fake_exec_methods[];
extern const struct fake_method fake_file_methods[];

/* The directory that is the sandbox's root. */
extern const char *fake_root;
extern struct loop *fake_loop;

/* 1: wait for writable. */
int fake_send(struct fake_call *c, const ProtobufCMessage *m);
void fake_finish(struct fake_call *c);
void fake_answer(struct fake_call *c, const ProtobufCMessage *m);
void fake_refuse(struct fake_call *c, enum grpc_code code, const char *reason,
		 const char *text);
/* Refuses, unless it is the one there is. */
bool fake_knows(struct fake_call *c, const char *sandbox_id);

#endif /* TESTS_FAKE_H */
