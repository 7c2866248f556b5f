/* SPDX-License-Identifier: Apache-2.0 */
/* recover_net.c - at start: the network of guests that may still run */
#include "engine/recover_net.h"

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/guest.h"

#include <stdlib.h>

static bool has_guest(const struct sandbox *sb)
{
	return sb->row.slot >= 0 && (sb->row.state == SBX_RUNNING ||
				     sb->row.state == SBX_PAUSING);
}

static void keep(struct engine *e, struct sandbox *sb)
{
	struct guest_plan *plan = xcalloc(1, sizeof(*plan));
	struct error err;

	if (guest_plan_of(plan, sb, &err) < 0 ||
	    net_attach(e->net, &sb->slot, sb->row.generation, &plan->policy,
		       &plan->limits, &err) < 0)
		log_err("sandbox '%s': its network: %s", sb->row.id, err.msg);
	guest_plan_fini(plan);
	free(plan);
}

void recover_net_keep_clone(struct engine *e, const struct pool_row *row)
{
	struct slot slot;
	struct error err;

	if (row->slot < 0 || !slots_take_this(&e->slots, row->slot))
		return;
	net_slot(e->net, (uint32_t)row->slot, e->config->uid_base,
		 e->hv->info.vsock ? e->config->cid_base : 0, &slot);
	if (net_attach(e->net, &slot, 1, NULL, NULL, &err) < 0)
		log_warn("clone '%s': its network: %s", row->uuid, err.msg);
}

void recover_net_keep(struct engine *e)
{
	list_for_each (&e->sandboxes.all, sb, struct sandbox, link)
		if (has_guest(sb) && !e->rebooted)
			keep(e, sb);
}
