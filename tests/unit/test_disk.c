/* SPDX-License-Identifier: Apache-2.0 */
/* test_disk.c - disk layers: headers, sealing, settling; and small helpers */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv/probe.h"
#include "engine/proc/child.h"
#include "engine/snapshot/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

struct dir {
	char path[64];
	int fd;
};

static int dir_setup(void **state)
{
	struct dir *d = xcalloc(1, sizeof(*d));

	snprintf(d->path, sizeof(d->path), "/tmp/test_disk.XXXXXX");
	if (!mkdtemp(d->path))
		return -1;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY);
	*state = d;
	return 0;
}

static int dir_teardown(void **state)
{
	struct dir *d = *state;

	close(d->fd);
	fd_remove_tree(AT_FDCWD, d->path, NULL);
	free(d);
	return 0;
}

/* qemu-img, when it is there. 0 or -1; skips without. */
static int qemu_img(const char *command, const char *path)
{
	const char *const argv[] = { "/usr/bin/qemu-img", command, path, NULL };
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = 30000 };
	struct error err;

	if (access(argv[0], X_OK) < 0)
		skip();
	return child_run(&child, &err);
}

/* An honest layer over the file "base.raw", and its first bytes. */
static void make_foreign(const struct dir *d, uint8_t head[512])
{
	int fd = openat(d->fd, "base.raw", O_CREAT | O_WRONLY, 0600);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	unlinkat(d->fd, "l.qcow2", 0);
	assert_int_equal(disk_create(d->fd, "l.qcow2", 64 * MIB, "/etc/passwd",
				     "raw", geteuid(), NULL),
			 0);
	fd = openat(d->fd, "l.qcow2", O_RDONLY);
	assert_int_equal(fd_pread_full(fd, head, 512, 0), 0);
	close(fd);
}

static int adopt(const struct dir *d, const uint8_t head[512],
		 struct error *err)
{
	int fd = openat(d->fd, "l.qcow2", O_WRONLY);
	uint64_t size = 0;
	int rc;

	assert_int_equal(fd_pwrite_full(fd, head, 512, 0), 0);
	close(fd);
	rc = disk_adopt(d->fd, "l.qcow2", "base.raw", "raw", &size, err);
	if (rc == 0)
		assert_int_equal(size, 64 * MIB);
	return rc;
}

static void an_adopted_layer_stands_on_what_we_say(void **state)
{
	struct dir *d = *state;
	_cleanup_free_ char *path = xasprintf("%s/l.qcow2", d->path);
	uint8_t head[512], after[65536];
	struct error err;
	int fd;

	make_foreign(d, head);
	assert_int_equal(adopt(d, head, &err), 0);
	fd = openat(d->fd, "l.qcow2", O_RDONLY);
	assert_int_equal(fd_pread_full(fd, after, sizeof(after), 0), 0);
	close(fd);
	assert_null(memmem(after, sizeof(after), "/etc/passwd", 11));
	assert_non_null(memmem(after, sizeof(after), "base.raw", 8));
	assert_int_equal(qemu_img("check", path), 0);
}

static void layers_that_lead_elsewhere_are_not_adopted(void **state)
{
	/* Offsets and values of header bytes: version 2, small clusters, an
	 * encryption, internal snapshots, an external data file, tables beyond
	 * the end, in the header, or unaligned, no disk.
	 */
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = { { 7, 2 },  { 23, 9 },    { 35, 1 },	  { 63, 1 }, { 79, 4 },
		    { 72, 1 }, { 40, 0x40 }, { 45, 0 },	  { 47, 8 }, { 48, 1 },
		    { 59, 0 }, { 28, 0 },    { 28, 0xff } };
	struct dir *d = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error err = { 0 };
		uint8_t head[512];

		make_foreign(d, head);
		if (head[bad[i].at] == bad[i].value)
			continue;
		head[bad[i].at] = bad[i].value;
		if (adopt(d, head, &err) == 0)
			fail_msg("byte %zu = %u", bad[i].at, bad[i].value);
		assert_int_equal(err.code, ERR_DATA_LOSS);
	}
}

static void qemu_img_finds_no_fault_in_a_new_layer(void **state)
{
	static const uint64_t sizes[] = { 512, 64 * MIB, 1000 * MIB,
					  DISK_SIZE_MAX };
	struct dir *d = *state;
	_cleanup_free_ char *path = xasprintf("%s/l.qcow2", d->path);
	_cleanup_free_ char *base = xasprintf("%s/base.raw", d->path);
	int fd = openat(d->fd, "base.raw", O_CREAT | O_WRONLY, 0600);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	for (size_t i = 0; i < 4; i++) {
		uint64_t size;

		assert_int_equal(disk_create(d->fd, "l.qcow2", sizes[i], base,
					     "raw", geteuid(), NULL),
				 0);
		assert_int_equal(qemu_img("check", path), 0);
		assert_int_equal(disk_read_size(d->fd, "l.qcow2", &size, NULL),
				 0);
		assert_int_equal(size, sizes[i]);
		unlinkat(d->fd, "l.qcow2", 0);
	}
}

