/* SPDX-License-Identifier: Apache-2.0 */
/* webhook.c - the engine's end of the socket to sandboxd-webhook
 *
 * Theory of operation
 * ===================
 *
 * The process asks, and acknowledges with the next question. What is asked
 * while there is nothing to tell waits here; webhook_grew() answers it. So at
 * most one batch is on its way, and the cursor only moves when the process says
 * so, and never beyond what it was given: it parses a stranger's answers, and
 * may be taken over.
 *
 * Events that no filter wants move the cursor too, but that is not written for
 * its own sake.
 */
#include "engine/webhook.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/proc/helper.h"
#include "sandbox/ipc/v1/webhook.pb-c.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CURSOR_KEY "webhook_cursor"

struct webhook {
	struct engine *engine;
	struct helper *helper;
	bool asked;	/* and nothing was there */
	uint32_t limit; /* as asked */
	uint64_t given; /* the process has events up to here */
	struct webhook_stats stats;
};

static void send_command(struct webhook *w,
			 const Sandbox__Ipc__V1__WebhookCommand *m,
			 const int *fds, size_t n)
{
	helper_tell(w->helper, &m->base, fds, n);
}

/* ---- what it is told ---- */

/* The secret is nobody else's: 0600, and ours or root's. */
static int open_secret(const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "[webhook] secret_file: '%s'", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) ||
	    (st.st_uid != 0 && st.st_uid != geteuid()))
		return err_set(err, ERR_INVALID,
			       "[webhook] secret_file: '%s' must be a file of "
			       "root's that nobody else can read (0600)",
			       path);
	if (st.st_size < WEBHOOK_SECRET_MIN || st.st_size > WEBHOOK_SECRET_MAX)
		return err_set(err, ERR_INVALID,
			       "[webhook] secret_file: '%s' must hold %d to %d "
			       "bytes",
			       path, WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
	return TAKE_FD(fd);
}

/* How many there are, or -1. */
static int open_files(const struct config *c, int fds[2], struct error *err)
{
	fds[0] = open_secret(c->webhook_secret_file, err);
	fds[1] = -EBADF;
	if (fds[0] < 0)
		return -1;
	if (!c->webhook_ca)
		return 1;
	fds[1] = open(c->webhook_ca, O_RDONLY | O_CLOEXEC);
	if (fds[1] >= 0)
		return 2;
	err_sys(err, errno, "[webhook] ca: '%s'", c->webhook_ca);
	fd_close(&fds[0]);
	return -1;
}

