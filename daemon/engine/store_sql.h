/* SPDX-License-Identifier: Apache-2.0 */
/* store_sql.h - statements, binding and columns, for the store_*.c */
#ifndef ENGINE_STORE_SQL_H
#define ENGINE_STORE_SQL_H

#include "engine/store.h"

#include "base/error.h"

#include <sqlite3.h>

struct seal;

enum store_stmt {
	Q_BEGIN,
	Q_COMMIT,
	Q_ROLLBACK,
	Q_META_GET,
	Q_META_SET,
	Q_SANDBOX_PUT,
	Q_SANDBOX_BUSY,
	Q_SANDBOX_REMOVE,
	Q_SANDBOX_GET,
	Q_SANDBOXES,
	Q_SEALED,
	Q_KEY_MARK,
	Q_KEY_OPENS,
	Q_REQUEST_GET,
	Q_REQUEST_PUT,
	Q_REQUEST_ANSWER,
	Q_REQUEST_REMOVE,
	Q_REQUEST_EXPIRE,
	Q_REQUEST_PENDING,
	Q_REQUESTS_ODD,
	Q_REQUESTS_DROP_ODD,
	Q_FORK_PUT,
	Q_FORK_REMOVE,
	Q_FORKS_CLEAR,
	Q_FORKS,
	Q_EVENT_ADD,
	Q_EVENTS,
	Q_EVENTS_OF,
	Q_EVENTS_RANGE,
	Q_EVENTS_TIME,
	Q_EVENTS_TRIM,
	Q_SNAPSHOT_PUT,
	Q_SNAPSHOT_REMOVE,
	Q_SNAPSHOTS,
	Q_PORT_PUT,
	Q_PORT_REMOVE,
	Q_PORTS_REMOVE,
	Q_PORTS,
	Q_TEMPLATE_PUT,
	Q_TEMPLATE_REMOVE,
	Q_TEMPLATES,
	Q_POOL_PUT,
	Q_POOL_REMOVE,
	Q_POOL,

	Q_COUNT,
};

/**
 * struct store - The database
 * @failed:	Since store_begin() something failed, and that is in @err
 */
struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[Q_COUNT];
	bool in_transaction, failed;
	bool damaged; /* a row was read that is not sound */
	struct error err;
	struct store_stats stats;
	struct seal *seal;
};

/* Bind by @fmt: s text, i int64_t, b pointer and size_t. */
sqlite3_stmt *store_bind(struct store *store, enum store_stmt which,
			 const char *fmt, ...);
/* Bind and run to the end; a failure is kept for the commit. */
void store_run(struct store *store, enum store_stmt which, const char *fmt,
	       ...);
int store_failed(struct store *store, const char *what, struct error *err);

void store_text(sqlite3_stmt *stmt, int column, char *ret, size_t size);
/* @text becomes "" if it cannot be a file's name. */
void store_word(char *text);
/* Exactly @len bytes, or zeros. */
void store_bytes(sqlite3_stmt *stmt, int column, void *ret, size_t len);
/* What was sealed, in clear, the caller's to free; NULL: it does not open. */
uint8_t *store_sealed(struct store *store, sqlite3_stmt *stmt, int column,
		      size_t *ret_len);
/* The same of exactly @len bytes; 0 or -1. */
int store_sealed_bytes(struct store *store, sqlite3_stmt *stmt, int column,
		       void *ret, size_t len);
enum row_verdict {
	ROW_SOUND = 0,
	ROW_DAMAGED,  /* but its key is that of an object */
	ROW_NAMELESS, /* is nothing's */
};

/* Of a row of a statement with ROW_JUDGED (store_rows.h).
 * @opens: what is sealed in it does
 */
enum row_verdict store_verdict(struct store *store, sqlite3_stmt *stmt,
			       bool opens);
/* What SOUND_X calls; an SQLite code. */
int store_judges(struct store *store);
/* Whether anything that was sealed opens. If not, it is the key that is wrong,
 * not the rows. 0 or -1.
 */
int store_key_opens(struct store *store, struct error *err);
/* So that it can be told also when no row is well. */
int store_key_mark(struct store *store, struct error *err);
/* In the place of one that cannot be read. */
Spec *store_bare_spec(void);
Spec *store_spec(struct store *store, sqlite3_stmt *stmt, int column);

#endif /* ENGINE_STORE_SQL_H */
