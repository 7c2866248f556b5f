/* SPDX-License-Identifier: Apache-2.0 */
/* agent_call.c - calls to the agents in the guests */
#include "front/agent_call.h"

#include "base/error.h"
#include "base/mem.h"
#include "front/agent_link_priv.h"
#include "front/wire.h"

#include <stdio.h>
#include <stdlib.h>

#define SERVICE		 "/sandbox.agent.v1.AgentService/"
#define UNARY_ANSWER_MAX (64u << 10)

struct agent_call {
	struct agent_link *link;
	struct grpc_call *call;
	const struct agent_call_ops *ops;
	void *arg;
};

static void on_call_message(struct grpc_call *call, const uint8_t *data,
			    size_t len, void *arg)
{
	struct agent_call *c = arg;

	(void)call;
	if (!c->link->ending)
		c->ops->message(c, data, len, c->arg);
}

static void on_call_writable(struct grpc_call *call, void *arg)
{
	struct agent_call *c = arg;

	(void)call;
	if (c->ops->writable)
		c->ops->writable(c, c->arg);
}

static void on_call_done(struct grpc_call *call, const struct grpc_status *said,
			 void *arg)
{
	struct agent_call *c = arg;
	struct grpc_status st;

	(void)call;
	if (c->link->ending)
		st = c->link->why;
	else
		status_of_agent(&st, said);
	c->call = NULL;
	c->link->n_calls--;
	c->ops->done(c, &st, c->arg);
	free(c);
}

static const struct grpc_call_ops call_ops = { .message = on_call_message,
					       .writable = on_call_writable,
					       .done = on_call_done };

static struct agent_call *start(struct agent_link *link, const char *method,
				unsigned int calls_max, uint64_t timeout_ms,
				const struct agent_call_ops *ops, void *arg,
				struct grpc_status *why)
{
	struct agent_call *c;
	char path[96];

	if (link->ending) {
		*why = link->why;
		return NULL;
	}
	if (agent_calls(link) >= calls_max) {
		grpc_status_set(why, GRPC_RESOURCE_EXHAUSTED,
				"RESOURCE_EXHAUSTED",
				"%u calls to this sandbox are under way",
				agent_calls(link));
		why->retry_ms = 1000;
		return NULL;
	}
	snprintf(path, sizeof(path), SERVICE "%s", method);
	c = xcalloc(1, sizeof(*c));
	*c = (struct agent_call){ .link = link, .ops = ops, .arg = arg };
	c->call = grpc_call_start(link->conn, path, timeout_ms, &call_ops, c);
	if (!c->call) {
		free(c);
		grpc_status_set(why, GRPC_UNAVAILABLE, "UNAVAILABLE",
				"the link to the guest is closing");
		why->retry_ms = 1000;
		return NULL;
	}
	link->n_calls++;
	return c;
}

struct agent_call *agent_call_start(struct agent_link *link, const char *method,
				    uint64_t timeout_ms,
				    const struct agent_call_ops *ops, void *arg,
				    struct grpc_status *why)
{
	return start(link, method, AGENT_CALLS_MAX, timeout_ms, ops, arg, why);
}

unsigned int agent_calls(const struct agent_link *link)
{
	return link->n_calls - link->watching;
}

bool agent_call_tells_exits(const struct agent_call *c)
{
	return c->link->tells_exits;
}

void agent_call_began_process(struct agent_call *c)
{
	c->link->exits.begun++;
}

struct grpc_call *agent_call_grpc(struct agent_call *c)
{
	return c->call;
}

void agent_call_broken(struct agent_call *c, const char *why)
{
	link_broken(c->link, why);
}

/* ---- of one request and one answer ---- */

struct unary {
	struct agent_link *link;
	const ProtobufCMessageDescriptor *desc;
	ProtobufCMessage *answer;
	agent_unary_fn fn;
	void *arg;
};

static void on_unary_message(struct agent_call *c, const uint8_t *data,
			     size_t len, void *arg)
{
	struct unary *u = arg;
	struct error err = { 0 };

	if (u->answer)
		agent_call_broken(c, "two answers to one request");
	else if (len > UNARY_ANSWER_MAX)
		agent_call_broken(c, "an answer that is too long");
	else if (wire_unpack(u->desc, data, len, &u->answer, &err) < 0)
		agent_call_broken(c, err.msg);
}

static void on_unary_done(struct agent_call *c, const struct grpc_status *said,
			  void *arg)
{
	struct grpc_status st = *said;
	struct unary *u = arg;

	(void)c;
	if (st.code == GRPC_OK && !u->answer)
		grpc_status_set(&st, GRPC_INTERNAL, "INTERNAL",
				"the agent gave no answer");
	u->fn(u->link, &st, st.code == GRPC_OK ? u->answer : NULL, u->arg);
	wire_free(u->answer);
	free(u);
}

static const struct agent_call_ops unary_ops = { .message = on_unary_message,
						 .done = on_unary_done };

int agent_unary(struct agent_link *link, const char *method,
		const uint8_t *data, size_t len,
		const ProtobufCMessageDescriptor *desc, uint64_t timeout_ms,
		agent_unary_fn fn, void *arg, struct grpc_status *why)
{
	struct unary *u = xcalloc(1, sizeof(*u));
	struct agent_call *c;

	*u = (struct unary){ .link = link, .desc = desc, .fn = fn, .arg = arg };
	c = start(link, method, AGENT_CALLS_MAX + AGENT_ENGINE_CALLS_MAX,
		  timeout_ms, &unary_ops, u, why);
	if (!c) {
		free(u);
		return -1;
	}
	grpc_call_send(c->call, data, len);
	grpc_call_half_close(c->call);
	return 0;
}
