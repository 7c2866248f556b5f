/* SPDX-License-Identifier: Apache-2.0 */
/* webhook_receiver.c - who gets a webhook's events, in a thread of the test */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "webhook_receiver.h"

#include "base/loop.h"
#include "base/mem.h"
#include "webhook/sign.h"

#include <arpa/inet.h>
#include <assert.h>
#include <json-c/json.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct webhook_receiver receiver = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct body {
	char *data;
	size_t len;
};

static void complain(const char *why)
{
	receiver.bad++;
	snprintf(receiver.bad_why, sizeof(receiver.bad_why), "%s", why);
}

static const char *header(struct MHD_Connection *c, const char *name)
{
	const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);

	return v ? v : "";
}

/* By other means than the sender's. */
static void check_signature(struct MHD_Connection *c, const struct body *b)
{
	char text[512], want[SIGN_MAX] = "v1,";
	uint8_t mac[EVP_MAX_MD_SIZE], *all;
	unsigned int mac_len;
	int n = snprintf(text, sizeof(text), "%s.%s.", header(c, "webhook-id"),
			 header(c, "webhook-timestamp"));

	all = xcalloc(1, (size_t)n + b->len + 1);
	memcpy(all, text, (size_t)n);
	memcpy(all + n, b->data ? b->data : "", b->len);
	HMAC(EVP_sha256(), RECEIVER_SECRET, strlen(RECEIVER_SECRET), all,
	     (size_t)n + b->len, mac, &mac_len);
	EVP_EncodeBlock((uint8_t *)want + 3, mac, (int)mac_len);
	if (strcmp(want, header(c, "webhook-signature")) != 0)
		complain("the signature is wrong");
	if (strcmp(header(c, "content-type"),
		   "application/cloudevents-batch+json; charset=utf-8") != 0)
		complain("the content type is wrong");
	free(all);
}

static unsigned int take(struct MHD_Connection *c, const struct body *b)
{
	struct json_object *all = json_tokener_parse(b->data ? b->data : "");
	size_t n = all ? json_object_array_length(all) : 0;

	receiver.requests++;
	check_signature(c, b);
	if (n == 0)
		complain("the body is no list of events");
	if (receiver.fail) {
		receiver.fail--;
		json_object_put(all);
		return receiver.status;
	}
	if (receiver.at_most && n > receiver.at_most) {
		json_object_put(all);
		return 413;
	}
	for (size_t i = 0; i < n && receiver.n_ids < RECEIVER_IDS_MAX; i++) {
		struct json_object *e = json_object_array_get_idx(all, i), *v;

		if (receiver.n_ids < 64 &&
		    json_object_object_get_ex(e, "type", &v))
			snprintf(receiver.types[receiver.n_ids], 48, "%s",
				 json_object_get_string(v));
		if (!json_object_object_get_ex(e, "id", &v))
			complain("an event without an id");
		receiver.ids[receiver.n_ids++] =
			strtoull(json_object_get_string(v), NULL, 10);
	}
	receiver.last_n = (unsigned int)n;
	snprintf(receiver.last_id, sizeof(receiver.last_id), "%s",
		 header(c, "webhook-id"));
	snprintf(receiver.agent, sizeof(receiver.agent), "%s",
		 header(c, "user-agent"));
	json_object_put(all);
	return 204;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c,
				  const char *url, const char *method,
				  const char *version, const char *data,
				  size_t *len, void **state)
{
	struct MHD_Response *r;
	struct body *b = *state;
	unsigned int code;
	enum MHD_Result ok;

	(void)arg;
	(void)url;
	(void)method;
	(void)version;
	if (!b) {
		*state = xcalloc(1, sizeof(*b));
		return MHD_YES;
	}
	if (*len) {
		b->data = xrealloc(b->data, b->len + *len + 1, 1);
		memcpy(b->data + b->len, data, *len);
		b->len += *len;
		b->data[b->len] = '\0';
		*len = 0;
		return MHD_YES;
	}
	pthread_mutex_lock(&receiver.lock);
	if (receiver.hang) {
		receiver.requests++;
		assert(receiver.n_hung < 64);
		receiver.hung[receiver.n_hung++] = c;
		pthread_mutex_unlock(&receiver.lock);
		MHD_suspend_connection(c);
		return MHD_YES;
	}
	code = take(c, b);
	pthread_mutex_unlock(&receiver.lock);
	r = MHD_create_response_from_buffer(0, (void *)(uintptr_t) "",
					    MHD_RESPMEM_PERSISTENT);
	ok = MHD_queue_response(c, code, r);
	MHD_destroy_response(r);
	return ok;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct body *b = *state;

	(void)arg;
	(void)c;
	(void)why;
	if (b)
		free(b->data);
	free(b);
}

void receiver_start(bool tls)
{
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD |
			     MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0);
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(receiver.port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint64_t end = loop_now_ms() + 5000;

	do {
		receiver.mhd = MHD_start_daemon(
			flags, 0, NULL, NULL, on_request, NULL,
			MHD_OPTION_SOCK_ADDR, &sin, MHD_OPTION_NOTIFY_COMPLETED,
			on_completed, NULL,
			tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END,
			receiver.cert, MHD_OPTION_HTTPS_MEM_KEY, receiver.key,
			MHD_OPTION_END);
	} while (!receiver.mhd && loop_now_ms() < end);
	assert_non_null(receiver.mhd);
	receiver.port =
		MHD_get_daemon_info(receiver.mhd, MHD_DAEMON_INFO_BIND_PORT)
			->port;
}

void receiver_stop(void)
{
	if (receiver.mhd)
		MHD_stop_daemon(receiver.mhd);
	receiver.mhd = NULL;
}

size_t receiver_n_taken(void)
{
	size_t n;

	pthread_mutex_lock(&receiver.lock);
	n = receiver.n_ids;
	pthread_mutex_unlock(&receiver.lock);
	return n;
}

unsigned int receiver_n_requests(void)
{
	unsigned int n;

	pthread_mutex_lock(&receiver.lock);
	n = receiver.requests;
	pthread_mutex_unlock(&receiver.lock);
	return n;
}

uint64_t receiver_last_taken(void)
{
	size_t n = receiver_n_taken();

	return n ? receiver.ids[n - 1] : 0;
}

void receiver_assert_all_taken(uint64_t first, uint64_t last)
{
	uint64_t next = first;

	if (receiver.bad)
		fail_msg("%s", receiver.bad_why);
	for (size_t i = 0; i < receiver.n_ids; i++) {
		if (receiver.ids[i] > next)
			fail_msg("%ju came before %ju",
				 (uintmax_t)receiver.ids[i], (uintmax_t)next);
		if (receiver.ids[i] == next)
			next++;
	}
	assert_int_equal(next, last + 1);
}
