/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.h - one guest's question, from its bytes to its answer's
 *
 * Where a question came from and how its answer goes back is the caller's
 * (UDP, TCP); what is answered is decided here.
 */
#ifndef RESOLVER_LOOKUP_H
#define RESOLVER_LOOKUP_H

#include "resolver/guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dns_address;
struct loop;
struct lookups;
struct upstreams;

#define LOOKUP_REPLY_TTL_MAX_S 60   /* what guests may cache */
#define LOOKUP_LEARN_MS	       2000 /* the engine has so long to commit */
#define LOOKUP_RULES_MAX       16   /* rules that may cover one name */

struct address_range {
	uint32_t network, mask;
};

/* Names of our own, answered without asking. */
struct static_host {
	char name[256];
	uint32_t address;
};

/**
 * struct lookup_ops - What the owner does for the lookups
 * @learn:	Tell the engine; it answers with lookups_learned(@id)
 * @denied:	A name was refused, by @rule ("default" or "deny")
 */
struct lookup_ops {
	void (*learn)(uint64_t id, const struct guest *guest,
		      const uint16_t *rules, size_t n_rules,
		      const struct dns_address *addresses, size_t n_addresses,
		      const char *name, void *arg);
	void (*denied)(struct guest *guest, const char *name, const char *rule,
		       void *arg);
};

/* The answer's bytes; @len 0: none is to be sent. Called exactly once, perhaps
 * from within lookups_ask().
 */
typedef void (*lookup_reply_fn)(const uint8_t *msg, size_t len, void *arg);

struct lookups *lookups_new(struct loop *loop, struct guests *guests,
			    struct upstreams *up, const struct lookup_ops *ops,
			    void *arg);
/* Pending ones are answered with nothing. */
struct lookups *lookups_free(struct lookups *lookups);

/* Take over both arrays (heap). */
void lookups_configure(struct lookups *lookups, struct static_host *hosts,
		       size_t n_hosts, struct address_range *private_allowed,
		       size_t n_private);

void lookups_ask(struct lookups *lookups, struct guest *guest,
		 const uint8_t *msg, size_t len, bool tcp,
		 lookup_reply_fn reply, void *arg);

/* The engine's answer to learn. Unknown ids are passed over. */
void lookups_learned(struct lookups *lookups, uint64_t id, bool committed);

#endif /* RESOLVER_LOOKUP_H */
