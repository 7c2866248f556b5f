/* SPDX-License-Identifier: Apache-2.0 */
/* mark.h - how a program tells crashpoint what to count */
#ifndef TESTS_CRASH_MARK_H
#define TESTS_CRASH_MARK_H

#include <sys/prctl.h>

#define CRASH_MARK 0x53425843 /* no prctl that there is */

/* Fails, but is seen. */
static inline void crash_mark(int on)
{
	prctl(CRASH_MARK, on, 0, 0, 0);
}

#endif /* TESTS_CRASH_MARK_H */
