/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_spec.c - a CreateSandboxRequest that passes is within the contract */
#include "base/error.h"
#include "engine/spec_check.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Spec *spec = sandbox__node__v1__create_sandbox_request__unpack(
		NULL, size, data);
	struct error err = { 0 };
	struct net_policy policy;
	Spec *copy;

	if (!spec)
		return 0;
	if (spec_check_create(spec, &err) < 0) {
		if (!err.msg[0] || !err.field[0])
			abort();
		pb_free(spec);
		return 0;
	}
	if (spec->resources->memory_mib < 2048 ||
	    spec->resources->memory_mib > 16384 || spec->n_env > SPEC_ENV_MAX ||
	    spec->timeout_ms < SPEC_TIMEOUT_MIN ||
	    spec->timeout_ms > SPEC_TIMEOUT_MAX)
		abort();
	/* What passed once passes again, and can be stored. */
	copy = spec_copy(spec);
	if (spec_check_create(copy, &err) < 0 ||
	    spec_policy(copy->egress, &policy, &err) < 0)
		abort();
	net_policy_fini(&policy);
	pb_free(copy);
	pb_free(spec);
	return 0;
}
