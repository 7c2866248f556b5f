/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the database: opening, schema, transactions
 *
 * Theory of operation
 * ===================
 *
 * There is one connection and one writer, the main thread. EXCLUSIVE locking
 * keeps a second daemon out and spares the shared memory file.
 *
 * Each schema version has one migration: the statements that lead to it from
 * the version before. All that are missing run in one transaction with the
 * change of user_version, so a crash leaves the old schema or the new one.
 */
#include "engine/store_sql.h"
#include "engine/store_rows.h"
#include "engine/store_seal.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Never change what is released; add. */
static const char *const migrations[STORE_VERSION] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE sandboxes (id TEXT PRIMARY KEY, state INTEGER NOT NULL,"
	" reason TEXT NOT NULL, generation INTEGER NOT NULL,"
	" uuid TEXT NOT NULL, slot INTEGER NOT NULL,"
	" image_digest TEXT NOT NULL, template_id TEXT NOT NULL,"
	" snapshot_id TEXT NOT NULL, next_snapshot TEXT NOT NULL,"
	" nonce BLOB NOT NULL, machine_id TEXT NOT NULL,"
	" boot_id TEXT NOT NULL, start_kind TEXT NOT NULL,"
	" created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
	" paused_ms INTEGER NOT NULL, resumed_ms INTEGER NOT NULL,"
	" terminated_ms INTEGER NOT NULL, created_boot_ms INTEGER NOT NULL,"
	" run_ms INTEGER NOT NULL, runtime_ms INTEGER NOT NULL,"
	" cpu_ms INTEGER NOT NULL, spec BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE requests (id TEXT PRIMARY KEY, method TEXT NOT NULL,"
	" sandbox_id TEXT NOT NULL, digest BLOB NOT NULL,"
	" expires_ms INTEGER NOT NULL, answer BLOB) WITHOUT ROWID;"
	"CREATE INDEX requests_expires ON requests (expires_ms);"
	"CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
	" type TEXT NOT NULL, sandbox_id TEXT NOT NULL,"
	" time_ms INTEGER NOT NULL, data BLOB NOT NULL);"
	"CREATE INDEX events_sandbox ON events (sandbox_id, sequence);"
	"CREATE TABLE snapshots (id TEXT PRIMARY KEY, name TEXT NOT NULL,"
	" sandbox_id TEXT NOT NULL, internal INTEGER NOT NULL,"
	" image_digest TEXT NOT NULL, template_id TEXT NOT NULL,"
	" nonce BLOB NOT NULL, created_ms INTEGER NOT NULL,"
	" size_bytes INTEGER NOT NULL, spec BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE ports (sandbox_id TEXT NOT NULL, port INTEGER NOT NULL,"
	" host_port INTEGER NOT NULL, PRIMARY KEY (sandbox_id, port))"
	" WITHOUT ROWID;"
	"CREATE TABLE templates (id TEXT PRIMARY KEY, image TEXT NOT NULL,"
	" image_digest TEXT NOT NULL, cpu INTEGER NOT NULL,"
	" memory_mib INTEGER NOT NULL, disk_mib INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL,"
	" size_bytes INTEGER NOT NULL, bad INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE pool (uuid TEXT PRIMARY KEY, template_id TEXT NOT NULL,"
	" slot INTEGER NOT NULL) WITHOUT ROWID;",
	/* Two times of CLOCK_BOOTTIME that outlive the daemon. */
	"ALTER TABLE sandboxes ADD COLUMN busy_boot_ms INTEGER NOT NULL"
	" DEFAULT 0;"
	"ALTER TABLE sandboxes ADD COLUMN run_boot_ms INTEGER NOT NULL"
	" DEFAULT 0;",
	"CREATE TABLE forks (sandbox_id TEXT PRIMARY KEY) WITHOUT ROWID;",
	/* Env and nonces are sealed (store_seal.h). */
	"UPDATE sandboxes SET nonce = seal(nonce), spec = seal(spec);"
	"UPDATE snapshots SET nonce = seal(nonce), spec = seal(spec);"
	"UPDATE requests SET answer = seal(answer) WHERE answer IS NOT NULL;",
	/* Until then creates alone were use. */
	("ALTER TABLE templates ADD COLUMN asked_ms INTEGER NOT NULL DEFAULT 0;"
	 "UPDATE templates SET asked_ms = used_ms;"),
};

