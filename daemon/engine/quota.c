/* SPDX-License-Identifier: Apache-2.0 */
/* quota.c - how much this node, and each tenant on it, may hold */
#include "engine/quota.h"

#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "engine/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB		   (1u << 20)
#define EXHAUSTED_RETRY_MS 5000

struct tenant {
	struct list link;
	char *name;
	struct quota_use held;
};

struct quota {
	const struct config *config;
	struct quota_capacity capacity;
	struct quota_use held;
	struct list tenants;
	double tokens;
	uint64_t tokens_ms; /* when they were counted; 0: never */
};

int quota_measure(const char *state_dir, struct quota_capacity *ret,
		  struct error *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	struct statvfs fs;

	if (statvfs(state_dir, &fs) < 0)
		return err_sys(err, errno, "measure '%s'", state_dir);
	ret->cpus = cpus > 0 ? (uint32_t)cpus : 1;
	ret->memory_mib = (uint64_t)pages * (uint64_t)page / MIB;
	ret->disk_mib = (uint64_t)fs.f_blocks * fs.f_frsize / MIB;
	return 0;
}

struct quota *quota_new(const struct config *config,
			const struct quota_capacity *capacity)
{
	struct quota *quota = xcalloc(1, sizeof(*quota));

	quota->config = config;
	quota->capacity = *capacity;
	list_init(&quota->tenants);
	return quota;
}

struct quota *quota_free(struct quota *quota)
{
	if (!quota)
		return NULL;
	list_for_each(&quota->tenants, t, struct tenant, link)
	{
		list_del(&t->link);
		free(t->name);
		free(t);
	}
	free(quota);
	return NULL;
}

int quota_rate(struct quota *quota, uint64_t now_ms, struct error *err)
{
	double rate = quota->config->create_rate;
	double burst = quota->config->create_burst;

	if (rate <= 0)
		return 0;
	if (burst < 1)
		burst = 1;
	if (quota->tokens_ms == 0)
		quota->tokens = burst;
	else
		quota->tokens +=
			rate * (double)(now_ms - quota->tokens_ms) / 1000;
	if (quota->tokens > burst)
		quota->tokens = burst;
	quota->tokens_ms = now_ms ? now_ms : 1;
	if (quota->tokens < 1) {
		err_set(err, ERR_LIMIT,
			"more than %u sandboxes a second are created",
			quota->config->create_rate);
		err_reason(err, "RATE_LIMITED", NULL);
		if (err)
			err->retry_ms =
				(uint32_t)((1 - quota->tokens) / rate * 1000) +
				1;
		return -1;
	}
	quota->tokens -= 1;
	return 0;
}

static struct tenant *tenant_of(struct quota *quota, const char *name)
{
	struct tenant *t;

	list_for_each(&quota->tenants, it, struct tenant, link)
	{
		if (!strcmp(it->name, name))
			return it;
	}
	t = xcalloc(1, sizeof(*t));
	t->name = xstrdup(name);
	list_add_tail(&quota->tenants, &t->link);
	return t;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void set_maxima(const struct quota *quota, struct quota_use *use)
{
	const struct config *c = quota->config;

	use->sandboxes_max = c->sandboxes_max;
	use->vcpus_max = (uint32_t)(quota->capacity.cpus * c->vcpu_overcommit);
	use->memory_max_mib =
		(uint64_t)((double)minus(quota->capacity.memory_mib,
					 c->memory_reserve_mib) *
			   c->memory_overcommit);
	use->disk_max_mib = (uint64_t)((double)minus(quota->capacity.disk_mib,
						     c->disk_reserve_mib) *
				       c->disk_overcommit);
}

/* What a request adds: places, vCPUs, memory, disk. */
struct demand {
	uint32_t places, vcpus;
	uint64_t memory_mib, disk_mib;
};

struct check {
	const char *what;
	uint64_t held, wanted, max;
};

static int check_node(const struct quota *quota, const struct demand *d,
		      struct error *err)
{
	struct quota_use u = quota->held;

	set_maxima(quota, &u);
	{
		const struct check checks[] = {
			{ "sandboxes", u.sandboxes, d->places,
			  u.sandboxes_max },
			{ "vCPUs", u.vcpus, d->vcpus, u.vcpus_max },
			{ "MiB of memory", u.memory_mib, d->memory_mib,
			  u.memory_max_mib },
			{ "MiB of disk", u.disk_mib, d->disk_mib,
			  u.disk_max_mib },
		};

		for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]);
		     i++) {
			const struct check *c = &checks[i];

			if (!c->wanted || c->held + c->wanted <= c->max)
				continue;
			err_set(err, ERR_LIMIT,
				"the node has %ju of %ju %s in use, %ju more "
				"are not to be had",
				(uintmax_t)c->held, (uintmax_t)c->max, c->what,
				(uintmax_t)c->wanted);
			if (err)
				err->retry_ms = EXHAUSTED_RETRY_MS;
			return err_reason(err, "RESOURCE_EXHAUSTED", NULL);
		}
	}
	return 0;
}

