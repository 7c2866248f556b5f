/* SPDX-License-Identifier: Apache-2.0 */
/* ref.c - the reference, and how calls are made for it */
#include "ref.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFINITE_MS 30000u

uint64_t ref_random(struct ref *r)
{
	/* splitmix64 */
	uint64_t z = r->rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

unsigned int pick(struct ref *r, unsigned int n)
{
	return (unsigned int)(ref_random(r) % n);
}

bool chance(struct ref *r, unsigned int percent)
{
	return pick(r, 100) < percent;
}

void trace(struct ref *r, const char *fmt, ...)
{
	char *at = r->trace[r->n_trace++ % 64];
	va_list ap;
	int n = snprintf(at, 200, "%llu: ", (unsigned long long)r->step);

	va_start(ap, fmt);
	vsnprintf(at + n, 200 - (size_t)n, fmt, ap);
	va_end(ap);
}

void wrong(struct ref *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	die("step %llu: %s", (unsigned long long)r->step, text);
}

/* ---- boxes and snapshots ---- */

struct ref_box *ref_box_add(struct ref *r, const char *id)
{
	struct ref_box *box = &r->boxes[r->n_boxes];

	if (r->n_boxes == BOXES_MAX)
		die("too many sandboxes for one run");
	r->n_boxes++;
	*box = (struct ref_box){ .state = REF_RUNNING,
				 .value = NO_VALUE,
				 .auto_resume = true };
	snprintf(box->id, sizeof(box->id), "%s", id);
	return box;
}

struct ref_box *ref_box_find(struct ref *r, const char *id)
{
	for (size_t i = 0; i < r->n_boxes; i++)
		if (!strcmp(r->boxes[i].id, id))
			return &r->boxes[i];
	return NULL;
}

size_t ref_alive(const struct ref *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_boxes; i++)
		n += r->boxes[i].state != REF_GONE;
	return n;
}

struct ref_box *ref_box_any(struct ref *r, enum ref_state state)
{
	struct ref_box *found = NULL;
	unsigned int n = 0;

	for (size_t i = 0; i < r->n_boxes; i++) {
		struct ref_box *box = &r->boxes[i];

		if (box->state != REF_GONE && (!state || box->state == state) &&
		    pick(r, ++n) == 0)
			found = box;
	}
	return found;
}