#define SEALED_SINCE 4 /* the version above */

/* What is wrong with a request (enum store_odd), of its columns. ?1: it must have
 * expired after this, ?2: before that, ?3: ended sandboxes that are remembered,
 * ?4: the key is the one that answers were sealed with.
 *
 * A request is kept no longer than the sandbox that it was about; but one to
 * terminate it may be repeated later, and what ended may have been forgotten
 * early because there were so many. A fork of a snapshot is about none.
 */
_Static_assert(SBX_TERMINATED == 7, "below");
#define ODD                                                                    \
	"CASE WHEN typeof(id) != 'text' OR length(id) NOT BETWEEN 1 AND 64"    \
	" OR id GLOB '*[^A-Za-z0-9._-]*' OR length(method) NOT BETWEEN 1 AND"  \
	" 31 OR length(sandbox_id) > 128 OR length(digest) != 32"              \
	" OR typeof(expires_ms) != 'integer' OR expires_ms > ?2 THEN 1"        \
	" WHEN expires_ms < ?1 THEN 2"                                         \
	" WHEN ?4 AND answer IS NOT NULL AND NOT unseals(answer) THEN 4"       \
	" WHEN method IN ('CreateSandbox', 'UpdateSandbox', 'PauseSandbox',"   \
	" 'ResumeSandbox', 'TerminateSandbox', 'ForkSandbox',"                 \
	" 'RestoreSandbox', 'CreateSnapshot', 'ExposePort', 'ClosePort')"      \
	" AND NOT (method = 'ForkSandbox' AND sandbox_id = '')"                \
	" AND (answer IS NULL OR (method != 'TerminateSandbox' AND"            \
	" (SELECT count(*) FROM sandboxes WHERE state = 7) < ?3))"             \
	" AND NOT EXISTS (SELECT 1 FROM sandboxes s"                           \
	" WHERE s.id = sandbox_id) THEN 3 ELSE 0 END"

