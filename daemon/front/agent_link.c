/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link.c - connections to the agents in the guests
 *
 * Theory of operation
 * ===================
 *
 * A link is begun by AttachAgent, in order: the transport (resync on a serial
 * line), Hello, Configure. One timer bounds all of it. Only then is the link
 * READY and found by agent_find(). It ends in one of two ways:
 *
 *   from inside, link_fail(): the transport or the agent failed. Its calls end
 *   at once; the link itself goes when the pump says that it is closed, for
 *   we may be deep in one of its callbacks. Then the engine hears: as the
 *   answer to AttachAgent when that still waits, else by LinkLost.
 *
 *   from outside, link_free(): detached, replaced, or front ends. Never called
 *   from a callback of the link.
 *
 * A link that is ending is told apart by `why`, which its calls are given.
 *
 * An agent that is not heard is asked often, and told to the engine as silent
 * within seconds: that costs nothing to take back. The link is given up only much
 * later, for that ends its calls.
 */
#include "front/agent_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/grpc_io.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "front/exits.h"
#include "front/front.h"
#include "front/guest_clock.h"
#include "front/wire.h"
#include "sandbox/agent/v1/agent.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SERVICE		  "/sandbox.agent.v1.AgentService/"
#define PROTOCOL_VERSION  1
#define KEEPALIVE_MS	  2000
#define ASK_MS		  1000 /* then it is asked again */
#define ASKS		  3    /* then it is told to be silent */
#define KEEPALIVE_DEAD_MS 15000
#define VERSION_TEXT_MAX  64
#define UNARY_ANSWER_MAX  (64u << 10)
#define WARNINGS_MAX	  8
#define NS_PER_S	  1000000000

enum link_state {
	LINK_CONNECTING, /* the transport is not in step yet */
	LINK_HELLO,	 /* Hello or Configure is under way */
	LINK_READY,	 /* clients' calls may go */
	LINK_STATE_COUNT,
};

struct agent_link {
	struct list link;
	struct front *front;
	char key[SANDBOX_ID_MAX];
	uint64_t generation;
	enum link_state state;
	struct grpc_io *io;
	struct grpc_conn *conn;
	sd_event_source *deadline;
	uint64_t deadline_ms;
	struct guest_clock clock;
	uint64_t attach_id;
	Sandbox__Ipc__V1__AttachAgent *attach; /* until READY */
	Sandbox__Agent__V1__HelloResponse *hello;
	unsigned int n_calls;
	bool watching; /* one of them is NextExits, which does not count */
	bool tells_exits;
	struct exits_link exits;
	bool ending;
	bool broken; /* the agent broke the protocol */
	struct grpc_status why; /* given to calls while ending */
};

struct agent_call {
	struct agent_link *link;
	struct grpc_call *call;
	const struct agent_call_ops *ops;
	void *arg;
};

/* ---- calls ---- */

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

/* ---- the end of a link ---- */

static void link_release(struct agent_link *link)
{
	list_del(&link->link);
	sd_event_source_disable_unref(link->deadline);
	wire_free((ProtobufCMessage *)link->attach);
	wire_free((ProtobufCMessage *)link->hello);
	free(link);
}

/* The end from outside; @st is what its calls are told. */
static void link_free(struct agent_link *link, const struct grpc_status *st)
{
	uint64_t id = link->attach_id;
	struct front *front = link->front;

	if (!link->ending)
		link->why = *st;
	link->ending = true;
	link->attach_id = 0;
	link->io = grpc_io_free(link->io);
	link_release(link);
	engine_reply(front->engine, id, st, NULL, 0);
}

/* The end from inside. */
static void link_fail(struct agent_link *link, const struct grpc_status *st)
{
	if (link->ending)
		return;
	link->ending = true;
	link->why = *st;
	grpc_io_close(link->io, st->message);
}

static void link_failf(struct agent_link *link, const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE", "%s", text);
	st.retry_ms = 1000;
	link_fail(link, &st);
}

/* It did what it must not. Told once a link; how often there is a new one is
 * the engine's.
 */
static void link_broken(struct agent_link *link, const char *why)
{
	struct log_fields fields = { .sandbox_id = link->key,
				     .message_id = LOG_ID_AGENT_BROKEN };
	char text[96], message[128];

	if (link->ending)
		return;
	str_escape(text, sizeof(text), why, strlen(why));
	log_line(LOG_LEVEL_WARN, &fields,
		 "guest '%s': its agent broke the protocol: %s", link->key,
		 text);
	snprintf(message, sizeof(message), "the agent broke the protocol: %s",
		 text);
	link->broken = true;
	link_failf(link, message);
}

void agent_call_broken(struct agent_call *c, const char *why)
{
	link_broken(c->link, why);
}

