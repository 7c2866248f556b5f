/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - GET of a few texts over HTTP, made when they are asked for
 *
 * libmicrohttpd parses; here is what may be asked, by how many, and who waits
 * for what. A text is asked for once for all who wait for it, and given again
 * to who asks within HTTP_FRESH_MS. One thread, in its owner's loop.
 */
#ifndef METRICS_HTTP_H
#define METRICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct http;
struct loop;

#define HTTP_CONNECTIONS_MAX 32
#define HTTP_IDLE_S	     10
#define HTTP_ANSWER_MS	     8000 /* then 503 */
#define HTTP_FRESH_MS	     500

enum http_page { HTTP_NODE, HTTP_SANDBOXES, HTTP_PAGES };

/**
 * http_new() - Serve on a listening socket
 * @fd:		Consumed
 * @ask:	A page is wanted: answer with http_answer(), later
 */
int http_new(struct loop *loop, int fd,
	     void (*ask)(enum http_page page, void *arg), void *arg,
	     struct http **ret, struct error *err);
struct http *http_free(struct http *http);

/* The text of a page (taken over, malloc'ed); NULL: there is none now. */
void http_answer(struct http *http, enum http_page page, char *text,
		 size_t len);

#endif /* METRICS_HTTP_H */
