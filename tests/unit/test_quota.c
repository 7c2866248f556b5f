/* SPDX-License-Identifier: Apache-2.0 */
/* test_quota.c - how much the node, and each tenant on it, may hold */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/config.h"
#include "engine/quota.h"

#include <stdlib.h>
#include <string.h>

static const struct quota_capacity host = { .cpus = 4,
					    .memory_mib = 16384,
					    .disk_mib = 100000 };
static const struct quota_share small = { 2, 4096, 10000 };

struct rig {
	struct config *config;
	struct quota *quota;
};

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	assert_int_equal(config_parse("test.conf",
				      "[limits]\n"
				      "sandboxes_max = 10\n"
				      "vcpu_overcommit = 2\n"
				      "memory_overcommit = 1\n"
				      "disk_overcommit = 1\n"
				      "memory_reserve_mib = 0\n"
				      "disk_reserve_mib = 0\n"
				      "create_rate = 10\n"
				      "create_burst = 2\n"
				      "[quota.acme]\n"
				      "sandboxes_max = 2\n",
				      &rig->config, NULL),
			 0);
	rig->quota = quota_new(rig->config, &host);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	quota_free(rig->quota);
	config_free(rig->config);
	free(rig);
	return 0;
}

static void the_last_that_fits_is_admitted_and_the_next_refused(void **state)
{
	struct rig *rig = *state;
	struct error err;

	for (int i = 0; i < 4; i++)
		assert_int_equal(quota_admit(rig->quota, "", &small, &err), 0);
	/* 16 GiB are full, though 8 vCPUs are too: memory is told or CPUs. */
	assert_int_equal(quota_admit(rig->quota, "", &small, &err), -1);
	assert_string_equal(err_reason_of(&err), "RESOURCE_EXHAUSTED");
	assert_true(err.retry_ms > 0);
}

static void a_refusal_takes_nothing(void **state)
{
	struct rig *rig = *state;
	struct quota_share huge = { 2, 4096, 200000 };
	struct quota_use use;

	assert_int_equal(quota_admit(rig->quota, "", &huge, NULL), -1);
	quota_use(rig->quota, &use);
	assert_int_equal(use.vcpus, 0);
	assert_int_equal(use.memory_mib, 0);
	assert_int_equal(use.sandboxes, 0);
}

static void a_paused_one_holds_only_place_and_disk(void **state)
{
	struct rig *rig = *state;
	struct quota_use use;

	assert_int_equal(quota_admit(rig->quota, "", &small, NULL), 0);
	quota_pause(rig->quota, "", &small);
	quota_use(rig->quota, &use);
	assert_int_equal(use.sandboxes, 1);
	assert_int_equal(use.disk_mib, small.disk_mib);
	assert_int_equal(use.vcpus, 0);
	assert_int_equal(use.memory_mib, 0);
	quota_release(rig->quota, "", &small, false);
	quota_use(rig->quota, &use);
	assert_int_equal(use.sandboxes, 0);
}

static void what_cannot_run_again_stays_paused(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(quota_admit(rig->quota, "", &small, NULL), 0);
	quota_pause(rig->quota, "", &small);
	for (int i = 0; i < 4; i++)
		assert_int_equal(quota_admit(rig->quota, "", &small, NULL), 0);
	assert_int_equal(quota_resume(rig->quota, "", &small, NULL), -1);
	quota_release(rig->quota, "", &small, true);
	assert_int_equal(quota_resume(rig->quota, "", &small, NULL), 0);
}

static void a_tenant_is_held_to_its_own_quota(void **state)
{
	struct rig *rig = *state;
	struct error err;

	assert_int_equal(quota_admit(rig->quota, "acme", &small, NULL), 0);
	assert_int_equal(quota_admit(rig->quota, "acme", &small, NULL), 0);
	assert_int_equal(quota_admit(rig->quota, "acme", &small, &err), -1);
	assert_string_equal(err_reason_of(&err), "QUOTA_EXCEEDED");
	assert_int_equal(quota_admit(rig->quota, "other", &small, NULL), 0);
}

static void the_nodes_own_guests_take_no_place(void **state)
{
	struct rig *rig = *state;
	struct quota_use use;

	assert_int_equal(quota_admit(rig->quota, NULL, &small, NULL), 0);
	quota_use(rig->quota, &use);
	assert_int_equal(use.sandboxes, 0);
	assert_int_equal(use.vcpus, 2);
}

static void what_is_adopted_counts_even_over_the_limit(void **state)
{
	struct rig *rig = *state;
	struct quota_use use;

	for (int i = 0; i < 6; i++)
		quota_adopt(rig->quota, "", &small, true);
	quota_use(rig->quota, &use);
	assert_int_equal(use.vcpus, 12);
	assert_int_equal(quota_admit(rig->quota, "", &small, NULL), -1);
}

static void creations_come_at_the_rate_after_the_burst(void **state)
{
	struct rig *rig = *state;
	struct error err;

	assert_int_equal(quota_rate(rig->quota, 1000, NULL), 0);
	assert_int_equal(quota_rate(rig->quota, 1000, NULL), 0);
	assert_int_equal(quota_rate(rig->quota, 1000, &err), -1);
	assert_string_equal(err_reason_of(&err), "RATE_LIMITED");
	assert_in_range(err.retry_ms, 1, 101);
	assert_int_equal(quota_rate(rig->quota, 1000 + err.retry_ms, NULL), 0);
	assert_int_equal(quota_rate(rig->quota, 1000 + err.retry_ms, NULL),
			 -1);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_last_that_fits_is_admitted_and_the_next_refused),
		T(a_refusal_takes_nothing),
		T(a_paused_one_holds_only_place_and_disk),
		T(what_cannot_run_again_stays_paused),
		T(a_tenant_is_held_to_its_own_quota),
		T(the_nodes_own_guests_take_no_place),
		T(what_is_adopted_counts_even_over_the_limit),
		T(creations_come_at_the_rate_after_the_burst),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
