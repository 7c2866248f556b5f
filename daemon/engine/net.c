/* SPDX-License-Identifier: Apache-2.0 */
/* net.c - the network of all guests
 *
 * Theory of operation
 * ===================
 *
 * The kernel is the truth: what is in nftables and on taps outlives the
 * process. In memory is, for each attached slot, what it was attached with, so
 * that rules can be made again when another program swept them away, and what
 * names brought which addresses, so that a new policy keeps what still holds.
 *
 * A slot is changed by one nftables transaction. Until its tap is known there,
 * and after it is taken out, everything from it is dropped: so the order of tap
 * and rules does not matter, and a failure in between leaves it closed.
 *
 * Revoking: the new rules come first, then each flow that they would not let
 * begin is cut; a packet of it that comes later is judged as a new one.
 */
#include "engine/net.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/conntrack.h"
#include "engine/denial.h"
#include "engine/hv.h"
#include "engine/link.h"
#include "engine/net_learned.h"
#include "engine/net_sockets.h"
#include "engine/netpol.h"
#include "engine/nft.h"
#include "engine/nft_expr.h"
#include "engine/resolver_link.h"
#include "engine/tap.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* How long a learned address stays open (research: an hour at most, and time
 * for a client that kept it to come back).
 */
#define LEARN_MIN_MS   60000u
#define LEARN_MAX_MS   3600000u
#define LEARN_GRACE_MS 300000u
#define CHECK_MS       5000
#define RENEW_MS       60000
#define LIST_TRIES     5
#define REBUILD_CHUNK  200

struct net_slot {
	struct slot slot;
	uint64_t generation;
	uint32_t ifindex;
	bool has_policy;
	struct net_policy policy;
	struct net_limits limits;
	struct plan plan;
	uint32_t rules; /* of its chains */
};

struct net {
	struct loop *loop;
	struct net_config config;
	net_denied_fn denied;
	void *arg;
	char uplink[IFNAMSIZ];
	struct links *links;
	struct nft *nft;
	struct resolver_link *resolver;
	struct denials *denials;
	struct netpol_node node;
	struct hard_range hard[HARD_RANGES_MAX];
	/* By slot number. What the kernel has; what was learned; and the slots
	 * that are attached.
	 */
	struct netpol_objects *have;
	struct learned_table *learned;
	struct net_slot **slots;
	uint32_t n_attached, base_rules, arp_rules;
	sd_event_source *check, *renew;
};

static int parse_mac(const char *text, uint8_t ret[6])
{
	unsigned int v[6];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &v[0], &v[1], &v[2], &v[3],
		   &v[4], &v[5]) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		ret[i] = (uint8_t)v[i];
	return 0;
}

static void slot_free(struct net_slot *s)
{
	if (!s)
		return;
	net_policy_fini(&s->policy);
	plan_fini(&s->plan);
	free(s);
}

void net_slot(const struct net *net, uint32_t number, uint32_t uid_base,
	      uint32_t cid_base, struct slot *ret)
{
	*ret = (struct slot){
		.number = number,
		.uid = uid_base + number,
		.cid = cid_base ? cid_base + number : 0,
		/* The range's own address and the next are no guest's. */
		.address =
			(net->config.pool & net->config.pool_mask) + 2 + number,
		.mark = number + 1,
	};
	snprintf(ret->tap, sizeof(ret->tap), TAP_PREFIX "%u", number);
}

static int check_number(const struct net *net, uint32_t number,
			struct error *err)
{
	if (number >= net->config.slots)
		return err_set(err, ERR_INTERNAL, "slot %u of %u", number,
			       net->config.slots);
	return 0;
}

/* ---- learned addresses in a batch --------------------------------------- */

/* Bit g: what is learned for this name goes into group g. */
static uint32_t groups_of_name(const struct net_slot *s, const char *name)
{
	uint16_t rules[NET_RULES_MAX];
	size_t n = net_rules_of_name(&s->policy, name, rules, NET_RULES_MAX);
	uint32_t groups = 0;

	for (size_t i = 0; i < n; i++)
		groups |= 1u << s->plan.rule_group[rules[i]];
	return groups;
}

static const char *comment(const char *name)
{
	return strlen(name) <= NFT_COMMENT_MAX ? name : NULL;
}

