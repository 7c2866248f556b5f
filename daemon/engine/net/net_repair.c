/* SPDX-License-Identifier: Apache-2.0 */
/* net_repair.c - the packet filter after a restart, or after other programs
 *
 * Theory of operation
 * ===================
 *
 * At start what is there is taken over: the elements tell which slots have what,
 * and their comments which name brought which address. What no slot is attached
 * for is removed by net_sweep(), and so are the chains of the earlier process.
 *
 * Later every change of our table by another program (net_watch.h) makes us make
 * all anew, at once: from then on guests have nothing rather than too much.
 * Should a change not be heard of, our rules and the elements that matter are
 * counted whenever something was changed.
 */
#include "engine/net/net_priv.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/link.h"
#include "engine/net/net_taps.h"
#include "engine/net/net_watch.h"
#include "engine/net/netpol_rule.h"
#include "engine/net/netpol_splice.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"
#include "engine/net/tap.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_TRIES    5
#define REBUILD_CHUNK 200

/* ---- making it anew ----------------------------------------------------- */

static int make_base(struct net *net, bool anew, struct error *err)
{
	struct nft_batch b;
	int rc;

	nft_batch_init(&b, NFPROTO_INET);
	if (anew)
		netpol_remove_all(&b);
	netpol_base(&b, &net->node, anew);
	rc = nft_commit(net->nft, &b, err);
	net->base_rules = b.rules;
	nft_batch_fini(&b);
	return rc < 0 ? err_wrap(err, "make the base rules") : 0;
}

/* Or it is not known what. */
static void nothing_is_there(struct net *net, bool surely)
{
	memset(net->have, 0, net->config.slots * sizeof(*net->have));
	for (uint32_t i = 0; i < net->config.slots; i++) {
		net_shape_use(net, i, NULL);
		net_ranges_lost(net, i);
		learned_lost(&net->learned[i]);
	}
	net_shapes_lost(net, surely);
}

static void put_slot(struct net *net, struct nft_batch *b,
		     const struct net_slot *s)
{
	uint32_t number = s->slot.number;
	struct net_shape *shape = net_shape_of(net, &s->plan);

	net_shape_write(b, shape);
	shape->there = true;
	net_shape_use(net, number, shape);
	netpol_slot(b, &net->node, &s->slot, shape->id, shape->binds,
		    &s->plan.limits, true, &net->have[number]);
	net_write_ranges(net, b, number, &s->plan);
	net_write_learned(net, b, number, s, true);
}

/* Everything anew: in between, what is not there yet is dropped. */
static int rebuild(struct net *net, struct error *err)
{
	uint32_t from = 0;
	struct nft_batch b;
	int rc;

	if (make_base(net, true, err) < 0)
		return -1;
	nothing_is_there(net, true);
	nft_batch_init(&b, NFPROTO_INET);
	rc = 0;
	for (uint32_t i = 0; rc == 0 && i < net->config.slots; i++) {
		struct net_slot *s = net->slots[i];

		if (s && s->has_policy)
			put_slot(net, &b, s);
		if (i % REBUILD_CHUNK == REBUILD_CHUNK - 1 ||
		    i + 1 == net->config.slots) {
			rc = nft_commit(net->nft, &b, err);
			while (rc == 0 && from <= i)
				learned_committed(&net->learned[from++]);
			nft_batch_fini(&b);
			nft_batch_init(&b, NFPROTO_INET);
		}
	}
	nft_batch_fini(&b);
	/* What a chunk was to make, others would take to be there. */
	if (rc < 0)
		nothing_is_there(net, false);
	return rc;
}

struct count {
	uint32_t n;
};

static void count_elem(const struct nft_got_elem *elem, void *arg)
{
	(void)elem;
	((struct count *)arg)->n++;
}

static int set_size(struct net *net, uint8_t family, const char *set,
		    uint32_t *ret, struct error *err)
{
	struct count count = { 0 };

	if (nft_each_elem(net->nft, family, set, count_elem, &count, err) < 0)
		return -1;
	*ret = count.n;
	return 0;
}

/* Elements of hard and permitted together: a beginning and an end each. */
static uint32_t range_elements(const struct net *net)
{
	uint32_t n = 0;

	for (size_t i = 0; i < net->node.n_hard; i++)
		n += net->hard[i].last == UINT32_MAX ? 1 : 2;
	return n;
}

/* A set's elements, or several sets' together, are as many as they should be. */
struct want {
	const char *sets[2];
	uint32_t n;
	bool or_more; /* the kernel joins none, but may split */
};