/* clang-format off */
static const char *const sql[Q_COUNT] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_ROLLBACK] = "ROLLBACK",
	[Q_META_GET] = "SELECT value FROM meta WHERE key = ?",
	[Q_META_SET] = "INSERT OR REPLACE INTO meta VALUES (?, ?)",
	[Q_SANDBOX_PUT] = "INSERT OR REPLACE INTO sandboxes VALUES (?, ?, ?, ?,"
		" ?, ?, ?, ?, ?, ?, seal(?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
		" seal(?), ?, ?)",
	[Q_SANDBOX_BUSY] = "UPDATE sandboxes SET busy_boot_ms = ?"
		" WHERE id = ?",
	[Q_SANDBOX_REMOVE] = "DELETE FROM sandboxes WHERE id = ?",
	[Q_SANDBOX_GET] = "SELECT * FROM sandboxes WHERE id = ?",
	[Q_SANDBOXES] = "SELECT" ROW_JUDGED(SANDBOX) "FROM sandboxes ORDER BY created_ms, id",
	[Q_SEALED] = "SELECT spec FROM sandboxes UNION ALL"
		" SELECT spec FROM snapshots",
	[Q_KEY_MARK] = "INSERT OR IGNORE INTO meta"
		" VALUES ('key_mark', seal('sandboxd'))",
	[Q_KEY_OPENS] = "SELECT opens(value, 8) FROM meta"
		" WHERE key = 'key_mark'",
	[Q_REQUEST_GET] = "SELECT method, sandbox_id, digest, answer"
		" FROM requests WHERE id = ?",
	[Q_REQUEST_PUT] = "INSERT OR REPLACE INTO requests"
		" VALUES (?, ?, ?, ?, ?, NULL)",
	[Q_REQUEST_ANSWER] = "UPDATE requests SET answer = seal(?)"
		" WHERE id = ?",
	[Q_REQUEST_REMOVE] = "DELETE FROM requests WHERE id = ?",
	[Q_REQUEST_EXPIRE] = "DELETE FROM requests WHERE expires_ms < ?",
	[Q_REQUEST_PENDING] = "SELECT id FROM requests WHERE method = ?"
		" AND sandbox_id = ? AND answer IS NULL",
	[Q_REQUESTS_ODD] = "SELECT CAST(id AS TEXT), " ODD " AS why"
		" FROM requests WHERE why > 0 LIMIT ?5",
	[Q_REQUESTS_DROP_ODD] = "DELETE FROM requests WHERE " ODD " > 0",
	[Q_FORK_PUT] = "INSERT OR REPLACE INTO forks VALUES (?)",
	[Q_FORK_REMOVE] = "DELETE FROM forks WHERE sandbox_id = ?",
	[Q_FORKS_CLEAR] = "DELETE FROM forks",
	[Q_FORKS] = "SELECT sandbox_id FROM forks",
	[Q_EVENT_ADD] = "INSERT INTO events (type, sandbox_id, time_ms, data)"
		" VALUES (?, ?, ?, ?)",
	[Q_EVENTS] = "SELECT * FROM events WHERE sequence > ?"
		" ORDER BY sequence LIMIT ?",
	[Q_EVENTS_OF] = "SELECT * FROM events WHERE sandbox_id = ?"
		" AND sequence > ? ORDER BY sequence LIMIT ?",
	[Q_EVENTS_RANGE] = "SELECT (SELECT min(sequence) FROM events),"
		" (SELECT max(sequence) FROM events)",
	[Q_EVENTS_TIME] = "SELECT time_ms FROM events ORDER BY sequence DESC"
		" LIMIT 1",
	[Q_EVENTS_TRIM] = "DELETE FROM events WHERE sequence <"
		" (SELECT max(sequence) FROM events)"
		" AND (time_ms < ? OR sequence <="
		" (SELECT max(sequence) FROM events) - ?)",
	[Q_SNAPSHOT_PUT] = "INSERT OR REPLACE INTO snapshots"
		" VALUES (?, ?, ?, ?, ?, ?, seal(?), ?, ?, seal(?))",
	[Q_SNAPSHOT_REMOVE] = "DELETE FROM snapshots WHERE id = ?",
	[Q_SNAPSHOTS] = "SELECT" ROW_JUDGED(SNAPSHOT) "FROM snapshots ORDER BY created_ms, id",
	[Q_PORT_PUT] = "INSERT OR REPLACE INTO ports VALUES (?, ?, ?)",
	[Q_PORT_REMOVE] = "DELETE FROM ports WHERE sandbox_id = ? AND port = ?",
	[Q_PORTS_REMOVE] = "DELETE FROM ports WHERE sandbox_id = ?",
	[Q_PORTS] = "SELECT" ROW_JUDGED(PORT) "FROM ports",
	[Q_TEMPLATE_PUT] = "INSERT OR REPLACE INTO templates"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[Q_TEMPLATE_REMOVE] = "DELETE FROM templates WHERE id = ?",
	[Q_TEMPLATES] = "SELECT" ROW_JUDGED(TEMPLATE) "FROM templates ORDER BY created_ms, id",
	[Q_POOL_PUT] = "INSERT OR REPLACE INTO pool VALUES (?, ?, ?)",
	[Q_POOL_REMOVE] = "DELETE FROM pool WHERE uuid = ?",
	[Q_POOL] = "SELECT" ROW_JUDGED(CLONE) "FROM pool",
};
/* clang-format on */

int store_failed(struct store *store, const char *what, struct error *err)
{
	int code = sqlite3_errcode(store->db);

	return err_set(err, code == SQLITE_FULL ? ERR_LIMIT : ERR_INTERNAL,
		       "%s in the state database: %s", what,
		       sqlite3_errmsg(store->db));
}

static void keep_failure(struct store *store, const char *what)
{
	if (store->failed)
		return;
	store->failed = true;
	store_failed(store, what, &store->err);
}

static int exec(struct store *store, const char *text, const char *what,
		struct error *err)
{
	if (sqlite3_exec(store->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return store_failed(store, what, err);
	return 0;
}

static int read_version(struct store *store, int *ret, struct error *err)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &stmt,
			       NULL) != SQLITE_OK)
		return store_failed(store, "read the version", err);
	*ret = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int(stmt, 0) :
						  -1;
	sqlite3_finalize(stmt);
	if (*ret < 0)
		return store_failed(store, "read the version", err);
	return 0;
}

