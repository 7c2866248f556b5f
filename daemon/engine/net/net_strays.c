/* SPDX-License-Identifier: Apache-2.0 */
/* net_strays.c - what of ours is in the kernel against what its owners say
 *
 * For fsck, of a node that runs and of one that does not. What a node that runs
 * has made ahead is its own, though no guest has it yet. Learned addresses are
 * not looked at: they expire by themselves; nor are chains, which are no slot's
 * and let nothing through without elements: the next start takes them away.
 *
 * A node that does not run is looked at from a process without a struct net,
 * which holds the node's claim meanwhile: two nodes in one namespace name the
 * same things theirs.
 */
#include "engine/net/net_priv.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/net/link.h"
#include "engine/net/net_sockets.h"
#include "engine/net/net_taps.h"
#include "engine/net/nft.h"
#include "engine/net/nft_batch.h"
#include "engine/net/tap.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIST_TRIES 5

struct found {
	bool tap;
	uint32_t elems;
};

/* With the sockets of the node, or of its own. */
struct scan {
	struct net *net;
	struct nft *nft;
	struct links *links;
	int claim;
	struct found found[SLOT_MAX];
	/* While elements are listed. */
	const struct netpol_keyed *set;
	struct nft_batch *del; /* those of @number go into it */
	uint32_t number;
};

static struct scan *scan_free(struct scan *s)
{
	if (!s->net) {
		nft_close(s->nft);
		links_close(s->links);
	}
	if (s->claim >= 0)
		close(s->claim);
	free(s);
	return NULL;
}

static struct scan *scan_new(struct net *net, struct error *err)
{
	struct scan *s = xcalloc(1, sizeof(*s));

	s->net = net;
	s->claim = -1;
	if (net) {
		s->nft = net->nft;
		s->links = net->links;
		return s;
	}
	s->claim = net_socket_claim(err);
	if (s->claim < 0 || nft_open(&s->nft, err) < 0 ||
	    links_open(&s->links, err) < 0)
		return scan_free(s);
	return s;
}

/* ---- what there is ---- */

static void on_tap(const char *name, void *arg)
{
	struct scan *s = arg;
	uint32_t number;

	if (tap_number(name, SLOT_MAX - 1, &number))
		s->found[number].tap = true;
}

static void on_elem(const struct nft_got_elem *e, void *arg)
{
	struct scan *s = arg;
	struct nft_elem del = { .key = e->key, .key_len = e->key_len };
	char tap[IFNAMSIZ];
	uint32_t number;

	if (!net_key_tap(s->set, e, tap) ||
	    !tap_number(tap, SLOT_MAX - 1, &number))
		return;
	s->found[number].elems++;
	if (!s->del || number != s->number)
		return;
	s->del->family = s->set->family;
	nft_elems_del(s->del, s->set->set, &del, 1);
}

static int each_elem(struct scan *s, struct error *err)
{
	for (s->set = netpol_keyed_sets; s->set->set; s->set++) {
		if (s->set->expires)
			continue;
		if (nft_each_elem(s->nft, s->set->family, s->set->set, on_elem,
				  s, err) < 0 &&
		    err->code != ERR_NOT_FOUND)
			return -1;
	}
	return 0;
}

static int list_once(struct scan *s, struct error *err)
{
	memset(s->found, 0, sizeof(s->found));
	if (s->del) {
		nft_batch_fini(s->del);
		nft_batch_init(s->del, NFPROTO_INET);
	}
	if (each_elem(s, err) < 0)
		return -1;
	return links_each(s->links, on_tap, s, err);
}

static int list(struct scan *s, struct error *err)
{
	for (int tries = 0;; tries++) {
		if (list_once(s, err) == 0)
			return 0;
		if (err->code != ERR_UNAVAILABLE || tries == LIST_TRIES)
			return -1;
	}
}

/* ---- whose it is ---- */

static bool has_rules(const struct net *net, uint32_t number)
{
	const struct netpol_objects *have = &net->have[number];

	return have->bound || have->names || net->ranges[number].n;
}

/* The node's own, made ahead or on its way out. */
static bool is_ahead(const struct net *net, uint32_t number, bool tap)
{
	if (!net || number >= net->config.slots || net->slots[number])
		return false;
	return tap ? net_taps_has(net->taps, number) : has_rules(net, number);
}

static void tell_rules(const struct found *f, uint32_t number, net_stray_fn fn,
		       void *arg)
{
	struct net_stray stray = { .number = number };

	if (!f->elems)
		return;
	snprintf(stray.text, sizeof(stray.text),
		 "%u elements of the packet filter", f->elems);
	fn(&stray, arg);
}

int net_strays(struct net *net, net_owned_fn owned, void *owned_arg,
	       net_stray_fn fn, void *arg, struct error *err)
{
	struct scan *s = scan_new(net, err);

	if (!s || list(s, err) < 0) {
		if (s)
			scan_free(s);
		return -1;
	}
	for (uint32_t i = 0; i < SLOT_MAX; i++) {
		if (owned(i, owned_arg))
			continue;
		if (!is_ahead(net, i, false))
			tell_rules(&s->found[i], i, fn, arg);
		/* One on its way out may have gone since it was listed. */
		if (s->found[i].tap && !is_ahead(net, i, true) &&
		    net_tap_is_there(i))
			fn(&(struct net_stray){ .tap = true, .number = i },
			   arg);
	}
	scan_free(s);
	return 0;
}

bool net_tap_is_there(uint32_t number)
{
	char name[IFNAMSIZ];

	tap_name(name, number);
	return if_nametoindex(name) > 0;
}

/* ---- taking it away ---- */

static int remove_rules(struct scan *s, uint32_t number, struct error *err)
{
	struct nft_batch b;
	int rc;

	nft_batch_init(&b, NFPROTO_INET);
	s->del = &b;
	s->number = number;
	rc = list(s, err);
	if (rc == 0)
		rc = nft_commit(s->nft, &b, err);
	nft_batch_fini(&b);
	return rc;
}

/* Whether a QEMU has it open: then there is a carrier. Not by /sys, which may be
 * another namespace's.
 */
static bool is_in_use(const char *tap)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", tap);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return errno != ENODEV;
	return ifr.ifr_flags & IFF_RUNNING;
}

static int remove_tap(struct scan *s, uint32_t number, struct error *err)
{
	char name[IFNAMSIZ];

	tap_name(name, number);
	if (is_in_use(name))
		return err_set(err, ERR_CONFLICT, "somebody has it open");
	return link_delete(s->links, name, err);
}

int net_stray_remove(struct net *net, bool tap, uint32_t number,
		     struct error *err)
{
	struct slot slot;
	struct scan *s;
	int rc;

	if (net && number < net->config.slots && net->slots[number]) {
		net_slot(net, number, net->config.tap_uid_base, 0, &slot);
		return net_detach(net, &slot, err);
	}
	s = scan_new(net, err);
	if (!s)
		return -1;
	rc = tap ? remove_tap(s, number, err) : remove_rules(s, number, err);
	scan_free(s);
	return rc;
}
