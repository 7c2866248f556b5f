/* SPDX-License-Identifier: Apache-2.0 */
/* front_link.c - the engine's end of the socket to its front process
 *
 * Theory of operation
 * ===================
 *
 * helper.c keeps the process running; what is said here is who asked what, and
 * that every question is answered also when front dies.
 *
 * Front parses what the network and the guests send, so it may be taken over:
 * what it says is decoded with bounds and checked here, and a message that
 * breaks the rules costs it its life.
 *
 * Ids that front chose are given to the engine with the count of this process
 * in their upper bits, so that an answer to a call of a dead front is known.
 * Requests of ours have ids of their own; those that wait are in a list.
 */
#include "engine/front_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/proc/helper.h"
#include "sandbox/ipc/v1/ipc.pb-c.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define FRONT_ID_BITS 48
#define FRONT_ID_MAX  ((UINT64_C(1) << FRONT_ID_BITS) - 1)
/* What front may put into an event, and what a name may be. */
#define EVENT_PAIRS_MAX 16
#define EVENT_BYTES_MAX 8192
#define NAME_MAX_BYTES	64
#define TEXT_MAX_BYTES	4096
#define READ_TYPES_MAX	64

/* One request of ours that waits for its answer. */
struct request {
	struct list link;
	uint64_t id;
	front_answer_fn answer;
	void *arg;
};

/* An answer that is given from the loop: front was not there. */
struct refusal {
	struct front_link *front;
	struct list link;
	front_answer_fn answer;
	void *arg;
};

struct front_link {
	struct loop *loop;
	const struct front_link_ops *ops;
	void *arg;
	struct helper *helper;
	sd_event_source *refuse; /* fires when refusals wait */
	uint64_t last_id;
	struct list requests;
	struct list refusals;
};

/* ---- what front says ---- */

static bool is_name(const char *s)
{
	return s && strnlen(s, NAME_MAX_BYTES) < NAME_MAX_BYTES;
}

static bool is_text(const char *s)
{
	return s && strnlen(s, TEXT_MAX_BYTES) < TEXT_MAX_BYTES;
}

static uint64_t outer_id(const struct front_link *front, uint64_t id)
{
	return helper_epoch(front->helper) << FRONT_ID_BITS | id;
}

static const char *identity_of(const Sandbox__Ipc__V1__Peer *peer)
{
	return peer && peer->identity ? peer->identity : "";
}

static void to_error(struct error *err, const Sandbox__Ipc__V1__Status *st)
{
	enum err_code code = ERR_INTERNAL;

	for (int c = ERR_NONE + 1; c < ERR_CODE_COUNT; c++) {
		if (err_grpc_code((enum err_code)c) == st->code)
			code = (enum err_code)c;
	}
	err_set(err, code, "%s", st->message);
	err_reason(err, st->reason, st->field);
	err->retry_ms = st->retry_ms;
}

static bool on_reply(struct front_link *front, uint64_t id,
		     const Sandbox__Ipc__V1__Reply *reply)
{
	struct error err = { 0 };

	list_for_each (&front->requests, r, struct request, link) {
		if (r->id != id)
			continue;
		list_del(&r->link);
		if (reply->status && reply->status->code != 0) {
			to_error(&err, reply->status);
			r->answer(&err, NULL, 0, r->arg);
		} else {
			r->answer(NULL, reply->response.data,
				  reply->response.len, r->arg);
		}
		free(r);
		return true;
	}
	return false;
}

static bool on_event(struct front_link *front,
		     const Sandbox__Ipc__V1__ReportEvent *event)
{
	struct front_pair data[EVENT_PAIRS_MAX];
	size_t bytes = 0;

	if (!is_name(event->sandbox_id) || !is_name(event->type) ||
	    event->n_data > EVENT_PAIRS_MAX)
		return false;
	if (strncmp(event->type, "exec.", 5) &&
	    strncmp(event->type, "file.", 5) &&
	    strncmp(event->type, "port.", 5))
		return false;
	for (size_t i = 0; i < event->n_data; i++) {
		if (!is_name(event->data[i]->key) ||
		    !is_text(event->data[i]->value))
			return false;
		data[i] = (struct front_pair){ event->data[i]->key,
					       event->data[i]->value };
		bytes += strlen(event->data[i]->value);
	}
	if (bytes > EVENT_BYTES_MAX)
		return false;
	front->ops->event(event->sandbox_id, event->type, data, event->n_data,
			  front->arg);
	return true;
}

