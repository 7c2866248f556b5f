/* SPDX-License-Identifier: Apache-2.0 */
/* crashpoint.c - run a program and stop it at its k-th change to the outside
 *
 *	crashpoint [--kill K | --fail K:ERRNO:CLASS] [--from-start] PROGRAM ARG..
 *	crashpoint --hook DIR PROGRAM ARG..
 *
 * Counts the system calls by which the program, all its threads together,
 * changes something outside of itself: files, netlink, sockets, devices. Its
 * K-th such call is not made: SIGKILL comes instead, or the call returns the
 * error and the program goes on. Counting goes from prctl(MARK, 1) to
 * prctl(MARK, 0), both calls of the program itself (mark.h).
 *
 * Theory of operation
 * ===================
 *
 * A seccomp filter stops only the calls in question (SECCOMP_RET_TRACE), so
 * everything else runs at full speed. The filter is inherited, so processes
 * that the program starts are traced as well, but never counted: they let their
 * calls pass. What goes to pipes, eventfds or standard output and error is no
 * change. The last line of descriptor 3, if open, tells what was counted:
 *
 *	points N		all there are: the program came to its end
 *	hit K CALL ARGUMENT	and the K-th was this one
 *
 * With --hook, for programs that know nothing of marks, DIR/at says what to do,
 * each time anew: "SERIAL K", put there by a rename. With another SERIAL than
 * before, counting begins at 1; before the K-th call DIR/run is run, with the
 * call and its argument, and waited for: it does what is to happen to others at
 * that moment; before every call that is not as the one before it when a third
 * word, "every", is there. DIR/seen holds the number of the last call. SERIAL 0: no
 * counting.
 */
#include "mark.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind { NO_CHANGE = 0, FILES, NET, PEER };
/* How the object of a call is told. */
enum by { BY_PATH, BY_FD, BY_SOCKET, BY_TUN };

struct watched {
	int nr;
	const char *name;
	enum by by;
	int path_arg; /* of BY_PATH */
	bool ftw;     /* counted as a write that may find the disk full */
};

static const struct watched watched[] = {
	{ SYS_write, "write", BY_FD, 0, true },
	{ SYS_pwrite64, "pwrite", BY_FD, 0, true },
	{ SYS_writev, "writev", BY_FD, 0, true },
	{ SYS_pwritev, "pwritev", BY_FD, 0, true },
	{ SYS_ftruncate, "ftruncate", BY_FD, 0, true },
	{ SYS_fallocate, "fallocate", BY_FD, 0, true },
	{ SYS_copy_file_range, "copy_file_range", BY_FD, 0, true },
	{ SYS_sendfile, "sendfile", BY_FD, 0, true },
	{ SYS_fsync, "fsync", BY_FD, 0, true },
	{ SYS_fdatasync, "fdatasync", BY_FD, 0, true },
	{ SYS_fchmod, "fchmod", BY_FD, 0, true },
	{ SYS_fchown, "fchown", BY_FD, 0, true },
	{ SYS_mkdir, "mkdir", BY_PATH, 0, true },
	{ SYS_mkdirat, "mkdirat", BY_PATH, 1, true },
	{ SYS_rmdir, "rmdir", BY_PATH, 0, false },
	{ SYS_unlink, "unlink", BY_PATH, 0, false },
	{ SYS_unlinkat, "unlinkat", BY_PATH, 1, false },
	{ SYS_rename, "rename", BY_PATH, 0, true },
	{ SYS_renameat, "renameat", BY_PATH, 1, true },
	{ SYS_renameat2, "renameat2", BY_PATH, 1, true },
	{ SYS_link, "link", BY_PATH, 0, true },
	{ SYS_linkat, "linkat", BY_PATH, 1, true },
	{ SYS_symlink, "symlink", BY_PATH, 1, true },
	{ SYS_symlinkat, "symlinkat", BY_PATH, 2, true },
	{ SYS_chmod, "chmod", BY_PATH, 0, true },
	{ SYS_fchmodat, "fchmodat", BY_PATH, 1, true },
	{ SYS_chown, "chown", BY_PATH, 0, true },
	{ SYS_fchownat, "fchownat", BY_PATH, 1, true },
	{ SYS_utimensat, "utimensat", BY_PATH, 1, false },
	{ SYS_openat, "openat", BY_PATH, 1, true }, /* with O_CREAT */
	{ SYS_sendmsg, "sendmsg", BY_SOCKET, 0, true },
	{ SYS_sendto, "sendto", BY_SOCKET, 0, true },
	{ SYS_bind, "bind", BY_SOCKET, 0, false },
	{ SYS_ioctl, "ioctl", BY_TUN, 0, true }, /* of tun devices */
};
#define N_WATCHED (sizeof(watched) / sizeof(watched[0]))

