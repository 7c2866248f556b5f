/* SPDX-License-Identifier: Apache-2.0 */
/* rpc.c - calls of one request and one answer */
#include "rpc.h"

#include "agent.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "grpc.h"

#include <errno.h>
#include <stdlib.h>

struct rpc {
	struct agent *agent;
	struct grpc_call *call; /* NULL: done */
	struct rpc_peer peer;	/* valid while @call is */
	rpc_unary_fn fn;
	bool asked;
	bool ended;
};

static void rpc_free_if_over(struct rpc *rpc)
{
	if (!rpc->call && (rpc->ended || !rpc->asked))
		free(rpc);
}

static void end_call(struct rpc *rpc, const struct grpc_status *st)
{
	rpc->ended = true;
	if (rpc->call)
		grpc_call_finish(rpc->call, st);
	rpc_free_if_over(rpc);
}

void rpc_reply(struct rpc *rpc, const ProtobufCMessage *msg)
{
	struct grpc_status st = { .code = GRPC_OK };
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *data = xcalloc(1, len);

	protobuf_c_message_pack(msg, data);
	if (rpc->call && grpc_call_send(rpc->call, data, len) == -EMSGSIZE)
		grpc_status_set(&st, GRPC_RESOURCE_EXHAUSTED,
				"RESOURCE_EXHAUSTED",
				"the answer is too long for a message");
	end_call(rpc, &st);
}

void rpc_fail(struct rpc *rpc, const struct error *err)
{
	struct grpc_status st;

	agent_status(&st, err);
	end_call(rpc, &st);
}

struct agent *rpc_agent(const struct rpc *rpc)
{
	return rpc->agent;
}

void *rpc_unpack(struct rpc *rpc, const ProtobufCMessageDescriptor *type,
		 const uint8_t *data, size_t len)
{
	ProtobufCMessage *msg =
		protobuf_c_message_unpack(type, NULL, len, data);
	struct error err;

	if (msg)
		return msg;
	err_set(&err, ERR_INVALID, "the message is no %s", type->name);
	rpc_fail(rpc, &err);
	return NULL;
}

static void on_unary_message(struct grpc_call *call, const uint8_t *data,
			     size_t len, void *arg)
{
	struct rpc *rpc = arg;

	(void)call;
	if (rpc->asked)
		return;
	rpc->asked = true;
	rpc->fn(rpc, data, len);
}

static void on_unary_half_close(struct grpc_call *call, void *arg)
{
	struct rpc *rpc = arg;
	struct grpc_status st;

	if (rpc->asked)
		return;
	grpc_status_set(&st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
			"the request is missing");
	grpc_call_finish(call, &st);
}

static void on_unary_done(struct grpc_call *call, const struct grpc_status *st,
			  void *arg)
{
	struct rpc *rpc = arg;

	(void)call;
	(void)st;
	rpc->call = NULL;
	rpc_free_if_over(rpc);
}

static const struct grpc_call_ops unary_ops = {
	.message = on_unary_message,
	.half_close = on_unary_half_close,
	.done = on_unary_done,
};

void rpc_open_connection(struct rpc *rpc)
{
	if (rpc->call)
		rpc->peer.opened(rpc->peer.arg, rpc->peer.epoch);
}

void rpc_accept(struct agent *agent, struct grpc_call *call, rpc_unary_fn fn,
		const struct rpc_peer *peer)
{
	struct rpc *rpc = xcalloc(1, sizeof(*rpc));

	*rpc = (struct rpc){
		.agent = agent,
		.call = call,
		.peer = *peer,
		.fn = fn,
	};
	grpc_call_accept(call, &unary_ops, rpc);
}
