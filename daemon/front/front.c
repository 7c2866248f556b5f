/* SPDX-License-Identifier: Apache-2.0 */
/* front.c - the front process: what the engine has it do */
#include "front/front.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "front/agent_ask.h"
#include "front/agent_attach.h"
#include "front/agent_link.h"
#include "front/counts.h"
#include "front/events.h"
#include "front/health.h"
#include "front/listener.h"
#include "front/ports.h"
#include "front/tls.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAMS_MAX 250 /* default of streams_max */
#define SERVICE	    "sandbox.node.v1.NodeService"

static void free_identities(struct front *front)
{
	for (size_t i = 0; i < front->n_identities; i++)
		free(front->identities[i]);
	free(front->identities);
	front->identities = NULL;
	front->n_identities = 0;
}

static void take_identities(struct front *front,
			    const Sandbox__Ipc__V1__Setup *m)
{
	size_t n = m->n_allowed_identities;

	free_identities(front);
	front->identities = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		front->identities[i] = xstrdup(m->allowed_identities[i]);
	front->n_identities = n;
	front->n_uids = 0;
	for (size_t i = 0; i < m->n_allowed_uids && i < UIDS_MAX; i++)
		front->uids[front->n_uids++] = m->allowed_uids[i];
}

/* New certificates are for new connections; those there are keep theirs. A
 * renewal that does not load leaves the old ones.
 */
static void take_certificates(struct front *front, int *fds, size_t n_fds)
{
	struct error err = { 0 };
	SSL_CTX *ctx;

	if (n_fds != 3) {
		log_err("Setup with TLS came without its three files");
		return;
	}
	if (tls_new(fds[0], fds[1], fds[2], &ctx, &err) < 0) {
		log_err("certificates are not taken over: %s", err.msg);
		return;
	}
	SSL_CTX_free(front->tls);
	front->tls = ctx;
}

static void on_setup(struct front *front, const Sandbox__Ipc__V1__Setup *m,
		     int *fds, size_t n_fds)
{
	take_identities(front, m);
	if (m->tls)
		take_certificates(front, fds, n_fds);
	front->reflection = m->reflection;
	front->streams_max = m->streams_max ? m->streams_max : STREAMS_MAX;
	front->connections_max =
		m->connections_max ? m->connections_max : CONNECTIONS_MAX;
	snprintf(front->version, sizeof(front->version), "%s", m->version);
	health_set(front->health, "", true);
	health_set(front->health, SERVICE, true);
}

static void on_listen(struct front *front, const Sandbox__Ipc__V1__Listen *m,
		      int *fds, size_t n_fds)
{
	bool tls = m->kind == SANDBOX__IPC__V1__LISTEN__KIND__KIND_TLS;
	struct error err = { 0 };

	if (n_fds != 1)
		log_err("Listen came without its socket");
	else if (tls && !front->tls)
		log_err("no TLS: its certificates are missing");
	else if (listener_add(front, TAKE_FD(fds[0]), tls, &err) < 0)
		log_err("%s", err.msg);
}

static void on_client_gone(struct front *front)
{
	uint64_t id = front->drain_id;

	if (!front->draining || front->n_clients > 0)
		return;
	front->drain_id = 0;
	engine_reply(front->engine, id, NULL, NULL, 0);
}

static void on_drain(struct front *front, uint64_t id)
{
	front->draining = true;
	front->drain_id = id;
	health_set(front->health, "", false);
	health_set(front->health, SERVICE, false);
	events_end_all(front);
	listener_drain(front);
	on_client_gone(front);
}

static void on_message(const Sandbox__Ipc__V1__EngineMessage *m, int *fds,
		       size_t n_fds, void *arg)
{
	struct front *front = arg;
	int fd = -EBADF;

	switch (m->body_case) {
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_SETUP:
		on_setup(front, m->setup, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_LISTEN:
		on_listen(front, m->listen, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_ATTACH_AGENT:
		if (n_fds)
			fd = TAKE_FD(fds[0]);
		agent_attach(front, m->id, m->attach_agent, fd);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_DETACH_AGENT:
		agent_detach(front, m->id, m->detach_agent);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_AGENT_CALL:
		agent_engine_call(front, m->id, m->agent_call);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_LISTEN_PORT:
		if (n_fds)
			fd = TAKE_FD(fds[0]);
		ports_listen(front, m->id, m->listen_port, fd);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_UNLISTEN_PORT:
		ports_unlisten(front, m->id, m->unlisten_port);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_EVENTS_GREW:
		events_grew(front, m->events_grew->newest_sequence);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_DRAIN:
		on_drain(front, m->id);
		break;
	case SANDBOX__IPC__V1__ENGINE_MESSAGE__BODY_COUNT:
		counts_answer(front, m->id);
		break;
	default:
		log_warn("a message of the engine is not known: ignored");
		break;
	}
}

static void on_closed(const char *why, void *arg)
{
	struct front *front = arg;

	front->gone(front, why);
}

static const struct engine_link_ops engine_ops = { .message = on_message,
						   .closed = on_closed };

int front_new(struct loop *loop, int ipc_fd,
	      void (*gone)(struct front *front, const char *why),
	      struct front **ret, struct error *err)
{
	struct front *front = xcalloc(1, sizeof(*front));

	*front = (struct front){ .loop = loop,
				 .gone = gone,
				 .streams_max = STREAMS_MAX,
				 .connections_max = CONNECTIONS_MAX };
	front->client_gone = on_client_gone;
	list_init(&front->listeners);
	list_init(&front->clients);
	list_init(&front->links);
	list_init(&front->ports);
	list_init(&front->watchers);
	if (engine_link_new(loop, ipc_fd, &engine_ops, front, &front->engine,
			    err) < 0) {
		free(front);
		return -1;
	}
	front->health = health_new();
	*ret = front;
	return 0;
}

/* Whoever holds a call lets go of it in this order: clients, agents, engine. */
struct front *front_free(struct front *front)
{
	if (!front)
		return NULL;
	ports_free_all(front);
	listener_free_all(front);
	agent_free_all(front);
	front->engine = engine_link_free(front->engine);
	health_free(front->health);
	free_identities(front);
	SSL_CTX_free(front->tls);
	measures_fini(&front->methods);
	free(front);
	return NULL;
}
