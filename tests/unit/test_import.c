/* SPDX-License-Identifier: Apache-2.0 */
/* test_import.c - snapshots of other nodes, and a node that cannot clone */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine_rig.h"
#include "parcel_sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

/* Import the sample; what is said of it is in the world's answer_err. */
static bool import_sample(void)
{
	struct parcel_stream s = parcel_sample_stream(&parcel_sample.m);
	size_t room = ZSTD_compressBound(s.len), n;
	uint8_t *packed = xcalloc(1, room);
	int fd = memfd_create("stream", MFD_CLOEXEC);
	unsigned int before = world.answers;

	n = ZSTD_compress(packed, room, s.data, s.len, 1);
	assert_false(ZSTD_isError(n));
	assert_int_equal(write(fd, packed, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	world.front_ops->call(++rig.next_id, "ImportSnapshot", "uid:0", NULL, 0,
			      &fd, rig.e);
	assert_int_equal(fd, -EBADF);
	while (world.answers == before)
		rig_tick();
	free(packed);
	free(s.data);
	return world.answer_ok;
}

/* One that fits this node, but for what a test changes. */
static void fitting_sample(void)
{
	parcel_sample_new();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "kvm";
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "7";
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "mine";
	parcel_sample.platform.network = true;
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:1";
	parcel_sample.m.memory_mib = parcel_sample.resources.memory_mib = 4096;
	parcel_sample.resources.disk_mib = 10240;
	parcel_sample.spec.sandbox_id = (char *)(uintptr_t) "far";
	parcel_sample.spec.image = (char *)(uintptr_t) "elsewhere:1";
	parcel_sample.spec.timeout_ms = 60000;
}

static void refused_import(const char *reason, const char *word)
{
	assert_false(import_sample());
	if (strcmp(err_reason_of(&world.answer_err), reason) != 0 ||
	    !strstr(world.answer_err.msg, word))
		fail_msg("%s: %s", err_reason_of(&world.answer_err),
			 world.answer_err.msg);
	assert_int_equal(rig_files("snapshots"), 0);
	assert_int_equal(rig_files("templates"), 0);
}

static void a_node_that_cannot_clone_boots_cold_and_says_so(void **state)
{
	NODE(GetNode, GET_NODE);
	Sandbox__Node__V1__GetNodeResponse *r;

	(void)state;
	rig_stop();
	world.clones_fail = true;
	rig_start();
	while (rig.e->testing)
		rig_tick();
	assert_true(rig_create("a"));
	rig_settle();
	assert_int_equal(rig_files("templates"), 0);
	assert_int_equal(rig_state("a"), SBX_RUNNING);
	assert_true(rig_call("GetNode", &m.base));
	r = sandbox__node__v1__get_node_response__unpack(NULL, world.answer_len,
							 world.answer);
	assert_non_null(r);
	assert_string_equal(r->snapshot_mechanism, "save");
	assert_int_equal(r->n_problems, 1);
	assert_non_null(strstr(r->problems[0], "self-test"));
	sandbox__node__v1__get_node_response__free_unpacked(r, NULL);
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "";
	refused_import("DATA_LOSS", "cpu_model");
	fitting_sample();
	refused_import("UNAVAILABLE", "cannot clone");
}

static void snapshots_of_other_hosts_are_refused_by_what_differs(void **state)
{
	(void)state;
	rig_stop();
	world.cpu_model = "mine";
	rig_start();
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "theirs";
	refused_import("INVALID_STATE", "saved on CPU 'theirs'");
	fitting_sample();
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "99.1.0";
	refused_import("INVALID_STATE", "saved by QEMU 99.1.0");
	fitting_sample();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "tcg";
	refused_import("INVALID_STATE", "saved under tcg");
	fitting_sample();
	parcel_sample.platform.vsock = true;
	refused_import("INVALID_STATE", "vsock");
	fitting_sample();
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:2";
	refused_import("IMAGE_NOT_FOUND", "elsewhere:1");
	fitting_sample();
	parcel_sample.spec.timeout_ms = 1;
	refused_import("DATA_LOSS", "'spec'");
	/* All fits, and its disks are none. */
	fitting_sample();
	refused_import("DATA_LOSS", "part 'template disk'");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(snapshots_of_other_hosts_are_refused_by_what_differs),
		T(a_node_that_cannot_clone_boots_cold_and_says_so),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
