/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - clones that wait, started, for a sandbox to be
 *
 * A clone's row is written when it stands ready and removed in the transaction
 * that gives it to a sandbox: a guest is in one table or the other, or in none
 * and then swept at the next start.
 */
#include "engine/pool.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/quota.h"
#include "engine/task.h"
#include "engine/templates.h"

#include <stdio.h>
#include <string.h>

#define REFILL_QUIET_MS	   300 /* for the first command of who took one */
#define REFILL_LOOK_MS	   50
#define REFILL_WAIT_MAX_MS 2000
#define BUILD_WAIT_MAX_MS  30000 /* a guest boots for it */
#define FAILED_WAIT_MS	   10000

struct clone {
	struct list link;
	struct pool_row row;
	struct quota_share share;
	bool taken, held; /* by a sandbox; the share, of the quota */
};

static struct clone *find(struct engine *e, const char *uuid)
{
	list_for_each(&e->clones, c, struct clone, link)
		if (!strcmp(c->row.uuid, uuid))
			return c;
	return NULL;
}

static void let_share(struct engine *e, struct clone *c)
{
	if (c->held)
		quota_release(e->quota, NULL, &c->share, true);
	c->held = false;
}

static void drop(struct engine *e, struct clone *c)
{
	let_share(e, c);
	list_del(&c->link);
	free(c);
}

bool pool_take(struct engine *e, const char *template_id,
	       struct guest_plan *plan)
{
	list_for_each(&e->clones, c, struct clone, link) {
		if (c->taken || strcmp(c->row.template_id, template_id) != 0)
			continue;
		c->taken = true;
		store_pool_remove(e->store, c->row.uuid);
		guest_plan_fill(e, plan, c->row.uuid, c->row.slot);
		return true;
	}
	return false;
}

void pool_taken(struct engine *e, const char *uuid)
{
	struct clone *c = find(e, uuid);

	if (c)
		drop(e, c);
	e->pool_taken_ms = loop_now_ms();
	pool_refill(e);
}

void pool_untake(struct engine *e, const char *uuid)
{
	struct clone *c = find(e, uuid);

	if (c)
		c->taken = false;
}

uint32_t pool_ready(struct engine *e, const char *template_id)
{
	uint32_t n = 0;

	list_for_each(&e->clones, c, struct clone, link)
		n += !template_id || !strcmp(c->row.template_id, template_id);
	return n;
}

/* ---- refill ---- */

static void fill_reserve(struct task *t)
{
	struct engine *e = t->engine;
	struct template *tpl = template_find(e, t->guest.template_id);
	const struct image *image =
		tpl ? image_by_digest(e->images, tpl->row.image_digest) : NULL;
	struct clone *c = t->data;
	struct error err;

	if (!image) {
		err_set(&err, ERR_NOT_FOUND, "its template or image is gone");
		task_fail(t, &err);
		return;
	}
	if (quota_admit(e->quota, NULL, &c->share, &err) < 0) {
		task_fail(t, &err);
		return;
	}
	c->held = true;
	if (guest_plan_new(e, &t->guest, tpl->row.cpu, tpl->row.memory_mib,
			   tpl->row.disk_mib, image->disk, image->digest,
			   &err) < 0) {
		let_share(e, c);
		task_fail(t, &err);
		return;
	}
	task_next(t);
}

static void fill_reserve_undo(struct task *t)
{
	let_share(t->engine, t->data);
	guest_slot_undo(t);
}

static void fill_commit(struct task *t)
{
	struct engine *e = t->engine;
	struct clone *c = t->data;
	struct error err;

	snprintf(c->row.uuid, sizeof(c->row.uuid), "%s", t->guest.spec.uuid);
	c->row.slot = t->guest.slot;
	store_begin(e->store);
	store_pool_put(e->store, &c->row);
	if (store_commit(e->store, &err) < 0)
		task_fail(t, &err);
	else
		task_next(t);
}

static void on_refill(void *arg)
{
	struct engine *e = arg;

	if (!e->stopping && !e->closing)
		pool_refill(e);
}

static void fill_ended(struct task *t, const struct error *err)
{
	struct engine *e = t->engine;
	struct clone *c = t->data;

	e->refilling = false;
	if (!err) {
		t->data = NULL; /* the pool's now */
		list_add_tail(&e->clones, &c->link);
		log_debug("clone '%s' of '%s' waits", c->row.uuid,
			  c->row.template_id);
		pool_trim(e); /* what was wanted may have changed */
		loop_timer(e->loop, &e->pool_timer,
			   loop_now_ms() + e->config->pool_refill_ms,
			   on_refill, e);
		return;
	}
	if (err->code != ERR_LIMIT && err->code != ERR_CANCELLED)
		log_warn("no clone of '%s' for the pool: %s",
			 c->row.template_id, err->msg);
	loop_timer(e->loop, &e->pool_timer, loop_now_ms() + FAILED_WAIT_MS,
		   on_refill, e);
}

