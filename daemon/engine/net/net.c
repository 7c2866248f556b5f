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
#include "engine/net/net_priv.h"
#include "engine/net/net_sockets.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/hv.h"
#include "engine/net/conntrack.h"
#include "engine/net/denial.h"
#include "engine/net/link.h"
#include "engine/net/net_taps.h"
#include "engine/net/net_watch.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"
#include "engine/net/resolver_link.h"
#include "engine/net/tap.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GATHER_MAX 200u /* slots in one transaction */

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

/* The range's own address and the next are no guest's. */
uint32_t net_address(const struct net *net, uint32_t number)
{
	return (net->config.pool & net->config.pool_mask) + 2 + number;
}

void net_slot(const struct net *net, uint32_t number, uint32_t uid_base,
	      uint32_t cid_base, struct slot *ret)
{
	*ret = (struct slot){
		.number = number,
		.uid = uid_base + number,
		.cid = cid_base ? cid_base + number : 0,
		.address = net_address(net, number),
		.mark = SLOT_MARK_BASE + number,
	};
	tap_name(ret->tap, number);
}

int net_check_policy(const struct net *net, const struct net_policy *policy,
		     struct error *err)
{
	for (size_t i = 0; i < policy->n_allow; i++) {
		const struct net_rule *r = &policy->allow[i];
		enum hard_kind kind;
		char field[ERR_FIELD_MAX];

		if (r->is_name)
			continue;
		kind = hard_hides(net->hard, net->node.n_hard, r->network,
				  r->network | ~r->mask);
		if (kind == HARD_NONE)
			continue;
		snprintf(field, sizeof(field), "egress.allow[%zu].target", i);
		if (kind == HARD_PRIVATE || kind == HARD_LINK_LOCAL)
			return err_field(err, field,
					 "'%s' is a %s range, and this node's "
					 "configuration does not open it "
					 "(network.private_allowed)",
					 r->target, hard_kind_names[kind]);
		return err_field(err, field,
				 "'%s' is a %s address, which no rule opens",
				 r->target, hard_kind_names[kind]);
	}
	return 0;
}

static void slot_of(uint32_t number, struct slot *ret, const void *arg)
{
	const struct net *net = arg;

	net_slot(net, number, net->config.tap_uid_base, 0, ret);
}

static int check_number(const struct net *net, uint32_t number,
			struct error *err)
{
	if (number >= net->config.slots)
		return err_set(err, ERR_INTERNAL, "slot %u of %u", number,
			       net->config.slots);
	return 0;
}

/* ---- attach, update, detach --------------------------------------------- */

/* That the kernel has. */
static bool same_rates(const struct net_slot *old, const struct net_slot *s)
{
	const struct net_limits *a = old ? &old->plan.limits : NULL;
	const struct net_limits *b = &s->plan.limits;

	return a && old->has_policy && a->bandwidth_mbps == b->bandwidth_mbps &&
	       a->packets_per_second == b->packets_per_second;
}

/* Rules only if there are none of that shape. */
static int commit_slot(struct net *net, struct net_slot *s, struct error *err)
{
	uint32_t number = s->slot.number;
	const struct net_slot *old = net->slots[number];
	const struct plan *plan = s->has_policy ? &s->plan : NULL;
	struct netpol_objects have = net->have[number];
	struct net_shape *shape = plan ? net_shape_of(net, plan) : NULL;
	struct nft_batch own, *b = net->gather ? net->gather : &own;
	int rc;

	nft_batch_init(&own, NFPROTO_INET);
	learned_expire(&net->learned[number], loop_now_ms());
	learned_retire(&net->learned[number],
		       s->has_policy ? &s->policy : NULL);
	if (shape) {
		net_shape_write(b, shape);
		netpol_slot(b, &net->node, &s->slot, shape->id, shape->binds,
			    same_rates(old, s) ? NULL : &s->plan.limits,
			    net->shape_of[number] != shape, &have);
	} else {
		netpol_slot_close(b, &net->node, &s->slot,
				  old ? &old->plan.limits : NULL, &have);
	}
	net_write_ranges(net, b, number, plan);
	net_write_learned(net, b, number, s, true);
	rc = net->gather ? 0 : nft_commit(net->nft, b, err);
	if (rc == 0) {
		learned_committed(&net->learned[number]);
		net_ranges_committed(net, number, plan);
		net->have[number] = have;
		if (shape)
			shape->there = true;
		net_shape_use(net, number, shape);
	} else if (shape) {
		net_shape_failed(net, shape);
	}
	nft_batch_fini(&own);
	if (net->gather && ++net->n_gathered == GATHER_MAX)
		net_gather_send(net);
	return rc;
}

void net_gather_send(struct net *net)
{
	struct error err;

	if (nft_commit(net->nft, net->gather, &err) < 0) {
		log_err("rules of %u guests: %s", net->n_gathered, err.msg);
		net->unsound = true;
	}
	nft_batch_fini(net->gather);
	nft_batch_init(net->gather, NFPROTO_INET);
	net->n_gathered = 0;
}

