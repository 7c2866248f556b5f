/* SPDX-License-Identifier: Apache-2.0 */
/* hv_conn.c - the connection to libvirt: kept up, its events brought home
 *
 * Theory of operation
 * ===================
 *
 * libvirt wants an event loop for its socket and keepalives. It gets its own
 * (virEventRegisterDefaultImpl) on a thread of its own, rather than ours
 * through virEventRegisterImpl: an implementation given there is called from
 * whichever thread happens to make an API call, and sd-event belongs to one
 * thread only. That thread, once started, runs until the process ends: libvirt
 * needs it even to close a connection, and it cannot be unregistered.
 *
 * Opening blocks and needs that loop running, so a second thread, the
 * connector, does it: it opens, waits until the connection is lost, closes it,
 * and begins again with a growing pause. @open is what others may use; they
 * take a reference under the lock, so a connection lost under their hands
 * fails their calls and nothing else.
 *
 * A callback runs on libvirt's thread. It copies what it needs, posts it and
 * returns; it calls nothing that takes a round trip, for the reply would have
 * to be read by the very thread that waits for it. What it posts holds a
 * reference to the struct, so that what is delivered late finds it there.
 */
#include "engine/hv/hv_conn.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#define BACKOFF_MIN_MS	     100
#define BACKOFF_MAX_MS	     5000
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT	     3
#define STOP_WAIT_S	     2

struct hv_conn {
	struct loop *loop;
	hv_gone_fn gone;
	hv_link_fn link;
	void *arg;
	char *uri;
	pthread_t connector;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Below: under @lock. */
	virConnectPtr open; /* NULL: down */
	bool lost, stop, freed;
	unsigned long
		version;   /* libvirt's, major*1000000 + minor*1000 + micro */
	unsigned int refs; /* owner, connector, callbacks, posts */
};

/* What a callback or the connector has to tell the main thread. */
struct news {
	struct hv_conn *conn;
	bool up;
	char uuid[VIR_UUID_STRING_BUFLEN]; /* empty: about the link */
};

static void conn_ref(struct hv_conn *conn)
{
	pthread_mutex_lock(&conn->lock);
	conn->refs++;
	pthread_mutex_unlock(&conn->lock);
}

static void conn_unref(void *arg)
{
	struct hv_conn *conn = arg;
	bool last;

	pthread_mutex_lock(&conn->lock);
	last = --conn->refs == 0;
	pthread_mutex_unlock(&conn->lock);
	if (!last)
		return;
	pthread_cond_destroy(&conn->wake);
	pthread_mutex_destroy(&conn->lock);
	free(conn->uri);
	free(conn);
}

/* Main thread. */
static void deliver(void *arg)
{
	struct news *news = arg;
	struct hv_conn *conn = news->conn;

	if (!conn->freed && news->uuid[0])
		conn->gone(news->uuid, conn->arg);
	else if (!conn->freed)
		conn->link(news->up, conn->arg);
	conn_unref(conn);
	free(news);
}

/* Nothing is posted once the owner has let go: the loop may be gone. */
static void tell(struct hv_conn *conn, const char *uuid, bool up)
{
	struct news *news = xcalloc(1, sizeof(*news));

	*news = (struct news){ .conn = conn, .up = up };
	if (uuid)
		memcpy(news->uuid, uuid, sizeof(news->uuid));
	pthread_mutex_lock(&conn->lock);
	if (conn->stop) {
		free(news);
	} else {
		conn->refs++;
		loop_post(conn->loop, deliver, news);
	}
	pthread_mutex_unlock(&conn->lock);
}

static int on_lifecycle(virConnectPtr c, virDomainPtr dom, int event,
			int detail, void *opaque)
{
	char uuid[VIR_UUID_STRING_BUFLEN];

	(void)c;
	(void)detail;
	if ((event == VIR_DOMAIN_EVENT_STOPPED ||
	     event == VIR_DOMAIN_EVENT_CRASHED) &&
	    virDomainGetUUIDString(dom, uuid) == 0)
		tell(opaque, uuid, false);
	return 0;
}

