/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.c - front's end of the socket to the engine */
#include "front/engine_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/ipc_message.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/wire.h"

#include <assert.h>

#define BUCKETS 256

struct request {
	struct list link;
	uint64_t id;
	engine_answer_fn answer;
	void *arg;
};

struct engine_link {
	struct loop *loop;
	struct ipc *ipc;
	const struct engine_link_ops *ops;
	void *arg;
	uint64_t last_id;
	unsigned int waiting;
	bool dead;
	struct list requests[BUCKETS];
	sd_event_source *fail; /* armed when a request could not be sent */
};

static struct request *find(struct engine_link *link, uint64_t id)
{
	list_for_each (&link->requests[id % BUCKETS], r, struct request, link) {
		if (r->id == id)
			return r;
	}
	return NULL;
}

static void drop(struct engine_link *link, struct request *r)
{
	list_del(&r->link);
	link->waiting--;
	free(r);
}

static void on_reply(struct engine_link *link, uint64_t id,
		     const Sandbox__Ipc__V1__Reply *reply)
{
	struct request *r = find(link, id);
	struct grpc_status st;
	engine_answer_fn answer;
	bool more;
	void *arg;

	if (!r)
		return;
	status_of_engine(&st, reply->status);
	more = reply->more && st.code == GRPC_OK;
	answer = r->answer;
	arg = r->arg;
	if (!more)
		drop(link, r);
	answer(&st, reply->response.data, reply->response.len, more, arg);
}

static void refuse_all(struct engine_link *link, const char *why)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE", "%s", why);
	st.retry_ms = 1000;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (!list_empty(&link->requests[i])) {
			struct request *r = list_entry(link->requests[i].next,
						       struct request, link);
			engine_answer_fn answer = r->answer;
			void *arg = r->arg;

			drop(link, r);
			answer(&st, NULL, 0, false, arg);
		}
	}
}

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage *m =
		sandbox__ipc__v1__engine_message__unpack(NULL, len, data);
	struct engine_link *link = arg;

	(void)ipc;
	/* The engine is trusted; what does not parse is a bug of ours, and
	 * another front, started anew, is the remedy.
	 */
	if (!m) {
		link->ops->closed("the engine sent what does not parse",
				  link->arg);
		return;
	}
	if (m->body_case == SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_REPLY)
		on_reply(link, m->id, m->reply);
	else
		link->ops->message(m, fds, n_fds, link->arg);
	sandbox__ipc__v1__engine_message__free_unpacked(m, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	struct engine_link *link = arg;

	(void)ipc;
	link->dead = true;
	refuse_all(link, "the engine is gone");
	link->ops->closed(why, link->arg);
}

static const struct ipc_ops ipc_ops = { .message = on_message,
					.closed = on_closed };

int engine_link_new(struct loop *loop, int fd,
		    const struct engine_link_ops *ops, void *arg,
		    struct engine_link **ret, struct error *err)
{
	struct engine_link *link = xcalloc(1, sizeof(*link));

	*link = (struct engine_link){ .loop = loop, .ops = ops, .arg = arg };
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&link->requests[i]);
	if (ipc_new(loop, fd, &ipc_ops, link, &link->ipc, err) < 0) {
		free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

struct engine_link *engine_link_free(struct engine_link *link)
{
	if (!link)
		return NULL;
	link->dead = true;
	refuse_all(link, "front stops");
	link->fail = sd_event_source_disable_unref(link->fail);
	link->ipc = ipc_free(link->ipc);
	free(link);
	return NULL;
}

unsigned int engine_waiting(const struct engine_link *link)
{
	return link->waiting;
}

static int send_message(struct engine_link *link,
			Sandbox__Ipc__V1__FrontMessage *m, int fd)
{
	if (link->dead)
		return -1;
	return ipc_send_message(link->ipc, &m->base, &fd, fd >= 0 ? 1 : 0,
				NULL);
}

/* What could not be sent is answered from here. */
static void on_fail(void *arg)
{
	struct engine_link *link = arg;

	link->dead = true;
	refuse_all(link, "the engine does not listen");
	link->ops->closed("the engine does not listen", link->arg);
}

static uint64_t request(struct engine_link *link,
			Sandbox__Ipc__V1__FrontMessage *m, int fd,
			engine_answer_fn answer, void *arg)
{
	struct request *r = xcalloc(1, sizeof(*r));

	*r = (struct request){ .id = ++link->last_id,
			       .answer = answer,
			       .arg = arg };
	m->id = r->id;
	list_add_tail(&link->requests[r->id % BUCKETS], &r->link);
	link->waiting++;
	if (send_message(link, m, fd) < 0)
		loop_timer(link->loop, &link->fail, loop_now_ms(), on_fail,
			   link);
	return r->id;
}

uint64_t engine_call(struct engine_link *link, const char *method,
		     const char *identity, const uint8_t *req, size_t len,
		     int fd, engine_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Call call = SANDBOX__IPC__V1__CALL__INIT;
	Sandbox__Ipc__V1__Peer peer = SANDBOX__IPC__V1__PEER__INIT;

	peer.identity = (char *)identity;
	call.method = (char *)method;
	call.request = (ProtobufCBinaryData){ len, (uint8_t *)req };
	call.peer = &peer;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_CALL;
	m.call = &call;
	return request(link, &m, fd, answer, arg);
}

uint64_t engine_acquire(struct engine_link *link, const char *sandbox_id,
			const char *identity, engine_answer_fn answer,
			void *arg)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Acquire acquire = SANDBOX__IPC__V1__ACQUIRE__INIT;
	Sandbox__Ipc__V1__Peer peer = SANDBOX__IPC__V1__PEER__INIT;

	peer.identity = (char *)identity;
	acquire.sandbox_id = (char *)sandbox_id;
	acquire.peer = &peer;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_ACQUIRE;
	m.acquire = &acquire;
	return request(link, &m, -EBADF, answer, arg);
}

