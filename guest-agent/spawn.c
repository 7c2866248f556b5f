/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.c - make a child and let it become another program
 *
 * Theory of operation
 *
 * The agent has threads, so between clone and exec only system calls are made:
 * another thread may have held a lock of malloc's or stdio's at that moment.
 * All strings are made before. setresuid() and its kind go to the kernel
 * directly: libc's would wait for threads that the child does not have.
 *
 * clone3() puts the child into its cgroup as it is born. Moving it there later
 * would take a lock that waits for an RCU grace period, milliseconds each.
 */
#include "spawn.h"

#include "env.h"
#include "user.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <linux/sched.h>

#define SHELL	     "/bin/sh"
#define NOFILE_SOFT  65536u
#define NOFILE_HARD  1048576u
#define TTY_MODE     0620
#define EXIT_NO_EXEC 127

enum stage {
	STAGE_SETUP = 1,
	STAGE_USER,
	STAGE_CWD,
	STAGE_EXEC,
};

struct report {
	int32_t stage;
	int32_t errnum;
};

/* What the child needs, made ready. */
struct plan {
	const struct spawn *s;
	char **candidates; /* paths to try, NULL at the end */
	char **shell_argv; /* for a file without "#!": sh, [1] filled in */
	int report;
	bool change_user;
};

/* ---- in the child ---- */

__attribute__((noreturn)) static void give_up(const struct plan *p,
					      enum stage stage)
{
	struct report r = { .stage = stage, .errnum = errno };

	if (write(p->report, &r, sizeof(r)) < 0)
		_exit(EXIT_NO_EXEC);
	_exit(EXIT_NO_EXEC);
}

static void set_limits(void)
{
	struct rlimit files = { NOFILE_SOFT, NOFILE_HARD };
	struct rlimit core = { 0, RLIM_INFINITY };

	/* Where the hard limit is lower and may not be raised, it stays. */
	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
	syscall(SYS_prlimit64, 0, RLIMIT_CORE, &core, NULL);
}

/* The agent ignores none (main.c): a program that begins has no handlers. */
static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) < 0)
		return;
	close(fd);
}

static void set_descriptors(const struct plan *p)
{
	const struct spawn *s = p->s;

	if (s->terminal >= 0 &&
	    (ioctl(s->terminal, TIOCSCTTY, 0) < 0 ||
	     (p->change_user &&
	      (fchown(s->terminal, s->user->uid, (gid_t)-1) < 0 ||
	       fchmod(s->terminal, TTY_MODE) < 0))))
		give_up(p, STAGE_SETUP);
	if (dup2(s->terminal >= 0 ? s->terminal : s->in, STDIN_FILENO) < 0 ||
	    dup2(s->terminal >= 0 ? s->terminal : s->out, STDOUT_FILENO) < 0 ||
	    dup2(s->terminal >= 0 ? s->terminal : s->errors, STDERR_FILENO) < 0)
		give_up(p, STAGE_SETUP);
}

static void become_user(const struct plan *p)
{
	const struct user *u = p->s->user;

	if (!p->change_user)
		return;
	if (syscall(SYS_setgroups, u->n_groups, u->groups) < 0 ||
	    syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0 ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
		give_up(p, STAGE_USER);
}

static bool is_absent(int errnum)
{
	return errnum == ENOENT || errnum == ENOTDIR;
}

__attribute__((noreturn)) static void run(const struct plan *p)
{
	int errnum = ENOENT;

	for (char **c = p->candidates; *c; c++) {
		/* An address space is made before the kernel sees that there is
		 * no such file: ten times as much work as this.
		 */
		if (access(*c, F_OK) == 0 || !is_absent(errno))
			execve(*c, p->s->argv, p->s->env);
		if (errno == ENOEXEC) {
			p->shell_argv[1] = *c;
			execve(SHELL, p->shell_argv, p->s->env);
			errno = ENOEXEC;
		}
		/* As execvp(): a later directory may have one that works, and
		 * "may not" tells more than "is not there".
		 */
		if (!is_absent(errno) && errno != EACCES)
			give_up(p, STAGE_EXEC);
		if (errno == EACCES)
			errnum = EACCES;
	}
	errno = errnum;
	give_up(p, STAGE_EXEC);
}

__attribute__((noreturn)) static void child(const struct plan *p)
{
	if (setsid() < 0)
		give_up(p, STAGE_SETUP);
	set_descriptors(p);
	if (!p->s->keep_oom)
		set_oom_score();
	set_limits();
	umask(022);
	become_user(p);
	if (chdir(p->s->cwd) < 0)
		give_up(p, STAGE_CWD);
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	unblock_signals();
	run(p);
}

/* ---- in the agent ---- */

static char **add(char **v, size_t *n, char *item)
{
	v = xrealloc(v, *n + 2, sizeof(char *));
	v[(*n)++] = item;
	v[*n] = NULL;
	return v;
}

static char **strings_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
	return NULL;
}

