/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.h - start one of our own programs beside the engine
 *
 * Any thread. What is started gets no signal mask and no handlers of ours, and
 * of our descriptors only those it is handed.
 */
#ifndef ENGINE_SPAWN_H
#define ENGINE_SPAWN_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

struct error;

#define SPAWN_FDS_MAX 4

/**
 * struct spawned - A process of ours; { 0, -EBADF }: none
 */
struct spawned {
	pid_t pid;
	int pidfd;
};

#define SPAWNED_NONE ((struct spawned){ 0, -EBADF })

/*
 * Start argv[0] with @fds (borrowed) as its descriptors 3, 4, and so on. It
 * reads nothing, and its standard output goes nowhere: it logs to ours.
 */
int spawn_program(const char *const *argv, const int *fds, size_t n_fds,
		  struct spawned *ret, struct error *err);

/* Ask it to end at once, by SIGKILL; it is still to be reaped. */
void spawn_kill(const struct spawned *process);

/* Wait for its end, and forget it. @ret may be NULL. */
void spawn_reap(struct spawned *process, siginfo_t *ret);

#endif /* ENGINE_SPAWN_H */