static void put_learned(struct nft_batch *b, const struct net_slot *s,
			const char *name, uint32_t address, uint64_t timeout_ms,
			bool there)
{
	uint32_t groups = groups_of_name(s, name);

	for (unsigned int g = 0; g < s->plan.n_groups; g++) {
		if (groups & 1u << g)
			netpol_learn(b, s->slot.number, g, address, timeout_ms,
				     comment(name), there);
	}
}

/* All that still holds, into sets that are empty. The longest life first: a
 * second name's shorter one does not cut it, as adding again changes nothing.
 */
static void put_all_learned(struct nft_batch *b, const struct net_slot *s,
			    struct learned_table *t)
{
	uint64_t now = loop_now_ms();

	learned_expire(t, now);
	learned_filter(t, s->has_policy ? &s->policy : NULL);
	learned_sort(t);
	for (size_t i = 0; i < t->n; i++)
		put_learned(b, s, t->entries[i].name, t->entries[i].address,
			    t->entries[i].expires_ms - now, false);
}

/* ---- attach, update, detach --------------------------------------------- */

static int commit_slot(struct net *net, struct net_slot *s, struct error *err)
{
	struct netpol_objects have = net->have[s->slot.number];
	struct nft_batch b;
	int rc;

	nft_batch_init(&b, NFPROTO_INET);
	netpol_slot(&b, &net->node, &s->slot, &s->plan, &have);
	put_all_learned(&b, s, &net->learned[s->slot.number]);
	rc = nft_commit(net->nft, &b, err);
	if (rc == 0) {
		net->have[s->slot.number] = have;
		s->rules = b.rules;
	}
	nft_batch_fini(&b);
	return rc;
}

static int set_up_tap(struct net *net, const struct slot *slot,
		      uint32_t *ret_ifindex, struct error *err)
{
	struct link_spec spec = { .mtu = NET_MTU,
				  .gateway = net->node.gateway,
				  .peer = slot->address };
	int r;

	memcpy(spec.name, slot->tap, sizeof(spec.name));
	memcpy(spec.peer_mac, net->node.guest_mac, sizeof(spec.peer_mac));
	parse_mac(NET_GATEWAY_MAC, spec.mac);
	if (tap_create(slot->tap, slot->uid, err) < 0)
		return -1;
	r = tap_sysctl(AF_INET, slot->tap, "forwarding", "1");
	if (r < 0) {
		err_sys(err, -r, "forward from '%s'", slot->tap);
	} else {
		/* Its address is the same on every tap, and answers on others'
		 * behalf are nobody's wish.
		 */
		tap_sysctl(AF_INET, slot->tap, "arp_ignore", "1");
		tap_sysctl(AF_INET, slot->tap, "send_redirects", "0");
		tap_sysctl(AF_INET, slot->tap, "accept_redirects", "0");
		if (link_set_up(net->links, &spec, ret_ifindex, err) == 0)
			return 0;
	}
	link_delete(net->links, slot->tap, NULL);
	return -1;
}

static void tell_resolver(struct net *net, const struct net_slot *s)
{
	if (s->has_policy)
		resolver_link_set(net->resolver, &s->slot, s->generation,
				  s->ifindex, &s->policy);
	else
		resolver_link_remove(net->resolver, s->slot.number);
}

static int make_slot(struct net *net, const struct slot *slot,
		     uint64_t generation, const struct net_policy *policy,
		     const struct net_limits *limits, struct net_slot **ret,
		     struct error *err)
{
	struct net_slot *s = xcalloc(1, sizeof(*s));

	s->slot = *slot;
	s->generation = generation;
	if (plan_make(policy, limits, &net->config.limits, &s->plan, err) < 0) {
		slot_free(s);
		return -1;
	}
	s->has_policy = policy != NULL;
	if (policy)
		net_policy_copy(&s->policy, policy);
	if (limits)
		s->limits = *limits;
	*ret = s;
	return 0;
}

static void replace(struct net *net, struct net_slot *s)
{
	struct net_slot **at = &net->slots[s->slot.number];

	if (!*at)
		net->n_attached++;
	slot_free(*at);
	*at = s;
}

