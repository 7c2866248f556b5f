/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c - one guest's question, from its bytes to its answer's
 *
 * Theory of operation
 * ===================
 *
 * Only the name that was asked decides. What is not allowed is answered here
 * and nothing leaves the node, so that lookups carry nothing out. What is
 * allowed is asked upstream as a fresh question of ours, for A records alone:
 * AAAA, HTTPS and SVCB have "no data", for the guest has no IPv6 and is to
 * learn no keys that would hide a server's name; all other types are refused.
 *
 * Addresses that are not public are taken out, unless the operator allowed
 * their range. What a rule allows is told to the engine first: the guest gets
 * its answer after the addresses are in the kernel's set, or SERVFAIL. A lookup
 * is bound to the guest's generation: one that outlives it is dropped.
 */
#include "resolver/lookup.h"

#include "base/list.h"
#include "base/loop.h"
#include "base/mem.h"
#include "resolver/dns_wire.h"
#include "resolver/upstream.h"

#include <stdlib.h>
#include <string.h>

struct lookup {
	struct list link;
	struct lookups *all;
	uint64_t id;
	uint32_t slot;
	uint64_t generation;
	struct dns_query query;
	bool tcp;
	enum name_verdict verdict;
	uint16_t rules[LOOKUP_RULES_MAX];
	size_t n_rules;
	struct dns_address addresses[DNS_ADDRESSES_MAX];
	size_t n_addresses;
	uint32_t ttl;
	sd_event_source *timer;
	lookup_reply_fn reply;
	void *arg;
};

struct lookups {
	struct loop *loop;
	struct guests *guests;
	struct upstreams *up;
	const struct lookup_ops *ops;
	void *arg;
	struct list pending;
	uint64_t last_id;
	struct static_host *hosts;
	size_t n_hosts;
	struct address_range *private_allowed;
	size_t n_private;
};

struct lookups *lookups_new(struct loop *loop, struct guests *guests,
			    struct upstreams *up, const struct lookup_ops *ops,
			    void *arg)
{
	struct lookups *all = xcalloc(1, sizeof(*all));

	*all = (struct lookups){
		.loop = loop, .guests = guests, .up = up, .ops = ops, .arg = arg
	};
	list_init(&all->pending);
	return all;
}

/* The guest that asked, if it is still the same. */
static struct guest *asker(struct lookup *lk)
{
	struct guest *g = guests_by_slot(lk->all->guests, lk->slot);

	return g && g->generation == lk->generation ? g : NULL;
}

/* Ends the lookup: answers, and frees it. */
static void finish(struct lookup *lk, enum dns_rcode rcode,
		   enum dns_extended extended)
{
	static uint8_t buf[DNS_ANSWER_MAX];
	struct guest *g = asker(lk);
	int n = 0;

	upstreams_forget(lk->all->up, lk);
	sd_event_source_disable_unref(lk->timer);
	list_del(&lk->link);
	if (g) {
		g->in_flight--;
		n = dns_build_reply(buf, sizeof(buf), &lk->query, rcode,
				    extended, lk->addresses,
				    rcode == DNS_NOERROR ? lk->n_addresses : 0,
				    lk->ttl, lk->tcp);
	}
	lk->reply(buf, n > 0 ? (size_t)n : 0, lk->arg);
	free(lk);
}

struct lookups *lookups_free(struct lookups *all)
{
	if (!all)
		return NULL;
	while (!list_empty(&all->pending)) {
		struct lookup *lk =
			list_entry(all->pending.next, struct lookup, link);

		lk->generation = UINT64_MAX; /* nobody's: no bytes */
		finish(lk, DNS_SERVFAIL, DNS_EDE_NONE);
	}
	free(all->hosts);
	free(all->private_allowed);
	free(all);
	return NULL;
}

void lookups_configure(struct lookups *all, struct static_host *hosts,
		       size_t n_hosts, struct address_range *private_allowed,
		       size_t n_private)
{
	free(all->hosts);
	free(all->private_allowed);
	all->hosts = hosts;
	all->n_hosts = n_hosts;
	all->private_allowed = private_allowed;
	all->n_private = n_private;
}

static bool may_be_told(const struct lookups *all, uint32_t address)
{
	if (!address_is_hard_denied(address))
		return true;
	for (size_t i = 0; i < all->n_private; i++) {
		if ((address & all->private_allowed[i].mask) ==
		    all->private_allowed[i].network)
			return true;
	}
	return false;
}

static void on_learn_timeout(void *arg)
{
	finish(arg, DNS_SERVFAIL, DNS_EDE_NETWORK);
}

/* The addresses are known: have them committed, or answer. */
static void release(struct lookup *lk)
{
	struct guest *g = asker(lk);

	if (!g || lk->n_addresses == 0 ||
	    lk->verdict == NAME_ALLOWED_BY_DEFAULT) {
		finish(lk, DNS_NOERROR, DNS_EDE_NONE);
		return;
	}
	loop_timer(lk->all->loop, &lk->timer, loop_now_ms() + LOOKUP_LEARN_MS,
		   on_learn_timeout, lk);
	lk->all->ops->learn(lk->id, g, lk->rules, lk->n_rules, lk->addresses,
			    lk->n_addresses, lk->query.name, lk->all->arg);
}

