/* SPDX-License-Identifier: Apache-2.0 */
/* store_sandbox.c - the tables of sandboxes, snapshots and ports */
#include "engine/store_sql.h"

#include "base/cleanup.h"
#include "base/loop.h"
#include "engine/slot.h"

#include <stdio.h>
#include <string.h>

void store_sandbox_put(struct store *store, const struct sandbox_row *row)
{
	_cleanup_free_ uint8_t *spec = NULL;
	size_t len;

	spec = pb_pack(&row->spec->base, &len);
	store_run(store, Q_SANDBOX_PUT, "sisisissssbsssiiiiiiiiibii", row->id,
		  (int64_t)row->state, row->reason, (int64_t)row->generation,
		  row->uuid, row->slot, row->image_digest, row->template_id,
		  row->snapshot_id, row->next_snapshot, row->nonce,
		  sizeof(row->nonce), row->machine_id, row->boot_id,
		  row->start_kind, row->created_ms, row->started_ms,
		  row->paused_ms, row->resumed_ms, row->terminated_ms,
		  row->created_boot_ms, row->run_ms, (int64_t)row->runtime_ms,
		  (int64_t)row->cpu_ms, spec, len, (int64_t)row->busy_boot_ms,
		  (int64_t)row->run_boot_ms);
}

void store_sandbox_busy(struct store *store, const char *id, uint64_t boot_ms)
{
	store_run(store, Q_SANDBOX_BUSY, "is", (int64_t)boot_ms, id);
}

void store_sandbox_remove(struct store *store, const char *id)
{
	store_run(store, Q_SANDBOX_REMOVE, "s", id);
}

static int read_row(struct store *store, sqlite3_stmt *s,
		    struct sandbox_row *row, struct error *err)
{
	*row = (struct sandbox_row){
		.state = (enum sandbox_state)sqlite3_column_int(s, 1),
		.generation = (uint64_t)sqlite3_column_int64(s, 3),
		.slot = sqlite3_column_int64(s, 5),
		.created_ms = sqlite3_column_int64(s, 14),
		.started_ms = sqlite3_column_int64(s, 15),
		.paused_ms = sqlite3_column_int64(s, 16),
		.resumed_ms = sqlite3_column_int64(s, 17),
		.terminated_ms = sqlite3_column_int64(s, 18),
		.created_boot_ms = sqlite3_column_int64(s, 19),
		.run_ms = sqlite3_column_int64(s, 20),
		.runtime_ms = (uint64_t)sqlite3_column_int64(s, 21),
		.cpu_ms = (uint64_t)sqlite3_column_int64(s, 22),
		.spec = store_spec(store, s, 23),
		.busy_boot_ms = (uint64_t)sqlite3_column_int64(s, 24),
		.run_boot_ms = (uint64_t)sqlite3_column_int64(s, 25),
	};
	store_text(s, 0, row->id, sizeof(row->id));
	store_text(s, 2, row->reason, sizeof(row->reason));
	store_text(s, 4, row->uuid, sizeof(row->uuid));
	store_text(s, 6, row->image_digest, sizeof(row->image_digest));
	store_text(s, 7, row->template_id, sizeof(row->template_id));
	store_text(s, 8, row->snapshot_id, sizeof(row->snapshot_id));
	store_text(s, 9, row->next_snapshot, sizeof(row->next_snapshot));
	if (store_sealed_bytes(store, s, 10, row->nonce, sizeof(row->nonce)) <
	    0)
		pb_free(TAKE_PTR(row->spec));
	store_text(s, 11, row->machine_id, sizeof(row->machine_id));
	store_text(s, 12, row->boot_id, sizeof(row->boot_id));
	store_text(s, 13, row->start_kind, sizeof(row->start_kind));
	if (row->spec && row->state > SBX_NONE && row->state < SBX_STATE_COUNT)
		return 0;
	pb_free(TAKE_PTR(row->spec));
	return err_set(err, ERR_DATA_LOSS,
		       "sandbox '%s' in the state database cannot be read",
		       row->id);
}

int store_sandbox_get(struct store *store, const char *id,
		      struct sandbox_row *ret, struct error *err)
{
	sqlite3_stmt *stmt = store_bind(store, Q_SANDBOX_GET, "s", id);
	int r = sqlite3_step(stmt);

	if (r == SQLITE_ROW)
		r = read_row(store, stmt, ret, err);
	else if (r == SQLITE_DONE)
		r = err_set(err, ERR_NOT_FOUND,
			    "sandbox '%.64s' is not in the state database", id);
	else
		r = store_failed(store, "read a sandbox", err);
	sqlite3_reset(stmt);
	return r;
}

/* One row that makes no sense must not keep the others from their node: what it
 * has beside its spec is enough to end it by.
 */
static void make_failed(struct sandbox_row *row, sqlite3_stmt *s)
{
	pb_free(row->spec);
	row->spec = store_bare_spec();
	if (row->state != SBX_TERMINATED)
		row->state = SBX_FAILED;
	snprintf(row->reason, sizeof(row->reason), STATE_UNREADABLE);
	if (sqlite3_column_type(s, 5) != SQLITE_INTEGER ||
	    row->slot >= (int64_t)SLOT_MAX)
		row->slot = -1;
	/* When nobody knows since when it is: its time is not up. */
	if (sqlite3_column_type(s, 14) != SQLITE_INTEGER ||
	    sqlite3_column_type(s, 19) != SQLITE_INTEGER ||
	    row->created_ms < 1 || row->created_boot_ms < 0) {
		row->created_ms = loop_wall_ms();
		row->created_boot_ms = (int64_t)loop_boot_ms();
	}
	store_word(row->uuid);
	store_word(row->template_id);
	store_word(row->snapshot_id);
	store_word(row->next_snapshot);
}

