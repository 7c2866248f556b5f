/* SPDX-License-Identifier: Apache-2.0 */
/* ref_audit.c - the node compared with the reference */
#include "ref.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_MS 20000u
#define D(name)	  (&sandbox__node__v1__##name##__descriptor)
#define FREE(m)                                                                \
	do {                                                                   \
		if (m)                                                         \
			protobuf_c_message_free_unpacked(&(m)->base, NULL);    \
	} while (0)

static enum ref_state state_of(int state)
{
	switch (state) {
	case SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING:
		return REF_RUNNING;
	case SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED:
		return REF_PAUSED;
	case SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_TERMINATED:
		return REF_GONE;
	default:
		return 0;
	}
}

enum ref_state ref_look(struct ref *r, const char *id)
{
	NODE(GetSandboxRequest) rq = NODE_INIT(GET_SANDBOX_REQUEST);
	uint64_t until = now_ms() + SETTLE_MS;
	enum ref_state state = 0;

	rq.sandbox_id = (char *)id;
	while (!state) {
		struct grpc_status st;
		NODE(GetSandboxResponse) *m =
			ref_ask(r, "GetSandbox", &rq.base,
				D(get_sandbox_response), &st);
		int raw;

		if (!m) {
			ref_expect(r, &st, GRPC_NOT_FOUND, "SANDBOX_NOT_FOUND",
				   "GetSandbox");
			return REF_GONE;
		}
		raw = (int)m->sandbox->state;
		state = state_of(raw);
		if (raw ==
		    SANDBOX__NODE__V1__SANDBOX_STATE__SANDBOX_STATE_FAILED)
			wrong(r, "'%s' is FAILED: %s", id,
			      m->sandbox->state_reason);
		FREE(m);
		if (!state && now_ms() > until)
			wrong(r, "'%s' stays in state %d", id, raw);
		if (!state)
			nap_ms(2);
	}
	return state;
}

int ref_read_value(struct ref *r, const char *id)
{
	NODE(ReadFileRequest) rq = NODE_INIT(READ_FILE_REQUEST);
	NODE(ReadFileResponse) * m;
	struct grpc_status st;
	char text[16] = "";

	rq.sandbox_id = (char *)id;
	rq.path = BYTES("value");
	m = ref_ask(r, "ReadFile", &rq.base, D(read_file_response), &st);
	if (!m) {
		ref_expect(r, &st, GRPC_NOT_FOUND, "FILE_NOT_FOUND",
			   "ReadFile");
		return NO_VALUE;
	}
	if (m->data.len < sizeof(text) && m->data.len)
		memcpy(text, m->data.data, m->data.len);
	FREE(m);
	return atoi(text);
}

void ref_check_box(struct ref *r, const struct ref_box *box)
{
	enum ref_state state = ref_look(r, box->id);
	int value;

	if (state != box->state)
		wrong(r, "'%s' is in state %d, should be %d", box->id, state,
		      box->state);
	if (state != REF_RUNNING)
		return;
	value = ref_read_value(r, box->id);
	if (value != box->value)
		wrong(r, "'%s' has value %d, should have %d", box->id, value,
		      box->value);
}

void ref_adopt(struct ref *r, struct ref_box *box, const int *values, size_t n)
{
	box->state = ref_look(r, box->id);
	trace(r, "'%s' is adopted in state %d", box->id, box->state);
	if (box->state != REF_RUNNING)
		return;
	box->value = ref_read_value(r, box->id);
	for (size_t i = 0; i < n; i++)
		if (values[i] == box->value)
			return;
	wrong(r, "'%s' has value %d, which it never could have", box->id,
	      box->value);
}

/* ---- all of it ---- */

static void audit_page(struct ref *r, NODE(ListSandboxesResponse) * m,
		       bool seen[BOXES_MAX])
{
	for (size_t i = 0; i < m->n_sandboxes; i++) {
		const char *id = m->sandboxes[i]->id;
		struct ref_box *box = ref_box_find(r, id);

		if (m->sandboxes[i]->n_env)
			wrong(r, "a list tells '%s's env", id);
		if (!box || box->state == REF_GONE) {
			/* It may be on its way out. */
			if (ref_look(r, id) == REF_GONE)
				continue;
			wrong(r, "'%s' is there, and should not", id);
		}
		if (seen[box - r->boxes])
			wrong(r, "'%s' is listed twice", id);
		seen[box - r->boxes] = true;
	}
}

