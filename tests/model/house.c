/* SPDX-License-Identifier: Apache-2.0 */
/* house.c - see house.h */
#include "house.h"
#include "vm.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MS 30000

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void nap_ms(int ms)
{
	poll(NULL, 0, ms);
}

void die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* ---- begin and end ---- */

static void own_network(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		die("bring up lo: %s", strerror(errno));
	close(fd);
}

static void find_programs(struct house *h)
{
	const char *build = getenv("SANDBOXD_BUILD");
	char cwd[128];

	if (!build)
		build = getcwd(cwd, sizeof(cwd));
	snprintf(h->libexec, sizeof(h->libexec), "%s", build);
	snprintf(h->agent, sizeof(h->agent), "%s/sandbox-agent", build);
	snprintf(h->node, sizeof(h->node), "%s/tests/model/model_node", build);
	if (access(h->node, X_OK) < 0 || access(h->agent, X_OK) < 0)
		die("no '%s': run in the build directory, or set "
		    "SANDBOXD_BUILD",
		    h->node);
}

static void sub_directory(struct house *h, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", h->dir, name);

	if (mkdir(path, 0711) < 0)
		die("make '%s': %s", path, strerror(errno));
}

void house_begin(struct house *h, const char *settings)
{
	if (geteuid() != 0) {
		fputs("skipped: needs root\n", stderr);
		exit(77);
	}
	*h = (struct house){ 0 };
	find_programs(h);
	snprintf(h->settings, sizeof(h->settings), "%s", settings);
	/* In memory: the database syncs every commit. */
	strcpy(h->dir, access("/dev/shm", W_OK) == 0 ?
			       "/dev/shm/sbxmodel.XXXXXX" :
			       "/tmp/sbxmodel.XXXXXX");
	if (!mkdtemp(h->dir))
		die("make a directory: %s", strerror(errno));
	chmod(h->dir, 0711);
	sub_directory(h, "s");
	sub_directory(h, "r");
	sub_directory(h, "f");
	own_network();
	/* Guests outlive their node: they are ours then. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void write_config(struct house *h, const char *path)
{
	_cleanup_free_ char *text = xasprintf(
		"[node]\nstate_dir = %s/s\nrun_dir = %s/r\n"
		"[api]\nuser =\n[paths]\nlibexec = %s\n"
		"[network]\nresolver_user =\nsplice_user =\n"
		"[limits]\nvcpu_overcommit = 1000\nmemory_overcommit = 1000\n"
		"disk_overcommit = 1000\ndisk_reserve_mib = 0\n"
		"memory_reserve_mib = 0\n"
		"create_rate = 100000\ncreate_burst = 100000\n%s",
		h->dir, h->dir, h->libexec, h->settings);

	if (fd_replace_file(AT_FDCWD, path, text, strlen(text), 0600, NULL) < 0)
		die("write '%s'", path);
}

static void run_node(struct house *h, const char *config)
{
	_cleanup_free_ char *log = xasprintf("%s/log", h->dir);
	_cleanup_free_ char *faults = xasprintf("%s/f", h->dir);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (h->program[0])
		execl(h->program, h->program, "--config", config, NULL);
	else
		execl(h->node, h->node, config, faults, h->agent, NULL);
	_exit(127);
}

void house_start(struct house *h)
{
	_cleanup_free_ char *config = xasprintf("%s/conf", h->dir);

	write_config(h, config);
	fflush(NULL);
	h->starts++;
	h->pid = fork();
	if (h->pid == 0)
		run_node(h, config);
	house_client(h);
}

/* Those that were ended by others, or by their own ends. */
static void reap_others(const struct house *h)
{
	siginfo_t si;

	for (;;) {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 ||
		    si.si_pid == 0 || si.si_pid == h->pid)
			return;
		waitpid(si.si_pid, NULL, 0);
	}
}

void house_stop(struct house *h, int sig)
{
	pid_t front;
	int status;

	if (h->pid <= 0)
		return;
	front = house_front_pid(h);
	kill(h->pid, sig);
	if (waitpid(h->pid, &status, 0) != h->pid)
		die("waitpid: %s", strerror(errno));
	h->pid = 0;
	if (sig == SIGTERM && (!WIFEXITED(status) || WEXITSTATUS(status)))
		die("the node ended badly (%#x)", status);
	/* It would go on taking connections until it hears of it. */
	for (int i = 0; front > 0 && house_rss(front) && i < 2000; i++) {
		reap_others(h);
		nap_ms(1);
	}
	client_close(h->client);
	h->client = NULL;
	reap_others(h);
}