static void on_answer(const struct dns_answer *answer, void *arg)
{
	struct lookup *lk = arg;

	if (!answer) {
		finish(lk, DNS_SERVFAIL, DNS_EDE_NETWORK);
		return;
	}
	if (answer->rcode != DNS_NOERROR) {
		finish(lk, answer->rcode, DNS_EDE_NONE);
		return;
	}
	lk->ttl = LOOKUP_REPLY_TTL_MAX_S;
	for (size_t i = 0; i < answer->n_addresses; i++) {
		const struct dns_address *a = &answer->addresses[i];

		if (!may_be_told(lk->all, a->address))
			continue;
		lk->addresses[lk->n_addresses++] = *a;
		if (a->ttl < lk->ttl)
			lk->ttl = a->ttl;
	}
	release(lk);
}

static const struct static_host *host_by_name(const struct lookups *all,
					      const char *name)
{
	for (size_t i = 0; i < all->n_hosts; i++) {
		if (!strcmp(all->hosts[i].name, name))
			return &all->hosts[i];
	}
	return NULL;
}

/* An A question for a name that is allowed. */
static void resolve(struct lookup *lk)
{
	const struct static_host *host = host_by_name(lk->all, lk->query.name);

	if (host) {
		lk->addresses[0] =
			(struct dns_address){ host->address,
					      LOOKUP_REPLY_TTL_MAX_S };
		lk->n_addresses = 1;
		lk->ttl = LOOKUP_REPLY_TTL_MAX_S;
		release(lk);
		return;
	}
	upstreams_ask(lk->all->up, lk->query.name, on_answer, lk);
}

/* "use-application-dns.net" tells browsers that DNS over HTTPS is not wanted. */
static bool is_local_name(const char *name)
{
	return !strcmp(name, "use-application-dns.net") || !*name;
}

static void decide(struct lookup *lk, struct guest *g)
{
	const struct dns_query *q = &lk->query;

	if (!q->plain) {
		finish(lk, DNS_REFUSED, DNS_EDE_BLOCKED);
		return;
	}
	if (q->type == DNS_TYPE_PTR || is_local_name(q->name)) {
		finish(lk, DNS_NXDOMAIN, DNS_EDE_NONE);
		return;
	}
	lk->verdict = name_policy_decide(&g->policy, q->name, lk->rules,
					 LOOKUP_RULES_MAX, &lk->n_rules);
	if (lk->verdict == NAME_REFUSED) {
		lk->all->ops->denied(g, q->name,
				     g->policy.default_allow ? "deny"
							     : "default",
				     lk->all->arg);
		finish(lk, DNS_REFUSED, DNS_EDE_BLOCKED);
		return;
	}
	switch (q->type) {
	case DNS_TYPE_A:
		resolve(lk);
		return;
	case DNS_TYPE_AAAA:
	case DNS_TYPE_HTTPS:
	case DNS_TYPE_SVCB:
		finish(lk, DNS_NOERROR, DNS_EDE_NONE);
		return;
	default:
		finish(lk, DNS_REFUSED, DNS_EDE_BLOCKED);
	}
}

void lookups_ask(struct lookups *all, struct guest *g, const uint8_t *msg,
		 size_t len, bool tcp, lookup_reply_fn reply, void *arg)
{
	struct lookup *lk;
	int rc;

	if (g->in_flight >= GUEST_IN_FLIGHT_MAX ||
	    !bucket_take(&g->queries, GUEST_QUERIES_PER_S, GUEST_QUERIES_BURST,
			 loop_now_ms())) {
		reply(msg, 0, arg);
		return;
	}
	lk = xcalloc(1, sizeof(*lk));
	rc = dns_query_parse(msg, len, &lk->query);
	if (rc < 0) {
		free(lk);
		reply(msg, 0, arg);
		return;
	}
	lk->all = all;
	lk->id = ++all->last_id;
	lk->slot = g->slot;
	lk->generation = g->generation;
	lk->tcp = tcp;
	lk->reply = reply;
	lk->arg = arg;
	list_add_tail(&all->pending, &lk->link);
	g->in_flight++;
	if (rc > 0)
		finish(lk, (enum dns_rcode)rc, DNS_EDE_NONE);
	else
		decide(lk, g);
}

void lookups_learned(struct lookups *all, uint64_t id, bool committed)
{
	list_for_each(&all->pending, lk, struct lookup, link)
	{
		if (lk->id != id)
			continue;
		finish(lk, committed ? DNS_NOERROR : DNS_SERVFAIL,
		       committed ? DNS_EDE_NONE : DNS_EDE_NETWORK);
		return;
	}
}
