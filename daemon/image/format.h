/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - mke2fs on behalf of a process that may not start programs
 *
 * How large the file system must be is known only after the archive was read,
 * and by then that process is jailed. So another one is forked before, which
 * reads nothing but two numbers, and checks them.
 */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include <stdint.h>
#include <sys/types.h>

/* When every file system was made: the same archive is the same disk, by whose
 * digest nodes know it (2000-01-01).
 */
#define FORMAT_TIME 946684800

struct error;

struct format {
	int fd;
	pid_t pid;
};

/* Fork the helper for @out (a regular file), as @uid and @gid unless 0, for
 * sizes up to @size_max. Before jail_enter().
 */
int format_prepare(struct format *format, int out, uid_t uid, gid_t gid,
		   uint64_t size_max, struct error *err);

/* Have it make an empty ext4 file system of @size bytes. Once. */
int format_run(struct format *format, uint64_t size, uint64_t inodes,
	       struct error *err);

void format_fini(struct format *format);

#endif /* IMAGE_FORMAT_H */
