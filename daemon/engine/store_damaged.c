/* SPDX-License-Identifier: Apache-2.0 */
/* store_damaged.c - rows that make no sense
 *
 * Theory of operation
 * ===================
 *
 * A row that a disk, a hand or a bug has spoiled must not keep a node from
 * starting, and what it was about must not go because of it. Whoever reads a
 * table gets each row with two verdicts (store_rows.h): of one that is not sound
 * but named an object is made that can be removed and nothing else; one that is
 * not named stays where it is. All of them are told by store_damaged(), of all
 * tables in one way, and until there are none nothing that no row knows is
 * removed: it may be theirs.
 *
 * With a wrong key nothing opens: then it is the key, and no row is damaged.
 */
#include "engine/store_sql.h"
#include "engine/store_rows.h"
#include "engine/store_seal.h"

#include "base/str.h"
#include "engine/spec_check.h"

#include <stdlib.h>
#include <string.h>

#define KEY(c)                                                                 \
	"iif(typeof(" c ") = 'text', substr(" c ", 1, 100), quote(" c "))"

/* clang-format off */
#define TABLE(name, key, x)                                                    \
	{ name, key, "(" PLAIN_##x ") AND " OPENS_##x, NAMED_##x }
/* clang-format on */

static const struct table {
	const char *name, *key, *sound, *named;
} tables[] = {
	TABLE("sandboxes", KEY("id"), SANDBOX),
	TABLE("snapshots", KEY("id"), SNAPSHOT),
	TABLE("templates", KEY("id"), TEMPLATE),
	TABLE("pool", KEY("uuid"), CLONE),
	TABLE("ports", KEY("sandbox_id") " || ':' || " KEY("port"), PORT),
};
#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

/* ---- in SQL ---- */

/* What is sealed in @value, to be ended with drop(); NULL: it does not unseal. */
static uint8_t *take(sqlite3_context *sql, sqlite3_value *value, size_t *ret_len)
{
	const struct store *store = sqlite3_user_data(sql);
	const void *data = sqlite3_value_blob(value);

	return seal_take(store->seal, data, (size_t)sqlite3_value_bytes(value),
			 ret_len);
}

static void drop(uint8_t *clear, size_t len)
{
	if (clear)
		explicit_bzero(clear, len);
	free(clear);
}

/* opens(BLOB, LEN): it unseals, to so many bytes. */
static void sql_opens(sqlite3_context *sql, int n, sqlite3_value **values)
{
	size_t len = 0;
	uint8_t *clear = take(sql, values[0], &len);

	(void)n;
	sqlite3_result_int(
		sql, clear && len == (size_t)sqlite3_value_int64(values[1]));
	drop(clear, len);
}

/* unseals(BLOB) */
static void sql_unseals(sqlite3_context *sql, int n, sqlite3_value **values)
{
	size_t len = 0;
	uint8_t *clear = take(sql, values[0], &len);

	(void)n;
	sqlite3_result_int(sql, clear != NULL);
	drop(clear, len);
}

/* is_spec(BLOB): it unseals, to a specification. */
static void sql_is_spec(sqlite3_context *sql, int n, sqlite3_value **values)
{
	size_t len = 0;
	uint8_t *clear = take(sql, values[0], &len);
	Spec *spec = NULL;

	(void)n;
	if (clear)
		spec = sandbox__node__v1__create_sandbox_request__unpack(
			NULL, len, clear);
	sqlite3_result_int(sql, spec != NULL);
	pb_free(spec);
	drop(clear, len);
}

int store_judges(struct store *store)
{
	static const struct {
		const char *name;
		int n;
		void (*fn)(sqlite3_context *sql, int n, sqlite3_value **values);
	} judges[] = {
		{ "opens", 2, sql_opens },
		{ "unseals", 1, sql_unseals },
		{ "is_spec", 1, sql_is_spec },
	};
	const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
	int r = SQLITE_OK;

	for (size_t i = 0; i < 3 && r == SQLITE_OK; i++)
		r = sqlite3_create_function_v2(store->db, judges[i].name,
					       judges[i].n, flags, store,
					       judges[i].fn, NULL, NULL, NULL);
	return r;
}

/* ---- rows as they are read ---- */

enum row_verdict store_verdict(struct store *store, sqlite3_stmt *stmt,
			       bool opens)
{
	int n = sqlite3_column_count(stmt);

	if (opens && sqlite3_column_int(stmt, n - 2))
		return ROW_SOUND;
	store->damaged = true;
	return sqlite3_column_int(stmt, n - 1) ? ROW_DAMAGED : ROW_NAMELESS;
}

void store_word(char *text)
{
	if (!str_is_name(text, OBJECT_ID_SIZE, "A-Za-z0-9._-") ||
	    !strcmp(text, ".") || !strcmp(text, ".."))
		text[0] = '\0';
}

/* Nobody knows how long it was to live: no longer than any may. */
Spec *store_bare_spec(void)
{
	Sandbox__Node__V1__Resources resources =
		SANDBOX__NODE__V1__RESOURCES__INIT;
	Spec spec = SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;

	spec.resources = &resources;
	spec.timeout_ms = spec.idle_timeout_ms = SPEC_TIMEOUT_MAX;
	return spec_copy(&spec);
}

/* 1 yes, 0 no, -1 there is none: of a daemon before this one. */
static int mark_opens(struct store *store)
{
	sqlite3_stmt *s = store_bind(store, Q_KEY_OPENS, "");
	int opens =
		sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int(s, 0) : -1;

	sqlite3_reset(s);
	return opens;
}

int store_key_mark(struct store *store, struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_SEALED, "");
	bool used = sqlite3_step(s) == SQLITE_ROW;

	sqlite3_reset(s);
	if (mark_opens(store) >= 0 ||
	    (used && store_key_opens(store, NULL) < 0))
		return 0;
	store_begin(store);
	store_run(store, Q_KEY_MARK, "");
	return store_commit(store, err);
}

