/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the operator's configuration
 *
 * libinih splits the file into (section, key, value); one table row says where
 * a value goes and how it is read. inih stops lines at its own buffer's size
 * without a word, so the reader given to it refuses what is longer.
 */
#include "engine/config.h"
#include "engine/config_value.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

struct key {
	const char *section, *name;
	enum config_type type;
	size_t offset;
	uint64_t min, max;
};

#define AT(member) offsetof(struct config, member)

/* clang-format off */
static const struct key keys[] = {
	{ "node", "id",			T_STRING, AT(node_id), 0, 0 },
	{ "node", "state_dir",		T_PATH,	AT(state_dir), 0, 0 },
	{ "node", "run_dir",		T_PATH,	AT(run_dir), 0, 0 },
	{ "node", "pause_after_reboot",	T_BOOL,	AT(pause_after_reboot), 0, 0 },
	{ "node", "workers",		T_U32,	AT(workers), 1, 256 },
	{ "node", "stop_timeout",	T_DURATION, AT(stop_timeout_ms), 0, 600000 },
	{ "api", "socket",		T_PATH,	AT(socket), 0, 0 },
	{ "api", "listen",		T_STRING, AT(listen), 0, 0 },
	{ "api", "cert",		T_PATH,	AT(cert), 0, 0 },
	{ "api", "key",			T_PATH,	AT(key), 0, 0 },
	{ "api", "ca",			T_PATH,	AT(ca), 0, 0 },
	{ "api", "allowed_identities",	T_LIST,	AT(allowed_identities), 0, 0 },
	{ "api", "allowed_uids",	T_LIST,	AT(allowed_uids), 0, 0 },
	{ "api", "reflection",		T_BOOL,	AT(reflection), 0, 0 },
	{ "api", "connections_max",	T_U32,	AT(connections_max), 1, 65536 },
	{ "api", "streams_max",		T_U32,	AT(streams_max), 1, 65536 },
	{ "api", "user",		T_STRING, AT(front_user), 0, 0 },
	{ "libvirt", "uri",		T_STRING, AT(libvirt_uri), 0, 0 },
	{ "guest", "accelerator",	T_ACCELERATOR, AT(accelerator), 0, 0 },
	{ "guest", "uid_base",		T_U32,	AT(uid_base), 1000, 4000000000u },
	{ "guest", "cid_base",		T_U32,	AT(cid_base), 3, 4000000000u },
	{ "guest", "kernel_dir",	T_PATH,	AT(kernel_dir), 0, 0 },
	{ "guest", "templates",		T_BOOL,	AT(templates), 0, 0 },
	{ "guest", "boot_timeout",	T_DURATION, AT(boot_timeout_ms), 1000, 600000 },
	{ "guest", "agent_timeout",	T_DURATION, AT(agent_timeout_ms), 100, 600000 },
	{ "limits", "sandboxes_max",	T_U32,	AT(sandboxes_max), 1, SLOT_MAX },
	{ "limits", "vcpu_overcommit",	T_RATIO, AT(vcpu_overcommit), 0, 0 },
	{ "limits", "memory_overcommit", T_RATIO, AT(memory_overcommit), 0, 0 },
	{ "limits", "disk_overcommit",	T_RATIO, AT(disk_overcommit), 0, 0 },
	{ "snapshots", "mechanism",	T_MECHANISM, AT(mechanism), 0, 0 },
	{ "limits", "memory_reserve_mib", T_U64, AT(memory_reserve_mib), 0, 1u << 30 },
	{ "limits", "disk_reserve_mib",	T_U64,	AT(disk_reserve_mib), 0, 1u << 30 },
	{ "limits", "create_rate",	T_U32,	AT(create_rate), 1, 100000 },
	{ "limits", "create_burst",	T_U32,	AT(create_burst), 1, 100000 },
	{ "limits", "pressure_pause",	T_BOOL,	AT(pressure_pause), 0, 0 },
	{ "limits", "idle_cpu",		T_U32,	AT(idle_cpu), 1, 100 },
	{ "limits", "disk_mbps",	T_U32,	AT(disk_mbps), 0, 1000000 },
	{ "limits", "disk_iops",	T_U32,	AT(disk_iops), 0, 100000000 },
	{ "limits", "connections_max",	T_U32,	AT(net_limits.connections_max), 0, 1u << 20 },
	{ "limits", "bandwidth_mbps",	T_U32,	AT(net_limits.bandwidth_mbps), 0, 1000000 },
	{ "limits", "packets_per_second", T_U32, AT(net_limits.packets_per_second), 0, 1u << 30 },
	{ "quota", "sandboxes_max",	T_U32,	AT(quota_default.sandboxes_max), 0, UINT32_MAX },
	{ "quota", "vcpus_max",		T_U32,	AT(quota_default.vcpus_max), 0, UINT32_MAX },
	{ "quota", "memory_max_mib",	T_U64,	AT(quota_default.memory_max_mib), 0, 1ull << 40 },
	{ "quota", "disk_max_mib",	T_U64,	AT(quota_default.disk_max_mib), 0, 1ull << 40 },
	{ "pool", "min",		T_U32,	AT(pool_min), 0, 1024 },
	{ "pool", "max",		T_U32,	AT(pool_max), 0, 1024 },
	{ "pool", "keep",		T_DURATION, AT(pool_keep_ms), 1000, 30ull * 86400000 },
	{ "pool", "refill",		T_DURATION, AT(pool_refill_ms), 0, 3600000 },
	{ "pool", "idle",		T_DURATION, AT(pool_idle_ms), 1000, 30ull * 86400000 },
	{ "network", "range",		T_RANGE, AT(range), 0, 0 },
	{ "network", "uplink",		T_STRING, AT(uplink), 0, 0 },
	{ "network", "private_allowed",	T_LIST,	AT(private_allowed), 0, 0 },
	{ "network", "dns_upstreams",	T_LIST,	AT(dns_upstreams), 0, 0 },
	{ "network", "dns_hosts",	T_LIST,	AT(dns_hosts), 0, 0 },
	{ "network", "resolver_user",	T_STRING, AT(resolver_user), 0, 0 },
	{ "network", "splice_user",	T_STRING, AT(splice_user), 0, 0 },
	{ "network", "allow_ech",	T_BOOL,	AT(allow_ech), 0, 0 },
	{ "ports", "address",		T_STRING, AT(ports_address), 0, 0 },
	{ "ports", "range",		T_PORTS, AT(ports_first), 0, 0 },
	{ "ports", "url",		T_STRING, AT(ports_url), 0, 0 },
	{ "ports", "domain",		T_STRING, AT(ports_domain), 0, 0 },
	{ "events", "keep",		T_U64,	AT(events_max), 100, 1ull << 40 },
	{ "events", "age",		T_DURATION, AT(events_age_ms), 60000, 3650ull * 86400000 },
	{ "events", "cost_vcpu_hour",	T_COST,	AT(rates.vcpu_hour), 0, 0 },
	{ "events", "cost_memory_gib_hour", T_COST, AT(rates.memory_gib_hour), 0, 0 },
	{ "events", "cost_disk_gib_hour", T_COST, AT(rates.disk_gib_hour), 0, 0 },
	{ "metrics", "listen",		T_STRING, AT(metrics_listen), 0, 0 },
	{ "metrics", "remote",		T_BOOL,	AT(metrics_remote), 0, 0 },
	{ "metrics", "user",		T_STRING, AT(metrics_user), 0, 0 },
	{ "webhook", "url",		T_STRING, AT(webhook_url), 0, 0 },
	{ "webhook", "secret_file",	T_PATH,	AT(webhook_secret_file), 0, 0 },
	{ "webhook", "ca",		T_PATH,	AT(webhook_ca), 0, 0 },
	{ "webhook", "types",		T_LIST,	AT(webhook_types), 0, 0 },
	{ "webhook", "batch",		T_U32,	AT(webhook_batch), 1, 256 },
	{ "webhook", "timeout",		T_DURATION, AT(webhook_timeout_ms), 100, 300000 },
	{ "webhook", "retry_min",	T_DURATION, AT(webhook_retry_min_ms), 1, 3600000 },
	{ "webhook", "retry_max",	T_DURATION, AT(webhook_retry_max_ms), 1, 3600000 },
	{ "webhook", "user",		T_STRING, AT(webhook_user), 0, 0 },
	{ "paths", "libexec",		T_PATH,	AT(libexec), 0, 0 },
};
/* clang-format on */

