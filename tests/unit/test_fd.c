/* SPDX-License-Identifier: Apache-2.0 */
/* test_fd.c - whole reads and writes, durable files, trees */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int setup(void **state)
{
	char *dir = xstrdup("/tmp/test_fd.XXXXXX");

	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(fd_remove_tree(AT_FDCWD, *state, NULL), 0);
	free(*state);
	return 0;
}

static void a_replaced_file_has_the_new_content_and_mode(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	(void)state;
	assert_int_equal(fd_replace_file(AT_FDCWD, "a", "old", 3, 0644, NULL), 0);
	assert_int_equal(fd_replace_file(AT_FDCWD, "a", "newer", 5, 0600, NULL),
			 0);
	assert_int_equal(fd_read_file(AT_FDCWD, "a", 100, &text, &len), 0);
	assert_string_equal(text, "newer");
	assert_int_equal(len, 5);
	assert_int_equal(stat("a", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_file_that_cannot_be_replaced_leaves_nothing_behind(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(mkdir("taken", 0700), 0);
	assert_int_equal(fd_replace_file(AT_FDCWD, "taken", "x", 1, 0600, &err),
			 -1);
	assert_int_equal(access("taken.tmp", F_OK), -1);
	assert_non_null(strstr(err.msg, "taken"));
}

static void a_file_over_the_limit_is_refused(void **state)
{
	char *text = NULL;

	(void)state;
	assert_int_equal(fd_replace_file(AT_FDCWD, "a", "12345", 5, 0600, NULL),
			 0);
	assert_int_equal(fd_read_file(AT_FDCWD, "a", 4, &text, NULL), -EFBIG);
	assert_null(text);
}

static void removing_a_tree_follows_no_link(void **state)
{
	(void)state;
	assert_int_equal(mkdir("keep", 0700), 0);
	assert_int_equal(fd_replace_file(AT_FDCWD, "keep/file", "x", 1, 0600,
					 NULL),
			 0);
	assert_int_equal(mkdir("tree", 0700), 0);
	assert_int_equal(mkdir("tree/sub", 0700), 0);
	assert_int_equal(symlink("../../keep", "tree/sub/link"), 0);
	assert_int_equal(fd_remove_tree(AT_FDCWD, "tree", NULL), 0);
	assert_int_equal(access("tree", F_OK), -1);
	assert_int_equal(access("keep/file", F_OK), 0);
}

static void removing_what_is_not_there_is_fine(void **state)
{
	(void)state;
	assert_int_equal(fd_remove_tree(AT_FDCWD, "nothing", NULL), 0);
}

static void a_read_that_ends_early_says_so(void **state)
{
	char buf[8];
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	close(fds[1]);
	assert_int_equal(fd_read_full(fds[0], buf, sizeof(buf)), -ENODATA);
	close(fds[0]);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_replaced_file_has_the_new_content_and_mode),
		T(a_file_that_cannot_be_replaced_leaves_nothing_behind),
		T(a_file_over_the_limit_is_refused),
		T(removing_a_tree_follows_no_link),
		T(removing_what_is_not_there_is_fine),
		T(a_read_that_ends_early_says_so),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
