/* SPDX-License-Identifier: Apache-2.0 */
/* templates.c - which prepared guests there are, and making them when needed
 *
 * A template is built by the same steps as any guest: it boots cold from the
 * image, front says Hello to its agent (so it listens) and lets go, and the
 * hypervisor captures it. The row is written after, so a row is a whole
 * template; a directory without one is deleted at the next start.
 */
#include "engine/templates.h"

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/answer.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/hv_call.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/snapshot/template.h"
#include "engine/spec_check.h"
#include "engine/task.h"
#include "engine/template_now.h"
#include "engine/templates_answer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define PROGRESS_MS    500
#define USE_MS	       60000
#define ROOM_RETRY_MS  60000
#define AHEAD_RETRY_MS 600000

/* Who waits for a template that is being built. */
struct wanting {
	struct list link;
	template_fn fn;
	void *arg;
};

struct template *template_find(struct engine *e, const char *id)
{
	list_for_each(&e->templates, t, struct template, link)
		if (!strcmp(t->row.id, id))
			return t;
	return NULL;
}

static uint32_t count_standing(struct engine *e, const char *id)
{
	uint32_t n = 0;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		n += sb->row.state != SBX_TERMINATED &&
		     !strcmp(sb->row.template_id, id);
	list_for_each(&e->snapshots, s, struct snapshot, link)
		n += !strcmp(s->row.template_id, id);
	return n;
}

uint32_t template_users(struct engine *e, const char *id)
{
	struct template *tpl = template_find(e, id);
	uint32_t n = count_standing(e, id) + (tpl ? tpl->pins : 0);

	list_for_each(&e->tasks, t, struct task, link)
		n += t->sb && !strcmp(t->guest.template_id, id);
	return n;
}

static void template_free(struct template *t)
{
	sd_event_source_disable_unref(t->progress);
	list_del(&t->link);
	free(t);
}

static void tell_wanting(struct template *t, const char *id)
{
	struct list mine = LIST_INIT(mine);

	/* They may ask for another one at once. */
	list_for_each(&t->wanting, w, struct wanting, link) {
		list_del(&w->link);
		list_add_tail(&mine, &w->link);
	}
	list_for_each(&mine, w, struct wanting, link) {
		list_del(&w->link);
		w->fn(id, false, w->arg);
		free(w);
	}
}

/* It is only built to be there when somebody comes. */
static bool nobody_waits(const struct template *t)
{
	return t->ahead && list_empty(&t->wanting) &&
	       list_empty(&t->building->calls);
}

/* ---- building ---- */

static void build_reserve(struct task *t)
{
	struct template *tpl = t->data;
	struct engine *e = t->engine;
	const struct image *image =
		image_by_digest(e->images, tpl->row.image_digest);
	struct quota_share share = { tpl->row.cpu, tpl->row.memory_mib,
				     tpl->row.disk_mib };
	struct error err;

	if (!image) {
		err_set(&err, ERR_NOT_FOUND, "image '%s' is gone",
			tpl->row.image);
		err_reason(&err, "IMAGE_NOT_FOUND", NULL);
		task_fail(t, &err);
		return;
	}
	if (quota_check_disk(e->quota, e->config->state_dir, &err) < 0 ||
	    quota_admit(e->quota, NULL, &share, &err) < 0) {
		task_fail(t, &err);
		return;
	}
	if (guest_plan_new(e, &t->guest, tpl->row.cpu, tpl->row.memory_mib,
			   tpl->row.disk_mib, image->disk, image->digest,
			   &err) < 0) {
		quota_release(e->quota, NULL, &share, true);
		task_fail(t, &err);
		return;
	}
	task_next(t);
}

static void build_reserve_undo(struct task *t)
{
	struct template *tpl = t->data;
	struct quota_share share = { tpl->row.cpu, tpl->row.memory_mib,
				     tpl->row.disk_mib };

	quota_release(t->engine->quota, NULL, &share, true);
	guest_slot_undo(t);
}

static void let_go(const struct error *err, const uint8_t *data, size_t len,
		   void *arg)
{
	(void)err;
	(void)data;
	(void)len;
	task_next(arg);
}

