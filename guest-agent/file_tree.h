/* SPDX-License-Identifier: Apache-2.0 */
/* file_tree.h - removing and copying whole trees, however deep and large */
#ifndef AGENT_FILE_TREE_H
#define AGENT_FILE_TREE_H

struct error;
struct task;

/* Remove a file or a directory with all below. Follows no links, leaves mount
 * points alone (ERR_CONFLICT). ERR_CANCELLED once nobody waits.
 */
int file_tree_remove(struct task *t, const char *path, struct error *err);

/* Copy a file or tree to @to, which is not there: modes, owners, times, links,
 * holes. On failure, what there is of @to is removed.
 */
int file_tree_copy(struct task *t, const char *from, const char *to,
		   struct error *err);

#endif /* AGENT_FILE_TREE_H */
