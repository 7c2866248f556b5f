/* SPDX-License-Identifier: Apache-2.0 */
/* guest.h - the steps by which any guest comes up
 *
 * Of a sandbox that is created, resumed, restored or forked, of a template
 * being built, and of a clone that waits: each takes those it needs.
 */
#ifndef ENGINE_GUEST_H
#define ENGINE_GUEST_H

#include "engine/hv.h"
#include "engine/net.h"
#include "engine/sandbox.h"

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct error;
struct image;
struct task;

/**
 * struct guest_plan - One guest that is to be, or is
 * @slot:	Its number, -1: none yet
 * @key:	By which front knows its link
 * @template_dir: "": cold boot
 * @template_id: Of that directory
 * @snapshot_dir: "": none
 * @hold:	A waiting clone
 * @clone:	Taken from the pool: to be released, not started
 * @in_use:	Its template was before: there could be one in the pool
 * @policy:	Valid when has_policy; else nothing passes
 * @nonce:	Of Hello; @new_nonce is what Configure sets
 */
struct guest_plan {
	struct guest_spec spec;
	int64_t slot;
	char key[80];
	char template_dir[PATH_MAX], snapshot_dir[PATH_MAX];
	char template_id[OBJECT_ID_SIZE];
	bool hold, clone, in_use, has_policy, linked;
	uint64_t generation;
	struct net_policy policy;
	struct net_limits limits;
	uint8_t nonce[SANDBOX_NONCE_LEN], new_nonce[SANDBOX_NONCE_LEN];
};

void guest_plan_fini(struct guest_plan *plan);

/* Names and sizes of a new guest: a uuid, a slot, its directory. */
int guest_plan_new(struct engine *e, struct guest_plan *plan, uint32_t cpu,
		   uint32_t memory_mib, uint32_t disk_mib, const char *disk,
		   const char *digest, struct error *err);
/* The same of a guest that exists. */
void guest_plan_fill(struct engine *e, struct guest_plan *plan,
		     const char *uuid, int64_t slot);
/* From a sandbox's specification: sizes, image, policy, limits, key. */
int guest_plan_spec(struct guest_plan *plan, struct sandbox *sb,
		    struct error *err);
/* The guest that a sandbox has now. */
int guest_plan_of(struct guest_plan *plan, struct sandbox *sb,
		  struct error *err);

/* Steps on t->guest. */
void guest_net(struct task *t);
void guest_net_undo(struct task *t);
void guest_dir(struct task *t);
void guest_dir_undo(struct task *t);
void guest_start(struct task *t);
void guest_start_undo(struct task *t);
void guest_agent(struct task *t);
void guest_agent_undo(struct task *t);
void guest_thaw(struct task *t);
void guest_slot_undo(struct task *t);
/* Of a guest that runs: stop its processes, close its link, and back. */
void guest_freeze(struct task *t);
void guest_freeze_undo(struct task *t);
void guest_detach(struct task *t);
void guest_detach_undo(struct task *t);

/* Host resources of a guest that is gone: rules, slot, directory. */
void guest_forget(struct engine *e, const char *uuid, int64_t slot);

/* End a guest that nobody needs any more, however often that must be tried, and
 * forget it.
 */
void guest_discard(struct engine *e, const char *uuid, int64_t slot);

/* What front needs to speak to an agent. @configure: with its identity. */
uint8_t *guest_attach_message(struct engine *e, struct sandbox *sb,
			      const struct guest_plan *plan, bool configure,
			      uint32_t deadline_ms, size_t *ret_len);

void guest_ignore_answer(const struct error *err, const uint8_t *data,
			 size_t len, void *arg);

#endif /* ENGINE_GUEST_H */
