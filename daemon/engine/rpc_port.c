/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_port.c - exposed ports */
#include "engine/rpc.h"

#include "base/error.h"
#include "engine/engine.h"
#include "engine/expose.h"
#include "engine/port.h"

#define PORT_WAIT_MAX_MS 600000

static int check_port(uint32_t port, struct error *err)
{
	if (port >= 1 && port <= 65535)
		return 0;
	return err_field(err, "port", "is %u; allowed are 1 to 65535", port);
}

int rpc_expose_port(struct call *call, struct error *err)
{
	Sandbox__Node__V1__ExposePortRequest *req =
		(Sandbox__Node__V1__ExposePortRequest *)call->request;
	struct sandbox *sb;

	if (check_port(req->port, err) < 0 ||
	    rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0)
		return -1;
	if (req->wait_ms > PORT_WAIT_MAX_MS)
		return err_field(err, "wait_ms", "is %u; at most %d",
				 req->wait_ms, PORT_WAIT_MAX_MS);
	return expose_port(sb, (uint16_t)req->port, req->wait_ms, call, err);
}

int rpc_list_ports(struct call *call, struct error *err)
{
	struct engine *e = call->engine;
	Sandbox__Node__V1__ListPortsRequest *req =
		(Sandbox__Node__V1__ListPortsRequest *)call->request;
	Sandbox__Node__V1__ListPortsResponse r =
		SANDBOX__NODE__V1__LIST_PORTS_RESPONSE__INIT;
	const struct port *ports[PORTS_PER_SANDBOX_MAX];
	Sandbox__Node__V1__Port msgs[PORTS_PER_SANDBOX_MAX];
	Sandbox__Node__V1__Port *at[PORTS_PER_SANDBOX_MAX];
	struct sandbox *sb;

	if (rpc_sandbox(e, req->sandbox_id, &sb, err) < 0)
		return -1;
	r.n_ports = ports_of(e->ports, sb->row.id, ports);
	for (size_t i = 0; i < r.n_ports; i++) {
		sandbox__node__v1__port__init(&msgs[i]);
		msgs[i].port = ports[i]->number;
		msgs[i].url = (char *)(uintptr_t)ports[i]->url;
		msgs[i].host_address =
			(char *)(uintptr_t)ports[i]->host_address;
		msgs[i].host_port = ports[i]->host_port;
		at[i] = &msgs[i];
	}
	r.ports = at;
	call_finish(call, &r.base);
	return 0;
}

int rpc_close_port(struct call *call, struct error *err)
{
	Sandbox__Node__V1__ClosePortRequest *req =
		(Sandbox__Node__V1__ClosePortRequest *)call->request;
	struct sandbox *sb;

	if (check_port(req->port, err) < 0 ||
	    rpc_sandbox(call->engine, req->sandbox_id, &sb, err) < 0)
		return -1;
	return expose_close(sb, (uint16_t)req->port, call, err);
}
