/* SPDX-License-Identifier: Apache-2.0 */
/* exits.h - ends of processes that the node has not heard of yet
 *
 * A call that watches a process may end before it. For the node's record its
 * end is kept here until the node says that it has it. Runs on: loop.
 */
#ifndef AGENT_EXITS_H
#define AGENT_EXITS_H

#include <sys/types.h>

struct exits;
struct process_exit;

#define EXITS_MAX	  1024u /* kept; older ones are lost */
#define EXITS_ANSWER_MAX  64u
#define EXITS_PROGRAM_MAX 256u

struct exits *exits_new(void);
struct exits *exits_free(struct exits *exits);

/* All is known of a process; of @program as much as there is room for is kept. */
void exits_add(struct exits *exits, pid_t pid, const char *program,
	       const struct process_exit *exit);

#endif /* AGENT_EXITS_H */
