/* SPDX-License-Identifier: Apache-2.0 */
/* account.c - what each sandbox holds of the node's quota */
#include "engine/account.h"

#include "base/error.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "engine/pool.h"
#include "engine/quota.h"

#include <string.h>

static struct quota_share share_of(const Spec *spec)
{
	return (struct quota_share){
		.cpu = spec->resources->cpu,
		.memory_mib = spec->resources->memory_mib,
		.disk_mib = spec->resources->disk_mib,
	};
}

/* What waits in the pool makes room for what is wanted now. */
static bool made_room(struct engine *e, const struct error *err)
{
	return !strcmp(err_reason_of(err), "RESOURCE_EXHAUSTED") &&
	       pool_shrink(e);
}

int account_admit(struct engine *e, const Spec *spec, struct error *err)
{
	struct quota_share share = share_of(spec);
	struct error why;

	if (e->draining) {
		err_set(err, ERR_UNAVAILABLE, "the node is draining");
		return err_reason(err, "UNAVAILABLE", NULL);
	}
	if (pressure_check(e, err) < 0 ||
	    quota_check_disk(e->quota, e->config->state_dir, err) < 0 ||
	    quota_rate(e->quota, loop_now_ms(), err) < 0)
		return -1;
	while (quota_admit(e->quota, spec->tenant, &share, &why) < 0) {
		if (made_room(e, &why))
			continue;
		*err = why;
		return -1;
	}
	return 0;
}

void account_forget(struct engine *e, const Spec *spec)
{
	struct quota_share share = share_of(spec);

	quota_release(e->quota, spec->tenant, &share, true);
}

void account_begin(struct sandbox *sb)
{
	sb->counted = sb->counted_running = true;
}

int account_resume(struct sandbox *sb, struct error *err)
{
	struct quota_share share = share_of(sb->row.spec);
	struct engine *e = sb->engine;
	struct error why;

	if (sb->counted_running)
		return 0;
	if (pressure_check(e, err) < 0)
		return -1;
	while (quota_resume(e->quota, sb->row.spec->tenant, &share, &why) < 0) {
		if (made_room(e, &why))
			continue;
		*err = why;
		return -1;
	}
	sb->counted_running = true;
	return 0;
}

void account_adopt(struct sandbox *sb)
{
	struct quota_share share = share_of(sb->row.spec);

	if (sb->row.state == SBX_TERMINATED)
		return;
	sb->counted = true;
	sb->counted_running = sandbox_holds_guest(sb);
	quota_adopt(sb->engine->quota, sb->row.spec->tenant, &share,
		    sb->counted_running);
}

void account_drop(struct sandbox *sb)
{
	struct quota_share share = share_of(sb->row.spec);

	if (sb->counted)
		quota_release(sb->engine->quota, sb->row.spec->tenant, &share,
			      sb->counted_running);
	sb->counted = sb->counted_running = false;
}

void account_settle(struct sandbox *sb)
{
	struct quota_share share = share_of(sb->row.spec);
	struct quota *q = sb->engine->quota;

	if (!sb->counted)
		return;
	if (sb->row.state == SBX_TERMINATED) {
		account_drop(sb);
	} else if (sb->counted_running && !sandbox_holds_guest(sb)) {
		quota_pause(q, sb->row.spec->tenant, &share);
		sb->counted_running = false;
	}
}