int net_attach(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err)
{
	struct net_slot *s, *old;

	if (check_number(net, slot->number, err) < 0 ||
	    make_slot(net, slot, generation, policy, limits, &s, err) < 0)
		return err_wrap(err, "attach slot %u", slot->number);
	old = net->slots[slot->number];
	/* Another sandbox's names are not this one's. */
	if (old && old->generation != generation) {
		learned_fini(&net->learned[slot->number]);
		denials_clear(net->denials, slot->number);
	}
	if (set_up_tap(net, slot, &s->ifindex, err) < 0 ||
	    commit_slot(net, s, err) < 0) {
		slot_free(s);
		return err_wrap(err, "attach slot %u", slot->number);
	}
	if (old && old->generation != generation)
		conntrack_cut_all(net->nft, slot->mark, NULL);
	replace(net, s);
	tell_resolver(net, s);
	return 0;
}

struct judge {
	const struct net *net;
	const struct net_slot *s;
	struct flow *cut;
	size_t n, room;
};

/* As the rules in netpol.c would, for a new connection. */
static bool admits(const struct judge *j, const struct flow *f)
{
	const struct plan *plan = &j->s->plan;
	const struct learned_table *t = &j->net->learned[j->s->slot.number];
	enum hard_kind kind =
		hard_kind_of(j->net->hard, j->net->node.n_hard, f->destination);

	if (!plan->open || plan_box_holds(plan->deny, plan->n_deny,
					  f->destination, f->protocol, f->port))
		return false;
	if (plan_box_holds(plan->allow, plan->n_allow, f->destination,
			   f->protocol, f->port))
		return true;
	for (size_t i = 0; i < t->n; i++) {
		uint32_t groups;

		if (t->entries[i].address != f->destination)
			continue;
		groups = groups_of_name(j->s, t->entries[i].name);
		for (unsigned int g = 0; g < plan->n_groups; g++) {
			if (groups & 1u << g &&
			    plan_group_holds(&plan->groups[g], f->protocol,
					     f->port))
				return true;
		}
	}
	return plan->default_allow && kind == HARD_NONE;
}

static void judge_flow(const struct flow *flow, void *arg)
{
	struct judge *j = arg;

	if (admits(j, flow))
		return;
	if (j->n == j->room) {
		j->room = j->room ? j->room * 2 : 64;
		j->cut = xrealloc(j->cut, j->room, sizeof(*j->cut));
	}
	j->cut[j->n++] = *flow;
}

static int cut_refused(struct net *net, const struct net_slot *s,
		       struct error *err)
{
	struct judge j = { .net = net, .s = s };
	int rc = conntrack_each(net->nft, s->slot.mark, judge_flow, &j, err);

	for (size_t i = 0; rc == 0 && i < j.n; i++)
		rc = conntrack_cut(net->nft, &j.cut[i], err);
	free(j.cut);
	/* Rather one too many than one too few. */
	if (rc < 0)
		rc = conntrack_cut_all(net->nft, s->slot.mark, err);
	return rc;
}

int net_update(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err)
{
	struct net_slot *s, *old;

	if (check_number(net, slot->number, err) < 0)
		return -1;
	old = net->slots[slot->number];
	if (!old)
		return err_set(err, ERR_CONFLICT,
			       "update slot %u: it is not attached",
			       slot->number);
	if (make_slot(net, slot, generation, policy, limits, &s, err) < 0)
		return err_wrap(err, "update slot %u", slot->number);
	s->ifindex = old->ifindex;
	if (old->generation != generation)
		learned_fini(&net->learned[slot->number]);
	if (commit_slot(net, s, err) < 0) {
		slot_free(s);
		return err_wrap(err, "update slot %u", slot->number);
	}
	replace(net, s);
	tell_resolver(net, s);
	if (cut_refused(net, s, err) < 0)
		return err_wrap(err, "update slot %u", slot->number);
	return 0;
}

