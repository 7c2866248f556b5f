/* SPDX-License-Identifier: Apache-2.0 */
/* net_ahead.c - rules made ahead, and taken away behind
 *
 * Theory of operation
 * ===================
 *
 * When a chain is added or changed the kernel walks through all chains of the
 * table: a microsecond or more for each slot there is. Elements without a
 * verdict cost nothing of that. So the slots that come next are given rules
 * ahead, several in one transaction, for a policy of the same shape as the last
 * one: same kinds of rules, ports and limits, whatever the addresses. A guest
 * whose policy is of that shape needs only elements; any other is given its own
 * rules, which is only slower. Until its elements are there a slot lets nothing
 * through.
 *
 * The rules of guests that are gone are taken away several at a time as well.
 */
#include "engine/net/net_priv.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD	   16u /* slots that are ready */
#define AHEAD_LOW  8u  /* make more: so many at least in a transaction */
#define AHEAD_MS   20  /* not in the middle of what a create does */
#define BEHIND_MAX 64u

struct net_ahead {
	bool begun, armed;
	uint32_t next;
	struct plan_shape *shape; /* of the last policy */
	uint32_t n_behind;
	uint32_t *behind; /* numbers; may be of guests again */
	sd_event_source *timer;
};

void net_set_shape(struct net *net, uint32_t number, const struct plan *plan)
{
	free(net->shapes[number]);
	net->shapes[number] = plan ? plan_shape_of(plan) : NULL;
}

static bool is_ready(const struct net *net, uint32_t number)
{
	struct plan plan;

	if (!net->have[number].slot || !net->shapes[number])
		return false;
	plan_of_shape(net->ahead->shape, &plan);
	return plan_has_shape(&plan, net->shapes[number]);
}

/* The free slots that come next and are not ready. */
static uint32_t find_unready(const struct net *net, uint32_t ret[AHEAD])
{
	uint32_t seen = 0, n = 0;

	for (uint32_t i = 0; i < net->config.slots && seen < AHEAD; i++) {
		uint32_t number = (net->ahead->next + i) % net->config.slots;

		if (net->slots[number])
			continue;
		seen++;
		if (!is_ready(net, number))
			ret[n++] = number;
	}
	return n;
}

static bool comes_next(const struct net *net, uint32_t number)
{
	uint32_t slots = net->config.slots;

	return (number + slots - net->ahead->next) % slots < 2 * AHEAD;
}

static bool is_behind(const struct net *net, uint32_t number)
{
	return !net->slots[number] && net->have[number].slot &&
	       !comes_next(net, number);
}

struct change {
	uint32_t made[AHEAD], n_made;
	uint32_t gone[BEHIND_MAX], n_gone;
	struct netpol_objects have[AHEAD];
	struct plan plan;
};

static void put_change(struct net *net, struct nft_batch *b, struct change *c)
{
	struct slot slot;

	for (uint32_t i = 0; i < c->n_gone; i++) {
		struct netpol_objects have = net->have[c->gone[i]];

		net_slot(net, c->gone[i], 0, 0, &slot);
		netpol_slot_del(b, &net->node, &slot, &have);
	}
	for (uint32_t i = 0; i < c->n_made; i++) {
		c->have[i] = net->have[c->made[i]];
		net_slot(net, c->made[i], 0, 0, &slot);
		netpol_slot_ahead(b, &slot, &c->plan, &c->have[i]);
	}
}

static void note_change(struct net *net, const struct change *c)
{
	for (uint32_t i = 0; i < c->n_gone; i++) {
		net->have[c->gone[i]] = (struct netpol_objects){ 0 };
		net_set_shape(net, c->gone[i], NULL);
	}
	for (uint32_t i = 0; i < c->n_made; i++) {
		net->have[c->made[i]] = c->have[i];
		net_set_shape(net, c->made[i], &c->plan);
	}
}

static void arm(struct net *net);

static void on_ahead(void *arg)
{
	struct net *net = arg;
	struct net_ahead *a = net->ahead;
	struct change c = { 0 };
	struct nft_batch b;
	struct error err;

	a->armed = false;
	while (a->n_behind && c.n_gone < BEHIND_MAX) {
		uint32_t number = a->behind[--a->n_behind];

		if (is_behind(net, number))
			c.gone[c.n_gone++] = number;
	}
	if (a->shape) {
		c.n_made = find_unready(net, c.made);
		if (c.n_made < AHEAD_LOW)
			c.n_made = 0;
		plan_of_shape(a->shape, &c.plan);
	}
	nft_batch_init(&b, NFPROTO_INET);
	put_change(net, &b, &c);
	if (nft_commit(net->nft, &b, &err) == 0)
		note_change(net, &c);
	else
		log_warn("make rules ahead: %s", err.msg);
	nft_batch_fini(&b);
	if (a->n_behind)
		arm(net);
}

static void arm(struct net *net)
{
	struct net_ahead *a = net->ahead;

	if (!a->begun || a->armed)
		return;
	a->armed = true;
	loop_timer(net->loop, &a->timer, loop_now_ms() + AHEAD_MS, on_ahead,
		   net);
}

void net_ahead_took(struct net *net, uint32_t number)
{
	struct net_ahead *a = net->ahead;
	const struct net_slot *s = net->slots[number];

	a->next = (number + 1) % net->config.slots;
	if (s->has_policy &&
	    !(a->shape && plan_has_shape(&s->plan, a->shape))) {
		free(a->shape);
		a->shape = plan_shape_of(&s->plan);
	}
	arm(net);
}

void net_ahead_gave(struct net *net, uint32_t number)
{
	struct net_ahead *a = net->ahead;

	/* Each number at most once: it has a guest in between. */
	if (a->n_behind == net->config.slots) {
		memmove(a->behind, a->behind + 1,
			(a->n_behind - 1) * sizeof(*a->behind));
		a->n_behind--;
	}
	a->behind[a->n_behind++] = number;
	arm(net);
}

void net_ahead_begin(struct net *net)
{
	net->ahead->begun = true;
	arm(net);
}

void net_ahead_open(struct net *net)
{
	net->ahead = xcalloc(1, sizeof(*net->ahead));
	net->ahead->behind =
		xcalloc(net->config.slots, sizeof(*net->ahead->behind));
}

void net_ahead_close(struct net *net)
{
	struct net_ahead *a = net->ahead;

	if (!a)
		return;
	sd_event_source_disable_unref(a->timer);
	free(a->behind);
	free(a->shape);
	free(a);
	net->ahead = NULL;
}
