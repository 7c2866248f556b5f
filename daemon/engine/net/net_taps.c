/* SPDX-License-Identifier: Apache-2.0 */
/* net_taps.c - taps made ahead, and taken away behind
 *
 * Theory of operation
 * ===================
 *
 * A tap is used once. Whoever has it open (QEMU, which may have been taken
 * over) can change its owner, filters and addresses for good, so a new guest
 * gets a new one, though the name comes back when its number does.
 *
 * Each number has a state. "Making" and "going" belong to the worker thread,
 * everything else to the main thread: so only those two are ever waited for.
 *
 *   none -> making -> ready -> taken -> going -> none
 *   none ----------------------^          \---> stuck (retried when it is taken)
 *
 * One that is being made may be told to go (its number was a guest's that a
 * start undoes): then it is made or not, but it goes.
 *
 * Numbers are given out in turn (slots.h), so the ones behind the last that was
 * taken are made ready. If that guess is wrong a tap is made when it is asked
 * for, which is only slower.
 *
 * Several taps that go at once go as a group: the kernel waits once for all.
 * The group's number is nobody else's; only taps of ours are ever put in it.
 *
 * A tap without rules is mute (netpol_base.c), ready or going.
 */
#include "engine/net/net_taps.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/net/conntrack.h"
#include "engine/net/nft.h"
#include "engine/net/tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum state {
	TAP_NONE = 0,
	TAP_MAKING,
	TAP_READY,
	TAP_TAKEN,
	TAP_GOING,
	TAP_STUCK,
};

struct tap {
	enum state state;
	uint32_t ifindex; /* while ready */
};

struct net_taps {
	struct job_pool *jobs;
	struct links *links; /* the main thread's */
	net_taps_slot_fn slot;
	const void *arg;
	uint32_t slots, next;
	bool begun;
	struct link_spec like;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	uint32_t *going; /* not yet begun with */
	uint32_t n_going;
	struct tap taps[]; /* by number */
};

/* ---- any thread --------------------------------------------------------- */