void house_end(struct house *h)
{
	char **guests;
	size_t n;

	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	n = house_guests(h, &guests);
	for (size_t i = 0; i < n; i++) {
		house_kill_guest(h, guests[i]);
		free(guests[i]);
	}
	free(guests);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	client_close(h->client);
	if (h->keep)
		fprintf(stderr, "what is left is in %s\n", h->dir);
	else
		fd_remove_tree(AT_FDCWD, h->dir, NULL);
}

/* ---- a look ---- */

pid_t house_front_pid(const struct house *h)
{
	_cleanup_free_ char *path =
		xasprintf("/proc/%d/task/%d/children", h->pid, h->pid);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (h->pid <= 0 || fd_read_file(AT_FDCWD, path, 4096, &text, &len) < 0)
		return -1;
	for (char *p = strtok(text, " \n"); p; p = strtok(NULL, " \n")) {
		_cleanup_free_ char *comm = NULL;
		_cleanup_free_ char *name = xasprintf("/proc/%s/comm", p);

		if (fd_read_file(AT_FDCWD, name, 64, &comm, &len) == 0 &&
		    !strncmp(comm, "sandboxd-front", 14))
			return (pid_t)atoi(p);
	}
	return -1;
}

size_t house_rss(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", pid);
	_cleanup_free_ char *text = NULL;
	size_t len;
	char *at;

	if (pid <= 0 || fd_read_file(AT_FDCWD, path, 16384, &text, &len) < 0)
		return 0;
	at = strstr(text, "VmRSS:");
	return at ? strtoul(at + 6, NULL, 10) : 0;
}

void house_fault(struct house *h, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/f/%s", h->dir, name);

	if (!text)
		unlink(path);
	else if (fd_replace_file(AT_FDCWD, path, text, strlen(text), 0600,
				 NULL) < 0)
		die("write '%s'", path);
}

bool house_has_fault(struct house *h, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/f/%s", h->dir, name);

	return access(path, F_OK) == 0;
}

size_t house_guests(struct house *h, char ***ret)
{
	_cleanup_free_ char *path = xasprintf("%s/s/guests", h->dir);
	DIR *dir = opendir(path);
	struct dirent *de;
	size_t n = 0;

	*ret = NULL;
	while (dir && (de = readdir(dir))) {
		_cleanup_free_ char *one = xasprintf("%s/%s", path, de->d_name);

		if (de->d_name[0] == '.' || !vm_is_alive(one))
			continue;
		*ret = xrealloc(*ret, n + 1, sizeof(char *));
		(*ret)[n++] = xstrdup(de->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

size_t house_count(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *de;
	size_t n = 0;

	while (dir && (de = readdir(dir)))
		n += de->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

size_t house_entries(struct house *h, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/s/%s", h->dir, name);

	return house_count(path);
}

bool house_kill_guest(struct house *h, const char *uuid)
{
	_cleanup_free_ char *dir = xasprintf("%s/s/guests/%s", h->dir, uuid);

	return vm_is_alive(dir) && vm_kill(dir, NULL) == 0;
}

/* ---- calls ---- */

struct client *house_client(struct house *h)
{
	_cleanup_free_ char *path = xasprintf("%s/r/node.sock", h->dir);
	uint64_t until = now_ms() + CONNECT_MS;
	int status;

	if (h->client && !client_is_dead(h->client))
		return h->client;
	client_close(h->client);
	h->client = NULL;
	while (!(h->client = client_connect(path, false))) {
		if (h->pid > 0 && waitpid(h->pid, &status, WNOHANG) == h->pid) {
			h->pid = 0;
			die("the node has ended (%#x)", (unsigned int)status);
		}
		if (now_ms() > until)
			die("the node does not answer");
		nap_ms(2);
	}
	return h->client;
}

struct call *house_call(struct house *h, const char *method)
{
	_cleanup_free_ char *path =
		xasprintf("/sandbox.node.v1.NodeService/%s", method);

	return call_start(house_client(h), path);
}

void *house_ask(struct house *h, const char *method, const ProtobufCMessage *rq,
		const ProtobufCMessageDescriptor *type, struct grpc_status *st)
{
	struct call *call = house_call(h, method);
	void *msg;

	call_send(call, rq);
	call_half_close(call);
	msg = call_recv_message(call, type);
	*st = *call_wait(call);
	call_free(call);
	return msg;
}

bool house_is_passing(const struct grpc_status *st)
{
	return st->code == GRPC_UNAVAILABLE || st->code == GRPC_CANCELLED ||
	       (st->code == GRPC_FAILED_PRECONDITION && st->retry_ms);
}
