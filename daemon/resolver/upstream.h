/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.h - ask the configured DNS servers for a name's addresses */
#ifndef RESOLVER_UPSTREAM_H
#define RESOLVER_UPSTREAM_H

#include "resolver/dns_wire.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct upstreams;

#define UPSTREAMS_MAX	     8
#define UPSTREAM_TRY_MS	     1500 /* then the next server */
#define UPSTREAM_TRIES_MAX   4
#define UPSTREAM_ASKED_MAX   1024 /* at once, of the whole node */
#define UPSTREAM_CACHE_MAX   4096 /* names */
#define UPSTREAM_CACHE_TTL_S 300

/* @answer NULL: nobody answered. Borrowed. Never called from within ask. */
typedef void (*upstream_fn)(const struct dns_answer *answer, void *arg);

struct upstreams *upstreams_new(struct loop *loop);
struct upstreams *upstreams_free(struct upstreams *up);

/* Replaces the servers; questions under way go on. */
void upstreams_set(struct upstreams *up, const struct sockaddr_in *servers,
		   size_t n);

/**
 * upstreams_ask() - Look up the A records of a name
 * @name:	Lower case, without the final dot, plain
 *
 * Answers may come from the cache, which all guests share: it holds what the
 * servers said, not who may know it. The answer is forgotten when the asker
 * calls upstreams_forget(@arg).
 */
void upstreams_ask(struct upstreams *up, const char *name, upstream_fn fn,
		   void *arg);
void upstreams_forget(struct upstreams *up, void *arg);

#endif /* RESOLVER_UPSTREAM_H */