static void on_close(virConnectPtr c, int reason, void *opaque)
{
	struct hv_conn *conn = opaque;

	(void)c;
	(void)reason;
	pthread_mutex_lock(&conn->lock);
	conn->lost = true;
	pthread_cond_signal(&conn->wake);
	pthread_mutex_unlock(&conn->lock);
}

static void *run_events(void *arg)
{
	(void)arg;
	for (;;) {
		if (virEventRunDefaultImpl() < 0)
			log_err("libvirt's event loop: %s",
				virGetLastErrorMessage());
	}
	return NULL;
}

static void keep_quiet(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static bool library_ready;

static void library_start(void)
{
	pthread_t thread;

	/* libvirt writes to its socket as if nobody could close it. */
	signal(SIGPIPE, SIG_IGN);
	virSetErrorFunc(NULL, keep_quiet);
	if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
	    pthread_create(&thread, NULL, run_events, NULL) != 0)
		return;
	pthread_detach(thread);
	library_ready = true;
}

/* Callbacks hold references, given back when libvirt drops them. */
static int watch(struct hv_conn *conn, virConnectPtr c, int *ret_callback)
{
	int id;

	if (virConnectSetKeepAlive(c, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT) <
	    0)
		return -1;
	conn_ref(conn);
	if (virConnectRegisterCloseCallback(c, on_close, conn, conn_unref) <
	    0) {
		conn_unref(conn);
		return -1;
	}
	conn_ref(conn);
	id = virConnectDomainEventRegisterAny(
		c, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), conn, conn_unref);
	if (id < 0) {
		conn_unref(conn);
		return -1;
	}
	*ret_callback = id;
	return 0;
}

static void shut(virConnectPtr c, int callback)
{
	if (callback >= 0)
		virConnectDomainEventDeregisterAny(c, callback);
	virConnectUnregisterCloseCallback(c, on_close);
	virConnectClose(c);
}

static virConnectPtr try_open(struct hv_conn *conn, int *ret_callback,
			      unsigned long *ret_version, struct error *err)
{
	virConnectPtr c = virConnectOpen(conn->uri);

	*ret_callback = -1;
	if (!c) {
		hv_conn_error(err, "connect to libvirt at '%s'", conn->uri);
		return NULL;
	}
	if (watch(conn, c, ret_callback) < 0 ||
	    virConnectGetLibVersion(c, ret_version) < 0) {
		hv_conn_error(err, "hear of libvirt's events");
		shut(c, *ret_callback);
		return NULL;
	}
	return c;
}

/* With the lock held: sleep, or until told to stop. */
static void pause_locked(struct hv_conn *conn, unsigned int ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	while (!conn->stop &&
	       pthread_cond_timedwait(&conn->wake, &conn->lock, &at) == 0)
		;
}

static void *run_connector(void *arg)
{
	struct hv_conn *conn = arg;
	unsigned int backoff = BACKOFF_MIN_MS;
	bool complained = false;

	pthread_mutex_lock(&conn->lock);
	while (!conn->stop) {
		struct error err = { 0 };
		unsigned long version = 0;
		virConnectPtr c;
		int callback;

		conn->lost = false;
		pthread_mutex_unlock(&conn->lock);
		c = try_open(conn, &callback, &version, &err);
		if (!c && !complained) {
			log_warn("%s; trying again", err.msg);
			complained = true;
		}
		pthread_mutex_lock(&conn->lock);
		if (!c) {
			pause_locked(conn, backoff);
			backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2
							       : BACKOFF_MAX_MS;
			continue;
		}
		conn->open = c;
		conn->version = version;
		backoff = BACKOFF_MIN_MS;
		complained = false;
		pthread_mutex_unlock(&conn->lock);
		tell(conn, NULL, true);
		pthread_mutex_lock(&conn->lock);
		while (!conn->stop && !conn->lost)
			pthread_cond_wait(&conn->wake, &conn->lock);
		conn->open = NULL;
		pthread_mutex_unlock(&conn->lock);
		tell(conn, NULL, false);
		shut(c, callback);
		pthread_mutex_lock(&conn->lock);
	}
	pthread_mutex_unlock(&conn->lock);
	conn_unref(conn);
	return NULL;
}

int hv_conn_new(const char *uri, struct loop *loop, hv_gone_fn gone,
		hv_link_fn link, void *arg, struct hv_conn **ret,
		struct error *err)
{
	struct hv_conn *conn;
	pthread_condattr_t attr;
	int r;

