/* SPDX-License-Identifier: Apache-2.0 */
/* poster.c - events from the engine to the receiver, in order, until taken
 *
 * A try blocks this process: there is nothing else that it could do. The
 * engine's end shows in the middle of it (post.h, gone_fd).
 *
 * A batch that is too large for the receiver (413) is given back, by asking for
 * half as many events from the same place on, and from then on.
 */
#include "webhook/poster.h"

#include "base/cleanup.h"
#include "base/cloud_event.h"
#include "base/error.h"
#include "base/ipc_message.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "sandbox/ipc/v1/webhook.pb-c.h"
#include "sandbox/node/v1/node.pb-c.h"
#include "webhook/post.h"
#include "webhook/sign.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SECRET_MAX	  4096
#define CA_MAX		  (4u << 20)
#define RETRY_AFTER_MAX_S 3600
#define PAYLOAD_TYPE	  "application/cloudevents-batch+json; charset=utf-8"

struct poster {
	struct loop *loop;
	struct engine_end *engine;
	int engine_fd; /* the same: only to see its end */
	Sandbox__Ipc__V1__WebhookSetup *setup;
	uint8_t *secret;
	size_t secret_len;
	char *ca;
	size_t ca_len;
	struct post *post;
	/* the batch that is being posted; NULL: none */
	char *body;
	size_t body_len, n_events;
	uint64_t through;
	char id[128];
	unsigned int failures; /* in a row */
	uint32_t limit;
	sd_event_source *timer;
};

/* ---- to the engine ---- */

static void report(struct poster *p, const Sandbox__Ipc__V1__WebhookReport *m)
{
	engine_end_report(p->engine, &m->base);
}

static void ask_next(struct poster *p, uint64_t acked)
{
	Sandbox__Ipc__V1__WebhookReport m =
		SANDBOX__IPC__V1__WEBHOOK_REPORT__INIT;
	Sandbox__Ipc__V1__WebhookNext next =
		SANDBOX__IPC__V1__WEBHOOK_NEXT__INIT;

	free(TAKE_PTR(p->body));
	next.acked = acked;
	next.limit = p->limit;
	m.body_case = SANDBOX__IPC__V1__WEBHOOK_REPORT__BODY_NEXT;
	m.next = &next;
	report(p, &m);
}

/* ---- a try ---- */

uint64_t poster_pause_ms(uint64_t min_ms, uint64_t max_ms, unsigned int n,
			 double lot)
{
	uint64_t whole = n - 1 < 32 ? min_ms << (n - 1) : max_ms;

	if (whole > max_ms)
		whole = max_ms;
	return whole / 2 + (uint64_t)((double)(whole - whole / 2) * lot);
}

static double draw(void)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return 0.5;
	return r / 4294967296.0;
}

static void try_it(void *arg);

static void failed(struct poster *p, long status, uint64_t retry_s,
		   const struct error *err)
{
	Sandbox__Ipc__V1__WebhookReport m =
		SANDBOX__IPC__V1__WEBHOOK_REPORT__INIT;
	Sandbox__Ipc__V1__WebhookFailed f =
		SANDBOX__IPC__V1__WEBHOOK_FAILED__INIT;
	uint64_t wait;

	m.body_case = SANDBOX__IPC__V1__WEBHOOK_REPORT__BODY_FAILED;
	m.failed = &f;
	report(p, &m);
	if (status == 413 && p->n_events > 1) {
		p->limit = (uint32_t)p->n_events / 2;
		log_info("%zu events are too many for the receiver: %u at a "
			 "time from now on",
			 p->n_events, p->limit);
		ask_next(p, 0);
		return;
	}
	if (++p->failures == 1)
		log_warn("events are not taken: %s; trying on", err->msg);
	wait = poster_pause_ms(p->setup->retry_min_ms, p->setup->retry_max_ms,
			       p->failures, draw());
	if (retry_s > RETRY_AFTER_MAX_S)
		retry_s = RETRY_AFTER_MAX_S;
	if (retry_s * 1000 > wait)
		wait = retry_s * 1000;
	loop_timer(p->loop, &p->timer, loop_now_ms() + wait, try_it, p);
}

static void taken(struct poster *p)
{
	if (p->failures)
		log_info("events are taken again, after %u failures",
			 p->failures);
	p->failures = 0;
	ask_next(p, p->through);
}

static void try_it(void *arg)
{
	struct poster *p = arg;
	char id[160], stamp[64], signature[SIGN_MAX], signed_by[SIGN_MAX + 32];
	const char *headers[] = { "Content-Type: " PAYLOAD_TYPE, id, stamp,
				  signed_by, NULL };
	int64_t now = loop_wall_ms() / 1000;
	struct error err;
	uint64_t retry_s;
	long status;

	if (!p->post || !p->body)
		return;
	if (sign(signature, p->secret, p->secret_len, p->id, now, p->body,
		 p->body_len) < 0) {
		log_err("a request cannot be signed");
		loop_stop(p->loop, 1);
		return;
	}
	snprintf(id, sizeof(id), "webhook-id: %s", p->id);
	snprintf(stamp, sizeof(stamp), "webhook-timestamp: %" PRId64, now);
	snprintf(signed_by, sizeof(signed_by), "webhook-signature: %s",
		 signature);
	if (post_send(p->post, headers, p->body, p->body_len, &status, &retry_s,
		      &err) < 0)
		failed(p, status, retry_s, &err);
	else
		taken(p);
}

/* ---- from the engine ---- */

