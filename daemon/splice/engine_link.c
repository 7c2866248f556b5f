/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.c - the splice's end of its socket to the engine
 *
 * An engine that is started anew has a splice of its own. This one goes on with
 * what was allowed, and takes nothing new: so an upgrade of the node breaks no
 * connection. The packet filter still ends them when their address is revoked.
 */
#include "splice/engine_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc_message.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "sandbox/ipc/v1/splice.pb-c.h"
#include "splice/flows.h"

struct engine_link {
	struct loop *loop;
	struct engine_end *engine;
	struct flows *flows;
};

static void on_ask(const struct flow_info *info, const char *name, void *arg)
{
	struct engine_link *link = arg;
	Sandbox__Ipc__V1__SpliceAsk ask = SANDBOX__IPC__V1__SPLICE_ASK__INIT;
	Sandbox__Ipc__V1__SpliceReport msg =
		SANDBOX__IPC__V1__SPLICE_REPORT__INIT;

	ask.id = info->id;
	ask.slot = info->slot;
	ask.ifindex = info->ifindex;
	ask.address = info->address;
	ask.port = info->port;
	ask.name = (char *)name;
	msg.body_case = SANDBOX__IPC__V1__SPLICE_REPORT__BODY_ASK;
	msg.ask = &ask;
	engine_end_report(link->engine, &msg.base);
}

static void on_denied(const struct flow_info *info, const char *name,
		      const char *why, void *arg)
{
	struct engine_link *link = arg;
	Sandbox__Ipc__V1__SpliceDenied denied =
		SANDBOX__IPC__V1__SPLICE_DENIED__INIT;
	Sandbox__Ipc__V1__SpliceReport msg =
		SANDBOX__IPC__V1__SPLICE_REPORT__INIT;

	denied.slot = info->slot;
	denied.ifindex = info->ifindex;
	denied.address = info->address;
	denied.port = info->port;
	denied.name = (char *)name;
	denied.why = (char *)why;
	msg.body_case = SANDBOX__IPC__V1__SPLICE_REPORT__BODY_DENIED;
	msg.denied = &denied;
	engine_end_report(link->engine, &msg.base);
}

static void say_closed(struct engine_link *link, uint64_t id, uint32_t slot)
{
	Sandbox__Ipc__V1__SpliceClosed closed =
		SANDBOX__IPC__V1__SPLICE_CLOSED__INIT;
	Sandbox__Ipc__V1__SpliceReport msg =
		SANDBOX__IPC__V1__SPLICE_REPORT__INIT;

	closed.id = id;
	closed.slot = slot;
	msg.body_case = SANDBOX__IPC__V1__SPLICE_REPORT__BODY_CLOSED;
	msg.closed = &closed;
	engine_end_report(link->engine, &msg.base);
}

static void on_flow_closed(const struct flow_info *info, void *arg)
{
	say_closed(arg, info->id, info->slot);
}

static void on_idle(void *arg)
{
	struct engine_link *link = arg;

	loop_stop(link->loop, 0);
}

static const struct flows_ops flows_ops = { .ask = on_ask,
					    .denied = on_denied,
					    .closed = on_flow_closed,
					    .idle = on_idle };

static void on_setup(struct engine_link *link,
		     const Sandbox__Ipc__V1__SpliceSetup *setup, int *fds,
		     size_t n_fds)
{
	struct flows_config config = { .first_address = setup->first_address,
				       .slots = setup->slots,
				       .allow_ech = setup->allow_ech };
	struct error err;

	if (n_fds < 1 || link->flows)
		return;
	if (flows_new(link->loop, TAKE_FD(fds[0]), &config, &flows_ops, link,
		      &link->flows, &err) < 0) {
		log_err("%s", err.msg);
		loop_stop(link->loop, 1);
	}
}

static void on_answer(struct engine_link *link,
		      const Sandbox__Ipc__V1__SpliceAnswer *answer, int *fds,
		      size_t n_fds)
{
	int up = answer->allowed && n_fds ? TAKE_FD(fds[0]) : -EBADF;

	/* It ended while the engine decided. */
	if (!flows_answer(link->flows, answer->id, up) && answer->allowed)
		say_closed(link, answer->id, answer->slot);
}

static void on_command(ProtobufCMessage *m, int *fds, size_t n_fds, void *arg)
{
	const Sandbox__Ipc__V1__SpliceCommand *msg =
		(const Sandbox__Ipc__V1__SpliceCommand *)m;
	struct engine_link *link = arg;

	switch (msg->body_case) {
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_SETUP:
		on_setup(link, msg->setup, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_ANSWER:
		if (link->flows)
			on_answer(link, msg->answer, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_CUT:
		for (size_t i = 0; link->flows && i < msg->cut->n_ids; i++)
			flows_cut(link->flows, msg->cut->ids[i]);
		break;
	case SANDBOX__IPC__V1__SPLICE_COMMAND__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__SPLICE_COMMAND__BODY__CASE_IS_INT_SIZE:
		break;
	}
}

static void on_engine_gone(void *arg)
{
	struct engine_link *link = arg;

	if (!link->flows) {
		loop_stop(link->loop, 0);
		return;
	}
	if (flows_count(link->flows))
		log_info("the engine is gone; what is open goes on");
	flows_stop(link->flows);
}

static const struct engine_end_ops engine_ops = {
	.command = &sandbox__ipc__v1__splice_command__descriptor,
	.message = on_command,
	.gone = on_engine_gone,
};

int engine_link_new(struct loop *loop, int fd, struct engine_link **ret,
		    struct error *err)
{
	struct engine_link *link = xcalloc(1, sizeof(*link));

	link->loop = loop;
	if (engine_end_new(loop, fd, &engine_ops, link, &link->engine, err) <
	    0) {
		engine_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

struct engine_link *engine_link_free(struct engine_link *link)
{
	if (!link)
		return NULL;
	flows_free(link->flows);
	engine_end_free(link->engine);
	free(link);
	return NULL;
}
