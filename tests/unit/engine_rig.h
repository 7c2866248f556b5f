/* SPDX-License-Identifier: Apache-2.0 */
/* engine_rig.h - the engine over fakes, for tests of what is built upon it */
#ifndef TESTS_ENGINE_RIG_H
#define TESTS_ENGINE_RIG_H

#include "engine/engine.h"
#include "fakes.h"

#include <stdbool.h>
#include <stdint.h>

#define NODE(name, NAME)                                                       \
	Sandbox__Node__V1__##name##Request m =                                 \
		SANDBOX__NODE__V1__##NAME##_REQUEST__INIT

/* One node; may be stopped and started again over the same directory, or die at
 * a call of the world's choosing (fakes.h, die_at): then @dead, and to be
 * stopped.
 */
struct engine_rig {
	char dir[64];
	char settings[512]; /* lines of configuration, over the rig's own */
	struct loop *loop;
	struct job_pool *jobs;
	struct config *config;
	struct engine *e;
	bool dead;
	uint64_t next_id;
};

extern struct engine_rig rig;

/* For cmocka. */
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_start(void);
void rig_stop(void);
void rig_tick(void);

/* Until no task is under way, nothing is recovered and no pool filled. */
void rig_settle(void);

/* Turn the loop until @cond, or fail after a minute. */
#define rig_until(cond)                                                        \
	do {                                                                   \
		uint64_t end_ = loop_now_ms() + 60000;                         \
		while (!(cond)) {                                              \
			assert_true(loop_now_ms() < end_);                     \
			rig_tick();                                            \
		}                                                              \
	} while (0)

/* The id under which the world has the answer, once it is there. */
uint64_t rig_ask(const char *method, const ProtobufCMessage *m);
/* Ask, and wait for the answer. True: it succeeded. */
bool rig_call(const char *method, const ProtobufCMessage *m);
bool rig_create(const char *id);
bool rig_create_once(const char *id, const char *request_id);
bool rig_pause(const char *id);
bool rig_resume(const char *id);
bool rig_terminate(const char *id);
/* PauseSandbox, ResumeSandbox, TerminateSandbox, GetStats...: those whose
 * request is told by the sandbox alone.
 */
bool rig_do(const char *method, const char *id);

/* SBX_NONE: there is no such sandbox. */
enum sandbox_state rig_state(const char *id);

/* How many there are in this directory of the state directory. */
size_t rig_files(const char *dir);

/* Of what sandboxes have outside of the engine. */
void assert_nothing_but(size_t guests, size_t snapshots);

/* The last event of this type, as "key=value key=value"; "" if there is none.
 * Good until the next call.
 */
const char *rig_event(const char *type);

#endif /* TESTS_ENGINE_RIG_H */