uint64_t engine_read_events(struct engine_link *link,
			    Sandbox__Ipc__V1__ReadEvents *read,
			    engine_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;

	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_READ_EVENTS;
	m.read_events = read;
	return request(link, &m, -EBADF, answer, arg);
}

void engine_cancel(struct engine_link *link, uint64_t call_id)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Cancel cancel = SANDBOX__IPC__V1__CANCEL__INIT;

	cancel.call_id = call_id;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_CANCEL;
	m.cancel = &cancel;
	send_message(link, &m, -EBADF);
}

void engine_release(struct engine_link *link, uint64_t lease)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Release release = SANDBOX__IPC__V1__RELEASE__INIT;

	release.lease = lease;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_RELEASE;
	m.release = &release;
	send_message(link, &m, -EBADF);
}

void engine_activity(struct engine_link *link, const char *sandbox_id)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Activity activity = SANDBOX__IPC__V1__ACTIVITY__INIT;

	activity.sandbox_id = (char *)sandbox_id;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_ACTIVITY;
	m.activity = &activity;
	send_message(link, &m, -EBADF);
}

void engine_link_lost(struct engine_link *link, const char *key,
		      uint64_t generation, const char *why, bool broken)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__LinkLost lost = SANDBOX__IPC__V1__LINK_LOST__INIT;

	lost.sandbox_id = (char *)key;
	lost.generation = generation;
	lost.why = (char *)why;
	lost.broken = broken;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_LINK_LOST;
	m.link_lost = &lost;
	send_message(link, &m, -EBADF);
}

void engine_agent_silent(struct engine_link *link, const char *key,
			 uint64_t generation, bool silent)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__AgentSilent told =
		SANDBOX__IPC__V1__AGENT_SILENT__INIT;

	told.sandbox_id = (char *)key;
	told.generation = generation;
	told.silent = silent;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_AGENT_SILENT;
	m.agent_silent = &told;
	send_message(link, &m, -EBADF);
}

void engine_event(struct engine_link *link, const char *sandbox_id,
		  const char *type, const struct engine_pair *data, size_t n)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__ReportEvent event =
		SANDBOX__IPC__V1__REPORT_EVENT__INIT;
	Sandbox__Ipc__V1__ReportEvent__DataEntry
		entries[ENGINE_EVENT_PAIRS_MAX];
	Sandbox__Ipc__V1__ReportEvent__DataEntry *list[ENGINE_EVENT_PAIRS_MAX];

	assert(n <= ENGINE_EVENT_PAIRS_MAX);
	for (size_t i = 0; i < n; i++) {
		sandbox__ipc__v1__report_event__data_entry__init(&entries[i]);
		entries[i].key = (char *)data[i].key;
		entries[i].value = (char *)data[i].value;
		list[i] = &entries[i];
	}
	event.sandbox_id = (char *)sandbox_id;
	event.type = (char *)type;
	event.n_data = n;
	event.data = list;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_EVENT;
	m.event = &event;
	send_message(link, &m, -EBADF);
}

void engine_reply(struct engine_link *link, uint64_t id,
		  const struct grpc_status *st, const uint8_t *data, size_t len)
{
	Sandbox__Ipc__V1__FrontMessage m =
		SANDBOX__IPC__V1__FRONT_MESSAGE__INIT;
	Sandbox__Ipc__V1__Reply reply = SANDBOX__IPC__V1__REPLY__INIT;
	Sandbox__Ipc__V1__Status status;

	if (id == 0)
		return;
	if (st && st->code != GRPC_OK) {
		status_to_engine(&status, st);
		reply.status = &status;
	} else {
		reply.response = (ProtobufCBinaryData){ len, (uint8_t *)data };
	}
	m.id = id;
	m.body_case = SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_REPLY;
	m.reply = &reply;
	send_message(link, &m, -EBADF);
}