static int migrate(struct store *store, const char *path, struct error *err)
{
	char text[64];
	int version = 0;

	if (read_version(store, &version, err) < 0)
		return -1;
	if (version > STORE_VERSION)
		return err_set(err, ERR_INVALID,
			       "the state database is version %d of a newer "
			       "daemon, this one knows %d",
			       version, STORE_VERSION);
	if (seal_open(path, version < SEALED_SINCE, &store->seal, err) < 0)
		return -1;
	if (seal_register(store->seal, store->db) != SQLITE_OK ||
	    store_judges(store) != SQLITE_OK)
		return store_failed(store, "add seal()", err);
	if (version == STORE_VERSION)
		return 0;
	if (exec(store, "BEGIN IMMEDIATE", "begin", err) < 0)
		return -1;
	for (int v = version; v < STORE_VERSION; v++)
		if (exec(store, migrations[v], "bring up to date", err) < 0)
			return -1;
	sqlite3_snprintf(sizeof(text), text, "PRAGMA user_version = %d",
			 STORE_VERSION);
	if (exec(store, text, "bring up to date", err) < 0 ||
	    exec(store, "COMMIT", "bring up to date", err) < 0)
		return -1;
	/* What is sealed now was in clear: nothing of that stays in the file. */
	if (version > 0 && version < SEALED_SINCE &&
	    (exec(store, "VACUUM", "bring up to date", err) < 0 ||
	     exec(store, "PRAGMA wal_checkpoint(TRUNCATE)", "bring up to date",
		  err) < 0))
		return -1;
	return 0;
}

static int open_file(const char *path, struct store *store, struct error *err)
{
	/* SQLite would make it by umask; what users name is in it. */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, errno, "open '%s'", path);
	fchmod(fd, 0600);
	close(fd);
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE, NULL) !=
	    SQLITE_OK)
		return store_failed(store, "open", err);
	sqlite3_busy_timeout(store->db, 1000);
	if (exec(store,
		 "PRAGMA locking_mode = EXCLUSIVE;"
		 "PRAGMA journal_mode = WAL;"
		 "PRAGMA synchronous = FULL;"
		 "PRAGMA trusted_schema = OFF;",
		 "open", err) < 0)
		return -1;
	return 0;
}

int store_open(const char *path, struct store **ret, struct error *err)
{
	struct store *store = xcalloc(1, sizeof(*store));

	if (open_file(path, store, err) < 0 || migrate(store, path, err) < 0)
		goto fail;
	for (int i = 0; i < Q_COUNT; i++) {
		if (sqlite3_prepare_v3(store->db, sql[i], -1,
				       SQLITE_PREPARE_PERSISTENT,
				       &store->stmts[i], NULL) == SQLITE_OK)
			continue;
		store_failed(store, "prepare", err);
		goto fail;
	}
	if (store_key_mark(store, err) < 0)
		goto fail;
	*ret = store;
	return 0;
fail:
	store_close(store);
	return -1;
}

int store_check(struct store *store, struct error *err)
{
	sqlite3_stmt *stmt;
	const char *text;
	bool well;

	if (sqlite3_prepare_v2(store->db, "PRAGMA integrity_check(1)", -1,
			       &stmt, NULL) != SQLITE_OK)
		return store_failed(store, "check", err);
	well = sqlite3_step(stmt) == SQLITE_ROW;
	text = well ? (const char *)sqlite3_column_text(stmt, 0) : "no answer";
	well = well && text && !strcmp(text, "ok");
	if (!well)
		err_set(err, ERR_DATA_LOSS, "the state database: %.160s", text);
	sqlite3_finalize(stmt);
	return well ? 0 : -1;
}

struct store *store_close(struct store *store)
{
	if (!store)
		return NULL;
	if (store->in_transaction)
		store_rollback(store);
	for (int i = 0; i < Q_COUNT; i++)
		sqlite3_finalize(store->stmts[i]);
	sqlite3_close(store->db);
	seal_close(store->seal);
	free(store);
	return NULL;
}