/* The first error is told, and the rest is done all the same. */
int net_detach(struct net *net, const struct slot *slot, struct error *err)
{
	struct error local, *e = err ? err : &local;
	struct nft_batch b;
	int rc;

	if (check_number(net, slot->number, err) < 0)
		return -1;
	resolver_link_remove(net->resolver, slot->number);
	nft_batch_init(&b, NFPROTO_INET);
	if (net->have[slot->number].slot) {
		struct netpol_objects have = net->have[slot->number];

		netpol_slot_del(&b, &net->node, slot, &have);
	}
	rc = nft_commit(net->nft, &b, e);
	nft_batch_fini(&b);
	if (rc == 0) {
		net->have[slot->number] = (struct netpol_objects){ 0 };
		learned_fini(&net->learned[slot->number]);
		denials_clear(net->denials, slot->number);
		if (net->slots[slot->number])
			net->n_attached--;
		slot_free(net->slots[slot->number]);
		net->slots[slot->number] = NULL;
	}
	if (conntrack_cut_all(net->nft, slot->mark, rc == 0 ? e : NULL) < 0)
		rc = -1;
	if (link_delete(net->links, slot->tap, rc == 0 ? e : NULL) < 0)
		rc = -1;
	return rc < 0 ? err_wrap(err, "detach slot %u", slot->number) : 0;
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

static uint64_t learn_timeout_ms(uint32_t ttl_s)
{
	uint64_t ms = (uint64_t)ttl_s * 1000;

	if (ms < LEARN_MIN_MS)
		ms = LEARN_MIN_MS;
	if (ms > LEARN_MAX_MS)
		ms = LEARN_MAX_MS;
	return ms + LEARN_GRACE_MS;
}

static void forget_everywhere(struct nft_batch *b, const struct net_slot *s,
			      uint32_t address)
{
	for (unsigned int g = 0; g < s->plan.n_groups; g++)
		netpol_forget(b, s->slot.number, g, address);
}

/* The resolver may be taken over: it can name only addresses that are not
 * hard-denied, for names that a rule of this very sandbox allows. Its word on
 * which rules those are is not needed.
 */
static int learn(struct net *net, const struct resolver_learn *learn,
		 struct error *err)
{
	const struct net_slot *s;
	struct learned_table *t;
	struct nft_batch b;
	int rc;

	if (!learn_is_ours(net, learn, &s))
		return err_set(err, ERR_CONFLICT,
			       "it is another sandbox's now");
	if (!groups_of_name(s, learn->name))
		return err_set(err, ERR_DENIED, "no rule allows '%s'",
			       learn->name);
	t = &net->learned[learn->slot];
	learned_expire(t, loop_now_ms());
	nft_batch_init(&b, NFPROTO_INET);
	for (size_t i = 0; i < learn->n_addresses; i++) {
		uint32_t a = learn->addresses[i].address, evicted;
		uint64_t timeout = learn_timeout_ms(learn->addresses[i].ttl_s);
		enum hard_kind kind =
			hard_kind_of(net->hard, net->node.n_hard, a);

		if (kind != HARD_NONE && kind != HARD_PERMITTED) {
			nft_batch_fini(&b);
			return err_set(err, ERR_DENIED,
				       "'%s' is at a %s address", learn->name,
				       hard_kind_names[kind]);
		}
		if (learned_put(t, learn->name, a, loop_now_ms() + timeout,
				&evicted))
			forget_everywhere(&b, s, evicted);
		put_learned(&b, s, learn->name, a, timeout, true);
	}
	rc = nft_commit(net->nft, &b, err);
	nft_batch_fini(&b);
	return rc;
}

static bool on_learn(const struct resolver_learn *l, void *arg)
{
	struct error err;

	if (learn(arg, l, &err) == 0)
		return true;
	log_warn("names of slot %u: %s", l->slot, err.msg);
	return false;
}

/* Which rule that is, of an address or (@protocol 0) a name. */
static bool rule_covers(const struct net_rule *r, const char *target,
			uint8_t protocol)
{
	size_t have = strlen(target), want = strlen(r->target);
	struct in_addr in;

	if (!r->is_name)
		return protocol && inet_pton(AF_INET, target, &in) == 1 &&
		       (ntohl(in.s_addr) & r->mask) == r->network;
	if (protocol || have < want || strcmp(target + have - want, r->target))
		return false;
	return r->wildcard ? have > want && target[have - want - 1] == '.'
			   : have == want;
}

static void on_denied(uint32_t slot, const char *target, uint16_t port,
		      uint8_t protocol, const char *rule, void *arg)
{
	struct net *net = arg;
	char which[NET_TARGET_MAX + 32];
	struct net_denial told;
	struct net_slot *s;

	if (slot >= net->config.slots || !net->slots[slot])
		return;
	s = net->slots[slot];
	snprintf(which, sizeof(which), "%.31s", rule);
	for (size_t i = 0; !strcmp(rule, "deny") && i < s->policy.n_deny; i++) {
		const struct net_rule *r = &s->policy.deny[i];

		if (!rule_covers(r, target, protocol))
			continue;
		snprintf(which, sizeof(which), "deny:%s%s",
			 r->wildcard ? "*." : "", r->target);
		break;
	}
	if (denials_add(net->denials, slot, target, port, protocol, which,
			loop_wall_ms(), &told) &&
	    net->denied)
		net->denied(slot, &told, net->arg);
}

static const struct resolver_link_ops resolver_ops = { .learn = on_learn,
						       .denied = on_denied };

size_t net_denials(struct net *net, const struct slot *slot,
		   struct net_denial ret[NET_DENIALS_MAX])
{
	return denials_get(net->denials, slot->number, ret);
}

/* ---- counters ----------------------------------------------------------- */

static void count_flow(const struct flow *flow, void *arg)
{
	(void)flow;
	++*(uint32_t *)arg;
}

static int count_set(struct net *net, const char *set, const char *tap,
		     uint64_t *ret, struct error *err)
{
	struct nft_got_elem e;
	uint8_t key[16];

	nft_key_ifname(key, tap);
	if (nft_get_elem(net->nft, NFPROTO_INET, set, key, sizeof(key), &e,
			 err) < 0)
		return -1;
	*ret = e.packets;
	return 0;
}

int net_counters(struct net *net, const struct slot *slot,
		 struct net_counters *ret, struct error *err)
{
	struct net_counters c = { 0 };
	struct link_counters l;

	if (link_counters(net->links, slot->tap, &l, err) < 0 ||
	    count_set(net, NETPOL_ALLOWED, slot->tap, &c.allowed, err) < 0 ||
	    count_set(net, NETPOL_DENIED, slot->tap, &c.denied, err) < 0 ||
	    conntrack_each(net->nft, slot->mark, count_flow, &c.flows, err) < 0)
		return -1;
	/* What the host receives the guest has sent. */
	c.rx_bytes = l.tx_bytes;
	c.rx_packets = l.tx_packets;
	c.tx_bytes = l.rx_bytes;
	c.tx_packets = l.rx_packets;
	*ret = c;
	return 0;
}

/* ---- renewal and drift -------------------------------------------------- */

struct renewal {
	struct net *net;
	struct net_slot *s;
	struct nft_batch *b;
	uint64_t now;
};

/* An address in use does not expire: a client that keeps a connection open for
 * hours may open a second one beside it.
 */
static void renew_flow(const struct flow *flow, void *arg)
{
	struct renewal *r = arg;
	struct learned_table *t = &r->net->learned[r->s->slot.number];

	for (size_t i = 0; i < t->n; i++) {
		struct learned *e = &t->entries[i];

		if (e->address != flow->destination ||
		    e->expires_ms > r->now + LEARN_GRACE_MS)
			continue;
		e->expires_ms = r->now + LEARN_MIN_MS + LEARN_GRACE_MS;
		put_learned(r->b, r->s, e->name, e->address,
			    LEARN_MIN_MS + LEARN_GRACE_MS, true);
	}
}

static bool expires_soon(const struct learned_table *t, uint64_t now)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->entries[i].expires_ms < now + LEARN_GRACE_MS)
			return true;
	}
	return false;
}

