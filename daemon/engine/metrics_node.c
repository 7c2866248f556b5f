/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_node.c - the metrics of the node as a whole
 *
 * All of it is at hand, or a small file of the kernel's: made at once, on the
 * main thread.
 */
#include "engine/metrics.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/mem.h"
#include "base/prom.h"
#include "engine/engine.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/saves.h"
#include "engine/task.h"
#include "engine/templates.h"
#include "engine/webhook.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB	    1048576.0
#define METHODS_MAX 1024
#define L(...)	    PROM_LABELS(__VA_ARGS__)

static void put_build(struct engine *e, struct prom *p)
{
	const struct hv_info *info = &e->hv->info;

	prom_family(p, "sandboxd_build_info", "gauge",
		    "What runs here; always 1.");
	prom_add(p, 1,
		 L({ "version", PACKAGE_VERSION }, { "node", e->node_id },
		   { "accelerator",
		     info->accelerator == HV_ACCEL_KVM ? "kvm" : "tcg" },
		   { "libvirt", info->libvirt_version },
		   { "qemu", info->qemu_version },
		   { "guest_kernel", info->kernel_version },
		   { "agent_link", info->vsock ? "vsock" : "serial" },
		   { "snapshots", info->clones_work ? "clone" : "save" }));
	prom_one(p, "sandboxd_start_time_seconds", "gauge",
		 "When the daemon started, Unix time.",
		 (double)e->started_ms / 1000);
	prom_one(p, "sandboxd_security_boundary", "gauge",
		 "1: guests run under KVM. 0: emulated, not isolated.",
		 info->accelerator == HV_ACCEL_KVM);
	prom_one(p, "sandboxd_libvirt_up", "gauge", "Whether libvirt answers.",
		 e->hv_up);
	prom_one(p, "sandboxd_draining", "gauge",
		 "1: no new sandboxes are admitted.", e->draining);
	prom_one(p, "sandboxd_recovering", "gauge",
		 "Sandboxes not yet looked at since the start.", e->recovering);
}

/* ---- capacity ---- */

static void put_pair(struct prom *p, const char *used, const char *limit,
		     const char *what, double n, double max)
{
	char help[128];

	snprintf(help, sizeof(help), "%s in use, pools included.", what);
	prom_one(p, used, "gauge", help, n);
	snprintf(help, sizeof(help), "%s that may be in use.", what);
	prom_one(p, limit, "gauge", help, max);
}

static void put_capacity(struct engine *e, struct prom *p)
{
	uint64_t by_state[SBX_STATE_COUNT] = {
		[SBX_TERMINATED] = e->sandboxes.n_ended,
	};
	struct quota_use use;

	list_for_each(&e->sandboxes.all, sb, struct sandbox, link)
		by_state[sb->row.state]++;
	prom_family(p, "sandboxd_sandboxes", "gauge",
		    "Sandboxes by state; terminated ones for a day.");
	for (int s = SBX_NONE + 1; s < SBX_STATE_COUNT; s++)
		prom_add(p, (double)by_state[s],
			 L({ "state",
			     sandbox_state_str((enum sandbox_state)s) }));
	quota_use(e->quota, &use);
	put_pair(p, "sandboxd_places_used", "sandboxd_places_limit",
		 "Places for sandboxes", use.sandboxes, use.sandboxes_max);
	put_pair(p, "sandboxd_vcpus_used", "sandboxd_vcpus_limit", "vCPUs",
		 use.vcpus, use.vcpus_max);
	put_pair(p, "sandboxd_memory_used_bytes", "sandboxd_memory_limit_bytes",
		 "Bytes of memory", (double)use.memory_mib * MIB,
		 (double)use.memory_max_mib * MIB);
	put_pair(p, "sandboxd_disk_used_bytes", "sandboxd_disk_limit_bytes",
		 "Bytes of promised disk", (double)use.disk_mib * MIB,
		 (double)use.disk_max_mib * MIB);
}

/* ---- pressure ---- */

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=123": total, in seconds. */
static double stalled(const char *text, const char *kind)
{
	const char *line = strstr(text, kind);
	const char *total = line ? strstr(line, "total=") : NULL;

	return total ? strtod(total + 6, NULL) / 1e6 : NAN;
}