void net_gather(struct net *net)
{
	if (net->gather)
		return;
	net->gather = xcalloc(1, sizeof(*net->gather));
	nft_batch_init(net->gather, NFPROTO_INET);
}

/* What was set on the tap of an attached slot holds as long as it is there. */
static int take_tap(struct net *net, const struct slot *slot,
		    uint32_t *ret_ifindex, struct error *err)
{
	const struct net_slot *s = net->slots[slot->number];

	if (s && if_nametoindex(slot->tap) == s->ifindex) {
		*ret_ifindex = s->ifindex;
		return 0;
	}
	return net_taps_take(net->taps, slot, ret_ifindex, err);
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
		learned_retire(&net->learned[slot->number], NULL);
		denials_clear(net->denials, slot->number);
	}
	if (take_tap(net, slot, &s->ifindex, err) < 0 ||
	    commit_slot(net, s, err) < 0) {
		slot_free(s);
		return err_wrap(err, "attach slot %u", slot->number);
	}
	/* What it had is not its policy's any more. */
	if (old &&
	    (old->generation != generation || (old->has_policy && !policy))) {
		net_splice_cut(net, slot->number);
		conntrack_cut_all(net->nft, slot->mark, NULL);
	}
	replace(net, s);
	tell_resolver(net, s);
	return 0;
}

struct judge {
	const struct net *net;
	const struct net_slot *s;
	uint64_t now;
	struct flow *cut;
	size_t n, room;
};

/* As the rules in netpol.c would, for a new connection. */
static bool admits(const struct judge *j, const struct flow *f)
{
	bool upstream = f->source != j->s->slot.address;
	const struct plan *plan = &j->s->plan;
	const struct learned_table *t = &j->net->learned[j->s->slot.number];
	enum hard_kind kind =
		hard_kind_of(j->net->hard, j->net->node.n_hard, f->destination);

	if (!plan->open ||
	    plan_side_holds(&plan->deny, f->destination, f->protocol, f->port))
		return false;
	if (!upstream &&
	    plan_side_holds(&plan->allow, f->destination, f->protocol, f->port))
		return true;
	for (size_t i = 0; i < t->n; i++) {
		uint32_t groups;

		if (t->entries[i].address != f->destination ||
		    t->entries[i].expires_ms <= j->now)
			continue;
		groups = net_groups_of_name(j->s, t->entries[i].name);
		for (unsigned int g = 0; g < plan->n_groups; g++) {
			const struct plan_group *group = &plan->groups[g];

			if (groups & 1u << g &&
			    plan_group_holds(group, f->protocol, f->port) &&
			    upstream == plan_group_binds(group, f->protocol,
							 f->port))
				return true;
		}
	}
	return !upstream && plan->default_allow && kind == HARD_NONE;
}