static void bind_va(sqlite3_stmt *stmt, const char *fmt, va_list ap)
{
	sqlite3_reset(stmt);
	for (int i = 1; *fmt; fmt++, i++) {
		const void *data;

		switch (*fmt) {
		case 's':
			sqlite3_bind_text(stmt, i, va_arg(ap, const char *),
					  -1, SQLITE_TRANSIENT);
			break;
		case 'i':
			sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
			break;
		case 'b':
			data = va_arg(ap, const void *);
			sqlite3_bind_blob64(stmt, i, data ? data : "",
					    va_arg(ap, size_t),
					    SQLITE_TRANSIENT);
			break;
		default:
			abort();
		}
	}
}

sqlite3_stmt *store_bind(struct store *store, enum store_stmt which,
			 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	bind_va(store->stmts[which], fmt, ap);
	va_end(ap);
	return store->stmts[which];
}

void store_run(struct store *store, enum store_stmt which, const char *fmt,
	       ...)
{
	sqlite3_stmt *stmt = store->stmts[which];
	va_list ap;

	if (store->failed)
		return;
	va_start(ap, fmt);
	bind_va(stmt, fmt, ap);
	va_end(ap);
	if (sqlite3_step(stmt) != SQLITE_DONE)
		keep_failure(store, "write");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

void store_begin(struct store *store)
{
	if (store->in_transaction)
		abort();
	store->failed = false;
	store->in_transaction = true;
	store_run(store, Q_BEGIN, "");
}

void store_rollback(struct store *store)
{
	store->in_transaction = false;
	store->failed = false;
	if (!sqlite3_get_autocommit(store->db))
		store_run(store, Q_ROLLBACK, "");
	store->failed = false;
}

int store_commit(struct store *store, struct error *err)
{
	uint64_t began = measure_now();
	struct error why;

	store_run(store, Q_COMMIT, "");
	histogram_add(&store->stats.commits, measure_since(began));
	if (!store->failed) {
		store->in_transaction = false;
		return 0;
	}
	store->stats.failures++;
	why = store->err;
	store_rollback(store);
	if (err)
		*err = why;
	return -1;
}

const struct store_stats *store_stats(const struct store *store)
{
	return &store->stats;
}

void store_text(sqlite3_stmt *stmt, int column, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	sqlite3_snprintf((int)size, ret, "%s", text ? text : "");
}

void store_bytes(sqlite3_stmt *stmt, int column, void *ret, size_t len)
{
	const void *data = sqlite3_column_blob(stmt, column);

	memset(ret, 0, len);
	if (data && (size_t)sqlite3_column_bytes(stmt, column) == len)
		memcpy(ret, data, len);
}

uint8_t *store_sealed(struct store *store, sqlite3_stmt *stmt, int column,
		      size_t *ret_len)
{
	const void *data = sqlite3_column_blob(stmt, column);

	return seal_take(store->seal, data,
			 (size_t)sqlite3_column_bytes(stmt, column), ret_len);
}

int store_sealed_bytes(struct store *store, sqlite3_stmt *stmt, int column,
		       void *ret, size_t len)
{
	size_t got = 0;
	uint8_t *data = store_sealed(store, stmt, column, &got);
	int r = data && got == len ? 0 : -1;

	if (r == 0)
		memcpy(ret, data, len);
	if (data)
		explicit_bzero(data, got);
	free(data);
	return r;
}

Spec *store_spec(struct store *store, sqlite3_stmt *stmt, int column)
{
	size_t len = 0;
	uint8_t *data = store_sealed(store, stmt, column, &len);
	Spec *spec = data ? sandbox__node__v1__create_sandbox_request__unpack(
				    NULL, len, data) :
			    NULL;

	free(data);
	return spec;
}

void store_meta_get(struct store *store, const char *key, char *ret,
		    size_t size)
{
	sqlite3_stmt *stmt = store_bind(store, Q_META_GET, "s", key);

	ret[0] = '\0';
	if (sqlite3_step(stmt) == SQLITE_ROW)
		store_text(stmt, 0, ret, size);
	sqlite3_reset(stmt);
}

void store_meta_set(struct store *store, const char *key, const char *value)
{
	store_run(store, Q_META_SET, "ss", key, value);
}
