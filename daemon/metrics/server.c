/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - between the engine, which has the text, and HTTP, which asks
 *
 * There is one question a page at most; its number tells a late answer from one
 * to a later question.
 */
#include "metrics/server.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc_message.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "metrics/http.h"
#include "sandbox/ipc/v1/metrics.pb-c.h"

#include <string.h>

struct server {
	struct loop *loop;
	struct engine_end *engine;
	struct http *http;
	uint64_t last_id;
	struct {
		uint64_t id; /* 0: none is asked */
		char *text;
		size_t len;
	} asked[HTTP_PAGES];
};

static void on_ask(enum http_page page, void *arg)
{
	struct server *server = arg;
	Sandbox__Ipc__V1__Scrape m = SANDBOX__IPC__V1__SCRAPE__INIT;

	free(TAKE_PTR(server->asked[page].text));
	server->asked[page].len = 0;
	server->asked[page].id = ++server->last_id;
	m.id = server->last_id;
	m.kind = page == HTTP_NODE ?
			 SANDBOX__IPC__V1__SCRAPE__KIND__KIND_NODE :
			 SANDBOX__IPC__V1__SCRAPE__KIND__KIND_SANDBOXES;
	engine_end_report(server->engine, &m.base);
}

static void on_answer(struct server *server,
		      const Sandbox__Ipc__V1__ScrapeAnswer *m)
{
	for (int i = 0; i < HTTP_PAGES; i++) {
		size_t len = server->asked[i].len;

		if (!m->id || server->asked[i].id != m->id)
			continue;
		if (!m->refused && len + m->text.len <= SERVER_TEXT_MAX) {
			server->asked[i].text =
				xrealloc(server->asked[i].text,
					 len + m->text.len + 1, 1);
			if (m->text.len)
				memcpy(server->asked[i].text + len,
				       m->text.data, m->text.len);
			server->asked[i].len += m->text.len;
		}
		if (m->more)
			return;
		server->asked[i].id = 0;
		http_answer(server->http, (enum http_page)i,
			    TAKE_PTR(server->asked[i].text),
			    server->asked[i].len);
		return;
	}
}

static void on_listen(struct server *server, int *fds, size_t n_fds)
{
	struct error err;

	if (n_fds != 1 || server->http) {
		log_err("a second Listen, or one without its socket");
		return;
	}
	if (http_new(server->loop, TAKE_FD(fds[0]), on_ask, server,
		     &server->http, &err) == 0)
		return;
	log_err("%s", err.msg);
	loop_stop(server->loop, 1);
}

static void on_command(ProtobufCMessage *m, int *fds, size_t n_fds, void *arg)
{
	const Sandbox__Ipc__V1__MetricsCommand *msg =
		(const Sandbox__Ipc__V1__MetricsCommand *)m;
	struct server *server = arg;

	switch (msg->body_case) {
	case SANDBOX__IPC__V1__METRICS_COMMAND__BODY_LISTEN:
		on_listen(server, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__METRICS_COMMAND__BODY_ANSWER:
		on_answer(server, msg->answer);
		break;
	case SANDBOX__IPC__V1__METRICS_COMMAND__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__METRICS_COMMAND__BODY__CASE_IS_INT_SIZE:
		break;
	}
}

static const struct engine_end_ops engine_ops = {
	.command = &sandbox__ipc__v1__metrics_command__descriptor,
	.message = on_command,
};

int server_new(struct loop *loop, int ipc_fd, struct server **ret,
	       struct error *err)
{
	struct server *server = xcalloc(1, sizeof(*server));

	server->loop = loop;
	if (engine_end_new(loop, ipc_fd, &engine_ops, server, &server->engine,
			   err) < 0) {
		free(server);
		return -1;
	}
	*ret = server;
	return 0;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	http_free(server->http);
	engine_end_free(server->engine);
	for (int i = 0; i < HTTP_PAGES; i++)
		free(server->asked[i].text);
	free(server);
	return NULL;
}
