/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - at start: what the last daemon left, finished or undone
 *
 * Theory of operation
 * ===================
 *
 * The rows are read, the network of guests that may run is kept, what was done
 * for nobody goes; then each sandbox by its state:
 *
 *	CREATING	undone: it never was (recover_undo.c)
 *	RUNNING		found out (recover_guest.c)
 *	PAUSING		the same
 *	PAUSED		nothing
 *	RESUMING	undone: PAUSED
 *	TERMINATING	goes on ending
 *
 * and each clone that waited (recover_clone.c). When all are decided, what no row
 * knows is swept away.
 */
#include "engine/recover.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/account.h"
#include "engine/damaged.h"
#include "engine/ended.h"
#include "engine/engine.h"
#include "engine/expose.h"
#include "engine/pool.h"
#include "engine/recover_clone.h"
#include "engine/recover_guest.h"
#include "engine/recover_net.h"
#include "engine/recover_undo.h"
#include "engine/saves.h"
#include "engine/sandbox_ops.h"
#include "engine/sweep.h"
#include "engine/templates.h"

#include <stdlib.h>

/* ---- reading ---- */

static void take_sandbox(const struct sandbox_row *row, void *arg)
{
	struct engine *e = arg;
	struct sandbox *sb;

	if (row->state == SBX_TERMINATED) {
		ended_add(&e->sandboxes, e->sandboxes.next_order++, row);
		pb_free(row->spec);
		return;
	}
	sb = sandbox_add(e, row);
	if (e->rebooted) /* that clock began anew */
		sb->row.run_boot_ms = 0;
	if (sb->row.slot >= 0) {
		net_slot(e->net, (uint32_t)sb->row.slot, e->config->uid_base,
			 e->hv->info.vsock ? e->config->cid_base : 0,
			 &sb->slot);
		if (!slots_take_this(&e->slots, sb->row.slot))
			log_warn("sandbox '%s': slot %lld is another's, or "
				 "beyond [network] range",
				 sb->row.id, (long long)sb->row.slot);
	}
	account_adopt(sb);
}

static void take_snapshot(const struct snapshot_row *row, void *arg)
{
	snapshot_add(arg, row);
}

static void take_template(const struct template_row *row, void *arg)
{
	template_restore(arg, row);
}

static void take_port(const struct port_row *row, void *arg)
{
	expose_restore(arg, row);
}

/* The pool's rows are few; kept while the hypervisor is asked. */
struct clones {
	struct engine *engine;
	struct pool_row *rows;
	size_t n;
};

static void take_clone(const struct pool_row *row, void *arg)
{
	struct clones *c = arg;

	c->rows = xrealloc(c->rows, c->n + 1, sizeof(*c->rows));
	c->rows[c->n++] = *row;
}

/* ---- one at a time ---- */

void recover_decided(struct engine *e)
{
	if (--e->recovering > 0)
		return;
	if (!e->swept)
		log_info("recovery is through: %zu sandboxes",
			 e->sandboxes.n + e->sandboxes.n_ended);
	if (e->hv_up)
		sweep_unknown(e);
	pool_refill(e);
}

static void begin_one(struct engine *e, struct sandbox *sb)
{
	switch (sb->row.state) {
	case SBX_CREATING:
		recover_undo_create(e, sb);
		break;
	case SBX_RESUMING:
		recover_undo_resume(e, sb);
		break;
	case SBX_RUNNING:
	case SBX_PAUSING:
		recover_guest_begin(sb);
		break;
	case SBX_TERMINATING:
		sandbox_end(sb, "REQUESTED", NULL);
		break;
	default:
		sandbox_arm(sb);
		break;
	}
}

int recover_begin(struct engine *e, struct error *err)
{
	struct clones clones = { .engine = e };
	struct error why;

	if (store_sandboxes(e->store, take_sandbox, e, err) < 0 ||
	    store_snapshots(e->store, take_snapshot, e, err) < 0 ||
	    store_templates(e->store, take_template, e, err) < 0 ||
	    store_ports(e->store, take_port, e, err) < 0 ||
	    store_pool(e->store, take_clone, &clones, err) < 0 ||
	    damaged_tell(e, err) < 0) {
		free(clones.rows);
		return -1;
	}
	if (e->damaged)
		damaged_mend(e);
	net_gather(e->net);
	recover_net_keep(e);
	for (size_t i = 0; i < clones.n; i++)
		recover_net_keep_clone(e, &clones.rows[i]);
	if (net_sweep(e->net, &why) < 0)
		log_err("network of guests that are gone: %s", why.msg);
	recover_undo_forks(e);
	recover_undo_snapshots(e);
	templates_drop_orphans(e);
	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		begin_one(e, sb);
	for (size_t i = 0; i < clones.n; i++)
		recover_clone_begin(e, &clones.rows[i]);
	free(clones.rows);
	return 0;
}

void recover_free(struct engine *e)
{
	recover_clones_free(e);
}