#ifndef PKGLIBEXECDIR
#define PKGLIBEXECDIR "/usr/libexec/sandboxd"
#endif

/* What reading one file carries along. */
struct reading {
	struct config *config;
	FILE *file;
	const char *text; /* instead of file */
	bool too_long;
	bool failed; /* err is of the first bad line */
	struct error err;
};

static int set_key(void *base, const struct key *key, const char *value,
		   struct error *err)
{
	return config_value_set((char *)base + key->offset, key->type, key->min,
				key->max, value, err);
}

/* [quota.TENANT]: the keys of [quota], into a record of its own. */
static int set_quota(struct config *config, const char *tenant,
		     const char *name, const char *value, struct error *err)
{
	struct config_quota *quota = NULL;

	if (!str_is_name(tenant, 64, "A-Za-z0-9._-"))
		return err_set(err, ERR_INVALID, "'%.64s' is no tenant's name",
			       tenant);
	for (size_t i = 0; i < config->n_quotas; i++)
		if (!strcmp(config->quotas[i].tenant, tenant))
			quota = &config->quotas[i];
	if (!quota) {
		if (config->n_quotas == CONFIG_LIST_MAX)
			return err_set(err, ERR_INVALID, "more than %d tenants",
				       CONFIG_LIST_MAX);
		config->quotas = xrealloc(config->quotas, config->n_quotas + 1,
					  sizeof(*config->quotas));
		quota = &config->quotas[config->n_quotas++];
		*quota = (struct config_quota){ .tenant = xstrdup(tenant) };
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct key key = keys[i];

		if (strcmp(key.section, "quota") || strcmp(key.name, name))
			continue;
		key.offset -= offsetof(struct config, quota_default);
		return set_key(quota, &key, value, err);
	}
	return err_set(err, ERR_INVALID, "unknown key '%.64s' in [quota.%.64s]",
		       name, tenant);
}

