/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.c - one cgroup for each process that the node started
 *
 * Theory of operation
 *
 * The kernel takes a millisecond or two to make or remove a cgroup in an
 * emulated guest, a tenth of what a short command takes there. So nobody waits
 * for it: the next one is made ahead, and old ones are removed, when answers
 * have gone out.
 */
#include "cgroup.h"

#include "agent.h"
#include "loop.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"
/* What user processes must leave: for the agent, its buffers, the kernel. */
#define MEMORY_RESERVE (48ull << 20)
#define PIDS_RESERVE   128u

/* After an answer, so that it goes first; and after a start, which may go on for
 * long without one.
 */
#define TEND_ANSWERED_MS 1u
#define TEND_STARTED_MS	 100u

struct stale_cgroup {
	struct list item;
	uint64_t serial;
};

struct cgroups {
	struct list stale; /* struct stale_cgroup: to be removed */
	uint64_t ahead;	   /* the number of the one made ahead */
	int ahead_fd;	   /* -EBADF: none is */
	struct loop_timer *tend;
};

/* 0 or -errno. */
static int write_at(int dir, const char *name, const char *value)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	unsigned long long v;

	return f && fscanf(f, "%llu", &v) == 1 ? v : otherwise;
}

/* A fork bomb or a leak in the guest is stopped in "user", not by taking what
 * the agent needs.
 */
static void limit_user(int fd)
{
	uint64_t threads = read_number("/proc/sys/kernel/threads-max", 8192);
	uint64_t pids = read_number("/proc/sys/kernel/pid_max", 32768);
	struct sysinfo si;
	char value[32];

	if (threads < pids)
		pids = threads;
	if (pids > 2 * PIDS_RESERVE) {
		snprintf(value, sizeof(value), "%llu",
			 (unsigned long long)pids - PIDS_RESERVE);
		write_at(fd, "pids.max", value);
	}
	if (sysinfo(&si) < 0)
		return;
	if ((uint64_t)si.totalram * si.mem_unit > 3 * MEMORY_RESERVE) {
		snprintf(value, sizeof(value), "%llu",
			 (unsigned long long)si.totalram * si.mem_unit -
				 MEMORY_RESERVE);
		write_at(fd, "memory.max", value);
	}
}

static void name_of(char *dst, size_t size, uint64_t serial)
{
	snprintf(dst, size, "p%llu", (unsigned long long)serial);
}

static int make(struct agent *agent, uint64_t serial)
{
	char name[32];
	int fd;

	name_of(name, sizeof(name), serial);
	if (mkdirat(agent->cgroup_fd, name, 0755) < 0)
		return -EBADF;
	fd = openat(agent->cgroup_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -EBADF : fd;
}

/* True: it is gone. */
static bool try_remove(struct agent *agent, uint64_t serial)
{
	char name[32];

	name_of(name, sizeof(name), serial);
	return unlinkat(agent->cgroup_fd, name, AT_REMOVEDIR) == 0 ||
	       errno != EBUSY;
}

static void tend(void *arg)
{
	struct agent *agent = arg;
	struct cgroups *c = agent->cgroups;

	if (c->ahead_fd < 0) {
		c->ahead = agent->process_serial + 1;
		c->ahead_fd = make(agent, c->ahead);
	}
	list_for_each(&c->stale, s, struct stale_cgroup, item)
	{
		if (!try_remove(agent, s->serial))
			continue;
		list_del(&s->item);
		free(s);
	}
}

static void tend_at(struct agent *agent, uint64_t in_ms)
{
	if (agent->cgroups)
		loop_timer_at(agent->cgroups->tend,
			      loop_now_ms(agent->loop) + in_ms);
}

void cgroup_tend_soon(struct agent *agent)
{
	tend_at(agent, TEND_ANSWERED_MS);
}

void cgroup_setup(struct agent *agent)
{
	_cleanup_close_ int root = -EBADF;

	root = open(ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || (mkdirat(root, "user", 0755) < 0 && errno != EEXIST)) {
		agent_log("no cgroups: %s", strerror(errno));
		return;
	}
	write_at(root, "cgroup.subtree_control", "+pids");
	/* All of "user" together weighs as much as the agent beside it. */
	write_at(root, "cgroup.subtree_control", "+cpu");
	write_at(root, "cgroup.subtree_control", "+memory");
	agent->cgroup_fd =
		openat(root, "user", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (agent->cgroup_fd < 0)
		return;
	limit_user(agent->cgroup_fd);
	agent->cgroups = xcalloc(1, sizeof(*agent->cgroups));
	agent->cgroups->ahead_fd = -EBADF;
	list_init(&agent->cgroups->stale);
	agent->cgroups->tend = loop_timer_new(agent->loop, tend, agent);
	tend(agent);
}

int cgroup_make(struct agent *agent, uint64_t serial)
{
	struct cgroups *c = agent->cgroups;

	if (!c)
		return -EBADF;
	tend_at(agent, TEND_STARTED_MS);
	if (c->ahead_fd >= 0 && c->ahead == serial)
		return TAKE_FD(c->ahead_fd);
	return make(agent, serial);
}

bool cgroup_kill(int fd)
{
	return fd >= 0 && write_at(fd, "cgroup.kill", "1") == 0;
}

/* Whether cgroup.events has this line. */
static bool has_event(int fd, const char *line)
{
	_cleanup_close_ int f =
		openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char text[256];
	ssize_t n;

	if (f < 0)
		return false;
	n = read(f, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, line) != NULL;
}

bool cgroup_is_populated(int fd)
{
	return fd >= 0 && has_event(fd, "populated 1");
}

void cgroup_remove(struct agent *agent, uint64_t serial)
{
	struct stale_cgroup *s;

	if (!agent->cgroups)
		return;
	s = xcalloc(1, sizeof(*s));
	s->serial = serial;
	list_add_tail(&agent->cgroups->stale, &s->item);
	cgroup_tend_soon(agent);
}

bool cgroup_cpu_ms(int user_fd, uint64_t *ret)
{
	_cleanup_close_ int f = -EBADF;
	unsigned long long usec;
	char text[64];
	ssize_t n;

	if (user_fd < 0)
		return false;
	f = openat(user_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
	n = f < 0 ? -1 : read(f, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	if (sscanf(text, "usage_usec %llu", &usec) != 1)
		return false;
	*ret = usec / 1000;
	return true;
}

int cgroup_freeze(int user_fd, bool freeze, uint32_t wait_ms)
{
	const char *want = freeze ? "frozen 1" : "frozen 0";
	struct pollfd p = { .events = POLLPRI };
	_cleanup_close_ int events = -EBADF;
	char drain[256];
	int r;

	if (user_fd < 0)
		return 0;
	events = openat(user_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return -errno;
	p.fd = events;
	r = write_at(user_fd, "cgroup.freeze", freeze ? "1" : "0");
	for (uint32_t waited = 0; r == 0; waited += 10) {
		if (pread(events, drain, sizeof(drain), 0) < 0)
			return -errno;
		if (has_event(user_fd, want))
			return 0;
		if (waited >= wait_ms)
			return -ETIMEDOUT;
		poll(&p, 1, 10);
	}
	return r;
}