struct ref_snap *ref_snap_add(struct ref *r, const char *id, const char *box,
			      const char *name, int value)
{
	struct ref_snap *s = &r->snaps[r->n_snaps];

	if (r->n_snaps == SNAPS_MAX)
		die("too many snapshots for one run");
	r->n_snaps++;
	*s = (struct ref_snap){ .value = value };
	snprintf(s->id, sizeof(s->id), "%s", id);
	snprintf(s->box, sizeof(s->box), "%s", box);
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

struct ref_snap *ref_snap_any(struct ref *r, const char *box)
{
	struct ref_snap *found = NULL;
	unsigned int n = 0;

	for (size_t i = 0; i < r->n_snaps; i++) {
		struct ref_snap *s = &r->snaps[i];

		if (!s->gone && (!box || !strcmp(s->box, box)) &&
		    pick(r, ++n) == 0)
			found = s;
	}
	return found;
}

/* ---- calls ---- */

char *ref_request(struct ref *r)
{
	static char ids[8][48];
	char *id = ids[r->requests++ % 8];

	snprintf(id, sizeof(ids[0]), "rq-%llu-%llu",
		 (unsigned long long)r->seed, (unsigned long long)r->requests);
	return id;
}

void strike_now(struct ref *r, enum strike s)
{
	struct house *h = r->house;
	pid_t front;

	r->struck++;
	switch (s) {
	case KILL_FRONT:
		trace(r, "kill front");
		front = house_front_pid(h);
		if (front > 0)
			kill(front, SIGKILL);
		/* Or the next call would be the one to find out. But one that
		 * was not accepted yet is the next front's.
		 */
		for (int i = 0; front > 0 && h->client && i < 20 &&
				!client_is_dead(h->client);
		     i++)
			client_step(h->client, 10);
		break;
	case KILL_NODE:
	case STOP_NODE:
		trace(r, s == KILL_NODE ? "kill the node" : "stop the node");
		house_stop(h, s == KILL_NODE ? SIGKILL : SIGTERM);
		house_start(h);
		break;
	case NO_STRIKE:
	case STRIKES:
		break;
	}
}

/* Let the call get on for a while, then strike. The call may end with it. */
static void strike_within(struct ref *r, struct call *call)
{
	uint64_t until = now_ms() + (uint64_t)r->strike_ms;
	enum strike s = r->strike;
	struct client *client = house_client(r->house);

	r->strike = NO_STRIKE;
	while (now_ms() < until && !call_is_over(call))
		client_step(client, 1);
	strike_now(r, s);
}

static void *once(struct ref *r, const char *method, const ProtobufCMessage *rq,
		  const ProtobufCMessageDescriptor *type,
		  struct grpc_status *st)
{
	struct call *call = house_call(r->house, method);
	void *msg;

	r->calls++;
	call_send(call, rq);
	call_half_close(call);
	if (r->strike != NO_STRIKE)
		strike_within(r, call);
	msg = call_recv_message(call, type);
	*st = *call_wait(call);
	call_free(call);
	return msg;
}

static void *until_definite(struct ref *r, const char *method,
			    const ProtobufCMessage *rq,
			    const ProtobufCMessageDescriptor *type,
			    struct grpc_status *st)
{
	uint64_t until = now_ms() + DEFINITE_MS;
	void *msg;

	for (;;) {
		msg = once(r, method, rq, type, st);
		if (msg || !house_is_passing(st))
			return msg;
		if (now_ms() > until)
			wrong(r, "%s: no definite answer, last: %s %s: %s",
			      method, grpc_code_str(st->code), st->reason,
			      st->message);
		r->retries++;
		nap_ms(5);
	}
}

static void check_replay(struct ref *r, const char *method,
			 const ProtobufCMessage *rq,
			 const ProtobufCMessage *first)
{
	size_t len = protobuf_c_message_get_packed_size(first), len2;
	_cleanup_free_ uint8_t *a = xcalloc(1, len);
	_cleanup_free_ uint8_t *b = NULL;
	struct grpc_status st;
	ProtobufCMessage *again =
		until_definite(r, method, rq, first->descriptor, &st);

	r->replays++;
	if (!again)
		wrong(r, "%s repeated: %s: %s", method, grpc_code_str(st.code),
		      st.message);
	protobuf_c_message_pack(first, a);
	len2 = protobuf_c_message_get_packed_size(again);
	b = xcalloc(1, len2);
	protobuf_c_message_pack(again, b);
	if (len != len2 || memcmp(a, b, len) != 0)
		wrong(r, "%s repeated: another answer", method);
	protobuf_c_message_free_unpacked(again, NULL);
}

void *ref_mutate(struct ref *r, const char *method, const ProtobufCMessage *rq,
		 const ProtobufCMessageDescriptor *type, struct grpc_status *st)
{
	bool again = chance(r, 10);
	void *msg;

	trace(r, "%s%s%s%s", method, r->armed ? ", armed " : "",
	      r->armed ? r->armed : "", r->strike ? ", will be struck" : "");
	msg = until_definite(r, method, rq, type, st);
	r->strike = NO_STRIKE;
	trace(r, " -> %s %s %s", grpc_code_str(st->code), st->reason,
	      st->message);
	if (msg && again)
		check_replay(r, method, rq, msg);
	return msg;
}

void *ref_ask(struct ref *r, const char *method, const ProtobufCMessage *rq,
	      const ProtobufCMessageDescriptor *type, struct grpc_status *st)
{
	return until_definite(r, method, rq, type, st);
}

void ref_expect(struct ref *r, const struct grpc_status *st,
		enum grpc_code code, const char *reason, const char *what)
{
	if (st->code != code || strcmp(st->reason, reason) != 0)
		wrong(r, "%s: want %s %s, got %s %s (%s): %s", what,
		      grpc_code_str(code), reason, grpc_code_str(st->code),
		      st->reason, st->field, st->message);
}

void ref_disarm(struct ref *r)
{
	if (r->armed)
		house_fault(r->house, r->armed, NULL);
	r->armed = NULL;
}

bool ref_failed_as_told(struct ref *r, const struct grpc_status *st)
{
	if (st->code == GRPC_OK || !r->armed ||
	    !strstr(st->message, "fails as told"))
		return false;
	r->failed++;
	return true;
}
