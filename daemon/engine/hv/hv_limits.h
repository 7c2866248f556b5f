/* SPDX-License-Identifier: Apache-2.0 */
/* hv_limits.h - what a guest's QEMU may take of the host, held by cgroups
 *
 * Admission counts what guests were given; this is what keeps a QEMU, whoever
 * controls it, from taking more. Under systemd each guest's QEMU is in a scope
 * of its own, made by libvirt; its limits are the scope's properties.
 */
#ifndef ENGINE_HV_LIMITS_H
#define ENGINE_HV_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/* QEMU's own: code, heap, page tables, a moment of migration buffers. Its
 * translator's cache, where the CPU is emulated, is 1 GiB.
 */
#define HV_LIMITS_MEMORY_KVM_MIB 512u
#define HV_LIMITS_MEMORY_TCG_MIB 1536u
/* Threads: vCPUs, 64 for disk, vhost, and some. It may not fork. */
#define HV_LIMITS_TASKS 256u

/**
 * struct hv_limits - What one guest's processes together may use
 * @cpu:	Whole CPUs; also their weight against other guests
 * @disk_mbps, @disk_iops: In each direction; 0: not limited
 * @disk_path:	Names the disk: a path on it
 */
struct hv_limits {
	uint32_t cpu;
	uint64_t memory_mib;
	uint32_t tasks;
	uint32_t disk_mbps, disk_iops;
	const char *disk_path;
};

/* Whether limits can be set here: systemd runs, with unified cgroups. */
bool hv_limits_work(void);

/* The scope in the text of a /proc/PID/cgroup: "machine-qemu...scope". */
int hv_limits_scope(const char *cgroup, char *ret, size_t size,
		    struct error *err);

/**
 * hv_limits_apply() - Limit the scope that process @pid is in
 *
 * Blocks for systemd's answer; any thread.
 */
int hv_limits_apply(pid_t pid, const struct hv_limits *limits,
		    struct error *err);

#endif /* ENGINE_HV_LIMITS_H */
