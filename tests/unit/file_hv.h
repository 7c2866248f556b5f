/* SPDX-License-Identifier: Apache-2.0 */
/* file_hv.h - hv_ops over files, for whole nodes that are killed and started anew
 *
 * All that this hypervisor knows of guests, snapshots and templates are their
 * directories, so they outlive a kill -9 of the node as real ones do. What runs
 * in a guest is the caller's: a process tree (model/vm.h), or nothing at all.
 *
 * In the directory of faults: "fail-OP" makes the next OP fail and is removed;
 * "slow-OP" has the milliseconds by which each OP takes longer; "down" means
 * that the hypervisor does not answer. OP: start hold release open_agent save
 * capture destroy verify.
 */
#ifndef TESTS_FILE_HV_H
#define TESTS_FILE_HV_H

#include "engine/hv.h"

/* In the directory of a snapshot or template: all of it is there. */
#define FILE_HV_WHOLE "whole"

/**
 * struct file_guest_ops - What runs in the guest of a directory
 * @start:	Returns once its agent can be reached
 * @kill:	And wait until it is gone. Fine when it is already
 * @connect:	A descriptor to its agent, or -1: it does not run
 * @copy:	The files of the directory @from into the new one @to: its disk is
 *		"root" below its own. NULL: it has none
 *
 * On any thread, for one guest by one at a time.
 */
struct file_guest_ops {
	int (*start)(const char *dir, void *arg, struct error *err);
	int (*kill)(const char *dir, void *arg, struct error *err);
	bool (*is_alive)(const char *dir, void *arg);
	int (*connect)(const char *dir, void *arg);
	int (*copy)(const char *from, const char *to, struct error *err);
};

/* @faults: their directory; NULL: nothing goes wrong. @arg: for @guests. */
struct hv *file_hv_new(const char *state_dir, const char *faults,
		       const struct file_guest_ops *guests, void *arg);
bool file_hv_is_up(struct hv *hv);

#endif /* TESTS_FILE_HV_H */