static void on_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct agent_link *link = arg;
	struct front *front = link->front;
	char text[GRPC_STATUS_MESSAGE_MAX];

	(void)io;
	link->io = NULL;
	if (!link->ending) {
		str_escape(text, sizeof(text) / 2, why, strlen(why));
		grpc_status_set(&link->why, GRPC_UNAVAILABLE, "UNAVAILABLE",
				"the link to the guest ended: %s", text);
		link->why.retry_ms = 1000;
		link->ending = true;
	}
	if (link->state != LINK_READY) {
		if (link->broken)
			snprintf(link->why.reason, sizeof(link->why.reason),
				 "%s", "AGENT_BROKEN");
		engine_reply(front->engine, link->attach_id, &link->why, NULL,
			     0);
	} else {
		engine_link_lost(front->engine, link->key, link->generation,
				 link->why.message, link->broken);
	}
	link_release(link);
}

static void on_closing(struct grpc_conn *conn, const char *why, void *arg)
{
	struct agent_link *link = arg;
	char text[128], message[192];

	if (grpc_conn_is_broken(conn)) {
		link_broken(link, why);
		return;
	}
	str_escape(text, sizeof(text), why, strlen(why));
	snprintf(message, sizeof(message), "the agent closed the link: %s",
		 text);
	link_failf(link, message);
}

static void on_silent(struct grpc_conn *conn, bool silent, void *arg)
{
	struct agent_link *link = arg;

	(void)conn;
	if (link->state == LINK_READY && !link->ending)
		engine_agent_silent(link->front->engine, link->key,
				    link->generation, silent);
}

static const struct grpc_conn_ops conn_ops = { .closing = on_closing,
					       .silent = on_silent };

/* ---- unary calls of our own ---- */

typedef void (*unary_fn)(struct agent_link *link, const struct grpc_status *st,
			 ProtobufCMessage *answer, void *arg);

