/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel.c - Tunnel: one TCP connection to a port of the guest's localhost
 *
 * An open tunnel without traffic keeps no sandbox awake: the lease ends when
 * the connection stands, and bytes are told as activity.
 */
#include "front/proxy.h"

#include "base/error.h"
#include "front/check.h"
#include "sandbox/node/v1/node.pb-c.h"

#define NODE(name) (&sandbox__node__v1__##name##__descriptor)

static char **tunnel_first(struct proxy *p, ProtobufCMessage *m,
			   struct error *err)
{
	Sandbox__Node__V1__TunnelRequest *r = (void *)m;

	if (r->input_case != SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_START) {
		err_field(err, "start", "start: must come first");
		return NULL;
	}
	if (check_range(r->start->port, 1, 65535, "port", err) < 0)
		return NULL;
	p->port = r->start->port;
	return &r->start->sandbox_id;
}

static int tunnel_leased(struct proxy *p, const uint32_t *allow_ports, size_t n,
			 struct error *err)
{
	bool allowed = n == 0;

	for (size_t i = 0; i < n; i++)
		allowed |= allow_ports[i] == p->port;
	if (allowed)
		return 0;
	err_set(err, ERR_DENIED, "port %u is not among allow_ports", p->port);
	return err_reason(err, "PERMISSION_DENIED", "port");
}

static int tunnel_more(struct proxy *p, ProtobufCMessage *m, struct error *err)
{
	Sandbox__Node__V1__TunnelRequest *r = (void *)m;

	if (r->input_case != SANDBOX__NODE__V1__TUNNEL_REQUEST__INPUT_DATA)
		return err_field(err, "data", "data: must follow start");
	proxy_activity(p);
	return check_bytes(&r->data, CHECK_DATA_MAX, false, "data", err);
}

static int tunnel_answer(struct proxy *p, ProtobufCMessage *m,
			 struct error *err)
{
	Sandbox__Node__V1__TunnelResponse *r = (void *)m;
	bool connected = r->output_case ==
			 SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_CONNECTED;

	if (!connected &&
	    r->output_case != SANDBOX__NODE__V1__TUNNEL_RESPONSE__OUTPUT_DATA)
		return err_set(err, ERR_INVALID, "an empty TunnelResponse");
	if (connected == p->started)
		return err_set(err, ERR_INVALID, "connected must come first");
	p->started = true;
	return connected ? 0 :
			   check_bytes(&r->data, CHECK_DATA_MAX, false, "data",
				       err);
}

static void tunnel_sent(struct proxy *p, ProtobufCMessage *m)
{
	(void)m;
	proxy_activity(p);
	proxy_release(p);
}

const struct proxy_method tunnel_methods[] = {
	{ .name = "Tunnel",
	  .request = NODE(tunnel_request),
	  .response = NODE(tunnel_response),
	  .client_streams = true,
	  .server_streams = true,
	  .first = tunnel_first,
	  .more = tunnel_more,
	  .answer = tunnel_answer,
	  .sent = tunnel_sent,
	  .leased = tunnel_leased },
	{ 0 },
};