static void judge_flow(const struct flow *flow, void *arg)
{
	struct judge *j = arg;

	/* What leads to the splice leads nowhere else: net_splice_recheck() has
	 * it ended in order.
	 */
	if (flow->answers == j->net->node.gateway || admits(j, flow))
		return;
	if (j->n == j->room) {
		j->room = j->room ? j->room * 2 : 64;
		j->cut = xrealloc(j->cut, j->room, sizeof(*j->cut));
	}
	j->cut[j->n++] = *flow;
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

static int cut_refused(struct net *net, const struct net_slot *s,
		       struct error *err)
{
	struct judge j = { .net = net, .s = s, .now = loop_now_ms() };
	uint64_t allowed;
	int rc;

	/* Of a guest that was never let through there is nothing to look for
	 * in the kernel's whole table.
	 */
	if (count_set(net, NETPOL_ALLOWED, s->slot.tap, &allowed, NULL) == 0 &&
	    allowed == 0)
		return 0;
	rc = conntrack_each(net->nft, s->slot.mark, judge_flow, &j, err);
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
		learned_retire(&net->learned[slot->number], NULL);
	if (commit_slot(net, s, err) < 0) {
		slot_free(s);
		return err_wrap(err, "update slot %u", slot->number);
	}
	replace(net, s);
	tell_resolver(net, s);
	net_splice_recheck(net, slot->number);
	if (cut_refused(net, s, err) < 0)
		return err_wrap(err, "update slot %u", slot->number);
	return 0;
}

/* The first error is told, and the rest is done all the same. */
int net_detach(struct net *net, const struct slot *slot, struct error *err)
{
	struct error local, *e = err ? err : &local;
	const struct net_slot *s;
	struct netpol_objects have;
	struct nft_batch b;
	int rc;

	if (check_number(net, slot->number, err) < 0)
		return -1;
	s = net->slots[slot->number];
	have = net->have[slot->number];
	resolver_link_remove(net->resolver, slot->number);
	net_splice_cut(net, slot->number);
	nft_batch_init(&b, NFPROTO_INET);
	netpol_slot_close(&b, &net->node, slot, s ? &s->plan.limits : NULL,
			  &have);
	net_write_ranges(net, &b, slot->number, NULL);
	net_write_learned(net, &b, slot->number, NULL, true);
	rc = nft_commit(net->nft, &b, e);
	nft_batch_fini(&b);
	if (rc == 0) {
		net->have[slot->number] = have;
		net_shape_use(net, slot->number, NULL);
		net_ranges_lost(net, slot->number);
		learned_fini(&net->learned[slot->number]);
		denials_clear(net->denials, slot->number);
		if (net->slots[slot->number])
			net->n_attached--;
		slot_free(net->slots[slot->number]);
		net->slots[slot->number] = NULL;
	}
	/* Mute already; the rest may take its time. */
	net_taps_give(net->taps, slot->number);
	return rc < 0 ? err_wrap(err, "detach slot %u", slot->number) : 0;
}

/* ---- counters ----------------------------------------------------------- */

int net_traffic(struct net *net, const struct slot *slot,
		struct net_counters *ret, struct error *err)
{
	struct net_counters c = { 0 };
	struct link_counters l;

	if (slot->number >= net->config.slots ||
	    !net->have[slot->number].bound) {
		*ret = c;
		return 0;
	}
	if (link_counters(net->links, slot->tap, &l, err) < 0 ||
	    count_set(net, NETPOL_ALLOWED, slot->tap, &c.allowed, err) < 0 ||
	    count_set(net, NETPOL_DENIED, slot->tap, &c.denied, err) < 0)
		return -1;
	c.denied += net->misnamed[slot->number];
	/* What the host receives the guest has sent. */
	c.rx_bytes = l.tx_bytes;
	c.rx_packets = l.tx_packets;
	c.tx_bytes = l.rx_bytes;
	c.tx_packets = l.rx_packets;
	*ret = c;
	return 0;
}

int net_counters(struct net *net, const struct slot *slot,
		 struct net_counters *ret, struct error *err)
{
	struct net_counters c;

	if (net_traffic(net, slot, &c, err) < 0 ||
	    net_flows_count(net, slot, &c.flows, err) < 0)
		return -1;
	*ret = c;
	return 0;
}

/* ---- open, close, sweep ------------------------------------------------- */

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

static void set_times(struct net_times *t)
{
	if (!t->learn_min_ms)
		t->learn_min_ms = 60000;
	if (!t->learn_max_ms)
		t->learn_max_ms = 3600000;
	if (!t->learn_grace_ms)
		t->learn_grace_ms = 300000;
	if (!t->renew_ms)
		t->renew_ms = 60000;
	if (!t->check_ms)
		t->check_ms = 5000;
	if (!t->mend_ms)
		t->mend_ms = 1000;
}

static int open_taps(struct net *net, struct error *err)
{
	struct link_spec like = { .mtu = NET_MTU,
				  .gateway = net->node.gateway };

	memcpy(like.peer_mac, net->node.guest_mac, sizeof(like.peer_mac));
	parse_mac(NET_GATEWAY_MAC, like.mac);
	return net_taps_open(net->loop, net->config.slots, &like, slot_of, net,
			     &net->taps, err);
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
		.loop = loop,
		.config = *config,
		.denied = denied,
		.arg = arg,
		.claim = -1,
	};
	set_times(&net->config.times);
	net->denials = denials_new();
	net->have = xcalloc(config->slots, sizeof(*net->have));
	net->ranges = xcalloc(config->slots, sizeof(*net->ranges));
	net_shapes_open(net);
	net->learned = xcalloc(config->slots, sizeof(*net->learned));
	net->slots = xcalloc(config->slots, sizeof(struct net_slot *));
	set_node(net);
	net->claim = net_socket_claim(err);
	if (net->claim < 0 || links_open(&net->links, err) < 0 ||
	    nft_open(&net->nft, err) < 0 || open_uplink(net, err) < 0 ||
	    open_taps(net, err) < 0 || net_filter_open(net, err) < 0 ||
	    net_flows_open(net, err) < 0 || net_names_open(net, err) < 0 ||
	    net_splice_open(net, err) < 0) {
		net_close(net, true);
		return err_wrap(err, "set up the network");
	}
	if (net_start_checking(net, err) < 0) {
		net_close(net, true);
		return err_wrap(err, "set up the network");
	}
	*ret = net;
	return 0;
}

static void remove_all(struct net *net)
{
	struct nft_batch b;
	struct error err;

	for (uint32_t i = 0; i < net->config.slots; i++) {
		if (net->slots[i])
			net_taps_give(net->taps, i);
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
	net_watch_close(net->watch);
	sd_event_source_disable_unref(net->mend);
	sd_event_source_disable_unref(net->check);
	net_flows_close(net);
	resolver_link_free(net->resolver);
	net_splice_close(net, keep);
	if (!keep)
		remove_all(net);
	net_taps_close(net->taps);
	for (uint32_t i = 0; i < net->config.slots; i++) {
		slot_free(net->slots[i]);
		learned_fini(&net->learned[i]);
		net_ranges_lost(net, i);
	}
	net_shapes_close(net);
	free(net->ranges);
	if (net->gather)
		nft_batch_fini(net->gather);
	free(net->gather);
	denials_free(net->denials);
	fd_close(&net->claim);
	free(net->slots);
	free(net->learned);
	free(net->have);
	nft_close(net->nft);
	links_close(net->links);
	free(net);
	return NULL;
}