static int set_any(struct config *config, const char *section, const char *name,
		   const char *value, struct error *err)
{
	bool section_known = false;

	if (!strcmp(section, "images"))
		return config_pairs_set(&config->images, name, value, err);
	if (!strcmp(section, "templates"))
		return config_pairs_set(&config->templates_alias, name, value, err);
	if (!strcmp(section, "node") && !strncmp(name, "label.", 6))
		return config_pairs_set(&config->labels, name + 6, value, err);
	if (!strncmp(section, "quota.", 6))
		return set_quota(config, section + 6, name, value, err);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].section, section) != 0)
			continue;
		section_known = true;
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (set_key(config, &keys[i], value, err) < 0)
			return err_wrap(err, "%s", name);
		return 0;
	}
	if (!section_known)
		return err_set(err, ERR_INVALID, "unknown section [%.64s]",
			       section);
	return err_set(err, ERR_INVALID, "unknown key '%.64s' in [%s]", name,
		       section);
}

static int on_setting(void *arg, const char *section, const char *name,
		      const char *value)
{
	struct reading *reading = arg;

	if (reading->failed)
		return 0;
	if (set_any(reading->config, section, name, value ? value : "",
		    &reading->err) == 0)
		return 1;
	reading->failed = true;
	return 0;
}

/* inih's fgets: also tells when a line did not fit. */
static char *read_line(char *line, int size, void *arg)
{
	struct reading *reading = arg;
	size_t len = 0;
	int c = 0;

	while (len + 1 < (size_t)size) {
		if (reading->text)
			c = *reading->text ? (unsigned char)*reading->text++
					   : EOF;
		else
			c = getc(reading->file);
		if (c == EOF || c == '\0')
			break;
		line[len++] = (char)c;
		if (c == '\n')
			break;
	}
	if (len + 1 == (size_t)size && c != '\n') {
		reading->too_long = true;
		return NULL;
	}
	line[len] = '\0';
	return len ? line : NULL;
}

static int read_one(struct config *config, const char *path, FILE *file,
		    const char *text, struct error *err)
{
	struct reading reading = { .config = config,
				   .file = file,
				   .text = text };
	int line = ini_parse_stream(read_line, &reading, on_setting, &reading);

	if (reading.too_long)
		return err_set(err, ERR_INVALID, "%s: a line is too long",
			       path);
	if (line == 0)
		return 0;
	if (line < 0)
		return err_set(err, ERR_INTERNAL, "read '%s'", path);
	if (!reading.failed)
		return err_set(err, ERR_INVALID,
			       "%s:%d: neither [section] nor key = value", path,
			       line);
	*err = reading.err;
	return err_wrap(err, "%s:%d", path, line);
}

