/* SPDX-License-Identifier: Apache-2.0 */
/* net_learn.c - learned addresses in the kernel's sets
 *
 * Theory of operation
 * ===================
 *
 * The set that rules look up has an element for each group of rules and address
 * that some name of the slot brought: several names may hold the same one, which
 * lives as long as the last of them. So when one name's part changes, all of the
 * address is written anew: what the kernel may have is taken out, and what holds
 * is put in, with the longest of the times. A fresh address is one message.
 *
 * What a table says that the kernel may have is set before a batch is sent, and
 * what it no longer has after the batch was taken. So nothing can be left behind
 * for the slot's next guest.
 */
#include "engine/net/net_priv.h"

#include "base/error.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/nft.h"
#include "engine/net/nft_batch.h"
#include "engine/net/resolver_link.h"

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

/* An address that was learned again this soon is open for long enough. */
#define FRESH_PART 16 /* of the grace */

uint32_t net_groups_of_name(const struct net_slot *s, const char *name)
{
	uint16_t rules[NET_RULES_MAX];
	size_t n = net_rules_of_name(&s->policy, name, rules, NET_RULES_MAX);
	uint32_t groups = 0;

	for (size_t i = 0; i < n; i++)
		groups |= 1u << s->plan.rule_group[rules[i]];
	return groups;
}

/* ---- lists of elements -------------------------------------------------- */

struct elems {
	struct netpol_learned *list;
	size_t n, room;
};

static void add(struct elems *l, const struct netpol_learned *e)
{
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 16;
		l->list = xrealloc(l->list, l->room, sizeof(*l->list));
	}
	l->list[l->n++] = *e;
}

static int by_key(const struct netpol_learned *x,
		  const struct netpol_learned *y)
{
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->group > y->group) - (x->group < y->group);
}

static int longest_first(const void *a, const void *b)
{
	const struct netpol_learned *x = a, *y = b;
	int r = by_key(x, y);

	if (r)
		return r;
	return (x->timeout_ms < y->timeout_ms) -
	       (x->timeout_ms > y->timeout_ms);
}

/* Each key once, with its longest time. */
static void unite(struct elems *l)
{
	size_t n = 0;

	if (l->n > 1)
		qsort(l->list, l->n, sizeof(*l->list), longest_first);
	for (size_t i = 0; i < l->n; i++) {
		if (n == 0 || by_key(&l->list[n - 1], &l->list[i]))
			l->list[n++] = l->list[i];
	}
	l->n = n;
}

/* ---- writing ------------------------------------------------------------ */

struct writing {
	uint32_t number;
	const struct net_slot *s; /* NULL: nobody's */
	uint64_t now;
	struct elems gone[2], put[2]; /* of NETPOL_LEARNED, of NETPOL_NAMES */
};

static void add_groups(struct elems *l, const struct netpol_learned *like,
		       uint32_t groups)
{
	struct netpol_learned e = *like;

	for (unsigned int g = 0; groups >> g; g++) {
		e.group = g;
		if (groups & 1u << g)
			add(l, &e);
	}
}

static void take_out(struct writing *w, const struct learned *e)
{
	struct netpol_learned like = { .number = w->number,
				       .address = e->address };

	if (e->kernel_ms <= w->now)
		return;
	add_groups(&w->gone[0], &like, e->groups);
	like.hash = learned_hash(e->name);
	if (e->named)
		add(&w->gone[1], &like);
}

static bool is_bound(const struct net_slot *s, uint32_t groups)
{
	for (unsigned int g = 0; g < s->plan.n_groups; g++) {
		if (groups & 1u << g && s->plan.groups[g].verify)
			return true;
	}
	return false;
}

static void put_in(struct writing *w, struct learned *e)
{
	struct netpol_learned like = { .number = w->number,
				       .address = e->address,
				       .name = e->name };

	e->dirty = true;
	e->next = 0;
	e->next_named = false;
	if (!w->s || !w->s->has_policy || e->expires_ms <= w->now)
		return;
	like.timeout_ms = e->expires_ms - w->now;
	e->next = net_groups_of_name(w->s, e->name);
	e->next_named = is_bound(w->s, e->next);
	add_groups(&w->put[0], &like, e->next);
	like.hash = learned_hash(e->name);
	if (e->next_named)
		add(&w->put[1], &like);
	e->groups |= e->next;
	e->named |= e->next_named;
	if (e->kernel_ms < e->expires_ms + LEARNED_SLACK_MS)
		e->kernel_ms = e->expires_ms + LEARNED_SLACK_MS;
}

