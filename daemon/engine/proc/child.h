/* SPDX-License-Identifier: Apache-2.0 */
/* child.h - run a helper program within limits and wait for it */
#ifndef ENGINE_CHILD_H
#define ENGINE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct error;

/**
 * struct child_spec - What to run
 * @argv:	Program (a path) and arguments, NULL at the end
 * @uid, @gid:	As whom; no supplementary groups. (uid_t)-1: as we are
 * @timeout_ms:	Killed when it takes longer
 * @cancel:	Killed soon after this is set; or NULL
 * @out:	Where the start of its output goes, NUL-terminated; or NULL
 * @out_size:	Size of that
 */
struct child_spec {
	const char *const *argv;
	uid_t uid;
	gid_t gid;
	unsigned int timeout_ms;
	const _Atomic bool *cancel;
	char *out;
	size_t out_size;
};

/* Worker threads. Stdin is empty, stdout and stderr are one, the environment is
 * PATH, LC_ALL and how malloc() saves memory. 0 when it exits 0; else -1, its
 * last words in the message.
 */
int child_run(const struct child_spec *spec, struct error *err);

#endif /* ENGINE_CHILD_H */
