/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - GET of a few texts over HTTP
 *
 * Theory of operation
 * ===================
 *
 * libmicrohttpd runs without threads: its epoll descriptor is a source of our
 * loop, and its timeout a timer. A request that has to wait suspends its
 * connection; when the text comes, or time is up, all that wait for it are
 * resumed, and the library calls on_request() once more for each.
 *
 * A suspended connection is not read from: one that its client has left is
 * found out when it is answered, at most HTTP_ANSWER_MS later.
 */
#include "metrics/http.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/prom.h"

#include <microhttpd.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

#define REQUEST_MEMORY 16384 /* of one connection: head and buffers */

/* Answers may outlive the page's next text. */
struct text {
	unsigned int refs;
	size_t len;
	char *data;
};

struct page {
	struct text *text; /* NULL: none, or not now */
	uint64_t made_ms;
	bool asked;
	struct list waiting; /* requests */
	sd_event_source *timer;
	struct http *http;
};

struct http {
	struct loop *loop;
	void (*ask)(enum http_page page, void *arg);
	void *arg;
	struct MHD_Daemon *mhd;
	sd_event_source *io, *timer;
	struct page pages[HTTP_PAGES];
};

struct request {
	struct list link;
	struct MHD_Connection *connection;
	bool waited;
};

static const char *const paths[HTTP_PAGES] = {
	[HTTP_NODE] = "/metrics",
	[HTTP_SANDBOXES] = "/metrics/sandboxes",
};

static void text_unref(void *arg)
{
	struct text *text = arg;

	if (!text || --text->refs > 0)
		return;
	free(text->data);
	free(text);
}

/* ---- answers ---- */

static enum MHD_Result send_plain(struct MHD_Connection *c, unsigned int code,
				  const char *body)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
		strlen(body), (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", "text/plain");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	if (code == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(r, "Retry-After", "5");
	ok = MHD_queue_response(c, code, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result send_text(struct MHD_Connection *c, struct text *text)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer_with_free_callback_cls(
			text->len, text->data, text_unref, text);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	text->refs++;
	MHD_add_response_header(r, "Content-Type", PROM_CONTENT_TYPE);
	ok = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return ok;
}

/* ---- who waits ---- */

static void run(struct http *http);

static void wake_all(struct page *page)
{
	list_for_each(&page->waiting, r, struct request, link)
	{
		list_del(&r->link);
		MHD_resume_connection(r->connection);
	}
	run(page->http);
}

static void on_late(void *arg)
{
	struct page *page = arg;

	text_unref(TAKE_PTR(page->text));
	page->asked = false;
	wake_all(page);
}

static void wait_for(struct http *http, enum http_page n, struct request *r)
{
	struct page *page = &http->pages[n];

	r->waited = true;
	MHD_suspend_connection(r->connection);
	list_add_tail(&page->waiting, &r->link);
	if (page->asked)
		return;
	page->asked = true;
	loop_timer(http->loop, &page->timer, loop_now_ms() + HTTP_ANSWER_MS,
		   on_late, page);
	http->ask(n, http->arg);
}

void http_answer(struct http *http, enum http_page n, char *data, size_t len)
{
	struct page *page = &http->pages[n];

	if (!page->asked) { /* too late */
		free(data);
		return;
	}
	page->asked = false;
	loop_timer_off(page->timer);
	text_unref(TAKE_PTR(page->text));
	if (data) {
		page->text = xcalloc(1, sizeof(*page->text));
		*page->text =
			(struct text){ .refs = 1, .len = len, .data = data };
	}
	page->made_ms = loop_now_ms();
	wake_all(page);
}

/* ---- requests ---- */

static enum MHD_Result give(struct http *http, enum http_page n,
			    struct request *r)
{
	struct page *page = &http->pages[n];
	bool fresh =
		page->text && loop_now_ms() - page->made_ms <= HTTP_FRESH_MS;

	if (page->text && (fresh || r->waited))
		return send_text(r->connection, page->text);
	if (r->waited)
		return send_plain(r->connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				  "the node has no answer now\n");
	wait_for(http, n, r);
	return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c,
				  const char *url, const char *method,
				  const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	struct http *http = arg;
	struct request *r = *state;

	(void)version;
	(void)upload;
	if (!r) { /* the head is in; a body may follow */
		r = xcalloc(1, sizeof(*r));
		list_init(&r->link);
		r->connection = c;
		*state = r;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_plain(c, MHD_HTTP_METHOD_NOT_ALLOWED,
				  "only GET and HEAD\n");
	for (int n = 0; n < HTTP_PAGES; n++)
		if (!strcmp(url, paths[n]))
			return give(http, (enum http_page)n, r);
	return send_plain(c, MHD_HTTP_NOT_FOUND,
			  "/metrics is the node, /metrics/sandboxes each "
			  "sandbox\n");
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct request *r = *state;

	(void)arg;
	(void)c;
	(void)why;
	if (r)
		list_del(&r->link);
	free(r);
	*state = NULL;
}

/* ---- the loop ---- */

static void on_timer(void *arg)
{
	run(arg);
}

static void run(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG wait;

	MHD_run(http->mhd);
	if (MHD_get_timeout(http->mhd, &wait) == MHD_YES)
		loop_timer(http->loop, &http->timer, loop_now_ms() + wait,
			   on_timer, http);
	else
		loop_timer_off(http->timer);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	(void)s;
	(void)fd;
	(void)revents;
	run(arg);
	return 0;
}

int http_new(struct loop *loop, int fd,
	     void (*ask)(enum http_page page, void *arg), void *arg,
	     struct http **ret, struct error *err)
{
	struct http *http = xcalloc(1, sizeof(*http));
	const union MHD_DaemonInfo *info;
	int r;

	*http = (struct http){ .loop = loop, .ask = ask, .arg = arg };
	for (int i = 0; i < HTTP_PAGES; i++) {
		list_init(&http->pages[i].waiting);
		http->pages[i].http = http;
	}
	http->mhd = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, http, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HTTP_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
		MHD_OPTION_END);
	if (!http->mhd) {
		close(fd);
		free(http);
		return err_set(err, ERR_INTERNAL, "serve HTTP");
	}
	info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	r = info ? sd_event_add_io(loop_event(loop), &http->io, info->epoll_fd,
				   EPOLLIN, on_io, http)
		 : -EINVAL;
	if (r < 0) {
		http_free(http);
		return err_sys(err, -r, "serve HTTP");
	}
	*ret = http;
	return 0;
}

struct http *http_free(struct http *http)
{
	if (!http)
		return NULL;
	sd_event_source_disable_unref(http->io);
	/* The library wants none suspended when it stops. */
	for (int i = 0; i < HTTP_PAGES; i++)
		list_for_each(&http->pages[i].waiting, r, struct request, link)
		{
			list_del(&r->link);
			MHD_resume_connection(r->connection);
		}
	for (int i = 0; i < HTTP_PAGES; i++) {
		sd_event_source_disable_unref(http->pages[i].timer);
		text_unref(TAKE_PTR(http->pages[i].text));
	}
	MHD_run(http->mhd);
	MHD_stop_daemon(http->mhd);
	for (int i = 0; i < HTTP_PAGES; i++)
		text_unref(http->pages[i].text);
	sd_event_source_disable_unref(http->timer);
	free(http);
	return NULL;
}
