/* SPDX-License-Identifier: Apache-2.0 */
/* engine_rig.h - the engine over fakes, for tests of what is built upon it */
#ifndef TESTS_ENGINE_RIG_H
#define TESTS_ENGINE_RIG_H

#include "engine/engine.h"
#include "fakes.h"

#include <stdbool.h>
#include <stdint.h>

/* One node; may be stopped and started again over the same directory. */
struct engine_rig {
	char dir[64];
	char settings[512]; /* lines of configuration */
	struct loop *loop;
	struct job_pool *jobs;
	struct config *config;
	struct engine *e;
	uint64_t next_id;
};

extern struct engine_rig rig;

/* For cmocka. */
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_start(void);
void rig_stop(void);
void rig_tick(void);

/* Turn the loop until @cond, or fail after 10 s. */
#define rig_until(cond)                                                        \
	do {                                                                   \
		uint64_t end_ = loop_now_ms() + 10000;                         \
		while (!(cond)) {                                              \
			assert_true(loop_now_ms() < end_);                     \
			rig_tick();                                            \
		}                                                              \
	} while (0)

/* Ask, and wait for the answer. True: it succeeded. */
bool rig_call(const char *method, const ProtobufCMessage *m);
bool rig_create(const char *id);
/* PauseSandbox, ResumeSandbox, TerminateSandbox, GetStats...: those whose
 * request is told by the sandbox alone.
 */
bool rig_do(const char *method, const char *id);

/* The last event of this type, as "key=value key=value"; "" if there is none.
 * Good until the next call.
 */
const char *rig_event(const char *type);

#endif /* TESTS_ENGINE_RIG_H */
