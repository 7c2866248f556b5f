/* SPDX-License-Identifier: Apache-2.0 */
/* expose.c - guests' ports: rows, listeners and front, in step */
#include "engine/expose.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/guest.h"
#include "engine/port.h"
#include "engine/sandbox_fsm.h"

#include <stdio.h>
#include <string.h>

static void answer(struct call *call, const struct port *p)
{
	Sandbox__Node__V1__ExposePortResponse r =
		SANDBOX__NODE__V1__EXPOSE_PORT_RESPONSE__INIT;
	Sandbox__Node__V1__Port m = SANDBOX__NODE__V1__PORT__INIT;

	m.port = p->number;
	m.url = (char *)(uintptr_t)p->url;
	m.host_address = (char *)(uintptr_t)p->host_address;
	m.host_port = p->host_port;
	r.port = &m;
	call_finish(call, &r.base);
}

/* What waits for front: the port may be closed before that answers. */
struct exposing {
	struct call *call;
	char sandbox_id[SANDBOX_ID_MAX + 1];
	uint16_t port;
};

static void listening(const struct error *err, const uint8_t *data, size_t len,
		      void *arg)
{
	struct exposing *x = arg;
	struct engine *e = x->call->engine;
	const struct port *p = port_by_number(e->ports, x->sandbox_id, x->port);
	struct error why;

	(void)data;
	(void)len;
	if (!p) {
		err_set(&why, ERR_NOT_FOUND, "port %u was closed", x->port);
		err_reason(&why, "PORT_NOT_FOUND", "port");
		call_fail(x->call, &why);
	} else if (err && err->code != ERR_UNAVAILABLE) {
		call_fail(x->call, err);
	} else {
		/* Without front: the next one is told of all ports. */
		answer(x->call, p);
	}
	free(x);
}

static void tell_front(struct engine *e, const struct port *p, uint32_t wait_ms,
		       front_answer_fn fn, void *arg)
{
	front_link_listen_port(e->front, p->sandbox_id, p->number, wait_ms,
			       p->fd, fn, arg);
}

static int allowed(const struct sandbox *sb, uint16_t port, struct error *err)
{
	const Spec *spec = sb->row.spec;

	for (size_t i = 0; i < spec->n_allow_ports; i++)
		if (spec->allow_ports[i] == port)
			return 0;
	if (spec->n_allow_ports == 0)
		return 0;
	err_set(err, ERR_DENIED, "port %u is not in allow_ports of '%s'", port,
		sb->row.id);
	return err_reason(err, "PERMISSION_DENIED", "port");
}

static int make(struct sandbox *sb, uint16_t number, const struct port **ret,
		struct error *err)
{
	struct engine *e = sb->engine;
	struct port_row row = { .port = number };
	char text[8];

	if (port_open(e->ports, sb->row.id, number, 0, ret, err) < 0)
		return -1;
	snprintf(row.sandbox_id, sizeof(row.sandbox_id), "%s", sb->row.id);
	row.host_port = (*ret)->host_port;
	snprintf(text, sizeof(text), "%u", number);
	store_begin(e->store);
	store_port_put(e->store, &row);
	event_add(e, "port.exposed", sb->row.id,
		  EVENT_DATA({ "port", text }, { "url", (*ret)->url }));
	if (event_commit(e, err) == 0)
		return 0;
	port_close(e->ports, sb->row.id, number);
	return -1;
}

int expose_port(struct sandbox *sb, uint16_t port, uint32_t wait_ms,
		struct call *call, struct error *err)
{
	struct engine *e = sb->engine;
	const struct port *p = port_by_number(e->ports, sb->row.id, port);
	struct exposing *x;

	if (sandbox_may(sb, EV_PORT, err) < 0 || allowed(sb, port, err) < 0)
		return -1;
	if (!p && make(sb, port, &p, err) < 0)
		return -1;
	x = xcalloc(1, sizeof(*x));
	x->call = call;
	x->port = port;
	snprintf(x->sandbox_id, sizeof(x->sandbox_id), "%s", sb->row.id);
	tell_front(e, p, wait_ms, listening, x);
	return 0;
}

static void unlisten(struct engine *e, const char *id, uint16_t port)
{
	front_link_unlisten_port(e->front, id, port, guest_ignore_answer, NULL);
	port_close(e->ports, id, port);
}

/* Within a transaction. */
static void remove_port(struct sandbox *sb, const struct port *p,
			const char *reason)
{
	struct engine *e = sb->engine;
	char text[8];

	snprintf(text, sizeof(text), "%u", p->number);
	store_port_remove(e->store, sb->row.id, p->number);
	event_add(e, "port.closed", sb->row.id,
		  EVENT_DATA({ "port", text }, { "url", p->url },
			     { "reason", reason }));
}

int expose_close(struct sandbox *sb, uint16_t port, struct call *call,
		 struct error *err)
{
	struct engine *e = sb->engine;
	Sandbox__Node__V1__ClosePortResponse r =
		SANDBOX__NODE__V1__CLOSE_PORT_RESPONSE__INIT;
	const struct port *p = port_by_number(e->ports, sb->row.id, port);

	if (!p) {
		err_set(err, ERR_NOT_FOUND, "port %u of '%s' is not exposed",
			port, sb->row.id);
		return err_reason(err, "PORT_NOT_FOUND", "port");
	}
	store_begin(e->store);
	remove_port(sb, p, "REQUESTED");
	call_answer(call, &r.base);
	if (event_commit(e, err) < 0)
		return -1;
	unlisten(e, sb->row.id, port);
	call_send(call);
	return 0;
}

void expose_restore(struct engine *e, const struct port_row *row)
{
	struct sandbox *sb = sandbox_find(&e->sandboxes, row->sandbox_id);
	const struct port *p;
	struct error err;

	if (!sb || sb->row.state == SBX_TERMINATED)
		return;
	if (port_open(e->ports, row->sandbox_id, row->port, row->host_port, &p,
		      &err) < 0)
		log_warn("sandbox '%s': port %u: %s", row->sandbox_id,
			 row->port, err.msg);
}

void expose_announce(struct engine *e)
{
	const struct port *ports[PORTS_PER_SANDBOX_MAX];

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link) {
		size_t n = ports_of(e->ports, sb->row.id, ports);

		for (size_t i = 0; i < n; i++)
			tell_front(e, ports[i], 0, guest_ignore_answer, NULL);
	}
}

void expose_end(struct sandbox *sb)
{
	struct engine *e = sb->engine;
	const struct port *ports[PORTS_PER_SANDBOX_MAX];
	size_t n = ports_of(e->ports, sb->row.id, ports);
	struct error err;

	if (n == 0)
		return;
	store_begin(e->store);
	for (size_t i = 0; i < n; i++)
		remove_port(sb, ports[i], "TERMINATED");
	if (event_commit(e, &err) < 0) /* their rows go with the sandbox's */
		log_warn("sandbox '%s': its ports: %s", sb->row.id, err.msg);
	for (size_t i = 0; i < n; i++)
		unlisten(e, sb->row.id, ports[i]->number);
}
