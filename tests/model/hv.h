/* SPDX-License-Identifier: Apache-2.0 */
/* hv.h - hv_ops over vm.h, which fail when a file says so
 *
 * In the directory of faults: "fail-OP" makes the next OP fail and is removed;
 * "slow-OP" has the milliseconds by which each OP takes longer; "down" means
 * that the hypervisor does not answer. OP: start hold release open_agent save
 * capture destroy verify.
 */
#ifndef TESTS_MODEL_HV_H
#define TESTS_MODEL_HV_H

#include "engine/hv.h"

/* @agent: path of sandbox-agent. */
struct hv *model_hv_new(const char *state_dir, const char *faults,
			const char *agent);
bool model_hv_is_up(struct hv *hv);

#endif /* TESTS_MODEL_HV_H */
