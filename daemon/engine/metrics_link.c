/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_link.c - the engine's end of the socket to sandboxd-metrics
 *
 * A scrape of the node asks front for its part and does not wait long for it; a
 * scrape of the sandboxes is gathered (metrics_guest.c). Either outlives the
 * process that asked, or this link: then it answers nobody.
 */
#include "engine/metrics_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/prom.h"
#include "engine/api.h"
#include "engine/engine.h"
#include "engine/proc/helper.h"
#include "sandbox/ipc/v1/metrics.pb-c.h"

#include <stdio.h>

#define FRONT_WAIT_MS 1000
#define CHUNK_BYTES   (1u << 20)

struct metrics_link {
	struct engine *engine;
	struct helper *helper;
	int fd; /* listening */
	struct list scrapes;
	unsigned int n_scrapes;
};

/**
 * struct scrape - One that is being answered
 * @owner:	NULL once the link is freed
 * @front:	Front's answer is still to come: it frees
 */
struct scrape {
	struct list link;
	struct metrics_link *owner;
	struct engine *engine;
	uint64_t id, epoch;
	bool front, answered;
	sd_event_source *timer;
};

static void send_command(struct metrics_link *link,
			 const Sandbox__Ipc__V1__MetricsCommand *m, int fd)
{
	helper_tell(link->helper, &m->base, &fd, fd >= 0);
}

static void send_answer(struct metrics_link *link, uint64_t id, bool refused,
			const char *text, size_t len, bool more)
{
	Sandbox__Ipc__V1__MetricsCommand m =
		SANDBOX__IPC__V1__METRICS_COMMAND__INIT;
	Sandbox__Ipc__V1__ScrapeAnswer answer =
		SANDBOX__IPC__V1__SCRAPE_ANSWER__INIT;

	answer.id = id;
	answer.refused = refused;
	answer.text = (ProtobufCBinaryData){ len, (uint8_t *)(uintptr_t)text };
	answer.more = more;
	m.body_case = SANDBOX__IPC__V1__METRICS_COMMAND__BODY_ANSWER;
	m.answer = &answer;
	send_command(link, &m, -EBADF);
}

/* In pieces that fit a message. */
static void send_text(struct metrics_link *link, uint64_t id, const char *text,
		      size_t len)
{
	do {
		size_t n = len < CHUNK_BYTES ? len : CHUNK_BYTES;

		send_answer(link, id, false, text, n, n < len);
		text += n;
		len -= n;
	} while (len > 0);
}

/* ---- one scrape ---- */

static void may_free(struct scrape *s)
{
	if (!s->answered || s->front)
		return;
	sd_event_source_disable_unref(s->timer);
	free(s);
}

/* @prom: NULL: there is nothing to tell. */
static void answer(struct scrape *s, struct prom *prom)
{
	struct metrics_link *link = s->owner;
	const char *text;
	size_t len;

	s->answered = true;
	loop_timer_off(s->timer);
	if (!link)
		return;
	list_del(&s->link);
	s->owner = NULL;
	link->n_scrapes--;
	if (helper_epoch(link->helper) != s->epoch)
		return;
	if (prom) {
		text = prom_text(prom, &len);
		send_text(link, s->id, text, len);
	} else {
		send_answer(link, s->id, true, "", 0, false);
	}
}

static void tell_node(struct scrape *s, const uint8_t *data, size_t len)
{
	_cleanup_pb_ Sandbox__Ipc__V1__FrontCounts *counts = NULL;
	struct prom *prom = prom_new();

	if (data || len == 0)
		counts = sandbox__ipc__v1__front_counts__unpack(
			NULL, len, data ? data : (const uint8_t *)"");
	metrics_node(s->engine, counts, prom);
	answer(s, prom);
	prom_free(prom);
}

static void front_told(const struct error *err, const uint8_t *data, size_t len,
		       void *arg)
{
	struct scrape *s = arg;

	s->front = false;
	if (s->engine->stopping)
		answer(s, NULL);
	else if (!s->answered)
		tell_node(s, data, err ? SIZE_MAX : len);
	may_free(s);
}

