/* SPDX-License-Identifier: Apache-2.0 */
/* step_life.c - steps that change the life of a sandbox */
#include "ref.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define D(name) (&sandbox__node__v1__##name##__descriptor)
#define FREE(m) protobuf_c_message_free_unpacked(&(m)->base, NULL)

void step_create(struct ref *r)
{
	NODE(CreateSandboxRequest) rq = NODE_INIT(CREATE_SANDBOX_REQUEST);
	NODE(CreateSandboxResponse) * m;
	struct grpc_status st;
	struct ref_box *box;
	char id[32] = "";

	if (ref_alive(r) >= ALIVE_MAX) {
		step_terminate(r);
		return;
	}
	if (chance(r, 50))
		snprintf(id, sizeof(id), "box-%llu",
			 (unsigned long long)r->step);
	rq.request_id = ref_request(r);
	rq.sandbox_id = id;
	rq.image = (char *)"debian:12";
	rq.workdir = (char *)"/srv";
	rq.timeout_ms = 86400000;
	rq.idle_timeout_ms = 86400000;
	rq.no_auto_resume = chance(r, 20);
	m = ref_mutate(r, "CreateSandbox", &rq.base, D(create_sandbox_response),
		       &st);
	if (!m) {
		if (!ref_failed_as_told(r, &st))
			wrong(r, "CreateSandbox: %s %s: %s",
			      grpc_code_str(st.code), st.reason, st.message);
		if (id[0] && ref_look(r, id) != REF_GONE)
			wrong(r, "a create that failed leaves '%s'", id);
		return;
	}
	if (id[0] && strcmp(m->sandbox->id, id) != 0)
		wrong(r, "CreateSandbox made '%s'", m->sandbox->id);
	box = ref_box_add(r, m->sandbox->id);
	box->auto_resume = !rq.no_auto_resume;
	box->timeout_ms = rq.timeout_ms;
	FREE(m);
	ref_check_box(r, box);
}