static struct {
	pid_t program;
	bool counting, done;
	unsigned long seen; /* of the class in question */
	unsigned long kill_at, fail_at;
	int fail_errno;
	enum kind fail_kind;
	int hook_fd; /* DIR; -1: none */
	unsigned long hook_serial, hook_at;
	bool hook_every;
} run = { .hook_fd = -1 };

/* ---- the filter ---- */

/* Not equal: over that many. */
static struct sock_filter if_equal(unsigned int value, unsigned char over)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0,
					    over);
}

static void install_filter(void)
{
	struct sock_filter f[N_WATCHED * 8 + 16];
	unsigned short n = 0;
	const struct sock_filter let =
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_filter stop =
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	const struct sock_filter load_nr = BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	const struct sock_filter load_first =
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[0]));
	const struct sock_filter load_third =
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[2]));

	f[n++] = load_nr;
	for (size_t i = 0; i < N_WATCHED; i++) {
		bool open = watched[i].nr == SYS_openat;

		f[n++] = if_equal((unsigned int)watched[i].nr, open ? 4 : 1);
		if (open) {
			f[n++] = load_third;
			f[n++] = (struct sock_filter)BPF_JUMP(
				BPF_JMP | BPF_JSET | BPF_K, O_CREAT, 0, 1);
		}
		f[n++] = stop;
		if (open)
			f[n++] = let;
	}
	f[n++] = if_equal(SYS_prctl, 3);
	f[n++] = load_first;
	f[n++] = if_equal(CRASH_MARK, 1);
	f[n++] = stop;
	f[n++] = let;
	struct sock_fprog prog = { .len = n, .filter = f };

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0) {
		perror("crashpoint: seccomp");
		_exit(125);
	}
}

/* ---- what a stopped call is about ---- */

/* The traced process's descriptor as one of ours. */
static int borrow_fd(int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, run.program, 0);
	int got = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (pidfd >= 0)
		close(pidfd);
	return got;
}

static enum kind kind_of_fd(int fd)
{
	enum kind c = NO_CHANGE;
	int got, domain;
	socklen_t len = sizeof(domain);
	struct stat st;

