/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - what must survive, in one SQLite database
 *
 * WAL with synchronous=FULL: what a commit returned for is on disk. Changes go
 * between store_begin() and store_commit(); a change that fails is remembered
 * and makes the commit fail as a whole, so that callers check once. Main thread
 * only; a commit takes some 100 microseconds.
 */
#ifndef ENGINE_STORE_H
#define ENGINE_STORE_H

#include "base/measure.h"
#include "engine/sandbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct store;

#define STORE_VERSION 5
#define REQUEST_ID_MAX 64
#define REQUEST_DIGEST_LEN 32

/**
 * store_open() - Open or make the database
 *
 * Brings an older schema up to date; one of a newer daemon is refused. Locks
 * it: a second daemon over the same file fails here. Env and nonces are sealed
 * with a key beside it (store_seal.h), without which it cannot be opened.
 */
int store_open(const char *path, struct store **ret, struct error *err);
struct store *store_close(struct store *store);

/* The file as SQLite has it. ERR_DATA_LOSS: damaged, and the first of what is
 * wrong. Reads all of it.
 */
int store_check(struct store *store, struct error *err);

void store_begin(struct store *store);
/* All of it, or nothing and why. */
int store_commit(struct store *store, struct error *err);
void store_rollback(struct store *store);

/* Commits since it was opened: how long they took, how many failed. */
struct store_stats {
	struct histogram commits;
	uint64_t failures;
};

const struct store_stats *store_stats(const struct store *store);

/* "" when there is none. */
void store_meta_get(struct store *store, const char *key, char *ret,
		    size_t size);
void store_meta_set(struct store *store, const char *key, const char *value);

/* ---- sandboxes ---- */
void store_sandbox_put(struct store *store, const struct sandbox_row *row);
/* When it was last in use: often, and alone of its row. */
void store_sandbox_busy(struct store *store, const char *id, uint64_t boot_ms);
void store_sandbox_remove(struct store *store, const char *id);
/* The row and its spec are the caller's. -1: not there, or unreadable. */
int store_sandbox_get(struct store *store, const char *id,
		      struct sandbox_row *ret, struct error *err);
/* Oldest first. @row and its spec are the callee's. */
typedef void (*store_sandbox_fn)(const struct sandbox_row *row, void *arg);
int store_sandboxes(struct store *store, store_sandbox_fn fn, void *arg,
		    struct error *err);

/* ---- forks whose client has no answer yet ---- */
void store_fork_put(struct store *store, const char *sandbox_id);
void store_fork_remove(struct store *store, const char *sandbox_id);
void store_forks_clear(struct store *store);
typedef void (*store_fork_fn)(const char *sandbox_id, void *arg);
int store_forks(struct store *store, store_fork_fn fn, void *arg,
		struct error *err);

/* ---- rows that make no sense ---- */
#define STATE_UNREADABLE "STATE_UNREADABLE" /* what is told of them */

/**
 * struct store_damaged - One
 * @table:	sandboxes, snapshots, templates, pool, ports
 * @key:	Of the row, for people: an id, or "ID:PORT"
 * @named:	It is the key of an object: that is there, as damaged
 */
struct store_damaged {
	const char *table;
	char key[128];
	bool named;
};

/* Of the tables read since it was opened: there were such rows. */
bool store_saw_damage(const struct store *store);
/* Looks at all rows, and unseals them. */
typedef void (*store_damaged_fn)(const struct store_damaged *row, void *arg);
int store_damaged(struct store *store, store_damaged_fn fn, void *arg,
		  struct error *err);
/* At once. Of one that is sound nothing happens. */
int store_damaged_remove(struct store *store, const char *table,
			 const char *key, struct error *err);

/* ---- requests ---- */
struct store_request {
	char method[32];
	char sandbox_id[SANDBOX_ID_MAX + 1];
	uint8_t digest[REQUEST_DIGEST_LEN];
	bool answered;
	uint8_t *answer; /* packed; the caller's to free */
	size_t answer_len;
};

/* 1 found, 0 not, -1 cannot read. */
int store_request_get(struct store *store, const char *request_id,
		      struct store_request *ret, struct error *err);
void store_request_put(struct store *store, const char *request_id,
		       const char *method, const char *sandbox_id,
		       const uint8_t digest[REQUEST_DIGEST_LEN],
		       int64_t expires_ms);
void store_request_answer(struct store *store, const char *request_id,
			  const uint8_t *answer, size_t len);
void store_request_remove(struct store *store, const char *request_id);
/* Those past their time. */
void store_requests_expire(struct store *store, int64_t now_ms);
/* The unanswered request of @method for a sandbox, if there is one. */
bool store_request_pending(struct store *store, const char *method,
			   const char *sandbox_id,
			   char ret[REQUEST_ID_MAX + 1]);

