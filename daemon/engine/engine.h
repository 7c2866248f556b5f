/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - the node's state, and who owns what of it
 *
 * One struct engine a process, made by daemon.c (or a test) and handed down;
 * nothing of it is global. Everything here runs on the main thread. What
 * blocks is a job (hv_call.h); what front does is asked by front_link.h; both
 * answer by callback.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/list.h"
#include "engine/config.h"
#include "engine/front_link.h"
#include "engine/hv.h"
#include "engine/image.h"
#include "engine/metrics.h"
#include "engine/net.h"
#include "engine/pressure.h"
#include "engine/sandbox.h"
#include "engine/slots.h"
#include "engine/store.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct job_pool;
struct loop;
struct merge;
struct metrics_link;
struct ports;
struct webhook;
struct quota;

/**
 * struct engine - Everything the main thread owns
 * @config:	Borrowed; config_reload() may change it in place
 * @hv:		Owned; made by whoever makes the engine
 * @stopping:	No step goes on, no call is taken: what is half done is left
 *		to the next start, as after a crash
 * @closing:	New calls are refused, what is under way may end
 * @tasks:	All tasks under way
 * @calls:	Calls of front that have no answer yet
 * @damaged:	Rows of objects that could not be read at the start: what no row
 *		knows may be theirs, and stays
 * @recovering:	Sandboxes whose guests have not been looked up yet
 */
struct engine {
	struct loop *loop;
	struct job_pool *jobs;
	struct config *config;
	struct store *store;
	struct hv *hv;
	struct net *net;
	struct image_store *images;
	struct front_link *front;
	bool front_up;
	char node_id[64];
	char boot_id[BOOT_ID_SIZE];
	int64_t started_ms;
	bool stopping, closing, draining, foreign, refilling, hv_up, hv_lost, rebooted,
		fresh, swept, failed;
	unsigned int houses, damaged, damaged_told;
	uint64_t trashed;
	unsigned int recovering;
	struct sandboxes sandboxes;
	struct slots slots;
	struct quota *quota;
	struct pressure pressure;
	pressure_read_fn read_pressure; /* pressure_read(), or a test's */
	struct ports *ports;
	struct list tasks, calls;
	struct list snapshots; /* saves.h */
	struct snapshot *snapshots_by_id[SANDBOX_BUCKETS];
	struct list templates; /* templates.h */
	struct list clones;    /* pool.h */
	struct list leases;    /* lease.h */
	uint64_t last_lease, events_newest;
	uint64_t pool_taken_ms, pool_waits_ms; /* 0: it does not wait */
	/* agent.c's and recover.c's, or a test's. */
	uint64_t agent_steady_ms, recover_give_up_ms;
	sd_event_source *housekeeping, *pool_timer, *drain_timer;
	struct list drains, forks; /* rpc_node.c, rpc_snapshot.c */
	struct list clone_questions; /* recover.c */
	struct list exports, imports; /* parcel.h */
	struct merge *merge;	      /* merge.h: the one under way */
	bool testing;		      /* selftest.h, with this guest */
	char test_uuid[HV_UUID_SIZE];
	uid_t helper_uid;	      /* whom processes without power become */
	gid_t helper_gid;
	int api_fd, tls_fd; /* listening; -EBADF */
	struct metrics metrics;
	struct metrics_link *metrics_link; /* NULL: nobody may ask */
	struct webhook *webhook; /* NULL: none is configured */
	struct list gatherings;		   /* metrics_guest.c */
	struct net_rule *private_allowed;
	void (*idle)(void *arg); /* closing, and the last task ended */
	void *idle_arg;
};

/**
 * engine_new() - Open the state and begin
 * @loop, @jobs, @config: Borrowed
 * @hv:		The engine's from here on, also on failure
 *
 * On failure *@ret is an engine too, halted: to be freed after the jobs.
 *
 * Opens database, network, images and front, and starts recovery (recover.h),
 * which goes on in the loop. The API's sockets are bound before.
 */
int engine_new(struct loop *loop, struct job_pool *jobs, struct config *config,
	       struct hv *hv, struct engine **ret, struct error *err);

/* New calls are refused; @idle is called once nothing is under way. */
void engine_close(struct engine *e, void (*idle)(void *arg), void *arg);

/* Guests, taps and rules stay as they are. Ends the jobs first: @jobs must be
 * freed by its owner before this is called.
 */
struct engine *engine_free(struct engine *e);

/* No step goes on from here: the caller ends the jobs, then frees. */
void engine_halt(struct engine *e);

/* Tombstones of over a day ago, and the oldest beyond @max. */
void engine_forget_terminated(struct engine *e, size_t max);
/* After config_reload(). */
void engine_reloaded(struct engine *e);

/* For the callbacks given to hv's constructor, with the engine as @arg. */
void engine_guest_gone(const char *uuid, void *arg);
void engine_hv_link(bool up, void *arg);

/* <state_dir>/<dir>/<name> */
void engine_path(const struct engine *e, const char *dir, const char *name,
		 char *ret, size_t size);

/* Delete a directory below the state directory, later and on a worker. */
void engine_trash(struct engine *e, const char *dir, const char *name);

/* Whom a process without power turns into; 0: it stays (not root here). */
int engine_find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid,
		     struct error *err);

/* 122 random bits, as text. */
void engine_uuid(char ret[HV_UUID_SIZE]);
/* @prefix and 18 random characters of [a-z0-9]. */
void engine_object_id(const char *prefix, char ret[OBJECT_ID_SIZE]);

#endif /* ENGINE_ENGINE_H */