static void renew_slot(struct net *net, struct net_slot *s)
{
	struct nft_batch b;
	struct renewal r = { net, s, &b, loop_now_ms() };
	struct error err;

	learned_expire(&net->learned[s->slot.number], r.now);
	if (!expires_soon(&net->learned[s->slot.number], r.now))
		return;
	nft_batch_init(&b, NFPROTO_INET);
	if (conntrack_each(net->nft, s->slot.mark, renew_flow, &r, &err) < 0 ||
	    nft_commit(net->nft, &b, &err) < 0)
		log_warn("renew addresses of slot %u: %s", s->slot.number,
			 err.msg);
	nft_batch_fini(&b);
}

static void on_renew(void *arg)
{
	struct net *net = arg;

	for (uint32_t i = 0; i < net->config.slots; i++) {
		if (net->slots[i] && net->learned[i].n)
			renew_slot(net, net->slots[i]);
	}
	loop_timer(net->loop, &net->renew, loop_now_ms() + RENEW_MS, on_renew,
		   net);
}

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

/* Everything anew: in between, what is not there yet is dropped. */
static int rebuild(struct net *net, struct error *err)
{
	struct nft_batch b;
	int rc;

	if (make_base(net, true, err) < 0)
		return -1;
	memset(net->have, 0, net->config.slots * sizeof(*net->have));
	nft_batch_init(&b, NFPROTO_INET);
	rc = 0;
	for (uint32_t i = 0; rc == 0 && i < net->config.slots; i++) {
		struct net_slot *s = net->slots[i];
		unsigned int before = b.rules;

		if (s) {
			netpol_slot(&b, &net->node, &s->slot, &s->plan,
				    &net->have[i]);
			put_all_learned(&b, s, &net->learned[i]);
			s->rules = b.rules - before;
		}
		if (i % REBUILD_CHUNK == REBUILD_CHUNK - 1 ||
		    i + 1 == net->config.slots) {
			rc = nft_commit(net->nft, &b, err);
			nft_batch_fini(&b);
			nft_batch_init(&b, NFPROTO_INET);
		}
	}
	nft_batch_fini(&b);
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

/* Whether all our rules and what they look up are there. */
static int intact(struct net *net, bool *ret, struct error *err)
{
	uint32_t rules, arp, bind, slots, hard, permitted, want;

	want = net->base_rules;
	for (uint32_t i = 0; i < net->config.slots; i++) {
		if (net->slots[i])
			want += net->slots[i]->rules;
	}
	*ret = false;
	if (nft_count_rules(net->nft, NFPROTO_INET, &rules, err) < 0 ||
	    nft_count_rules(net->nft, NFPROTO_ARP, &arp, err) < 0)
		return err->code == ERR_NOT_FOUND ? 0 : -1;
	if (rules + arp != want)
		return 0;
	if (set_size(net, NFPROTO_INET, "bind", &bind, err) < 0 ||
	    set_size(net, NFPROTO_INET, "slots", &slots, err) < 0 ||
	    set_size(net, NFPROTO_INET, "hard", &hard, err) < 0 ||
	    set_size(net, NFPROTO_INET, "permitted", &permitted, err) < 0)
		return err->code == ERR_NOT_FOUND ? 0 : -1;
	*ret = bind == net->n_attached && slots == net->n_attached &&
	       hard + permitted >= range_elements(net);
	return 0;
}

/* Another program changed rules: ours should still be there. */
static void on_check(void *arg)
{
	struct net *net = arg;
	struct error err;
	bool foreign, ok = true;

	loop_timer(net->loop, &net->check, loop_now_ms() + CHECK_MS, on_check,
		   net);
	if (nft_foreign(net->nft, &foreign, &err) < 0) {
		log_err("check the packet filter: %s", err.msg);
		return;
	}
	if (!foreign || (intact(net, &ok, &err) == 0 && ok))
		return;
	log_err("another program changed the table '%s': made anew",
		NFT_TABLE_NAME);
	if (rebuild(net, &err) < 0)
		log_err("%s: guests may have no network", err.msg);
}

/* ---- open, close, sweep ------------------------------------------------- */

struct note {
	struct net *net;
	bool any, base;
};

static void note_chain(const char *name, void *arg)
{
	struct note *note = arg;

	note->any = true;
	if (!strcmp(name, "guard"))
		note->base = true;
	netpol_note_chain(name, note->net->have, note->net->config.slots);
}

static void note_set(const char *name, void *arg)
{
	struct note *note = arg;

	netpol_note_set(name, note->net->have, note->net->config.slots);
}

struct load {
	struct learned_table *t;
	uint64_t now;
};

static void load_elem(const struct nft_got_elem *e, void *arg)
{
	struct load *load = arg;
	uint32_t address, evicted;

	/* Names too long for a comment are looked up again. */
	if (e->key_len != sizeof(address) || !e->comment[0] || !e->expires_ms)
		return;
	memcpy(&address, e->key, sizeof(address));
	learned_put(load->t, e->comment, ntohl(address),
		    load->now + e->expires_ms, &evicted);
}

/* What an earlier process left of slots: objects, and learned addresses. */
static int take_stock(struct net *net, bool *ret_base, struct error *err)
{
	struct note note = { .net = net };

	if (nft_each_chain(net->nft, NFPROTO_INET, note_chain, &note, err) <
		    0 &&
	    err->code != ERR_NOT_FOUND)
		return -1;
	if (nft_each_set(net->nft, NFPROTO_INET, note_set, &note, err) < 0 &&
	    err->code != ERR_NOT_FOUND)
		return -1;
	for (uint32_t i = 0; i < net->config.slots; i++) {
		struct load load = { &net->learned[i], loop_now_ms() };
		char name[32];

		for (unsigned int g = 0; net->have[i].groups >> g; g++) {
			netpol_group_name(name, i, g);
			if (net->have[i].groups & 1u << g)
				nft_each_elem(net->nft, NFPROTO_INET, name,
					      load_elem, &load, NULL);
		}
	}
	*ret_base = note.base;
	return 0;
}

static int open_uplink(struct net *net, struct error *err)
{
	int r;

	if (net->config.uplink)
		snprintf(net->uplink, sizeof(net->uplink), "%s",
			 net->config.uplink);
	else if (links_uplink(net->links, net->uplink, err) < 0 &&
		 err->code != ERR_NOT_FOUND)
		return -1;
	if (!net->uplink[0]) {
		log_warn("no default route: answers to guests are taken from "
			 "all interfaces");
		r = tap_sysctl(AF_INET, "all", "forwarding", "1");
	} else if (!if_nametoindex(net->uplink)) {
		return err_field(err, "network.uplink",
				 "there is no interface '%s'", net->uplink);
	} else {
		/* Only this one, and each tap: the host is not made a router
		 * between its other interfaces. Left on when the daemon ends,
		 * as guests live on.
		 */
		r = tap_sysctl(AF_INET, net->uplink, "forwarding", "1");
	}
	return r < 0 ? err_sys(err, -r, "forward from '%s'", net->uplink) : 0;
}

static int open_filter(struct net *net, struct error *err)
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
	memset(net->have, 0, net->config.slots * sizeof(*net->have));
	return make_base(net, true, err);
}

