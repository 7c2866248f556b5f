/* SPDX-License-Identifier: Apache-2.0 */
/* helper_main.h - main() of a process that the engine keeps running
 *
 * The engine starts `NAME UID GID [--debug]` with its socket as descriptor 3;
 * nobody else has a use for such a program. All of them live the same way: an
 * event loop, the jail, then the first message. What differs is a table.
 */
#ifndef BASE_HELPER_MAIN_H
#define BASE_HELPER_MAIN_H

#include "base/jail.h"

struct loop;

/**
 * struct helper_main - What one program has that others have not
 * @name:	For logs and for who starts it by hand
 * @jail:	What is left to it; uid and gid come from the command line
 * @warm_up:	What libraries open, read or allocate once, while they still can;
 *		may be NULL
 * @start:	In the jail: talk to the engine over @fd, which it consumes.
 *		Return what @stop frees; NULL and @err: the program ends.  When
 *		the engine is gone it stops @loop
 */
struct helper_main {
	const char *name;
	struct jail_spec jail;
	int (*warm_up)(struct error *err);
	void *(*start)(struct loop *loop, int fd, struct error *err);
	void (*stop)(void *running);
};

/* Runs until the loop is stopped. Return: the exit status; 2: not started by
 * the engine.
 */
int helper_main(const struct helper_main *program, int argc, char **argv);

#endif /* BASE_HELPER_MAIN_H */
