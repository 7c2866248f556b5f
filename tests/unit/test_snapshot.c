/* SPDX-License-Identifier: Apache-2.0 */
/* test_snapshot.c - manifests, parts, and what a host accepts */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/snapshot/snapshot.h"
#include "engine/snapshot/template.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct snapshot_manifest sample(void)
{
	struct snapshot_manifest m = {
		.kind = SNAPSHOT_GUEST,
		.created_ms = 1795240282852,
		.cpu = 2,
		.memory_mib = 512,
		.disk_size = 1ull << 30,
		.image_digest = "sha256:abc",
		.platform = { "kvm", "pc-q35-7.2", "7.2.22", "host/x", "6.1",
			      true, true },
		.template_identity = SHA,
		.template_ram = SHA,
		.data_pages = 10,
		.zero_pages = 3,
		.index_sha = SHA,
		.parts = { { "sandbox.mem.zst", 100, SHA, 5 },
			   { "disk.0.qcow2", 200, SHA, -6 } },
		.n_parts = 2,
	};

	return m;
}

static void a_manifest_says_what_was_put_into_it(void **state)
{
	struct snapshot_manifest m = sample(), back = { 0 };
	_cleanup_free_ char *text = NULL;
	struct error err = { 0 };
	size_t len;

	(void)state;
	text = snapshot_manifest_format(&m, &len);
	assert_int_equal(snapshot_manifest_parse(text, len, &back, &err), 0);
	assert_memory_equal(&m.platform, &back.platform, sizeof(m.platform));
	assert_int_equal(back.created_ms, m.created_ms);
	assert_int_equal(back.n_parts, 2);
	assert_string_equal(back.parts[1].name, "disk.0.qcow2");
	assert_int_equal(back.parts[1].mtime_ns, -6);
	assert_string_equal(back.template_ram, SHA);
	assert_non_null(snapshot_manifest_part(&back, "sandbox.mem.zst"));
	assert_null(snapshot_manifest_part(&back, "other"));
}

static void any_altered_byte_of_a_manifest_is_noticed(void **state)
{
	struct snapshot_manifest m = sample(), back;
	_cleanup_free_ char *text = NULL;
	size_t len;

	(void)state;
	text = snapshot_manifest_format(&m, &len);
	for (size_t i = 0; i < len; i++) {
		struct error err = { 0 };

		text[i] ^= 1;
		assert_int_equal(
			snapshot_manifest_parse(text, len, &back, &err), -1);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		text[i] ^= 1;
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(
			snapshot_manifest_parse(text, cut, &back, NULL), -1);
}

/* A manifest with @from replaced by @to and the right checksum. */
static char *edited(const char *from, const char *to, size_t *len)
{
	struct snapshot_manifest m = sample();
	_cleanup_free_ char *text = snapshot_manifest_format(&m, len);
	_cleanup_free_ char *line = NULL;
	char *at = strstr(text, from), *end = strchr(text, '\n');
	uint8_t sha[SHA256_DIGEST_LENGTH];
	char hex[65], *all;

	assert_non_null(at);
	*at = *end = '\0';
	line = xasprintf("%s%s%s\n", text, to, at + strlen(from));
	SHA256((const uint8_t *)line, strlen(line), sha);
	for (size_t i = 0; i < sizeof(sha); i++)
		snprintf(hex + 2 * i, 3, "%02x", sha[i]);
	all = xasprintf("%s{\"sha256\":\"%s\"}\n", line, hex);
	*len = strlen(all);
	return all;
}

static enum err_code parse_edited(const char *from, const char *to)
{
	struct snapshot_manifest back;
	struct error err = { 0 };
	size_t len;
	_cleanup_free_ char *text = edited(from, to, &len);

	return snapshot_manifest_parse(text, len, &back, &err) < 0 ? err.code
								   : ERR_NONE;
}

static void a_newer_version_is_refused_as_such(void **state)
{
	(void)state;
	assert_int_equal(parse_edited("\"version\":1", "\"version\":2"),
			 ERR_INVALID);
	assert_int_equal(parse_edited("\"version\":1", "\"version\":1 "),
			 ERR_NONE);
}

static void names_of_parts_are_never_paths(void **state)
{
	(void)state;
	assert_int_equal(parse_edited("disk.0.qcow2", "../x"), ERR_DATA_LOSS);
	assert_int_equal(parse_edited("disk.0.qcow2", "a/b"), ERR_DATA_LOSS);
	assert_int_equal(parse_edited("disk.0.qcow2", ".hidden"),
			 ERR_DATA_LOSS);
	assert_int_equal(parse_edited("disk.0.qcow2", "sandbox.mem.zst"),
			 ERR_DATA_LOSS);
}

static void what_is_missing_or_of_another_type_is_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_edited("\"cpu\":2", "\"cpu\":\"2\""),
			 ERR_DATA_LOSS);
	assert_int_equal(parse_edited("\"cpu\":2", "\"cpu\":-2"),
			 ERR_DATA_LOSS);
	assert_int_equal(parse_edited("\"memory_mib\":512", "\"x\":512"),
			 ERR_DATA_LOSS);
	assert_int_equal(
		parse_edited("\"kind\":\"snapshot\"", "\"kind\":\"other\""),
		ERR_DATA_LOSS);
}

