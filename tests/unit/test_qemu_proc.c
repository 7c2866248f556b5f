/* SPDX-License-Identifier: Apache-2.0 */
/* test_qemu_proc.c - a guest's process among others
 *
 * The test runs itself as "qemu-fake -uuid UUID": it says "x" on its output
 * once it is what it is to be, and waits to be killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/hv/qemu_proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST "6b1e3b2c-0000-4000-8000-%012d"

static char uuid[40];

/* @uid: what it runs under; 0: as the test. */
static pid_t start(const char *name, uid_t uid)
{
	int fds[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], 1);
		if (uid && setuid(uid) < 0)
			_exit(1);
		execl("/proc/self/exe", "qemu-fake", "-uuid", name, NULL);
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int setup(void **state)
{
	static int n;

	(void)state;
	/* Another one each time: what was seen is remembered. */
	snprintf(uuid, sizeof(uuid), GUEST, (int)getpid() * 100 + n++);
	return 0;
}

static void a_guest_is_found_by_its_name(void **state)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	pid_t pid;

	(void)state;
	assert_int_equal(qemu_proc_open(uuid, getuid(), &proc), 0);
	pid = start(uuid, 0);
	assert_int_equal(qemu_proc_open(uuid, getuid(), &proc), 1);
	assert_int_equal(proc.pid, pid);
	qemu_proc_close(&proc);
	/* Again, from memory. */
	assert_int_equal(qemu_proc_open(uuid, (uid_t)-1, &proc), 1);
	assert_int_equal(proc.pid, pid);
	assert_int_equal(qemu_proc_kill(&proc), 0);
	assert_int_equal(qemu_proc_wait(&proc, 5000), 0);
	qemu_proc_close(&proc);
	waitpid(pid, NULL, 0);
	assert_int_equal(qemu_proc_open(uuid, (uid_t)-1, &proc), 0);
}

static void an_older_guest_is_found_behind_younger_ones(void **state)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	char other[40];
	pid_t old = start(uuid, 0), young[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		snprintf(other, sizeof(other), GUEST, 99000 + i);
		young[i] = start(other, 0);
	}
	assert_int_equal(qemu_proc_open(uuid, getuid(), &proc), 1);
	assert_int_equal(proc.pid, old);
	qemu_proc_close(&proc);
	/* Seen on the way. */
	assert_int_equal(qemu_proc_open(other, getuid(), &proc), 1);
	assert_int_equal(proc.pid, young[2]);
	qemu_proc_close(&proc);
	for (int i = 0; i < 3; i++)
		end(young[i]);
	end(old);
}

static void one_of_another_user_that_says_so_is_passed_over(void **state)
{
	struct qemu_proc proc = QEMU_PROC_NONE;
	pid_t real, liar;

	(void)state;
	if (geteuid() != 0)
		skip();
	real = start(uuid, 0);
	liar = start(uuid, 65534);
	assert_int_equal(qemu_proc_open(uuid, 0, &proc), 1);
	assert_int_equal(proc.pid, real);
	qemu_proc_close(&proc);
	end(real);
	assert_int_equal(qemu_proc_open(uuid, 0, &proc), 0);
	end(liar);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_guest_is_found_by_its_name, setup),
		cmocka_unit_test_setup(
			an_older_guest_is_found_behind_younger_ones, setup),
		cmocka_unit_test_setup(
			one_of_another_user_that_says_so_is_passed_over, setup),
	};

	if (argc > 2 && !strcmp(argv[1], "-uuid")) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(1, "x", 1) == 1)
			pause();
		return 1;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
