/* SPDX-License-Identifier: Apache-2.0 */
/* net_splice.c - connections bound to names: the engine's part in it
 *
 * Theory of operation
 * ===================
 *
 * The splice reads what guests send and says: this guest wants to go on to this
 * address, and means this name. Here is decided whether that name is allowed to
 * this very slot, and brought this very address; then the socket is made here
 * and handed over, on its way to that address and marked as the slot's. So a
 * splice that was taken over gets where its guests may go, and nowhere else.
 *
 * What was granted is kept until it has ended. When the policy changes each is
 * judged again, by its name. The packet filter judges them too, by their
 * address (netpol_splice.c), whatever the splice does.
 */
#include "engine/net/net_priv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/net/grant.h"
#include "engine/net/net_sockets.h"
#include "engine/net/splice_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RULE "verify_names:"

/* Why not, or NULL. */
static const char *judge(struct net *net, const struct net_slot *s,
			 const char *name, uint32_t address, uint16_t port)
{
	enum hard_kind kind =
		hard_kind_of(net->hard, net->node.n_hard, address);
	uint32_t groups;

	if (kind != HARD_NONE && kind != HARD_PERMITTED)
		return "address";
	if (!s->has_policy ||
	    plan_side_holds(&s->plan.deny, address, IPPROTO_TCP, port))
		return "address";
	if (!learned_by_name(&net->learned[s->slot.number], name, address,
			     loop_now_ms()))
		return "not-learned";
	groups = net_groups_of_name(s, name);
	for (unsigned int g = 0; g < s->plan.n_groups; g++) {
		if (groups & 1u << g &&
		    plan_group_holds(&s->plan.groups[g], IPPROTO_TCP, port))
			return NULL;
	}
	return "not-learned";
}

/* The slot that a report is about, if it is still the one it came from. */
static struct net_slot *slot_of(struct net *net, const struct splice_flow *f)
{
	struct net_slot *s =
		f->slot < net->config.slots ? net->slots[f->slot] : NULL;

	return s && s->ifindex == f->ifindex ? s : NULL;
}

/* Counted and listed as what the packet filter refuses. */
static void note(struct net *net, const struct splice_flow *f, const char *why)
{
	struct in_addr in = { htonl(f->address) };
	char address[INET_ADDRSTRLEN], rule[64];

	net->misnamed[f->slot]++;
	inet_ntop(AF_INET, &in, address, sizeof(address));
	snprintf(rule, sizeof(rule), RULE "%s", why);
	net_note_denial(net, f->slot, f->name[0] ? f->name : address, address,
			f->port, IPPROTO_TCP, rule);
}

static int connect_out(const struct net_slot *s, uint32_t address,
		       uint16_t port, struct error *err)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(address) };
	_cleanup_close_ int fd =
		socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &s->slot.mark,
				 sizeof(s->slot.mark)) < 0)
		return err_sys(err, errno, "open a socket for a guest");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
	    errno != EINPROGRESS)
		return err_sys(err, errno, "connect for a guest");
	return TAKE_FD(fd);
}

static int on_ask(const struct splice_flow *f, void *arg)
{
	struct net *net = arg;
	struct net_slot *s = slot_of(net, f);
	struct error err;
	const char *why;
	int fd;

	if (!s)
		return -1;
	why = judge(net, s, f->name, f->address, f->port);
	if (!why && !grants_add(net->grants, f->slot, f->id, f->address,
				f->port, f->name))
		why = "limit";
	if (why) {
		note(net, f, why);
		return -1;
	}
	fd = connect_out(s, f->address, f->port, &err);
	if (fd < 0) {
		grants_remove(net->grants, f->slot, f->id);
		log_debug("slot %u: %s", f->slot, err.msg);
	}
	return fd;
}

static void on_denied(const struct splice_flow *f, const char *why, void *arg)
{
	if (slot_of(arg, f))
		note(arg, f, why);
}

static void on_closed(uint32_t slot, uint64_t id, void *arg)
{
	struct net *net = arg;

	grants_remove(net->grants, slot, id);
}

static void on_down(void *arg)
{
	struct net *net = arg;

	grants_clear(net->grants);
}

static const struct splice_link_ops splice_ops = {
	.ask = on_ask, .denied = on_denied, .closed = on_closed, .down = on_down
};

struct recheck {
	struct net *net;
	const struct net_slot *s;
};

static bool still_granted(const struct grant *g, void *arg)
{
	const struct recheck *r = arg;

	return !judge(r->net, r->s, g->name, g->address, g->port);
}

static void end(struct net *net, uint32_t slot, const struct net_slot *s)
{
	struct recheck r = { net, s };
	uint64_t ids[GRANTS_MAX];
	size_t n = grants_filter(net->grants, slot, s ? still_granted : NULL,
				 &r, ids);

	splice_link_cut(net->splice, ids, n);
}

void net_splice_recheck(struct net *net, uint32_t slot)
{
	end(net, slot, net->slots[slot]);
}

void net_splice_cut(struct net *net, uint32_t slot)
{
	end(net, slot, NULL);
	net->misnamed[slot] = 0;
}

int net_splice_open(struct net *net, struct error *err)
{
	int listener =
		net_socket_splice(net->node.gateway, NETPOL_SPLICE_PORT, err);

	if (listener < 0)
		return -1;
	net->grants = grants_new();
	net->misnamed = xcalloc(net->config.slots, sizeof(*net->misnamed));
	return splice_link_new(net->loop, &net->config, listener, &splice_ops,
			       net, &net->splice, err);
}

void net_splice_close(struct net *net, bool keep)
{
	net->splice = splice_link_free(net->splice, keep);
	net->grants = grants_free(net->grants);
	free(net->misnamed);
}