/* No connection may be open when a template is captured. */
static void build_detach(struct task *t)
{
	front_link_detach(t->engine->front, t->guest.key, "UNAVAILABLE",
			  "a template is captured", let_go, t);
}

static void captured(struct hv_call *call, int rc, const struct error *err)
{
	struct task *t = call->arg;

	task_end_step(t, rc < 0 ? err : NULL);
}

static void build_capture(struct task *t)
{
	struct hv_call *call = xcalloc(1, sizeof(*call));

	call->op = HV_CAPTURE;
	call->spec = t->guest.spec;
	engine_path(t->engine, "templates", t->guest.key, call->template_dir,
		    sizeof(call->template_dir));
	call->progress = &t->progress;
	call->done = captured;
	call->arg = t;
	hv_call_start(t->engine, call);
	free(call);
}

static void build_capture_undo(struct task *t)
{
	engine_trash(t->engine, "templates", t->guest.key);
	task_next(t);
}

static void build_commit(struct task *t)
{
	struct engine *e = t->engine;
	struct template *tpl = t->data;
	char dir[PATH_MAX], took[24];
	struct error err;

	engine_path(e, "templates", tpl->row.id, dir, sizeof(dir));
	if (template_size(dir, &tpl->row.size_bytes, NULL) < 0)
		tpl->row.size_bytes = 0;
	tpl->row.created_ms = loop_wall_ms();
	/* Ahead: its use is what it inherits. */
	tpl->row.used_ms = nobody_waits(tpl) ? 0 : tpl->row.created_ms;
	tpl->row.asked_ms = tpl->row.used_ms;
	snprintf(took, sizeof(took), "%llu",
		 (unsigned long long)(loop_now_ms() - t->began_ms));
	store_begin(e->store);
	store_template_put(e->store, &tpl->row);
	event_add(e, "template.built", "",
		  EVENT_DATA({ "template", tpl->row.id },
			     { "image", tpl->row.image },
			     { "durationMs", took }));
	list_for_each(&t->calls, call, struct call, wait)
		templates_answer(call, tpl);
	if (event_commit(e, &err) < 0)
		task_fail(t, &err);
	else
		task_next(t);
}

/* Or it was given up for who needs it more. */
static bool no_room(const struct error *err)
{
	return err->code == ERR_LIMIT || err->code == ERR_CANCELLED;
}

/* @heir could not be built: not again at once. */
static void put_off(struct engine *e, const struct template *heir,
		    const struct error *err)
{
	uint64_t wait = no_room(err) ? ROOM_RETRY_MS : AHEAD_RETRY_MS;
	char now[OBJECT_ID_SIZE];

	list_for_each(&e->templates, t, struct template, link)
		if (template_now(e, t, now) && template_sound(e, now) == heir)
			t->retry_ms = loop_now_ms() + wait;
}

static void build_ended(struct task *t, const struct error *err)
{
	struct engine *e = t->engine;
	struct template *tpl = t->data;
	struct quota_share share = { tpl->row.cpu, tpl->row.memory_mib,
				     tpl->row.disk_mib };
	bool ahead = tpl->ahead;

	tpl->building = NULL;
	tpl->ahead = false;
	tpl->progress = sd_event_source_disable_unref(tpl->progress);
	if (err) {
		log_line(ahead && no_room(err) ? LOG_LEVEL_DEBUG :
						 LOG_LEVEL_WARN,
			 NULL, "template of '%s' (%u vCPUs, %u MiB): %s",
		       tpl->row.image, tpl->row.cpu, tpl->row.memory_mib,
		       err->msg);
		task_fail_calls(t, err);
		tell_wanting(tpl, "");
		if (ahead)
			put_off(e, tpl, err);
		template_free(tpl);
		if (ahead)
			pool_built(e);
		return;
	}
	log_info("template '%s' of '%s': built (%llu ms)", tpl->row.id,
		 tpl->row.image,
		 (unsigned long long)(loop_now_ms() - t->began_ms));
	quota_release(e->quota, NULL, &share, true);
	guest_forget(e, t->guest.spec.uuid, t->guest.slot);
	list_for_each(&t->calls, call, struct call, wait)
		call_send(call);
	tell_wanting(tpl, tpl->row.id);
	if (ahead)
		pool_built(e);
	pool_refill(e);
}

