/* SPDX-License-Identifier: Apache-2.0 */
/* jail.h - give up all power before the first hostile byte is read
 *
 * For the processes that parse what guests and peers send. What they need they
 * were handed as descriptors.
 */
#ifndef BASE_JAIL_H
#define BASE_JAIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/**
 * struct jail_spec - What is left
 * @uid, @gid:	Who to become; uid 0: stay (tests as an ordinary user)
 * @extra:	System calls by name, beyond those that reading, writing, waiting
 *		and memory need ("socket", "connect"), NULL-terminated
 * @readable:	Directories whose files may be read, NULL-terminated; those that
 *		are not there are passed over.  NULL: no file at all
 * @files_max:	Descriptors
 * @memory_max:	Bytes of address space; 0: not limited
 */
struct jail_spec {
	uid_t uid;
	gid_t gid;
	const char *const *extra;
	const char *const *readable;
	unsigned int files_max;
	uint64_t memory_max;
};

/**
 * jail_set_user() - @uid and @gid of a command line into @spec
 *
 * Return: 0, or -EINVAL: no ids
 */
int jail_set_user(struct jail_spec *spec, const char *uid, const char *gid);

/**
 * jail_enter() - No privileges, no new ones, no files, few system calls
 *
 * Call once, single-threaded, with everything open that needs a path. A call
 * that is not allowed ends the process (SIGSYS). When it fails the process is
 * half in: exit.
 */
int jail_enter(const struct jail_spec *spec, struct error *err);

#endif /* BASE_JAIL_H */