static void put_stalls(struct prom *p)
{
	static const char *const resources[] = { "cpu", "memory", "io" };
	static const char *const kinds[] = { "some", "full" };

	prom_family(p, "sandboxd_pressure_stalled_seconds_total", "counter",
		    "How long tasks of the host waited for a resource.");
	for (size_t i = 0; i < 3; i++) {
		_cleanup_free_ char *text = NULL;
		char path[32];
		size_t len;

		snprintf(path, sizeof(path), "/proc/pressure/%s", resources[i]);
		if (fd_read_file(AT_FDCWD, path, 1024, &text, &len) < 0)
			continue;
		for (size_t k = 0; k < 2; k++) {
			double s = stalled(text, kinds[k]);

			if (!isnan(s))
				prom_add(p, s,
					 L({ "resource", resources[i] },
					   { "kind", kinds[k] }));
		}
	}
}

static double memory_available(void)
{
	_cleanup_free_ char *text = NULL;
	const char *at;
	size_t len;

	if (fd_read_file(AT_FDCWD, "/proc/meminfo", 16384, &text, &len) < 0 ||
	    !(at = strstr(text, "MemAvailable:")))
		return NAN;
	return strtod(at + 13, NULL) * 1024;
}

static void put_pressure(struct engine *e, struct prom *p)
{
	struct statvfs fs;
	struct error err;

	put_stalls(p);
	prom_one(p, "sandboxd_memory_available_bytes", "gauge",
		 "What the host's kernel could give out at once.",
		 memory_available());
	if (statvfs(e->config->state_dir, &fs) == 0) {
		prom_one(p, "sandboxd_disk_available_bytes", "gauge",
			 "Left on the state directory's file system.",
			 (double)fs.f_bavail * (double)fs.f_frsize);
		prom_one(p, "sandboxd_disk_size_bytes", "gauge",
			 "Size of the state directory's file system.",
			 (double)fs.f_blocks * (double)fs.f_frsize);
	}
	prom_one(p, "sandboxd_disk_pressure", "gauge",
		 "1: less than the reserve is left, nothing is admitted. "
		 "2: less than half of it.",
		 quota_check_disk(e->quota, e->config->state_dir, &err) < 0 &&
				 e->pressure.disk == PRESSURE_NONE ?
			 PRESSURE_LOW :
			 e->pressure.disk);
	prom_one(p, "sandboxd_memory_pressure", "gauge",
		 "1: less than the reserve is left, nothing is admitted. "
		 "2: less than half of it.",
		 e->pressure.memory);
}

/* ---- templates, pools, snapshots, images ---- */

static void put_templates(struct engine *e, struct prom *p)
{
	double ready = 0, building = 0, bytes = 0;

	list_for_each(&e->templates, t, struct template, link)
	{
		ready += !t->building;
		building += !!t->building;
		bytes += (double)t->row.size_bytes;
	}
	prom_family(p, "sandboxd_templates", "gauge",
		    "Prepared guests that sandboxes start from.");
	prom_add(p, ready, L({ "state", "ready" }));
	prom_add(p, building, L({ "state", "building" }));
	prom_one(p, "sandboxd_templates_size_bytes", "gauge",
		 "On disk, all templates together.", bytes);
	prom_family(p, "sandboxd_template_users", "gauge",
		    "Sandboxes and snapshots that stand on a template.");
	list_for_each(&e->templates, t, struct template, link) prom_add(
		p, template_users(e, t->row.id),
		L({ "template", t->row.id }, { "image", t->row.image }));
	prom_family(p, "sandboxd_pool_ready", "gauge",
		    "Started clones of a template that wait for work.");
	list_for_each(&e->templates, t, struct template, link) prom_add(
		p, pool_ready(e, t->row.id),
		L({ "template", t->row.id }, { "image", t->row.image }));
	prom_family(p, "sandboxd_pool_wanted", "gauge",
		    "Clones of a template that are to wait, as creates come.");
	list_for_each(&e->templates, t, struct template, link) prom_add(
		p, pool_wanted(e, t),
		L({ "template", t->row.id }, { "image", t->row.image }));
	prom_family(p, "sandboxd_pool_target", "gauge",
		    "Bounds of a template's pool, as configured.");
	prom_add(p, e->config->pool_min, L({ "bound", "min" }));
	prom_add(p, pool_max(e), L({ "bound", "max" }));
}