static const struct step build_steps[] = {
	{ "reserve", build_reserve, build_reserve_undo },
	{ "network", guest_net, guest_net_undo },
	{ "directory", guest_dir, guest_dir_undo },
	{ "guest", guest_start, guest_start_undo },
	{ "agent", guest_agent, guest_agent_undo },
	{ "detach", build_detach, NULL },
	{ "capture", build_capture, build_capture_undo },
	{ "commit", build_commit, NULL },
};

static const struct task_kind task_build = {
	"template", build_steps, sizeof(build_steps) / sizeof(build_steps[0]),
	build_ended, false
};

/* What its caller sees of each step; the order is that of build_steps. */
static const char *step_name(const struct task *t)
{
	static const char *const names[] = {
		"waiting for room",	"preparing the guest",
		"preparing the guest",	"booting",
		"waiting for the agent", "waiting for the agent",
		"saving memory",	"saving memory",
	};

	if (t->undoing || t->at >= sizeof(names) / sizeof(names[0]))
		return "ending";
	return names[t->at];
}

static void tell_progress(void *arg)
{
	struct template *tpl = arg;
	struct task *t = tpl->building;
	struct engine *e;

	if (!t)
		return;
	e = t->engine;
	if (e->stopping)
		return;
	list_for_each(&t->calls, call, struct call, wait)
		templates_progress(call, step_name(t),
				   atomic_load(&t->progress.done),
				   atomic_load(&t->progress.total));
	loop_timer(e->loop, &tpl->progress, loop_now_ms() + PROGRESS_MS,
		   tell_progress, tpl);
}

static struct template *begin(struct engine *e, const char *id,
			      const char *image, const char *digest,
			      uint32_t cpu, uint32_t memory_mib,
			      uint32_t disk_mib)
{
	struct template *tpl = xcalloc(1, sizeof(*tpl));
	struct task *t = task_new(e, NULL, &task_build);

	list_init(&tpl->wanting);
	list_add_tail(&e->templates, &tpl->link);
	snprintf(tpl->row.id, sizeof(tpl->row.id), "%s", id);
	snprintf(tpl->row.image, sizeof(tpl->row.image), "%s", image);
	snprintf(tpl->row.image_digest, sizeof(tpl->row.image_digest), "%s",
		 digest);
	tpl->row.cpu = cpu;
	tpl->row.memory_mib = memory_mib;
	tpl->row.disk_mib = disk_mib;
	tpl->building = t;
	t->data = tpl;
	t->guest.generation = 1;
	snprintf(t->guest.key, sizeof(t->guest.key), "%s", id);
	/* Nothing was configured: any nonce does. */
	if (getrandom(t->guest.nonce, sizeof(t->guest.nonce), 0) !=
	    sizeof(t->guest.nonce))
		abort();
	return tpl;
}

/* The template for this, which is being built if it was not there. */
static struct template *get(struct engine *e, const struct image *image,
			    uint32_t cpu, uint32_t memory_mib,
			    uint32_t disk_mib, bool *ret_begun)
{
	uint32_t disk = template_disk(image, disk_mib);
	char identity[OBJECT_ID_SIZE], id[OBJECT_ID_SIZE];
	struct template *tpl;

	template_identity(e, image->digest, cpu, memory_mib, disk, identity);
	tpl = template_sound(e, identity);
	*ret_begun = !tpl;
	if (tpl)
		return tpl;
	template_fresh_id(e, identity, id);
	return begin(e, id, image->name, image->digest, cpu, memory_mib, disk);
}

/* To the minute: it only orders them. */
static bool is_old(int64_t time_ms)
{
	return loop_wall_ms() - time_ms >= USE_MS;
}

static void mark_asked(struct engine *e, struct template *tpl)
{
	if (!is_old(tpl->row.asked_ms) || tpl->row.damaged)
		return;
	tpl->row.used_ms = tpl->row.asked_ms = loop_wall_ms();
	store_begin(e->store);
	store_template_put(e->store, &tpl->row);
	store_commit(e->store, NULL);
}

void templates_used(struct engine *e, const char *id)
{
	struct template *tpl = template_find(e, id);

	if (!tpl || !is_old(tpl->row.used_ms) || tpl->row.damaged)
		return;
	tpl->row.used_ms = loop_wall_ms();
	store_template_put(e->store, &tpl->row);
}

