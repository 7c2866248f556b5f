/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* How a child ends that does this with no more memory than it has. */
static int end_of(void (*use)(void))
{
	const struct rlimit none = { 0, 0 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr) ||
		    setrlimit(RLIMIT_CORE, &none) < 0 ||
		    setrlimit(RLIMIT_AS, &none) < 0)
			_exit(3);
		use();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* What is left of the heap is used up before. */
static void use_it_all(void)
{
	char *volatile text = strdup("a library's");

	for (int i = 0; i < 1 << 20; i++)
		if (!(text = strdup(text)))
			return;
}

static void ask_for_too_much(void)
{
	volatile size_t size = (size_t)1 << 40;

	if (malloc(size) || calloc(size, size) || realloc(NULL, size))
		_exit(4);
}

static void free_by_realloc(void)
{
	volatile size_t size = 0;
	char *p = malloc(8);

	if (realloc(p, size))
		_exit(4);
}

static void a_library_that_gets_no_memory_ends_the_process(void **state)
{
	int status = end_of(use_it_all);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void a_size_that_nobody_means_is_refused(void **state)
{
	(void)state;
	assert_int_equal(end_of(ask_for_too_much), 0);
}

static void realloc_to_nothing_is_no_failure(void **state)
{
	(void)state;
	assert_int_equal(end_of(free_by_realloc), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_library_that_gets_no_memory_ends_the_process),
		cmocka_unit_test(a_size_that_nobody_means_is_refused),
		cmocka_unit_test(realloc_to_nothing_is_no_failure),
	};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 77; /* malloc() is theirs */
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
