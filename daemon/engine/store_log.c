/* SPDX-License-Identifier: Apache-2.0 */
/* store_log.c - the tables of requests, events, templates and clones */
#include "engine/store_sql.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <string.h>

int store_request_get(struct store *store, const char *request_id,
		      struct store_request *ret, struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_REQUEST_GET, "s", request_id);
	int r = sqlite3_step(s);

	if (r == SQLITE_DONE) {
		sqlite3_reset(s);
		return 0;
	}
	if (r != SQLITE_ROW) {
		sqlite3_reset(s);
		return store_failed(store, "read a request", err);
	}
	*ret = (struct store_request){
		.answered = sqlite3_column_type(s, 3) != SQLITE_NULL,
	};
	store_text(s, 0, ret->method, sizeof(ret->method));
	store_text(s, 1, ret->sandbox_id, sizeof(ret->sandbox_id));
	store_bytes(s, 2, ret->digest, sizeof(ret->digest));
	if (ret->answered)
		ret->answer = store_sealed(store, s, 3, &ret->answer_len);
	sqlite3_reset(s);
	if (ret->answer && !ret->answer_len)
		free(TAKE_PTR(ret->answer));
	else if (ret->answered && !ret->answer)
		return err_set(err, ERR_DATA_LOSS,
			       "the answer to request '%s' cannot be read",
			       request_id);
	return 1;
}

void store_request_put(struct store *store, const char *request_id,
		       const char *method, const char *sandbox_id,
		       const uint8_t digest[REQUEST_DIGEST_LEN],
		       int64_t expires_ms)
{
	store_run(store, Q_REQUEST_PUT, "sssbi", request_id, method,
		  sandbox_id, digest, (size_t)REQUEST_DIGEST_LEN, expires_ms);
}

void store_request_answer(struct store *store, const char *request_id,
			  const uint8_t *answer, size_t len)
{
	store_run(store, Q_REQUEST_ANSWER, "bs", answer, len, request_id);
}

void store_request_remove(struct store *store, const char *request_id)
{
	store_run(store, Q_REQUEST_REMOVE, "s", request_id);
}

void store_requests_expire(struct store *store, int64_t now_ms)
{
	store_run(store, Q_REQUEST_EXPIRE, "i", now_ms);
}

/* A daemon looks every few minutes, and clocks are set. */
#define ODD_SLACK_MS (INT64_C(3600) * 1000)
#define ODD_LATE_MS  (INT64_C(48) * 3600 * 1000)

static int64_t odd_before(int64_t now_ms, int64_t alive_ms)
{
	return (alive_ms < now_ms ? alive_ms : now_ms) - ODD_SLACK_MS;
}

static int64_t key_opens(struct store *store)
{
	return store_key_opens(store, NULL) == 0;
}

int store_requests_odd(struct store *store, int64_t now_ms, int64_t alive_ms,
		       uint32_t limit, store_odd_fn fn, void *arg,
		       struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_REQUESTS_ODD, "iiiii",
				     odd_before(now_ms, alive_ms),
				     now_ms + ODD_LATE_MS,
				     (int64_t)SANDBOX_TERMINATED_MAX,
				     key_opens(store), (int64_t)limit);
	int r;

	while ((r = sqlite3_step(s)) == SQLITE_ROW)
		fn((const char *)sqlite3_column_text(s, 0),
		   (enum store_odd)sqlite3_column_int(s, 1), arg);
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read the requests", err);
	return 0;
}

void store_requests_drop_odd(struct store *store, int64_t now_ms,
			     int64_t alive_ms)
{
	store_run(store, Q_REQUESTS_DROP_ODD, "iiii",
		  odd_before(now_ms, alive_ms), now_ms + ODD_LATE_MS,
		  (int64_t)SANDBOX_TERMINATED_MAX, key_opens(store));
}

int64_t store_events_time(struct store *store)
{
	sqlite3_stmt *s = store_bind(store, Q_EVENTS_TIME, "");
	int64_t ms = 0;

	if (sqlite3_step(s) == SQLITE_ROW)
		ms = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return ms;
}

void store_fork_put(struct store *store, const char *sandbox_id)
{
	store_run(store, Q_FORK_PUT, "s", sandbox_id);
}

void store_fork_remove(struct store *store, const char *sandbox_id)
{
	store_run(store, Q_FORK_REMOVE, "s", sandbox_id);
}

void store_forks_clear(struct store *store)
{
	store_run(store, Q_FORKS_CLEAR, "");
}

int store_forks(struct store *store, store_fork_fn fn, void *arg,
		struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_FORKS, "");
	int r;

	while ((r = sqlite3_step(s)) == SQLITE_ROW)
		fn((const char *)sqlite3_column_text(s, 0), arg);
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read the forks", err);
	return 0;
}

bool store_request_pending(struct store *store, const char *method,
			   const char *sandbox_id,
			   char ret[REQUEST_ID_MAX + 1])
{
	sqlite3_stmt *s =
		store_bind(store, Q_REQUEST_PENDING, "ss", method, sandbox_id);
	bool found = sqlite3_step(s) == SQLITE_ROW;

	if (found)
		store_text(s, 0, ret, REQUEST_ID_MAX + 1);
	sqlite3_reset(s);
	return found;
}

