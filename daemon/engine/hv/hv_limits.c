/* SPDX-License-Identifier: Apache-2.0 */
/* hv_limits.c - what a guest's QEMU may take of the host, held by cgroups
 *
 * systemd is asked over D-Bus rather than libvirt by XML: it knows a limit of
 * tasks too, finds the disk under a path, and says no to what it cannot hold,
 * where libvirt's own cgroups depend on how it was built and started. Nothing
 * is written to cgroupfs by us: our unit may not.
 */
#include "engine/hv/hv_limits.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#define ANSWER_USEC 5000000u
#define CPU_WEIGHT  100u /* of one CPU; systemd's default for a unit */
#define WEIGHT_MAX  10000u

bool hv_limits_work(void)
{
	struct statfs fs;

	return sd_booted() > 0 && statfs("/sys/fs/cgroup", &fs) == 0 &&
	       (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

int hv_limits_scope(const char *cgroup, char *ret, size_t size,
		    struct error *err)
{
	static const char suffix[] = ".scope";
	const char *line = strstr(cgroup, "0::/");
	const char *end, *begin;

	/* The first of them: libvirt makes cgroups of its own below it. */
	end = line ? strstr(line, ".scope/") : NULL;
	if (!end || (size_t)(end - line) > strcspn(line, "\n"))
		return err_set(err, ERR_UNAVAILABLE,
			       "a guest's QEMU is in no scope of its own: is "
			       "systemd-machined there?");
	end += strlen(suffix);
	for (begin = end; begin > line && begin[-1] != '/'; begin--)
		;
	if ((size_t)(end - begin) >= size)
		return err_set(err, ERR_LIMIT, "a long name of a scope");
	memcpy(ret, begin, (size_t)(end - begin));
	ret[end - begin] = '\0';
	return 0;
}

static int put_u64(sd_bus_message *m, const char *name, uint64_t value)
{
	return sd_bus_message_append(m, "(sv)", name, "t", value);
}

static int put_disk(sd_bus_message *m, const char *name, const char *path,
		    uint64_t value)
{
	if (!value)
		return 0;
	return sd_bus_message_append(m, "(sv)", name, "a(st)", 1, path, value);
}

static int put_limits(sd_bus_message *m, const struct hv_limits *l)
{
	uint64_t weight = (uint64_t)l->cpu * CPU_WEIGHT;
	uint64_t memory = l->memory_mib << 20;
	uint64_t bytes = (uint64_t)l->disk_mbps * 1000000;
	int r;

	if (weight > WEIGHT_MAX)
		weight = WEIGHT_MAX;
	r = put_u64(m, "MemoryMax", memory);
	if (r >= 0)
		r = put_u64(m, "CPUWeight", weight);
	if (r >= 0)
		r = put_u64(m, "CPUQuotaPerSecUSec",
			    (uint64_t)l->cpu * 1000000);
	if (r >= 0)
		r = put_u64(m, "TasksMax", l->tasks);
	if (r >= 0)
		r = put_disk(m, "IOReadBandwidthMax", l->disk_path, bytes);
	if (r >= 0)
		r = put_disk(m, "IOWriteBandwidthMax", l->disk_path, bytes);
	if (r >= 0)
		r = put_disk(m, "IOReadIOPSMax", l->disk_path, l->disk_iops);
	if (r >= 0)
		r = put_disk(m, "IOWriteIOPSMax", l->disk_path, l->disk_iops);
	return r;
}

static int ask(sd_bus *bus, const char *scope, const struct hv_limits *limits,
	       sd_bus_error *why)
{
	sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(
		bus, &m, "org.freedesktop.systemd1",
		"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
		"SetUnitProperties");

	if (r >= 0) /* at runtime only */
		r = sd_bus_message_append(m, "sb", scope, 1);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = put_limits(m, limits);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_call(bus, m, ANSWER_USEC, why, NULL);
	sd_bus_message_unref(m);
	return r;
}

int hv_limits_apply(pid_t pid, const struct hv_limits *limits,
		    struct error *err)
{
	sd_bus_error why = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *cgroup = NULL;
	char path[64], scope[256];
	sd_bus *bus = NULL;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	r = fd_read_file(AT_FDCWD, path, 16384, &cgroup, NULL);
	if (r < 0)
		return err_sys(err, -r, "read '%s'", path);
	if (hv_limits_scope(cgroup, scope, sizeof(scope), err) < 0)
		return -1;
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = ask(bus, scope, limits, &why);
	if (r < 0)
		err_set(err, ERR_UNAVAILABLE, "limit '%s': %s", scope,
			why.message ? why.message : strerrordesc_np(-r));
	sd_bus_error_free(&why);
	sd_bus_flush_close_unref(bus);
	return r < 0 ? -1 : 0;
}
