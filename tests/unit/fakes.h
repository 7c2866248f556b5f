/* SPDX-License-Identifier: Apache-2.0 */
/* fakes.h - the engine's outside, in memory
 *
 * Hypervisor, network, images and front, each behind the header that the real
 * one has. The world outlives an engine: a test may drop one and start another
 * over the same state directory, as after a kill -9.
 *
 * Every call that changes the world has a number, counted from 1. A test can
 * have the nth fail, or have the engine die right after it.
 */
#ifndef TESTS_FAKES_H
#define TESTS_FAKES_H

#include "base/error.h"
#include "engine/front_link.h"
#include "engine/hv.h"
#include "engine/image.h"
#include "engine/net.h"

#include <pthread.h>
#include <stdbool.h>

#define FAKE_GUESTS_MAX 4096

struct fake_guest {
	char uuid[HV_UUID_SIZE];
	enum guest_life life;
	bool held, frozen;
	char template_dir[256], snapshot_dir[256];
};

struct fake_world {
	pthread_mutex_t lock;
	unsigned int calls;
	unsigned int fail_at; /* 0: never */
	unsigned int die_at;
	void (*die)(void *arg); /* on the main thread */
	void *die_arg;
	struct loop *loop;
	char last_failed[32];

	struct fake_guest guests[FAKE_GUESTS_MAX];
	size_t n_guests;
	bool hv_hangs; /* life is UNKNOWN, all else ERR_UNAVAILABLE */
	bool destroy_fails;
	const char *cpu_model; /* of the host */
	bool image_replaced; /* the name means another: "sha256:2" */
	bool cpu_busy; /* guests use their CPUs */
	int user_cpu;	 /* what agents say: 0 unknown, 1 idle, 2 busy */
	_Atomic bool long_chains, merge_hangs; /* of snapshots' disks */
	unsigned int merges;
	bool clones_fail;      /* the self-test, which is then not known */
	const char *fail_op; /* every call of this name fails */
	bool attached_slots[SLOT_MAX];
	bool net_is_anothers, tap_in_use;
	uint64_t net_bytes;
	bool net_all; /* every counter of a slot counts */

	/* front */
	const struct front_link_ops *front_ops;
	void *front_arg;
	char attached_keys[64][80];
	size_t n_attached;
	unsigned int configures, thaws;
	uint8_t *answer; /* of the last reply */
	size_t answer_len;
	uint64_t answer_id;
	unsigned int answers;
	struct error answer_err;
	bool answer_ok;
	uint8_t answered[4096]; /* by id: 1 success, 2 failure */
	unsigned int listening;
};

extern struct fake_world world;

void world_reset(void);
/* Counts a call; true: it is to fail with what is in *err. */
bool world_call(const char *what, struct error *err);

int fake_hv_new(struct hv **ret);
size_t fake_hv_count(void);
struct fake_guest *fake_hv_find(const char *uuid);
size_t fake_net_count(void);
bool fake_front_has(const char *key);

#endif /* TESTS_FAKES_H */
