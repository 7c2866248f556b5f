/* SPDX-License-Identifier: Apache-2.0 */
/* net_watch.h - hears at once when another program changes our table
 *
 * `nft flush ruleset`, at the top of many configurations, takes our rules with
 * all others, and guests could then speak to the host until the next check. The
 * kernel tells of every change who made it and to which table.
 */
#ifndef ENGINE_NET_WATCH_H
#define ENGINE_NET_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct net_watch;

/* @certain: our table was changed; else some changes were not heard of. Main
 * thread.
 */
typedef void (*net_watch_fn)(bool certain, void *arg);

/* @own: netlink port of who may. */
int net_watch_open(struct loop *loop, uint32_t own, net_watch_fn fn, void *arg,
		   struct net_watch **ret, struct error *err);
struct net_watch *net_watch_close(struct net_watch *watch);

/* Whether any message of a datagram is of another's change (pure). */
bool net_watch_foreign(const uint8_t *data, size_t len, uint32_t own);

#endif /* ENGINE_NET_WATCH_H */
