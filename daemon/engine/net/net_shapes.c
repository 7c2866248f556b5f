/* SPDX-License-Identifier: Apache-2.0 */
/* net_shapes.c - the shapes of rules that the kernel has chains for
 *
 * Theory of operation
 * ===================
 *
 * Slots whose policies differ in addresses only share chains (netpol_base.c). A
 * shape is made by the first slot that needs it and kept while there is one; so
 * many more are kept for those that come next, and the oldest of them are taken
 * away several at a time, behind what a call waits for.
 *
 * Numbers are never used again: chains that a batch of which it is not known
 * whether it was taken may have made are never added to. Those that an earlier
 * process made are known by their names, and go with net_sweep().
 */
#include "engine/net/net_priv.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/nft.h"
#include "engine/net/nft_batch.h"

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED_MAX 32u /* shapes that are kept */
#define BEHIND_MAX 32u /* shapes in a transaction */
#define BEHIND_MS  20  /* not in the middle of what a create does */

struct net_shapes {
	struct net_shape **list;
	uint32_t n, room, n_unused, next_id;
	uint64_t clock;
	struct netpol_chains *old; /* an earlier process's */
	uint32_t n_old;
	bool armed;
	sd_event_source *timer;
};

static void shape_free(struct net_shape *s)
{
	free(s->what);
	free(s);
}

struct net_shape *net_shape_of(struct net *net, const struct plan *plan)
{
	struct net_shapes *all = net->shapes;
	struct plan_shape *what = plan_shape_of(plan);
	struct net_shape *s;

	for (uint32_t i = 0; i < all->n; i++) {
		if (plan_same_shape(all->list[i]->what, what)) {
			free(what);
			return all->list[i];
		}
	}
	s = xcalloc(1, sizeof(*s));
	*s = (struct net_shape){ .what = what,
				 .id = all->next_id++,
				 .binds = netpol_binds(what) };
	if (all->n == all->room) {
		all->room = all->room ? all->room * 2 : 16;
		all->list = xrealloc(all->list, all->room, sizeof(*all->list));
	}
	all->list[all->n++] = s;
	all->n_unused++;
	return s;
}

void net_shape_write(struct nft_batch *b, struct net_shape *s)
{
	unsigned int before = b->rules;

	if (s->there)
		return;
	netpol_shape(b, s->id, s->what);
	s->rules = b->rules - before;
}

static struct netpol_chains chains_of(const struct net_shape *s)
{
	return (struct netpol_chains){ .number = s->id,
				       .any = true,
				       .names = s->binds };
}

static void forget(struct net_shapes *all, uint32_t i)
{
	shape_free(all->list[i]);
	all->list[i] = all->list[--all->n];
	all->n_unused--;
}

/* ---- taking away -------------------------------------------------------- */

/* The place of the one that nobody used for longest; all->n: none. */
static uint32_t oldest(const struct net_shapes *all, uint64_t after)
{
	uint32_t ret = all->n;

	for (uint32_t i = 0; i < all->n; i++) {
		const struct net_shape *s = all->list[i];

		if (!s->users && s->used > after &&
		    (ret == all->n || s->used < all->list[ret]->used))
			ret = i;
	}
	return ret;
}

static void on_behind(void *arg);

static void arm(struct net *net)
{
	struct net_shapes *all = net->shapes;

	if (all->armed || all->n_unused <= UNUSED_MAX || net->unswept)
		return;
	all->armed = true;
	loop_timer(net->loop, &all->timer, loop_now_ms() + BEHIND_MS, on_behind,
		   net);
}

static void on_behind(void *arg)
{
	struct net *net = arg;
	struct net_shapes *all = net->shapes;
	struct net_shape *gone[BEHIND_MAX];
	uint32_t n = 0, want = all->n_unused > UNUSED_MAX ?
				       all->n_unused - UNUSED_MAX :
				       0;
	uint64_t after = 0;
	struct nft_batch b;
	struct error err;

	all->armed = false;
	nft_batch_init(&b, NFPROTO_INET);
	while (n < want && n < BEHIND_MAX) {
		uint32_t i = oldest(all, after);
		struct netpol_chains c;

		if (i == all->n)
			break;
		gone[n] = all->list[i];
		after = gone[n]->used;
		c = chains_of(gone[n]);
		if (gone[n++]->there)
			netpol_shape_del(&b, &c);
	}
	if (nft_commit(net->nft, &b, &err) < 0) {
		log_warn("take away rules that nobody uses: %s", err.msg);
		n = 0;
	}
	nft_batch_fini(&b);
	for (uint32_t i = all->n; n && i-- > 0;) {
		for (uint32_t k = 0; k < n; k++) {
			if (i < all->n && all->list[i] == gone[k]) {
				forget(all, i);
				break;
			}
		}
	}
	if (n)
		arm(net);
}

/* ---- use ---------------------------------------------------------------- */

void net_shape_use(struct net *net, uint32_t number, struct net_shape *s)
{
	struct net_shapes *all = net->shapes;
	struct net_shape *old = net->shape_of[number];

	if (old == s)
		return;
	if (s && s->users++ == 0)
		all->n_unused--;
	if (old && --old->users == 0) {
		all->n_unused++;
		old->used = ++all->clock;
	}
	net->shape_of[number] = s;
	arm(net);
}

void net_shape_failed(struct net *net, struct net_shape *s)
{
	if (s->there)
		return;
	/* Whoever asks for it next is given another number. */
	s->id = net->shapes->next_id++;
	s->used = ++net->shapes->clock;
}

void net_shapes_lost(struct net *net, bool surely)
{
	for (uint32_t i = 0; i < net->shapes->n; i++) {
		struct net_shape *s = net->shapes->list[i];

		s->there = false;
		s->rules = 0;
		if (!surely)
			net_shape_failed(net, s);
	}
	net_shapes_swept(net);
}

struct net_shape *net_shape_at(const struct net *net, uint32_t i)
{
	return i < net->shapes->n ? net->shapes->list[i] : NULL;
}

/* ---- an earlier process's ----------------------------------------------- */

bool net_shapes_note(struct net *net, const char *chain)
{
	struct net_shapes *all = net->shapes;
	struct netpol_chains c;
	uint32_t i = 0;

	if (!netpol_note_chain(chain, &c))
		return false;
	while (i < all->n_old && all->old[i].number != c.number)
		i++;
	if (i == all->n_old) {
		all->old =
			xrealloc(all->old, all->n_old + 1, sizeof(*all->old));
		all->old[all->n_old++] = c;
	}
	all->old[i].names |= c.names;
	if (all->next_id <= c.number)
		all->next_id = c.number + 1;
	return true;
}

void net_shapes_sweep(struct net *net, struct nft_batch *b)
{
	for (uint32_t i = 0; i < net->shapes->n_old; i++)
		netpol_shape_del(b, &net->shapes->old[i]);
}

void net_shapes_swept(struct net *net)
{
	free(net->shapes->old);
	net->shapes->old = NULL;
	net->shapes->n_old = 0;
}

void net_shapes_open(struct net *net)
{
	net->shapes = xcalloc(1, sizeof(*net->shapes));
	net->shape_of = xcalloc(net->config.slots, sizeof(*net->shape_of));
}

void net_shapes_close(struct net *net)
{
	struct net_shapes *all = net->shapes;

	if (!all)
		return;
	sd_event_source_disable_unref(all->timer);
	for (uint32_t i = 0; i < all->n; i++)
		shape_free(all->list[i]);
	free(all->list);
	free(all->old);
	free(all);
	free(net->shape_of);
	net->shapes = NULL;
}