/* By another name of the same address. */
static void spread(struct learned_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		for (size_t k = 0; k < t->n && t->entries[i].dirty; k++)
			t->entries[k].dirty |=
				t->entries[k].address == t->entries[i].address;
	}
}

void net_write_learned(struct net *net, struct nft_batch *b, uint32_t number,
		       const struct net_slot *s, bool all)
{
	static const char *const sets[2] = { NETPOL_LEARNED, NETPOL_NAMES };
	struct learned_table *t = &net->learned[number];
	struct writing w = { .number = number, .s = s, .now = loop_now_ms() };

	if (t->n == 0)
		return;
	if (!all)
		spread(t);
	for (size_t i = 0; i < t->n; i++) {
		if (all || t->entries[i].dirty)
			take_out(&w, &t->entries[i]);
	}
	for (size_t i = 0; i < t->n; i++) {
		if (all || t->entries[i].dirty)
			put_in(&w, &t->entries[i]);
	}
	b->family = NFPROTO_INET;
	for (int i = 0; i < 2; i++) {
		unite(&w.gone[i]);
		unite(&w.put[i]);
		netpol_forget(b, sets[i], w.gone[i].list, w.gone[i].n);
		netpol_learn(b, sets[i], w.put[i].list, w.put[i].n);
		free(w.gone[i].list);
		free(w.put[i].list);
	}
}

/* ---- what the resolver says --------------------------------------------- */

static bool learn_is_ours(const struct net *net,
			  const struct resolver_learn *learn,
			  const struct net_slot **ret)
{
	const struct net_slot *s;

	if (learn->slot >= net->config.slots)
		return false;
	s = net->slots[learn->slot];
	if (!s || !s->has_policy || s->generation != learn->generation)
		return false;
	*ret = s;
	return true;
}

static uint64_t learn_timeout_ms(const struct net_times *t, uint32_t ttl_s)
{
	uint64_t ms = (uint64_t)ttl_s * 1000;

	if (ms < t->learn_min_ms)
		ms = t->learn_min_ms;
	if (ms > t->learn_max_ms)
		ms = t->learn_max_ms;
	return ms + t->learn_grace_ms;
}

/* It was learned a moment ago, and nothing else is to be done. */
static bool is_fresh(const struct net *net, const struct learned *e,
		     uint32_t groups, uint64_t expires_ms)
{
	return e && !e->dirty && e->next == groups &&
	       expires_ms <= e->expires_ms + net->config.times.learn_grace_ms /
						     FRESH_PART;
}

static int note_all(struct net *net, const struct resolver_learn *learn,
		    uint32_t groups, bool *ret_changed, struct error *err)
{
	struct learned_table *t = &net->learned[learn->slot];
	uint64_t now = loop_now_ms();

	for (size_t i = 0; i < learn->n_addresses; i++) {
		uint32_t a = learn->addresses[i].address;
		uint64_t expires =
			now + learn_timeout_ms(&net->config.times,
					       learn->addresses[i].ttl_s);
		enum hard_kind kind =
			hard_kind_of(net->hard, net->node.n_hard, a);

		if (kind != HARD_NONE && kind != HARD_PERMITTED)
			return err_set(err, ERR_DENIED,
				       "'%s' is at a %s address", learn->name,
				       hard_kind_names[kind]);
		if (is_fresh(net, learned_find(t, learn->name, a), groups,
			     expires))
			continue;
		if (!learned_put(t, learn->name, a, expires))
			return err_set(err, ERR_LIMIT,
				       "too many addresses wait");
		*ret_changed = true;
	}
	return 0;
}

/* The resolver may be taken over: it can name only addresses that are not
 * hard-denied, for names that a rule of this very sandbox allows. Its word on
 * which rules those are is not needed.
 */
int net_learn(struct net *net, const struct resolver_learn *learn,
	      struct error *err)
{
	const struct net_slot *s;
	bool changed = false;
	uint32_t groups;
	struct nft_batch b;
	int rc;

	if (!learn_is_ours(net, learn, &s))
		return err_set(err, ERR_CONFLICT,
			       "it is another sandbox's now");
	groups = net_groups_of_name(s, learn->name);
	if (!groups)
		return err_set(err, ERR_DENIED, "no rule allows '%s'",
			       learn->name);
	learned_expire(&net->learned[learn->slot], loop_now_ms());
	if (note_all(net, learn, groups, &changed, err) < 0)
		return -1;
	if (!changed)
		return 0;
	nft_batch_init(&b, NFPROTO_INET);
	net_write_learned(net, &b, learn->slot, s, false);
	rc = nft_commit(net->nft, &b, err);
	if (rc == 0)
		learned_committed(&net->learned[learn->slot]);
	nft_batch_fini(&b);
	return rc;
}