enum store_odd {
	STORE_ODD_BAD = 1,  /* its columns make no sense */
	STORE_ODD_OLD,	    /* older than its life */
	STORE_ODD_DANGLING, /* of a sandbox that is not there */
	STORE_ODD_SEALED,   /* its answer does not open */
};

/* Requests that should not be there, at most @limit. @alive_ms: when a daemon
 * worked on the database last, which forgets those past their time; 0: never.
 * Unseals all answers; with another node's key none is odd for not opening.
 */
typedef void (*store_odd_fn)(const char *request_id, enum store_odd why,
			     void *arg);
int store_requests_odd(struct store *store, int64_t now_ms, int64_t alive_ms,
		       uint32_t limit, store_odd_fn fn, void *arg,
		       struct error *err);
/* All of them go. */
void store_requests_drop_odd(struct store *store, int64_t now_ms,
			     int64_t alive_ms);

/* ---- events ---- */
struct store_event {
	uint64_t sequence;
	char type[48];
	char sandbox_id[SANDBOX_ID_MAX + 1];
	int64_t time_ms;
	const uint8_t *data; /* packed Event with only its data; borrowed */
	size_t data_len;
};

uint64_t store_event_add(struct store *store, const struct store_event *event);
/* After @since, at most @limit; @fn false stops. "" is every sandbox. */
typedef bool (*store_event_fn)(const struct store_event *event, void *arg);
int store_events(struct store *store, uint64_t since, const char *sandbox_id,
		 uint32_t limit, store_event_fn fn, void *arg,
		 struct error *err);
/* When the newest was added; 0: there is none. */
int64_t store_events_time(struct store *store);
void store_events_range(struct store *store, uint64_t *ret_oldest,
			uint64_t *ret_newest);
/* The newest event is always kept: numbers go on after it. */
void store_events_trim(struct store *store, uint64_t keep, int64_t before_ms);

/* ---- snapshots ---- */
struct snapshot_row {
	char id[OBJECT_ID_SIZE];
	char name[65];
	char sandbox_id[SANDBOX_ID_MAX + 1];
	bool internal; /* of a pause or a fork, not listed */
	char image_digest[80];
	char template_id[OBJECT_ID_SIZE];
	uint8_t nonce[SANDBOX_NONCE_LEN];
	int64_t created_ms;
	uint64_t size_bytes;
	Spec *spec;
	bool damaged; /* only what of it can be read is in the row */
};

void store_snapshot_put(struct store *store, const struct snapshot_row *row);
void store_snapshot_remove(struct store *store, const char *id);
typedef void (*store_snapshot_fn)(const struct snapshot_row *row, void *arg);
int store_snapshots(struct store *store, store_snapshot_fn fn, void *arg,
		    struct error *err);

/* ---- ports ---- */
struct port_row {
	char sandbox_id[SANDBOX_ID_MAX + 1];
	uint16_t port, host_port;
};

void store_port_put(struct store *store, const struct port_row *row);
void store_port_remove(struct store *store, const char *sandbox_id,
		       uint16_t port);
void store_ports_remove(struct store *store, const char *sandbox_id);
typedef void (*store_port_fn)(const struct port_row *row, void *arg);
int store_ports(struct store *store, store_port_fn fn, void *arg,
		struct error *err);

/* ---- templates and their waiting clones ---- */
struct template_row {
	char id[OBJECT_ID_SIZE];
	char image[129];
	char image_digest[80];
	uint32_t cpu, memory_mib, disk_mib;
	int64_t created_ms, used_ms, asked_ms; /* templates.h */
	uint64_t size_bytes;
	bool bad; /* does not verify any more: no new clones */
	bool damaged; /* only what of it can be read is in the row; bad */
};

void store_template_put(struct store *store, const struct template_row *row);
void store_template_remove(struct store *store, const char *id);
typedef void (*store_template_fn)(const struct template_row *row, void *arg);
int store_templates(struct store *store, store_template_fn fn, void *arg,
		    struct error *err);

struct pool_row {
	char uuid[HV_UUID_SIZE];
	char template_id[OBJECT_ID_SIZE];
	int64_t slot;
	bool damaged; /* only what of it can be read is in the row */
};

void store_pool_put(struct store *store, const struct pool_row *row);
void store_pool_remove(struct store *store, const char *uuid);
typedef void (*store_pool_fn)(const struct pool_row *row, void *arg);
int store_pool(struct store *store, store_pool_fn fn, void *arg,
	       struct error *err);

#endif /* ENGINE_STORE_H */
