/* SPDX-License-Identifier: Apache-2.0 */
/* copy.h - trees of files between this machine and a sandbox */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include "ctl/ctl.h"
#include "ctl/progress.h"

#include <stdint.h>

/* Deeper than any real tree, and far from what recursion needs of the stack:
 * a guest may invent directories without end.
 */
#define COPY_DEPTH_MAX 256

/* Data of one message. */
#define COPY_CHUNK (256u << 10)

/**
 * struct copy - One run of cp
 * @id:		The sandbox
 * @fatal:	Exit status; no use going on (interrupted, connection lost)
 * @files, @bytes, @failed: What was done
 */
struct copy {
	struct ctl *ctl;
	char *id;
	int fatal;
	uint64_t files, bytes, failed;
	struct progress progress;
};

/* Copy @local to @path in the sandbox, or the other way round. "-" is standard
 * input. What fails is said on stderr and counted; the rest is copied.
 */
void copy_up(struct copy *c, const char *local, const char *path);
void copy_down(struct copy *c, const char *path, const char *local);

/* Count and say that @path failed. */
void copy_fail(struct copy *c, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void copy_fail_status(struct copy *c, const char *path,
		      const struct grpc_status *st);

/* Of a path in the sandbox: NULL with @st set; free with message_free(). */
NODE(StatFileResponse) * copy_stat(struct copy *c, const char *path,
				   bool follow, struct grpc_status *st);

#endif /* CTL_COPY_H */