int store_key_opens(struct store *store, struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_SEALED, "");
	bool opens = mark_opens(store) == 1;

	while (!opens && sqlite3_step(s) == SQLITE_ROW) {
		Spec *spec = store_spec(store, s, 0);

		opens = spec != NULL;
		pb_free(spec);
	}
	sqlite3_reset(s);
	if (opens)
		return 0;
	return err_set(err, ERR_DATA_LOSS,
		       "no sandbox or snapshot in the state database can be "
		       "read: the key beside it is another one's");
}

/* ---- all of them ---- */

static int each_of(struct store *store, const struct table *t,
		   store_damaged_fn fn, void *arg, struct error *err)
{
	char *sql = sqlite3_mprintf("SELECT %s, (%s) IS TRUE FROM %s"
				    " WHERE (%s) IS NOT TRUE",
				    t->key, t->named, t->name, t->sound);
	struct store_damaged d = { .table = t->name };
	sqlite3_stmt *s = NULL;
	int r = SQLITE_NOMEM;

	if (sql)
		r = sqlite3_prepare_v2(store->db, sql, -1, &s, NULL);
	sqlite3_free(sql);
	while (s && (r = sqlite3_step(s)) == SQLITE_ROW) {
		store_text(s, 0, d.key, sizeof(d.key));
		d.named = sqlite3_column_int(s, 1);
		fn(&d, arg);
	}
	sqlite3_finalize(s);
	return r == SQLITE_DONE ?
		       0 :
		       store_failed(store, "look for damaged rows", err);
}

bool store_saw_damage(const struct store *store)
{
	return store->damaged;
}

int store_damaged(struct store *store, store_damaged_fn fn, void *arg,
		  struct error *err)
{
	for (size_t i = 0; i < N_TABLES; i++)
		if (each_of(store, &tables[i], fn, arg, err) < 0)
			return -1;
	return 0;
}

int store_damaged_remove(struct store *store, const char *table,
			 const char *key, struct error *err)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		const struct table *t = &tables[i];
		char *sql;
		int r;

		if (strcmp(t->name, table) != 0)
			continue;
		sql = sqlite3_mprintf("DELETE FROM %s WHERE (%s) IS NOT TRUE"
				      " AND %s = %Q",
				      t->name, t->sound, t->key, key);
		r = sqlite3_exec(store->db, sql ? sql : "?", NULL, NULL, NULL);
		sqlite3_free(sql);
		return r == SQLITE_OK ?
			       0 :
			       store_failed(store, "remove a row", err);
	}
	return err_set(err, ERR_NOT_FOUND, "there is no table '%s'", table);
}
