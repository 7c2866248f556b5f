/* SPDX-License-Identifier: Apache-2.0 */
/* post.c - one POST over HTTP or HTTPS, waited for */
#include "webhook/post.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES_MAX 8

struct post {
	CURL *curl;
	char *host;
	long port;
	int gone_fd;
	uint32_t timeout_ms;
	size_t answered; /* bytes of the present answer */
	char why[CURL_ERROR_SIZE];
};

int post_warm_up(struct error *err)
{
	unsigned char byte;

	if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL) != 1 ||
	    RAND_bytes(&byte, 1) != 1 ||
	    curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		return err_set(err, ERR_INTERNAL, "set up libcurl");
	return 0;
}

/* ---- names ---- */

static int split(struct post *post, const char *url, struct error *err)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL;
	int r = 0;

	if (!u || curl_url_set(u, CURLUPART_URL, url, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
		r = err_set(err, ERR_INVALID, "the URL cannot be read");
	} else {
		size_t len = strlen(host);

		if (host[0] == '[' && len > 2)
			post->host = strndup(host + 1, len - 2);
		else
			post->host = xstrdup(host);
		post->port = strtol(port, NULL, 10);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return r;
}

/* "host:port:address,address", for the library's cache. */
static int look_up(struct post *post, char *ret, size_t size, struct error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	int n = 0, r = getaddrinfo(post->host, NULL, &hints, &found);
	size_t len;

	if (r != 0)
		return err_set(err, ERR_UNAVAILABLE, "look up '%.200s': %s",
			       post->host, gai_strerror(r));
	len = (size_t)snprintf(ret, size, "%s:%ld:", post->host, post->port);
	for (struct addrinfo *a = found; a && n < ADDRESSES_MAX;
	     a = a->ai_next) {
		char text[64];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text),
				NULL, 0, NI_NUMERICHOST) == 0 &&
		    len < size)
			len += (size_t)snprintf(
				ret + len, size - len, "%s%s%s%s",
				n++ ? "," : "", strchr(text, ':') ? "[" : "",
				text, strchr(text, ':') ? "]" : "");
	}
	freeaddrinfo(found);
	return len < size && n ? 0
			       : err_set(err, ERR_UNAVAILABLE,
					 "'%.200s' has no address", post->host);
}

static bool is_address(const char *host)
{
	struct in6_addr in;

	return inet_pton(AF_INET, host, &in) == 1 ||
	       inet_pton(AF_INET6, host, &in) == 1;
}

/* ---- the library's callbacks ---- */

static size_t on_answer(char *data, size_t size, size_t n, void *arg)
{
	struct post *post = arg;

	(void)data;
	post->answered += size * n;
	return post->answered <= POST_ANSWER_MAX ? size * n : 0;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl,
		       curl_off_t ul_total, curl_off_t ul)
{
	struct post *post = arg;
	struct pollfd p = { .fd = post->gone_fd, .events = POLLRDHUP };

	(void)dl_total;
	(void)dl;
	(void)ul_total;
	(void)ul;
	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP));
}

/* ---- requests ---- */

int post_new(const char *url, const char *agent, const char *ca, size_t ca_len,
	     uint32_t timeout_ms, int gone_fd, struct post **ret,
	     struct error *err)
{
	struct post *post = xcalloc(1, sizeof(*post));
	struct curl_blob blob = { (void *)(uintptr_t)ca, ca_len,
				  CURL_BLOB_NOCOPY };
	CURL *c;

	post->gone_fd = gone_fd;
	post->timeout_ms = timeout_ms;
	if (split(post, url, err) < 0) {
		post_free(post);
		return -1;
	}
	c = post->curl = curl_easy_init();
	if (!c || curl_easy_setopt(c, CURLOPT_URL, url) ||
	    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") ||
	    curl_easy_setopt(c, CURLOPT_PROXY, "") ||
	    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) ||
	    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) ||
	    curl_easy_setopt(c, CURLOPT_USERAGENT, agent) ||
	    curl_easy_setopt(c, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) ||
	    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms) ||
	    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer) ||
	    curl_easy_setopt(c, CURLOPT_WRITEDATA, post) ||
	    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress) ||
	    curl_easy_setopt(c, CURLOPT_XFERINFODATA, post) ||
	    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L) ||
	    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, post->why) ||
	    (ca && curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob))) {
		post_free(post);
		return err_set(err, ERR_INTERNAL, "set up libcurl");
	}
	*ret = post;
	return 0;
}

struct post *post_free(struct post *post)
{
	if (!post)
		return NULL;
	curl_easy_cleanup(post->curl);
	free(post->host);
	free(post);
	return NULL;
}

static int perform(struct post *post, long *ret_status, uint64_t *ret_retry_s,
		   struct error *err)
{
	curl_off_t wait = 0;
	char why[CURL_ERROR_SIZE];
	CURLcode r;

	post->answered = 0;
	post->why[0] = '\0';
	r = curl_easy_perform(post->curl);
	curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, ret_status);
	if (curl_easy_getinfo(post->curl, CURLINFO_RETRY_AFTER, &wait) ==
		    CURLE_OK &&
	    wait > 0)
		*ret_retry_s = (uint64_t)wait;
	if (r != CURLE_OK) {
		const char *text =
			post->why[0] ? post->why : curl_easy_strerror(r);

		str_escape(why, sizeof(why), text, strlen(text));
		return err_set(err, ERR_UNAVAILABLE, "%s", why);
	}
	if (*ret_status < 200 || *ret_status > 299)
		return err_set(err, ERR_UNAVAILABLE,
			       "the receiver answered with status %ld",
			       *ret_status);
	return 0;
}

int post_send(struct post *post, const char *const *headers, const char *body,
	      size_t len, long *ret_status, uint64_t *ret_retry_s,
	      struct error *err)
{
	struct curl_slist *list = NULL, *names = NULL;
	char name[1024];
	int r;

	*ret_status = 0;
	*ret_retry_s = 0;
	if (!is_address(post->host)) {
		if (look_up(post, name, sizeof(name), err) < 0)
			return -1;
		names = curl_slist_append(NULL, name);
	}
	for (; *headers; headers++)
		list = curl_slist_append(list, *headers);
	/* A body over 1 MiB would otherwise wait for "100 Continue". */
	list = curl_slist_append(list, "Expect:");
	curl_easy_setopt(post->curl, CURLOPT_RESOLVE, names);
	curl_easy_setopt(post->curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE_LARGE,
			 (curl_off_t)len);
	r = perform(post, ret_status, ret_retry_s, err);
	curl_easy_setopt(post->curl, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(post->curl, CURLOPT_RESOLVE, NULL);
	curl_slist_free_all(list);
	curl_slist_free_all(names);
	return r;
}