static void put_saves(struct engine *e, struct prom *p)
{
	double n[2] = { 0 }, bytes[2] = { 0 }, images = 0;

	list_for_each(&e->snapshots, s, struct snapshot, link)
	{
		n[s->row.internal]++;
		bytes[s->row.internal] += (double)s->row.size_bytes;
	}
	prom_family(p, "sandboxd_snapshots", "gauge",
		    "Snapshots: named ones, and those of pauses and forks.");
	prom_add(p, n[0], L({ "kind", "named" }));
	prom_add(p, n[1], L({ "kind", "internal" }));
	prom_family(p, "sandboxd_snapshots_size_bytes", "gauge",
		    "On disk, all snapshots of a kind together.");
	prom_add(p, bytes[0], L({ "kind", "named" }));
	prom_add(p, bytes[1], L({ "kind", "internal" }));
	for (size_t i = 0; i < image_count(e->images); i++)
		images += (double)image_at(e->images, i)->size_bytes;
	prom_one(p, "sandboxd_images", "gauge", "Images on this node.",
		 (double)image_count(e->images));
	prom_one(p, "sandboxd_images_size_bytes", "gauge",
		 "On disk, all images together.", images);
}

/* ---- what was done ---- */

static void put_measures(struct prom *p, const struct measures *m,
			 const char *name, const char *label,
			 const char *outcome, const char *help)
{
	prom_family(p, name, "histogram", help);
	for (size_t i = 0; i < m->n; i++)
		prom_add_histogram(p, &m->v[i].h,
				   L({ label, m->v[i].name },
				     { outcome, m->v[i].outcome }));
}

static void put_tally(struct prom *p, const struct tally *t, const char *name,
		      const char *label, const char *help)
{
	prom_family(p, name, "counter", help);
	for (size_t i = 0; i < t->n; i++)
		prom_add(p, (double)t->v[i].n, L({ label, t->v[i].name }));
}

static void put_work(struct engine *e, struct prom *p)
{
	const struct metrics *m = &e->metrics;
	unsigned int queued, running, calls = 0, leases = 0;
	struct tally tasks = { 0 };

	list_for_each(&e->tasks, t, struct task, link)
		tally_add(&tasks, t->kind->name, 1);
	for (struct list *l = e->calls.next; l != &e->calls; l = l->next)
		calls++;
	for (struct list *l = e->leases.next; l != &e->leases; l = l->next)
		leases++;
	put_measures(p, &m->operations, "sandboxd_operation_duration_seconds",
		     "operation", "result",
		     "Life-cycle operations, also those nobody asked for.");
	put_measures(p, &m->hv, "sandboxd_hypervisor_call_duration_seconds",
		     "call", "result", "Calls of libvirt and QEMU.");
	prom_family(p, "sandboxd_operations_running", "gauge",
		    "Life-cycle operations under way.");
	for (size_t i = 0; i < tasks.n; i++)
		prom_add(p, (double)tasks.v[i].n,
			 L({ "operation", tasks.v[i].name }));
	job_pool_use(e->jobs, &queued, &running);
	prom_family(p, "sandboxd_jobs", "gauge",
		    "Blocking work given to threads.");
	prom_add(p, queued, L({ "state", "queued" }));
	prom_add(p, running, L({ "state", "running" }));
	prom_one(p, "sandboxd_workers", "gauge", "Threads for blocking work.",
		 e->config->workers);
	prom_one(p, "sandboxd_calls_waiting", "gauge",
		 "Calls that the engine has not answered yet.", calls);
	prom_one(p, "sandboxd_leases", "gauge",
		 "Calls that keep a sandbox awake.", leases);
	put_tally(p, &m->starts, "sandboxd_starts_total", "kind",
		  "Starts of guests, by where they came from.");
	put_tally(p, &m->ends, "sandboxd_terminations_total", "reason",
		  "Sandboxes that ended.");
	prom_one(p, "sandboxd_egress_denied_total", "counter",
		 "Connections and names of guests that policy refused.",
		 (double)m->denied);
}

