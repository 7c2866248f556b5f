/* SPDX-License-Identifier: Apache-2.0 */
/* bench_node.h - the parts of a node whose guests are files
 *
 * bench_guest.c: a guest that is started by making a file, for file_hv.h.
 * bench_agents.c: a process that answers as all their agents. bench_seed.c: a
 * database that says so many sandboxes are there.
 */
#ifndef TESTS_BENCH_NODE_H
#define TESTS_BENCH_NODE_H

#include <stddef.h>

struct error;
struct file_guest_ops;

/* Beside a guest's files: it runs. */
#define BENCH_GUEST_FILE "running"

/* Their @arg is a pointer to the descriptor where those of agents are sent to. */
extern const struct file_guest_ops bench_guests;

/* Fork the agents' process; it ends with the descriptor that is returned. */
int bench_agents_start(struct error *err);

/* @state_dir is new: @running sandboxes with guests, @paused and @ended ones
 * without.
 */
int bench_seed(const char *state_dir, size_t running, size_t paused,
	       size_t ended, struct error *err);

#endif /* TESTS_BENCH_NODE_H */