static struct config *config_new(void)
{
	struct config *config = xcalloc(1, sizeof(*config));

	*config = (struct config){
		.state_dir = xstrdup("/var/lib/sandboxd"),
		.run_dir = xstrdup("/run/sandboxd"),
		.pause_after_reboot = true,
		.workers = 8,
		.stop_timeout_ms = 20000,
		.reflection = true,
		.connections_max = 256,
		.streams_max = 1024,
		.front_user = xstrdup("sandboxd"),
		.libvirt_uri = xstrdup("qemu:///system"),
		.accelerator = CONFIG_ACCEL_KVM,
		.uid_base = 30000,
		.cid_base = 30000,
		.templates = true,
		.boot_timeout_ms = 60000,
		.agent_timeout_ms = 10000,
		.sandboxes_max = 1000,
		.vcpu_overcommit = 16,
		.memory_overcommit = 2,
		.disk_overcommit = 4,
		.memory_reserve_mib = 1024,
		.disk_reserve_mib = 2048,
		.idle_cpu = 5,
		.create_rate = 50,
		.create_burst = 100,
		.net_limits = { .connections_max = 4096 },
		.pool_min = 1,
		.pool_keep_ms = 300000,
		.pool_refill_ms = 200,
		.pool_idle_ms = 3600000,
		.range = 0x0a640000, /* 10.100.0.0/16 */
		.range_mask = 0xffff0000,
		.resolver_user = xstrdup("sandboxd"),
		.splice_user = xstrdup("sandboxd-splice"),
		.ports_address = xstrdup("127.0.0.1"),
		.ports_first = 20000,
		.ports_last = 29999,
		.ports_url = xstrdup("http://{address}:{host_port}"),
		.ports_domain = xstrdup("localhost"),
		.events_max = 100000,
		.events_age_ms = 7ull * 86400000,
		.metrics_user = xstrdup("sandboxd"),
		.webhook_batch = 64,
		.webhook_timeout_ms = 10000,
		.webhook_retry_min_ms = 1000,
		.webhook_retry_max_ms = 60000,
		.webhook_user = xstrdup("sandboxd"),
		.libexec = xstrdup(PKGLIBEXECDIR),
	};
	return config;
}

/* Bodies tell who does what: over TLS, or to this host. */
static int check_webhook(const struct config *config, struct error *err)
{
	static const char *const here[] = { "http://127.0.0.1",
					    "http://localhost",
					    "http://[::1]" };
	const char *url = config->webhook_url;
	bool ok = !strncmp(url, "https://", 8);

	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		size_t len = strlen(here[i]);

		ok |= !strncmp(url, here[i], len) &&
		      (!url[len] || strchr(":/", url[len]));
	}
	if (!ok)
		return err_set(err, ERR_INVALID,
			       "[webhook] url: must be https://, or http:// "
			       "to this host");
	if (!config->webhook_secret_file)
		return err_set(err, ERR_INVALID,
			       "[webhook] url: needs secret_file");
	return 0;
}

/* What only holds of all keys together. */
static int check_whole(const struct config *config, struct error *err)
{
	struct in_addr in;

	if (!config->state_dir || !config->run_dir || !config->libexec)
		return err_set(
			err, ERR_INVALID,
			"state_dir, run_dir, libexec: must not be empty");
	if (!config->libvirt_uri)
		return err_set(err, ERR_INVALID, "[libvirt] uri: is empty");
	if (config->listen && (!config->cert || !config->key || !config->ca))
		return err_set(err, ERR_INVALID,
			       "[api] listen: needs cert, key and ca");
	if (!config->ports_address ||
	    inet_pton(AF_INET, config->ports_address, &in) != 1)
		return err_set(err, ERR_INVALID,
			       "[ports] address: is no IPv4 address");
	if (!config->ports_url)
		return err_set(err, ERR_INVALID, "[ports] url: is empty");
	if (config->webhook_url && check_webhook(config, err) < 0)
		return -1;
	if (config->pool_max && config->pool_max < config->pool_min)
		return err_set(err, ERR_INVALID,
			       "[pool] max: is less than min");
	if (config->vcpu_overcommit <= 0 || config->memory_overcommit <= 0 ||
	    config->disk_overcommit <= 0)
		return err_set(err, ERR_INVALID,
			       "[limits] *_overcommit: must be over 0");
	for (size_t i = 0; i < config->private_allowed.n; i++) {
		struct net_rule rule;

		if (net_rule_parse(config->private_allowed.v[i], &rule, err) <
		    0)
			return err_wrap(err, "[network] private_allowed");
		if (rule.is_name)
			return err_set(err, ERR_INVALID,
				       "[network] private_allowed: '%s' is no "
				       "network",
				       config->private_allowed.v[i]);
	}
	for (size_t i = 0; i < config->allowed_uids.n; i++) {
		uint64_t uid;

		if (str_parse_u64(config->allowed_uids.v[i], UINT32_MAX, &uid) <
		    0)
			return err_set(err, ERR_INVALID,
				       "[api] allowed_uids: '%.64s' is no uid",
				       config->allowed_uids.v[i]);
	}
	return 0;
}

