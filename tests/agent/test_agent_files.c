/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_files.c - files, as a node sees them through a real agent */
#include "rig_files.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#define DIRTY_NAME	 " a\nb\xff 'c'"

static struct stat stat_of(struct rig *rig, const char *name)
{
	_cleanup_free_ char *path = rig_path(rig, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st;
}

/* ---- tests ---- */

static void a_file_comes_back_as_written(void **state)
{
	expect(write_file(*state, "plain", "hello\n", &plain), GRPC_OK, "");
	expect_text(*state, "plain", "hello\n");
	assert_int_equal(stat_of(*state, "plain").st_mode, S_IFREG | 0644);
}

static void strange_names_are_bytes(void **state)
{
	expect(write_file(*state, DIRTY_NAME, "x", &plain), GRPC_OK, "");
	expect_text(*state, DIRTY_NAME, "x");
	stat_of(*state, DIRTY_NAME);
	expect(remove_file(*state, DIRTY_NAME, false, false), GRPC_OK, "");
}

static void mode_owner_and_parents_are_made(void **state)
{
	struct write_options o = { .mode = 04750,
				   .owner = "12:34",
				   .make_parents = true };
	struct stat st;

	expect(write_file(*state, "p/q/r", "x", &o), GRPC_OK, "");
	st = stat_of(*state, "p/q/r");
	assert_int_equal(st.st_mode, S_IFREG | 04750);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 34);
	/* Replaced, it keeps both. */
	expect(write_file(*state, "p/q/r", "y", &plain), GRPC_OK, "");
	st = stat_of(*state, "p/q/r");
	assert_int_equal(st.st_mode, S_IFREG | 04750);
	assert_int_equal(st.st_uid, 12);
}

static void exclusive_and_append_are_kept(void **state)
{
	struct write_options exclusive = { .mode = -1, .exclusive = true };
	struct write_options append = { .mode = -1, .append = true };

	expect(write_file(*state, "once", "1", &exclusive), GRPC_OK, "");
	expect(write_file(*state, "once", "2", &exclusive), GRPC_ALREADY_EXISTS,
	       "ALREADY_EXISTS");
	expect(write_file(*state, "once", "2", &append), GRPC_OK, "");
	expect_text(*state, "once", "12");
}

static void a_link_is_written_through(void **state)
{
	_cleanup_free_ char *link = rig_path(*state, "link");

	assert_int_equal(symlink("sub/target", link), 0);
	expect(make_dir(*state, "sub", false), GRPC_OK, "");
	expect(write_file(*state, "link", "via", &plain), GRPC_OK, "");
	assert_true(S_ISLNK(stat_of(*state, "link").st_mode));
	expect_text(*state, "sub/target", "via");
}

/* Names in the rig's directory that begin so. */
static int count_entries(struct rig *rig, const char *prefix)
{
	DIR *dir = opendir(rig->dir);
	struct dirent *de;
	int n = 0;

	while ((de = readdir(dir)))
		n += strncmp(de->d_name, prefix, strlen(prefix)) == 0;
	closedir(dir);
	return n;
}

static void a_cancelled_write_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	struct call *call = write_begin(rig, "never", &plain);

	write_data(call, "half", 4);
	while (count_entries(rig, ".sandbox-") == 0)
		client_step(rig->client, 5);
	call_free(call);
	while (count_entries(rig, ".sandbox-") != 0)
		client_step(rig->client, 5);
	assert_int_equal(count_entries(rig, "never"), 0);
}

static void what_is_no_file_is_refused(void **state)
{
	_cleanup_free_ char *fifo = rig_path(*state, "fifo");
	struct grpc_status st;
	size_t len;
	char *got;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	st = read_file(*state, "fifo", 0, 0, &got, &len);
	free(got);
	expect(st, GRPC_INVALID_ARGUMENT, "INVALID_CONFIG");
	expect(write_file(*state, "fifo", "x", &plain), GRPC_INVALID_ARGUMENT,
	       "INVALID_CONFIG");
	expect(write_file(*state, ".", "x", &plain), GRPC_INVALID_ARGUMENT,
	       "INVALID_CONFIG");
	st = read_file(*state, "missing", 0, 0, &got, &len);
	free(got);
	expect(st, GRPC_NOT_FOUND, "FILE_NOT_FOUND");
	st = read_file(*state, "/proc/version", 0, 0, &got, &len);
	expect(st, GRPC_OK, "");
	assert_true(len > 10);
	free(got);
}

