/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_offline.c - sandboxd --fsck: check and repair a node that does not run
 *
 * What a repair may do: delete what no row knows, files, taps, rules and answers
 * to requests, if the database is to be believed, no guest of that name runs and
 * nobody has the tap open; mark templates that do not verify,
 * so that nothing starts from them; forget rows whose files are gone and that
 * nobody needs. It deletes no snapshot or image that somebody may still want
 * to look at, however damaged.
 */
#include "engine/fsck.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/hv/qemu_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* With the rows of templates, to be put back marked. */
struct offline {
	struct fsck f;
	struct store *store;
	struct template_row *templates;
	size_t n_templates;
	int64_t now_ms, alive_ms;
	bool slots[SLOT_MAX]; /* that a row has */
};

static void see_sandbox(const struct sandbox_row *row, void *arg)
{
	fsck_add_sandbox(&((struct offline *)arg)->f, row);
	pb_free(row->spec);
}

static void see_snapshot(const struct snapshot_row *row, void *arg)
{
	fsck_add_snapshot(&((struct offline *)arg)->f, row);
	pb_free(row->spec);
}

static void see_template(const struct template_row *row, void *arg)
{
	struct offline *o = arg;

	fsck_add_template(&o->f, row);
	o->templates = xrealloc(o->templates, o->n_templates + 1,
				sizeof(*o->templates));
	o->templates[o->n_templates++] = *row;
}

static void see_clone(const struct pool_row *row, void *arg)
{
	fsck_add_clone(&((struct offline *)arg)->f, row);
}

static void see_port(const struct port_row *row, void *arg)
{
	fsck_add_port(&((struct offline *)arg)->f, row);
}

static int read_rows(struct offline *o, const struct config *config,
		     struct error *err)
{
	char node[64];

	if (store_sandboxes(o->store, see_sandbox, o, err) < 0 ||
	    store_snapshots(o->store, see_snapshot, o, err) < 0 ||
	    store_templates(o->store, see_template, o, err) < 0 ||
	    store_pool(o->store, see_clone, o, err) < 0 ||
	    store_ports(o->store, see_port, o, err) < 0)
		return -1;
	store_meta_get(o->store, "node_id", node, sizeof(node));
	o->f.strange = !node[0] || o->f.n_rows == 0 ||
		       (config->node_id && strcmp(node, config->node_id));
	return 0;
}

/* ---- repair ---- */

static bool is_needed(const struct fsck *f, const char *id)
{
	for (size_t i = 0; i < f->n_rows; i++) {
		const struct fsck_row *r = &f->rows[i];

		if (r->kind == FSCK_SANDBOX && r->state == SBX_TERMINATED)
			continue;
		if (!strcmp(r->snapshot_id, id) || !strcmp(r->template_id, id))
			return true;
	}
	return false;
}

static bool runs(const char *uuid)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	int r = qemu_proc_open(uuid, (uid_t)-1, &proc);

	qemu_proc_close(&proc);
	return r != 0;
}

static int remove_files(struct offline *o, const struct fsck_problem *p,
			struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", o->f.state_dir, p->dir);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (o->f.damaged && p->kind == FSCK_STRAY)
		return err_set(err, ERR_CONFLICT, "rows are damaged");
	if (!strcmp(p->dir, "guests") && p->name[0] != '.' && runs(p->name))
		return err_set(err, ERR_CONFLICT, "its guest runs");
	if (fd < 0)
		return err_sys(err, errno, "open '%s'", path);
	return fd_remove_tree(fd, p->name, err);
}

static int commit(struct offline *o, struct error *err)
{
	return store_commit(o->store, err);
}

static int mark_template(struct offline *o, const char *id, struct error *err)
{
	store_begin(o->store);
	for (size_t i = 0; i < o->n_templates; i++)
		if (!strcmp(o->templates[i].id, id)) {
			o->templates[i].bad = true;
			store_template_put(o->store, &o->templates[i]);
		}
	return commit(o, err);
}

static int forget_row(struct offline *o, const struct fsck_problem *p,
		      struct error *err)
{
	bool clone = false;

	for (size_t i = 0; i < o->f.n_rows; i++)
		clone = clone || (o->f.rows[i].kind == FSCK_CLONE &&
				  !strcmp(o->f.rows[i].id, p->name));
	if (!strcmp(p->dir, "guests") ? !clone : is_needed(&o->f, p->name))
		return err_set(err, ERR_CONFLICT, "a sandbox needs it");
	store_begin(o->store);
	if (!strcmp(p->dir, "snapshots"))
		store_snapshot_remove(o->store, p->name);
	else if (!strcmp(p->dir, "templates"))
		store_template_remove(o->store, p->name);
	else
		store_pool_remove(o->store, p->name);
	return commit(o, err);
}

/* @name: "ID:PORT"; all of that sandbox, for it has no use for any. */
static int forget_ports(struct offline *o, const char *name, struct error *err)
{
	_cleanup_free_ char *id =
		xasprintf("%.*s", (int)strcspn(name, ":"), name);

	store_begin(o->store);
	store_ports_remove(o->store, id);
	return commit(o, err);
}

