/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ports.c - port expose, list, close, forward */
#include "ctl/ctl.h"

#include "ctl/forward.h"
#include "ctl/text.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static int parse_port(const char *text, uint32_t least, uint32_t *ret)
{
	struct error err = { 0 };
	uint64_t v;

	if (!text || str_parse_u64(text, 65535, &v) < 0 || v < least) {
		err_set(&err, ERR_INVALID,
			"port '%s': a number from %u to 65535 is needed",
			text ? text : "", least);
		return ctl_usage(&err);
	}
	*ret = (uint32_t)v;
	return 0;
}

static int cmd_expose(struct ctl *ctl)
{
	NODE(ExposePortRequest) req = NODE_INIT(EXPOSE_PORT_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ExposePortResponse) * r;
	struct error err = { 0 };
	int status;

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	status = parse_port(ctl_word(ctl, 1), 1, &req.port);
	if (status)
		return status;
	if (options_duration(ctl->options, "wait", &req.wait_ms, &err) < 0)
		return ctl_usage(&err);
	m = ctl_call(ctl, "ExposePort", &req.base, &status);
	if (!m)
		return status;
	r = (const NODE(ExposePortResponse) *)m;
	if (ctl->json)
		ctl_print_json(m);
	else if (r->port)
		printf("%s\t%s:%u\n", r->port->url, r->port->host_address,
		       r->port->host_port);
	return CTL_OK;
}

static int cmd_list(struct ctl *ctl)
{
	static const char *const head[] = { "PORT", "URL", "LISTENS", NULL };
	NODE(ListPortsRequest) req = NODE_INIT(LIST_PORTS_REQUEST);
	_cleanup_(message_freep) ProtobufCMessage *m = NULL;
	const NODE(ListPortsResponse) * r;
	struct table *t;
	int status;

	req.sandbox_id = ctl_word(ctl, 0);
	m = ctl_call(ctl, "ListPorts", &req.base, &status);
	if (!m)
		return status;
	if (ctl->json) {
		ctl_print_json(m);
		return CTL_OK;
	}
	r = (const NODE(ListPortsResponse) *)m;
	t = table_new(head);
	for (size_t i = 0; i < r->n_ports; i++) {
		const NODE(Port) *p = r->ports[i];

		table_cell(t, "%u", p->port);
		table_cell(t, "%s", p->url);
		table_cell(t, "%s:%u", p->host_address, p->host_port);
	}
	table_print(t, stdout);
	table_free(t);
	return CTL_OK;
}

static int cmd_close(struct ctl *ctl)
{
	NODE(ClosePortRequest) req = NODE_INIT(CLOSE_PORT_REQUEST);
	int status;

	req.request_id = ctl_request_id();
	req.sandbox_id = ctl_word(ctl, 0);
	status = parse_port(ctl_word(ctl, 1), 1, &req.port);
	return status ? status : ctl_simple(ctl, "ClosePort", &req.base);
}

static int cmd_forward(struct ctl *ctl)
{
	char local_text[8] = "";
	const char *ports = ctl_word(ctl, 1);
	const char *colon = strchr(ports, ':');
	uint32_t local, remote;
	int status;

	if (colon && (size_t)(colon - ports) < sizeof(local_text))
		memcpy(local_text, ports, (size_t)(colon - ports));
	/* Port 0: any that is free; it is printed. */
	status = parse_port(local_text, 0, &local);
	if (!status)
		status = parse_port(colon ? colon + 1 : "", 1, &remote);
	if (status)
		return status;
	return forward_run(ctl, ctl_word(ctl, 0), (uint16_t)local, remote);
}

static const struct option_def expose_options[] = {
	{ "wait", 0, "DUR", false, "until something listens there" },
	{ 0 },
};

const struct command ports_commands[] = {
	{ "port expose", "ID N", "give a guest's port a URL", 2, 2, false,
	  expose_options, cmd_expose },
	{ "port list", "ID", "list exposed ports", 1, 1, false, NULL,
	  cmd_list },
	{ "port close", "ID N", "end an exposure", 2, 2, false, NULL,
	  cmd_close },
	{ "port forward", "ID LOCAL:REMOTE",
	  "a port of this machine into the guest", 2, 2, false, NULL,
	  cmd_forward },
	{ 0 },
};
