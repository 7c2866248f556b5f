/* SPDX-License-Identifier: Apache-2.0 */
/* flows.c - all connections of guests that are bound to a name
 *
 * Ids carry a serial number beside the place in the table: an answer for a flow
 * that has ended finds nothing.
 */
#include "splice/flows.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "splice/flow.h"
#include "splice/half.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ORIGINAL_DST   80  /* linux/netfilter_ipv4.h */
#define ACCEPTS	       32  /* at once */
#define ACCEPT_REST_MS 100 /* when descriptors ran out */

/* ---- accepting ---------------------------------------------------------- */

/* The interface that it came in by; 0: not known. */
static uint32_t arrival(int fd)
{
	uint8_t buf[256] __attribute__((aligned(8)));
	socklen_t len = sizeof(buf);
	struct msghdr mh = { .msg_control = buf };

	if (getsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, buf, &len) < 0)
		return 0;
	mh.msg_controllen = len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c;
	     c = CMSG_NXTHDR(&mh, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		return (uint32_t)info.ipi_ifindex;
	}
	return 0;
}

/* Whose it is, and where it was going. */
static bool identify(const struct flows *all, int fd,
		     const struct sockaddr_in *from, struct flow_info *ret)
{
	struct sockaddr_in to;
	socklen_t len = sizeof(to);

	if (from->sin_family != AF_INET)
		return false;
	ret->slot = ntohl(from->sin_addr.s_addr) - all->config.first_address;
	if (ret->slot >= all->config.slots ||
	    getsockopt(fd, IPPROTO_IP, ORIGINAL_DST, &to, &len) < 0)
		return false;
	ret->ifindex = arrival(fd);
	ret->address = ntohl(to.sin_addr.s_addr);
	ret->port = ntohs(to.sin_port);
	return ret->ifindex != 0;
}

/* Over a limit: the guest is told at once. */
static void turn_away(struct flows *all, int fd, const struct flow_info *info)
{
	flow_report(all, info, "", "limit");
	flow_reset(fd);
}

static void on_rested(void *arg)
{
	struct flows *all = arg;

	sd_event_source_set_enabled(all->accept, SD_EVENT_ON);
}

static int on_accept(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct flows *all = arg;

	(void)s;
	(void)revents;
	for (int i = 0; i < ACCEPTS; i++) {
		struct flow_info info = { 0 };
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		_cleanup_close_ int peer =
			accept4(fd, (struct sockaddr *)&from, &len,
				SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (peer < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (peer < 0) {
			if (errno != EAGAIN) {
				sd_event_source_set_enabled(all->accept,
							    SD_EVENT_OFF);
				loop_timer(all->loop, &all->rest,
					   loop_now_ms() + ACCEPT_REST_MS,
					   on_rested, all);
			}
			return 0;
		}
		if (!identify(all, peer, &from, &info))
			continue;
		if (all->n_free == 0 ||
		    all->loads[info.slot].flows >= FLOWS_GUEST_MAX ||
		    all->loads[info.slot].nameless >= FLOWS_NAMELESS_MAX)
			turn_away(all, TAKE_FD(peer), &info);
		else
			flow_new(all, TAKE_FD(peer), &info);
	}
	return 0;
}

/* ---- all of them -------------------------------------------------------- */

int flows_new(struct loop *loop, int listener,
	      const struct flows_config *config, const struct flows_ops *ops,
	      void *arg, struct flows **ret, struct error *err)
{
	struct flows *all = xcalloc(1, sizeof(*all));
	int r;

	*all = (struct flows){ .loop = loop,
			       .config = *config,
			       .ops = ops,
			       .arg = arg,
			       .listener = listener };
	if (all->config.slots > FLOWS_SLOTS_MAX)
		all->config.slots = FLOWS_SLOTS_MAX;
	all->pipes = pipes_new();
	all->loads = xcalloc(all->config.slots + 1, sizeof(*all->loads));
	for (uint32_t i = FLOWS_MAX; i > 0; i--)
		all->free[all->n_free++] = i - 1;
	r = sd_event_add_io(loop_event(loop), &all->accept, listener, EPOLLIN,
			    on_accept, all);
	if (r < 0) {
		flows_free(all);
		return err_sys(err, -r, "watch for guests' connections");
	}
	*ret = all;
	return 0;
}

static struct flow *find(struct flows *all, uint64_t id)
{
	struct flow *f = all->table[id % FLOWS_MAX];

	return f && flow_id(f) == id ? f : NULL;
}

bool flows_answer(struct flows *flows, uint64_t id, int up)
{
	struct flow *f = find(flows, id);

	if (f)
		return flow_answer(f, up);
	fd_close(&up);
	return false;
}

void flows_cut(struct flows *flows, uint64_t id)
{
	struct flow *f = find(flows, id);

	if (f)
		flow_free(f, true);
}

static void no_more(struct flows *all)
{
	all->accept = sd_event_source_disable_unref(all->accept);
	all->rest = sd_event_source_disable_unref(all->rest);
	fd_close(&all->listener);
}

void flows_stop(struct flows *flows)
{
	no_more(flows);
	for (uint32_t i = 0; i < FLOWS_MAX; i++) {
		struct flow *f = flows->table[i];

		if (f && flow_is_undecided(f))
			flow_free(f, true);
	}
	flows->stopped = true;
	if (flows->n == 0)
		flows->ops->idle(flows->arg);
}

size_t flows_count(const struct flows *flows)
{
	return flows->n;
}

struct flows *flows_free(struct flows *flows)
{
	if (!flows)
		return NULL;
	no_more(flows);
	flows->stopped = false;
	for (uint32_t i = 0; i < FLOWS_MAX; i++) {
		if (flows->table[i])
			flow_free(flows->table[i], true);
	}
	pipes_free(flows->pipes);
	free(flows->loads);
	free(flows);
	return NULL;
}
