/* SPDX-License-Identifier: Apache-2.0 */
/* agent_attach.c - a link begins: transport, Hello, Configure */
#include "front/agent_attach.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "front/agent_call.h"
#include "front/agent_link_priv.h"
#include "front/wire.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROTOCOL_VERSION  1
#define KEEPALIVE_MS	  2000
#define ASK_MS		  1000 /* then it is asked again */
#define ASKS		  3    /* then it is told to be silent */
#define KEEPALIVE_DEAD_MS 15000
#define VERSION_TEXT_MAX  64
#define WARNINGS_MAX	  8
#define NS_PER_S	  1000000000

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
	} else if (exits_report(link->front, link->key, &link->exits, m, &err) <
		   0) {
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
	link->watching =
		agent_unary(
			link, "NextExits", buf, len,
			&sandbox__agent__v1__next_exits_response__descriptor, 0,
			on_exits, NULL, &why) == 0;
	link->tells_exits = link->watching;
}

/* ---- Hello and Configure ---- */

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
	if (agent_unary(link, "Configure", buf, len,
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
	if (agent_unary(link, "Hello", buf, len,
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
					   .closed = link_closed };

static void on_deadline(void *arg)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_DEADLINE_EXCEEDED, "SANDBOX_TIMEOUT",
			"the agent did not answer in time");
	link_free(arg, &st);
}

/* ---- the beginning ---- */

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
	link->conn = grpc_conn_new_client(&link_conn_ops, link, &settings, now);
	link->io = grpc_io_new(front->loop, fd, link->conn, &params, &io_ops,
			       link);
	loop_timer(front->loop, &link->deadline, link->deadline_ms, on_deadline,
		   link);
	list_add_tail(&front->links, &link->link);
}

void agent_attach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__AttachAgent *m, int fd)
{
	struct agent_link *old = link_find(front, m->sandbox_id);
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
