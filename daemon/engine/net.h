/* SPDX-License-Identifier: Apache-2.0 */
/* net.h - the network of all guests: taps, addresses, rules, names
 *
 * One struct net a node. Its calls are quick netlink transactions (FACTS: tens
 * of microseconds to a millisecond) and run on the main thread, except where
 * said. Knows slots and policies, not sandboxes.
 */
#ifndef ENGINE_NET_H
#define ENGINE_NET_H

#include "engine/slot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct net;

#define NET_RULES_MAX	   256 /* in each of allow, deny */
#define NET_RULE_PORTS_MAX 16
#define NET_TARGET_MAX	   255
#define NET_DENIALS_MAX	   100

enum net_protocol { NET_TCP = 0, NET_UDP, NET_ANY };

struct net_ports {
	uint16_t first, last;
};

/* A checked rule: what egress_rule_parse() made of an EgressRule. */
struct net_rule {
	char target[NET_TARGET_MAX + 1]; /* lower case; as asked if a CIDR */
	bool is_name;
	bool wildcard;		/* "*." was cut off */
	uint32_t network, mask; /* host order, if not a name */
	enum net_protocol protocol;
	bool verify_names; /* TCP to 80 and 443 must say a name of it */
	size_t n_ports;	   /* 0: all */
	struct net_ports ports[NET_RULE_PORTS_MAX];
};

struct net_policy {
	bool default_allow;
	size_t n_allow, n_deny;
	struct net_rule *allow, *deny;
};

struct net_limits {
	uint32_t connections_max, bandwidth_mbps, packets_per_second;
};

/* In milliseconds; 0: the default. Tests make them short. */
struct net_times {
	/* A learned address stays open as long as its answer may be kept, at
	 * least and at most so long (60 s, 1 h), and so long more (5 min), for
	 * a client that comes back.
	 */
	uint32_t learn_min_ms, learn_max_ms, learn_grace_ms;
	/* How often addresses that have flows are kept open (60 s), and the
	 * rules are looked after (5 s); and how long to wait between making
	 * them anew because another program changes them (1 s).
	 */
	uint32_t renew_ms, check_ms, mend_ms;
};

struct net_config {
	const char *uplink;	  /* interface; NULL: by the default route */
	uint32_t pool, pool_mask; /* guests' addresses, host order */
	uint32_t tap_uid_base;
	uint32_t slots;
	/* "10.0.0.0/8"...: private ranges that rules may name. */
	const struct net_rule *private_allowed;
	size_t n_private_allowed;
	struct net_limits limits;
	/* Upstream DNS, "192.0.2.1" or "192.0.2.1:5353"; and static hosts,
	 * "name=address".
	 */
	char **dns_upstreams;
	size_t n_dns_upstreams;
	char **dns_hosts;
	size_t n_dns_hosts;
	const char *resolver_path; /* sandboxd-resolver's binary */
	uint32_t resolver_uid, resolver_gid;
	const char *splice_path; /* sandboxd-splice's */
	uint32_t splice_uid, splice_gid;
	/* Let encrypted Client Hellos pass, with the outer name. */
	bool allow_ech;
	const char *state_dir;
	struct net_times times;
};

struct net_counters {
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets; /* guest's view */
	uint64_t allowed, denied;
	uint32_t flows; /* of the last second */
};

struct net_denial {
	int64_t time_ms;
	char target[NET_TARGET_MAX + 1];
	char address[16]; /* of a name that was refused on the wire, or "" */
	uint16_t port;
	char protocol[8];
	char rule[NET_TARGET_MAX + 32];
	uint32_t count;
};

/* Called on the main thread, rate-limited, when a guest is refused. */
typedef void (*net_denied_fn)(uint32_t slot, const struct net_denial *denial,
			      void *arg);

/* Parse and check one rule's text: "example.com", "*.x.org", "10.0.0.0/8". */
int net_rule_parse(const char *target, struct net_rule *ret, struct error *err);
/* Owned copies. */
void net_policy_copy(struct net_policy *dst, const struct net_policy *src);
void net_policy_fini(struct net_policy *policy);

/* Makes the table's base rules; keeps the elements of live slots (after a
 * restart: those that net_attach() is called for before net_sweep()).
 */
int net_open(const struct net_config *config, struct loop *loop,
	     net_denied_fn denied, void *arg, struct net **ret,
	     struct error *err);
/* @keep: leave taps and rules as they are, for guests that live on. */
struct net *net_close(struct net *net, bool keep);

/**
 * net_check_policy() - Whether each allow rule can open anything here
 *
 * Return: 0, or -1 with ERR_INVALID and the field of a rule that names only
 * addresses which this node opens to nobody. A policy that was accepted once is
 * not asked about again: net_attach() takes any.
 */
int net_check_policy(const struct net *net, const struct net_policy *policy,
		     struct error *err);

/* Fill in a slot's names and numbers (pure). */
void net_slot(const struct net *net, uint32_t number, uint32_t uid_base,
	      uint32_t cid_base, struct slot *ret);

/**
 * net_attach() - Give a slot its tap, address, route, rules and names
 *
 * One nftables transaction. Without a policy (NULL) nothing passes: a template
 * or a waiting clone. May be repeated: replaces what was there, atomically.
 * @generation: of the sandbox; what the resolver learns for an older one is
 * refused.
 */
int net_attach(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err);

/* Replace the policy of a live slot and cut the flows it no longer allows. */
int net_update(struct net *net, const struct slot *slot, uint64_t generation,
	       const struct net_policy *policy, const struct net_limits *limits,
	       struct error *err);

/* Take all of it away; what is absent is fine. Nothing passes when this returns;
 * tap and flows go a little later, before the slot is attached again.
 */
int net_detach(struct net *net, const struct slot *slot, struct error *err);

/* Until net_sweep(), let net_attach() share transactions with others: for a
 * restart with many guests, whose old rules hold until then.
 */
void net_gather(struct net *net);

/* After a restart: remove taps, rules of slots not attached since open. */
int net_sweep(struct net *net, struct error *err);

int net_counters(struct net *net, const struct slot *slot,
		 struct net_counters *ret, struct error *err);
/* The same without flows, which cost a walk through all of the host's. */
int net_traffic(struct net *net, const struct slot *slot,
		struct net_counters *ret, struct error *err);
size_t net_denials(struct net *net, const struct slot *slot,
		   struct net_denial ret[NET_DENIALS_MAX]);

/* ---- what is in the kernel against what its owners say ---- */

/**
 * struct net_stray - What of ours is there for a slot that nobody has
 * @tap:	Its tap; else its chains, sets and elements, which @text tells
 */
struct net_stray {
	bool tap;
	uint32_t number;
	char text[96];
};

typedef bool (*net_owned_fn)(uint32_t number, void *arg);
typedef void (*net_stray_fn)(const struct net_stray *stray, void *arg);

/* Look at all there is. @net NULL: of a node that does not run; ERR_CONFLICT when
 * another does, here. Not to change anything from @fn.
 */
int net_strays(struct net *net, net_owned_fn owned, void *owned_arg,
	       net_stray_fn fn, void *arg, struct error *err);
/* Take it away. ERR_CONFLICT: somebody has that tap open. */
int net_stray_remove(struct net *net, bool tap, uint32_t number,
		     struct error *err);
bool net_tap_is_there(uint32_t number);

/* The guest's view, for Configure. */
#define NET_GATEWAY	"169.254.1.1"
#define NET_GATEWAY_MAC "02:53:42:00:00:01" /* set on every tap */
#define NET_MTU		1500

#endif /* ENGINE_NET_H */