struct unary {
	struct agent_link *link;
	const ProtobufCMessageDescriptor *desc;
	ProtobufCMessage *answer;
	unary_fn fn;
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

/* 0, or -1 with *@why: then @fn is not called. */
static int unary(struct agent_link *link, const char *method,
		 const uint8_t *data, size_t len,
		 const ProtobufCMessageDescriptor *desc, uint64_t timeout_ms,
		 unary_fn fn, void *arg, struct grpc_status *why)
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

/* ---- how processes end ---- */

static void watch_exits(struct agent_link *link);

static void on_exits(struct agent_link *link, const struct grpc_status *st,
		     ProtobufCMessage *answer, void *arg)
{
	Sandbox__Agent__V1__NextExitsResponse *m = (void *)answer;
	struct error err;

	(void)st;
	(void)arg;
	link->watching = false;
	if (!m) { /* an older agent, or the end of the link */
		link->tells_exits = false;
	} else if (exits_report(link->front, link->key, &link->exits, m,
				&err) < 0) {
		link_broken(link, err.msg);
	} else {
		watch_exits(link);
	}
}

static void watch_exits(struct agent_link *link)
{
	Sandbox__Agent__V1__NextExitsRequest m =
		SANDBOX__AGENT__V1__NEXT_EXITS_REQUEST__INIT;
	struct grpc_status why;
	uint8_t buf[16];
	size_t len;

	m.acked = link->exits.acked;
	len = sandbox__agent__v1__next_exits_request__pack(&m, buf);
	link->watching = unary(link, "NextExits", buf, len,
			       &sandbox__agent__v1__next_exits_response__descriptor,
			       0, on_exits, NULL, &why) == 0;
	link->tells_exits = link->watching;
}

/* ---- attaching: transport, Hello, Configure ---- */

static uint64_t time_left(const struct agent_link *link)
{
	uint64_t now = loop_now_ms();

	return link->deadline_ms > now ? link->deadline_ms - now : 1;
}

static void become_ready(struct agent_link *link)
{
	Sandbox__Ipc__V1__AttachAgentResponse m =
		SANDBOX__IPC__V1__ATTACH_AGENT_RESPONSE__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	link->state = LINK_READY;
	loop_timer_off(link->deadline);
	m.agent_version = link->hello->agent_version;
	m.kernel_release = link->hello->kernel_release;
	buf = wire_pack(&m.base, &len);
	engine_reply(link->front->engine, link->attach_id, NULL, buf, len);
	link->attach_id = 0;
	/* A template's guest is nobody's, and runs nothing. */
	if (link->attach->configure || link->hello->configured)
		watch_exits(link);
	/* It holds the nonce. */
	link->attach = (void *)wire_free((ProtobufCMessage *)link->attach);
}

static void on_configured(struct agent_link *link, const struct grpc_status *st,
			  ProtobufCMessage *answer, void *arg)
{
	Sandbox__Agent__V1__ConfigureResponse *m = (void *)answer;
	struct log_fields fields = { .sandbox_id = link->key };
	char text[256];

	(void)arg;
	if (!m) {
		link_fail(link, st);
		return;
	}
	for (size_t i = 0; i < m->n_warnings && i < WARNINGS_MAX; i++) {
		str_escape(text, sizeof(text), m->warnings[i],
			   strlen(m->warnings[i]));
		log_line(LOG_LEVEL_WARN, &fields, "guest '%s': %s", link->key,
			 text);
	}
	become_ready(link);
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* What came from the engine is as old as attaching took. */
static void set_time(struct agent_link *link)
{
	Sandbox__Agent__V1__ConfigureRequest *m = link->attach->configure;
	int64_t ns;

	if (!m->time)
		return;
	ns = guest_clock_time(&link->clock, clock_ns(CLOCK_REALTIME),
			      &m->time_at_ns);
	m->time->seconds = ns / NS_PER_S;
	m->time->nanos = (int32_t)(ns % NS_PER_S);
}

static void configure(struct agent_link *link)
{
	_cleanup_free_ uint8_t *buf = NULL;
	struct grpc_status why;
	size_t len;

	set_time(link);
	buf = wire_pack(&link->attach->configure->base, &len);
	if (unary(link, "Configure", buf, len,
		  &sandbox__agent__v1__configure_response__descriptor,
		  time_left(link), on_configured, NULL, &why) < 0)
		link_fail(link, &why);
}

static void say_hello(struct agent_link *link);

static void on_hello(struct agent_link *link, const struct grpc_status *st,
		     ProtobufCMessage *answer, void *arg)
{
	Sandbox__Agent__V1__HelloResponse *m = (void *)answer;

	(void)arg;
	if (!m) {
		link_fail(link, st);
		return;
	}
	if (m->protocol_version != PROTOCOL_VERSION ||
	    strlen(m->agent_version) > VERSION_TEXT_MAX ||
	    strlen(m->kernel_release) > VERSION_TEXT_MAX) {
		link_broken(link, "it speaks another version");
		return;
	}
	if (guest_clock_answer(&link->clock,
			       (uint64_t)clock_ns(CLOCK_MONOTONIC),
			       clock_ns(CLOCK_REALTIME), m->monotonic_ns) &&
	    link->attach->configure) {
		say_hello(link);
		return;
	}
	link->hello = xcalloc(1, sizeof(*link->hello));
	sandbox__agent__v1__hello_response__init(link->hello);
	link->hello->agent_version = xstrdup(m->agent_version);
	link->hello->kernel_release = xstrdup(m->kernel_release);
	link->hello->configured = m->configured;
	if (link->attach->configure)
		configure(link);
	else
		become_ready(link);
}

static void say_hello(struct agent_link *link)
{
	Sandbox__Agent__V1__HelloRequest m =
		SANDBOX__AGENT__V1__HELLO_REQUEST__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	struct grpc_status why;
	size_t len;

	guest_clock_ask(&link->clock, (uint64_t)clock_ns(CLOCK_MONOTONIC));
	m.protocol_version = PROTOCOL_VERSION;
	m.nonce = link->attach->nonce;
	buf = wire_pack(&m.base, &len);
	if (unary(link, "Hello", buf, len,
		  &sandbox__agent__v1__hello_response__descriptor,
		  time_left(link), on_hello, NULL, &why) < 0)
		link_fail(link, &why);
}

static void on_ready(struct grpc_io *io, void *arg)
{
	struct agent_link *link = arg;

	(void)io;
	link->state = LINK_HELLO;
	say_hello(link);
}

static const struct grpc_io_ops io_ops = { .ready = on_ready,
					   .closed = on_closed };

static void on_deadline(void *arg)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_DEADLINE_EXCEEDED, "SANDBOX_TIMEOUT",
			"the agent did not answer in time");
	link_free(arg, &st);
}

static struct agent_link *find_any(struct front *front, const char *key)
{
	list_for_each(&front->links, link, struct agent_link, link)
	{
		if (!strcmp(link->key, key))
			return link;
	}
	return NULL;
}

struct agent_link *agent_find(struct front *front, const char *key)
{
	struct agent_link *link = find_any(front, key);

	return link && link->state == LINK_READY && !link->ending ? link : NULL;
}

/* What is in *@m, for as long as attaching takes. */
static Sandbox__Ipc__V1__AttachAgent *
copy_attach(const Sandbox__Ipc__V1__AttachAgent *m)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	buf = wire_pack(&m->base, &len);
	return sandbox__ipc__v1__attach_agent__unpack(NULL, len, buf);
}