static int open_resolver(struct net *net, struct error *err)
{
	struct error log_err;
	int sockets[3] = { -EBADF, -EBADF, -EBADF };

	sockets[0] = net_socket_dns(SOCK_DGRAM, net->node.gateway, err);
	if (sockets[0] >= 0)
		sockets[1] =
			net_socket_dns(SOCK_STREAM, net->node.gateway, err);
	if (sockets[1] < 0) {
		fd_close(&sockets[0]);
		return -1;
	}
	sockets[2] = net_socket_log(NETPOL_LOG_GROUP, &log_err);
	if (sockets[2] < 0)
		log_warn("%s: refused packets are not listed", log_err.msg);
	return resolver_link_new(net->loop, &net->config, sockets,
				 &resolver_ops, net, &net->resolver, err);
}

static void set_node(struct net *net)
{
	struct in_addr gateway;

	inet_pton(AF_INET, NET_GATEWAY, &gateway);
	net->node = (struct netpol_node){
		.pool = net->config.pool & net->config.pool_mask,
		.pool_mask = net->config.pool_mask,
		.gateway = ntohl(gateway.s_addr),
		.hard = net->hard,
	};
	parse_mac(HV_GUEST_MAC, net->node.guest_mac);
	net->node.n_hard =
		hard_ranges(net->config.pool, net->config.pool_mask,
			    net->config.private_allowed,
			    net->config.n_private_allowed, net->hard);
}

