/* SPDX-License-Identifier: Apache-2.0 */
/* parallel.h - several threads for one piece of work, within one job */
#ifndef ENGINE_PARALLEL_H
#define ENGINE_PARALLEL_H

/* Call @fn(@arg) on @threads threads at once (at least one: the caller's) and
 * return when all have returned. They share @arg and divide the work among
 * themselves, so fewer threads than asked for will do.
 */
void parallel_run(unsigned int threads, void (*fn)(void *arg), void *arg);

#endif /* ENGINE_PARALLEL_H */
