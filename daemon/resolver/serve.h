/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - the sockets that guests ask
 *
 * One UDP and one listening TCP socket for all taps; who asks is told by the
 * arrival interface and the source address together.
 */
#ifndef RESOLVER_SERVE_H
#define RESOLVER_SERVE_H

struct error;
struct guests;
struct lookups;
struct loop;
struct serve;

#define SERVE_CONNECTIONS_MAX 1024 /* of all guests */
#define SERVE_TCP_IDLE_MS     5000

/* Consumes both sockets; both have IP_PKTINFO set. */
int serve_new(struct loop *loop, struct guests *guests, struct lookups *lookups,
	      int udp_fd, int tcp_fd, struct serve **ret, struct error *err);
/* Free the lookups first: their replies come here. */
struct serve *serve_free(struct serve *serve);

#endif /* RESOLVER_SERVE_H */