	if (fd >= 0 && fd <= 2)
		return NO_CHANGE;
	got = borrow_fd(fd);
	if (got < 0)
		return NO_CHANGE;
	if (fstat(got, &st) < 0)
		c = NO_CHANGE;
	else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		c = st.st_nlink ? FILES : NO_CHANGE; /* memfd */
	else if (S_ISSOCK(st.st_mode) &&
		 getsockopt(got, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0)
		c = domain == AF_NETLINK ? NET : PEER;
	close(got);
	return c;
}

static void read_text(pid_t tid, unsigned long at, char *buf, size_t size)
{
	struct iovec local = { buf, size - 1 },
		     remote = { (void *)at, size - 1 };
	ssize_t n;

	/* Not past the page: what follows may not be mapped. */
	if ((at & 4095) + size > 4096)
		local.iov_len = remote.iov_len = 4096 - (at & 4095);
	if (local.iov_len >= size)
		local.iov_len = remote.iov_len = size - 1;
	n = process_vm_readv(tid, &local, 1, &remote, 1, 0);
	buf[n > 0 ? n : 0] = '\0';
}

static void describe_fd(int fd, char *buf, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", run.program, fd);
	n = readlink(link, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
}

static enum kind look(pid_t tid, const struct user_regs_struct *r,
		      const struct watched *w, char *what, size_t size)
{
	const unsigned long args[4] = { r->rdi, r->rsi, r->rdx, r->r10 };

	what[0] = '\0';
	switch (w->by) {
	case BY_PATH:
		read_text(tid, args[w->path_arg], what, size);
		/* /proc/self and the like are no files. */
		return strncmp(what, "/proc/", 6) ? FILES : NO_CHANGE;
	case BY_TUN:
		if ((args[1] & 0xff00) != 0x5400 || (args[1] & 0xff) < 200)
			return NO_CHANGE;
		snprintf(what, size, "tun %#lx", args[1]);
		return NET;
	case BY_FD:
	case BY_SOCKET:
		describe_fd((int)args[0], what, size);
		return kind_of_fd((int)args[0]);
	}
	return NO_CHANGE;
}

/* ---- stops ---- */

static bool is_ours(pid_t tid)
{
	char path[64];

	if (tid == run.program)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", run.program, tid);
	return access(path, F_OK) == 0;
}

static void tell_hit(const char *name, const char *what)
{
	dprintf(3, "hit %lu %s %s\n", run.seen, name, what);
}

static void fail_call(pid_t tid, struct user_regs_struct *r)
{
	r->orig_rax = (unsigned long)-1;
	r->rax = (unsigned long)(long)-run.fail_errno;
	ptrace(PTRACE_SETREGS, tid, NULL, r);
}

/* ---- the hook ---- */

/* Whether calls count now. */
static bool look_at_hook(void)
{
	unsigned long serial = 0, at = 0;
	char text[64] = "", every[8] = "";
	int fd = openat(run.hook_fd, "at", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) <= 0 ||
	    sscanf(text, "%lu %lu %7s", &serial, &at, every) < 2)
		serial = 0;
	close(fd);
	if (serial != run.hook_serial)
		run.seen = 0;
	run.hook_serial = serial;
	run.hook_at = at;
	run.hook_every = !strcmp(every, "every");
	return serial != 0;
}

static void tell_seen(void)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%lu %lu\n", run.hook_serial,
			 run.seen);
	int fd = openat(run.hook_fd, "seen", O_WRONLY | O_CREAT | O_CLOEXEC,
			0600);

	if (fd < 0)
		return;
	if (pwrite(fd, text, (size_t)n, 0) == n && ftruncate(fd, n) < 0)
		perror("crashpoint: seen");
	close(fd);
}

/* Of many writes to a file in a row the first. */
static bool is_another(const char *name, const char *what)
{
	static char last[192];
	char this[192];
	bool another;

	snprintf(this, sizeof(this), "%s %s", name, what);
	another = run.seen == 1 || strcmp(this, last) != 0;
	memcpy(last, this, sizeof(last));
	return another;
}

