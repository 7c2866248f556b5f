/* SPDX-License-Identifier: Apache-2.0 */
/* splice_link.h - the engine's end of the socket to its splice
 *
 * Keeps sandboxd-splice running. What it reports is checked for size and range
 * here; whether a guest may go on is for the owner to decide. Main thread only.
 */
#ifndef ENGINE_SPLICE_LINK_H
#define ENGINE_SPLICE_LINK_H

#include "engine/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct splice_link;

/* A guest's connection: whose, and where it goes. @name: printable; "": none
 * was found in it.
 */
struct splice_flow {
	uint64_t id;
	uint32_t slot, ifindex;
	uint32_t address; /* host order */
	uint16_t port;
	const char *name;
};

/**
 * struct splice_link_ops - What the owner decides
 * @ask:	May it go on?  Return a socket that is being connected there,
 *		which is given away; or -1
 * @denied:	The splice refused it by itself; @why is a printable word
 * @closed:	One that was allowed has ended
 * @down:	So have all: the splice is gone
 */
struct splice_link_ops {
	int (*ask)(const struct splice_flow *flow, void *arg);
	void (*denied)(const struct splice_flow *flow, const char *why,
		       void *arg);
	void (*closed)(uint32_t slot, uint64_t id, void *arg);
	void (*down)(void *arg);
};

/**
 * splice_link_new() - Start a splice
 * @config:	Its program and uid; the guests' pool
 * @listener:	Where connections are redirected to; consumed, kept for the next
 *		splice
 */
int splice_link_new(struct loop *loop, const struct net_config *config,
		    int listener, const struct splice_link_ops *ops, void *arg,
		    struct splice_link **ret, struct error *err);

/* For tests: over @fd, as helper_new_fd(). */
int splice_link_new_fd(struct loop *loop, int fd,
		       const struct net_config *config, int listener,
		       const struct splice_link_ops *ops, void *arg,
		       struct splice_link **ret, struct error *err);

/* @keep: what it has open goes on without us. */
struct splice_link *splice_link_free(struct splice_link *link, bool keep);

/* End these at once. */
void splice_link_cut(struct splice_link *link, const uint64_t *ids, size_t n);

#endif /* ENGINE_SPLICE_LINK_H */
