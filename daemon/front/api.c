/* SPDX-License-Identifier: Apache-2.0 */
/* api.c - NodeService: which method goes where */
#include "front/api.h"

#include "front/client.h"
#include "front/control.h"
#include "front/counts.h"
#include "front/events.h"
#include "front/health.h"
#include "front/proxy.h"
#include "front/reflection.h"
#include "front/transfer.h"
#include "sandbox/node/v1/node.pb-c.h"

#include <string.h>

#define SERVICE "/sandbox.node.v1.NodeService/"

/* clang-format off */
#define CONTROL(name, lower) \
	{ name, &sandbox__node__v1__##lower##_request__descriptor }

static const struct {
	const char *method;
	const ProtobufCMessageDescriptor *request;
} controls[] = {
	CONTROL("CreateSandbox",	create_sandbox),
	CONTROL("GetSandbox",		get_sandbox),
	CONTROL("ListSandboxes",	list_sandboxes),
	CONTROL("UpdateSandbox",	update_sandbox),
	CONTROL("PauseSandbox",		pause_sandbox),
	CONTROL("ResumeSandbox",	resume_sandbox),
	CONTROL("TerminateSandbox",	terminate_sandbox),
	CONTROL("ForkSandbox",		fork_sandbox),
	CONTROL("RestoreSandbox",	restore_sandbox),
	CONTROL("CreateSnapshot",	create_snapshot),
	CONTROL("ListSnapshots",	list_snapshots),
	CONTROL("RemoveSnapshot",	remove_snapshot),
	CONTROL("ExposePort",		expose_port),
	CONTROL("ListPorts",		list_ports),
	CONTROL("ClosePort",		close_port),
	CONTROL("ListImages",		list_images),
	CONTROL("RemoveImage",		remove_image),
	CONTROL("ListTemplates",	list_templates),
	CONTROL("BuildTemplate",	build_template),
	CONTROL("RemoveTemplate",	remove_template),
	CONTROL("ListDenials",		list_denials),
	CONTROL("GetStats",		get_stats),
	CONTROL("GetNode",		get_node),
	CONTROL("DrainNode",		drain_node),
	CONTROL("CheckState",		check_state),
};

static const struct {
	const char *method;
	void (*accept)(struct client *client, struct grpc_call *call);
} others[] = {
	{ "ImportImage",	transfer_import_image },
	{ "ImportSnapshot",	transfer_import_snapshot },
	{ "ExportSnapshot",	transfer_export_snapshot },
	{ "WatchEvents",	events_accept },
};
/* clang-format on */

#define N(array) (sizeof(array) / sizeof((array)[0]))

static bool accept_proxy(struct client *client, struct grpc_call *call,
			 const char *method)
{
	static const struct proxy_method *const tables[] = {
		exec_methods, file_methods, tunnel_methods
	};

	for (size_t i = 0; i < N(tables); i++) {
		for (const struct proxy_method *m = tables[i]; m->name; m++) {
			if (strcmp(method, m->name))
				continue;
			counts_watch(client->front, call, m->name);
			proxy_accept(client, call, m);
			return true;
		}
	}
	return false;
}

static bool accept_node(struct client *client, struct grpc_call *call,
			const char *method)
{
	for (size_t i = 0; i < N(controls); i++) {
		if (strcmp(method, controls[i].method))
			continue;
		counts_watch(client->front, call, controls[i].method);
		control_accept(client, call, controls[i].method,
			       controls[i].request);
		return true;
	}
	for (size_t i = 0; i < N(others); i++) {
		if (strcmp(method, others[i].method))
			continue;
		counts_watch(client->front, call, others[i].method);
		others[i].accept(client, call);
		return true;
	}
	return accept_proxy(client, call, method);
}

void api_accept(struct client *client, struct grpc_call *call, const char *path)
{
	struct grpc_status st;

	if (!strncmp(path, SERVICE, strlen(SERVICE)) &&
	    accept_node(client, call, path + strlen(SERVICE)))
		return;
	if (health_accept(client->front->health, call, path))
		return;
	if (client->front->reflection && reflection_accept(call, path))
		return;
	counts_watch(client->front, call, "unknown");
	grpc_status_set(&st, GRPC_UNIMPLEMENTED, "UNIMPLEMENTED",
			"no such method");
	grpc_call_finish(call, &st);
}