static void a_host_accepts_only_what_fits_it(void **state)
{
	struct snapshot_manifest m = sample();
	struct snapshot_platform host = m.platform;
	struct error err = { 0 };

	(void)state;
	snprintf(host.qemu_version, sizeof(host.qemu_version), "10.0.2");
	snprintf(host.kernel_version, sizeof(host.kernel_version), "6.12");
	assert_int_equal(snapshot_platform_accepts(&host, &m.platform, &err),
			 0);
	snprintf(host.qemu_version, sizeof(host.qemu_version), "6.2.0");
	assert_int_equal(snapshot_platform_accepts(&host, &m.platform, &err),
			 -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	host = m.platform;
	snprintf(host.cpu_model, sizeof(host.cpu_model), "host/y");
	assert_int_equal(snapshot_platform_accepts(&host, &m.platform, &err),
			 -1);
	host = m.platform;
	snprintf(host.accelerator, sizeof(host.accelerator), "tcg");
	assert_int_equal(snapshot_platform_accepts(&host, &m.platform, &err),
			 -1);
	host = m.platform;
	host.vsock = false;
	assert_int_equal(snapshot_platform_accepts(&host, &m.platform, &err),
			 -1);
}

static void identity_follows_all_that_a_template_is_made_of(void **state)
{
	struct snapshot_manifest a = sample(), b = sample();
	char one[SNAPSHOT_SHA_SIZE], other[SNAPSHOT_SHA_SIZE];

	(void)state;
	b.created_ms++;
	snapshot_identity(&a, one);
	snapshot_identity(&b, other);
	assert_string_equal(one, other);
	b.memory_mib++;
	snapshot_identity(&b, other);
	assert_string_not_equal(one, other);
	b = sample();
	snprintf(b.platform.qemu_version, sizeof(b.platform.qemu_version),
		 "7.2.23");
	snapshot_identity(&b, other);
	assert_string_not_equal(one, other);
}

/* A directory with one part of 10 bytes, for the tests below. */
struct dir {
	char path[64];
	int fd;
};

static int dir_setup(void **state)
{
	struct dir *d = xcalloc(1, sizeof(*d));
	int fd;

	snprintf(d->path, sizeof(d->path), "/tmp/test_snapshot.XXXXXX");
	if (!mkdtemp(d->path))
		return -1;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY);
	fd = openat(d->fd, "part", O_CREAT | O_WRONLY, 0600);
	if (fd < 0 || fd_write_full(fd, "0123456789", 10) < 0)
		return -1;
	close(fd);
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

static void a_part_that_was_written_to_is_refused(void **state)
{
	struct dir *d = *state;
	struct snapshot_manifest m = { 0 };
	struct error err = { 0 };
	int fd;

	assert_int_equal(snapshot_add_part(d->fd, "part", &m, &err), 0);
	assert_int_equal(m.parts[0].size, 10);
	for (int depth = SNAPSHOT_SIZES; depth <= SNAPSHOT_ALL; depth++)
		assert_int_equal(snapshot_check_part(d->fd, &m.parts[0],
						     (enum snapshot_depth)depth,
						     &err),
				 0);
	fd = openat(d->fd, "part", O_WRONLY);
	assert_int_equal(fd_pwrite_full(fd, "x", 1, 3), 0);
	close(fd);
	for (int depth = SNAPSHOT_SIZES; depth <= SNAPSHOT_ALL; depth++)
		assert_int_equal(snapshot_check_part(d->fd, &m.parts[0],
						     (enum snapshot_depth)depth,
						     &err),
				 -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
}

static void a_part_merely_touched_is_read_and_passes(void **state)
{
	struct dir *d = *state;
	struct snapshot_manifest m = { 0 };

	assert_int_equal(snapshot_add_part(d->fd, "part", &m, NULL), 0);
	assert_int_equal(utimensat(d->fd, "part", NULL, 0), 0);
	assert_int_equal(
		snapshot_check_part(d->fd, &m.parts[0], SNAPSHOT_SIZES, NULL),
		0);
}

static void a_missing_or_shorter_part_is_refused(void **state)
{
	struct dir *d = *state;
	struct snapshot_manifest m = { 0 };

	assert_int_equal(snapshot_add_part(d->fd, "part", &m, NULL), 0);
	m.parts[0].size++;
	assert_int_equal(
		snapshot_check_part(d->fd, &m.parts[0], SNAPSHOT_SIZES, NULL),
		-1);
	m.parts[0].size--;
	unlinkat(d->fd, "part", 0);
	assert_int_equal(
		snapshot_check_part(d->fd, &m.parts[0], SNAPSHOT_SIZES, NULL),
		-1);
}

static void a_directory_without_manifest_is_no_snapshot(void **state)
{
	struct dir *d = *state;
	struct snapshot_manifest m;
	struct error err = { 0 };

	assert_int_equal(snapshot_read(d->fd, SNAPSHOT_GUEST, &m, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	m = sample();
	assert_int_equal(snapshot_commit(d->path, d->fd, &m, &err), 0);
	assert_int_equal(snapshot_read(d->fd, SNAPSHOT_GUEST, &m, &err), 0);
	assert_int_equal(snapshot_read(d->fd, SNAPSHOT_TEMPLATE, &m, &err), -1);
}

static void device_state_comes_back_or_is_refused(void **state)
{
	struct dir *d = *state;
	struct error err = { 0 };
	int from = snapshot_memfd("t", NULL), back, fd;
	char buf[5000], got[5000];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * i >> 3);
	assert_int_equal(fd_write_full(from, buf, sizeof(buf)), 0);
	assert_int_equal(snapshot_write_state(d->fd, from, &err), 0);
	back = snapshot_read_state(d->fd, &err);
	assert_true(back >= 0);
	assert_int_equal(fd_read_full(back, got, sizeof(got)), 0);
	assert_memory_equal(buf, got, sizeof(buf));
	close(back);
	close(from);
	fd = openat(d->fd, SNAPSHOT_STATE, O_RDWR);
	assert_int_equal(fd_pread_full(fd, got, 1, 20), 0);
	got[0] ^= 4;
	assert_int_equal(fd_pwrite_full(fd, got, 1, 20), 0);
	close(fd);
	assert_int_equal(snapshot_read_state(d->fd, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
}

static void an_altered_template_is_moved_aside(void **state)
{
	struct dir *d = *state;
	struct snapshot_manifest m = sample();
	_cleanup_free_ char *aside = xasprintf("%s.quarantined", d->path);
	struct error err = { 0 };
	struct stat st;
	int fd;

	m.kind = SNAPSHOT_TEMPLATE;
	m.n_parts = 0;
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = { TEMPLATE_RAM,
						     TEMPLATE_STATE,
						     TEMPLATE_DISK };

		fd = openat(d->fd, names[i], O_CREAT | O_WRONLY, 0600);
		assert_int_equal(ftruncate(fd, 3 << 20), 0);
		assert_int_equal(fd_pwrite_full(fd, "abc", 3, 2 << 20), 0);
		close(fd);
		assert_int_equal(snapshot_add_part(d->fd, names[i], &m, &err),
				 0);
	}
	assert_int_equal(snapshot_commit(d->path, d->fd, &m, &err), 0);
	assert_int_equal(template_open(d->path, &m, &err), 0);
	fd = openat(d->fd, TEMPLATE_RAM, O_WRONLY);
	assert_int_equal(fd_pwrite_full(fd, "evil", 4, 100), 0);
	close(fd);
	assert_int_equal(template_open(d->path, &m, &err), -1);
	assert_int_equal(err.code, ERR_DATA_LOSS);
	assert_int_equal(stat(d->path, &st), -1);
	assert_int_equal(stat(aside, &st), 0);
	assert_int_equal(template_open(d->path, &m, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	fd_remove_tree(AT_FDCWD, aside, NULL);
}

#define in_dir(f) cmocka_unit_test_setup_teardown(f, dir_setup, dir_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_says_what_was_put_into_it),
		cmocka_unit_test(any_altered_byte_of_a_manifest_is_noticed),
		cmocka_unit_test(a_newer_version_is_refused_as_such),
		cmocka_unit_test(names_of_parts_are_never_paths),
		cmocka_unit_test(what_is_missing_or_of_another_type_is_refused),
		cmocka_unit_test(a_host_accepts_only_what_fits_it),
		cmocka_unit_test(
			identity_follows_all_that_a_template_is_made_of),
		in_dir(a_part_that_was_written_to_is_refused),
		in_dir(a_part_merely_touched_is_read_and_passes),
		in_dir(a_missing_or_shorter_part_is_refused),
		in_dir(a_directory_without_manifest_is_no_snapshot),
		in_dir(device_state_comes_back_or_is_refused),
		in_dir(an_altered_template_is_moved_aside),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
