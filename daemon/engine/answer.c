/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - what clients are shown of the node's objects */
#include "engine/answer.h"

#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"

#include <stdlib.h>
#include <string.h>

PbTime *answer_time(PbTime *time, int64_t ms)
{
	if (ms == 0)
		return NULL;
	google__protobuf__timestamp__init(time);
	time->seconds = ms / 1000;
	time->nanos = (int32_t)(ms % 1000) * 1000000;
	return time;
}

PbSandbox *answer_sandbox(struct sandbox_view *view, const struct sandbox *sb,
			  bool env)
{
	const struct sandbox_row *row = &sb->row;
	const Spec *spec = row->spec;
	PbSandbox *m = &view->msg;

	sandbox__node__v1__sandbox__init(m);
#define STR(s) ((char *)(uintptr_t)(s))
	m->id = STR(row->id);
	m->state = (Sandbox__Node__V1__SandboxState)row->state;
	m->state_reason = STR(row->reason);
	m->image = spec->image;
	m->resources = spec->resources;
	/* Entries of every string map have the same form. */
	if (env) {
		m->n_env = spec->n_env;
		m->env = (Sandbox__Node__V1__Sandbox__EnvEntry **)spec->env;
	}
	m->n_metadata = spec->n_metadata;
	m->metadata =
		(Sandbox__Node__V1__Sandbox__MetadataEntry **)spec->metadata;
	m->workdir = spec->workdir;
	m->timeout_ms = spec->timeout_ms;
	m->idle_timeout_ms = spec->idle_timeout_ms;
	m->egress = spec->egress;
	m->n_allow_ports = spec->n_allow_ports;
	m->allow_ports = spec->allow_ports;
	m->tenant = spec->tenant;
	m->generation = row->generation;
	m->created_at = answer_time(&view->created, row->created_ms);
	m->started_at = answer_time(&view->started, row->started_ms);
	m->paused_at = answer_time(&view->paused, row->paused_ms);
	m->resumed_at = answer_time(&view->resumed, row->resumed_ms);
	m->terminated_at = answer_time(&view->terminated, row->terminated_ms);
	m->expires_at = answer_time(&view->expires,
				    row->created_ms + spec->timeout_ms);
	m->total_runtime_ms = sandbox_runtime_ms(sb);
	view->address[0] = '\0';
	if (row->slot >= 0) {
		struct in_addr in = { .s_addr = htonl(sb->slot.address) };

		inet_ntop(AF_INET, &in, view->address, sizeof(view->address));
	}
	m->address = view->address;
	m->network_limits = spec->network_limits;
	m->template_ = STR(row->template_id);
	m->auto_resume = !spec->no_auto_resume;
	m->start_kind = STR(row->start_kind);
	m->cost = event_cost(sb);
	m->no_idle_pause = spec->no_idle_pause;
	m->agent = (Sandbox__Node__V1__AgentState)agent_state_of(sb);
	m->agent_problem = STR(agent_problem(sb));
	return m;
}

PbSnapshot *answer_snapshot(struct snapshot_view *view,
			    const struct snapshot *snapshot)
{
	const struct snapshot_row *row = &snapshot->row;
	PbSnapshot *m = &view->msg;

	sandbox__node__v1__snapshot__init(m);
	m->id = STR(row->id);
	m->name = STR(row->name);
	m->sandbox_id = STR(row->sandbox_id);
	m->image = row->spec->image;
	m->resources = row->spec->resources;
	m->created_at = answer_time(&view->created, row->created_ms);
	m->size_bytes = row->size_bytes;
	if (row->damaged)
		m->problem = STR(STATE_UNREADABLE);
	return m;
}

void answer_call(struct call *call, const struct sandbox *sb,
		 const struct answer_extra *extra)
{
	struct sandbox_view view;
	PbSandbox *m = answer_sandbox(&view, sb, true);

	if (!strcmp(call->method, "PauseSandbox")) {
		Sandbox__Node__V1__PauseSandboxResponse r =
			SANDBOX__NODE__V1__PAUSE_SANDBOX_RESPONSE__INIT;

		r.sandbox = m;
		r.runtime_duration_ms = extra ? extra->runtime_ms : 0;
		r.snapshot_bytes = extra ? extra->snapshot_bytes : 0;
		call_answer(call, &r.base);
	} else if (!strcmp(call->method, "ResumeSandbox")) {
		Sandbox__Node__V1__ResumeSandboxResponse r =
			SANDBOX__NODE__V1__RESUME_SANDBOX_RESPONSE__INIT;

		r.sandbox = m;
		r.paused_duration_ms = extra ? extra->paused_ms : 0;
		call_answer(call, &r.base);
	} else {
		/* Create, Update, Terminate, Restore, Get: `sandbox = 1`. */
		Sandbox__Node__V1__GetSandboxResponse r =
			SANDBOX__NODE__V1__GET_SANDBOX_RESPONSE__INIT;

		r.sandbox = m;
		call_answer(call, &r.base);
	}
}
