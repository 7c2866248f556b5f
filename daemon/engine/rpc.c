/* SPDX-License-Identifier: Apache-2.0 */
/* rpc.c - the control methods of NodeService, one row each */
#include "engine/rpc.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/sandbox.h"

#include <string.h>

#define MSG(name) &sandbox__node__v1__##name##_request__descriptor

/* clang-format off */
static const struct rpc rpcs[] = {
	{ "CreateSandbox",	MSG(create_sandbox),	true,	rpc_create_sandbox },
	{ "GetSandbox",		MSG(get_sandbox),	false,	rpc_get_sandbox },
	{ "ListSandboxes",	MSG(list_sandboxes),	false,	rpc_list_sandboxes },
	{ "UpdateSandbox",	MSG(update_sandbox),	true,	rpc_update_sandbox },
	{ "PauseSandbox",	MSG(pause_sandbox),	true,	rpc_pause_sandbox },
	{ "ResumeSandbox",	MSG(resume_sandbox),	true,	rpc_resume_sandbox },
	{ "TerminateSandbox",	MSG(terminate_sandbox),	true,	rpc_terminate_sandbox },
	{ "ForkSandbox",	MSG(fork_sandbox),	true,	rpc_fork_sandbox },
	{ "RestoreSandbox",	MSG(restore_sandbox),	true,	rpc_restore_sandbox },
	{ "CreateSnapshot",	MSG(create_snapshot),	true,	rpc_create_snapshot },
	{ "ListSnapshots",	MSG(list_snapshots),	false,	rpc_list_snapshots },
	{ "RemoveSnapshot",	MSG(remove_snapshot),	true,	rpc_remove_snapshot },
	{ "ExportSnapshot",	MSG(export_snapshot),	false,	rpc_export_snapshot },
	{ "ImportSnapshot",	MSG(import_snapshot),	true,	rpc_import_snapshot },
	{ "ExposePort",		MSG(expose_port),	true,	rpc_expose_port },
	{ "ListPorts",		MSG(list_ports),	false,	rpc_list_ports },
	{ "ClosePort",		MSG(close_port),	true,	rpc_close_port },
	{ "ListImages",		MSG(list_images),	false,	rpc_list_images },
	{ "ImportImage",	MSG(import_image),	true,	rpc_import_image },
	{ "RemoveImage",	MSG(remove_image),	true,	rpc_remove_image },
	{ "ListTemplates",	MSG(list_templates),	false,	rpc_list_templates },
	{ "BuildTemplate",	MSG(build_template),	true,	rpc_build_template },
	{ "RemoveTemplate",	MSG(remove_template),	true,	rpc_remove_template },
	{ "ListDenials",	MSG(list_denials),	false,	rpc_list_denials },
	{ "GetStats",		MSG(get_stats),		false,	rpc_get_stats },
	{ "GetNode",		MSG(get_node),		false,	rpc_get_node },
	{ "DrainNode",		MSG(drain_node),	true,	rpc_drain_node },
	{ "CheckState",		MSG(check_state),	true,	rpc_check_state },
};
/* clang-format on */

static const struct rpc *find(const char *method)
{
	for (size_t i = 0; i < sizeof(rpcs) / sizeof(rpcs[0]); i++)
		if (!strcmp(rpcs[i].method, method))
			return &rpcs[i];
	return NULL;
}

static void refuse(struct engine *e, uint64_t id, const struct error *err)
{
	front_link_reply(e->front, id, err, NULL, 0, false);
}

void rpc_call(struct engine *e, uint64_t id, const char *method,
	      const char *identity, const uint8_t *request, size_t len, int *fd)
{
	const struct rpc *rpc = find(method);
	ProtobufCMessage *msg;
	struct call *call;
	struct error err;

	if (!rpc) {
		err_set(&err, ERR_INVALID, "'%.48s' is no control method",
			method);
		refuse(e, id, &err);
		return;
	}
	if (rpc->changes && e->closing) {
		err_set(&err, ERR_UNAVAILABLE, "the node is stopping");
		err.retry_ms = 1000;
		refuse(e, id, &err);
		return;
	}
	msg = protobuf_c_message_unpack(rpc->request, NULL, len, request);
	if (!msg) {
		err_set(&err, ERR_INVALID, "the request cannot be decoded");
		refuse(e, id, &err);
		return;
	}
	call = call_new(e, id, method, identity, msg);
	if (call_replay(call, request, len))
		return;
	call->fd = TAKE_FD(*fd);
	if (rpc->run(call, &err) < 0)
		call_fail(call, &err);
}

int rpc_sandbox(struct engine *e, const char *id, struct sandbox **ret,
		struct error *err)
{
	*ret = sandbox_find(&e->sandboxes, id);
	if (*ret)
		return 0;
	if (sandbox_state_of(&e->sandboxes, id))
		return err_set(err, ERR_INTERNAL,
			       "sandbox '%.64s' cannot be read from the state "
			       "database",
			       id);
	err_set(err, ERR_NOT_FOUND, "there is no sandbox '%.64s'", id);
	return err_reason(err, "SANDBOX_NOT_FOUND", id);
}
