/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - Stats: what the guest sees of itself */
#include "agent.h"
#include "cgroup.h"
#include "rpc.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <time.h>

/* "MemAvailable" of /proc/meminfo; free memory where there is no such line. */
static uint64_t available_bytes(uint64_t otherwise)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			return kib * 1024;
	return otherwise;
}

void rpc_stats(struct rpc *rpc, const uint8_t *data, size_t len)
{
	AGENT(StatsResponse) msg = SANDBOX__AGENT__V1__STATS_RESPONSE__INIT;
	AGENT(StatsRequest) * request;
	struct timespec up = { 0 };
	struct sysinfo si = { 0 };
	struct statvfs fs;

	request = rpc_unpack(
		rpc, &sandbox__agent__v1__stats_request__descriptor, data, len);
	if (!request)
		return;
	sandbox__agent__v1__stats_request__free_unpacked(request, NULL);
	sysinfo(&si);
	clock_gettime(CLOCK_BOOTTIME, &up);
	msg.memory_total_bytes = (uint64_t)si.totalram * si.mem_unit;
	msg.memory_available_bytes =
		available_bytes((uint64_t)si.freeram * si.mem_unit);
	if (statvfs("/", &fs) == 0) {
		msg.disk_total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
		msg.disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	msg.processes = si.procs;
	msg.load_hundredths = (uint32_t)(si.loads[0] * 100 / 65536);
	msg.uptime_ms =
		(uint64_t)up.tv_sec * 1000 + (uint64_t)up.tv_nsec / 1000000;
	msg.user_cpu_known = cgroup_cpu_ms(rpc_agent(rpc)->cgroup_fd,
					   &msg.user_cpu_ms);
	rpc_reply(rpc, &msg.base);
}
