/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - one cgroup for each process that the node started
 *
 * All lie below "user", which leaves the agent some memory and some pids. Where
 * there are none (tests, no root), processes have their process group only.
 */
#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct agent;

/* As PID 1, cgroup2 being mounted: make "user". Failure is logged; the agent
 * then works without. The loop is there already.
 */
void cgroup_setup(struct agent *agent);

/* The cgroup of this number, numbers being taken in order: made ahead or now.
 * Its directory, the caller's, or -EBADF: there is none.
 */
int cgroup_make(struct agent *agent, uint64_t serial);

/* Kill all in it. False: there is no cgroup. */
bool cgroup_kill(int fd);

/* Whether anything is alive in it. */
bool cgroup_is_populated(int fd);

/* Remove it soon, once it is empty. */
void cgroup_remove(struct agent *agent, uint64_t serial);
/* Something has died, and whoever waits for that is told in this turn: make the
 * next cgroup and remove what is empty after it.
 */
void cgroup_tend_soon(struct agent *agent);

/* CPU time of all that the node started, in ms. False: nobody counts it. */
bool cgroup_cpu_ms(int user_fd, uint64_t *ret);

/* Freeze or thaw all that the node started; waits up to @wait_ms for the
 * kernel to say so. Blocks. 0 or -errno.
 */
int cgroup_freeze(int user_fd, bool freeze, uint32_t wait_ms);

#endif /* AGENT_CGROUP_H */
