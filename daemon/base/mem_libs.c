/* SPDX-License-Identifier: Apache-2.0 */
/* mem_libs.c - what libraries allocate cannot fail either (mem.h)
 *
 * Theory of operation
 * ===================
 *
 * Of the libraries that state passes through some do not look whether they got
 * memory, and some cannot tell it from other failures. Tried one allocation after
 * the other (tests/crash, kind alloc): json-c leaves out members of a
 * snapshot's manifest, SQLite binds NULL where a value is meant, a digest is
 * of nothing, a row that is well does not unseal. The sandbox that the row or
 * the manifest is about was lost then. So it is as with our own allocations:
 * the process ends, and the next one goes on from what is on disk.
 *
 * A program that is linked with this file has its own malloc(), which glibc
 * allows; what is behind it is glibc's. Not in a static program. Sanitizers have
 * theirs, and the program is without this one then.
 */
#include "base/mem.h"

#include <features.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                    \
	!defined(__SANITIZE_THREAD__)

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* More than anything here needs at once: a size that was computed from what
 * somebody else says. Whoever asks for it is told no.
 */
#define SANE_MAX (64u << 20)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static void *none(size_t n, size_t size)
{
	char text[96];
	size_t total;
	int len;

	if (__builtin_mul_overflow(n, size, &total) || total > SANE_MAX)
		return NULL;
	len = snprintf(text, sizeof(text),
		       "<2>no memory for %zu bytes: this daemon ends\n", total);
	if (len < 0 || write(STDERR_FILENO, text, (size_t)len) < 0)
		abort();
	abort();
}

void *malloc(size_t size)
{
	void *p = __libc_malloc(size);

	return p ? p : none(1, size);
}

void *calloc(size_t n, size_t size)
{
	void *p = __libc_calloc(n, size);

	return p ? p : none(n, size);
}

/* Of size 0 it frees. */
void *realloc(void *old, size_t size)
{
	void *p = __libc_realloc(old, size);

	return p || !size ? p : none(1, size);
}

#endif