static void set_up(struct webhook *w)
{
	const struct config *c = w->engine->config;
	Sandbox__Ipc__V1__WebhookCommand m =
		SANDBOX__IPC__V1__WEBHOOK_COMMAND__INIT;
	Sandbox__Ipc__V1__WebhookSetup setup =
		SANDBOX__IPC__V1__WEBHOOK_SETUP__INIT;
	struct error err;
	int fds[2], n = open_files(c, fds, &err);

	if (n < 0) {
		log_err("no events are posted: %s", err.msg);
		return;
	}
	setup.url = c->webhook_url;
	setup.ca = n == 2;
	setup.node_id = w->engine->node_id;
	setup.version = (char *)(uintptr_t)PACKAGE_VERSION;
	setup.batch = c->webhook_batch;
	setup.timeout_ms = (uint32_t)c->webhook_timeout_ms;
	setup.retry_min_ms = (uint32_t)c->webhook_retry_min_ms;
	setup.retry_max_ms = (uint32_t)c->webhook_retry_max_ms;
	m.body_case = SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY_SETUP;
	m.setup = &setup;
	send_command(w, &m, fds, (size_t)n);
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

/* Events that are kept no longer were never delivered. */
static void count_lost(struct webhook *w)
{
	uint64_t oldest, newest;

	store_events_range(w->engine->store, &oldest, &newest);
	if (!oldest || w->stats.cursor + 1 >= oldest)
		return;
	log_id(LOG_LEVEL_WARN, LOG_ID_WEBHOOK_LOST,
	       "webhook: %" PRIu64 " events were not taken in time and are "
	       "kept no longer",
	       oldest - 1 - w->stats.cursor);
	w->stats.lost += oldest - 1 - w->stats.cursor;
	w->stats.cursor = oldest - 1;
}

static void answer(struct webhook *w)
{
	const struct config *c = w->engine->config;
	_cleanup_pb_ Sandbox__Ipc__V1__ReadEventsResponse *r = NULL;
	Sandbox__Ipc__V1__WebhookCommand m =
		SANDBOX__IPC__V1__WEBHOOK_COMMAND__INIT;
	Sandbox__Ipc__V1__WebhookEvents events =
		SANDBOX__IPC__V1__WEBHOOK_EVENTS__INIT;
	struct error err;

	count_lost(w);
	do {
		pb_free(r);
		r = event_fetch(w->engine, w->stats.cursor, "",
				c->webhook_types.v, c->webhook_types.n,
				w->limit, &err);
		if (!r) {
			log_warn("webhook: %s", err.msg);
			return;
		}
		if (r->n_events == 0)
			w->stats.cursor = r->next_since;
	} while (r->n_events == 0 && r->next_since < r->newest_sequence);
	if (r->n_events == 0)
		return;
	events.n_events = r->n_events;
	events.events = r->events;
	events.through = w->given = r->next_since;
	m.body_case = SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY_EVENTS;
	m.events = &events;
	w->asked = false;
	send_command(w, &m, NULL, 0);
}

void webhook_grew(struct webhook *w)
{
	if (w && w->asked && !w->engine->stopping)
		answer(w);
}

void webhook_reloaded(struct webhook *w)
{
	if (w)
		set_up(w);
}

/* ---- what it tells ---- */

static int keep_cursor(struct webhook *w, uint64_t acked)
{
	char text[24];
	struct error err;

	w->stats.delivered += acked - w->stats.cursor;
	w->stats.cursor = acked;
	snprintf(text, sizeof(text), "%" PRIu64, acked);
	store_begin(w->engine->store);
	store_meta_set(w->engine->store, CURSOR_KEY, text);
	if (store_commit(w->engine->store, &err) < 0)
		log_warn("webhook: some events will be posted again: %s",
			 err.msg);
	return 0;
}

static int on_next(struct webhook *w, const Sandbox__Ipc__V1__WebhookNext *m)
{
	const struct config *c = w->engine->config;

	if (m->acked > w->given)
		return -1;
	if (m->acked > w->stats.cursor)
		keep_cursor(w, m->acked);
	w->limit = m->limit && m->limit < c->webhook_batch ? m->limit :
							     c->webhook_batch;
	w->asked = true;
	if (!w->engine->stopping)
		answer(w);
	return 0;
}

static int on_message(const ProtobufCMessage *report, int *fds, size_t n_fds,
		      void *arg)
{
	const Sandbox__Ipc__V1__WebhookReport *m =
		(const Sandbox__Ipc__V1__WebhookReport *)report;
	struct webhook *w = arg;

	(void)fds;
	if (n_fds)
		return -1;
	switch (m->body_case) {
	case SANDBOX__IPC__V1__WEBHOOK_REPORT__BODY_NEXT:
		return on_next(w, m->next);
	case SANDBOX__IPC__V1__WEBHOOK_REPORT__BODY_FAILED:
		w->stats.failures++;
		return 0;
	default:
		return -1;
	}
}

static void on_up(void *arg)
{
	struct webhook *w = arg;

	w->asked = false;
	w->given = 0;
	set_up(w);
}

static void on_down(const char *why, void *arg)
{
	struct webhook *w = arg;

	(void)why; /* helper.c has said it */
	w->asked = false;
}

static const struct helper_ops ops = {
	.report = &sandbox__ipc__v1__webhook_report__descriptor,
	.up = on_up,
	.down = on_down,
	.message = on_message,
};

/* ---- its life ---- */

/* The first time: from now on. */
static void read_cursor(struct webhook *w)
{
	uint64_t oldest, newest;
	char text[24];

	store_meta_get(w->engine->store, CURSOR_KEY, text, sizeof(text));
	if (str_parse_u64(text, UINT64_MAX, &w->stats.cursor) == 0)
		return;
	store_events_range(w->engine->store, &oldest, &newest);
	keep_cursor(w, newest);
	w->stats.delivered = 0;
}

int webhook_new(struct engine *e, struct webhook **ret, struct error *err)
{
	struct webhook *w;
	_cleanup_free_ char *path =
		xasprintf("%s/sandboxd-webhook", e->config->libexec);
	struct helper_program program = { .path = path };
	int fds[2], n;

	if (engine_find_user(e->config->webhook_user, &program.uid,
			     &program.gid, err) < 0)
		return -1;
	n = open_files(e->config, fds, err);
	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++)
		close(fds[i]);
	w = xcalloc(1, sizeof(*w));
	w->engine = e;
	read_cursor(w);
	if (helper_new(e->loop, "webhook", &program, &ops, w, &w->helper, err) <
	    0) {
		webhook_free(w);
		return -1;
	}
	*ret = w;
	return 0;
}

struct webhook *webhook_free(struct webhook *w)
{
	if (!w)
		return NULL;
	w->helper = helper_free(w->helper);
	free(w);
	return NULL;
}

void webhook_stats(const struct webhook *w, struct webhook_stats *ret)
{
	*ret = w->stats;
}
