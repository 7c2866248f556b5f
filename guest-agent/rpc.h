/* SPDX-License-Identifier: Apache-2.0 */
/* rpc.h - the methods of the agent, and answering a call of one message */
#ifndef AGENT_RPC_H
#define AGENT_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "sandbox/agent/v1/agent.pb-c.h"

/* protoc-c's names, within 80 columns. */
#define NODE(name)	Sandbox__Node__V1__##name
#define NODE_INIT(name) SANDBOX__NODE__V1__##name##__INIT
#define AGENT(name)	Sandbox__Agent__V1__##name

struct agent;
struct error;
struct grpc_call;
struct rpc;

/* A call of one request and one answer. Exactly one of rpc_reply() and
 * rpc_fail() ends it, now or later on the loop's thread; then @rpc is gone.
 */
void rpc_reply(struct rpc *rpc, const ProtobufCMessage *msg);
void rpc_fail(struct rpc *rpc, const struct error *err);
struct agent *rpc_agent(const struct rpc *rpc);
/* Hello: the connection may be used from now on. */
void rpc_open_connection(struct rpc *rpc);
/* Unpack, or fail the call and return NULL. */
void *rpc_unpack(struct rpc *rpc, const ProtobufCMessageDescriptor *type,
		 const uint8_t *data, size_t len);

typedef void (*rpc_unary_fn)(struct rpc *rpc, const uint8_t *data, size_t len);

/* Where a call came from: @opened is told of an answered Hello. */
struct rpc_peer {
	void (*opened)(void *arg, uint64_t epoch);
	void *arg;
	uint64_t epoch; /* a serial line has many sessions */
};

/* @peer: copied; must last as long as @call. */
void rpc_accept(struct agent *agent, struct grpc_call *call, rpc_unary_fn fn,
		const struct rpc_peer *peer);
typedef void (*rpc_stream_fn)(struct agent *agent, struct grpc_call *call);

void rpc_hello(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_configure(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_freeze(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_thaw(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_next_exits(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_stats(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_list_processes(struct rpc *rpc, const uint8_t *data, size_t len);
void rpc_signal_process(struct rpc *rpc, const uint8_t *data, size_t len);

void rpc_exec(struct agent *agent, struct grpc_call *call);
void rpc_attach(struct agent *agent, struct grpc_call *call);
void rpc_tunnel(struct agent *agent, struct grpc_call *call);

struct task;
int file_read_task(struct task *t, struct error *err);
int file_write_task(struct task *t, struct error *err);
int file_stat_task(struct task *t, struct error *err);
int file_list_task(struct task *t, struct error *err);
int file_mkdir_task(struct task *t, struct error *err);
int file_remove_task(struct task *t, struct error *err);
int file_move_task(struct task *t, struct error *err);
int search_task(struct task *t, struct error *err);
int watch_task(struct task *t, struct error *err);

#endif /* AGENT_RPC_H */