static const struct step fill_steps[] = {
	{ "reserve", fill_reserve, fill_reserve_undo },
	{ "network", guest_net, guest_net_undo },
	{ "directory", guest_dir, guest_dir_undo },
	{ "guest", guest_start, guest_start_undo },
	{ "commit", fill_commit, NULL },
};

static const struct task_kind task_fill = {
	"pool", fill_steps, sizeof(fill_steps) / sizeof(fill_steps[0]),
	fill_ended, true
};

static bool may_have_clones(struct engine *e, const struct template *tpl)
{
	return !tpl->building && !tpl->row.bad && !template_is_idle(e, tpl) &&
	       template_is_current(e, tpl);
}

uint32_t pool_max(const struct engine *e)
{
	const struct config *c = e->config;

	return c->pool_max > c->pool_min ? c->pool_max : c->pool_min;
}

/* By how much a pool may be larger than min. */
static uint32_t room(const struct engine *e)
{
	return pool_max(e) - e->config->pool_min;
}

uint32_t pool_wanted(struct engine *e, const struct template *tpl)
{
	uint32_t grown = tpl->grown < room(e) ? tpl->grown : room(e);

	return may_have_clones(e, tpl) ? e->config->pool_min + grown : 0;
}

uint32_t pool_wanted_all(struct engine *e)
{
	uint32_t n = 0;

	list_for_each(&e->templates, tpl, struct template, link)
		n += pool_wanted(e, tpl);
	return n;
}

void pool_asked(struct engine *e, const char *template_id, bool found,
		bool in_use)
{
	struct template *tpl = template_find(e, template_id);

	if (!tpl)
		return;
	if (!found || pool_ready(e, template_id) == 0)
		tpl->short_ms = loop_now_ms();
	if (found)
		return;
	if (tpl->grown > room(e)) /* there was more before a reload */
		tpl->grown = room(e);
	if (in_use && tpl->grown < room(e)) {
		tpl->grown++;
		log_debug("template '%s': %u clones are to wait", template_id,
			  pool_wanted(e, tpl));
	}
	e->pool_taken_ms = loop_now_ms();
	pool_refill(e);
}

/* One was to spare all the while. */
static void shrink_unneeded(struct engine *e)
{
	uint64_t now = loop_now_ms();

	list_for_each(&e->templates, tpl, struct template, link) {
		if (!tpl->grown || now - tpl->short_ms < e->config->pool_keep_ms)
			continue;
		tpl->grown--;
		tpl->short_ms = now;
		log_debug("template '%s': %u clones are to wait", tpl->row.id,
			  pool_wanted(e, tpl));
	}
}

/* Who waits for a guest now goes before who may later: a QEMU that starts takes
 * a CPU, and libvirt serves one start after another. But not for ever.
 */
static bool refill_can_wait(struct engine *e, uint64_t max_ms)
{
	uint64_t now = loop_now_ms();
	bool wait = now - e->pool_taken_ms < REFILL_QUIET_MS;

	list_for_each(&e->tasks, t, struct task, link)
		wait = wait || !list_empty(&t->calls);
	if (!wait) {
		e->pool_waits_ms = 0;
		return false;
	}
	if (!e->pool_waits_ms)
		e->pool_waits_ms = now;
	if (now - e->pool_waits_ms > max_ms) {
		e->pool_waits_ms = 0;
		return false;
	}
	loop_timer(e->loop, &e->pool_timer, now + REFILL_LOOK_MS, on_refill, e);
	return true;
}

static void add_clone(struct engine *e, const struct template *tpl)
{
	struct clone *c = xcalloc(1, sizeof(*c));
	struct task *t = task_new(e, NULL, &task_fill);

	snprintf(c->row.template_id, sizeof(c->row.template_id), "%s",
		 tpl->row.id);
	c->share = (struct quota_share){ tpl->row.cpu, tpl->row.memory_mib,
					 tpl->row.disk_mib };
	t->data = c;
	t->guest.hold = true;
	snprintf(t->guest.template_id, sizeof(t->guest.template_id), "%s",
		 tpl->row.id);
	engine_path(e, "templates", tpl->row.id, t->guest.template_dir,
		    sizeof(t->guest.template_dir));
	task_run(t);
}

