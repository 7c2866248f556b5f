/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_check.c - CheckState: fsck of a node that runs
 *
 * A worker reads for as long as that takes, from a copy of the rows; sandboxes
 * come and go meanwhile. So each finding is held against the node as it is when
 * the worker is through, and only what is still so is told and repaired.
 */
#include "engine/rpc.h"

#include "base/error.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/ended.h"
#include "engine/engine.h"
#include "engine/fsck.h"
#include "engine/guest.h"
#include "engine/pool.h"
#include "engine/sweep.h"
#include "engine/saves.h"
#include "engine/templates.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/**
 * struct checking - One CheckState under way
 * @call:	NULL once the engine stops
 */
struct checking {
	struct engine *engine;
	struct call *call;
	struct fsck f;
	bool repair;
	int64_t now_ms;
};

static bool is_taken(uint32_t number, void *arg)
{
	return ((const struct engine *)arg)->slots.taken[number];
}

/* Of a node that runs, those that died are about to be seen so. */
static bool should_live(const char *uuid)
{
	(void)uuid;
	return true;
}

static int check_run(void *arg, struct error *err)
{
	struct checking *c = arg;

	(void)err;
	fsck_run(&c->f);
	return 0;
}

static bool is_there(struct engine *e, const struct fsck_problem *p)
{
	char path[PATH_MAX];

	engine_path(e, p->dir, p->name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static bool is_of_host(const struct fsck_problem *p)
{
	return !strcmp(p->dir, "sandboxd.db") ||
	       !strcmp(p->dir, "requests") || !strcmp(p->dir, "taps") ||
	       !strcmp(p->dir, "nftables");
}

/* Whether a finding about files holds now. */
static bool still_so(struct engine *e, const struct fsck_problem *p)
{
	struct snapshot *s = snapshot_find(e, p->name);
	struct template *t = template_find(e, p->name);

	/* Looked at on this thread, a moment ago. */
	if (is_of_host(p))
		return true;
	switch (p->kind) {
	case FSCK_STRAY:
		return is_there(e, p) && !sweep_knows(e, p->dir, p->name);
	case FSCK_DAMAGED:
		if (!strcmp(p->dir, "snapshots"))
			return s && !s->removed;
		if (!strcmp(p->dir, "templates"))
			return t && !t->building;
		return is_there(e, p);
	case FSCK_MISSING:
		if (!p->name[0])
			return true;
		return !is_there(e, p) && sweep_knows(e, p->dir, p->name);
	case FSCK_DANGLING:
		if (!strcmp(p->dir, "snapshots"))
			return s && !s->removed;
		if (!strcmp(p->dir, "templates"))
			return t;
		return sandbox_find(&e->sandboxes, p->name) &&
		       !sandbox_find(&e->sandboxes, p->name)->task;
	default:
		return true;
	}
}

static bool forget_snapshot(struct engine *e, const char *id)
{
	struct snapshot *s = snapshot_find(e, id);
	struct error err;

	list_for_each (&e->sandboxes.all, sb, struct sandbox, link)
		if (!strcmp(sb->row.snapshot_id, id))
			return false;
	if (!s || s->users)
		return false;
	store_begin(e->store);
	store_snapshot_remove(e->store, id);
	if (store_commit(e->store, &err) < 0) {
		log_err("snapshot '%s': %s", id, err.msg);
		return false;
	}
	snapshot_drop(e, s);
	return true;
}

static bool repair_of_host(struct checking *c, const struct fsck_problem *p)
{
	struct engine *e = c->engine;
	struct error err;
	int rc;

	if (!strcmp(p->dir, "requests")) {
		store_begin(e->store);
		store_requests_drop_odd(e->store, c->now_ms, c->now_ms);
		rc = store_commit(e->store, &err);
	} else if (!strcmp(p->dir, "sandboxd.db")) {
		rc = fsck_rows_repair(p, e->store, &err);
	} else {
		rc = fsck_network_repair(p, e->net, &err);
	}
	if (rc < 0)
		log_warn("%s/%s: %s", p->dir, p->name, err.msg);
	return rc == 0;
}

static bool repair(struct engine *e, const struct fsck_problem *p)
{
	struct error err;

	if (p->kind == FSCK_STRAY && e->damaged)
		return false;
	if (p->kind == FSCK_STRAY) {
		log_info("%s/%s: nobody's, is removed", p->dir, p->name);
		if (!strcmp(p->dir, "guests") &&
		    strlen(p->name) == HV_UUID_SIZE - 1)
			guest_discard(e, p->name, -1);
		else
			engine_trash(e, p->dir, p->name);
		return true;
	}
	if (p->kind == FSCK_DAMAGED && !strcmp(p->dir, "templates")) {
		template_spoiled(e, p->name);
		return true;
	}
	if (p->kind != FSCK_MISSING || !p->name[0])
		return false;
	if (!strcmp(p->dir, "snapshots"))
		return forget_snapshot(e, p->name);
	if (!strcmp(p->dir, "templates")) {
		template_spoiled(e, p->name);
		return templates_remove(e, p->name, NULL, &err) == 0;
	}
	/* A clone without its disk cannot start. */
	return pool_lost(e, p->name);
}

/* What is not files is told, and repaired, before anything can have changed. */
static int check_host(struct checking *c, struct error *err)
{
	struct engine *e = c->engine;
	struct fsck_report *r = &c->f.report;

	c->now_ms = loop_wall_ms();
	if (fsck_rows(&c->f, e->store, err) < 0 ||
	    fsck_requests(&c->f, e->store, c->now_ms, c->now_ms, err) < 0 ||
	    fsck_network(&c->f, e->net, is_taken, e, should_live, err) < 0)
		return -1;
	for (size_t i = 0; i < r->n && c->repair && !c->f.strange; i++) {
		if (repair_of_host(c, &r->problems[i])) {
			r->problems[i].repaired = true;
			r->unrepaired--;
		}
	}
	return 0;
}

/* Against the node of now. */
static void settle(struct checking *c)
{
	struct fsck_report *r = &c->f.report;
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct fsck_problem *p = &r->problems[i];

		if (!still_so(c->engine, p)) {
			r->unrepaired--;
			continue;
		}
		if (c->repair && !c->f.strange && !is_of_host(p) &&
		    repair(c->engine, p)) {
			p->repaired = true;
			r->unrepaired--;
		}
		r->problems[n++] = *p;
	}
	r->n = n;
}

static void answer(struct checking *c)
{
	Sandbox__Node__V1__CheckStateResponse m =
		SANDBOX__NODE__V1__CHECK_STATE_RESPONSE__INIT;
	const struct fsck_report *r = &c->f.report;
	Sandbox__Node__V1__StateProblem *all = xcalloc(r->n + 1, sizeof(*all));
	Sandbox__Node__V1__StateProblem **at = xcalloc(r->n + 1, sizeof(*at));
	char(*paths)[192] = xcalloc(r->n + 1, sizeof(*paths));

	for (size_t i = 0; i < r->n; i++) {
		struct fsck_problem *p = &r->problems[i];

		sandbox__node__v1__state_problem__init(&all[i]);
		snprintf(paths[i], sizeof(paths[i]), "%s%s%s", p->dir,
			 p->name[0] ? "/" : "", p->name);
		all[i].kind = (char *)(uintptr_t)fsck_kind_str(p->kind);
		all[i].path = paths[i];
		all[i].text = p->text;
		all[i].repaired = p->repaired;
		at[i] = &all[i];
	}
	m.n_problems = r->n;
	m.problems = at;
	m.untold = r->untold;
	m.checked = r->checked;
	call_finish(c->call, &m.base);
	free(paths);
	free(all);
	free(at);
}

static void check_done(void *arg, int rc, const struct error *err)
{
	struct checking *c = arg;

	if (!c->engine->stopping) {
		if (rc < 0) {
			call_fail(c->call, err);
		} else {
			settle(c);
			answer(c);
		}
	}
	fsck_fini(&c->f);
	free(c);
}

static const struct job_ops check_job = { "check", check_run, check_done };

static void see_clone(const struct pool_row *row, void *arg)
{
	fsck_add_clone(arg, row);
}

static void see_port(const struct port_row *row, void *arg)
{
	fsck_add_port(arg, row);
}

int rpc_check_state(struct call *call, struct error *err)
{
	Sandbox__Node__V1__CheckStateRequest *req =
		(Sandbox__Node__V1__CheckStateRequest *)call->request;
	struct engine *e = call->engine;
	struct checking *c;

	if (e->recovering) {
		err_set(err, ERR_UNAVAILABLE,
			"the node has just started and "
			"is still looking at its guests");
		err->retry_ms = 1000;
		return -1;
	}
	c = xcalloc(1, sizeof(*c));
	c->engine = e;
	c->call = call;
	c->repair = req->repair;
	c->f.state_dir = e->config->state_dir;
	c->f.running = true;
	list_for_each (&e->sandboxes.all, sb, struct sandbox, link)
		fsck_add_sandbox(&c->f, &sb->row);
	list_for_each (&e->sandboxes.ended, ended, struct ended, link) {
		struct sandbox_row row = { .state = SBX_TERMINATED,
					   .slot = -1 };

		snprintf(row.id, sizeof(row.id), "%s", ended->id);
		fsck_add_sandbox(&c->f, &row);
	}
	list_for_each (&e->snapshots, s, struct snapshot, link)
		if (!s->removed)
			fsck_add_snapshot(&c->f, &s->row);
	list_for_each (&e->templates, t, struct template, link)
		if (!t->building)
			fsck_add_template(&c->f, &t->row);
	pool_each(e, see_clone, &c->f);
	if (store_ports(e->store, see_port, &c->f, err) < 0)
		goto fail;
	c->f.strange = !e->swept || e->foreign || c->f.n_rows == 0;
	if (check_host(c, err) < 0)
		goto fail;
	job_start(e->jobs, &check_job, c);
	return 0;
fail:
	fsck_fini(&c->f);
	free(c);
	return -1;
}