static void set_state(struct net_taps *t, uint32_t number, enum state state,
		      uint32_t ifindex)
{
	pthread_mutex_lock(&t->lock);
	if (number < t->slots)
		t->taps[number] = (struct tap){ state, ifindex };
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static int make(struct links *links, const struct link_spec *like,
		const struct slot *slot, uint32_t *ret_ifindex,
		struct error *err)
{
	struct link_spec spec = *like;
	int r;

	memcpy(spec.name, slot->tap, sizeof(spec.name));
	spec.peer = slot->address;
	if (tap_create(slot->tap, slot->uid, err) < 0)
		return -1;
	r = tap_sysctl(AF_INET, slot->tap, "forwarding", "1");
	if (r < 0) {
		err_sys(err, -r, "forward from '%s'", slot->tap);
	} else {
		/* Its address is the same on every tap, and answers on others'
		 * behalf are nobody's wish.
		 */
		tap_sysctl(AF_INET, slot->tap, "arp_ignore", "1");
		tap_sysctl(AF_INET, slot->tap, "send_redirects", "0");
		tap_sysctl(AF_INET, slot->tap, "accept_redirects", "0");
		if (link_set_up(links, &spec, ret_ifindex, err) == 0)
			return 0;
	}
	link_delete(links, slot->tap, NULL);
	return -1;
}

static const struct job_ops going_job;

/* Locked. The job takes all that is there when it begins. */
static void go(struct net_taps *t, uint32_t number)
{
	if (number < t->slots)
		t->taps[number].state = TAP_GOING;
	if (t->n_going == 0)
		job_start(t->jobs, &going_job, t);
	t->going = xrealloc(t->going, t->n_going + 1, sizeof(*t->going));
	t->going[t->n_going++] = number;
}

/* ---- the worker: making ------------------------------------------------- */

struct making {
	struct net_taps *taps;
	uint32_t n;
	struct slot slots[NET_TAPS_AHEAD];
};

static bool is_wanted(struct net_taps *t, uint32_t number)
{
	bool wanted;

	pthread_mutex_lock(&t->lock);
	wanted = t->taps[number].state == TAP_MAKING;
	pthread_mutex_unlock(&t->lock);
	return wanted;
}

/* One that is to go since then, goes: whose number it is now waits for that. */
static void made(struct net_taps *t, uint32_t number, bool ready,
		 uint32_t ifindex)
{
	pthread_mutex_lock(&t->lock);
	if (t->taps[number].state == TAP_MAKING)
		t->taps[number] = (struct tap){ ready ? TAP_READY : TAP_NONE,
						ifindex };
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static int making_run(void *arg, struct error *err)
{
	struct making *m = arg;
	struct links *links = NULL;
	uint32_t ifindex = 0;
	int rc = links_open(&links, err);

	for (uint32_t i = 0; i < m->n; i++) {
		if (!is_wanted(m->taps, m->slots[i].number))
			continue;
		if (rc == 0)
			rc = make(links, &m->taps->like, &m->slots[i], &ifindex,
				  err);
		made(m->taps, m->slots[i].number, rc == 0, ifindex);
	}
	links_close(links);
	return rc;
}

static void making_done(void *arg, int rc, const struct error *err)
{
	struct making *m = arg;

	/* They are made when they are asked for, or that says why not. */
	if (rc < 0 && err->code != ERR_UNAVAILABLE)
		log_warn("make taps ahead: %s", err->msg);
	free(m);
}

static const struct job_ops making_job = { "make taps", making_run,
					   making_done };

/* The next ones are ready or made; ready ones further on go. */
static void choose(struct net_taps *t, struct making *m)
{
	uint32_t ready = 0;

	for (uint32_t i = 0; i < t->slots; i++) {
		uint32_t number = (t->next + i) % t->slots;
		struct tap *tap = &t->taps[number];

		if (tap->state != TAP_NONE && tap->state != TAP_READY &&
		    tap->state != TAP_MAKING)
			continue;
		if (ready == NET_TAPS_AHEAD) {
			if (tap->state == TAP_READY)
				go(t, number);
			continue;
		}
		ready++;
		if (tap->state != TAP_NONE)
			continue;
		tap->state = TAP_MAKING;
		t->slot(number, &m->slots[m->n++], t->arg);
	}
}

static void make_ahead(struct net_taps *t)
{
	struct making *m;

	if (!t->begun)
		return;
	m = xcalloc(1, sizeof(*m));
	m->taps = t;
	pthread_mutex_lock(&t->lock);
	choose(t, m);
	pthread_mutex_unlock(&t->lock);
	if (!m->n) {
		free(m);
		return;
	}
	job_start(t->jobs, &making_job, m);
}

/* ---- the worker: taking away -------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

struct flows {
	const uint32_t *numbers;
	struct flow *list;
	size_t n, room;
	uint32_t n_numbers;
};

static void note_flow(const struct flow *flow, void *arg)
{
	struct flows *f = arg;
	uint32_t number = flow->mark - SLOT_MARK_BASE;

	if (!bsearch(&number, f->numbers, f->n_numbers, sizeof(number),
		     by_number))
		return;
	if (f->n == f->room) {
		f->room = f->room ? f->room * 2 : 64;
		f->list = xrealloc(f->list, f->room, sizeof(*f->list));
	}
	f->list[f->n++] = *flow;
}

/* The kernel looks at its whole table for each question: ask once. */
static int cut_flows(const uint32_t *numbers, uint32_t n, struct error *err)
{
	struct flows f = { .numbers = numbers, .n_numbers = n };
	struct nft *nft;
	int rc;

	if (nft_open(&nft, err) < 0)
		return -1;
	if (n == 1) {
		rc = conntrack_cut_all(nft, SLOT_MARK_BASE + numbers[0], err);
	} else {
		rc = conntrack_each(nft, 0, note_flow, &f, err);
		for (size_t i = 0; rc == 0 && i < f.n; i++)
			rc = conntrack_cut(nft, &f.list[i], err);
		free(f.list);
	}
	nft_close(nft);
	return rc;
}

static int delete_taps(const uint32_t *numbers, uint32_t n, struct error *err)
{
	char(*names)[IFNAMSIZ] = xcalloc(n, sizeof(*names));
	struct links *links;
	int rc;

	for (uint32_t i = 0; i < n; i++)
		tap_name(names[i], numbers[i]);
	rc = links_open(&links, err);
	if (rc == 0 && n == 1)
		rc = link_delete(links, names[0], err);
	else if (rc == 0)
		rc = links_delete_all(links, names, n, err);
	if (rc == 0)
		links_close(links);
	free(names);
	return rc;
}

static int going_run(void *arg, struct error *err)
{
	struct net_taps *t = arg;
	uint32_t *numbers, n;
	struct error other;
	int rc;

	pthread_mutex_lock(&t->lock);
	numbers = t->going;
	n = t->n_going;
	t->going = NULL;
	t->n_going = 0;
	pthread_mutex_unlock(&t->lock);
	qsort(numbers, n, sizeof(*numbers), by_number);
	/* The taps go in any case. */
	rc = cut_flows(numbers, n, err);
	if (delete_taps(numbers, n, rc == 0 ? err : &other) < 0)
		rc = -1;
	for (uint32_t i = 0; i < n; i++)
		set_state(t, numbers[i], rc == 0 ? TAP_NONE : TAP_STUCK, 0);
	free(numbers);
	return rc;
}

static void going_done(void *arg, int rc, const struct error *err)
{
	struct net_taps *t = arg;

	/* When the daemon stops, close_all() does it. */
	if (rc < 0 && err->code != ERR_UNAVAILABLE)
		log_err("take away taps: %s", err->msg);
	make_ahead(t);
}

static const struct job_ops going_job = { "take away taps", going_run,
					  going_done };

/* ---- main thread -------------------------------------------------------- */

int net_taps_open(struct loop *loop, uint32_t slots,
		  const struct link_spec *like, net_taps_slot_fn slot,
		  const void *arg, struct net_taps **ret, struct error *err)
{
	struct net_taps *t =
		xcalloc(1, sizeof(*t) + slots * sizeof(t->taps[0]));

	t->slots = slots;
	t->like = *like;
	t->slot = slot;
	t->arg = arg;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	if (links_open(&t->links, err) < 0 ||
	    job_pool_new(loop, 1, &t->jobs, err) < 0) {
		net_taps_close(t);
		return -1;
	}
	*ret = t;
	return 0;
}

/* Those that stand ready, and those whose turn did not come. */
static void close_all(struct net_taps *t)
{
	uint32_t *numbers = xcalloc(t->slots, sizeof(*numbers)), n = 0;
	struct error err;

	for (uint32_t i = 0; i < t->slots; i++) {
		if (t->taps[i].state == TAP_READY ||
		    t->taps[i].state == TAP_GOING)
			numbers[n++] = i;
	}
	if (n && (cut_flows(numbers, n, &err) < 0 ||
		  delete_taps(numbers, n, &err) < 0))
		log_warn("take away taps: %s: the next start does", err.msg);
	free(numbers);
}

struct net_taps *net_taps_close(struct net_taps *t)
{
	if (!t)
		return NULL;
	t->begun = false;
	if (t->jobs) {
		job_pool_free(t->jobs);
		close_all(t);
	}
	links_close(t->links);
	free(t->going);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

/* What state it is in once the worker is done with it. */
static struct tap wait_for(struct net_taps *t, uint32_t number)
{
	struct tap *tap = &t->taps[number], ret;

	pthread_mutex_lock(&t->lock);
	while (tap->state == TAP_MAKING || tap->state == TAP_GOING)
		pthread_cond_wait(&t->changed, &t->lock);
	ret = *tap;
	pthread_mutex_unlock(&t->lock);
	return ret;
}

int net_taps_take(struct net_taps *t, const struct slot *slot,
		  uint32_t *ret_ifindex, struct error *err)
{
	struct tap tap = wait_for(t, slot->number);
	uint32_t number = slot->number;

	if (tap.state == TAP_STUCK) {
		if (cut_flows(&number, 1, err) < 0 ||
		    link_delete(t->links, slot->tap, err) < 0)
			return -1;
		tap.state = TAP_NONE;
	}
	/* Somebody may have deleted it: then it is made again. */
	if (tap.state == TAP_READY && if_nametoindex(slot->tap) == tap.ifindex)
		*ret_ifindex = tap.ifindex;
	else if (make(t->links, &t->like, slot, ret_ifindex, err) < 0) {
		if (tap.state != TAP_TAKEN)
			set_state(t, number, TAP_NONE, 0);
		return -1;
	}
	set_state(t, number, TAP_TAKEN, 0);
	if (tap.state != TAP_TAKEN) {
		t->next = (number + 1) % t->slots;
		make_ahead(t);
	}
	return 0;
}

void net_taps_give(struct net_taps *t, uint32_t number)
{
	pthread_mutex_lock(&t->lock);
	if (number >= t->slots || t->taps[number].state != TAP_GOING)
		go(t, number);
	pthread_mutex_unlock(&t->lock);
}

bool net_taps_has(struct net_taps *t, uint32_t number)
{
	bool has;

	pthread_mutex_lock(&t->lock);
	has = number < t->slots && t->taps[number].state != TAP_NONE;
	pthread_mutex_unlock(&t->lock);
	return has;
}

void net_taps_begin(struct net_taps *t)
{
	t->begun = true;
	make_ahead(t);
}

void net_taps_settle(struct net_taps *t)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->slots; i++) {
		while (t->taps[i].state == TAP_MAKING ||
		       t->taps[i].state == TAP_GOING)
			pthread_cond_wait(&t->changed, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}
