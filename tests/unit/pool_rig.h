/* SPDX-License-Identifier: Apache-2.0 */
/* pool_rig.h - a node with a pool, for tests of it and of its templates */
#ifndef TESTS_POOL_RIG_H
#define TESTS_POOL_RIG_H

#include "engine_rig.h"

struct template;

/* A node with these lines in [pool], one sandbox "a", and a clone that waits. */
void start_with_clone(const char *pool);

/* Housekeeping would, in its time. */
void look_again(void);

/* One that creates may start from now, the engine's; NULL: there is none. */
struct template *current_template(void);

/* Built when it returns: of more CPUs and memory than those of creates. */
struct template *larger_template(void);

#endif /* TESTS_POOL_RIG_H */