static int is_conf(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 &&
	       !strcmp(entry->d_name + len - 5, ".conf");
}

static int read_dir(struct config *config, const char *path, struct error *err)
{
	_cleanup_free_ char *dir = xasprintf("%s.d", path);
	struct dirent **names;
	int n = scandir(dir, &names, is_conf, alphasort);
	int r = 0;

	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *name =
			xasprintf("%s/%s", dir, names[i]->d_name);
		_cleanup_fclose_ FILE *file = r == 0 ? fopen(name, "re") : NULL;

		if (r == 0 && !file)
			r = err_sys(err, errno, "open '%s'", name);
		else if (r == 0)
			r = read_one(config, name, file, NULL, err);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return r;
}

int config_load(const char *path, bool optional, struct config **ret,
		struct error *err)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	struct config *config;
	int r = 0;

	if (!file && !(optional && errno == ENOENT))
		return err_sys(err, errno, "open '%s'", path);
	config = config_new();
	if (file)
		r = read_one(config, path, file, NULL, err);
	if (r == 0)
		r = read_dir(config, path, err);
	if (r == 0 && check_whole(config, err) < 0)
		r = err_wrap(err, "%s", path);
	if (r < 0) {
		config_free(config);
		return -1;
	}
	*ret = config;
	return 0;
}

int config_parse(const char *path, const char *text, struct config **ret,
		 struct error *err)
{
	struct config *config = config_new();

	if (read_one(config, path, NULL, text, err) < 0 ||
	    check_whole(config, err) < 0) {
		config_free(config);
		return -1;
	}
	*ret = config;
	return 0;
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		void *at = (char *)config + keys[i].offset;

		if (keys[i].type == T_STRING || keys[i].type == T_PATH)
			free(*(char **)at);
		else if (keys[i].type == T_LIST)
			config_strv_clear(at);
	}
	config_pairs_clear(&config->labels);
	config_pairs_clear(&config->images);
	config_pairs_clear(&config->templates_alias);
	for (size_t i = 0; i < config->n_quotas; i++)
		free(config->quotas[i].tenant);
	free(config->quotas);
	free(config);
	return NULL;
}

#define SWAP(a, b)                                                             \
	do {                                                                   \
		__typeof__(a) swap_ = (a);                                     \
		(a) = (b);                                                     \
		(b) = swap_;                                                   \
	} while (0)

static bool strv_same(const struct strv *a, const struct strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	return true;
}

static bool value_same(enum config_type type, const void *a, const void *b)
{
	const char *s, *t;

	switch (type) {
	case T_STRING:
	case T_PATH:
		s = *(char *const *)a;
		t = *(char *const *)b;
		return !strcmp(s ? s : "", t ? t : "");
	case T_LIST:
		return strv_same(a, b);
	case T_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case T_U64:
	case T_DURATION:
	case T_RATIO:
	case T_COST:
	case T_RANGE:
		return !memcmp(a, b, 8);
	case T_PORTS:
		return !memcmp(a, b, 2 * sizeof(uint16_t));
	case T_U32:
	case T_ACCELERATOR:
	case T_MECHANISM:
		return !memcmp(a, b, sizeof(uint32_t));
	}
	return true;
}