void templates_need(struct engine *e, struct sandbox *sb, template_fn fn,
		    void *arg)
{
	const struct image *image =
		image_by_digest(e->images, sb->row.image_digest);
	const Sandbox__Node__V1__Resources *r = sb->row.spec->resources;
	struct template *tpl;
	struct wanting *w;
	bool begun;

	if (!e->config->templates || !e->hv->info.clones_work || !image) {
		fn("", false, arg);
		return;
	}
	tpl = get(e, image, r->cpu, r->memory_mib, r->disk_mib, &begun);
	if (!tpl->building) {
		bool in_use = !template_is_idle(e, tpl);

		mark_asked(e, tpl);
		fn(tpl->row.id, in_use, arg);
		return;
	}
	w = xmemdup(&(struct wanting){ .fn = fn, .arg = arg }, sizeof(*w));
	list_add_tail(&tpl->wanting, &w->link);
	if (begun)
		task_run(tpl->building);
}

int templates_build(struct engine *e, const struct image *image, uint32_t cpu,
		    uint32_t memory_mib, struct call *call, struct error *err)
{
	struct template *tpl;
	bool begun;

	if (!e->hv->info.clones_work)
		return err_set(err, ERR_UNAVAILABLE,
			       "this node cannot clone guests: its QEMU failed "
			       "the self-test");
	tpl = get(e, image, cpu, memory_mib, SPEC_DISK_DEFAULT_MIB, &begun);
	if (!tpl->building) {
		store_begin(e->store);
		templates_answer(call, tpl);
		if (event_commit(e, err) < 0)
			return -1;
		call_send(call);
		return 0;
	}
	task_add_call(tpl->building, call);
	loop_timer(e->loop, &tpl->progress, loop_now_ms(), tell_progress, tpl);
	if (begun)
		task_run(tpl->building);
	return 0;
}

/* ---- when templates change ---- */

/* From one that new sandboxes no longer start from. */
static void inherit(struct engine *e, struct template *heir,
		    struct template *old)
{
	struct error err;

	if (heir->row.asked_ms < old->row.asked_ms)
		heir->row.asked_ms = old->row.asked_ms;
	if (heir->row.used_ms < heir->row.asked_ms)
		heir->row.used_ms = heir->row.asked_ms;
	old->row.used_ms = old->row.asked_ms = 0;
	if (heir->grown < old->grown)
		heir->grown = old->grown;
	heir->short_ms = loop_now_ms();
	old->grown = 0;
	store_begin(e->store);
	store_template_put(e->store, &heir->row);
	store_template_put(e->store, &old->row);
	if (store_commit(e->store, &err) < 0)
		log_warn("template '%s': %s", heir->row.id, err.msg);
}

struct template *templates_without_heir(struct engine *e)
{
	struct template *want = NULL;
	char id[OBJECT_ID_SIZE];

	list_for_each(&e->templates, t, struct template, link) {
		struct template *heir;

		if (!template_has_heir(e, t) || !template_now(e, t, id))
			continue;
		heir = template_sound(e, id);
		if (heir && !heir->building)
			inherit(e, heir, t);
		else if (!heir && loop_now_ms() >= t->retry_ms &&
			 (!want || want->row.asked_ms < t->row.asked_ms))
			want = t;
	}
	return want;
}

void templates_build_heir(struct engine *e, const struct template *old)
{
	char identity[OBJECT_ID_SIZE], id[OBJECT_ID_SIZE];
	const struct image *image = template_now(e, old, identity);
	struct template *tpl;

	template_fresh_id(e, identity, id);
	tpl = begin(e, id, image->name, image->digest, old->row.cpu,
		    old->row.memory_mib,
		    template_disk(image, old->row.disk_mib));
	tpl->ahead = true;
	log_info("template '%s' of '%s': being built, as '%s' %s", id,
		 image->name, old->row.id,
		 old->row.bad ? "does not verify" :
				"is of another image, kernel or QEMU");
	task_run(tpl->building);
}

void templates_stop_ahead(struct engine *e)
{
	list_for_each(&e->templates, t, struct template, link)
		if (t->building && nobody_waits(t))
			task_cancel(t->building);
}

