/* SPDX-License-Identifier: Apache-2.0 */
/* fake_net.c - net.h over an array of flags */
#include "fakes.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net {
	struct net_config config;
	bool live[SLOT_MAX]; /* attached since open */
};

int net_rule_parse(const char *target, struct net_rule *ret, struct error *err)
{
	char text[32];
	struct in_addr in;
	uint64_t bits = 32;
	char *slash;

	*ret = (struct net_rule){ 0 };
	if (str_copy(ret->target, sizeof(ret->target), target) < 0)
		return err_set(err, ERR_INVALID, "is too long");
	if (str_copy(text, sizeof(text), target) == 0) {
		if ((slash = strchr(text, '/'))) {
			*slash = '\0';
			if (str_parse_u64(slash + 1, 32, &bits) < 0)
				return err_set(err, ERR_INVALID, "bad bits");
		}
		if (inet_pton(AF_INET, text, &in) == 1) {
			ret->network = ntohl(in.s_addr);
			ret->mask = bits ? ~0u << (32 - bits) : 0;
			return 0;
		}
	}
	ret->is_name = ret->verify_names = true;
	ret->wildcard = !strncmp(target, "*.", 2);
	if (!str_is_name(target + (ret->wildcard ? 2 : 0), 253, "a-z0-9.-"))
		return err_set(err, ERR_INVALID, "'%s' is neither name nor net",
			       target);
	return 0;
}

void net_policy_copy(struct net_policy *dst, const struct net_policy *src)
{
	*dst = *src;
	dst->allow = src->n_allow ? xmemdup(src->allow,
					    src->n_allow * sizeof(*src->allow))
				  : NULL;
	dst->deny = src->n_deny ? xmemdup(src->deny,
					  src->n_deny * sizeof(*src->deny))
				: NULL;
}

void net_policy_fini(struct net_policy *policy)
{
	free(policy->allow);
	free(policy->deny);
	*policy = (struct net_policy){ 0 };
}

int net_open(const struct net_config *config, struct loop *loop,
	     net_denied_fn denied, void *arg, struct net **ret,
	     struct error *err)
{
	(void)loop;
	(void)denied;
	(void)arg;
	(void)err;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->config = *config;
	return 0;
}

struct net *net_close(struct net *net, bool keep)
{
	(void)keep;
	free(net);
	return NULL;
}

void net_slot(const struct net *net, uint32_t number, uint32_t uid_base,
	      uint32_t cid_base, struct slot *ret)
{
	*ret = (struct slot){ .number = number,
			      .uid = uid_base + number,
			      .cid = cid_base ? cid_base + number : 0,
			      .address = net->config.pool + 2 + number,
			      .mark = number + 1 };
	snprintf(ret->tap, sizeof(ret->tap), "sbx%u", number);
}

int net_check_policy(const struct net *net, const struct net_policy *policy,
		     struct error *err)
{
	for (size_t i = 0; i < policy->n_allow; i++)
		if (!strncmp(policy->allow[i].target, "10.", 3) &&
		    net->config.n_private_allowed == 0)
			return err_field(err, "egress.allow[0].target",
					 "is private");
	return 0;
}

int net_attach(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err)
{
	(void)generation;
	(void)policy;
	(void)limits;
	if (world_call("net_attach", err))
		return -1;
	world.attached_slots[slot->number] = true;
	net->live[slot->number] = true;
	return 0;
}

int net_update(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err)
{
	(void)net;
	(void)slot;
	(void)generation;
	(void)policy;
	(void)limits;
	return world_call("net_update", err) ? -1 : 0;
}

int net_detach(struct net *net, const struct slot *slot, struct error *err)
{
	(void)err;
	world.attached_slots[slot->number] = false;
	net->live[slot->number] = false;
	return 0;
}

void net_gather(struct net *net)
{
	(void)net;
}

int net_sweep(struct net *net, struct error *err)
{
	(void)err;
	for (size_t i = 0; i < SLOT_MAX; i++)
		if (!net->live[i])
			world.attached_slots[i] = false;
	return 0;
}

int net_counters(struct net *net, const struct slot *slot,
		 struct net_counters *ret, struct error *err)
{
	(void)net;
	(void)slot;
	(void)err;
	*ret = (struct net_counters){ .rx_bytes = world.net_bytes };
	if (world.net_all)
		*ret = (struct net_counters){ .rx_bytes = 1,
					      .tx_bytes = 2,
					      .rx_packets = 3,
					      .tx_packets = 4,
					      .allowed = 5,
					      .denied = 6,
					      .flows = 7 };
	return 0;
}

int net_traffic(struct net *net, const struct slot *slot,
		struct net_counters *ret, struct error *err)
{
	return net_counters(net, slot, ret, err);
}

size_t net_denials(struct net *net, const struct slot *slot,
		   struct net_denial ret[NET_DENIALS_MAX])
{
	(void)net;
	(void)slot;
	ret[0] = (struct net_denial){ .time_ms = 1000,
				      .target = "blocked.example",
				      .port = 443,
				      .protocol = "tcp",
				      .rule = "default",
				      .count = 2 };
	return 1;
}

int net_strays(struct net *net, net_owned_fn owned, void *owned_arg,
	       net_stray_fn fn, void *arg, struct error *err)
{
	(void)net;
	if (world.net_is_anothers)
		return err_set(err, ERR_CONFLICT, "another sandboxd runs here");
	for (uint32_t i = 0; i < SLOT_MAX; i++) {
		struct net_stray stray = { .number = i };

		if (!world.attached_slots[i] || owned(i, owned_arg))
			continue;
		strcpy(stray.text, "2 chains");
		fn(&stray, arg);
		stray.tap = true;
		fn(&stray, arg);
	}
	return 0;
}

int net_stray_remove(struct net *net, bool tap, uint32_t number,
		     struct error *err)
{
	(void)net;
	if (tap && world.tap_in_use)
		return err_set(err, ERR_CONFLICT, "somebody has it open");
	if (tap)
		world.attached_slots[number] = false;
	return 0;
}

bool net_tap_is_there(uint32_t number)
{
	return world.attached_slots[number];
}

size_t fake_net_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SLOT_MAX; i++)
		n += world.attached_slots[i];
	return n;
}
