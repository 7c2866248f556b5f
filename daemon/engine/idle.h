/* SPDX-License-Identifier: Apache-2.0 */
/* idle.h - whether a sandbox is in use
 *
 * In use is what has, since its idle_timeout: an API call; a foreground command
 * that a client waits for; bytes on an attached stream, a tunnel or the
 * network; or CPU time of its users' processes. So a build in the background is
 * in use, and a forgotten shell is not.
 */
#ifndef ENGINE_IDLE_H
#define ENGINE_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct sandbox;

/* Nothing has used it for its idle_timeout, by all that was seen. */
bool idle_due(const struct sandbox *sb);

/* Look at its network and CPU, if it is time to. What is seen comes later. */
void idle_look(struct sandbox *sb);

/* How long until idle_look() or idle_due() is worth calling; UINT64_MAX. */
uint64_t idle_wait_ms(const struct sandbox *sb);

/* Its guest is another, or was not seen for a while: begin anew. */
void idle_begin(struct sandbox *sb);

/* Write down when each was last in use. @all: also what changed just now. */
void idle_store(struct engine *e, bool all);

#endif /* ENGINE_IDLE_H */