int templates_remove(struct engine *e, const char *id, struct call *call,
		     struct error *err)
{
	struct template *tpl = template_find(e, id);
	Sandbox__Node__V1__RemoveTemplateResponse r =
		SANDBOX__NODE__V1__REMOVE_TEMPLATE_RESPONSE__INIT;
	uint32_t users;

	if (!tpl) {
		err_set(err, ERR_NOT_FOUND, "there is no template '%.64s'", id);
		return err_reason(err, "TEMPLATE_NOT_FOUND", id);
	}
	users = template_users(e, id);
	if (tpl->building || users) {
		err_set(err, ERR_CONFLICT, "template '%s' is in use (%u)", id,
			users);
		return err_reason(err, "INVALID_STATE", id);
	}
	store_begin(e->store);
	store_template_remove(e->store, id);
	if (call)
		call_answer(call, &r.base);
	if (event_commit(e, err) < 0)
		return -1;
	pool_clear(e, id);
	engine_trash(e, "templates", id);
	template_free(tpl);
	if (call)
		call_send(call);
	return 0;
}

void template_spoiled(struct engine *e, const char *id)
{
	struct template *tpl = template_find(e, id);
	struct error err;
	char users[24];

	if (!tpl || tpl->row.bad || tpl->building)
		return;
	log_err("template '%s' does not verify: no sandbox starts from it, and "
		"another is built when one is needed",
		id);
	tpl->row.bad = true;
	/* What spoils one after another must not have it boot guests for ever. */
	if (loop_wall_ms() - tpl->row.created_ms < AHEAD_RETRY_MS)
		tpl->retry_ms = loop_now_ms() + AHEAD_RETRY_MS;
	snprintf(users, sizeof(users), "%u", count_standing(e, id));
	store_begin(e->store);
	store_template_put(e->store, &tpl->row);
	event_add(e, "template.damaged", "",
		  EVENT_DATA({ "template", id }, { "image", tpl->row.image },
			     { "users", users }));
	if (event_commit(e, &err) < 0)
		log_warn("template '%s': %s", id, err.msg);
	pool_clear(e, id);
	pool_refill(e);
}

void template_doubted(struct engine *e, const char *dir, bool altered)
{
	const char *slash = strrchr(dir, '/');

	if (e->stopping || !slash)
		return;
	if (altered || (access(dir, F_OK) < 0 && errno == ENOENT))
		template_spoiled(e, slash + 1);
}

bool template_is_lost(struct engine *e, const char *id)
{
	const struct template *tpl = template_find(e, id);

	return !tpl || tpl->row.bad;
}

void template_restore(struct engine *e, const struct template_row *row)
{
	struct template *tpl = xcalloc(1, sizeof(*tpl));

	tpl->row = *row;
	list_init(&tpl->wanting);
	list_add_tail(&e->templates, &tpl->link);
}

static bool goes_before(struct engine *e, const struct template *a,
			const struct template *b)
{
	bool current = template_is_current(e, a);

	if (current != template_is_current(e, b))
		return !current;
	return a->row.used_ms < b->row.used_ms;
}

void templates_evict(struct engine *e)
{
	struct template *oldest = NULL;

	if (e->damaged)
		return;
	list_for_each(&e->templates, t, struct template, link)
		if (!t->building && !template_users(e, t->row.id) &&
		    (!oldest || goes_before(e, t, oldest)))
			oldest = t;
	if (!oldest)
		return;
	log_info("template '%s': evicted, the disk is full", oldest->row.id);
	templates_remove(e, oldest->row.id, NULL, NULL);
}

void templates_drop_orphans(struct engine *e)
{
	if (e->damaged)
		return;
	list_for_each(&e->templates, t, struct template, link) {
		struct error err;

		if (image_by_digest(e->images, t->row.image_digest) ||
		    template_users(e, t->row.id))
			continue;
		log_info("template '%s': its image is gone", t->row.id);
		if (templates_remove(e, t->row.id, NULL, &err) < 0)
			log_warn("template '%s': %s", t->row.id, err.msg);
	}
}

void templates_free(struct engine *e)
{
	list_for_each(&e->templates, t, struct template, link) {
		list_for_each(&t->wanting, w, struct wanting, link)
			free(w);
		template_free(t);
	}
}