static int as_many(struct net *net, const struct want *want, size_t n,
		   bool *ret, struct error *err)
{
	*ret = true;
	for (size_t i = 0; i < n && *ret; i++) {
		uint32_t got = 0, size;

		for (size_t k = 0; k < 2 && want[i].sets[k]; k++) {
			if (set_size(net, NFPROTO_INET, want[i].sets[k], &size,
				     err) < 0)
				return -1;
			got += size;
		}
		*ret = got == want[i].n || (want[i].or_more && got > want[i].n);
	}
	return 0;
}

static void count_rates(const struct net_slot *s, uint32_t *packets,
			uint32_t *bytes)
{
	if (!s || !s->has_policy)
		return;
	*packets += s->plan.limits.packets_per_second > 0;
	*bytes += s->plan.limits.bandwidth_mbps > 0;
}

/* Whether all our rules and what they look up are there. */
static int intact(struct net *net, bool *ret, struct error *err)
{
	uint32_t rules, arp, want = net->base_rules;
	uint32_t slots = 0, names = 0, ranges = 0;
	uint32_t shapes = 0, binding = 0, packets = 0, bytes = 0;
	const struct net_shape *s;

	for (uint32_t i = 0; i < net->config.slots; i++) {
		slots += net->have[i].bound;
		names += net->have[i].names;
		count_rates(net->slots[i], &packets, &bytes);
		ranges += (uint32_t)net->ranges[i].n;
	}
	for (uint32_t i = 0; (s = net_shape_at(net, i)); i++) {
		if (!s->there)
			continue;
		want += s->rules;
		shapes++;
		binding += s->binds;
	}
	*ret = false;
	if (nft_count_rules(net->nft, NFPROTO_INET, &rules, err) < 0 ||
	    nft_count_rules(net->nft, NFPROTO_ARP, &arp, err) < 0)
		return err->code == ERR_NOT_FOUND ? 0 : -1;
	if (rules + arp != want)
		return 0;
	const struct want wants[] = {
		{ { NETPOL_BIND }, slots, false },
		{ { NETPOL_MARKS }, slots, false },
		{ { NETPOL_SHAPES }, slots, false },
		{ { NETPOL_UPSTREAMS }, names, false },
		{ { NETPOL_FLOW_MARKS }, names, false },
		/* What may be there is. */
		{ { NETPOL_RANGES }, ranges, false },
		{ { "policies" }, shapes, false },
		{ { NETPOL_BOUND }, binding, false },
		{ { NETPOL_SPLICED }, binding, false },
		{ { NETPOL_ONWARD }, binding, false },
		{ { NETPOL_PACKETS_FROM }, packets, false },
		{ { NETPOL_BYTES_FROM }, bytes, false },
		{ { NETPOL_BYTES_TO }, bytes, false },
		{ { "hard", "permitted" }, range_elements(net), true },
	};

	if (as_many(net, wants, sizeof(wants) / sizeof(wants[0]), ret, err) < 0)
		return err->code == ERR_NOT_FOUND ? 0 : -1;
	return 0;
}

static void mend(void *arg)
{
	struct net *net = arg;
	struct error err;
	bool foreign;

	net->mended_ms = loop_now_ms();
	log_err("another program changed the table '%s': made anew",
		NFT_TABLE_NAME);
	if (rebuild(net, &err) < 0)
		log_err("%s: guests may have no network", err.msg);
	nft_foreign(net->nft, &foreign, NULL);
}

/* Should the watch have missed it: ours should still be there. */
static void on_check(void *arg)
{
	struct net *net = arg;
	struct error err;
	bool foreign, ok = true;

	loop_timer(net->loop, &net->check,
		   loop_now_ms() + net->config.times.check_ms, on_check, net);
	/* Until then the counts cannot be right. */
	if (net->unswept)
		return;
	if (nft_foreign(net->nft, &foreign, &err) < 0) {
		log_err("check the packet filter: %s", err.msg);
		return;
	}
	if (foreign && !(intact(net, &ok, &err) == 0 && ok))
		mend(net);
}

/* At once, but not again and again: two programs may be at odds. */
static void on_foreign(bool certain, void *arg)
{
	struct net *net = arg;
	uint64_t now = loop_now_ms();
	uint64_t next = net->mended_ms + net->config.times.mend_ms;

	if (net->unswept)
		return;
	if (!certain)
		on_check(net);
	else if (!net->mended_ms || now >= next)
		mend(net);
	else
		loop_timer(net->loop, &net->mend, next, mend, net);
}