/* Front hangs: without it then. */
static void front_late(void *arg)
{
	struct scrape *s = arg;

	if (!s->answered && !s->engine->stopping)
		tell_node(s, NULL, SIZE_MAX);
}

static void guests_told(struct prom *prom, void *arg)
{
	struct scrape *s = arg;

	answer(s, prom);
	may_free(s);
}

static void begin(struct metrics_link *link, const Sandbox__Ipc__V1__Scrape *m)
{
	struct engine *e = link->engine;
	struct scrape *s = xcalloc(1, sizeof(*s));

	*s = (struct scrape){ .owner = link,
			      .engine = e,
			      .id = m->id,
			      .epoch = helper_epoch(link->helper) };
	list_add_tail(&link->scrapes, &s->link);
	link->n_scrapes++;
	if (m->kind == SANDBOX__IPC__V1__SCRAPE__KIND__KIND_SANDBOXES) {
		metrics_guests(e, guests_told, s);
		return;
	}
	s->front = true;
	loop_timer(e->loop, &s->timer, loop_now_ms() + FRONT_WAIT_MS,
		   front_late, s);
	front_link_count(e->front, front_told, s);
}

/* ---- the process ---- */

static int on_message(const ProtobufCMessage *report, int *fds, size_t n_fds,
		      void *arg)
{
	const Sandbox__Ipc__V1__Scrape *m =
		(const Sandbox__Ipc__V1__Scrape *)report;
	struct metrics_link *link = arg;

	(void)fds;
	if (n_fds ||
	    (m->kind != SANDBOX__IPC__V1__SCRAPE__KIND__KIND_NODE &&
	     m->kind != SANDBOX__IPC__V1__SCRAPE__KIND__KIND_SANDBOXES))
		return -1;
	if (link->n_scrapes >= METRICS_SCRAPES_MAX || link->engine->stopping)
		send_answer(link, m->id, true, "", 0, false);
	else
		begin(link, m);
	return 0;
}

static void on_up(void *arg)
{
	struct metrics_link *link = arg;
	Sandbox__Ipc__V1__MetricsCommand m =
		SANDBOX__IPC__V1__METRICS_COMMAND__INIT;
	Sandbox__Ipc__V1__MetricsListen listen =
		SANDBOX__IPC__V1__METRICS_LISTEN__INIT;

	if (link->fd < 0)
		return;
	m.body_case = SANDBOX__IPC__V1__METRICS_COMMAND__BODY_LISTEN;
	m.listen = &listen;
	send_command(link, &m, link->fd);
}

static const struct helper_ops ops = {
	.report = &sandbox__ipc__v1__scrape__descriptor,
	.up = on_up,
	.message = on_message,
};

static struct metrics_link *link_new(struct engine *e)
{
	struct metrics_link *link = xcalloc(1, sizeof(*link));

	link->engine = e;
	link->fd = -EBADF;
	list_init(&link->scrapes);
	return link;
}

int metrics_link_new(struct engine *e, const char *program, uid_t uid,
		     gid_t gid, struct metrics_link **ret, struct error *err)
{
	struct metrics_link *link = link_new(e);
	const struct helper_program p = { .path = program,
					  .uid = uid,
					  .gid = gid };

	if (api_bind_tcp("[metrics] listen", e->config->metrics_listen,
			 !e->config->metrics_remote, &link->fd, err) < 0 ||
	    helper_new(e->loop, "metrics", &p, &ops, link, &link->helper, err) <
		    0) {
		metrics_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

int metrics_link_new_fd(struct engine *e, int fd, struct metrics_link **ret,
			struct error *err)
{
	struct metrics_link *link = link_new(e);

	if (helper_new_fd(e->loop, "metrics", fd, &ops, link, &link->helper,
			  err) < 0) {
		metrics_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

struct metrics_link *metrics_link_free(struct metrics_link *link)
{
	if (!link)
		return NULL;
	list_for_each (&link->scrapes, s, struct scrape, link) {
		list_del(&s->link);
		s->owner = NULL;
	}
	link->helper = helper_free(link->helper);
	fd_close(&link->fd);
	free(link);
	return NULL;
}
