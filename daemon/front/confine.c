/* SPDX-License-Identifier: Apache-2.0 */
/* confine.c - give up everything that parsing hostile bytes does not need
 *
 * Theory of operation
 * ===================
 *
 * Front is what an attacker meets first. What is left to one who takes it over:
 * the descriptors it holds (clients, agents, the engine's socket, which checks
 * every message), memory, and the clock. In order, each step while the one
 * before still allows it:
 *
 *   an empty root directory that is already deleted, so nothing can be made in
 *   it; where chroot is not ours to use, Landlock without a rule does the same;
 *   another user, no groups, no capabilities, none to be gained;
 *   not dumpable: no core, no ptrace by others of the same uid;
 *   seccomp: the list below, anything else kills the process.
 *
 * Libraries look for files now and then (locale, time zone, modules): those
 * calls are answered with EACCES instead of death.
 */
#include "front/confine.h"

#include "base/cleanup.h"
#include "base/error.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 65536

/* clang-format off */
static const int allowed[] = {
	/* bytes */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write),
	SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
	SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(close),
	SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(pipe2),
	/* F_DUPFD_CLOEXEC for the engine's socket; O_NONBLOCK */
	SCMP_SYS(fcntl),
	/* sockets that were handed over */
	SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	/* the event loop */
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	SCMP_SYS(futex), SCMP_SYS(sysinfo), SCMP_SYS(sched_getaffinity),
	/* time and chance */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
	/* ourselves */
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

static const int denied[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(prctl), SCMP_SYS(ioctl),
	SCMP_SYS(uname), SCMP_SYS(getrusage), SCMP_SYS(prlimit64),
};
/* clang-format on */

/* Kernel headers and C library may be older than these. */
static int landlock_nothing(void)
{
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = (UINT64_C(1) << 13) - 1
	};
	_cleanup_close_ int fd = -EBADF;

	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}

/* A root directory with nothing in it, that nothing can be made in. */
static int empty_root(void)
{
	char dir[] = "/tmp/sandboxd-front-XXXXXX";

	if (!mkdtemp(dir))
		return -errno;
	if (chdir(dir) < 0 || rmdir(dir) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

static int become(uid_t uid, gid_t gid, struct error *err)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { 0 };

	/* Not ours to change without CAP_SETPCAP: then it does not matter. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (uid != 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			return err_sys(err, errno, "become %u:%u", uid, gid);
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, errno, "give up capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "give up privileges");
	return 0;
}

static int limit(struct error *err)
{
	struct rlimit files, none = { 0, 0 };

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(err, errno, "read the limit of descriptors");
	if (files.rlim_max > FILES_MAX)
		files.rlim_max = FILES_MAX;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0 ||
	    setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		return err_sys(err, errno, "set limits");
	return 0;
}

static int add_rules(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp no_exec =
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(allowed) / sizeof(*allowed);
	     i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; r == 0 && i < sizeof(denied) / sizeof(*denied); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     no_exec);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     no_exec);
	return r;
}

static int filter(struct error *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = -ENOMEM;

	if (ctx) {
		r = add_rules(ctx);
		/* A binary tree: the list is not short. */
		if (r == 0)
			r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		if (r == 0)
			r = seccomp_load(ctx);
		seccomp_release(ctx);
	}
	return r < 0 ? err_sys(err, -r, "load the seccomp filter") : 0;
}

int confine_self(uid_t uid, gid_t gid, struct error *err)
{
	int root = empty_root(), land;

	if (limit(err) < 0 || become(uid, gid, err) < 0)
		return -1;
	land = landlock_nothing();
	if (root < 0 && land < 0)
		return err_sys(err, -root,
			       "give up the file system: no Landlock, and "
			       "chroot");
#ifdef __SANITIZE_ADDRESS__
	/* Its runtime reads /proc and forks: such a build is for tests. */
	(void)filter;
	return 0;
#else
	return filter(err);
#endif
}
