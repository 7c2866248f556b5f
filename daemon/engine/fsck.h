/* SPDX-License-Identifier: Apache-2.0 */
/* fsck.h - does the state directory hold what the database says, and no more?
 *
 * The check reads only, blocks for as long as reading all snapshots, templates
 * and images takes, and runs on any thread: it has its own copy of the rows.
 * What it finds about a node that runs may be no longer so when it has ended:
 * whoever repairs looks again first (rpc_check.c). Of a node that does not run
 * fsck_offline() does it all.
 */
#ifndef ENGINE_FSCK_H
#define ENGINE_FSCK_H

#include "engine/net.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct error;
struct net;

#define FSCK_PROBLEMS_MAX 1000 /* told; the rest are counted */

enum fsck_kind {
	FSCK_STRAY = 0, /* files that no row tells of */
	FSCK_LEFTOVER,	/* of a deletion or import that was cut off */
	FSCK_DAMAGED,	/* not what its manifest or digest says */
	FSCK_MISSING,	/* a row without its files */
	FSCK_DANGLING,	/* a row that needs a row that is not there */
	FSCK_DATABASE,	/* the database itself */

	FSCK_KIND_COUNT,
};

/* "stray", ... */
const char *fsck_kind_str(enum fsck_kind kind);

/**
 * struct fsck_problem - One
 * @dir, @name:	guests, snapshots, templates, images and what is in it; or
 *		"sandboxes" and an id; "ports" and "ID:PORT"; "requests" and an
 *		id; "taps" or "nftables" and a tap; or "sandboxd.db" and "" or
 *		"TABLE/KEY" of a row
 * @text:	What is wrong, a sentence's end
 * @repaired:	It was, and is no more
 */
struct fsck_problem {
	enum fsck_kind kind;
	char dir[16], name[160], text[240];
	bool repaired;
};

struct fsck_report {
	struct fsck_problem *problems;
	size_t n, unrepaired;
	uint64_t untold, checked; /* directories that were read through */
};

enum fsck_row_kind {
	FSCK_SANDBOX,
	FSCK_SNAPSHOT,
	FSCK_TEMPLATE,
	FSCK_CLONE,
	FSCK_PORT, /* its id is the sandbox's */
};

/* Of a row what the check needs. */
struct fsck_row {
	enum fsck_row_kind kind;
	enum sandbox_state state;
	char id[OBJECT_ID_SIZE];
	char uuid[HV_UUID_SIZE];
	char snapshot_id[OBJECT_ID_SIZE], next_snapshot[OBJECT_ID_SIZE];
	char template_id[OBJECT_ID_SIZE];
	char image_digest[80];
	int64_t slot; /* -1: none */
	uint16_t port;
	bool bad;
};

/**
 * struct fsck - One check
 * @strange:	The database is new, empty or another node's: what it does not
 *		know may be somebody's. Nothing may be repaired
 * @damaged:	Rows cannot be read: what no row knows may be theirs, and stays
 * @running:	A daemon works on the directory: what looks cut off may be on
 *		its way
 */
struct fsck {
	const char *state_dir;
	bool strange, damaged, running;
	struct fsck_row *rows;
	size_t n_rows;
	struct fsck_report report;
};

void fsck_add_sandbox(struct fsck *f, const struct sandbox_row *row);
void fsck_add_snapshot(struct fsck *f, const struct snapshot_row *row);
void fsck_add_template(struct fsck *f, const struct template_row *row);
void fsck_add_clone(struct fsck *f, const struct pool_row *row);
void fsck_add_port(struct fsck *f, const struct port_row *row);

/* Requests, taps and rules: on the main thread, before fsck_run().
 *
 * @alive_ms:	As of store_requests_odd()
 * @net:	NULL: the node does not run.  -1 then also when another node does,
 *		here: nothing of its is looked at
 * @lives:	Whether a guest runs that should
 */
int fsck_requests(struct fsck *f, struct store *store, int64_t now_ms,
		  int64_t alive_ms, struct error *err);
int fsck_network(struct fsck *f, struct net *net, net_owned_fn owned,
		 void *owned_arg, bool (*lives)(const char *uuid),
		 struct error *err);
/* Rows that cannot be read: the same. */
int fsck_rows(struct fsck *f, struct store *store, struct error *err);
/* What fsck_rows() told as @p, gone, and its like of that table; an object stays,
 * for its own method to remove.
 */
int fsck_rows_repair(const struct fsck_problem *p, struct store *store,
		     struct error *err);
/* What fsck_network() told as @p, gone. */
int fsck_network_repair(const struct fsck_problem *p, struct net *net,
			struct error *err);

/* Fills in f->report. Which directories cannot be read is told there too. */
void fsck_run(struct fsck *f);
/* Add a problem. */
void fsck_tell(struct fsck *f, enum fsck_kind kind, const char *dir,
	       const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void fsck_fini(struct fsck *f);

/**
 * fsck_offline() - Check, and with @repair repair, a node that does not run
 *
 * Prints what it finds. A daemon that runs has the database locked: refused.
 *
 * Return: the program's exit status: 0 all is well, 1 something is wrong (still,
 * after a repair), 2 it could not be checked
 */
int fsck_offline(const struct config *config, bool repair);

#endif /* ENGINE_FSCK_H */
