/* SPDX-License-Identifier: Apache-2.0 */
/* net_flows.c - the flows of all slots, looked at in one go
 *
 * The kernel walks its whole table of flows for each question, however few it
 * tells of: milliseconds. So nobody asks slot by slot. The minute's look is a
 * thread's; counting is done for all at once, and not again for a second.
 */
#include "engine/net/net_priv.h"

#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/conntrack.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MS    1000
#define RENEW_CHUNK 256 /* addresses in one transaction */

struct net_flows {
	struct job_pool *jobs;
	sd_event_source *timer;
	uint64_t counted_ms;
	uint32_t *counts; /* by slot */
};

/* An address that a slot has a flow to. */
struct use {
	uint32_t number, address;
};

struct walk {
	struct net *net;
	struct use *uses;
	size_t n, room;
};

/* ---- counting ----------------------------------------------------------- */

static void count_flow(const struct flow *flow, void *arg)
{
	struct net *net = arg;
	uint32_t number = flow->mark - SLOT_MARK_BASE;

	/* The guest's own: not the second half of those through the splice. */
	if (number < net->config.slots &&
	    flow->source == net_address(net, number))
		net->flows->counts[number]++;
}

int net_flows_count(struct net *net, const struct slot *slot, uint32_t *ret,
		    struct error *err)
{
	struct net_flows *f = net->flows;
	uint64_t now = loop_now_ms();

	if (!f->counted_ms || now >= f->counted_ms + COUNT_MS) {
		memset(f->counts, 0, net->config.slots * sizeof(*f->counts));
		f->counted_ms = 0;
		if (conntrack_each(net->nft, 0, count_flow, net, err) < 0)
			return -1;
		f->counted_ms = now;
	}
	*ret = f->counts[slot->number];
	return 0;
}

/* ---- renewal ------------------------------------------------------------ */

static void note_use(const struct flow *flow, void *arg)
{
	struct walk *w = arg;
	struct use use = { flow->mark - SLOT_MARK_BASE, flow->destination };

	if (use.number >= SLOT_MAX)
		return;
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 256;
		w->uses = xrealloc(w->uses, w->room, sizeof(*w->uses));
	}
	w->uses[w->n++] = use;
}

static int by_slot(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

/* A worker's. */
static int walk_run(void *arg, struct error *err)
{
	struct walk *w = arg;
	struct nft *nft;
	size_t n = 0;
	int rc;

	if (nft_open(&nft, err) < 0)
		return -1;
	rc = conntrack_each(nft, 0, note_use, w, err);
	nft_close(nft);
	if (w->n)
		qsort(w->uses, w->n, sizeof(*w->uses), by_slot);
	for (size_t i = 0; i < w->n; i++) {
		if (n == 0 || by_slot(&w->uses[n - 1], &w->uses[i]))
			w->uses[n++] = w->uses[i];
	}
	w->n = n;
	return rc;
}

/* An address in use does not expire: a client that keeps a connection open for
 * hours may open a second one beside it.
 */
static void renew(struct net *net, struct nft_batch *b, const struct use *use,
		  uint64_t now)
{
	const struct net_times *times = &net->config.times;
	uint64_t life = times->learn_min_ms + times->learn_grace_ms;
	struct net_slot *s;
	struct learned_table *t;

	if (use->number >= net->config.slots || !net->slots[use->number])
		return;
	s = net->slots[use->number];
	t = &net->learned[use->number];
	for (size_t i = 0; i < t->n; i++) {
		struct learned *e = &t->entries[i];

		if (e->address != use->address || e->expires_ms <= now ||
		    e->expires_ms > now + times->learn_grace_ms)
			continue;
		e->expires_ms = now + life;
		e->dirty = true;
	}
	net_write_learned(net, b, use->number, s, false);
}

static void renew_some(struct net *net, const struct use *uses, size_t n)
{
	uint64_t now = loop_now_ms();
	struct nft_batch b;
	struct error err;

	nft_batch_init(&b, NFPROTO_INET);
	for (size_t i = 0; i < n; i++)
		renew(net, &b, &uses[i], now);
	if (nft_commit(net->nft, &b, &err) < 0) {
		log_warn("renew addresses in use: %s", err.msg);
		n = 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (uses[i].number < net->config.slots)
			learned_committed(&net->learned[uses[i].number]);
	}
	nft_batch_fini(&b);
}

static void walk_done(void *arg, int rc, const struct error *err)
{
	struct walk *w = arg;
	size_t n;

	if (rc < 0 && err->code != ERR_UNAVAILABLE)
		log_warn("look at flows: %s", err->msg);
	for (size_t i = 0; rc == 0 && i < w->n; i += n) {
		n = w->n - i < RENEW_CHUNK ? w->n - i : RENEW_CHUNK;
		renew_some(w->net, w->uses + i, n);
	}
	free(w->uses);
	free(w);
}

static const struct job_ops walk_job = { "look at flows", walk_run, walk_done };

/* Forgets what has expired; true: something may soon. */
static bool expires_soon(struct net *net, uint64_t now)
{
	bool soon = false;

	for (uint32_t i = 0; i < net->config.slots; i++) {
		struct learned_table *t = &net->learned[i];

		learned_expire(t, now);
		for (size_t k = 0; !soon && k < t->n; k++)
			soon = t->entries[k].expires_ms > now &&
			       t->entries[k].expires_ms <
				       now + net->config.times.learn_grace_ms;
	}
	return soon;
}

static void on_renew(void *arg)
{
	struct net *net = arg;
	uint64_t now = loop_now_ms();
	struct walk *w;

	loop_timer(net->loop, &net->flows->timer,
		   now + net->config.times.renew_ms, on_renew, net);
	if (!expires_soon(net, now))
		return;
	w = xcalloc(1, sizeof(*w));
	w->net = net;
	job_start(net->flows->jobs, &walk_job, w);
}

/* ---- open, close -------------------------------------------------------- */

int net_flows_open(struct net *net, struct error *err)
{
	struct net_flows *f = xcalloc(1, sizeof(*f));

	f->counts = xcalloc(net->config.slots, sizeof(*f->counts));
	net->flows = f;
	if (job_pool_new(net->loop, 1, &f->jobs, err) < 0)
		return -1;
	loop_timer(net->loop, &f->timer,
		   loop_now_ms() + net->config.times.renew_ms, on_renew, net);
	return 0;
}

void net_flows_close(struct net *net)
{
	struct net_flows *f = net->flows;

	if (!f)
		return;
	sd_event_source_disable_unref(f->timer);
	if (f->jobs)
		job_pool_free(f->jobs);
	free(f->counts);
	free(f);
	net->flows = NULL;
}