static void ranges_and_sparse_files_are_read(void **state)
{
	_cleanup_free_ char *path = rig_path(*state, "sparse");
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	struct grpc_status st;
	size_t len;
	char *got;

	assert_int_equal(ftruncate(fd, 4ll << 30), 0);
	assert_int_equal(pwrite(fd, "end", 3, (4ll << 30) - 3), 3);
	close(fd);
	st = read_file(*state, "sparse", (4ull << 30) - 5, 0, &got, &len);
	expect(st, GRPC_OK, "");
	assert_int_equal(len, 5);
	assert_memory_equal(got, "\0\0end", 5);
	free(got);
	st = read_file(*state, "sparse", 10, 600000, &got, &len);
	expect(st, GRPC_OK, "");
	assert_int_equal(len, 600000);
	free(got);
}

static void a_large_file_passes_unchanged(void **state)
{
	struct rig *rig = *state;
	size_t size = 40u << 20, len;
	uint8_t *data = xcalloc(1, size);
	struct call *call = write_begin(rig, "large", &plain);
	char *got;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	for (size_t i = 0; i < size; i += 1u << 20)
		write_data(call, data + i, 1u << 20);
	expect(write_end(call), GRPC_OK, "");
	expect(read_file(rig, "large", 0, 0, &got, &len), GRPC_OK, "");
	assert_int_equal(len, size);
	assert_memory_equal(got, data, size);
	free(got);
	free(data);
}

static void a_large_directory_is_listed_in_order(void **state)
{
	NODE(ListDirectoryRequest) rq = NODE_INIT(LIST_DIRECTORY_REQUEST);
	struct rig *rig = *state;
	_cleanup_free_ char *dir = rig_path(rig, "many");
	NODE(ListDirectoryResponse) * m;
	char last[64] = "", name[64];
	struct grpc_status st;
	size_t n = 0;
	bool more = true;
	int fd;

	mkdir(dir, 0755);
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(mknodat(fd, name, S_IFREG | 0600, 0), 0);
	}
	close(fd);
	rq.path = BYTES("many");
	rq.limit = 999;
	while (more) {
		rq.after_name = BYTES(last);
		m = client_ask(rig->client, "ListDirectory", &rq.base,
			       DESCRIPTOR(list_directory_response), &st);
		assert_non_null(m);
		more = m->has_more;
		for (size_t i = 0; i < m->n_entries; i++, n++) {
			snprintf(name, sizeof(name), "%.*s",
				 (int)m->entries[i]->name.len,
				 (char *)m->entries[i]->name.data);
			assert_true(strcmp(name, last) > 0);
			strcpy(last, name);
		}
		protobuf_c_message_free_unpacked(&m->base, NULL);
	}
	assert_int_equal(n, 5000);
	expect(remove_file(rig, "many", true, false), GRPC_OK, "");
	assert_int_equal(access(dir, F_OK), -1);
}

static void directories_are_made_and_removed(void **state)
{
	expect(make_dir(*state, "d/e/f", false), GRPC_NOT_FOUND,
	       "FILE_NOT_FOUND");
	expect(make_dir(*state, "d/e/f", true), GRPC_OK, "");
	expect(make_dir(*state, "d/e/f", true), GRPC_OK, "");
	expect(make_dir(*state, "d", false), GRPC_ALREADY_EXISTS,
	       "ALREADY_EXISTS");
	expect(remove_file(*state, "d", false, false), GRPC_FAILED_PRECONDITION,
	       "INVALID_STATE");
	expect(remove_file(*state, "d", true, false), GRPC_OK, "");
	expect(remove_file(*state, "d", true, false), GRPC_NOT_FOUND,
	       "FILE_NOT_FOUND");
	expect(remove_file(*state, "d", true, true), GRPC_OK, "");
	expect(remove_file(*state, "/", true, true), GRPC_INVALID_ARGUMENT,
	       "INVALID_CONFIG");
}