static int check_tenant(struct quota *quota, const char *tenant,
			const struct demand *d, struct error *err)
{
	const struct config_quota *q = config_quota_of(quota->config, tenant);
	const struct quota_use *u = &tenant_of(quota, tenant)->held;
	const struct check checks[] = {
		{ "sandboxes", u->sandboxes, d->places, q->sandboxes_max },
		{ "vCPUs", u->vcpus, d->vcpus, q->vcpus_max },
		{ "MiB of memory", u->memory_mib, d->memory_mib,
		  q->memory_max_mib },
		{ "MiB of disk", u->disk_mib, d->disk_mib, q->disk_max_mib },
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const struct check *c = &checks[i];

		if (!c->max || !c->wanted || c->held + c->wanted <= c->max)
			continue;
		err_set(err, ERR_LIMIT,
			"tenant '%s' has %ju of %ju %s in use, %ju more are "
			"over its quota",
			tenant, (uintmax_t)c->held, (uintmax_t)c->max, c->what,
			(uintmax_t)c->wanted);
		return err_reason(err, "QUOTA_EXCEEDED", "tenant");
	}
	return 0;
}

static void add(struct quota_use *use, const struct demand *d)
{
	use->sandboxes += d->places;
	use->vcpus += d->vcpus;
	use->memory_mib += d->memory_mib;
	use->disk_mib += d->disk_mib;
}

/* What is given back was taken: anything else is a bug worth a core dump. */
static void subtract(struct quota_use *use, const struct demand *d)
{
	assert(use->sandboxes >= d->places && use->vcpus >= d->vcpus);
	assert(use->memory_mib >= d->memory_mib &&
	       use->disk_mib >= d->disk_mib);
	use->sandboxes -= d->places;
	use->vcpus -= d->vcpus;
	use->memory_mib -= d->memory_mib;
	use->disk_mib -= d->disk_mib;
}

static struct demand demand_of(const char *tenant,
			       const struct quota_share *share, bool place,
			       bool running)
{
	struct demand d = { 0 };

	if (place) {
		d.places = tenant ? 1 : 0;
		d.disk_mib = share->disk_mib;
	}
	if (running) {
		d.vcpus = share->cpu;
		d.memory_mib = share->memory_mib;
	}
	return d;
}

static void take(struct quota *quota, const char *tenant,
		 const struct demand *d)
{
	add(&quota->held, d);
	if (tenant)
		add(&tenant_of(quota, tenant)->held, d);
}

static void give_back(struct quota *quota, const char *tenant,
		      const struct demand *d)
{
	subtract(&quota->held, d);
	if (tenant)
		subtract(&tenant_of(quota, tenant)->held, d);
}

static int ask(struct quota *quota, const char *tenant, const struct demand *d,
	       struct error *err)
{
	if (check_node(quota, d, err) < 0 ||
	    (tenant && check_tenant(quota, tenant, d, err) < 0))
		return -1;
	take(quota, tenant, d);
	return 0;
}

int quota_admit(struct quota *quota, const char *tenant,
		const struct quota_share *share, struct error *err)
{
	struct demand d = demand_of(tenant, share, true, true);

	return ask(quota, tenant, &d, err);
}

void quota_pause(struct quota *quota, const char *tenant,
		 const struct quota_share *share)
{
	struct demand d = demand_of(tenant, share, false, true);

	give_back(quota, tenant, &d);
}

int quota_resume(struct quota *quota, const char *tenant,
		 const struct quota_share *share, struct error *err)
{
	struct demand d = demand_of(tenant, share, false, true);

	return ask(quota, tenant, &d, err);
}

void quota_adopt(struct quota *quota, const char *tenant,
		 const struct quota_share *share, bool running)
{
	struct demand d = demand_of(tenant, share, true, running);

	take(quota, tenant, &d);
}

void quota_release(struct quota *quota, const char *tenant,
		   const struct quota_share *share, bool running)
{
	struct demand d = demand_of(tenant, share, true, running);

	give_back(quota, tenant, &d);
}

void quota_use(const struct quota *quota, struct quota_use *ret)
{
	*ret = quota->held;
	set_maxima(quota, ret);
}

int quota_check_disk(const struct quota *quota, const char *state_dir,
		     struct error *err)
{
	struct statvfs fs;
	uint64_t left;

	if (statvfs(state_dir, &fs) < 0)
		return err_sys(err, errno, "measure '%s'", state_dir);
	left = (uint64_t)fs.f_bavail * fs.f_frsize / MIB;
	if (left >= quota->config->disk_reserve_mib)
		return 0;
	err_set(err, ERR_LIMIT,
		"%ju MiB are left on the node's disk, %ju are kept in reserve",
		(uintmax_t)left, (uintmax_t)quota->config->disk_reserve_mib);
	if (err)
		err->retry_ms = EXHAUSTED_RETRY_MS;
	return err_reason(err, "RESOURCE_EXHAUSTED", NULL);
}
