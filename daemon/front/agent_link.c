/* SPDX-License-Identifier: Apache-2.0 */
/* agent_link.c - connections to the agents in the guests: their life
 *
 * Theory of operation
 * ===================
 *
 * A link is begun by AttachAgent, in order: the transport (resync on a serial
 * line), Hello, Configure. One timer bounds all of it. Only then is the link
 * READY and found by agent_find(). It ends in one of two ways:
 *
 *   from inside, link_fail(): the transport or the agent failed. Its calls end
 *   at once; the link itself goes when the pump says that it is closed, for
 *   we may be deep in one of its callbacks. Then the engine hears: as the
 *   answer to AttachAgent when that still waits, else by LinkLost.
 *
 *   from outside, link_free(): detached, replaced, or front ends. Never called
 *   from a callback of the link.
 *
 * A link that is ending is told apart by `why`, which its calls are given.
 *
 * An agent that is not heard is asked often, and told to the engine as silent
 * within seconds: that costs nothing to take back. The link is given up only much
 * later, for that ends its calls.
 */
#include "front/agent_link_priv.h"

#include "base/log.h"
#include "base/log_id.h"
#include "base/str.h"
#include "front/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct agent_link *link_find(struct front *front, const char *key)
{
	list_for_each (&front->links, link, struct agent_link, link) {
		if (!strcmp(link->key, key))
			return link;
	}
	return NULL;
}

struct agent_link *agent_find(struct front *front, const char *key)
{
	struct agent_link *link = link_find(front, key);

	return link && link->state == LINK_READY && !link->ending ? link : NULL;
}

static void link_release(struct agent_link *link)
{
	list_del(&link->link);
	sd_event_source_disable_unref(link->deadline);
	wire_free((ProtobufCMessage *)link->attach);
	wire_free((ProtobufCMessage *)link->hello);
	free(link);
}

/* The end from outside; @st is what its calls are told. */
void link_free(struct agent_link *link, const struct grpc_status *st)
{
	uint64_t id = link->attach_id;
	struct front *front = link->front;

	if (!link->ending)
		link->why = *st;
	link->ending = true;
	link->attach_id = 0;
	link->io = grpc_io_free(link->io);
	link_release(link);
	engine_reply(front->engine, id, st, NULL, 0);
}

/* The end from inside. */
void link_fail(struct agent_link *link, const struct grpc_status *st)
{
	if (link->ending)
		return;
	link->ending = true;
	link->why = *st;
	grpc_io_close(link->io, st->message);
}

void link_failf(struct agent_link *link, const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE", "%s", text);
	st.retry_ms = 1000;
	link_fail(link, &st);
}

/* It did what it must not. Told once a link; how often there is a new one is
 * the engine's.
 */
void link_broken(struct agent_link *link, const char *why)
{
	struct log_fields fields = { .sandbox_id = link->key,
				     .message_id = LOG_ID_AGENT_BROKEN };
	char text[96], message[128];

	if (link->ending)
		return;
	str_escape(text, sizeof(text), why, strlen(why));
	log_line(LOG_LEVEL_WARN, &fields,
		 "guest '%s': its agent broke the protocol: %s", link->key,
		 text);
	snprintf(message, sizeof(message), "the agent broke the protocol: %s",
		 text);
	link->broken = true;
	link_failf(link, message);
}

void link_closed(struct grpc_io *io, const char *why, void *arg)
{
	struct agent_link *link = arg;
	struct front *front = link->front;
	char text[GRPC_STATUS_MESSAGE_MAX];

	(void)io;
	link->io = NULL;
	if (!link->ending) {
		str_escape(text, sizeof(text) / 2, why, strlen(why));
		grpc_status_set(&link->why, GRPC_UNAVAILABLE, "UNAVAILABLE",
				"the link to the guest ended: %s", text);
		link->why.retry_ms = 1000;
		link->ending = true;
	}
	if (link->state != LINK_READY) {
		if (link->broken)
			snprintf(link->why.reason, sizeof(link->why.reason),
				 "%s", "AGENT_BROKEN");
		engine_reply(front->engine, link->attach_id, &link->why, NULL,
			     0);
	} else {
		engine_link_lost(front->engine, link->key, link->generation,
				 link->why.message, link->broken);
	}
	link_release(link);
}

static void on_closing(struct grpc_conn *conn, const char *why, void *arg)
{
	struct agent_link *link = arg;
	char text[128], message[192];

	if (grpc_conn_is_broken(conn)) {
		link_broken(link, why);
		return;
	}
	str_escape(text, sizeof(text), why, strlen(why));
	snprintf(message, sizeof(message), "the agent closed the link: %s",
		 text);
	link_failf(link, message);
}

static void on_silent(struct grpc_conn *conn, bool silent, void *arg)
{
	struct agent_link *link = arg;

	(void)conn;
	if (link->state == LINK_READY && !link->ending)
		engine_agent_silent(link->front->engine, link->key,
				    link->generation, silent);
}

const struct grpc_conn_ops link_conn_ops = { .closing = on_closing,
					     .silent = on_silent };

void agent_detach(struct front *front, uint64_t id,
		  const Sandbox__Ipc__V1__DetachAgent *m)
{
	struct agent_link *link = link_find(front, m->sandbox_id);
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE,
			str_empty(m->reason) ? "UNAVAILABLE" : m->reason, "%s",
			str_empty(m->message) ? "the sandbox was detached" :
						m->message);
	st.retry_ms = 1000;
	if (link)
		link_free(link, &st);
	engine_reply(front->engine, id, NULL, NULL, 0);
}

void agent_free_all(struct front *front)
{
	struct grpc_status st;

	grpc_status_set(&st, GRPC_UNAVAILABLE, "UNAVAILABLE", "front stops");
	while (!list_empty(&front->links)) {
		struct agent_link *link =
			list_entry(front->links.next, struct agent_link, link);

		link->attach_id = 0;
		link_free(link, &st);
	}
}
