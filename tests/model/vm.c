/* SPDX-License-Identifier: Apache-2.0 */
/* vm.c - see vm.h
 *
 * Theory of operation
 *
 * vm_start() runs this program anew with VM_OPTION. That makes a PID and a
 * mount namespace and forks their init, which holds a lock on <dir>/vm.lock for
 * as long as anything of the guest lives: the lock says whether it does, however
 * numbers of processes are used again. The init starts the agent and ends with
 * it, as a machine does whose PID 1 dies; the kernel then kills the rest.
 */
#include "vm.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 20000
#define KILL_MS	 5000

extern char **environ;

static void path_of(char ret[PATH_MAX], const char *dir, const char *name)
{
	snprintf(ret, PATH_MAX, "%s/%s", dir, name);
}

static void nap(void)
{
	poll(NULL, 0, 1);
}

/* ---- inside ---- */

__attribute__((noreturn)) static void run_agent(const char *dir,
						const char *agent)
{
	char listen[PATH_MAX + 8];
	char path[PATH_MAX];

	path_of(path, dir, "agent.sock");
	snprintf(listen, sizeof(listen), "unix:%s", path);
	setsid();
	execl(agent, agent, "--listen", listen, "--workdir", VM_WORKDIR, NULL);
	_exit(127);
}

__attribute__((noreturn)) static void run_init(const char *dir,
					       const char *agent)
{
	char path[PATH_MAX];
	pid_t first, pid;
	int log;

	setsid();
	path_of(path, dir, "console.log");
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	mount("proc", "/proc", "proc", 0, NULL);
	first = fork();
	if (first == 0)
		run_agent(dir, agent);
	while ((pid = wait(NULL)) != first && (pid > 0 || errno == EINTR))
		;
	_exit(0);
}

static int make_world(const char *dir, int *ret_lock)
{
	char path[PATH_MAX];

	path_of(path, dir, "vm.lock");
	*ret_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*ret_lock < 0 || flock(*ret_lock, LOCK_EX | LOCK_NB) < 0)
		return -1;
	if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	path_of(path, dir, "root");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -1;
	return mount(path, VM_WORKDIR, NULL, MS_BIND, NULL);
}

/* Argument: directory, agent. */
int vm_main(int argc, char **argv)
{
	char path[PATH_MAX], temp[PATH_MAX], text[32];
	int lock, fd = -1;
	pid_t pid;

	if (argc != 4 || make_world(argv[2], &lock) < 0) {
		perror("vm");
		return 1;
	}
	path_of(path, argv[2], "agent.sock");
	unlink(path);
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0)
		run_init(argv[2], argv[3]);
	path_of(temp, argv[2], "vm.pid.new");
	path_of(path, argv[2], "vm.pid");
	snprintf(text, sizeof(text), "%d\n", pid);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, text, strlen(text)) < 0 ||
	    rename(temp, path) < 0)
		return 1;
	for (int i = 0; i < START_MS; i++) {
		int r = vm_connect(argv[2]);

		if (r >= 0)
			return 0;
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return 1;
		nap();
	}
	kill(pid, SIGKILL);
	return 1;
}

/* ---- from outside ---- */

int vm_start(const char *dir, const char *agent, struct error *err)
{
	char *argv[] = { (char *)"vm", (char *)VM_OPTION, (char *)dir,
			 (char *)agent, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	int status = 0, r;
	pid_t pid;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (r)
		return err_sys(err, r, "start a guest");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	vm_kill(dir, NULL);
	return err_set(err, ERR_INTERNAL, "the guest in '%s' does not start",
		       dir);
}

bool vm_is_alive(const char *dir)
{
	_cleanup_close_ int fd = -EBADF;
	char path[PATH_MAX];

	path_of(path, dir, "vm.lock");
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

pid_t vm_pid(const char *dir)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t len;

	path_of(path, dir, "vm.pid");
	if (!vm_is_alive(dir) ||
	    fd_read_file(AT_FDCWD, path, 32, &text, &len) < 0)
		return -1;
	return (pid_t)atoi(text);
}

int vm_kill(const char *dir, struct error *err)
{
	for (int i = 0; i < KILL_MS; i++) {
		pid_t pid = vm_pid(dir);

		if (pid > 0)
			kill(pid, SIGKILL);
		if (!vm_is_alive(dir))
			return 0;
		nap();
	}
	return err_set(err, ERR_UNAVAILABLE, "the guest in '%s' does not die",
		       dir);
}

int vm_connect(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/agent.sock",
			     dir) >= sizeof(sa.sun_path) ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
	_cleanup_close_ int from = -EBADF;
	_cleanup_close_ int to = -EBADF;
	char buf[16 << 10];
	ssize_t n;

	from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0644);
	if (from < 0 || to < 0)
		return -1;
	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (fd_write_full(to, buf, (size_t)n) < 0)
			return -1;
	return (int)n;
}

int vm_copy(const char *from, const char *to, struct error *err)
{
	_cleanup_close_ int to_fd = -EBADF;
	DIR *dir = opendir(from);
	struct dirent *de;
	int r = 0;

	if ((mkdir(to, 0755) < 0 && errno != EEXIST) || !dir)
		r = -1;
	to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (r == 0 && (de = readdir(dir)))
		if (de->d_type == DT_REG)
			r = copy_file(dirfd(dir), to_fd, de->d_name);
	if (r < 0)
		err_sys(err, errno, "copy '%s' to '%s'", from, to);
	if (dir)
		closedir(dir);
	return r;
}