static double file_size(const struct engine *e, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", e->config->state_dir, name);
	return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

static void put_database(struct engine *e, struct prom *p)
{
	const struct store_stats *st = store_stats(e->store);
	uint64_t oldest, newest;

	store_events_range(e->store, &oldest, &newest);
	put_tally(p, &e->metrics.events, "sandboxd_events_total", "type",
		  "Events added to the log.");
	prom_one(p, "sandboxd_events_stored", "gauge",
		 "Events that can be read back.",
		 newest ? (double)(newest - oldest + 1) : 0);
	prom_one(p, "sandboxd_events_newest_sequence", "gauge",
		 "Sequence number of the newest event.", (double)newest);
	prom_family(p, "sandboxd_database_commit_duration_seconds", "histogram",
		    "Commits of the state database.");
	prom_add_histogram(p, &st->commits, NULL, 0);
	prom_one(p, "sandboxd_database_failures_total", "counter",
		 "Commits of the state database that failed.",
		 (double)st->failures);
	prom_one(p, "sandboxd_database_size_bytes", "gauge",
		 "The state database's file.", file_size(e, "sandboxd.db"));
	prom_one(p, "sandboxd_database_wal_size_bytes", "gauge",
		 "Its write-ahead log.", file_size(e, "sandboxd.db-wal"));
}

static void put_webhook(struct engine *e, struct prom *p)
{
	struct webhook_stats st;
	uint64_t oldest, newest;

	if (!e->webhook)
		return;
	webhook_stats(e->webhook, &st);
	store_events_range(e->store, &oldest, &newest);
	prom_one(p, "sandboxd_webhook_waiting", "gauge",
		 "Events that the receiver has not taken yet.",
		 newest > st.cursor ? (double)(newest - st.cursor) : 0);
	prom_one(p, "sandboxd_webhook_delivered_total", "counter",
		 "Events that it took.", (double)st.delivered);
	prom_one(p, "sandboxd_webhook_failures_total", "counter",
		 "Requests that failed.", (double)st.failures);
	prom_one(p, "sandboxd_webhook_lost_total", "counter",
		 "Events that were kept no longer before it took them.",
		 (double)st.lost);
}

/* ---- front ---- */

/* Front may be an attacker's: only what can be right goes on. */
static bool is_right(const Sandbox__Ipc__V1__FrontCounts__Method *m)
{
	size_t name = strspn(m->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"abcdefghijklmnopqrstuvwxyz");
	size_t code = strspn(m->code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

	return m->n_buckets == HISTOGRAM_BUCKETS + 1 && name && name <= 40 &&
	       !m->method[name] && code && code <= 24 && !m->code[code] &&
	       isfinite(m->sum_seconds) && m->sum_seconds >= 0;
}

static void put_front(struct engine *e, const Sandbox__Ipc__V1__FrontCounts *c,
		      struct prom *p)
{
	prom_one(p, "sandboxd_front_up", "gauge",
		 "Whether the process that serves the API answers.",
		 c && e->front_up);
	prom_one(p, "sandboxd_front_restarts_total", "counter",
		 "Times that it had to be started again.",
		 (double)front_link_restarts(e->front));
	if (!c)
		return;
	prom_one(p, "sandboxd_api_connections", "gauge",
		 "Clients' connections.", c->connections);
	prom_one(p, "sandboxd_api_calls", "gauge", "Calls under way.",
		 c->calls);
	prom_one(p, "sandboxd_agents_attached", "gauge",
		 "Guests whose agent is spoken to.", c->agents);
	prom_one(p, "sandboxd_event_watchers", "gauge", "WatchEvents streams.",
		 c->watchers);
	prom_family(p, "sandboxd_rpc_duration_seconds", "histogram",
		    "Calls of the API, streams from begin to end.");
	for (size_t i = 0; i < c->n_methods && i < METHODS_MAX; i++) {
		const Sandbox__Ipc__V1__FrontCounts__Method *m = c->methods[i];
		struct histogram h = { .sum = m->sum_seconds };

		if (!is_right(m))
			continue;
		memcpy(h.n, m->buckets, sizeof(h.n));
		prom_add_histogram(
			p, &h, L({ "method", m->method }, { "code", m->code }));
	}
}

/* ---- the daemon itself ---- */

static double count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	double n = -3; /* ".", "..", the directory's own */

	if (!dir)
		return NAN;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void put_process(struct prom *p)
{
	_cleanup_free_ char *text = NULL;
	struct rusage ru;
	size_t len;

	if (getrusage(RUSAGE_SELF, &ru) == 0)
		prom_one(p, "process_cpu_seconds_total", "counter",
			 "CPU time of the engine.",
			 (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
				 (double)(ru.ru_utime.tv_usec +
					  ru.ru_stime.tv_usec) /
					 1e6);
	if (fd_read_file(AT_FDCWD, "/proc/self/statm", 256, &text, &len) == 0 &&
	    strchr(text, ' '))
		prom_one(p, "process_resident_memory_bytes", "gauge",
			 "Memory of the engine.",
			 strtod(strchr(text, ' '), NULL) *
				 (double)sysconf(_SC_PAGESIZE));
	prom_one(p, "process_open_fds", "gauge", "Descriptors of the engine.",
		 count_fds());
}

void metrics_node(struct engine *e, const Sandbox__Ipc__V1__FrontCounts *counts,
		  struct prom *p)
{
	put_build(e, p);
	put_capacity(e, p);
	put_pressure(e, p);
	put_templates(e, p);
	put_saves(e, p);
	put_front(e, counts, p);
	put_work(e, p);
	put_database(e, p);
	put_webhook(e, p);
	put_process(p);
}
