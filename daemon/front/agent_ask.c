/* SPDX-License-Identifier: Apache-2.0 */
/* agent_ask.c - the engine's own calls to the agents in the guests */
#include "front/agent_ask.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "front/agent_call.h"
#include "front/agent_link_priv.h"
#include "front/wire.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const struct {
	const char *method;
	const ProtobufCMessageDescriptor *answer;
} methods[] = {
	{ "Configure", &sandbox__agent__v1__configure_response__descriptor },
	{ "Freeze",    &sandbox__agent__v1__freeze_response__descriptor },
	{ "Thaw",      &sandbox__agent__v1__thaw_response__descriptor },
	{ "Stats",     &sandbox__agent__v1__stats_response__descriptor },
};
/* clang-format on */

struct ask {
	struct front *front;
	uint64_t id;
};

static void on_answer(struct agent_link *link, const struct grpc_status *st,
		      ProtobufCMessage *answer, void *arg)
{
	_cleanup_free_ struct ask *ask = arg;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len = 0;

	(void)link;
	if (answer)
		buf = wire_pack(answer, &len);
	engine_reply(ask->front->engine, ask->id, st, buf, len);
}

void agent_engine_call(struct front *front, uint64_t id,
		       const Sandbox__Ipc__V1__AgentCall *m)
{
	const ProtobufCMessageDescriptor *desc = NULL;
	struct agent_link *link = agent_find(front, m->sandbox_id);
	struct ask *ask;
	struct grpc_status st;

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (!strcmp(m->method, methods[i].method))
			desc = methods[i].answer;
	}
	if (!link || !desc) {
		grpc_status_set(&st, link ? GRPC_INTERNAL : GRPC_UNAVAILABLE,
				NULL,
				link ? "no such method of the agent" :
				       "the guest is not attached");
		if (!link)
			st.retry_ms = 1000;
		engine_reply(front->engine, id, &st, NULL, 0);
		return;
	}
	ask = xcalloc(1, sizeof(*ask));
	*ask = (struct ask){ .front = front, .id = id };
	if (agent_unary(link, m->method, m->request.data, m->request.len, desc,
			m->deadline_ms, on_answer, ask, &st) < 0) {
		engine_reply(front->engine, id, &st, NULL, 0);
		free(ask);
	}
}