static void audit_boxes(struct ref *r)
{
	NODE(ListSandboxesRequest) rq = NODE_INIT(LIST_SANDBOXES_REQUEST);
	bool seen[BOXES_MAX] = { false };
	bool more = true;

	rq.limit = 3;
	while (more) {
		struct grpc_status st;
		NODE(ListSandboxesResponse) *m =
			ref_ask(r, "ListSandboxes", &rq.base,
				D(list_sandboxes_response), &st);

		if (!m)
			wrong(r, "ListSandboxes: %s", st.message);
		audit_page(r, m, seen);
		rq.offset += (uint32_t)m->n_sandboxes;
		more = m->pagination->has_more;
		FREE(m);
	}
	for (size_t i = 0; i < r->n_boxes; i++) {
		if (r->boxes[i].state == REF_GONE)
			continue;
		if (!seen[i])
			wrong(r, "'%s' is not listed", r->boxes[i].id);
		ref_check_box(r, &r->boxes[i]);
	}
}

static void audit_snapshots(struct ref *r)
{
	NODE(ListSnapshotsRequest) rq = NODE_INIT(LIST_SNAPSHOTS_REQUEST);
	size_t want = 0, got = 0;
	bool more = true;

	for (size_t i = 0; i < r->n_snaps; i++)
		want += !r->snaps[i].gone;
	rq.limit = 4;
	while (more) {
		struct grpc_status st;
		NODE(ListSnapshotsResponse) *m =
			ref_ask(r, "ListSnapshots", &rq.base,
				D(list_snapshots_response), &st);

		if (!m)
			wrong(r, "ListSnapshots: %s", st.message);
		for (size_t i = 0; i < m->n_snapshots; i++, got++) {
			bool known = false;

			for (size_t j = 0; j < r->n_snaps; j++)
				known |= !r->snaps[j].gone &&
					 !strcmp(r->snaps[j].id,
						 m->snapshots[i]->id);
			if (!known)
				wrong(r, "snapshot '%s' should not be",
				      m->snapshots[i]->id);
		}
		rq.offset += (uint32_t)m->n_snapshots;
		more = m->pagination->has_more;
		FREE(m);
	}
	if (got != want)
		wrong(r, "%zu snapshots are listed, should be %zu", got, want);
}

static void audit_ports(struct ref *r)
{
	for (size_t i = 0; i < r->n_boxes; i++) {
		NODE(ListPortsRequest) rq = NODE_INIT(LIST_PORTS_REQUEST);
		NODE(ListPortsResponse) * m;
		unsigned int got = 0;
		struct grpc_status st;

		if (r->boxes[i].state == REF_GONE)
			continue;
		rq.sandbox_id = r->boxes[i].id;
		m = ref_ask(r, "ListPorts", &rq.base, D(list_ports_response),
			    &st);
		if (!m)
			wrong(r, "ListPorts: %s", st.message);
		for (size_t j = 0; j < m->n_ports; j++)
			got |= 1u << (m->ports[j]->port - 8000);
		FREE(m);
		if (got != r->boxes[i].ports)
			wrong(r, "'%s' has ports %#x, should have %#x",
			      r->boxes[i].id, got, r->boxes[i].ports);
	}
}

void ref_audit(struct ref *r)
{
	audit_boxes(r);
	audit_snapshots(r);
	audit_ports(r);
	ref_audit_events(r);
}

/* Numbers without gaps, and one end for who began. */
void ref_audit_events(struct ref *r)
{
	NODE(WatchEventsRequest) rq = NODE_INIT(WATCH_EVENTS_REQUEST);
	NODE(WatchEventsResponse) * m;
	struct call *call;
	struct grpc_status st;

	rq.since = r->events;
	rq.no_follow = true;
	call = house_call(r->house, "WatchEvents");
	call_send(call, &rq.base);
	call_half_close(call);
	while ((m = call_recv_message(call, D(watch_events_response)))) {
		if (m->event && m->event->sequence != r->events + 1)
			wrong(r, "event %llu follows %llu",
			      (unsigned long long)m->event->sequence,
			      (unsigned long long)r->events);
		if (m->event)
			r->events = m->event->sequence;
		FREE(m);
	}
	st = *call_wait(call);
	call_free(call);
	if (st.code != GRPC_OK && !house_is_passing(&st))
		wrong(r, "WatchEvents: %s %s", grpc_code_str(st.code),
		      st.message);
}