static int check_config(const struct net_config *c, struct error *err)
{
	if (c->slots == 0 || c->slots > SLOT_MAX)
		return err_field(err, "network.slots", "1 to %u", SLOT_MAX);
	if ((uint64_t)c->slots + 3 > (uint64_t)~c->pool_mask + 1)
		return err_field(err, "network.pool",
				 "has no room for %u guests", c->slots);
	if (c->n_private_allowed > HARD_ALLOWED_MAX)
		return err_field(err, "network.private_allowed",
				 "at most %d ranges", HARD_ALLOWED_MAX);
	return 0;
}

int net_open(const struct net_config *config, struct loop *loop,
	     net_denied_fn denied, void *arg, struct net **ret,
	     struct error *err)
{
	struct net *net;

	if (check_config(config, err) < 0)
		return -1;
	net = xcalloc(1, sizeof(*net));
	*net = (struct net){
		.loop = loop, .config = *config, .denied = denied, .arg = arg
	};
	net->denials = denials_new();
	net->have = xcalloc(config->slots, sizeof(*net->have));
	net->learned = xcalloc(config->slots, sizeof(*net->learned));
	net->slots = xcalloc(config->slots, sizeof(struct net_slot *));
	set_node(net);
	if (links_open(&net->links, err) < 0 || nft_open(&net->nft, err) < 0 ||
	    open_uplink(net, err) < 0 || open_filter(net, err) < 0 ||
	    open_resolver(net, err) < 0) {
		net_close(net, true);
		return err_wrap(err, "set up the network");
	}
	loop_timer(loop, &net->check, loop_now_ms() + CHECK_MS, on_check, net);
	loop_timer(loop, &net->renew, loop_now_ms() + RENEW_MS, on_renew, net);
	*ret = net;
	return 0;
}

