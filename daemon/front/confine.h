/* SPDX-License-Identifier: Apache-2.0 */
/* confine.h - give up everything that parsing hostile bytes does not need */
#ifndef FRONT_CONFINE_H
#define FRONT_CONFINE_H

#include <sys/types.h>

struct error;

/**
 * confine_self() - Before the first byte of anybody is read
 * @uid, @gid:	Whom to become; uid 0: stay who we are, without its powers
 *
 * No capabilities, no file system, no new privileges, no core dump, and a
 * seccomp filter that ends the process at any system call that it has no use
 * for. There is no way back. Single thread.
 */
int confine_self(uid_t uid, gid_t gid, struct error *err);

#endif /* FRONT_CONFINE_H */
