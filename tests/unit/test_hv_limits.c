/* SPDX-License-Identifier: Apache-2.0 */
/* test_hv_limits.c - which scope a guest's QEMU is in */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/hv/hv_limits.h"

#include <string.h>

static void the_scope_is_found_above_libvirts_own_cgroups(void **state)
{
	char scope[64];

	(void)state;
	assert_int_equal(
		hv_limits_scope("0::/machine.slice/machine-qemu\\x2d2.scope/"
				"libvirt/emulator\n",
				scope, sizeof(scope), NULL),
		0);
	assert_string_equal(scope, "machine-qemu\\x2d2.scope");
}

static void a_qemu_in_somebody_elses_cgroup_is_not_limited(void **state)
{
	static const char *const texts[] = {
		"",
		"0::/\n",
		"0::/system.slice/libvirtd.service\n",
		"12:pids:/user.slice/x.scope/y\n",
		"0::/system.slice/a.service\n1:x:/b.scope/c\n",
	};
	struct error err;
	char scope[64];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(
			hv_limits_scope(texts[i], scope, sizeof(scope), &err),
			-1);
}

static void a_long_name_is_refused(void **state)
{
	struct error err;
	char scope[8];

	(void)state;
	assert_int_equal(hv_limits_scope("0::/a/12345.scope/libvirt\n", scope,
					 sizeof(scope), &err),
			 -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_scope_is_found_above_libvirts_own_cgroups),
		cmocka_unit_test(
			a_qemu_in_somebody_elses_cgroup_is_not_limited),
		cmocka_unit_test(a_long_name_is_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
