/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - run a helper program within limits and wait for it
 *
 * Theory of operation
 * ===================
 *
 * The process has many threads, so between fork and exec the child makes bare
 * system calls only. Its end is seen on the pipe (end of file) and then waited
 * for on its own pid: nobody else reaps it, and a timeout kills it first. It does
 * not outlive the thread that waits for it, whatever ends that.
 */
#include "engine/proc/child.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CANCEL_LOOK_MS	 100
#define CHILD_OUT_MAX	 1024	      /* kept of its output for a message */
#define CHILD_MEMORY_MAX (1ull << 30) /* address space of an unprivileged one */
#define CHILD_STACK_MAX	 (1ull << 20) /* and of each of its threads */

static _Noreturn void child_main(const struct child_spec *spec, pid_t parent,
				 int null_fd, int out_fd)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	static char locale[] = "LC_ALL=C";
	/* qemu-img has up to 64 threads. Else each reserves 8 MiB for a stack
	 * and 64 MiB or more for malloc(), and a dozen of them are too many.
	 */
	static char arenas[] = "MALLOC_ARENA_MAX=1";
	char *const env[] = { path, locale, arenas, NULL };
	struct rlimit stack = { CHILD_STACK_MAX, CHILD_STACK_MAX };
	struct rlimit memory = { CHILD_MEMORY_MAX, CHILD_MEMORY_MAX };
	struct rlimit core = { 0, 0 };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(null_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0)
		_exit(126);
	setrlimit(RLIMIT_CORE, &core);
	if (spec->uid != (uid_t)-1) {
		setrlimit(RLIMIT_AS, &memory);
		setrlimit(RLIMIT_STACK, &stack);
		if (syscall(SYS_setgroups, 0, NULL) < 0 ||
		    syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) <
			    0 ||
		    syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid) < 0)
			_exit(126);
	}
	/* After the change of uid, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	execve(spec->argv[0], (char *const *)spec->argv, env);
	_exit(127);
}

/* Its output until it ends, time is up or it is to stop. False: it did not end.
 */
static bool read_output(int fd, uint64_t deadline_ms,
			const _Atomic bool *cancel, char *buf, size_t size)
{
	uint64_t slice = cancel ? CANCEL_LOOK_MS : UINT32_MAX;
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = loop_now_ms();
		char spill[512];
		ssize_t n;
		int r;

		buf[len] = '\0';
		if (now >= deadline_ms || (cancel && *cancel))
			return false;
		now = deadline_ms - now;
		r = poll(&p, 1, (int)(now < slice ? now : slice));
		if (r <= 0)
			continue;
		if (len + 1 < size)
			n = read(fd, buf + len, size - 1 - len);
		else
			n = read(fd, spill, sizeof(spill));
		if (n == 0)
			return true;
		if (n > 0 && len + 1 < size)
			len += (size_t)n;
	}
}

int child_run(const struct child_spec *spec, struct error *err)
{
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int out_fd = -EBADF;
	char own[CHILD_OUT_MAX], clean[200];
	char *out = spec->out ? spec->out : own;
	size_t size = spec->out ? spec->out_size : sizeof(own);
	int pipe_fds[2], status = 0;
	pid_t parent = getpid();
	bool in_time;
	pid_t pid;

	if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "run '%s'", spec->argv[0]);
	out_fd = pipe_fds[0];
	pid = fork();
	if (pid == 0)
		child_main(spec, parent, null_fd, pipe_fds[1]);
	close(pipe_fds[1]);
	if (pid < 0)
		return err_sys(err, errno, "run '%s'", spec->argv[0]);
	in_time = read_output(out_fd, loop_now_ms() + spec->timeout_ms,
			      spec->cancel, out, size);
	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!in_time && spec->cancel && *spec->cancel)
		return err_set(err, ERR_CANCELLED, "'%s' was stopped",
			       spec->argv[0]);
	if (!in_time)
		return err_set(err, ERR_TIMEOUT, "'%s' took longer than %u ms",
			       spec->argv[0], spec->timeout_ms);
	if (status == 0)
		return 0;
	return err_set(err, ERR_INTERNAL, "'%s' ended with status %#x: %s",
		       spec->argv[0], (unsigned int)status,
		       str_escape(clean, sizeof(clean), out, strlen(out)));
}
