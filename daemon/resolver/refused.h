/* SPDX-License-Identifier: Apache-2.0 */
/* refused.h - what the packet filter refused, read from its log group
 *
 * The packets' headers are the guest's bytes: that is why they are read here
 * and not in the engine. The netlink socket comes bound to its group.
 */
#ifndef RESOLVER_REFUSED_H
#define RESOLVER_REFUSED_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct refused;

#define REFUSED_RULE_MAX 127 /* of a log prefix, NF_LOG_PREFIXLEN - 1 */

/**
 * struct refused_packet - One of them
 * @ifindex:	Where it came in
 * @address:	Where it wanted to, host order
 * @protocol:	IP's number
 * @port:	Destination, if TCP or UDP
 * @rule:	The log prefix, printable
 */
struct refused_packet {
	uint32_t ifindex;
	uint32_t address;
	uint8_t protocol;
	uint16_t port;
	char rule[REFUSED_RULE_MAX + 1];
};

typedef void (*refused_fn)(const struct refused_packet *packet, void *arg);

/* One netlink message (pure): 0, or -EBADMSG for what is not such a packet. */
int refused_parse(const uint8_t *msg, size_t len, struct refused_packet *ret);

/* Consumes @fd. */
int refused_new(struct loop *loop, int fd, refused_fn fn, void *arg,
		struct refused **ret, struct error *err);
struct refused *refused_free(struct refused *refused);

#endif /* RESOLVER_REFUSED_H */