/* Whether a row that was read is an object's: 1; 0 it is nothing's, -1 nothing
 * can be said of any row, for the key is another one's. Frees @spec unless 1.
 */
static int is_object(struct store *store, sqlite3_stmt *stmt, bool opens,
		     Spec *spec, bool *ret_damaged, struct error *err)
{
	enum row_verdict verdict = store_verdict(store, stmt, opens);
	int r = verdict != ROW_NAMELESS;

	if (verdict != ROW_SOUND && store_key_opens(store, err) < 0)
		r = -1;
	if (r <= 0)
		pb_free(spec);
	*ret_damaged = verdict == ROW_DAMAGED;
	return r;
}

int store_sandboxes(struct store *store, store_sandbox_fn fn, void *arg,
		    struct error *err)
{
	sqlite3_stmt *stmt = store_bind(store, Q_SANDBOXES, "");
	int r, known = 0;

	while (known >= 0 && (r = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct sandbox_row row;
		bool opens = read_row(store, stmt, &row, NULL) == 0, damaged;

		known = is_object(store, stmt, opens, row.spec, &damaged, err);
		if (known <= 0)
			continue;
		if (damaged)
			make_failed(&row, stmt);
		fn(&row, arg);
	}
	sqlite3_reset(stmt);
	if (known < 0)
		return -1;
	if (r != SQLITE_DONE)
		return store_failed(store, "read the sandboxes", err);
	return 0;
}

void store_snapshot_put(struct store *store, const struct snapshot_row *row)
{
	_cleanup_free_ uint8_t *spec = NULL;
	size_t len;

	spec = pb_pack(&row->spec->base, &len);
	store_run(store, Q_SNAPSHOT_PUT, "sssissbiib", row->id, row->name,
		  row->sandbox_id, (int64_t)row->internal, row->image_digest,
		  row->template_id, row->nonce, sizeof(row->nonce),
		  row->created_ms, (int64_t)row->size_bytes, spec, len);
}

void store_snapshot_remove(struct store *store, const char *id)
{
	store_run(store, Q_SNAPSHOT_REMOVE, "s", id);
}

/* It can be removed, and shows what it stands on: that stays as well. */
static void make_damaged(struct snapshot_row *row)
{
	pb_free(row->spec);
	row->spec = store_bare_spec();
	row->damaged = true;
	row->internal = false;
	if (row->size_bytes > INT64_MAX)
		row->size_bytes = 0;
	store_word(row->template_id);
}

int store_snapshots(struct store *store, store_snapshot_fn fn, void *arg,
		    struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_SNAPSHOTS, "");
	int r, known = 0;

	while (known >= 0 && (r = sqlite3_step(s)) == SQLITE_ROW) {
		struct snapshot_row row = {
			.internal = sqlite3_column_int(s, 3),
			.created_ms = sqlite3_column_int64(s, 7),
			.size_bytes = (uint64_t)sqlite3_column_int64(s, 8),
			.spec = store_spec(store, s, 9),
		};
		bool opens = store_sealed_bytes(store, s, 6, row.nonce,
						sizeof(row.nonce)) == 0;
		bool damaged;

		known = is_object(store, s, opens && row.spec, row.spec,
				  &damaged, err);
		if (known <= 0)
			continue;
		store_text(s, 0, row.id, sizeof(row.id));
		store_text(s, 1, row.name, sizeof(row.name));
		store_text(s, 2, row.sandbox_id, sizeof(row.sandbox_id));
		store_text(s, 4, row.image_digest, sizeof(row.image_digest));
		store_text(s, 5, row.template_id, sizeof(row.template_id));
		if (damaged)
			make_damaged(&row);
		fn(&row, arg);
	}
	sqlite3_reset(s);
	if (known < 0)
		return -1;
	if (r != SQLITE_DONE)
		return store_failed(store, "read the snapshots", err);
	return 0;
}

void store_port_put(struct store *store, const struct port_row *row)
{
	store_run(store, Q_PORT_PUT, "sii", row->sandbox_id, (int64_t)row->port,
		  (int64_t)row->host_port);
}

void store_port_remove(struct store *store, const char *sandbox_id,
		       uint16_t port)
{
	store_run(store, Q_PORT_REMOVE, "si", sandbox_id, (int64_t)port);
}

void store_ports_remove(struct store *store, const char *sandbox_id)
{
	store_run(store, Q_PORTS_REMOVE, "s", sandbox_id);
}

int store_ports(struct store *store, store_port_fn fn, void *arg,
		struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_PORTS, "");
	int r;

	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		struct port_row row = {
			.port = (uint16_t)sqlite3_column_int(s, 1),
			.host_port = (uint16_t)sqlite3_column_int(s, 2),
		};

		store_text(s, 0, row.sandbox_id, sizeof(row.sandbox_id));
		if (store_verdict(store, s, true) == ROW_SOUND)
			fn(&row, arg);
	}
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read the ports", err);
	return 0;
}