static void write_event(FILE *out, const Sandbox__Node__V1__Event *e)
{
	_cleanup_free_ struct cloud_pair *data =
		xcalloc(e->n_data + 1, sizeof(*data));
	const struct cloud_event event = {
		.sequence = e->sequence,
		.node_id = e->node_id,
		.type = e->type,
		.sandbox_id = e->sandbox_id,
		.seconds = e->time ? e->time->seconds : 0,
		.nanos = e->time ? e->time->nanos : 0,
		.data = data,
		.n_data = e->n_data,
	};

	for (size_t i = 0; i < e->n_data; i++)
		data[i] = (struct cloud_pair){ e->data[i]->key,
					       e->data[i]->value };
	cloud_event_write(out, &event);
}

static void on_events(struct poster *p,
		      const Sandbox__Ipc__V1__WebhookEvents *m)
{
	FILE *out;
	uint64_t first = 0;

	free(TAKE_PTR(p->body));
	out = open_memstream(&p->body, &p->body_len);
	if (!out)
		abort();
	for (size_t i = 0; i < m->n_events; i++) {
		Sandbox__Node__V1__Event *e = sandbox__node__v1__event__unpack(
			NULL, m->events[i].len, m->events[i].data);

		if (!e)
			continue;
		if (!first)
			first = e->sequence;
		fputc(i ? ',' : '[', out);
		write_event(out, e);
		sandbox__node__v1__event__free_unpacked(e, NULL);
	}
	fputc(']', out);
	fclose(out);
	p->n_events = m->n_events;
	p->through = m->through;
	snprintf(p->id, sizeof(p->id), "%.64s.%" PRIu64 "-%" PRIu64,
		 p->setup ? p->setup->node_id : "", first, m->through);
	try_it(p);
}

/* All of a descriptor that is a file. */
static int read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
	char *buf = xcalloc(1, max + 1);
	size_t len = 0;
	ssize_t n;

	while (len < max &&
	       (n = pread(fd, buf + len, max - len, (off_t)len)) > 0)
		len += (size_t)n;
	*ret = buf;
	*ret_len = len;
	return len ? 0 : -1;
}

static void forget_secret(struct poster *p)
{
	if (p->secret)
		explicit_bzero(p->secret, p->secret_len);
	free(TAKE_PTR(p->secret));
	p->secret_len = 0;
}

static int take_files(struct poster *p, const int *fds, size_t n_fds)
{
	char *secret = NULL;

	forget_secret(p);
	free(TAKE_PTR(p->ca));
	if (n_fds != 1u + p->setup->ca ||
	    read_all(fds[0], SECRET_MAX, &secret, &p->secret_len) < 0) {
		p->secret_len = 0;
		free(secret);
		return -1;
	}
	p->secret = (uint8_t *)secret;
	/* A line's end is the editor's, not the secret's. */
	while (p->secret_len && (secret[p->secret_len - 1] == '\n' ||
				 secret[p->secret_len - 1] == '\r'))
		p->secret_len--;
	return p->setup->ca ? read_all(fds[1], CA_MAX, &p->ca, &p->ca_len) : 0;
}

static void on_setup(struct poster *p, Sandbox__Ipc__V1__WebhookSetup *setup,
		     const int *fds, size_t n_fds)
{
	bool first = !p->setup;
	struct error err;
	char agent[96];

	p->post = post_free(p->post);
	p->limit = 0;
	if (p->setup)
		sandbox__ipc__v1__webhook_setup__free_unpacked(p->setup, NULL);
	p->setup = setup;
	if (take_files(p, fds, n_fds) < 0) {
		log_err("the secret or the certificates cannot be read");
		return;
	}
	snprintf(agent, sizeof(agent), "sandboxd/%.32s", setup->version);
	if (post_new(setup->url, agent, p->ca, p->ca_len, setup->timeout_ms,
		     p->engine_fd, &p->post, &err) < 0) {
		log_err("%s", err.msg);
		return;
	}
	if (first)
		ask_next(p, 0);
	else if (p->body) /* what failed may go through now */
		loop_timer(p->loop, &p->timer, loop_now_ms(), try_it, p);
}

static void on_command(ProtobufCMessage *m, int *fds, size_t n_fds, void *arg)
{
	Sandbox__Ipc__V1__WebhookCommand *msg =
		(Sandbox__Ipc__V1__WebhookCommand *)m;
	struct poster *p = arg;

	switch (msg->body_case) {
	case SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY_SETUP:
		on_setup(p, TAKE_PTR(msg->setup), fds, n_fds);
		break;
	case SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY_EVENTS:
		on_events(p, msg->events);
		break;
	case SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__WEBHOOK_COMMAND__BODY__CASE_IS_INT_SIZE:
		break;
	}
}

static const struct engine_end_ops engine_ops = {
	.command = &sandbox__ipc__v1__webhook_command__descriptor,
	.message = on_command,
};

int poster_new(struct loop *loop, int fd, struct poster **ret,
	       struct error *err)
{
	struct poster *p = xcalloc(1, sizeof(*p));

	p->loop = loop;
	p->engine_fd = fd;
	if (engine_end_new(loop, fd, &engine_ops, p, &p->engine, err) < 0) {
		free(p);
		return -1;
	}
	*ret = p;
	return 0;
}

struct poster *poster_free(struct poster *p)
{
	if (!p)
		return NULL;
	sd_event_source_disable_unref(p->timer);
	post_free(p->post);
	engine_end_free(p->engine);
	if (p->setup)
		sandbox__ipc__v1__webhook_setup__free_unpacked(p->setup, NULL);
	forget_secret(p);
	free(p->ca);
	free(p->body);
	free(p);
	return NULL;
}