static void remove_all(struct net *net)
{
	struct nft_batch b;
	struct error err;

	for (uint32_t i = 0; i < net->config.slots; i++) {
		if (!net->slots[i])
			continue;
		conntrack_cut_all(net->nft, net->slots[i]->slot.mark, NULL);
		if (link_delete(net->links, net->slots[i]->slot.tap, &err) < 0)
			log_warn("%s: ignored", err.msg);
	}
	nft_batch_init(&b, NFPROTO_INET);
	netpol_remove_all(&b);
	if (nft_commit(net->nft, &b, &err) < 0)
		log_warn("remove the packet filter: %s: ignored", err.msg);
	nft_batch_fini(&b);
}

struct net *net_close(struct net *net, bool keep)
{
	if (!net)
		return NULL;
	sd_event_source_disable_unref(net->check);
	sd_event_source_disable_unref(net->renew);
	resolver_link_free(net->resolver);
	if (!keep)
		remove_all(net);
	for (uint32_t i = 0; i < net->config.slots; i++) {
		slot_free(net->slots[i]);
		learned_fini(&net->learned[i]);
	}
	denials_free(net->denials);
	free(net->slots);
	free(net->learned);
	free(net->have);
	nft_close(net->nft);
	links_close(net->links);
	free(net);
	return NULL;
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

static void stale_elem(const struct nft_got_elem *e, void *arg)
{
	struct stale *stale = arg;
	char name[IFNAMSIZ] = "";
	struct nft_elem del = { .key = e->key, .key_len = e->key_len };
	uint32_t number;

	if (e->key_len < IFNAMSIZ)
		return;
	memcpy(name, e->key, IFNAMSIZ - 1);
	if (!is_stale(stale->net, name, &number))
		return;
	stale->b->family = stale->set->family;
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

/* Elements first: they hold the chains, which hold the sets. */
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
		netpol_objects_del(&b, i, &net->have[i]);
		learned_fini(&net->learned[i]);
	}
	if (rc == 0)
		rc = nft_commit(net->nft, &b, err);
	nft_batch_fini(&b);
	return rc;
}

int net_sweep(struct net *net, struct error *err)
{
	struct stale stale = { .net = net };
	int rc;

	if (sweep_filter(net, err) < 0)
		return err_wrap(err, "sweep the packet filter");
	rc = links_each(net->links, stale_tap, &stale, err);
	for (uint32_t i = 0; rc == 0 && i < stale.n_taps; i++) {
		char name[IFNAMSIZ];

		snprintf(name, sizeof(name), TAP_PREFIX "%u", stale.taps[i]);
		rc = link_delete(net->links, name, err);
		if (rc == 0)
			rc = conntrack_cut_all(net->nft, stale.taps[i] + 1,
					       err);
	}
	free(stale.taps);
	return rc < 0 ? err_wrap(err, "sweep taps") : 0;
}
