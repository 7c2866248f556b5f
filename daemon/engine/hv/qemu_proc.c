/* SPDX-License-Identifier: Apache-2.0 */
/* qemu_proc.c - the QEMU process of a guest, found without libvirt
 *
 * Theory of operation
 * ===================
 *
 * A guest's QEMU has "-uuid", UUID among its arguments and runs under the uid
 * of the guest's slot. What a scan of /proc sees goes into a table of uuid ->
 * pid; a look-up that misses, or whose pid is something else by now, scans
 * again. Every answer is checked on a pidfd: opened first, then looked at, so
 * that what was looked at is what the pidfd holds.
 *
 * A process is mostly looked for because it was just started, and to read its
 * arguments takes a lock that a busy process holds long. So a scan begins with
 * the youngest and ends where the guest is found; only that there is none takes
 * a look at all.
 */
#include "engine/hv/qemu_proc.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/hv.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define TABLE_SIZE  4096  /* hash buckets; a power of two */
#define ENTRIES_MAX 16384 /* then what is gone has to go */
#define CMDLINE_MAX 65536

struct entry {
	struct entry *next;
	char uuid[HV_UUID_SIZE];
	pid_t pid;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *table[TABLE_SIZE];
static size_t n_entries;

static unsigned int bucket_of(const char *uuid)
{
	unsigned int h = 5381;

	for (; *uuid; uuid++)
		h = h * 33 + (unsigned char)tolower((unsigned char)*uuid);
	return h & (TABLE_SIZE - 1);
}

/* The argument behind "-uuid" of process @pid; "" when it has none. */
static void read_uuid(pid_t pid, char uuid[HV_UUID_SIZE])
{
	char path[64];
	_cleanup_free_ char *buf = NULL;
	size_t len;

	uuid[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	if (fd_read_file(AT_FDCWD, path, CMDLINE_MAX, &buf, &len) < 0)
		return;
	if (len == 0 || !strstr(buf, "qemu"))
		return;
	for (const char *p = buf; p < buf + len; p += strlen(p) + 1) {
		const char *next = p + strlen(p) + 1;

		if (strcmp(p, "-uuid") != 0 || next >= buf + len)
			continue;
		if (strlen(next) == HV_UUID_SIZE - 1)
			memcpy(uuid, next, HV_UUID_SIZE);
		return;
	}
}

static void table_clear(void)
{
	for (size_t i = 0; i < TABLE_SIZE; i++) {
		while (table[i]) {
			struct entry *e = table[i];

			table[i] = e->next;
			free(e);
		}
	}
	n_entries = 0;
}

static void table_put(const char *uuid, pid_t pid)
{
	unsigned int b = bucket_of(uuid);
	struct entry *e;

	for (e = table[b]; e; e = e->next)
		if (e->pid == pid && strcasecmp(e->uuid, uuid) == 0)
			return;
	if (n_entries >= ENTRIES_MAX)
		table_clear();
	e = xcalloc(1, sizeof(*e));
	*e = (struct entry){ .next = table[b], .pid = pid };
	memcpy(e->uuid, uuid, sizeof(e->uuid));
	table[b] = e;
	n_entries++;
}

/* Numbers of processes, as /proc has them. 0 or -errno. */
static int list_pids(pid_t **ret, size_t *ret_n)
{
	DIR *dir = opendir("/proc");
	size_t n = 0, room = 0;
	struct dirent *de;
	pid_t *pids = NULL;

	if (!dir)
		return -errno;
	while ((de = readdir(dir))) {
		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		if (n == room) {
			room = room ? room * 2 : 512;
			pids = xrealloc(pids, room, sizeof(*pids));
		}
		pids[n++] = (pid_t)atoi(de->d_name);
	}
	closedir(dir);
	*ret = pids;
	*ret_n = n;
	return 0;
}

static int higher_first(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x > y ? -1 : x < y;
}

/* The number that was given out last: those above it are of the round before.
 * Unknown: as if there had been none.
 */
static pid_t last_pid(void)
{
	_cleanup_free_ char *text = NULL;

	if (fd_read_file(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", 32, &text,
			 NULL) < 0)
		return INT_MAX;
	return (pid_t)atoi(text);
}

static bool has_uid(pid_t pid, uid_t uid)
{
	char path[64];
	_cleanup_free_ char *buf = NULL;
	const char *line;
	unsigned int real;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (fd_read_file(AT_FDCWD, path, CMDLINE_MAX, &buf, NULL) < 0)
		return false;
	line = strstr(buf, "\nUid:");
	return line && sscanf(line, "\nUid: %u", &real) == 1 && real == uid;
}

/* @pid as the guest's process, if it is. */
static bool open_checked(pid_t pid, const char *uuid, uid_t uid,
			 struct qemu_proc *ret)
{
	char found[HV_UUID_SIZE];
	struct qemu_proc proc = { .pid = pid };

	proc.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (proc.pidfd < 0)
		return false;
	read_uuid(pid, found);
	if (strcasecmp(found, uuid) != 0 ||
	    (uid != (uid_t)-1 && !has_uid(pid, uid))) {
		qemu_proc_close(&proc);
		return false;
	}
	*ret = proc;
	return true;
}

/* Youngest first, until the guest is found. 1 found, 0 not, -errno. */
static int table_scan(const char *uuid, uid_t uid, struct qemu_proc *ret)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0, young = 0;
	pid_t last = last_pid();
	int r = list_pids(&pids, &n);

	if (r < 0)
		return r;
	if (n)
		qsort(pids, n, sizeof(*pids), higher_first);
	while (young < n && pids[young] > last)
		young++;
	for (size_t i = 0; i < n; i++) {
		pid_t pid = pids[(young + i) % n];
		char found[HV_UUID_SIZE];

		read_uuid(pid, found);
		if (!found[0])
			continue;
		table_put(found, pid);
		if (!strcasecmp(found, uuid) &&
		    open_checked(pid, uuid, uid, ret))
			return 1;
	}
	return 0;
}

static bool table_find(const char *uuid, uid_t uid, struct qemu_proc *ret)
{
	for (struct entry *e = table[bucket_of(uuid)]; e; e = e->next) {
		if (strcasecmp(e->uuid, uuid) == 0 &&
		    open_checked(e->pid, uuid, uid, ret))
			return true;
	}
	return false;
}

int qemu_proc_open(const char *uuid, uid_t uid, struct qemu_proc *ret)
{
	int r;

	pthread_mutex_lock(&lock);
	r = table_find(uuid, uid, ret) ? 1 : table_scan(uuid, uid, ret);
	pthread_mutex_unlock(&lock);
	return r;
}

void qemu_proc_close(struct qemu_proc *proc)
{
	fd_close(&proc->pidfd);
	proc->pid = 0;
}

int qemu_proc_wait(const struct qemu_proc *proc, unsigned int timeout_ms)
{
	struct pollfd p = { .fd = proc->pidfd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, (int)timeout_ms);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 ? -ETIME : 0;
}

int qemu_proc_kill(const struct qemu_proc *proc)
{
	if (syscall(SYS_pidfd_send_signal, proc->pidfd, SIGKILL, NULL, 0) < 0)
		return errno == ESRCH ? 0 : -errno;
	return 0;
}

void qemu_proc_describe(const struct qemu_proc *proc, char *buf, size_t size)
{
	char path[64];
	_cleanup_free_ char *stat = NULL;
	_cleanup_free_ char *wchan = NULL;
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", proc->pid);
	fd_read_file(AT_FDCWD, path, 4096, &stat, NULL);
	snprintf(path, sizeof(path), "/proc/%d/wchan", proc->pid);
	fd_read_file(AT_FDCWD, path, 256, &wchan, NULL);
	state = stat ? strrchr(stat, ')') : NULL;
	snprintf(buf, size, "process %d in state %c, waiting in '%s'",
		 proc->pid, state && state[1] ? state[2] : '?',
		 wchan ? wchan : "?");
}

static uint64_t field_kib(const char *text, const char *name)
{
	const char *p = strstr(text, name);
	unsigned long long kib;

	return p && sscanf(p + strlen(name), " %llu", &kib) == 1 ? kib : 0;
}

int qemu_proc_stats(const struct qemu_proc *proc, uint64_t *ret_cpu_ms,
		    uint64_t *ret_memory)
{
	char path[64];
	_cleanup_free_ char *stat = NULL;
	_cleanup_free_ char *smaps = NULL;
	unsigned long long user, sys;
	const char *p;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", proc->pid);
	r = fd_read_file(AT_FDCWD, path, 4096, &stat, NULL);
	if (r < 0)
		return r;
	p = strrchr(stat, ')');
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
			 "%llu %llu",
			 &user, &sys) != 2)
		return -EBADMSG;
	*ret_cpu_ms = (user + sys) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
	if (!ret_memory)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", proc->pid);
	r = fd_read_file(AT_FDCWD, path, 16384, &smaps, NULL);
	if (r < 0)
		return r;
	*ret_memory = (field_kib(smaps, "\nPrivate_Dirty:") +
		       field_kib(smaps, "\nSwap:"))
		      << 10;
	return 0;
}