void step_pause(struct ref *r)
{
	NODE(PauseSandboxRequest) rq = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	struct ref_box *box = ref_box_any(r, 0);
	NODE(PauseSandboxResponse) * m;
	struct grpc_status st;

	if (!box)
		return;
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	m = ref_mutate(r, "PauseSandbox", &rq.base, D(pause_sandbox_response),
		       &st);
	if (box->state == REF_PAUSED) {
		ref_expect(r, &st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			   "PauseSandbox of what is paused");
	} else if (m) {
		box->state = REF_PAUSED;
		box->has_saved = true;
		box->saved = box->value;
	} else if (!ref_failed_as_told(r, &st)) {
		wrong(r, "PauseSandbox: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	}
	if (m)
		FREE(m);
	ref_check_box(r, box);
}

void step_resume(struct ref *r)
{
	NODE(ResumeSandboxRequest) rq = NODE_INIT(RESUME_SANDBOX_REQUEST);
	struct ref_box *box = ref_box_any(r, chance(r, 80) ? REF_PAUSED : 0);
	NODE(ResumeSandboxResponse) * m;
	struct grpc_status st;

	if (!box)
		return;
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	m = ref_mutate(r, "ResumeSandbox", &rq.base, D(resume_sandbox_response),
		       &st);
	if (box->state == REF_RUNNING)
		ref_expect(r, &st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			   "ResumeSandbox of what runs");
	else if (m)
		box->state = REF_RUNNING;
	else if (!ref_failed_as_told(r, &st))
		wrong(r, "ResumeSandbox: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	if (m) {
		FREE(m);
		box->value = box->saved;
	}
	ref_check_box(r, box);
}

void step_terminate(struct ref *r)
{
	NODE(TerminateSandboxRequest) rq = NODE_INIT(TERMINATE_SANDBOX_REQUEST);
	struct ref_box *box = ref_box_any(r, 0);
	NODE(TerminateSandboxResponse) * m;
	struct grpc_status st;

	if (!box)
		return;
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	m = ref_mutate(r, "TerminateSandbox", &rq.base,
		       D(terminate_sandbox_response), &st);
	if (!m)
		wrong(r, "TerminateSandbox: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	FREE(m);
	box->state = REF_GONE;
	box->ports = 0;
	ref_check_box(r, box);
}

/* ---- snapshots ---- */

static bool name_is_taken(const struct ref *r, const struct ref_box *box,
			  const char *name)
{
	for (size_t i = 0; i < r->n_snaps; i++)
		if (name[0] && !r->snaps[i].gone &&
		    !strcmp(r->snaps[i].box, box->id) &&
		    !strcmp(r->snaps[i].name, name))
			return true;
	return false;
}

void step_snapshot(struct ref *r)
{
	NODE(CreateSnapshotRequest) rq = NODE_INIT(CREATE_SNAPSHOT_REQUEST);
	struct ref_box *box = ref_box_any(r, chance(r, 85) ? REF_RUNNING : 0);
	NODE(CreateSnapshotResponse) * m;
	struct grpc_status st;
	char name[16] = "";

	if (!box)
		return;
	if (chance(r, 60))
		snprintf(name, sizeof(name), "name-%u", pick(r, 5));
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	rq.name = name;
	m = ref_mutate(r, "CreateSnapshot", &rq.base,
		       D(create_snapshot_response), &st);
	if (m) {
		if (box->state != REF_RUNNING || name_is_taken(r, box, name))
			wrong(r, "CreateSnapshot of '%s' as '%s' may not be",
			      box->id, name);
		ref_snap_add(r, m->snapshot->id, box->id, name, box->value);
		FREE(m);
	} else if (box->state == REF_PAUSED) {
		ref_expect(r, &st, GRPC_FAILED_PRECONDITION, "INVALID_STATE",
			   "CreateSnapshot of what is paused");
	} else if (name_is_taken(r, box, name)) {
		ref_expect(r, &st, GRPC_ALREADY_EXISTS, "ALREADY_EXISTS",
			   "CreateSnapshot by a name that is taken");
	} else if (!ref_failed_as_told(r, &st)) {
		wrong(r, "CreateSnapshot: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	}
	ref_check_box(r, box);
}

void step_remove_snapshot(struct ref *r)
{
	NODE(RemoveSnapshotRequest) rq = NODE_INIT(REMOVE_SNAPSHOT_REQUEST);
	struct ref_snap *s = ref_snap_any(r, NULL);
	NODE(RemoveSnapshotResponse) * m;
	struct grpc_status st;

	if (!s)
		return;
	rq.request_id = ref_request(r);
	rq.snapshot_id = s->id;
	m = ref_mutate(r, "RemoveSnapshot", &rq.base,
		       D(remove_snapshot_response), &st);
	if (!m)
		wrong(r, "RemoveSnapshot: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	FREE(m);
	s->gone = true;
}

void step_restore(struct ref *r)
{
	NODE(RestoreSandboxRequest) rq = NODE_INIT(RESTORE_SANDBOX_REQUEST);
	struct ref_box *box = ref_box_any(r, 0);
	struct ref_snap *s =
		box ? ref_snap_any(r, chance(r, 90) ? box->id : NULL) : NULL;
	NODE(RestoreSandboxResponse) * m;
	struct grpc_status st;

	if (!s)
		return;
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	rq.snapshot_id = s->id;
	m = ref_mutate(r, "RestoreSandbox", &rq.base,
		       D(restore_sandbox_response), &st);
	if (strcmp(s->box, box->id) != 0) {
		ref_expect(r, &st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
			   "RestoreSandbox to another's snapshot");
	} else if (m) {
		box->state = REF_RUNNING;
		box->value = s->value;
	} else if (!ref_failed_as_told(r, &st)) {
		wrong(r, "RestoreSandbox: %s %s: %s", grpc_code_str(st.code),
		      st.reason, st.message);
	}
	if (m)
		FREE(m);
	ref_check_box(r, box);
}

void step_fork(struct ref *r)
{
	NODE(ForkSandboxRequest) rq = NODE_INIT(FORK_SANDBOX_REQUEST);
	struct ref_box *from = ref_box_any(r, 0);
	struct ref_snap *s = chance(r, 40) ? ref_snap_any(r, NULL) : NULL;
	NODE(ForkSandboxResponse) * m;
	struct grpc_status st;

	if ((!from && !s) || ref_alive(r) + 3 > ALIVE_MAX)
		return;
	rq.request_id = ref_request(r);
	rq.count = 1 + pick(r, 3);
	if (s)
		rq.snapshot_id = s->id;
	else
		rq.sandbox_id = from->id;
	m = ref_mutate(r, "ForkSandbox", &rq.base, D(fork_sandbox_response),
		       &st);
	if (!m) {
		if (!ref_failed_as_told(r, &st))
			wrong(r, "ForkSandbox: %s %s: %s",
			      grpc_code_str(st.code), st.reason, st.message);
		return;
	}
	if (m->n_sandboxes != rq.count)
		wrong(r, "ForkSandbox made %zu of %u", m->n_sandboxes,
		      rq.count);
	for (size_t i = 0; i < m->n_sandboxes; i++) {
		struct ref_box *box = ref_box_add(r, m->sandboxes[i]->id);

		box->auto_resume = m->sandboxes[i]->auto_resume;
		box->value = s ? s->value : from->value;
		ref_check_box(r, box);
	}
	FREE(m);
}

/* ---- the rest ---- */

void step_update(struct ref *r)
{
	NODE(UpdateSandboxRequest) rq = NODE_INIT(UPDATE_SANDBOX_REQUEST);
	Google__Protobuf__UInt32Value v = GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
	struct ref_box *box = ref_box_any(r, 0);
	NODE(UpdateSandboxResponse) * m;
	struct grpc_status st;

	if (!box)
		return;
	v.value = chance(r, 90) ? 3600000 + pick(r, 1000) * 1000 : 7;
	rq.request_id = ref_request(r);
	rq.sandbox_id = box->id;
	rq.timeout_ms = &v;
	m = ref_mutate(r, "UpdateSandbox", &rq.base, D(update_sandbox_response),
		       &st);
	if (v.value == 7) {
		ref_expect(r, &st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
			   "UpdateSandbox to 7 ms");
		return;
	}
	if (!m || m->sandbox->timeout_ms != v.value)
		wrong(r, "UpdateSandbox: %s %s", grpc_code_str(st.code),
		      st.message);
	box->timeout_ms = v.value;
	FREE(m);
}

/* No new ones, and all asleep; then as before. */
void step_drain(struct ref *r)
{
	NODE(CreateSandboxRequest) create = NODE_INIT(CREATE_SANDBOX_REQUEST);
	NODE(DrainNodeRequest) rq = NODE_INIT(DRAIN_NODE_REQUEST);
	NODE(DrainNodeResponse) * m;
	struct grpc_status st;

	ref_disarm(r);
	rq.request_id = ref_request(r);
	rq.pause_all = true;
	m = ref_mutate(r, "DrainNode", &rq.base, D(drain_node_response), &st);
	if (!m)
		wrong(r, "DrainNode: %s: %s", grpc_code_str(st.code),
		      st.message);
	if (m->running)
		wrong(r, "%u run on through a drain", m->running);
	FREE(m);
	for (size_t i = 0; i < r->n_boxes; i++) {
		struct ref_box *box = &r->boxes[i];

		if (box->state == REF_RUNNING) {
			box->state = REF_PAUSED;
			box->has_saved = true;
			box->saved = box->value;
		}
	}
	create.image = (char *)"debian:12";
	if (house_ask(r->house, "CreateSandbox", &create.base,
		      D(create_sandbox_response), &st) ||
	    st.code != GRPC_UNAVAILABLE)
		wrong(r, "a create while draining: %s %s",
		      grpc_code_str(st.code), st.message);
	rq.request_id = ref_request(r);
	rq.pause_all = false;
	rq.undo = true;
	m = ref_mutate(r, "DrainNode", &rq.base, D(drain_node_response), &st);
	if (!m)
		wrong(r, "DrainNode, undo: %s", st.message);
	FREE(m);
}
