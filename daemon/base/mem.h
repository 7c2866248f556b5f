/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - allocation that cannot fail
 *
 * Out of memory ends the process: the supervisor starts it again, guests
 * outlive it and state is on disk. Sizes that a peer chooses are bounded by a
 * named limit before they get here. In the engine that holds for its libraries
 * too (mem_libs.c).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *xcalloc(size_t n, size_t size) __attribute__((malloc));
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s) __attribute__((malloc));
void *xmemdup(const void *p, size_t len) __attribute__((malloc));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* BASE_MEM_H */
