/* SPDX-License-Identifier: Apache-2.0 */
/* events.c - WatchEvents: pages of the engine's event log, as a stream
 *
 * Theory of operation
 * ===================
 *
 * A watcher holds nothing but where it is in the log. It asks for a page, sends
 * it, and asks for the next when the client has taken what was sent; at the end
 * of the log it waits for EventsGrew. A client that does not read makes it
 * stand still, and if meanwhile the log is cut off behind it, it is told the
 * oldest sequence that is left.
 */
#include "front/events.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "front/client.h"
#include "front/check.h"
#include "front/wire.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <string.h>

#define PAGE	  100
#define TYPES_MAX 32
#define TYPE_MAX  63

struct watcher {
	struct list link;
	struct front *front;
	struct grpc_call *call;
	Sandbox__Node__V1__WatchEventsRequest *request;
	uint64_t since;
	bool reading;	 /* a page is to come */
	bool full;	 /* the client has not taken the last page */
	bool finished;
};

static void read_on(struct watcher *w);

static void may_free(struct watcher *w)
{
	if (w->call || w->reading)
		return;
	list_del(&w->link);
	wire_free((ProtobufCMessage *)w->request);
	free(w);
}

static void finish(struct watcher *w, const struct grpc_status *st)
{
	if (w->call && !w->finished)
		grpc_call_finish(w->call, st);
	w->finished = true;
}

static void send_one(struct watcher *w, const ProtobufCBinaryData *event,
		     uint64_t oldest)
{
	Sandbox__Node__V1__WatchEventsResponse m =
		SANDBOX__NODE__V1__WATCH_EVENTS_RESPONSE__INIT;
	Sandbox__Node__V1__Event *e = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	if (event)
		e = sandbox__node__v1__event__unpack(NULL, event->len,
						     event->data);
	m.event = e;
	m.oldest_sequence = oldest;
	buf = wire_pack(&m.base, &len);
	if (grpc_call_send(w->call, buf, len) == 1)
		w->full = true;
	if (e)
		sandbox__node__v1__event__free_unpacked(e, NULL);
}

static void send_page(struct watcher *w,
		      const Sandbox__Ipc__V1__ReadEventsResponse *m)
{
	struct grpc_status ok = { .code = GRPC_OK };

	if (m->oldest_sequence > w->since + 1)
		send_one(w, NULL, m->oldest_sequence);
	for (size_t i = 0; i < m->n_events; i++)
		send_one(w, &m->events[i], 0);
	if (m->next_since > w->since)
		w->since = m->next_since;
	if (m->newest_sequence > w->front->newest_event)
		w->front->newest_event = m->newest_sequence;
	if (w->request->no_follow && w->since >= m->newest_sequence)
		finish(w, &ok);
}

static void on_page(const struct grpc_status *st, const uint8_t *data,
		    size_t len, bool more, void *arg)
{
	Sandbox__Ipc__V1__ReadEventsResponse *m = NULL;
	struct watcher *w = arg;
	struct error err = { 0 };
	struct grpc_status bad;

	(void)more;
	w->reading = false;
	if (st->code == GRPC_OK)
		m = sandbox__ipc__v1__read_events_response__unpack(NULL, len,
								   data);
	if (st->code != GRPC_OK) {
		finish(w, st);
	} else if (!m) {
		err_set(&err, ERR_INTERNAL, "a page of events does not parse");
		status_of_error(&bad, &err);
		finish(w, &bad);
	} else if (w->call && !w->finished) {
		send_page(w, m);
		if (w->since < w->front->newest_event)
			read_on(w);
	}
	if (m)
		sandbox__ipc__v1__read_events_response__free_unpacked(m, NULL);
	may_free(w);
}

static void read_on(struct watcher *w)
{
	Sandbox__Ipc__V1__ReadEvents read = SANDBOX__IPC__V1__READ_EVENTS__INIT;

	if (w->reading || w->full || w->finished || !w->call)
		return;
	w->reading = true;
	read.since = w->since;
	read.sandbox_id = w->request->sandbox_id;
	read.n_types = w->request->n_types;
	read.types = w->request->types;
	read.limit = PAGE;
	engine_read_events(w->front->engine, &read, on_page, w);
}

void events_grew(struct front *front, uint64_t newest)
{
	if (newest > front->newest_event)
		front->newest_event = newest;
	list_for_each (&front->watchers, w, struct watcher, link) {
		if (w->request && w->since < newest)
			read_on(w);
	}
}

void events_end_all(struct front *front)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE",
			"the node is draining its connections");
	st.retry_ms = 1000;
	list_for_each (&front->watchers, w, struct watcher, link)
		finish(w, &st);
}

static int check(const Sandbox__Node__V1__WatchEventsRequest *r,
		 struct error *err)
{
	if (*r->sandbox_id && check_sandbox_id(r->sandbox_id, err) < 0)
		return -1;
	if (r->n_types > TYPES_MAX)
		return err_field(err, "types", "types: at most %d", TYPES_MAX);
	for (size_t i = 0; i < r->n_types; i++) {
		if (strlen(r->types[i]) > TYPE_MAX)
			return err_field(err, "types",
					 "types: at most %d characters each",
					 TYPE_MAX);
	}
	return 0;
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	struct watcher *w = arg;
	struct error err = { 0 };
	int r = 0;

	(void)call;
	if (w->finished)
		return;
	if (w->request)
		r = err_set(&err, ERR_INVALID, "more than one request");
	if (r == 0)
		r = wire_unpack(
			&sandbox__node__v1__watch_events_request__descriptor,
			data, len, &m, &err);
	if (r == 0)
		r = check((void *)m, &err);
	if (r < 0) {
		struct grpc_status st;

		status_of_error(&st, &err);
		finish(w, &st);
		return;
	}
	w->request = (void *)TAKE_PTR(m);
	w->since = w->request->since;
	read_on(w);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct watcher *w = arg;
	struct grpc_status st;

	(void)call;
	if (w->request || w->finished)
		return;
	grpc_status_set(&st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG",
			"the stream ended without a request");
	finish(w, &st);
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct watcher *w = arg;

	(void)call;
	w->full = false;
	if (w->request && w->since < w->front->newest_event)
		read_on(w);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct watcher *w = arg;

	(void)call;
	(void)st;
	w->call = NULL;
	may_free(w);
}

static const struct grpc_call_ops ops = { .message = on_message,
					  .half_close = on_half_close,
					  .writable = on_writable,
					  .done = on_done };

void events_accept(struct client *client, struct grpc_call *call)
{
	struct watcher *w = xcalloc(1, sizeof(*w));

	*w = (struct watcher){ .front = client->front, .call = call };
	list_add_tail(&client->front->watchers, &w->link);
	grpc_call_accept(call, &ops, w);
}