static void begin(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__AttachAgent *m, int fd)
{
	struct grpc_settings settings = { .keepalive_ms = KEEPALIVE_MS,
					  .keepalive_timeout_ms =
						  KEEPALIVE_DEAD_MS,
					  .ask_ms = ASK_MS,
					  .asks = ASKS };
	struct agent_link *link = xcalloc(1, sizeof(*link));
	uint32_t ms = m->deadline_ms ? m->deadline_ms : AGENT_ATTACH_MS;
	struct grpc_io_params params = { .resync = m->serial };
	uint64_t now = loop_now_ms();

	if (ms > AGENT_ATTACH_MAX_MS)
		ms = AGENT_ATTACH_MAX_MS;
	/* The link's own timer is the one that speaks. */
	params.handshake_ms = ms + 1000;
	*link = (struct agent_link){ .front = front,
				     .generation = m->generation,
				     .attach_id = id,
				     .deadline_ms = now + ms,
				     .attach = copy_attach(m) };
	snprintf(link->key, sizeof(link->key), "%s", m->sandbox_id);
	link->conn = grpc_conn_new_client(&conn_ops, link, &settings, now);
	link->io = grpc_io_new(front->loop, fd, link->conn, &params, &io_ops,
			       link);
	loop_timer(front->loop, &link->deadline, link->deadline_ms, on_deadline,
		   link);
	list_add_tail(&front->links, &link->link);
}

void agent_attach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__AttachAgent *m, int fd)
{
	struct agent_link *old = find_any(front, m->sandbox_id);
	struct grpc_status st;

	if (fd < 0 || str_empty(m->sandbox_id) ||
	    strlen(m->sandbox_id) >= SANDBOX_ID_MAX) {
		grpc_status_set(&st, GRPC_INTERNAL, "INTERNAL",
				"AttachAgent without a descriptor or a key");
		engine_reply(front->engine, id, &st, NULL, 0);
		if (fd >= 0)
			close(fd);
		return;
	}
	if (old) {
		grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE",
				"the link to the guest was made anew");
		st.retry_ms = 200;
		link_free(old, &st);
	}
	begin(front, id, m, fd);
}

void agent_detach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__DetachAgent *m)
{
	struct agent_link *link = find_any(front, m->sandbox_id);
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE,
			str_empty(m->reason) ? "UNAVAILABLE" : m->reason, "%s",
			str_empty(m->message) ? "the sandbox was detached"
					      : m->message);
	st.retry_ms = 1000;
	if (link)
		link_free(link, &st);
	engine_reply(front->engine, id, NULL, NULL, 0);
}

void agent_free_all(struct front *front)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE", "front stops");
	while (!list_empty(&front->links)) {
		struct agent_link *link =
			list_entry(front->links.next, struct agent_link, link);

		link->attach_id = 0;
		link_free(link, &st);
	}
}

/* ---- the engine's own calls ---- */

/* clang-format off */
static const struct {
	const char *method;
	const ProtobufCMessageDescriptor *answer;
} engine_methods[] = {
	{ "Configure", &sandbox__agent__v1__configure_response__descriptor },
	{ "Freeze",    &sandbox__agent__v1__freeze_response__descriptor },
	{ "Thaw",      &sandbox__agent__v1__thaw_response__descriptor },
	{ "Stats",     &sandbox__agent__v1__stats_response__descriptor },
};
/* clang-format on */

struct engine_ask {
	struct front *front;
	uint64_t id;
};

static void on_engine_answer(struct agent_link *link,
			     const struct grpc_status *st,
			     ProtobufCMessage *answer, void *arg)
{
	_cleanup_free_ struct engine_ask *ask = arg;
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
	struct engine_ask *ask;
	struct grpc_status st;

	for (size_t i = 0; i < sizeof(engine_methods) / sizeof(*engine_methods);
	     i++) {
		if (!strcmp(m->method, engine_methods[i].method))
			desc = engine_methods[i].answer;
	}
	if (!link || !desc) {
		grpc_status_set(&st, link ? GRPC_INTERNAL : GRPC_UNAVAILABLE,
				NULL,
				link ? "no such method of the agent"
				     : "the guest is not attached");
		if (!link)
			st.retry_ms = 1000;
		engine_reply(front->engine, id, &st, NULL, 0);
		return;
	}
	ask = xcalloc(1, sizeof(*ask));
	*ask = (struct engine_ask){ .front = front, .id = id };
	if (unary(link, m->method, m->request.data, m->request.len, desc,
		  m->deadline_ms, on_engine_answer, ask, &st) < 0) {
		engine_reply(front->engine, id, &st, NULL, 0);
		free(ask);
	}
}
