/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - grpc.health.v1.Health: is this server fit for work
 *
 * A watcher is told the state when it comes and whenever it changes. What it
 * has not read yet is not repeated: a slow one gets the latest state when there
 * is room again.
 */
#include "front/health.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "grpc.h"
#include "grpc/health/v1/health.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX	    "/grpc.health.v1.Health/"
#define SERVICE_MAX 128

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING                                                            \
	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN                                                        \
	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

struct service {
	char name[SERVICE_MAX];
	bool serving;
};

struct health {
	struct service services[HEALTH_SERVICES_MAX];
	size_t n_services;
	struct list watchers;
	size_t n_watchers;
};

struct watcher {
	struct list link;
	struct health *health;
	struct grpc_call *call;
	bool watch;   /* Watch rather than Check */
	bool asked;   /* the request came */
	bool blocked; /* wait for writable */
	int told;     /* the status sent last; -1: none */
	char name[SERVICE_MAX];
};

static struct service *find(struct health *health, const char *name)
{
	for (size_t i = 0; i < health->n_services; i++)
		if (!strcmp(health->services[i].name, name))
			return &health->services[i];
	return NULL;
}

static health_status status_of(struct health *health, const char *name)
{
	const struct service *service = find(health, name);

	if (!service)
		return SERVICE_UNKNOWN;
	return service->serving ? SERVING : NOT_SERVING;
}

static void tell(struct watcher *w)
{
	Grpc__Health__V1__HealthCheckResponse msg =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	uint8_t buf[16];
	size_t len;

	msg.status = status_of(w->health, w->name);
	if (w->blocked || w->told == (int)msg.status)
		return;
	len = grpc__health__v1__health_check_response__pack(&msg, buf);
	w->blocked = grpc_call_send(w->call, buf, len) == 1;
	w->told = (int)msg.status;
}

static void finish(struct grpc_call *call, enum grpc_code code,
		   const char *text)
{
	struct grpc_status st;

	grpc_status_set(&st, code, NULL, "%s", text);
	grpc_call_finish(call, &st);
}

static void on_message(struct grpc_call *call, const uint8_t *data, size_t len,
		       void *arg)
{
	Grpc__Health__V1__HealthCheckRequest *msg;
	struct watcher *w = arg;
	int bad;

	if (w->asked) {
		finish(call, GRPC_INVALID_ARGUMENT, "one request only");
		return;
	}
	msg = grpc__health__v1__health_check_request__unpack(NULL, len, data);
	if (!msg) {
		finish(call, GRPC_INVALID_ARGUMENT, "malformed request");
		return;
	}
	w->asked = true;
	bad = str_copy(w->name, sizeof(w->name), msg->service);
	grpc__health__v1__health_check_request__free_unpacked(msg, NULL);
	if (bad) {
		finish(call, GRPC_INVALID_ARGUMENT, "service: too long");
		return;
	}
	if (!w->watch && !find(w->health, w->name)) {
		finish(call, GRPC_NOT_FOUND, "no such service");
		return;
	}
	tell(w);
	if (!w->watch)
		finish(call, GRPC_OK, "");
}

static void on_half_close(struct grpc_call *call, void *arg)
{
	struct watcher *w = arg;

	if (!w->asked)
		finish(call, GRPC_INVALID_ARGUMENT, "no request");
}

static void on_writable(struct grpc_call *call, void *arg)
{
	struct watcher *w = arg;

	(void)call;
	w->blocked = false;
	if (w->asked)
		tell(w);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	struct watcher *w = arg;

	(void)call;
	(void)st;
	list_del(&w->link);
	w->health->n_watchers--;
	free(w);
}

static const struct grpc_call_ops call_ops = {
	.message = on_message,
	.half_close = on_half_close,
	.writable = on_writable,
	.done = on_done,
};

bool health_accept(struct health *health, struct grpc_call *call,
		   const char *path)
{
	struct watcher *w;
	bool watch;

	if (strncmp(path, PREFIX, strlen(PREFIX)) != 0)
		return false;
	path += strlen(PREFIX);
	watch = !strcmp(path, "Watch");
	if (!watch && strcmp(path, "Check") != 0)
		return false;
	if (health->n_watchers >= HEALTH_WATCHERS_MAX) {
		finish(call, GRPC_RESOURCE_EXHAUSTED, "too many watchers");
		return true;
	}
	w = xcalloc(1, sizeof(*w));
	w->health = health;
	w->call = call;
	w->watch = watch;
	w->told = -1;
	list_add_tail(&health->watchers, &w->link);
	health->n_watchers++;
	grpc_call_accept(call, &call_ops, w);
	return true;
}

void health_set(struct health *health, const char *service, bool serving)
{
	struct service *s = find(health, service);

	if (!s) {
		assert(health->n_services < HEALTH_SERVICES_MAX);
		s = &health->services[health->n_services++];
		(void)str_copy(s->name, sizeof(s->name), service);
	}
	s->serving = serving;
	list_for_each(&health->watchers, w, struct watcher,
		      link) if (w->watch && w->asked &&
				!strcmp(w->name, service)) tell(w);
}

struct health *health_new(void)
{
	struct health *health = xcalloc(1, sizeof(*health));

	list_init(&health->watchers);
	health_set(health, "", false);
	return health;
}

struct health *health_free(struct health *health)
{
	if (health)
		assert(list_empty(&health->watchers));
	free(health);
	return NULL;
}