static void a_very_deep_tree_is_removed(void **state)
{
	struct rig *rig = *state;
	int dir = open(rig->dir, O_RDONLY | O_DIRECTORY);

	for (int i = 0; i < 3000; i++) {
		int sub;

		assert_int_equal(mkdirat(dir, "deep", 0755), 0);
		sub = openat(dir, "deep", O_RDONLY | O_DIRECTORY);
		close(dir);
		dir = sub;
	}
	close(dir);
	expect(remove_file(rig, "deep", true, false), GRPC_OK, "");
	assert_int_equal(count_entries(rig, "deep"), 0);
}

static void files_are_moved_also_across_file_systems(void **state)
{
	char other[] = "/dev/shm/sbx-agent-XXXXXX";
	_cleanup_free_ char *there = NULL;

	expect(write_file(*state, "m1", "one", &plain), GRPC_OK, "");
	expect(write_file(*state, "m2", "two", &plain), GRPC_OK, "");
	expect(move_file(*state, "m1", "m2", true), GRPC_ALREADY_EXISTS,
	       "ALREADY_EXISTS");
	expect(move_file(*state, "m1", "m2", false), GRPC_OK, "");
	expect_text(*state, "m2", "one");
	assert_non_null(mkdtemp(other));
	there = xasprintf("%s/tree", other);
	expect(make_dir(*state, "tree/a", true), GRPC_OK, "");
	expect(move_file(*state, "m2", "tree/a/f", false), GRPC_OK, "");
	expect(move_file(*state, "tree", there, true), GRPC_OK, "");
	assert_int_equal(count_entries(*state, "tree"), 0);
	expect(move_file(*state, there, "back", false), GRPC_OK, "");
	expect_text(*state, "back/a/f", "one");
	assert_int_equal(rmdir(other), 0);
	expect(move_file(*state, "back", "back/below", false),
	       GRPC_INVALID_ARGUMENT, "INVALID_CONFIG");
}

static void a_move_keeps_what_belongs_to_a_file(void **state)
{
	char other[] = "/dev/shm/sbx-agent-XXXXXX";
	_cleanup_free_ char *there = NULL;
	struct rig *rig = *state;
	char path[256], value[8] = "";
	struct stat a, b;

	assert_non_null(mkdtemp(other));
	there = xasprintf("%s/tree", other);
	expect(make_dir(rig, "kept", true), GRPC_OK, "");
	expect(write_file(rig, "kept/one", "1", &plain), GRPC_OK, "");
	snprintf(path, sizeof(path), "%s/kept/one", rig->dir);
	assert_int_equal(setxattr(path, "trusted.test", "yes", 3, 0), 0);
	snprintf(value, sizeof(value), "x");
	{
		_cleanup_free_ char *two = xasprintf("%s/kept/two", rig->dir);

		assert_int_equal(link(path, two), 0);
	}
	expect(move_file(rig, "kept", there, false), GRPC_OK, "");
	snprintf(path, sizeof(path), "%s/one", there);
	assert_int_equal(getxattr(path, "trusted.test", value, sizeof(value)),
			 3);
	assert_memory_equal(value, "yes", 3);
	assert_int_equal(stat(path, &a), 0);
	snprintf(path, sizeof(path), "%s/two", there);
	assert_int_equal(stat(path, &b), 0);
	assert_true(a.st_ino == b.st_ino && a.st_nlink == 2);
	expect(move_file(rig, there, "kept", false), GRPC_OK, "");
	assert_int_equal(rmdir(other), 0);
}

/* ---- file systems that take nothing, or not all ---- */

/* A file system of @kib in the agent's directory; main() has made the mounts
 * ours alone. NULL: not to be had here.
 */
static char *mount_small(struct rig *rig, const char *name, unsigned int kib)
{
	char *path = rig_path(rig, name);
	char options[32];

	snprintf(options, sizeof(options), "size=%uk", kib);
	assert_int_equal(mkdir(path, 0755), 0);
	if (mount("small", path, "tmpfs", 0, options) == 0)
		return path;
	free(path);
	return NULL;
}

static void unmount(char *path)
{
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rmdir(path), 0);
	free(path);
}

static size_t entries_of(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *de;
	size_t n = 0;

	assert_non_null(dir);
	while ((de = readdir(dir)))
		n += de->d_name[0] != '.' || strlen(de->d_name) > 2;
	closedir(dir);
	return n;
}

