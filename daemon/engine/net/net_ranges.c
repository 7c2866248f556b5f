/* SPDX-License-Identifier: Apache-2.0 */
/* net_ranges.c - what rules with addresses open and close, in the kernel's set
 *
 * What the kernel may have of each slot is remembered: when a batch failed, also
 * what that would have added, as it may have been taken all the same. So nothing
 * can be left behind for the slot's next guest.
 */
#include "engine/net/net_priv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int by_order(const void *a, const void *b)
{
	const struct netpol_range *x = a, *y = b;

	if (x->deny != y->deny)
		return x->deny ? 1 : -1;
	return plan_range_order(&x->range, &y->range);
}

/* Add them, those that are there already once. */
static void unite(struct net_ranges *t, const struct netpol_range *list,
		  size_t n)
{
	size_t at = 0;

	if (n == 0)
		return;
	if (t->room < t->n + n) {
		t->room = 2 * (t->n + n);
		t->list = xrealloc(t->list, t->room, sizeof(*t->list));
	}
	memcpy(t->list + t->n, list, n * sizeof(*list));
	t->n += n;
	qsort(t->list, t->n, sizeof(*t->list), by_order);
	for (size_t i = 0; i < t->n; i++) {
		if (i == 0 || by_order(&t->list[at - 1], &t->list[i]))
			t->list[at++] = t->list[i];
	}
	t->n = at;
}

void net_ranges_note(struct net_ranges *t, const struct netpol_range *range)
{
	unite(t, range, 1);
}

/* In order. */
static struct netpol_range *list_of(const struct plan *plan, size_t *ret_n)
{
	size_t n = plan ? plan->allow.n + plan->deny.n : 0, at = 0;
	struct netpol_range *list = xcalloc(n, sizeof(*list));

	for (size_t i = 0; plan && i < plan->allow.n; i++)
		list[at++] =
			(struct netpol_range){ false, plan->allow.ranges[i] };
	for (size_t i = 0; plan && i < plan->deny.n; i++)
		list[at++] =
			(struct netpol_range){ true, plan->deny.ranges[i] };
	*ret_n = n;
	return list;
}

void net_write_ranges(struct net *net, struct nft_batch *b, uint32_t number,
		      const struct plan *plan)
{
	struct net_ranges *t = &net->ranges[number];
	struct netpol_range *gone = xcalloc(t->n, sizeof(*gone));
	size_t n, n_gone = 0;
	struct netpol_range *list = list_of(plan, &n);

	for (size_t i = 0; i < t->n; i++) {
		if (!n ||
		    !bsearch(&t->list[i], list, n, sizeof(*list), by_order))
			gone[n_gone++] = t->list[i];
	}
	netpol_ranges_del(b, number, gone, n_gone);
	netpol_ranges_add(b, number, list, n);
	unite(t, list, n);
	free(gone);
	free(list);
}

void net_ranges_committed(struct net *net, uint32_t number,
			  const struct plan *plan)
{
	struct net_ranges *t = &net->ranges[number];

	free(t->list);
	*t = (struct net_ranges){ 0 };
	t->list = list_of(plan, &t->n);
	t->room = t->n;
}

void net_ranges_lost(struct net *net, uint32_t number)
{
	free(net->ranges[number].list);
	net->ranges[number] = (struct net_ranges){ 0 };
}
