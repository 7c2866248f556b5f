/* SPDX-License-Identifier: Apache-2.0 */
/* net_sockets.h - the sockets of a node's network, most of which are handed on */
#ifndef ENGINE_NET_SOCKETS_H
#define ENGINE_NET_SOCKETS_H

#include <stdint.h>

struct error;

/* Held open, it keeps a second node out of this network namespace: both would
 * name the same taps and tables theirs. ERR_CONFLICT when there is one already.
 */
int net_socket_claim(struct error *err);

/* Where guests ask: @gateway (host order), port 53, SOCK_DGRAM or SOCK_STREAM
 * (listening). The address need not be there yet. A descriptor, or -1.
 */
int net_socket_dns(int type, uint32_t gateway, struct error *err);

/* Where guests' connections are redirected to, listening. */
int net_socket_splice(uint32_t gateway, uint16_t port, struct error *err);

/* Bound to the log group of refused packets: their first bytes come in. */
int net_socket_log(uint16_t group, struct error *err);

#endif /* ENGINE_NET_SOCKETS_H */
