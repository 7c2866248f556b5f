/* SPDX-License-Identifier: Apache-2.0 */
/* proxy.c - one client's call, passed on to the agent in a guest
 *
 * Theory of operation
 * ===================
 *
 * Up to three parties hold a proxy: the client's call, the agent's call, and
 * the engine while it answers Acquire. Each callback of theirs clears its own
 * hold; whoever clears the last frees it.
 *
 * Flow control is end to end without a buffer here: a message goes straight
 * from one call to the other, and when that one's queue is above its high-water
 * mark, the first is paused until it is writable again. What is held is at most
 * a queue's high-water mark, one message and one stream window, a direction.
 *
 * The client is paused from its first message on until the agent's call exists.
 */
#include "front/proxy.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/agent_call.h"
#include "front/agent_link.h"
#include "front/client.h"
#include "front/check.h"
#include "front/wire.h"

#include <stdlib.h>
#include <string.h>

#define ACTIVITY_EVERY_MS 1000

static void may_free(struct proxy *p)
{
	if (p->call || p->agent || p->acquiring)
		return;
	proxy_release(p);
	free(p->first);
	free(p);
}

void proxy_release(struct proxy *p)
{
	if (p->lease)
		engine_release(p->front->engine, p->lease);
	p->lease = 0;
}

void proxy_activity(struct proxy *p)
{
	uint64_t now = loop_now_ms();

	if (p->activity_ms && now - p->activity_ms < ACTIVITY_EVERY_MS)
		return;
	p->activity_ms = now;
	engine_activity(p->front->engine, p->sandbox_id);
}

static void finish(struct proxy *p, const struct grpc_status *st)
{
	if (p->call && !p->finished)
		grpc_call_finish(p->call, st);
	p->finished = true;
}

/* Over for both sides, for a reason of front's own. */
static void refuse(struct proxy *p, const struct error *err)
{
	struct grpc_status st;

	status_of_error(&st, err);
	finish(p, &st);
	if (p->agent)
		grpc_call_cancel(agent_call_grpc(p->agent));
}

/* ---- the agent's side ---- */

static void on_answer(struct agent_call *c, const uint8_t *data, size_t len,
		      void *arg)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	_cleanup_free_ uint8_t *buf = NULL;
	struct error err = { 0 };
	struct proxy *p = arg;
	size_t n;

	if (wire_unpack(p->method->response, data, len, &m, &err) < 0 ||
	    p->method->answer(p, m, &err) < 0) {
		agent_call_broken(c, err.msg);
		return;
	}
	if (!p->method->server_streams && ++p->answers > 1) {
		agent_call_broken(c, "two answers to one request");
		return;
	}
	if (p->call && !p->finished) {
		buf = wire_pack(m, &n);
		if (grpc_call_send(p->call, buf, n) == 1)
			grpc_call_pause(agent_call_grpc(c), true);
	}
	if (p->method->sent)
		p->method->sent(p, m);
}

static void on_agent_writable(struct agent_call *c, void *arg)
{
	struct proxy *p = arg;

	(void)c;
	if (p->call)
		grpc_call_pause(p->call, false);
}

static void on_agent_done(struct agent_call *c, const struct grpc_status *said,
			  void *arg)
{
	struct grpc_status st = *said;
	struct proxy *p = arg;

	(void)c;
	p->agent = NULL;
	if (st.code == GRPC_OK && !p->method->server_streams && !p->answers)
		grpc_status_set(&st, GRPC_INTERNAL, "INTERNAL",
				"the agent gave no answer");
	if (p->method->ended)
		p->method->ended(p, &st);
	finish(p, &st);
	proxy_release(p);
	may_free(p);
}

static const struct agent_call_ops agent_ops = { .message = on_answer,
						 .writable = on_agent_writable,
						 .done = on_agent_done };

/* ---- the engine's ---- */

/* The lease is there: begin the agent's call. */
static void go(struct proxy *p)
{
	struct agent_link *link = agent_find(p->front, p->sandbox_id);
	uint64_t left = grpc_call_time_left(p->call);
	struct grpc_status why;

	if (!link) {
		grpc_status_set(&why, GRPC_UNAVAILABLE, "UNAVAILABLE",
				"the guest is not attached");
		why.retry_ms = 200;
		finish(p, &why);
		return;
	}
	p->agent = agent_call_start(link, p->method->name,
				    left == UINT64_MAX ? 0 : left + 1,
				    &agent_ops, p, &why);
	if (!p->agent) {
		finish(p, &why);
		return;
	}
	grpc_call_send(agent_call_grpc(p->agent), p->first, p->first_len);
	free(TAKE_PTR(p->first));
	if (p->half || !p->method->client_streams)
		grpc_call_half_close(agent_call_grpc(p->agent));
	grpc_call_pause(p->call, false);
}

