/* SPDX-License-Identifier: Apache-2.0 */
/* jail.c - give up all power before the first hostile byte is read */
#include "base/jail.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What glibc, sd-event and socket input and output need. No open, no exec, no
 * process control.
 */
static const char *const common[] = {
	"accept4",
	"brk",
	"clock_getres",
	"clock_gettime",
	"epoll_pwait2",
	"getegid",
	"geteuid",
	"getgid",
	"getuid",
	"nanosleep",
	"sysinfo",
	"time",
	"sched_getaffinity",
	"clock_nanosleep",
	"close",
	"dup",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_wait",
	"eventfd2",
	"exit",
	"exit_group",
	"fcntl",
	"fstat",
	"futex",
	"getpeername",
	"getpid",
	"getrandom",
	"getsockname",
	"getsockopt",
	"gettid",
	"gettimeofday",
	"lseek",
	"madvise",
	"mremap",
	"munmap",
	"newfstatat",
	"poll",
	"ppoll",
	"pread64",
	"pwrite64",
	"read",
	"readv",
	"recvfrom",
	"recvmsg",
	"restart_syscall",
	"rseq",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sched_yield",
	"sendmsg",
	"sendto",
	"set_robust_list",
	"setsockopt",
	"shutdown",
	"sigaltstack",
	"signalfd4",
	"tgkill",
	"timerfd_create",
	"timerfd_settime",
	"write",
	"writev",
};

/* Libraries look for files, limits and the like now and then: a refusal is
 * enough.
 */
static const char *const refused[] = {
	"access",   "faccessat",  "faccessat2", "getrusage", "ioctl",
	"lstat",    "open",	  "openat",	"prctl",     "prlimit64",
	"readlink", "readlinkat", "stat",	"statx",     "uname",
};

#if defined(__SANITIZE_ADDRESS__)
/* Sanitizers look around in ways that no jail allows: what else they call is
 * logged, their terabytes of shadow are no memory, and the leak checker, which
 * would trace its own process at exit, is off. Leaks are looked for in the unit
 * tests, which run the same code outside.
 */
#define OTHER_CALLS  SCMP_ACT_LOG
#define LIMIT_MEMORY false
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#else
#define OTHER_CALLS  SCMP_ACT_KILL_PROCESS
#define LIMIT_MEMORY true
#endif

static void filter_release(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static int add(scmp_filter_ctx ctx, uint32_t action, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	/* A name that this architecture does not have needs no rule. */
	if (nr == __NR_SCMP_ERROR)
		return -EINVAL;
	return nr < 0 ? 0 : seccomp_rule_add(ctx, action, nr, 0);
}

/* To read only. */
static int add_open(scmp_filter_ctx ctx)
{
	const scmp_datum_t not_reading = O_ACCMODE | O_CREAT | O_TRUNC;
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, not_reading, 0));

	if (r == 0 && seccomp_syscall_resolve_name("open") >= 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, not_reading, 0));
	return r;
}

static int load_filter(const struct jail_spec *spec, struct error *err)
{
	const char *const *extra = spec->extra;
	_cleanup_(filter_release) scmp_filter_ctx ctx =
		seccomp_init(OTHER_CALLS);
	int r = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof(common) / sizeof(common[0]);
	     i++)
		r = add(ctx, SCMP_ACT_ALLOW, common[i]);
	for (; r == 0 && extra && *extra; extra++)
		r = add(ctx, SCMP_ACT_ALLOW, *extra);
	/* Memory, but none that can be executed. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0 && spec->readable)
		r = add_open(ctx);
	for (size_t i = 0; r == 0 && i < sizeof(refused) / sizeof(refused[0]);
	     i++)
		if (!spec->readable || strncmp(refused[i], "open", 4) != 0)
			r = add(ctx, SCMP_ACT_ERRNO(EACCES), refused[i]);
	if (r == 0)
		r = seccomp_load(ctx);
	return r == 0 ? 0 : err_sys(err, -r, "load the seccomp filter");
}

static int limit(int what, uint64_t value, const char *name, struct error *err)
{
	struct rlimit l = { .rlim_cur = value, .rlim_max = value };

	return setrlimit(what, &l) == 0 ? 0 :
					  err_sys(err, errno, "limit %s", name);
}

/* Descriptors: as many as wanted, or as there may be. */
static int limit_files(unsigned int max, struct error *err)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return err_sys(err, errno, "limit descriptors");
	return limit(RLIMIT_NOFILE, l.rlim_max < max ? l.rlim_max : max,
		     "descriptors", err);
}

static void allow_reading(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr attr = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE |
				  LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};

	if (attr.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		&attr, 0);
	close(attr.parent_fd);
}

/* No file but those to be read, whatever the root directory is. Where the
 * kernel has no Landlock, the root directory, the user and the filter must do.
 */
static void forget_files(const char *const *readable)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs =
						      (UINT64_C(1) << 13) - 1 };
	_cleanup_close_ int fd = -EBADF;

	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return;
	for (; readable && *readable; readable++)
		allow_reading(fd, *readable);
	syscall(SYS_landlock_restrict_self, fd, 0);
}

/* Also for one who stays root. */
static int drop_capabilities(struct error *err)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { 0 };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, errno, "give up capabilities");
	return 0;
}

static int become(const struct jail_spec *spec, struct error *err)
{
	if (spec->uid == 0)
		return 0;
	/* An empty directory that nobody can put anything into. */
	if (!spec->readable &&
	    (chroot("/proc/self/fdinfo") < 0 || chdir("/") < 0))
		return err_sys(err, errno, "leave the file system");
	if (setgroups(0, NULL) < 0 ||
	    setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
	    setresuid(spec->uid, spec->uid, spec->uid) < 0)
		return err_sys(err, errno, "become uid %u", spec->uid);
	return 0;
}

int jail_set_user(struct jail_spec *spec, const char *uid, const char *gid)
{
	/* The last number would mean "no change". */
	const uint64_t max = UINT32_MAX - 1;
	uint64_t u, g;

	if (str_parse_u64(uid, max, &u) < 0 || str_parse_u64(gid, max, &g) < 0)
		return -EINVAL;
	spec->uid = (uid_t)u;
	spec->gid = (gid_t)g;
	return 0;
}

int jail_enter(const struct jail_spec *spec, struct error *err)
{
	if (limit(RLIMIT_CORE, 0, "core dumps", err) < 0 ||
	    limit_files(spec->files_max, err) < 0)
		return -1;
	if (spec->memory_max && LIMIT_MEMORY &&
	    limit(RLIMIT_AS, spec->memory_max, "memory", err) < 0)
		return -1;
	if (become(spec, err) < 0 || drop_capabilities(err) < 0)
		return -1;
	/* After the uid change, which resets the first. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "give up privileges");
	forget_files(spec->readable);
	return load_filter(spec, err);
}