static void sizes_and_names_that_do_not_fit_are_refused(void **state)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, DISK_HEADER_SIZE);
	char name[1100];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(disk_header(buf, 0, "b", "raw"), -EINVAL);
	assert_int_equal(disk_header(buf, 513, "b", "raw"), -EINVAL);
	assert_int_equal(disk_header(buf, DISK_SIZE_MAX + 512, "b", "raw"),
			 -EINVAL);
	assert_int_equal(disk_header(buf, 512, name, "raw"), -EINVAL);
	assert_int_equal(disk_header(buf, 512, "", "raw"), -EINVAL);
}

static void make(struct dir *d, const char *name, mode_t mode)
{
	int fd = openat(d->fd, name, O_CREAT | O_EXCL | O_WRONLY, mode);

	assert_true(fd >= 0);
	close(fd);
}

static bool is_there(struct dir *d, const char *name)
{
	return faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void a_guest_started_anew_has_no_layers(void **state)
{
	struct dir *d = *state;
	unsigned int n = 9;

	make(d, DISK_ACTIVE, 0600);
	assert_int_equal(disk_settle(d->fd, DISK_ACTIVE, geteuid(), &n, NULL),
			 0);
	assert_int_equal(n, 0);
}

static void layers_below_are_counted_and_sealed(void **state)
{
	struct dir *d = *state;
	struct stat st;
	unsigned int n;

	make(d, "disk.0.qcow2", 0444);
	make(d, "disk.1.qcow2", 0600); /* cut off before it was sealed */
	make(d, "disk.2.qcow2", 0600);
	assert_int_equal(
		disk_settle(d->fd, "disk.2.qcow2", geteuid(), &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(fstatat(d->fd, "disk.1.qcow2", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_int_equal(fstatat(d->fd, "disk.2.qcow2", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_a_save_that_was_cut_off_left_goes(void **state)
{
	struct dir *d = *state;
	unsigned int n;

	make(d, "disk.0.qcow2", 0444);
	make(d, DISK_ACTIVE, 0600);
	/* The active one had got its second name, and the next was there. */
	assert_int_equal(linkat(d->fd, DISK_ACTIVE, d->fd, "disk.1.qcow2", 0),
			 0);
	make(d, "disk.2.qcow2", 0600);
	assert_int_equal(disk_settle(d->fd, DISK_ACTIVE, geteuid(), &n, NULL),
			 0);
	assert_int_equal(n, 1);
	assert_false(is_there(d, "disk.1.qcow2"));
	assert_false(is_there(d, "disk.2.qcow2"));
	assert_true(is_there(d, DISK_ACTIVE));
}

/* Root's already, but with the mode of a layer that is written; or the guest's
 * again, still read-only.
 */
static void a_seal_that_was_cut_off_in_the_middle_is_settled(void **state)
{
	struct dir *d = *state;
	struct stat st;
	unsigned int n;

	if (geteuid() != 0)
		skip();
	make(d, "disk.0.qcow2", 0600);
	make(d, DISK_ACTIVE, 0600);
	assert_int_equal(disk_settle(d->fd, DISK_ACTIVE, 12345, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(fstatat(d->fd, "disk.0.qcow2", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	assert_int_equal(fstatat(d->fd, DISK_ACTIVE, &st, 0), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(fchmodat(d->fd, DISK_ACTIVE, 0444, 0), 0);
	assert_int_equal(disk_settle(d->fd, DISK_ACTIVE, 12345, &n, NULL), 0);
	assert_int_equal(fstatat(d->fd, DISK_ACTIVE, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_link_in_the_place_of_a_layer_is_refused(void **state)
{
	struct dir *d = *state;
	struct error err = { 0 };
	unsigned int n;

	assert_int_equal(symlinkat("/etc/passwd", d->fd, "disk.0.qcow2"), 0);
	make(d, "disk.1.qcow2", 0600);
	assert_int_equal(
		disk_settle(d->fd, "disk.1.qcow2", geteuid(), &n, &err), -1);
}

static void a_disk_name_that_is_not_ours_is_refused(void **state)
{
	static const char *const names[] = { "disk.99.qcow2", "disk.1.qcow2x",
					     "disk.01.qcow2", "../disk.qcow2" };
	struct dir *d = *state;
	unsigned int n;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			disk_settle(d->fd, names[i], geteuid(), &n, NULL), -1);
}

static void sealing_follows_no_link(void **state)
{
	struct dir *d = *state;

	assert_int_equal(symlinkat("/etc/passwd", d->fd, DISK_ACTIVE), 0);
	assert_int_equal(disk_seal(d->fd, DISK_ACTIVE, d->fd, "disk.0.qcow2",
				   geteuid(), NULL),
			 -1);
	assert_false(is_there(d, "disk.0.qcow2"));
}

static void sealed_layers_only_are_linked(void **state)
{
	struct dir *d = *state;
	int to;

	assert_int_equal(mkdirat(d->fd, "to", 0700), 0);
	to = openat(d->fd, "to", O_RDONLY | O_DIRECTORY);
	make(d, "disk.0.qcow2", 0444);
	assert_int_equal(disk_link_layers(d->fd, to, 1, NULL), 0);
	make(d, "disk.1.qcow2", 0600);
	unlinkat(to, "disk.0.qcow2", 0);
	assert_int_equal(disk_link_layers(d->fd, to, 2, NULL), -1);
	close(to);
}

static void a_child_that_is_not_wanted_any_more_is_ended(void **state)
{
	const char *const argv[] = { "/bin/sleep", "60", NULL };
	static const _Atomic bool cancel = true;
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = 60000,
				    .cancel = &cancel };
	struct error err = { 0 };

	(void)state;
	assert_int_equal(child_run(&child, &err), -1);
	assert_int_equal(err.code, ERR_CANCELLED);
}

static void a_child_that_takes_too_long_is_ended(void **state)
{
	const char *const argv[] = { "/bin/sleep", "60", NULL };
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = 50 };
	struct error err = { 0 };

	(void)state;
	assert_int_equal(child_run(&child, &err), -1);
	assert_int_equal(err.code, ERR_TIMEOUT);
}

static void a_childs_last_words_are_in_the_message(void **state)
{
	const char *const argv[] = { "/bin/sh", "-c",
				     "echo no luck >&2; exit 3", NULL };
	struct child_spec child = { .argv = argv,
				    .uid = (uid_t)-1,
				    .timeout_ms = 10000 };
	struct error err = { 0 };

	(void)state;
	assert_int_equal(child_run(&child, &err), -1);
	assert_non_null(strstr(err.msg, "no luck"));
}

/* Of the program that a_child_within_limits runs: twice as many threads at once
 * as qemu-img begins, each with a heap. Status 0 when there was room for all.
 */
#define THREADS 130
static pthread_barrier_t all_there;

static void *one_of_many(void *arg)
{
	void *p = malloc(1000);

	pthread_barrier_wait(&all_there);
	free(p);
	return arg;
}

static int begin_threads(void)
{
	pthread_t t;

	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&t, NULL, one_of_many, NULL) != 0)
			_exit(1);
	}
	pthread_barrier_wait(&all_there);
	_exit(0);
}

static void a_child_within_limits_may_have_many_threads(void **state)
{
	const char *const argv[] = { "/proc/self/exe", "--threads", NULL };
	struct child_spec child = { .argv = argv, .timeout_ms = 60000 };
	struct error err = { 0 };

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip(); /* it reserves terabytes */
#endif
	if (geteuid() != 0)
		skip();
	if (child_run(&child, &err) < 0)
		fail_msg("%s", err.msg);
}

static void qemus_version_decides_machine_and_mapping(void **state)
{
	struct probe_result r = { 0 };

	(void)state;
	assert_int_equal(probe_parse_version("QEMU emulator version 7.2.22 "
					     "(Debian 1:7.2)\n",
					     &r),
			 0);
	assert_string_equal(r.machine, "pc-q35-7.2");
	assert_false(r.ram_readonly);
	assert_int_equal(
		probe_parse_version("QEMU emulator version 10.0.13", &r), 0);
	assert_string_equal(r.qemu_version, "10.0.13");
	assert_true(r.ram_readonly);
	assert_int_equal(probe_parse_version("qemu 7", &r), -EINVAL);
}

static void a_boot_counts_when_the_kernel_asks_for_its_root(void **state)
{
	(void)state;
	assert_true(probe_has_booted("[0.0] Linux version 6.1\n... VFS: Unable "
				     "to mount root fs on unknown-block(0,0)"));
	assert_false(probe_has_booted("[0.0] Linux version 6.1\n"));
	assert_false(probe_has_booted(""));
}

#define in_dir(f) cmocka_unit_test_setup_teardown(f, dir_setup, dir_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		in_dir(qemu_img_finds_no_fault_in_a_new_layer),
		cmocka_unit_test(sizes_and_names_that_do_not_fit_are_refused),
		in_dir(an_adopted_layer_stands_on_what_we_say),
		in_dir(layers_that_lead_elsewhere_are_not_adopted),
		in_dir(a_guest_started_anew_has_no_layers),
		in_dir(layers_below_are_counted_and_sealed),
		in_dir(what_a_save_that_was_cut_off_left_goes),
		in_dir(a_seal_that_was_cut_off_in_the_middle_is_settled),
		in_dir(a_link_in_the_place_of_a_layer_is_refused),
		in_dir(a_disk_name_that_is_not_ours_is_refused),
		in_dir(sealing_follows_no_link),
		in_dir(sealed_layers_only_are_linked),
		cmocka_unit_test(a_child_that_takes_too_long_is_ended),
		cmocka_unit_test(a_child_that_is_not_wanted_any_more_is_ended),
		cmocka_unit_test(a_childs_last_words_are_in_the_message),
		cmocka_unit_test(a_child_within_limits_may_have_many_threads),
		cmocka_unit_test(qemus_version_decides_machine_and_mapping),
		cmocka_unit_test(
			a_boot_counts_when_the_kernel_asks_for_its_root),
	};

	if (argc > 1 && !strcmp(argv[1], "--threads"))
		return begin_threads();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
