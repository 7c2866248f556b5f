/* SPDX-License-Identifier: Apache-2.0 */
/* crash_node.h - a real engine in a process that can be killed
 *
 * Real are the engine with its database, network, images, snapshots and
 * templates; libvirt is fake_virt.c, front is in the process (fake_front.c).
 * Steps end the process with status 1 when what they check does not hold.
 */
#ifndef TESTS_CRASH_NODE_H
#define TESTS_CRASH_NODE_H

#include "base/job.h"
#include "base/loop.h"
#include "engine/engine.h"

#include <stdbool.h>

struct node {
	const char *dir;
	struct loop *loop;
	struct job_pool *jobs;
	struct config *config;
	struct engine *e;
	uint64_t next_id;
};

extern struct node node;

_Noreturn void broken(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

void node_start(void);
void node_stop(void);
/* Until nothing is under way, or in vain (ends the process). */
void node_settle(void);
void node_tick(void);
/* Ask, wait for the answer. True: it succeeded; see world.answer. */
bool node_call(const char *method, const ProtobufCMessage *m, int fd);

/* steps, crash_check.c: each with its arguments in @a, NULL behind them */
void check_state(void);
void check_token(const char *id, const char *token, bool poke);
void check_live(size_t n);
void check_is(const char *id, const char *state);
/* fsck has exactly so many complaints. */
void check_finds(size_t n);
/* One bit of the byte at @offset of a file of the snapshot that @id is paused
 * to; its times stay. Again: as it was.
 */
void flip(const char *id, const char *file, const char *offset);
/* With the engine stopped: every row of @table, so that it cannot be read. */
void spoil(const char *table);
void print_census(void);

/* steps, crash_calls.c; false: @name is none of them. */
bool run_call(const char *name, char *const *a);

#endif /* TESTS_CRASH_NODE_H */
