/* SPDX-License-Identifier: Apache-2.0 */
/* post.h - one POST over HTTP or HTTPS, waited for
 *
 * libcurl speaks; names are looked up before each request, so that it needs no
 * thread of its own. No redirects, no proxies, no cookies; what the receiver
 * answers with, but for the status, is thrown away.
 */
#ifndef WEBHOOK_POST_H
#define WEBHOOK_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct post;

#define POST_ANSWER_MAX (64u << 10) /* more is a failure */

/* Once, before the jail: what the library loads. */
int post_warm_up(struct error *err);

/**
 * post_new() - Prepare requests to @url
 * @url:	http://, or https:// with a certificate that verifies
 * @ca:		PEM, NULL: the system's. Borrowed until post_free()
 * @gone_fd:	Give up when the other end of this is gone
 */
int post_new(const char *url, const char *agent, const char *ca, size_t ca_len,
	     uint32_t timeout_ms, int gone_fd, struct post **ret,
	     struct error *err);
struct post *post_free(struct post *post);

/**
 * post_send() - Send @body, wait for the answer's status
 * @headers:	"Name: value", NULL-terminated
 * @ret_status:	HTTP's; 0: there was none
 * @ret_retry_s: What the receiver asked to wait; 0: nothing
 *
 * Return: 0 for 2xx; else -1 with *@err
 */
int post_send(struct post *post, const char *const *headers, const char *body,
	      size_t len, long *ret_status, uint64_t *ret_retry_s,
	      struct error *err);

#endif /* WEBHOOK_POST_H */
