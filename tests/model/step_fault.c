/* SPDX-License-Identifier: Apache-2.0 */
/* step_fault.c - steps where parts of the node fail, or many ask at once */
#include "ref.h"

#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D(name) (&sandbox__node__v1__##name##__descriptor)
#define FREE(m) protobuf_c_message_free_unpacked(&(m)->base, NULL)

#define AT_ONCE_MAX 6

void step_bare_strike(struct ref *r)
{
	strike_now(r, KILL_FRONT + pick(r, STRIKES - KILL_FRONT));
}

/* ---- a guest dies ---- */

static void wait_until_not(struct ref *r, struct ref_box *box)
{
	uint64_t until = now_ms() + 20000;

	while (ref_look(r, box->id) == REF_RUNNING) {
		if (now_ms() > until)
			wrong(r, "nobody sees that '%s's guest is gone",
			      box->id);
		nap_ms(2);
	}
}

/* Which it is cannot be told from outside: all but @box's are left alone by
 * asking each running guest who it is.
 */
static bool kill_guest_of(struct ref *r, const struct ref_box *box)
{
	char **names;
	size_t n = house_guests(r->house, &names);
	bool killed = false;

	for (size_t i = 0; i < n; i++) {
		char path[256];
		FILE *f;
		char id[64] = "";

		snprintf(path, sizeof(path), "%s/s/guests/%s/root/me",
			 r->house->dir, names[i]);
		f = fopen(path, "re");
		if (f && fgets(id, sizeof(id), f) && !strcmp(id, box->id))
			killed = house_kill_guest(r->house, names[i]);
		if (f)
			fclose(f);
		free(names[i]);
	}
	free(names);
	return killed;
}

static bool mark_guest(struct ref *r, const struct ref_box *box)
{
	NODE(WriteFileRequest) rq = NODE_INIT(WRITE_FILE_REQUEST);
	NODE(WriteFileStart) start = NODE_INIT(WRITE_FILE_START);
	struct call *call = house_call(r->house, "WriteFile");
	bool ok;

	start.sandbox_id = (char *)box->id;
	start.path = BYTES("me");
	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_START;
	rq.start = &start;
	call_send(call, &rq.base);
	rq.input_case = SANDBOX__NODE__V1__WRITE_FILE_REQUEST__INPUT_DATA;
	rq.data = BYTES(box->id);
	call_send(call, &rq.base);
	call_half_close(call);
	ok = call_wait(call)->code == GRPC_OK;
	call_free(call);
	return ok;
}

void step_lose_guest(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, REF_RUNNING);

	if (!box || !mark_guest(r, box))
		return;
	trace(r, "kill the guest of '%s'", box->id);
	if (!kill_guest_of(r, box))
		wrong(r, "'%s' has no guest", box->id);
	wait_until_not(r, box);
	if (box->has_saved) {
		box->state = REF_PAUSED;
		box->value = box->saved;
	} else {
		box->state = REF_GONE;
		box->ports = 0;
	}
	ref_check_box(r, box);
}

/* ---- the hypervisor does not answer ---- */

/* What needs no hypervisor goes on, at once. */
void step_hypervisor_away(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, REF_RUNNING);
	NODE(ListSandboxesRequest) rq = NODE_INIT(LIST_SANDBOXES_REQUEST);
	NODE(ListSandboxesResponse) * m;
	struct grpc_status st;
	uint64_t began;

	/* After a start the node must have asked it once. */
	if (box)
		ref_check_box(r, box);
	began = now_ms();
	trace(r, "the hypervisor goes away");
	house_fault(r->house, "down", "");
	kill(r->house->pid, SIGUSR1);
	m = ref_ask(r, "ListSandboxes", &rq.base, D(list_sandboxes_response),
		    &st);
	if (!m)
		wrong(r, "ListSandboxes: %s", st.message);
	FREE(m);
	if (box)
		ref_check_box(r, box);
	if (now_ms() - began > 5000)
		wrong(r, "questions wait for the hypervisor");
	house_fault(r->house, "down", NULL);
	kill(r->house->pid, SIGUSR1);
}

/* ---- many at once ---- */

enum what { PAUSE, RESUME, TERMINATE, READ, WHATS };

static const char *const names[] = { "PauseSandbox", "ResumeSandbox",
				     "TerminateSandbox", "ReadFile" };

struct one {
	enum what what;
	struct call *call;
	struct grpc_status st;
};

