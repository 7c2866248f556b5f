/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.h - make a child and let it become another program */
#ifndef AGENT_SPAWN_H
#define AGENT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct user;

/**
 * struct spawn - What to run, and as what
 * @argv, @env:	NULL at their ends
 * @cwd:	Entered as the user
 * @in, @out, @errors: Its descriptors 0, 1, 2; with @terminal all that
 * @terminal:	Its controlling terminal, or negative
 * @cgroup_fd:	To be born into, or negative
 * @keep_oom:	Leave oom_score_adj alone
 */
struct spawn {
	char *const *argv;
	char *const *env;
	const char *cwd;
	const struct user *user;
	int in, out, errors;
	int terminal;
	int cgroup_fd;
	bool keep_oom;
};

/**
 * spawn_start() - Make the child, leader of a session and group of its own
 * @ret_report:	At its end of file the program runs; else spawn_report() reads
 *		why not. Non-blocking, now the caller's
 *
 * Return: the pid, or -1 with *@err set
 */
pid_t spawn_start(const struct spawn *s, int *ret_report, struct error *err);

/**
 * spawn_report() - What became of it
 *
 * Return: 0: the program runs; -EAGAIN: not known yet; -1: *@err says why it
 * does not (FILE_NOT_FOUND, or INVALID_CONFIG with process.cwd etc.)
 */
int spawn_report(int report, const struct spawn *s, struct error *err);

#endif /* AGENT_SPAWN_H */
