/* SPDX-License-Identifier: Apache-2.0 */
/* crash_check.c - what must hold whenever nothing is under way */
#include "crash_node.h"
#include "fake_virt.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/saves.h"
#include "engine/templates.h"
#include "../unit/fakes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t entries(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	engine_path(node.e, dir, "", path, sizeof(path));
	d = opendir(path);
	while (d && (entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static size_t domains(void)
{
	char *list = fake_virt_ask(-1, "list");
	size_t n = list ? (strlen(list) + 1) / 37 : 0;

	free(list);
	return n;
}

static bool is_there(const char *dir, const char *name)
{
	char path[PATH_MAX];

	engine_path(node.e, dir, name, path, sizeof(path));
	return access(path, F_OK) == 0;
}

static void check_sandbox(const struct sandbox *sb)
{
	const struct sandbox_row *row = &sb->row;
	const char *name = sandbox_state_str(row->state);

	if (row->next_snapshot[0])
		broken("%s (%s) still writes a snapshot", row->id, name);
	switch (row->state) {
	case SBX_RUNNING:
		if (node.e->hv->ops->life(node.e->hv, row->uuid) !=
		    GUEST_LIFE_RUNNING)
			broken("%s is RUNNING, its guest is not", row->id);
		if (!sb->attached || !fake_front_has(row->id))
			broken("%s is RUNNING, but not attached", row->id);
		if (!is_there("guests", row->uuid))
			broken("%s is RUNNING without a directory", row->id);
		break;
	case SBX_PAUSED:
		if (row->uuid[0] || row->slot >= 0)
			broken("%s is PAUSED with a guest", row->id);
		if (!snapshot_find(node.e, row->snapshot_id))
			broken("%s is PAUSED without a snapshot", row->id);
		break;
	case SBX_TERMINATED:
		if (row->uuid[0] || row->slot >= 0 || row->snapshot_id[0])
			broken("%s is TERMINATED and holds things", row->id);
		break;
	default:
		broken("%s is %s, and nothing is under way", row->id, name);
	}
}

void check_state(void)
{
	struct engine *e = node.e;
	size_t running = 0, held = 0, clones = pool_ready(e, NULL), n = 0;
	struct quota_use use;

	list_for_each (&e->sandboxes.all, sb, struct sandbox, link) {
		check_sandbox(sb);
		running += sb->row.state == SBX_RUNNING;
		held += sb->row.state != SBX_TERMINATED;
	}
	if (domains() != running + clones)
		broken("%zu domains, but %zu running and %zu waiting",
		       domains(), running, clones);
	if (entries("guests") != running + clones)
		broken("%zu guest directories for %zu guests",
		       entries("guests"), running + clones);
	if (e->slots.used != running + clones)
		broken("%u slots are taken by %zu guests", e->slots.used,
		       running + clones);
	list_for_each (&e->snapshots, s, struct snapshot, link) {
		n += !s->removed;
	}
	if (entries("snapshots") != n)
		broken("%zu snapshot directories for %zu snapshots",
		       entries("snapshots"), n);
	n = 0;
	list_for_each (&e->templates, t, struct template, link)
		n++;
	if (entries("templates") != n)
		broken("%zu template directories for %zu templates",
		       entries("templates"), n);
	quota_use(e->quota, &use);
	if (use.vcpus != (running + clones) * 2)
		broken("%u vCPUs are counted for %zu guests of two", use.vcpus,
		       running + clones);
	if (use.sandboxes != held)
		broken("%u sandboxes are counted, there are %zu", use.sandboxes,
		       held);
	check_finds(0);
}

void check_live(size_t want)
{
	size_t n = 0;

	list_for_each (&node.e->sandboxes.all, sb, struct sandbox, link)
		n += sb->row.state != SBX_TERMINATED;
	if (n != want)
		broken("%zu sandboxes live, not %zu", n, want);
}

void check_token(const char *id, const char *token, bool poke)
{
	struct sandbox *sb = sandbox_find(&node.e->sandboxes, id);
	char want[140];
	char *found;

	if (!sb || sb->row.state != SBX_RUNNING)
		broken("%s does not run", id);
	found = poke ? fake_virt_ask(-1, "poke %s %s", sb->row.uuid, token) :
		       fake_virt_ask(-1, "peek %s", sb->row.uuid);
	if (poke)
		snprintf(want, sizeof(want), "poked");
	else
		snprintf(want, sizeof(want), "%s %s", token, token);
	if (!found || strcmp(found, want) != 0)
		broken("%s: asked its guest and found '%s', not '%s'", id,
		       found ? found : "", want);
	free(found);
}

void check_is(const char *id, const char *state)
{
	struct sandbox *sb = sandbox_find(&node.e->sandboxes, id);
	const char *is = sb ? sandbox_state_str(sb->row.state) : "not there";

	if (strcmp(is, state) != 0)
		broken("%s is %s, not %s", id, is, state);
}

void check_finds(size_t n)
{
	Sandbox__Node__V1__CheckStateRequest m =
		SANDBOX__NODE__V1__CHECK_STATE_REQUEST__INIT;
	Sandbox__Node__V1__CheckStateResponse *r;

	if (!node_call("CheckState", &m.base, -1))
		broken("fsck: %s", world.answer_err.msg);
	r = sandbox__node__v1__check_state_response__unpack(
		NULL, world.answer_len, world.answer);
	if (!r || r->n_problems != n)
		broken("fsck finds %zu problems, not %zu: %s %s: %s",
		       r ? r->n_problems : 0, n,
		       r && r->n_problems ? r->problems[0]->kind : "",
		       r && r->n_problems ? r->problems[0]->path : "",
		       r && r->n_problems ? r->problems[0]->text : "");
	sandbox__node__v1__check_state_response__free_unpacked(r, NULL);
}

void flip(const char *id, const char *file, const char *offset)
{
	struct sandbox *sb = sandbox_find(&node.e->sandboxes, id);
	char dir[PATH_MAX], *path;
	struct timespec times[2];
	struct stat st;
	uint8_t byte;
	int fd;

	if (!sb)
		broken("no sandbox '%s'", id);
	engine_path(node.e, "snapshots", sb->row.snapshot_id, dir, sizeof(dir));
	path = xasprintf("%s/%s", dir, file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 ||
	    pread(fd, &byte, 1, atol(offset)) != 1)
		broken("'%s' has no byte %s", path, offset);
	byte ^= 0x10;
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (pwrite(fd, &byte, 1, atol(offset)) != 1 || futimens(fd, times) < 0)
		broken("'%s' cannot be written", path);
	close(fd);
	free(path);
}

void spoil(const char *table)
{
	char *path = xasprintf("%s/state/sandboxd.db", node.dir);
	const char *column = !strcmp(table, "ports") ? "host_port" : "spec";
	char *sql =
		xasprintf("UPDATE %s SET %s = x'00534201ff'", table, column);
	sqlite3 *db;

	if (node.e || sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_changes(db) == 0)
		broken("'%s' was not done", sql);
	sqlite3_close(db);
	free(sql);
	free(path);
}

/* ---- census ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void print_tree(const char *path, size_t cut, int depth)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		char *sub = xasprintf("%s/%s", path, name);
		struct stat st;

		if (strcmp(name, ".") && strcmp(name, "..") &&
		    strncmp(name, "sandboxd.db", 11) != 0 &&
		    lstat(sub, &st) == 0) {
			printf("census file %s %o\n", sub + cut, st.st_mode);
			if (S_ISDIR(st.st_mode) && depth > 0)
				print_tree(sub, cut, depth - 1);
		}
		free(sub);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static void print_rows(const char *path)
{
	static const char *const queries[] = {
		"sandboxes WHERE state != 7",
		"snapshots",
		"ports",
		"pool",
		"templates",
		"requests WHERE answer IS NULL"
	};
	sqlite3 *db;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
		broken("'%s' does not open", path);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		char *sql = xasprintf("SELECT count(*) FROM %s", queries[i]);
		sqlite3_stmt *stmt = NULL;

		if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
		    sqlite3_step(stmt) != SQLITE_ROW)
			broken("'%s': %s", sql, sqlite3_errmsg(db));
		printf("census rows %s %d\n", queries[i],
		       sqlite3_column_int(stmt, 0));
		sqlite3_finalize(stmt);
		free(sql);
	}
	sqlite3_close(db);
}

/* With the engine stopped: its database is nobody's then. */
void print_census(void)
{
	char *state = xasprintf("%s/state", node.dir);
	char *db = xasprintf("%s/sandboxd.db", state);

	printf("census domains %zu\n", domains());
	print_tree(state, strlen(state) + 1, 2);
	print_rows(db);
	free(state);
	free(db);
}

_Static_assert(SBX_TERMINATED == 7, "the query above");