static void run_hook(const char *name, const char *what)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (fchdir(run.hook_fd) == 0)
			execl("./run", "run", name, what, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* The kernel begins a write to some of these anew, by itself, for as long as
 * another has its lock: thousands of times on a busy machine. That is one call.
 */
static bool is_same_again(pid_t tid, const struct user_regs_struct *r,
			  const char *what)
{
	static struct {
		pid_t tid;
		unsigned long long rip;
		char what[160];
	} last;
	bool same = last.tid == tid && last.rip == r->rip &&
		    strncmp(what, "/proc/sys/", 10) == 0 &&
		    strcmp(last.what, what) == 0;

	last.tid = tid;
	last.rip = r->rip;
	snprintf(last.what, sizeof(last.what), "%s", what);
	return same;
}

static void on_call(pid_t tid)
{
	const struct watched *w = NULL;
	struct user_regs_struct r;
	char what[160];
	enum kind c;

	if (!is_ours(tid) || ptrace(PTRACE_GETREGS, tid, NULL, &r) < 0)
		return;
	if (r.orig_rax == SYS_prctl) {
		run.counting = r.rsi == 1;
		run.done = run.done || !run.counting;
		return;
	}
	if (run.hook_fd >= 0)
		run.counting = look_at_hook();
	if (!run.counting)
		return;
	for (size_t i = 0; i < N_WATCHED && !w; i++)
		if ((unsigned long)watched[i].nr == r.orig_rax)
			w = &watched[i];
	c = w ? look(tid, &r, w, what, sizeof(what)) : NO_CHANGE;
	if (c == NO_CHANGE || is_same_again(tid, &r, what))
		return;
	if (run.fail_at && (c != run.fail_kind || !w->ftw))
		return;
	run.seen++;
	if (run.hook_fd >= 0) {
		tell_seen();
		if (run.hook_every ? is_another(w->name, what) :
				     run.seen == run.hook_at)
			run_hook(w->name, what);
	}
	if (run.kill_at && run.seen == run.kill_at) {
		tell_hit(w->name, what);
		kill(run.program, SIGKILL);
		run.counting = false;
	} else if (run.fail_at && run.seen == run.fail_at) {
		tell_hit(w->name, what);
		fail_call(tid, &r);
	}
}

static int follow(void)
{
	int status, result = -1;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 ||
	       (tid < 0 && errno == EINTR)) {
		int sig = 0;

		if (tid < 0)
			continue;
		if (!WIFSTOPPED(status)) {
			if (tid == run.program) {
				result = status;
				break;
			}
			continue;
		}
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
			on_call(tid);
		else if (status >> 16 == PTRACE_EVENT_STOP)
			sig = 0; /* new, or group stop */
		else if (status >> 16 == 0)
			sig = WSTOPSIG(status);
		ptrace(PTRACE_CONT, tid, NULL, (void *)(long)sig);
	}
	return result;
}

static int usage(void)
{
	fprintf(stderr, "usage: crashpoint [--kill K | --fail K:ERRNO:files|"
			"net|peer] [--from-start] PROGRAM ARG..\n"
			"       crashpoint --hook DIR PROGRAM ARG..\n");
	return 2;
}

static bool parse_fail(const char *text)
{
	char kind[8];

	if (sscanf(text, "%lu:%d:%7s", &run.fail_at, &run.fail_errno, kind) !=
	    3)
		return false;
	run.fail_kind = !strcmp(kind, "files") ? FILES :
			!strcmp(kind, "net")   ? NET :
						 PEER;
	return true;
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACESECCOMP;
	int status, go[2], i = 1;
	char byte;

	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--from-start"))
			run.counting = true;
		else if (!strcmp(argv[i], "--kill") && i + 1 < argc)
			run.kill_at = strtoul(argv[++i], NULL, 10);
		else if (!strcmp(argv[i], "--fail") && i + 1 < argc &&
			 parse_fail(argv[i + 1]))
			i++;
		else if (!strcmp(argv[i], "--hook") && i + 1 < argc)
			run.hook_fd = open(argv[++i],
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		else
			return usage();
	}
	if (i >= argc || pipe2(go, O_CLOEXEC) < 0)
		return usage();
	run.program = fork();
	if (run.program == 0) {
		if (read(go[0], &byte, 1) != 1)
			_exit(125);
		fcntl(3, F_SETFD, FD_CLOEXEC);
		install_filter();
		execvp(argv[i], argv + i);
		perror(argv[i]);
		_exit(125);
	}
	if (ptrace(PTRACE_SEIZE, run.program, NULL, (void *)options) < 0) {
		perror("crashpoint: trace");
		kill(run.program, SIGKILL);
		return 125;
	}
	if (write(go[1], "g", 1) != 1)
		return 125;
	status = follow();
	if (!run.kill_at || run.seen < run.kill_at)
		dprintf(3, "points %lu\n", run.seen);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