static void a_full_disk_is_said_and_what_was_there_stays(void **state)
{
	_cleanup_free_ char *much = xcalloc(1, 200001);
	char *path = mount_small(*state, "full", 64);

	if (!path)
		skip();
	memset(much, 'x', 200000);
	expect(write_file(*state, "full/old", "before", &plain), GRPC_OK, "");
	expect(write_file(*state, "full/old", much, &plain),
	       GRPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED");
	expect_text(*state, "full/old", "before");
	expect(write_file(*state, "full/new", much, &plain),
	       GRPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED");
	/* No part of it, and nothing temporary. */
	assert_int_equal(entries_of(path), 1);
	expect(write_file(*state, "full/old", "after", &plain), GRPC_OK, "");
	expect_text(*state, "full/old", "after");
	unmount(path);
}

static void a_read_only_file_system_is_said(void **state)
{
	NODE(RemoveFileRequest) rm = NODE_INIT(REMOVE_FILE_REQUEST);
	char *path = mount_small(*state, "ro", 64);
	struct grpc_status st;

	if (!path)
		skip();
	expect(write_file(*state, "ro/old", "before", &plain), GRPC_OK, "");
	assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL),
			 0);
	st = write_file(*state, "ro/old", "after", &plain);
	expect(st, GRPC_PERMISSION_DENIED, "PERMISSION_DENIED");
	assert_non_null(strstr(st.message, "Read-only file system"));
	expect(write_file(*state, "ro/new", "x", &plain),
	       GRPC_PERMISSION_DENIED, "PERMISSION_DENIED");
	expect(make_dir(*state, "ro/dir", false), GRPC_PERMISSION_DENIED,
	       "PERMISSION_DENIED");
	expect(move_file(*state, "ro/old", "ro/moved", false),
	       GRPC_PERMISSION_DENIED, "PERMISSION_DENIED");
	rm.path = BYTES("ro/old");
	expect(ask(*state, "RemoveFile", &rm.base,
		   DESCRIPTOR(remove_file_response)),
	       GRPC_PERMISSION_DENIED, "PERMISSION_DENIED");
	expect_text(*state, "ro/old", "before");
	assert_int_equal(entries_of(path), 1);
	unmount(path);
}

static void stat_tells_of_links(void **state)
{
	NODE(StatFileRequest) rq = NODE_INIT(STAT_FILE_REQUEST);
	struct rig *rig = *state;
	_cleanup_free_ char *link = rig_path(rig, "dangling");
	NODE(StatFileResponse) * m;
	struct grpc_status st;

	assert_int_equal(symlink("no/where", link), 0);
	rq.path = BYTES("dangling");
	m = client_ask(rig->client, "StatFile", &rq.base,
		       DESCRIPTOR(stat_file_response), &st);
	assert_non_null(m);
	assert_int_equal(m->info->type,
			 SANDBOX__NODE__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	assert_int_equal(m->info->link_target.len, 8);
	protobuf_c_message_free_unpacked(&m->base, NULL);
	rq.follow_symlinks = true;
	expect(ask(rig, "StatFile", &rq.base, DESCRIPTOR(stat_file_response)),
	       GRPC_NOT_FOUND, "FILE_NOT_FOUND");
	rq.path = BYTES("");
	expect(ask(rig, "StatFile", &rq.base, DESCRIPTOR(stat_file_response)),
	       GRPC_INVALID_ARGUMENT, "INVALID_CONFIG");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_comes_back_as_written),
		cmocka_unit_test(strange_names_are_bytes),
		cmocka_unit_test(mode_owner_and_parents_are_made),
		cmocka_unit_test(exclusive_and_append_are_kept),
		cmocka_unit_test(a_link_is_written_through),
		cmocka_unit_test(a_cancelled_write_leaves_nothing),
		cmocka_unit_test(a_full_disk_is_said_and_what_was_there_stays),
		cmocka_unit_test(a_read_only_file_system_is_said),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(ranges_and_sparse_files_are_read),
		cmocka_unit_test(a_large_file_passes_unchanged),
		cmocka_unit_test(a_large_directory_is_listed_in_order),
		cmocka_unit_test(directories_are_made_and_removed),
		cmocka_unit_test(a_very_deep_tree_is_removed),
		cmocka_unit_test(files_are_moved_also_across_file_systems),
		cmocka_unit_test(a_move_keeps_what_belongs_to_a_file),
		cmocka_unit_test(stat_tells_of_links),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: needs root to give files away\n");
		return 77;
	}
	/* What tests mount is for the agent and nobody else. */
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