static void on_lease(const struct grpc_status *st, const uint8_t *data,
		     size_t len, bool more, void *arg)
{
	Sandbox__Ipc__V1__AcquireResponse *m = NULL;
	struct error err = { 0 };
	struct proxy *p = arg;

	(void)more;
	p->acquiring = false;
	if (st->code == GRPC_OK)
		m = sandbox__ipc__v1__acquire_response__unpack(NULL, len, data);
	if (m)
		p->lease = m->lease;
	if (p->again) {
		; /* the call is under way with or without it */
	} else if (st->code != GRPC_OK) {
		finish(p, st);
	} else if (!m) {
		err_set(&err, ERR_INTERNAL, "the engine's lease does not parse");
		refuse(p, &err);
	} else if (p->call && !p->finished) {
		if (p->method->leased &&
		    p->method->leased(p, m->allow_ports, m->n_allow_ports,
				      &err) < 0)
			refuse(p, &err);
		else
			go(p);
	}
	if (!p->agent)
		proxy_release(p);
	if (m)
		sandbox__ipc__v1__acquire_response__free_unpacked(m, NULL);
	may_free(p);
}

void proxy_hold(struct proxy *p)
{
	if (p->lease || p->acquiring || p->finished || !p->agent)
		return;
	p->acquiring = p->again = true;
	engine_acquire(p->front->engine, p->sandbox_id, p->client->identity,
		       on_lease, p);
}

/* ---- the client's side ---- */

static int on_first(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	char **id;

	if (engine_waiting(p->front->engine) >= ENGINE_WAITING_MAX) {
		err_set(err, ERR_LIMIT, "too many requests wait");
		err->retry_ms = 1000;
		return -1;
	}
	id = p->method->first(p, m, err);
	if (!id || check_sandbox_id(*id, err) < 0)
		return -1;
	snprintf(p->sandbox_id, sizeof(p->sandbox_id), "%s", *id);
	/* The agent's messages have none. */
	(*id)[0] = '\0';
	p->first = wire_pack(m, &p->first_len);
	grpc_call_pause(p->call, true);
	p->acquiring = true;
	engine_acquire(p->front->engine, p->sandbox_id, p->client->identity,
		       on_lease, p);
	return 0;
}

static int on_more(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;

	if (!p->method->client_streams)
		return err_set(err, ERR_INVALID, "more than one request");
	if (p->method->more(p, m, err) < 0)
		return -1;
	if (!p->agent)
		return 0;
	buf = wire_pack(m, &len);
	if (grpc_call_send(agent_call_grpc(p->agent), buf, len) == 1)
		grpc_call_pause(p->call, true);
	return 0;
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	struct error err = { 0 };
	struct proxy *p = arg;
	int r;

	(void)call;
	if (p->finished)
		return;
	r = wire_unpack(p->method->request, data, len, &m, &err);
	if (r == 0)
		r = p->asked ? on_more(p, m, &err) : on_first(p, m, &err);
	p->asked = true;
	if (r < 0)
		refuse(p, &err);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct proxy *p = arg;
	struct error err;

	(void)call;
	p->half = true;
	if (!p->asked) {
		err_set(&err, ERR_INVALID, "the stream ended without a request");
		refuse(p, &err);
	} else if (p->agent && p->method->client_streams) {
		if (p->method->input_over)
			p->method->input_over(p);
		grpc_call_half_close(agent_call_grpc(p->agent));
	}
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct proxy *p = arg;

	(void)call;
	if (p->agent)
		grpc_call_pause(agent_call_grpc(p->agent), false);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct proxy *p = arg;

	(void)call;
	(void)st;
	p->call = NULL;
	p->client = NULL;
	if (p->agent)
		grpc_call_cancel(agent_call_grpc(p->agent));
	may_free(p);
}

static const struct grpc_call_ops call_ops = { .message = on_message,
					       .half_close = on_half_close,
					       .writable = on_writable,
					       .done = on_done };

void proxy_accept(struct client *client, struct grpc_call *call,
		  const struct proxy_method *method)
{
	struct proxy *p = xcalloc(1, sizeof(*p));

	*p = (struct proxy){ .front = client->front,
			     .client = client,
			     .call = call,
			     .method = method };
	grpc_call_accept(call, &call_ops, p);
}
