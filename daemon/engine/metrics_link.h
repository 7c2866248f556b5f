/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_link.h - the engine's end of the socket to sandboxd-metrics
 *
 * That process serves HTTP on [metrics] listen, and asks for the text that it
 * answers with. It is started again when it dies. Main thread only.
 */
#ifndef ENGINE_METRICS_LINK_H
#define ENGINE_METRICS_LINK_H

#include <sys/types.h>

struct engine;
struct error;
struct metrics_link;

#define METRICS_SCRAPES_MAX 4 /* under way; more are refused */

/* Listens, and starts @program as @uid, @gid (0: it stays who we are). */
int metrics_link_new(struct engine *e, const char *program, uid_t uid,
		     gid_t gid, struct metrics_link **ret, struct error *err);

/* For tests that play the process: over @fd (consumed). */
int metrics_link_new_fd(struct engine *e, int fd, struct metrics_link **ret,
			struct error *err);

/* Ends the process. Scrapes under way answer nobody. NULL is fine. */
struct metrics_link *metrics_link_free(struct metrics_link *link);

#endif /* ENGINE_METRICS_LINK_H */
