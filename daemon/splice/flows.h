/* SPDX-License-Identifier: Apache-2.0 */
/* flows.h - guests' connections that are bound to a name
 *
 * Each is accepted, looked at until its name is known, asked for, and then
 * passed on both ways until it ends. Who decides is behind flows_ops.
 */
#ifndef SPLICE_FLOWS_H
#define SPLICE_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct flows;
struct loop;

#define FLOWS_MAX	    16384u /* of all guests */
#define FLOWS_GUEST_MAX	    512u   /* of one */
#define FLOWS_NAMELESS_MAX  128u   /* of these, whose name is not known yet */
#define FLOWS_ASKS_PER_S    100u   /* of one guest; more wait */
#define FLOWS_ASKS_BURST    256u
#define FLOWS_REPORTS_PER_S 20u
#define FLOWS_SLOTS_MAX	    8192u
#define FLOWS_PEEK_MS	    5000  /* for a head to be whole */
#define FLOWS_CONNECT_MS    30000 /* for the other side to answer */
#define FLOWS_LINGER_MS	    1000  /* for a refusal to be read */

/* Whom a flow is from, and where it was going. */
struct flow_info {
	uint64_t id;
	uint32_t slot, ifindex;
	uint32_t address; /* host order */
	uint16_t port;
};

/**
 * struct flows_ops - What the owner does
 * @ask:	May this go on, meant for @name?  Answer with flows_answer()
 * @denied:	It was refused; @name may be ""
 * @closed:	One that was allowed has ended
 * @idle:	The last one has ended, after flows_stop()
 */
struct flows_ops {
	void (*ask)(const struct flow_info *info, const char *name, void *arg);
	void (*denied)(const struct flow_info *info, const char *name,
		       const char *why, void *arg);
	void (*closed)(const struct flow_info *info, void *arg);
	void (*idle)(void *arg);
};

struct flows_config {
	uint32_t first_address, slots;
	bool allow_ech;
};

/* Consumes @listener. */
int flows_new(struct loop *loop, int listener,
	      const struct flows_config *config, const struct flows_ops *ops,
	      void *arg, struct flows **ret, struct error *err);
struct flows *flows_free(struct flows *flows);

/* @up: a socket that is being connected, consumed; or -1: refused. False: there
 * is no such flow any more.
 */
bool flows_answer(struct flows *flows, uint64_t id, int up);

/* End one at once, if there is such a one. */
void flows_cut(struct flows *flows, uint64_t id);

/* Nobody is there to decide: take no more, and end those not decided. */
void flows_stop(struct flows *flows);

size_t flows_count(const struct flows *flows);

#endif /* SPLICE_FLOWS_H */