/* Where argv[0] may be: itself if it has a slash, else along PATH. */
static char **make_candidates(const struct spawn *s)
{
	const char *path = env_get(s->env, "PATH");
	const char *name = s->argv[0];
	char **v = NULL;
	size_t n = 0;

	if (strchr(name, '/') || !path)
		return add(NULL, &n, xstrdup(name));
	for (;;) {
		size_t len = strcspn(path, ":");

		/* An empty part is the current directory. */
		if (len < PATH_MAX)
			v = add(v, &n,
				len ? xasprintf("%.*s/%s", (int)len, path, name)
				    : xasprintf("./%s", name));
		if (path[len] == '\0')
			break;
		path += len + 1;
	}
	return v ? v : add(NULL, &n, xstrdup(name));
}

static char **make_shell_argv(const struct spawn *s)
{
	size_t n = 0;
	char **v;

	while (s->argv[n])
		n++;
	v = xcalloc(n + 2, sizeof(char *));
	v[0] = (char *)SHELL;
	for (size_t i = 1; i < n; i++)
		v[i + 1] = s->argv[i];
	return v;
}

static bool same_user(const struct user *u)
{
	return geteuid() != 0 && u->uid == geteuid() && u->gid == getegid();
}

pid_t spawn_start(const struct spawn *s, int *ret_report, struct error *err)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	struct plan p = { .s = s, .change_user = !same_user(s->user) };
	_cleanup_close_ int theirs = -EBADF;
	_cleanup_close_ int ours = -EBADF;
	int fds[2];
	long pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	ours = fds[0];
	theirs = fds[1];
	fcntl(ours, F_SETFL, O_NONBLOCK);
	p.report = theirs;
	p.candidates = make_candidates(s);
	p.shell_argv = make_shell_argv(s);
	if (s->cgroup_fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)s->cgroup_fd;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child(&p);
	if (pid < 0 && (errno == EAGAIN || errno == ENOMEM))
		err_set(err, ERR_LIMIT, "the guest has no room for a process");
	else if (pid < 0)
		err_sys(err, errno, "make a process");
	strings_free(p.candidates);
	free(p.shell_argv);
	if (pid < 0)
		return -1;
	*ret_report = TAKE_FD(ours);
	return (pid_t)pid;
}

static int exec_error(const struct spawn *s, int errnum, struct error *err)
{
	const char *name = s->argv[0];
	bool has_slash = strchr(name, '/') != NULL;

	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
		err_set(err, ERR_NOT_FOUND,
			name[0] == '/' && access(name, F_OK) == 0
				? "'%.200s' is there, but not the interpreter "
				  "it names"
			: has_slash ? "'%.200s' is not there"
				    : "'%.200s' is not in PATH",
			name);
		return err_reason(err, "FILE_NOT_FOUND", "process.argv");
	case EACCES:
	case EPERM:
		err_set(err, ERR_DENIED, "'%.200s' may not be executed", name);
		return err_reason(err, "PERMISSION_DENIED", "process.argv");
	case E2BIG:
		return err_field(err, "process.argv",
				 "arguments and env are too long");
	case EISDIR:
	case ENOEXEC:
	case ELIBBAD:
	case ELOOP:
	case ENAMETOOLONG:
	case EINVAL:
		return err_field(err, "process.argv",
				 "'%.200s' cannot be executed: %s", name,
				 strerrordesc_np(errnum));
	case ENOMEM:
	case EAGAIN:
	case ENFILE:
	case EMFILE:
		return err_set(err, ERR_LIMIT, "execute '%.200s': %s", name,
			       strerrordesc_np(errnum));
	default:
		return err_sys(err, errnum, "execute '%.200s'", name);
	}
}

int spawn_report(int report, const struct spawn *s, struct error *err)
{
	struct report r;
	ssize_t n = read(report, &r, sizeof(r));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n <= 0)
		return 0;
	switch ((enum stage)r.stage) {
	case STAGE_USER:
		return err_field(err, "process.user",
				 "cannot become that user: %s",
				 strerrordesc_np(r.errnum));
	case STAGE_CWD:
		return err_field(err, "process.cwd", "enter '%.200s': %s",
				 s->cwd, strerrordesc_np(r.errnum));
	case STAGE_EXEC:
		return exec_error(s, r.errnum, err);
	case STAGE_SETUP:
		break;
	}
	return err_sys(err, r.errnum, "prepare a process");
}