static bool on_read_events(struct front_link *front, uint64_t id,
			   const Sandbox__Ipc__V1__ReadEvents *read)
{
	if (!is_name(read->sandbox_id) || read->n_types > READ_TYPES_MAX ||
	    read->limit > 1000)
		return false;
	for (size_t i = 0; i < read->n_types; i++) {
		if (!is_name(read->types[i]))
			return false;
	}
	front->ops->read_events(outer_id(front, id), read->since,
				read->sandbox_id, read->types, read->n_types,
				read->limit, front->arg);
	return true;
}

/* False: it broke the rules. An op may free nothing of ours. */
static bool dispatch(struct front_link *front,
		     const Sandbox__Ipc__V1__FrontMessage *m, int *fd)
{
	const struct front_link_ops *ops = front->ops;
	uint64_t id = outer_id(front, m->id);

	if (m->id > FRONT_ID_MAX)
		return false;
	switch (m->body_case) {
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_REPLY:
		return on_reply(front, m->id, m->reply);
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_CALL:
		if (!m->id || !is_name(m->call->method) ||
		    !is_text(identity_of(m->call->peer)))
			return false;
		ops->call(id, m->call->method, identity_of(m->call->peer),
			  m->call->request.data, m->call->request.len, fd,
			  front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_CANCEL:
		if (m->cancel->call_id > FRONT_ID_MAX)
			return false;
		ops->cancel(outer_id(front, m->cancel->call_id), front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_ACQUIRE:
		if (!m->id || !is_name(m->acquire->sandbox_id) ||
		    !is_text(identity_of(m->acquire->peer)))
			return false;
		ops->acquire(id, m->acquire->sandbox_id,
			     identity_of(m->acquire->peer), front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_RELEASE:
		ops->release(m->release->lease, front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_ACTIVITY:
		if (!is_name(m->activity->sandbox_id))
			return false;
		ops->activity(m->activity->sandbox_id, front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_EVENT:
		return on_event(front, m->event);
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_LINK_LOST:
		if (!is_name(m->link_lost->sandbox_id) ||
		    !is_text(m->link_lost->why))
			return false;
		ops->link_lost(m->link_lost->sandbox_id,
			       m->link_lost->generation, m->link_lost->why,
			       m->link_lost->broken, front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_AGENT_SILENT:
		if (!is_name(m->agent_silent->sandbox_id))
			return false;
		ops->agent_silent(m->agent_silent->sandbox_id,
				  m->agent_silent->generation,
				  m->agent_silent->silent, front->arg);
		return true;
	case SANDBOX__IPC__V1__FRONT_MESSAGE__BODY_READ_EVENTS:
		return m->id && on_read_events(front, m->id, m->read_events);
	default:
		return false;
	}
}

static int on_message(const ProtobufCMessage *m, int *fds, size_t n_fds,
		      void *arg)
{
	int none = -EBADF;

	if (n_fds > 1 ||
	    !dispatch(arg, (const Sandbox__Ipc__V1__FrontMessage *)m,
		      n_fds ? &fds[0] : &none))
		return -1;
	return 0;
}

/* ---- its life ---- */

static void answer_all(struct front_link *front, const char *why)
{
	struct error err = { 0 };
	struct list all;

	if (list_empty(&front->requests))
		return;
	/* An answer may ask again: that one waits for the next process. */
	all = front->requests;
	all.next->prev = all.prev->next = &all;
	list_init(&front->requests);
	err_set(&err, ERR_UNAVAILABLE, "front is gone: %s", why);
	err.retry_ms = 1000;
	list_for_each (&all, r, struct request, link) {
		list_del(&r->link);
		r->answer(&err, NULL, 0, r->arg);
		free(r);
	}
}

static void on_up(void *arg)
{
	struct front_link *front = arg;

	front->ops->up(front->arg);
}

static void on_down(const char *why, void *arg)
{
	struct front_link *front = arg;

	answer_all(front, why);
	front->ops->down(why, front->arg);
}

static const struct helper_ops helper_ops = {
	.report = &sandbox__ipc__v1__front_message__descriptor,
	.up = on_up,
	.down = on_down,
	.message = on_message,
};

/* Refusals come from this timer: it is set to fire at once. */
static void on_refuse(void *arg)
{
	struct front_link *front = arg;
	struct error err = { 0 };
	struct list all;

	if (list_empty(&front->refusals))
		return;
	all = front->refusals;
	all.next->prev = all.prev->next = &all;
	list_init(&front->refusals);
	err_set(&err, ERR_UNAVAILABLE, "front is being started");
	err.retry_ms = 1000;
	list_for_each (&all, r, struct refusal, link) {
		list_del(&r->link);
		r->answer(&err, NULL, 0, r->arg);
		free(r);
	}
}

static struct front_link *link_new(struct loop *loop,
				   const struct front_link_ops *ops, void *arg)
{
	struct front_link *front = xcalloc(1, sizeof(*front));

	*front = (struct front_link){ .loop = loop, .ops = ops, .arg = arg };
	list_init(&front->requests);
	list_init(&front->refusals);
	return front;
}

int front_link_new(struct loop *loop, const struct front_link_config *config,
		   const struct front_link_ops *ops, void *arg,
		   struct front_link **ret, struct error *err)
{
	struct front_link *front = link_new(loop, ops, arg);
	const struct helper_program program = { .path = config->program,
						.uid = config->uid,
						.gid = config->gid,
						.debug = config->debug };

	if (helper_new(loop, "front", &program, &helper_ops, front,
		       &front->helper, err) < 0) {
		front_link_free(front);
		return -1;
	}
	*ret = front;
	return 0;
}

int front_link_new_fd(struct loop *loop, int fd,
		      const struct front_link_ops *ops, void *arg,
		      struct front_link **ret, struct error *err)
{
	struct front_link *front = link_new(loop, ops, arg);

	if (helper_new_fd(loop, "front", fd, &helper_ops, front, &front->helper,
			  err) < 0) {
		front_link_free(front);
		return -1;
	}
	*ret = front;
	return 0;
}

struct front_link *front_link_free(struct front_link *front)
{
	if (!front)
		return NULL;
	front->helper = helper_free(front->helper);
	/* An answer that asks again is refused, and that answered too. */
	while (!list_empty(&front->requests) || !list_empty(&front->refusals)) {
		answer_all(front, "the daemon stops");
		on_refuse(front);
	}
	front->refuse = sd_event_source_disable_unref(front->refuse);
	free(front);
	return NULL;
}

uint64_t front_link_restarts(const struct front_link *front)
{
	return helper_epoch(front->helper);
}

pid_t front_link_pid(const struct front_link *front)
{
	return helper_pid(front->helper);
}

/* ---- what the engine says ---- */

static int send_message(struct front_link *front,
			const Sandbox__Ipc__V1__EngineMessage *m,
			const int *fds, size_t n_fds)
{
	return front->helper ?
		       helper_tell(front->helper, &m->base, fds, n_fds) :
		       -1;
}

/* Ask, or see to it that the answer says why not. */
static void request(struct front_link *front,
		    Sandbox__Ipc__V1__EngineMessage *m, const int *fd,
		    front_answer_fn answer, void *arg)
{
	struct refusal *refusal;

	m->id = ++front->last_id & FRONT_ID_MAX;
	if (send_message(front, m, fd, fd ? 1 : 0) == 0) {
		struct request *r = xcalloc(1, sizeof(*r));

		*r = (struct request){ .id = m->id,
				       .answer = answer,
				       .arg = arg };
		list_add_tail(&front->requests, &r->link);
		return;
	}
	refusal = xcalloc(1, sizeof(*refusal));
	*refusal = (struct refusal){ .front = front,
				     .answer = answer,
				     .arg = arg };
	list_add_tail(&front->refusals, &refusal->link);
	loop_timer(front->loop, &front->refuse, loop_now_ms(), on_refuse,
		   front);
}

void front_link_reply(struct front_link *front, uint64_t id,
		      const struct error *err, const void *data, size_t len,
		      bool more)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__Reply reply = SANDBOX__IPC__V1__REPLY__INIT;
	Sandbox__Ipc__V1__Status status = SANDBOX__IPC__V1__STATUS__INIT;

	if (id >> FRONT_ID_BITS != (helper_epoch(front->helper) & 0xffff))
		return;
	m.id = id & FRONT_ID_MAX;
	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_REPLY;
	m.reply = &reply;
	reply.more = more;
	if (err) {
		status.code = err_grpc_code(err->code);
		status.reason = (char *)err_reason_of(err);
		status.message = (char *)err->msg;
		status.field = (char *)err->field;
		status.retry_ms = err->retry_ms;
		reply.status = &status;
	} else {
		reply.response =
			(ProtobufCBinaryData){ len, (uint8_t *)(size_t)data };
	}
	send_message(front, &m, NULL, 0);
}

void front_link_setup(struct front_link *front, const uint8_t *message,
		      size_t len, const int *fds, size_t n_fds)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__Setup *setup =
		sandbox__ipc__v1__setup__unpack(NULL, len, message);

	if (!setup) {
		log_err("a Setup message does not parse");
		return;
	}
	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_SETUP;
	m.setup = setup;
	send_message(front, &m, fds, n_fds);
	sandbox__ipc__v1__setup__free_unpacked(setup, NULL);
}

void front_link_listen(struct front_link *front, bool tls, int fd)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__Listen listen = SANDBOX__IPC__V1__LISTEN__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_LISTEN;
	m.listen = &listen;
	listen.kind = tls ? SANDBOX__IPC__V1__LISTEN__KIND__KIND_TLS :
			    SANDBOX__IPC__V1__LISTEN__KIND__KIND_UNIX;
	send_message(front, &m, &fd, 1);
}

void front_link_events_grew(struct front_link *front, uint64_t newest)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__EventsGrew grew = SANDBOX__IPC__V1__EVENTS_GREW__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_EVENTS_GREW;
	m.events_grew = &grew;
	grew.newest_sequence = newest;
	send_message(front, &m, NULL, 0);
}

void front_link_attach(struct front_link *front, const uint8_t *message,
		       size_t len, int fd, front_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__AttachAgent *attach =
		sandbox__ipc__v1__attach_agent__unpack(NULL, len, message);
	_cleanup_close_ int owned = fd;

	assert(attach);
	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_ATTACH_AGENT;
	m.attach_agent = attach;
	request(front, &m, &owned, answer, arg);
	sandbox__ipc__v1__attach_agent__free_unpacked(attach, NULL);
}

void front_link_detach(struct front_link *front, const char *key,
		       const char *reason, const char *text,
		       front_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__DetachAgent detach =
		SANDBOX__IPC__V1__DETACH_AGENT__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_DETACH_AGENT;
	m.detach_agent = &detach;
	detach.sandbox_id = (char *)key;
	detach.reason = (char *)reason;
	detach.message = (char *)text;
	request(front, &m, NULL, answer, arg);
}

void front_link_call(struct front_link *front, const char *key,
		     const char *method, const uint8_t *req, size_t len,
		     uint32_t deadline_ms, front_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__AgentCall call = SANDBOX__IPC__V1__AGENT_CALL__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_AGENT_CALL;
	m.agent_call = &call;
	call.sandbox_id = (char *)key;
	call.method = (char *)method;
	call.request = (ProtobufCBinaryData){ len, (uint8_t *)req };
	call.deadline_ms = deadline_ms;
	request(front, &m, NULL, answer, arg);
}

void front_link_listen_port(struct front_link *front, const char *sandbox_id,
			    uint16_t port, uint32_t wait_ms, int fd,
			    front_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__ListenPort listen =
		SANDBOX__IPC__V1__LISTEN_PORT__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_LISTEN_PORT;
	m.listen_port = &listen;
	listen.sandbox_id = (char *)sandbox_id;
	listen.port = port;
	listen.wait_ms = wait_ms;
	request(front, &m, &fd, answer, arg);
}

void front_link_unlisten_port(struct front_link *front, const char *sandbox_id,
			      uint16_t port, front_answer_fn answer, void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__UnlistenPort unlisten =
		SANDBOX__IPC__V1__UNLISTEN_PORT__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_UNLISTEN_PORT;
	m.unlisten_port = &unlisten;
	unlisten.sandbox_id = (char *)sandbox_id;
	unlisten.port = port;
	request(front, &m, NULL, answer, arg);
}

void front_link_drain(struct front_link *front, front_answer_fn answer,
		      void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__Drain drain = SANDBOX__IPC__V1__DRAIN__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_DRAIN;
	m.drain = &drain;
	request(front, &m, NULL, answer, arg);
}

void front_link_count(struct front_link *front, front_answer_fn answer,
		      void *arg)
{
	Sandbox__Ipc__V1__EngineMessage m =
		SANDBOX__IPC__V1__ENGINE_MESSAGE__INIT;
	Sandbox__Ipc__V1__Count count = SANDBOX__IPC__V1__COUNT__INIT;

	m.body_case = SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_COUNT;
	m.count = &count;
	request(front, &m, NULL, answer, arg);
}