/* Has it another value than @old, not by text but by what is stored? */
static bool was_swapped(const struct key *key, const struct config *old,
			const struct config *now)
{
	size_t size = key->type == T_BOOL ? sizeof(bool) : sizeof(uint32_t);

	if (key->type == T_STRING || key->type == T_PATH ||
	    key->type == T_LIST || key->type == T_U64 ||
	    key->type == T_DURATION || key->type == T_RATIO ||
	    key->type == T_COST)
		size = 8;
	return memcmp((const char *)old + key->offset,
		      (const char *)now + key->offset, size) != 0;
}

/* A key that may change has been swapped, or is the same in both. */
static void tell_later(const struct config *old, const struct config *now,
		       const struct config *fresh, char *later, size_t size)
{
	size_t at = 0;

	later[0] = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const struct key *k = &keys[i];

		if (was_swapped(k, old, now) ||
		    value_same(k->type, (const char *)now + k->offset,
			       (const char *)fresh + k->offset))
			continue;
		at += (size_t)snprintf(later + at, size - at, "%s%s.%s",
				       at ? " " : "", k->section, k->name);
		if (at >= size)
			return;
	}
}

void config_reload(struct config *config, struct config *fresh, char *later,
		   size_t size)
{
	const struct config old = *config;

	SWAP(config->cert, fresh->cert);
	SWAP(config->key, fresh->key);
	SWAP(config->ca, fresh->ca);
	SWAP(config->allowed_identities, fresh->allowed_identities);
	SWAP(config->allowed_uids, fresh->allowed_uids);
	SWAP(config->reflection, fresh->reflection);
	SWAP(config->labels, fresh->labels);
	SWAP(config->sandboxes_max, fresh->sandboxes_max);
	SWAP(config->vcpu_overcommit, fresh->vcpu_overcommit);
	SWAP(config->memory_overcommit, fresh->memory_overcommit);
	SWAP(config->disk_overcommit, fresh->disk_overcommit);
	SWAP(config->memory_reserve_mib, fresh->memory_reserve_mib);
	SWAP(config->disk_reserve_mib, fresh->disk_reserve_mib);
	SWAP(config->create_rate, fresh->create_rate);
	SWAP(config->create_burst, fresh->create_burst);
	SWAP(config->idle_cpu, fresh->idle_cpu);
	SWAP(config->pressure_pause, fresh->pressure_pause);
	SWAP(config->quota_default, fresh->quota_default);
	SWAP(config->quotas, fresh->quotas);
	SWAP(config->n_quotas, fresh->n_quotas);
	SWAP(config->pool_min, fresh->pool_min);
	SWAP(config->pool_max, fresh->pool_max);
	SWAP(config->pool_keep_ms, fresh->pool_keep_ms);
	SWAP(config->pool_refill_ms, fresh->pool_refill_ms);
	SWAP(config->pool_idle_ms, fresh->pool_idle_ms);
	SWAP(config->ports_url, fresh->ports_url);
	SWAP(config->ports_domain, fresh->ports_domain);
	SWAP(config->images, fresh->images);
	SWAP(config->templates_alias, fresh->templates_alias);
	SWAP(config->events_max, fresh->events_max);
	SWAP(config->events_age_ms, fresh->events_age_ms);
	SWAP(config->rates, fresh->rates);
	SWAP(config->webhook_url, fresh->webhook_url);
	SWAP(config->webhook_secret_file, fresh->webhook_secret_file);
	SWAP(config->webhook_ca, fresh->webhook_ca);
	SWAP(config->webhook_types, fresh->webhook_types);
	SWAP(config->webhook_batch, fresh->webhook_batch);
	SWAP(config->webhook_timeout_ms, fresh->webhook_timeout_ms);
	SWAP(config->webhook_retry_min_ms, fresh->webhook_retry_min_ms);
	SWAP(config->webhook_retry_max_ms, fresh->webhook_retry_max_ms);
	tell_later(&old, config, fresh, later, size);
	config_free(fresh);
}

const char *config_pair_get(const struct config_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (!strcmp(pairs->v[i].key, key))
			return pairs->v[i].value;
	return NULL;
}

const struct config_quota *config_quota_of(const struct config *config,
					   const char *tenant)
{
	for (size_t i = 0; i < config->n_quotas; i++)
		if (!strcmp(config->quotas[i].tenant, tenant))
			return &config->quotas[i];
	return &config->quota_default;
}