static void send_one(struct ref *r, struct one *o, const char *id)
{
	NODE(PauseSandboxRequest) pause = NODE_INIT(PAUSE_SANDBOX_REQUEST);
	NODE(ResumeSandboxRequest) resume = NODE_INIT(RESUME_SANDBOX_REQUEST);
	NODE(TerminateSandboxRequest)
	terminate = NODE_INIT(TERMINATE_SANDBOX_REQUEST);
	NODE(ReadFileRequest) read = NODE_INIT(READ_FILE_REQUEST);

	o->call = house_call(r->house, names[o->what]);
	switch (o->what) {
	case PAUSE:
		pause.sandbox_id = (char *)id;
		pause.request_id = ref_request(r);
		call_send(o->call, &pause.base);
		break;
	case RESUME:
		resume.sandbox_id = (char *)id;
		resume.request_id = ref_request(r);
		call_send(o->call, &resume.base);
		break;
	case TERMINATE:
		terminate.sandbox_id = (char *)id;
		terminate.request_id = ref_request(r);
		call_send(o->call, &terminate.base);
		break;
	case READ:
	case WHATS:
		read.sandbox_id = (char *)id;
		read.path = BYTES("value");
		call_send(o->call, &read.base);
		break;
	}
	call_half_close(o->call);
}

/* What may be said to one of several that ask at once. */
static void check_one(struct ref *r, const struct one *o, bool terminated)
{
	const struct grpc_status *st = &o->st;

	if (st->code == GRPC_OK)
		return;
	if (o->what == TERMINATE)
		wrong(r, "TerminateSandbox beside others: %s %s",
		      grpc_code_str(st->code), st->message);
	if (st->code == GRPC_FAILED_PRECONDITION || house_is_passing(st))
		return;
	if (o->what == READ && st->code == GRPC_NOT_FOUND)
		return;
	if (terminated && st->code == GRPC_NOT_FOUND)
		return;
	wrong(r, "%s beside others: %s %s: %s", names[o->what],
	      grpc_code_str(st->code), st->reason, st->message);
}

void step_at_once(struct ref *r)
{
	struct ref_box *box = ref_box_any(r, 0);
	unsigned int n = 2 + pick(r, AT_ONCE_MAX - 1);
	bool ended = false, paused = false, woken = false;
	struct one all[AT_ONCE_MAX + 1];
	int values[2];

	if (!box)
		return;
	values[0] = box->value;
	values[1] = box->saved;
	for (unsigned int i = 0; i < n; i++) {
		all[i].what = chance(r, 5) ? TERMINATE : pick(r, WHATS);
		if (all[i].what == TERMINATE && chance(r, 80))
			all[i].what = READ;
		trace(r, "at once: %s '%s'", names[all[i].what], box->id);
		send_one(r, &all[i], box->id);
	}
	for (unsigned int i = 0; i < n; i++) {
		all[i].st = *call_wait(all[i].call);
		call_free(all[i].call);
		r->calls++;
		trace(r, " -> %s: %s %s", names[all[i].what],
		      grpc_code_str(all[i].st.code), all[i].st.message);
		ended |= all[i].what == TERMINATE;
		if (all[i].st.code == GRPC_OK) {
			paused |= all[i].what == PAUSE;
			woken |= all[i].what == RESUME || all[i].what == READ;
		}
		if (all[i].what == READ &&
		    !strcmp(all[i].st.reason, "FILE_NOT_FOUND"))
			woken = true;
	}
	for (unsigned int i = 0; i < n; i++)
		check_one(r, &all[i], ended);
	if (paused) {
		box->has_saved = true;
		box->saved = box->value;
	}
	if (ended) {
		box->state = REF_GONE;
		box->ports = 0;
		ref_check_box(r, box);
		return;
	}
	if (box->state == REF_PAUSED && box->has_saved)
		box->value = box->saved;
	{
		enum ref_state was = box->state;

		ref_adopt(r, box, values, 2);
		if (box->state == REF_GONE)
			wrong(r, "'%s' is gone", box->id);
		if (box->state == REF_PAUSED && was == REF_RUNNING && !paused)
			wrong(r, "'%s' is paused, and nobody did", box->id);
		if (box->state == REF_RUNNING && was == REF_PAUSED && !woken)
			wrong(r, "'%s' runs, and nobody woke it", box->id);
	}
}
