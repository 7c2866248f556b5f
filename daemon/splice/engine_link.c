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
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "sandbox/ipc/v1/splice.pb-c.h"
#include "splice/flow.h"

struct engine_link {
	struct loop *loop;
	struct ipc *ipc;
	struct flows *flows;
};

static void report(struct engine_link *link,
		   const Sandbox__Ipc__V1__SpliceReport *msg)
{
	size_t len = sandbox__ipc__v1__splice_report__get_packed_size(msg);
	_cleanup_free_ uint8_t *buf = xcalloc(1, len);

	if (!link->ipc)
		return;
	sandbox__ipc__v1__splice_report__pack(msg, buf);
	/* If the engine is gone its end is noticed in on_closed(). */
	ipc_send(link->ipc, buf, len, NULL, 0, NULL);
}

static void on_ask(const struct flow_info *info, const char *name, void *arg)
{
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
	report(arg, &msg);
}

static void on_denied(const struct flow_info *info, const char *name,
		      const char *why, void *arg)
{
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
	report(arg, &msg);
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
	report(link, &msg);
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

static void on_message(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	struct engine_link *link = arg;
	Sandbox__Ipc__V1__SpliceCommand *msg =
		sandbox__ipc__v1__splice_command__unpack(NULL, len, data);

	(void)ipc;
	if (!msg) {
		log_err("the engine sent what is not a command");
		loop_stop(link->loop, 1);
		return;
	}
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
	sandbox__ipc__v1__splice_command__free_unpacked(msg, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	struct engine_link *link = arg;

	(void)ipc;
	(void)why;
	link->ipc = ipc_free(link->ipc);
	if (!link->flows) {
		loop_stop(link->loop, 0);
		return;
	}
	if (flows_count(link->flows))
		log_info("the engine is gone; what is open goes on");
	flows_stop(link->flows);
}

static const struct ipc_ops ipc_ops = { .message = on_message,
					.closed = on_closed };

int engine_link_new(struct loop *loop, int fd, struct engine_link **ret,
		    struct error *err)
{
	struct engine_link *link = xcalloc(1, sizeof(*link));

	link->loop = loop;
	if (ipc_new(loop, fd, &ipc_ops, link, &link->ipc, err) < 0) {
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
	ipc_free(link->ipc);
	free(link);
	return NULL;
}