	pthread_once(&library_once, library_start);
	if (!library_ready)
		return err_set(err, ERR_INTERNAL, "start libvirt's event loop");
	conn = xcalloc(1, sizeof(*conn));
	*conn = (struct hv_conn){ .loop = loop,
				  .gone = gone,
				  .link = link,
				  .arg = arg,
				  .uri = xstrdup(uri),
				  .refs = 2 }; /* the connector's */
	pthread_mutex_init(&conn->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&conn->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&conn->connector, NULL, run_connector, conn);
	if (r != 0) {
		conn_unref(conn);
		conn_unref(conn);
		return err_sys(err, r, "start the connector thread");
	}
	*ret = conn;
	return 0;
}

struct hv_conn *hv_conn_free(struct hv_conn *conn)
{
	struct timespec until;

	if (!conn)
		return NULL;
	conn->freed = true;
	pthread_mutex_lock(&conn->lock);
	conn->stop = true;
	pthread_cond_signal(&conn->wake);
	pthread_mutex_unlock(&conn->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_WAIT_S;
	/* It may be in an open that libvirt never answers: then it is left to
	 * itself, with its own reference.
	 */
	if (pthread_clockjoin_np(conn->connector, NULL, CLOCK_MONOTONIC,
				 &until) != 0)
		pthread_detach(conn->connector);
	conn_unref(conn);
	return NULL;
}

int hv_conn_get(struct hv_conn *conn, virConnectPtr *ret, struct error *err)
{
	virConnectPtr c;

	pthread_mutex_lock(&conn->lock);
	c = conn->lost ? NULL : conn->open;
	if (c)
		virConnectRef(c);
	pthread_mutex_unlock(&conn->lock);
	if (!c)
		return err_set(err, ERR_UNAVAILABLE, "libvirt does not answer");
	*ret = c;
	return 0;
}

void hv_conn_version(struct hv_conn *conn, char *buf, size_t size)
{
	unsigned long v;

	pthread_mutex_lock(&conn->lock);
	v = conn->version;
	pthread_mutex_unlock(&conn->lock);
	snprintf(buf, size, "%lu.%lu.%lu", v / 1000000, v / 1000 % 1000,
		 v % 1000);
}

int hv_conn_find(struct hv_conn *conn, const char *uuid, virDomainPtr *ret,
		 struct error *err)
{
	_cleanup_connect_ virConnectPtr c = NULL;
	virDomainPtr dom;

	if (hv_conn_get(conn, &c, err) < 0)
		return -1;
	dom = virDomainLookupByUUIDString(c, uuid);
	if (dom) {
		*ret = dom;
		return 1;
	}
	if (virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
		return 0;
	return hv_conn_error(err, "look up guest '%s'", uuid);
}

static enum err_code code_of(const virError *e)
{
	if (!e)
		return ERR_INTERNAL;
	if (e->domain == VIR_FROM_RPC || e->code == VIR_ERR_NO_CONNECT ||
	    e->code == VIR_ERR_RPC || e->code == VIR_ERR_INVALID_CONN)
		return ERR_UNAVAILABLE;
	switch (e->code) {
	case VIR_ERR_NO_DOMAIN:
		return ERR_NOT_FOUND;
	case VIR_ERR_OPERATION_INVALID:
		return ERR_CONFLICT;
	case VIR_ERR_OPERATION_TIMEOUT:
	case VIR_ERR_AGENT_UNRESPONSIVE:
		return ERR_TIMEOUT;
	case VIR_ERR_NO_MEMORY:
		return ERR_LIMIT;
	default:
		return ERR_INTERNAL;
	}
}

int hv_conn_error(struct error *err, const char *fmt, ...)
{
	virErrorPtr e = virGetLastError();
	char what[ERR_MSG_MAX / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, code_of(e), "%s: %s", what,
		       e && e->message ? e->message : "no reason given");
}

void hv_conn_unref_domain(virDomainPtr *dom)
{
	if (*dom)
		virDomainFree(*dom);
}

void hv_conn_unref_connect(virConnectPtr *conn)
{
	if (*conn)
		virConnectClose(*conn);
}
