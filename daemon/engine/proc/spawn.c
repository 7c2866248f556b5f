/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.c - start one of our own programs beside the engine */
#include "engine/proc/spawn.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <assert.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD 3
/* Above all that the process gets: no copy is overwritten before its turn. */
#define HIGH_FD 16

/* Copies of @fds out of the way of their places; closed by the caller. */
static int lift(const int *fds, size_t n_fds, int high[SPAWN_FDS_MAX])
{
	for (size_t i = 0; i < n_fds; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
		if (high[i] < 0)
			return -errno;
	}
	return 0;
}

static int start(const char *const *argv, const int *high, size_t n_fds,
		 pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t set;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; i < n_fds; i++)
		posix_spawn_file_actions_adddup2(&actions, high[i],
						 FIRST_FD + (int)i);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	r = posix_spawn(ret, argv[0], &actions, &attr,
			(char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int spawn_program(const char *const *argv, const int *fds, size_t n_fds,
		  struct spawned *ret, struct error *err)
{
	int high[SPAWN_FDS_MAX] = { -EBADF, -EBADF, -EBADF, -EBADF };
	struct spawned p = SPAWNED_NONE;
	int r;

	assert(n_fds <= SPAWN_FDS_MAX);
	r = lift(fds, n_fds, high);
	if (r == 0)
		r = start(argv, high, n_fds, &p.pid);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(&high[i]);
	if (r < 0)
		return err_sys(err, -r, "start '%s'", argv[0]);
	p.pidfd = pidfd_open(p.pid, 0);
	if (p.pidfd < 0) {
		r = errno;
		kill(p.pid, SIGKILL);
		spawn_reap(&p, NULL);
		return err_sys(err, r, "watch '%s'", argv[0]);
	}
	*ret = p;
	return 0;
}

void spawn_kill(const struct spawned *process)
{
	if (process->pid > 0)
		pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
}

void spawn_reap(struct spawned *process, siginfo_t *ret)
{
	siginfo_t info = { 0 };

	if (process->pid > 0)
		while (waitid(P_PID, (id_t)process->pid, &info, WEXITED) < 0 &&
		       errno == EINTR)
			;
	process->pid = 0;
	fd_close(&process->pidfd);
	if (ret)
		*ret = info;
}
