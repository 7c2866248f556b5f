/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - control RPCs: one request to the engine, its answers to the client
 *
 * A struct control lives until both sides are done with it: the client's call
 * (`call`) and the engine's answer (`waiting`). A client that goes away early
 * is told to the engine, whose answer is still waited for.
 */
#include "front/control.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "front/client.h"
#include "front/status.h"
#include "front/wire.h"

struct control {
	struct front *front;
	struct client *client; /* valid while @call is */
	struct grpc_call *call;
	const char *method;
	const ProtobufCMessageDescriptor *desc;
	uint64_t id;
	bool asked;
	bool waiting;
};

static void may_free(struct control *c)
{
	if (!c->call && !c->waiting)
		free(c);
}

static void on_answer(const struct grpc_status *st, const uint8_t *data,
		      size_t len, bool more, void *arg)
{
	struct control *c = arg;

	c->waiting = more;
	if (c->call && st->code == GRPC_OK) {
		/* Progress to a client that does not read can be left out. */
		if (!more || grpc_call_queued(c->call) < GRPC_SEND_HIGH_WATER)
			grpc_call_send(c->call, data, len);
	}
	if (c->call && !more)
		grpc_call_finish(c->call, st);
	may_free(c);
}

static void refuse(struct grpc_call *call, const struct error *err)
{
	struct grpc_status st;

	status_of_error(&st, err);
	grpc_call_finish(call, &st);
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	_cleanup_free_ uint8_t *buf = NULL;
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	struct error err = { 0 };
	struct control *c = arg;
	size_t n;

	if (c->asked) {
		err_set(&err, ERR_INVALID, "more than one request");
		refuse(call, &err);
		return;
	}
	c->asked = true;
	if (engine_waiting(c->front->engine) >= ENGINE_WAITING_MAX) {
		err_set(&err, ERR_LIMIT, "too many requests wait");
		err.retry_ms = 1000;
		refuse(call, &err);
		return;
	}
	if (wire_unpack(c->desc, data, len, &m, &err) < 0) {
		refuse(call, &err);
		return;
	}
	buf = wire_pack(m, &n);
	c->waiting = true;
	c->id = engine_call(c->front->engine, c->method, c->client->identity,
			    buf, n, -EBADF, on_answer, c);
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct control *c = arg;
	struct error err;

	if (c->asked)
		return;
	err_set(&err, ERR_INVALID, "the stream ended without a request");
	refuse(call, &err);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct control *c = arg;

	(void)call;
	(void)st;
	c->call = NULL;
	if (c->waiting)
		engine_cancel(c->front->engine, c->id);
	may_free(c);
}

static const struct grpc_call_ops ops = { .message = on_message,
					  .half_close = on_half_close,
					  .done = on_done };

void control_accept(struct client *client, struct grpc_call *call,
		    const char *method,
		    const ProtobufCMessageDescriptor *request)
{
	struct control *c = xcalloc(1, sizeof(*c));

	*c = (struct control){ .front = client->front,
			       .client = client,
			       .call = call,
			       .method = method,
			       .desc = request };
	grpc_call_accept(call, &ops, c);
}
