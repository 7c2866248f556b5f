/* SPDX-License-Identifier: Apache-2.0 */
/* out.h - standard output that nobody may be reading
 *
 * client.h has SIGINT and SIGTERM blocked, to take them from the loop: a write
 * that blocks would outlive them. So stdout is a stream of ours, and while it
 * writes, either ends the process as it would any other program. Nothing that
 * prints holds what would have to be put right before.
 */
#ifndef CTL_OUT_H
#define CTL_OUT_H

#include <stddef.h>

struct client;

/* Puts our stream in the place of stdout. Before anything is printed. */
void out_init(void);

/* A signal that @client took from the loop: what is printed after it is
 * dropped, or the exit would block. NULL: the client is being freed.
 */
void out_watch(const struct client *client);

/* Bytes, after what was printed. 0 or -errno. */
int out_write(const void *data, size_t len);

#endif /* CTL_OUT_H */