uint64_t store_event_add(struct store *store, const struct store_event *event)
{
	store_run(store, Q_EVENT_ADD, "ssib", event->type, event->sandbox_id,
		  event->time_ms, event->data, event->data_len);
	return (uint64_t)sqlite3_last_insert_rowid(store->db);
}

int store_events(struct store *store, uint64_t since, const char *sandbox_id,
		 uint32_t limit, store_event_fn fn, void *arg,
		 struct error *err)
{
	sqlite3_stmt *s;
	int r;

	if (sandbox_id[0])
		s = store_bind(store, Q_EVENTS_OF, "sii", sandbox_id,
			       (int64_t)since, (int64_t)limit);
	else
		s = store_bind(store, Q_EVENTS, "ii", (int64_t)since,
			       (int64_t)limit);
	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		struct store_event event = {
			.sequence = (uint64_t)sqlite3_column_int64(s, 0),
			.time_ms = sqlite3_column_int64(s, 3),
			.data = sqlite3_column_blob(s, 4),
			.data_len = (size_t)sqlite3_column_bytes(s, 4),
		};

		store_text(s, 1, event.type, sizeof(event.type));
		store_text(s, 2, event.sandbox_id, sizeof(event.sandbox_id));
		if (!fn(&event, arg)) {
			r = SQLITE_DONE;
			break;
		}
	}
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read events", err);
	return 0;
}

void store_events_range(struct store *store, uint64_t *ret_oldest,
			uint64_t *ret_newest)
{
	sqlite3_stmt *s = store_bind(store, Q_EVENTS_RANGE, "");

	*ret_oldest = *ret_newest = 0;
	if (sqlite3_step(s) == SQLITE_ROW) {
		*ret_oldest = (uint64_t)sqlite3_column_int64(s, 0);
		*ret_newest = (uint64_t)sqlite3_column_int64(s, 1);
	}
	sqlite3_reset(s);
}

void store_events_trim(struct store *store, uint64_t keep, int64_t before_ms)
{
	store_run(store, Q_EVENTS_TRIM, "ii", before_ms, (int64_t)keep);
}

void store_template_put(struct store *store, const struct template_row *row)
{
	store_run(store, Q_TEMPLATE_PUT, "sssiiiiiiii", row->id, row->image,
		  row->image_digest, (int64_t)row->cpu,
		  (int64_t)row->memory_mib, (int64_t)row->disk_mib,
		  row->created_ms, row->used_ms, (int64_t)row->size_bytes,
		  (int64_t)row->bad, row->asked_ms);
}

void store_template_remove(struct store *store, const char *id)
{
	store_run(store, Q_TEMPLATE_REMOVE, "s", id);
}

int store_templates(struct store *store, store_template_fn fn, void *arg,
		    struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_TEMPLATES, "");
	int r;

	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		struct template_row row = {
			.cpu = (uint32_t)sqlite3_column_int64(s, 3),
			.memory_mib = (uint32_t)sqlite3_column_int64(s, 4),
			.disk_mib = (uint32_t)sqlite3_column_int64(s, 5),
			.created_ms = sqlite3_column_int64(s, 6),
			.used_ms = sqlite3_column_int64(s, 7),
			.size_bytes = (uint64_t)sqlite3_column_int64(s, 8),
			.bad = sqlite3_column_int(s, 9),
			.asked_ms = sqlite3_column_int64(s, 10),
		};
		enum row_verdict verdict = store_verdict(store, s, true);

		if (verdict == ROW_NAMELESS)
			continue;
		if (verdict == ROW_DAMAGED)
			row.damaged = row.bad = true;
		store_text(s, 0, row.id, sizeof(row.id));
		store_text(s, 1, row.image, sizeof(row.image));
		store_text(s, 2, row.image_digest, sizeof(row.image_digest));
		fn(&row, arg);
	}
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read the templates", err);
	return 0;
}

void store_pool_put(struct store *store, const struct pool_row *row)
{
	store_run(store, Q_POOL_PUT, "ssi", row->uuid, row->template_id,
		  row->slot);
}

void store_pool_remove(struct store *store, const char *uuid)
{
	store_run(store, Q_POOL_REMOVE, "s", uuid);
}

int store_pool(struct store *store, store_pool_fn fn, void *arg,
	       struct error *err)
{
	sqlite3_stmt *s = store_bind(store, Q_POOL, "");
	int r;

	while ((r = sqlite3_step(s)) == SQLITE_ROW) {
		enum row_verdict verdict = store_verdict(store, s, true);
		struct pool_row row = { .slot = sqlite3_column_int64(s, 2) };

		if (verdict == ROW_NAMELESS)
			continue;
		if (verdict == ROW_DAMAGED) {
			row.damaged = true;
			row.slot = -1;
		}
		store_text(s, 0, row.uuid, sizeof(row.uuid));
		store_text(s, 1, row.template_id, sizeof(row.template_id));
		fn(&row, arg);
	}
	sqlite3_reset(s);
	if (r != SQLITE_DONE)
		return store_failed(store, "read the pool", err);
	return 0;
}