/* All that are like it go with it. */
static int forget_requests(struct offline *o, struct error *err)
{
	store_begin(o->store);
	store_requests_drop_odd(o->store, o->now_ms, o->alive_ms);
	return commit(o, err);
}

/* 0 it is as it should be now, -1 why not. */
static int repair_one(struct offline *o, const struct fsck_problem *p,
		      struct error *err)
{
	if (!strcmp(p->dir, "requests"))
		return forget_requests(o, err);
	if (!strcmp(p->dir, "sandboxd.db") && p->name[0])
		return fsck_rows_repair(p, o->store, err);
	if (!strcmp(p->dir, "taps") || !strcmp(p->dir, "nftables"))
		return fsck_network_repair(p, NULL, err);
	switch (p->kind) {
	case FSCK_STRAY:
	case FSCK_LEFTOVER:
		return remove_files(o, p, err);
	case FSCK_DAMAGED:
		if (!strcmp(p->dir, "templates"))
			return mark_template(o, p->name, err);
		return err_set(err, ERR_CONFLICT, "kept to be looked at");
	case FSCK_MISSING:
		if (p->name[0])
			return forget_row(o, p, err);
		break;
	case FSCK_DANGLING:
		if (!strcmp(p->dir, "ports"))
			return forget_ports(o, p->name, err);
		break;
	default:
		break;
	}
	return err_set(err, ERR_CONFLICT, "nothing can be done here");
}

static void repair_all(struct offline *o)
{
	struct fsck_report *r = &o->f.report;

	for (size_t i = 0; i < r->n; i++) {
		struct fsck_problem *p = &r->problems[i];
		struct error err = { 0 };
		size_t at;

		if (repair_one(o, p, &err) == 0) {
			p->repaired = true;
			r->unrepaired--;
			continue;
		}
		at = strlen(p->text);
		snprintf(p->text + at, sizeof(p->text) - at, " (%s)", err.msg);
	}
}

/* ---- */

static void print(const struct fsck_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct fsck_problem *p = &r->problems[i];

		printf("%s: %s%s%s: %s%s\n", fsck_kind_str(p->kind), p->dir,
		       p->name[0] ? "/" : "", p->name, p->text,
		       p->repaired ? ": repaired" : "");
	}
	if (r->untold)
		printf("... and %llu more\n", (unsigned long long)r->untold);
	printf("%llu snapshots, templates and images read, %zu problems, %zu "
	       "left\n",
	       (unsigned long long)r->checked, r->n + r->untold, r->unrepaired);
}

static bool is_owned(uint32_t number, void *arg)
{
	return ((const struct offline *)arg)->slots[number];
}

static void check_host(struct offline *o)
{
	struct error err;

	for (size_t i = 0; i < o->f.n_rows; i++) {
		int64_t slot = o->f.rows[i].slot;

		if (slot >= 0 && slot < SLOT_MAX)
			o->slots[slot] = true;
	}
	o->now_ms = loop_wall_ms();
	o->alive_ms = store_events_time(o->store);
	if (fsck_rows(&o->f, o->store, &err) < 0 ||
	    fsck_requests(&o->f, o->store, o->now_ms, o->alive_ms, &err) < 0)
		fsck_tell(&o->f, FSCK_DATABASE, "sandboxd.db", "", "%.200s",
			  err.msg);
	if (fsck_network(&o->f, NULL, is_owned, o, runs, &err) < 0)
		fprintf(stderr,
			"sandboxd: taps and rules are not checked: %s\n",
			err.msg);
}

static int run(struct offline *o, const struct config *config, bool repair,
	       struct error *err)
{
	_cleanup_free_ char *path =
		xasprintf("%s/sandboxd.db", config->state_dir);

	/* Opening would make one. */
	if (access(path, F_OK) < 0)
		return err_sys(err, errno, "open '%s'", path);
	if (store_open(path, &o->store, err) < 0 ||
	    read_rows(o, config, err) < 0)
		return -1;
	if (store_check(o->store, err) < 0)
		fsck_tell(&o->f, FSCK_DATABASE, "sandboxd.db", "", "%.200s",
			  err->msg);
	check_host(o);
	fsck_run(&o->f);
	if (repair && o->f.strange)
		fprintf(stderr, "sandboxd: the database is new, empty or "
				"another node's: nothing is repaired\n");
	else if (repair)
		repair_all(o);
	print(&o->f.report);
	return 0;
}

int fsck_offline(const struct config *config, bool repair)
{
	struct offline o = { .f = { .state_dir = config->state_dir } };
	struct error err = { 0 };
	int status = 2;

	if (run(&o, config, repair, &err) == 0)
		status = o.f.report.unrepaired ? 1 : 0;
	else
		fprintf(stderr, "sandboxd: cannot check: %s%s\n", err.msg,
			strstr(err.msg, "locked") ?
				" (a daemon runs: sandboxctl fsck asks it)" :
				"");
	store_close(o.store);
	free(o.templates);
	fsck_fini(&o.f);
	return status;
}
