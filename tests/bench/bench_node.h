/* SPDX-License-Identifier: Apache-2.0 */
/* bench_node.h - the parts of a node whose guests are files
 *
 * bench_hv.c: a hypervisor that starts a guest by making a file, so that its
 * guests outlive a kill -9 of the node as real ones do. bench_agents.c: a
 * process that answers as all their agents. bench_seed.c: a database that says
 * so many sandboxes are there.
 */
#ifndef TESTS_BENCH_NODE_H
#define TESTS_BENCH_NODE_H

#include <stddef.h>

struct error;
struct hv;

/* Beside a guest's files: it runs. */
#define BENCH_GUEST_FILE "running"

/* @agents_fd: where descriptors of agents are sent to; borrowed. */
int bench_hv_new(const char *state_dir, int agents_fd, struct hv **ret);

/* Fork the agents' process; it ends with the descriptor that is returned. */
int bench_agents_start(struct error *err);

/* @state_dir is new: @running sandboxes with guests, @paused and @ended ones
 * without.
 */
int bench_seed(const char *state_dir, size_t running, size_t paused,
	       size_t ended, struct error *err);

#endif /* TESTS_BENCH_NODE_H */
