/* SPDX-License-Identifier: Apache-2.0 */
/* resolver_link.h - the engine's end of the socket to its resolver
 *
 * Keeps sandboxd-resolver running and remembers what it must know, so that one
 * that was started anew is told again. What it reports is checked for size and
 * range here; whether a guest may learn an address is for the owner to decide.
 * Main thread only.
 */
#ifndef ENGINE_RESOLVER_LINK_H
#define ENGINE_RESOLVER_LINK_H

#include "engine/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct loop;
struct resolver_link;

#define RESOLVER_ADDRESSES_MAX 64
#define RESOLVER_RULES_MAX     16

/**
 * struct resolver_learn - What a guest is about to be told
 * @rules:	Indices into its policy's allow list, in range of what was set
 */
struct resolver_learn {
	uint32_t slot;
	uint64_t generation;
	const char *name;
	size_t n_rules, n_addresses;
	uint16_t rules[RESOLVER_RULES_MAX];
	struct {
		uint32_t address; /* host order */
		uint32_t ttl_s;
	} addresses[RESOLVER_ADDRESSES_MAX];
};

/**
 * struct resolver_link_ops - What the owner decides
 * @learn:	Check and commit; true: the guest may be answered
 * @denied:	A name (@protocol 0) or packet of @slot was refused.  @target and
 *		@rule are printable and bounded
 */
struct resolver_link_ops {
	bool (*learn)(const struct resolver_learn *learn, void *arg);
	void (*denied)(uint32_t slot, const char *target, uint16_t port,
		       uint8_t protocol, const char *rule, void *arg);
};

/**
 * resolver_link_new() - Start a resolver
 * @config:	Its upstreams, hosts, allowed private ranges, program and uid
 * @sockets:	UDP, listening TCP, and the log group's netlink socket or -1;
 *		consumed, kept for the next resolver
 */
int resolver_link_new(struct loop *loop, const struct net_config *config,
		      const int sockets[3], const struct resolver_link_ops *ops,
		      void *arg, struct resolver_link **ret, struct error *err);

/* For tests: over @fd, as helper_new_fd(). */
int resolver_link_new_fd(struct loop *loop, int fd,
			 const struct net_config *config, const int sockets[3],
			 const struct resolver_link_ops *ops, void *arg,
			 struct resolver_link **ret, struct error *err);
struct resolver_link *resolver_link_free(struct resolver_link *link);

/* Who asks from @ifindex and the slot's address, and what he may ask. */
void resolver_link_set(struct resolver_link *link, const struct slot *slot,
		       uint64_t generation, uint32_t ifindex,
		       const struct net_policy *policy);
void resolver_link_remove(struct resolver_link *link, uint32_t slot);

pid_t resolver_link_pid(const struct resolver_link *link);

#endif /* ENGINE_RESOLVER_LINK_H */