int net_start_checking(struct net *net, struct error *err)
{
	loop_timer(net->loop, &net->check,
		   loop_now_ms() + net->config.times.check_ms, on_check, net);
	return net_watch_open(net->loop, nft_port(net->nft), on_foreign, net,
			      &net->watch, err);
}

/* ---- taking stock ------------------------------------------------------- */

struct note {
	struct net *net;
	bool base, shapes, old;
};

static void note_chain(const char *name, void *arg)
{
	struct note *note = arg;

	if (!strcmp(name, "guard"))
		note->base = true;
	note->old |= net_shapes_note(note->net, name);
}

static void note_set(const char *name, void *arg)
{
	struct note *note = arg;

	note->shapes |= !strcmp(name, NETPOL_SHAPES);
}

struct load {
	struct net *net;
	uint64_t now;
	bool names; /* of NETPOL_NAMES */
};

/* What it was learned for is not known if the name was too long to be noted: it
 * is only to be taken out, and looked up again.
 */
static void load_elem(const struct nft_got_elem *e, void *arg)
{
	struct load *load = arg;
	uint32_t number, group, address, hash;
	struct learned_table *t;
	struct learned *l;
	uint64_t expires = load->now + e->expires_ms;

	if (!netpol_key(e->key, e->key_len, &number, &group, &address, &hash) ||
	    number >= load->net->config.slots || group >= 32)
		return;
	t = &load->net->learned[number];
	l = learned_put(t, e->comment, address, expires);
	if (!l)
		return;
	if (!e->comment[0])
		l->expires_ms = 0;
	if (load->names)
		l->named = true;
	else
		l->groups |= 1u << group;
	if (l->kernel_ms < expires + LEARNED_SLACK_MS)
		l->kernel_ms = expires + LEARNED_SLACK_MS;
}

static void note_bound(const struct nft_got_elem *e, void *arg)
{
	struct net *net = arg;
	char name[IFNAMSIZ] = "";
	uint32_t number;

	if (e->key_len < IFNAMSIZ)
		return;
	memcpy(name, e->key, IFNAMSIZ - 1);
	if (tap_number(name, net->config.slots - 1, &number))
		net->have[number].bound = true;
}

static void note_names(const struct nft_got_elem *e, void *arg)
{
	struct net *net = arg;
	uint32_t mark;

	if (e->key_len < sizeof(mark))
		return;
	memcpy(&mark, e->key, sizeof(mark));
	if (mark - SLOT_MARK_BASE < net->config.slots)
		net->have[mark - SLOT_MARK_BASE].names = true;
}

static void note_range(const struct nft_got_elem *e, void *arg)
{
	struct net *net = arg;
	struct netpol_range range;
	uint32_t number;

	if (netpol_range_key(e->key, e->key_len, &number, &range) &&
	    number < net->config.slots)
		net_ranges_note(&net->ranges[number], &range);
}

static int each_there(struct net *net, const char *set, nft_elem_fn fn,
		      void *arg, struct error *err)
{
	if (nft_each_elem(net->nft, NFPROTO_INET, set, fn, arg, err) < 0 &&
	    err->code != ERR_NOT_FOUND)
		return -1;
	return 0;
}

/* What an earlier process left of slots: chains, elements, learned addresses. */
static int take_stock(struct net *net, bool *ret_base, struct error *err)
{
	struct note note = { .net = net };
	struct load load = { net, loop_now_ms(), false };

	if (nft_each_chain(net->nft, NFPROTO_INET, note_chain, &note, err) <
		    0 &&
	    err->code != ERR_NOT_FOUND)
		return -1;
	if (nft_each_set(net->nft, NFPROTO_INET, note_set, &note, err) < 0 &&
	    err->code != ERR_NOT_FOUND)
		return -1;
	/* Before 0.2 each slot had chains and sets of its own. */
	*ret_base = note.base && note.shapes;
	if (!*ret_base)
		return 0;
	if (each_there(net, NETPOL_BIND, note_bound, net, err) < 0 ||
	    each_there(net, NETPOL_UPSTREAMS, note_names, net, err) < 0 ||
	    each_there(net, NETPOL_RANGES, note_range, net, err) < 0 ||
	    each_there(net, NETPOL_LEARNED, load_elem, &load, err) < 0)
		return -1;
	load.names = true;
	if (each_there(net, NETPOL_NAMES, load_elem, &load, err) < 0)
		return -1;
	net->unswept = note.old;
	for (uint32_t i = 0; i < net->config.slots; i++)
		net->unswept |= net->have[i].bound;
	return 0;
}

