/* SPDX-License-Identifier: Apache-2.0 */
/* splice_link.c - the engine's end of the socket to its splice */
#include "engine/net/splice_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/proc/helper.h"
#include "sandbox/ipc/v1/splice.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_MAX 32

struct splice_link {
	struct helper *helper;
	const struct splice_link_ops *ops;
	void *arg;
	int listener;
	uint32_t first_address, slots;
	bool allow_ech;
};

static void send_command(struct splice_link *link,
			 const Sandbox__Ipc__V1__SpliceCommand *cmd, int fd)
{
	helper_tell(link->helper, &cmd->base, &fd, fd >= 0 ? 1 : 0);
}

static void on_up(void *arg)
{
	struct splice_link *link = arg;
	Sandbox__Ipc__V1__SpliceSetup setup =
		SANDBOX__IPC__V1__SPLICE_SETUP__INIT;
	Sandbox__Ipc__V1__SpliceCommand cmd =
		SANDBOX__IPC__V1__SPLICE_COMMAND__INIT;

	setup.first_address = link->first_address;
	setup.slots = link->slots;
	setup.allow_ech = link->allow_ech;
	cmd.body_case = SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_SETUP;
	cmd.setup = &setup;
	send_command(link, &cmd, link->listener);
}

static void on_down(const char *why, void *arg)
{
	struct splice_link *link = arg;

	(void)why;
	link->ops->down(link->arg);
}

/* @word: a reason, never empty; else a name, or empty. */
static bool is_text(const char *s, size_t max, bool word)
{
	size_t n = strlen(s);

	if (n > max || (word && n == 0))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!(s[i] >= 'a' && s[i] <= 'z') &&
		    !(s[i] >= '0' && s[i] <= '9') && !strchr("-_.", s[i]))
			return false;
	}
	return true;
}

static int on_ask(struct splice_link *link,
		  const Sandbox__Ipc__V1__SpliceAsk *msg)
{
	Sandbox__Ipc__V1__SpliceAnswer answer =
		SANDBOX__IPC__V1__SPLICE_ANSWER__INIT;
	Sandbox__Ipc__V1__SpliceCommand cmd =
		SANDBOX__IPC__V1__SPLICE_COMMAND__INIT;
	struct splice_flow flow = { .id = msg->id,
				    .slot = msg->slot,
				    .ifindex = msg->ifindex,
				    .address = msg->address,
				    .port = (uint16_t)msg->port,
				    .name = msg->name };
	_cleanup_close_ int fd = -EBADF;

	if (msg->slot >= link->slots || msg->port > UINT16_MAX ||
	    !is_text(msg->name, NET_TARGET_MAX, true))
		return -1;
	fd = link->ops->ask(&flow, link->arg);
	answer.id = msg->id;
	answer.slot = msg->slot;
	answer.allowed = fd >= 0;
	cmd.body_case = SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_ANSWER;
	cmd.answer = &answer;
	send_command(link, &cmd, fd);
	return 0;
}

static int on_denied(struct splice_link *link,
		     const Sandbox__Ipc__V1__SpliceDenied *msg)
{
	struct splice_flow flow = { .slot = msg->slot,
				    .ifindex = msg->ifindex,
				    .address = msg->address,
				    .port = (uint16_t)msg->port,
				    .name = msg->name };

	if (msg->slot >= link->slots || msg->port > UINT16_MAX ||
	    !is_text(msg->name, NET_TARGET_MAX, false) ||
	    !is_text(msg->why, WHY_MAX, true))
		return -1;
	link->ops->denied(&flow, msg->why, link->arg);
	return 0;
}

static int on_closed(struct splice_link *link,
		     const Sandbox__Ipc__V1__SpliceClosed *msg)
{
	if (msg->slot >= link->slots)
		return -1;
	link->ops->closed(msg->slot, msg->id, link->arg);
	return 0;
}

static int on_message(const ProtobufCMessage *m, int *fds, size_t n_fds,
		      void *arg)
{
	const Sandbox__Ipc__V1__SpliceReport *msg =
		(const Sandbox__Ipc__V1__SpliceReport *)m;
	struct splice_link *link = arg;

	(void)fds;
	(void)n_fds;
	switch (msg->body_case) {
	case SANDBOX__IPC__V1__SPLICE_REPORT__BODY_ASK:
		return on_ask(link, msg->ask);
	case SANDBOX__IPC__V1__SPLICE_REPORT__BODY_DENIED:
		return on_denied(link, msg->denied);
	case SANDBOX__IPC__V1__SPLICE_REPORT__BODY_CLOSED:
		return on_closed(link, msg->closed);
	case SANDBOX__IPC__V1__SPLICE_REPORT__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__SPLICE_REPORT__BODY__CASE_IS_INT_SIZE:
		break;
	}
	return -1;
}

static const struct helper_ops helper_ops = {
	.report = &sandbox__ipc__v1__splice_report__descriptor,
	.up = on_up,
	.down = on_down,
	.message = on_message,
};

static struct splice_link *alloc(const struct net_config *config, int listener,
				 const struct splice_link_ops *ops, void *arg)
{
	struct splice_link *link = xcalloc(1, sizeof(*link));

	/* As net_slot() numbers them. */
	*link = (struct splice_link){
		.ops = ops,
		.arg = arg,
		.listener = listener,
		.first_address = (config->pool & config->pool_mask) + 2,
		.slots = config->slots,
		.allow_ech = config->allow_ech,
	};
	return link;
}

int splice_link_new(struct loop *loop, const struct net_config *config,
		    int listener, const struct splice_link_ops *ops, void *arg,
		    struct splice_link **ret, struct error *err)
{
	struct splice_link *link = alloc(config, listener, ops, arg);
	const struct helper_program program = { .path = config->splice_path,
						.uid = config->splice_uid,
						.gid = config->splice_gid };

	if (helper_new(loop, "splice", &program, &helper_ops, link,
		       &link->helper, err) < 0) {
		splice_link_free(link, false);
		return -1;
	}
	*ret = link;
	return 0;
}

int splice_link_new_fd(struct loop *loop, int fd,
		       const struct net_config *config, int listener,
		       const struct splice_link_ops *ops, void *arg,
		       struct splice_link **ret, struct error *err)
{
	struct splice_link *link = alloc(config, listener, ops, arg);

	if (helper_new_fd(loop, "splice", fd, &helper_ops, link, &link->helper,
			  err) < 0) {
		splice_link_free(link, false);
		return -1;
	}
	*ret = link;
	return 0;
}

struct splice_link *splice_link_free(struct splice_link *link, bool keep)
{
	if (!link)
		return NULL;
	if (keep)
		helper_release(link->helper);
	else
		helper_free(link->helper);
	fd_close(&link->listener);
	free(link);
	return NULL;
}

void splice_link_cut(struct splice_link *link, const uint64_t *ids, size_t n)
{
	Sandbox__Ipc__V1__SpliceCut cut = SANDBOX__IPC__V1__SPLICE_CUT__INIT;
	Sandbox__Ipc__V1__SpliceCommand cmd =
		SANDBOX__IPC__V1__SPLICE_COMMAND__INIT;

	if (n == 0)
		return;
	cut.ids = (uint64_t *)(uintptr_t)ids;
	cut.n_ids = n;
	cmd.body_case = SANDBOX__IPC__V1__SPLICE_COMMAND__BODY_CUT;
	cmd.cut = &cut;
	send_command(link, &cmd, -EBADF);
}
