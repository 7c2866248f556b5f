/* SPDX-License-Identifier: Apache-2.0 */
/* quota.h - how much this node, and each tenant on it, may hold
 *
 * Admission is one function on the main thread: it either takes all that is
 * asked for, or nothing. A sandbox holds its place and disk as long as it
 * lives, vCPUs and memory only while it runs; pool members and templates being
 * built hold the same without a tenant.
 */
#ifndef ENGINE_QUOTA_H
#define ENGINE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct error;
struct quota;

/* What one guest is worth. */
struct quota_share {
	uint32_t cpu;
	uint32_t memory_mib;
	uint32_t disk_mib;
};

/**
 * struct quota_capacity - What the host has, before over-commit
 *
 * All zero: measured by quota_measure().
 */
struct quota_capacity {
	uint32_t cpus;
	uint64_t memory_mib;
	uint64_t disk_mib;
};

/**
 * struct quota_use - What is held, and what may be
 */
struct quota_use {
	uint32_t sandboxes, sandboxes_max;
	uint32_t vcpus, vcpus_max;
	uint64_t memory_mib, memory_max_mib;
	uint64_t disk_mib, disk_max_mib;
};

/* CPUs and memory of the host, and the size of @state_dir's file system. */
int quota_measure(const char *state_dir, struct quota_capacity *ret,
		  struct error *err);

/* @config is borrowed and may change between calls (a reload). */
struct quota *quota_new(const struct config *config,
			const struct quota_capacity *capacity);
struct quota *quota_free(struct quota *quota);

/**
 * quota_rate() - Take a token for one creation
 * @now_ms:	Monotonic
 *
 * Return: 0, or -1: ERR_LIMIT, reason RATE_LIMITED, with retry_ms
 */
int quota_rate(struct quota *quota, uint64_t now_ms, struct error *err);

/**
 * quota_admit() - Take a place, and what it needs to run
 * @tenant:	"" for none; NULL for the node's own (a pool, a template): no
 *		place is taken and no tenant's quota asked
 *
 * Return: 0, or -1 with nothing taken: ERR_LIMIT, RESOURCE_EXHAUSTED (the
 * node) or QUOTA_EXCEEDED (the tenant)
 */
int quota_admit(struct quota *quota, const char *tenant,
		const struct quota_share *share, struct error *err);

/* Paused: vCPUs and memory are free again. */
void quota_pause(struct quota *quota, const char *tenant,
		 const struct quota_share *share);

/* To run again; as quota_admit(), without place and disk. */
int quota_resume(struct quota *quota, const char *tenant,
		 const struct quota_share *share, struct error *err);

/* After a restart: it runs, or is there, whatever the limits say now. */
void quota_adopt(struct quota *quota, const char *tenant,
		 const struct quota_share *share, bool running);

/* It has ended. */
void quota_release(struct quota *quota, const char *tenant,
		   const struct quota_share *share, bool running);

void quota_use(const struct quota *quota, struct quota_use *ret);

/* Whether the file system of @state_dir has its reserve left. 0, or -1:
 * ERR_LIMIT, RESOURCE_EXHAUSTED.
 */
int quota_check_disk(const struct quota *quota, const char *state_dir,
		     struct error *err);

#endif /* ENGINE_QUOTA_H */