int net_filter_open(struct net *net, struct error *err)
{
	bool base = false;

	for (int tries = 0;; tries++) {
		if (take_stock(net, &base, err) == 0)
			break;
		if (err->code != ERR_UNAVAILABLE || tries == LIST_TRIES)
			return -1;
	}
	if (base && make_base(net, false, err) == 0)
		return 0;
	if (base)
		log_warn("%s: the table is made anew", err->msg);
	nothing_is_there(net, true);
	net->unswept = false;
	return make_base(net, true, err);
}

/* ---- after a restart ---------------------------------------------------- */

struct stale {
	struct net *net;
	const struct netpol_keyed *set;
	struct nft_batch *b;
	uint32_t *taps;
	uint32_t n_taps;
};

static bool is_stale(const struct net *net, const char *name, uint32_t *ret)
{
	return tap_number(name, UINT32_MAX, ret) &&
	       (*ret >= net->config.slots || !net->slots[*ret]);
}

bool net_key_tap(const struct netpol_keyed *set, const struct nft_got_elem *e,
		 char ret[IFNAMSIZ])
{
	uint32_t mark;

	memset(ret, 0, IFNAMSIZ);
	if (!set->by_mark) {
		memcpy(ret, e->key, IFNAMSIZ - 1);
		return e->key_len >= IFNAMSIZ;
	}
	if (e->key_len < sizeof(mark))
		return false;
	memcpy(&mark, e->key, sizeof(mark));
	snprintf(ret, IFNAMSIZ, TAP_PREFIX "%u", mark - SLOT_MARK_BASE);
	return true;
}

static void stale_elem(const struct nft_got_elem *e, void *arg)
{
	struct stale *stale = arg;
	char name[IFNAMSIZ];
	struct nft_elem del = { .key = e->key, .key_len = e->key_len };
	uint32_t number;

	if (!net_key_tap(stale->set, e, name))
		return;
	if (!is_stale(stale->net, name, &number))
		return;
	stale->b->family = stale->set->family;
	/* It may expire before it is deleted, which would fail. */
	if (stale->set->expires) {
		del.timeout_ms = 1000;
		nft_elems_add(stale->b, stale->set->set, &del, 1);
		del.timeout_ms = 0;
	}
	nft_elems_del(stale->b, stale->set->set, &del, 1);
}

static void stale_tap(const char *name, void *arg)
{
	struct stale *stale = arg;
	uint32_t number;

	if (!is_stale(stale->net, name, &number))
		return;
	stale->taps =
		xrealloc(stale->taps, stale->n_taps + 1, sizeof(*stale->taps));
	stale->taps[stale->n_taps++] = number;
}

/* Elements first: they hold the chains. */
static int sweep_filter(struct net *net, struct error *err)
{
	struct nft_batch b;
	struct stale stale = { .net = net, .b = &b };
	int rc = 0;

	nft_batch_init(&b, NFPROTO_INET);
	for (size_t i = 0; rc == 0 && netpol_keyed_sets[i].set; i++) {
		stale.set = &netpol_keyed_sets[i];
		rc = nft_each_elem(net->nft, stale.set->family, stale.set->set,
				   stale_elem, &stale, err);
	}
	for (uint32_t i = 0; rc == 0 && i < net->config.slots; i++) {
		if (net->slots[i])
			continue;
		net->have[i] = (struct netpol_objects){ 0 };
		net_ranges_lost(net, i);
		learned_fini(&net->learned[i]);
	}
	net_shapes_sweep(net, &b);
	if (rc == 0)
		rc = nft_commit(net->nft, &b, err);
	if (rc == 0)
		net_shapes_swept(net);
	nft_batch_fini(&b);
	return rc;
}

int net_sweep(struct net *net, struct error *err)
{
	struct stale stale = { .net = net };
	int rc;

	if (net->gather) {
		net_gather_send(net);
		nft_batch_fini(net->gather);
		free(net->gather);
		net->gather = NULL;
	}
	if (net->unsound && rebuild(net, err) < 0)
		return err_wrap(err, "make the packet filter anew");
	net->unsound = false;
	if (sweep_filter(net, err) < 0)
		return err_wrap(err, "sweep the packet filter");
	rc = links_each(net->links, stale_tap, &stale, err);
	for (uint32_t i = 0; rc == 0 && i < stale.n_taps; i++)
		net_taps_give(net->taps, stale.taps[i]);
	if (rc == 0)
		net_taps_begin(net->taps);
	free(stale.taps);
	net->unswept = net->unswept && rc < 0;
	return rc < 0 ? err_wrap(err, "sweep taps") : 0;
}