void pool_refill(struct engine *e)
{
	struct template *want = NULL, *old = NULL;
	uint32_t least = UINT32_MAX;

	if (pressure_check(e, NULL) < 0)
		return;
	if (e->refilling || e->recovering || e->draining || e->closing ||
	    !e->config->templates || !e->hv->info.clones_work)
		return;
	if (e->hv_up && !e->testing)
		old = templates_without_heir(e);
	/* The first one of each before the second of any. */
	list_for_each(&e->templates, tpl, struct template, link) {
		uint32_t ready = pool_ready(e, tpl->row.id);

		if (ready < least && ready < pool_wanted(e, tpl)) {
			want = tpl;
			least = ready;
		}
	}
	if ((!want && !old) ||
	    refill_can_wait(e, want ? REFILL_WAIT_MAX_MS : BUILD_WAIT_MAX_MS))
		return;
	e->refilling = true;
	if (want)
		add_clone(e, want);
	else
		templates_build_heir(e, old);
}

void pool_built(struct engine *e)
{
	e->refilling = false;
	loop_timer(e->loop, &e->pool_timer, loop_now_ms() + FAILED_WAIT_MS,
		   on_refill, e);
}

/* ---- and empty ---- */

static void end_clone(struct engine *e, struct clone *c)
{
	struct error err;

	store_begin(e->store);
	store_pool_remove(e->store, c->row.uuid);
	if (store_commit(e->store, &err) < 0)
		log_warn("clone '%s': %s", c->row.uuid, err.msg);
	guest_discard(e, c->row.uuid, c->row.slot);
	drop(e, c);
}

/* Its room is there at once; it takes some time to end. */
static bool stop_filling(struct engine *e)
{
	list_for_each(&e->tasks, t, struct task, link) {
		if (t->kind != &task_fill || t->cancelled || t->undoing)
			continue;
		let_share(e, t->data);
		task_cancel(t);
		return true;
	}
	return false;
}

bool pool_shrink(struct engine *e)
{
	struct clone *spare = NULL;
	uint32_t most = 0;

	list_for_each(&e->clones, c, struct clone, link) {
		uint32_t ready = pool_ready(e, c->row.template_id);

		if (c->taken || ready <= most)
			continue;
		spare = c;
		most = ready;
	}
	if (!spare)
		return stop_filling(e);
	end_clone(e, spare);
	return true;
}

void pool_empty(struct engine *e)
{
	while (pool_shrink(e))
		;
	templates_stop_ahead(e);
}

void pool_trim(struct engine *e)
{
	/* Before, what makes a template current is not known. */
	if (!e->hv_up || e->recovering || e->stopping)
		return;
	shrink_unneeded(e);
	list_for_each(&e->clones, c, struct clone, link) {
		struct template *tpl = template_find(e, c->row.template_id);

		if (!c->taken && (!tpl || pool_ready(e, tpl->row.id) >
						  pool_wanted(e, tpl)))
			end_clone(e, c);
	}
}

void pool_clear(struct engine *e, const char *template_id)
{
	list_for_each(&e->clones, c, struct clone, link)
		if (!c->taken && !strcmp(c->row.template_id, template_id))
			end_clone(e, c);
}

bool pool_lost(struct engine *e, const char *uuid)
{
	struct clone *c = find(e, uuid);

	if (!c)
		return false;
	if (!c->taken)
		end_clone(e, c);
	return true;
}

void pool_restore(struct engine *e, const struct pool_row *row, bool adopt)
{
	struct template *tpl = template_find(e, row->template_id);
	struct clone *c;

	if (!adopt || !tpl || !template_is_current(e, tpl)) {
		struct error err;

		store_begin(e->store);
		store_pool_remove(e->store, row->uuid);
		if (store_commit(e->store, &err) < 0)
			log_warn("clone '%s': %s", row->uuid, err.msg);
		guest_discard(e, row->uuid, row->slot);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->row = *row;
	c->share = (struct quota_share){ tpl->row.cpu, tpl->row.memory_mib,
					 tpl->row.disk_mib };
	quota_adopt(e->quota, NULL, &c->share, true);
	c->held = true;
	list_add_tail(&e->clones, &c->link);
	if (pool_ready(e, tpl->row.id) > e->config->pool_min)
		tpl->grown++;
	tpl->short_ms = loop_now_ms();
}

void pool_free(struct engine *e)
{
	list_for_each(&e->clones, c, struct clone, link) {
		list_del(&c->link);
		free(c);
	}
}

void pool_each(struct engine *e,
	       void (*fn)(const struct pool_row *row, void *arg), void *arg)
{
	list_for_each(&e->clones, c, struct clone, link)
		if (!c->taken)
			fn(&c->row, arg);
}

bool pool_has(struct engine *e, const char *uuid)
{
	return find(e, uuid) != NULL;
}
