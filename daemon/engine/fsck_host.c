/* SPDX-License-Identifier: Apache-2.0 */
/* fsck_host.c - rows, requests, taps and rules: what is not files */
#include "engine/fsck.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP	 "sbx"
#define ROWS_DIR "sandboxd.db"

/* ---- requests ---- */

static void tell_request(const char *id, enum store_odd why, void *arg)
{
	struct fsck *f = arg;
	char name[128];

	str_escape(name, sizeof(name), id ? id : "", id ? strlen(id) : 0);
	if (why == STORE_ODD_BAD)
		fsck_tell(f, FSCK_DAMAGED, "requests", name, "makes no sense");
	else if (why == STORE_ODD_SEALED)
		fsck_tell(f, FSCK_DAMAGED, "requests", name,
			  "its answer cannot be read");
	else if (why == STORE_ODD_OLD)
		fsck_tell(f, FSCK_LEFTOVER, "requests", name,
			  "is older than answers are kept");
	else
		fsck_tell(f, FSCK_DANGLING, "requests", name,
			  "is about a sandbox that is not there");
}

int fsck_requests(struct fsck *f, struct store *store, int64_t now_ms,
		  int64_t alive_ms, struct error *err)
{
	return store_requests_odd(store, now_ms, alive_ms, FSCK_PROBLEMS_MAX,
				  tell_request, f, err);
}

/* ---- rows ---- */

static void tell_row(const struct store_damaged *row, void *arg)
{
	struct fsck *f = arg;
	char key[3 * sizeof(row->key)], name[160];
	bool clone = !strcmp(row->table, "pool");
	bool port = !strcmp(row->table, "ports");

	f->damaged = f->damaged || (!clone && !port);
	str_escape(key, sizeof(key), row->key, strlen(row->key));
	snprintf(name, sizeof(name), "%s/%.140s", row->table, key);
	fsck_tell(f, row->named ? FSCK_DAMAGED : FSCK_DATABASE, ROWS_DIR, name,
		  "its row cannot be read: %s",
		  port	      ? "the port is closed" :
		  !row->named ? "it is nothing's" :
		  clone	      ? "the next start ends it" :
				"it can be removed, and nothing else");
}

int fsck_rows(struct fsck *f, struct store *store, struct error *err)
{
	return store_damaged(store, tell_row, f, err);
}

/* Those of a table that no method can remove. */
struct nameless {
	const char *name; /* TABLE/KEY */
	struct store_damaged *rows;
	size_t n;
};

static void keep_nameless(const struct store_damaged *row, void *arg)
{
	struct nameless *n = arg;
	size_t len = strlen(row->table);

	if (row->named || strncmp(n->name, row->table, len) != 0 ||
	    n->name[len] != '/')
		return;
	n->rows = xrealloc(n->rows, n->n + 1, sizeof(*n->rows));
	n->rows[n->n++] = *row;
}

int fsck_rows_repair(const struct fsck_problem *p, struct store *store,
		     struct error *err)
{
	struct nameless nameless = { .name = p->name };
	int r;

	if (p->kind != FSCK_DATABASE)
		return err_set(err, ERR_CONFLICT, "kept until it is removed");
	r = store_damaged(store, keep_nameless, &nameless, err);
	for (size_t i = 0; i < nameless.n && r == 0; i++)
		r = store_damaged_remove(store, nameless.rows[i].table,
					 nameless.rows[i].key, err);
	free(nameless.rows);
	return r;
}

/* ---- the network ---- */

static const char *foreign(const struct fsck *f)
{
	return f->strange ? ", but the database is new, empty or another "
			    "node's: it stays" :
			    "";
}

static void tell_stray(const struct net_stray *stray, void *arg)
{
	struct fsck *f = arg;
	char name[16];

	snprintf(name, sizeof(name), TAP "%u", stray->number);
	if (stray->tap)
		fsck_tell(f, FSCK_STRAY, "taps", name, "is no sandbox's%s",
			  foreign(f));
	else
		fsck_tell(f, FSCK_STRAY, "nftables", name,
			  "%s are no sandbox's%s", stray->text, foreign(f));
}

static bool should_run(const struct fsck_row *row)
{
	return row->slot >= 0 && row->slot < SLOT_MAX && row->uuid[0] &&
	       (row->kind == FSCK_CLONE ||
		(row->kind == FSCK_SANDBOX && row->state == SBX_RUNNING));
}

int fsck_network(struct fsck *f, struct net *net, net_owned_fn owned,
		 void *owned_arg, bool (*lives)(const char *uuid),
		 struct error *err)
{
	if (net_strays(net, owned, owned_arg, tell_stray, f, err) < 0)
		return -1;
	for (size_t i = 0; i < f->n_rows; i++) {
		const struct fsck_row *row = &f->rows[i];
		char name[16];

		if (!should_run(row) || net_tap_is_there((uint32_t)row->slot) ||
		    !lives(row->uuid))
			continue;
		snprintf(name, sizeof(name), TAP "%u", (uint32_t)row->slot);
		fsck_tell(f, FSCK_MISSING, "taps", name,
			  "is %s's, which runs without a network", row->id);
	}
	return 0;
}

int fsck_network_repair(const struct fsck_problem *p, struct net *net,
			struct error *err)
{
	uint64_t number;

	if (p->kind != FSCK_STRAY ||
	    str_parse_u64(p->name + strlen(TAP), SLOT_MAX - 1, &number) < 0)
		return err_set(err, ERR_CONFLICT, "nothing can be done here");
	return net_stray_remove(net, !strcmp(p->dir, "taps"), (uint32_t)number,
				err);
}
