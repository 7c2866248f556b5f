/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the operator's configuration
 *
 * One file and the *.conf files of the directory beside it ("<file>.d"), in
 * name order; later settings win, lists are cleared by an empty value. A
 * section or key that is not known is an error, with file and line: a typo in a
 * limit must not pass. sandboxd.conf(5) is the reference.
 */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "engine/net.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define CONFIG_DEFAULT_PATH "/etc/sandboxd/sandboxd.conf"
#define CONFIG_LIST_MAX	    256

/* A list of strings, owned. */
struct strv {
	char **v;
	size_t n;
};

/* Name and value, owned: an alias, a label. */
struct config_pair {
	char *key, *value;
};

struct config_pairs {
	struct config_pair *v;
	size_t n;
};

enum config_accelerator {
	CONFIG_ACCEL_KVM = 0,
	CONFIG_ACCEL_TCG,
	CONFIG_ACCEL_AUTO,
};

enum config_mechanism {
	CONFIG_MECHANISM_AUTO = 0,
	CONFIG_MECHANISM_CLONE,
	CONFIG_MECHANISM_LIBVIRT,
};

/* What a tenant may hold; 0: no limit. */
struct config_quota {
	char *tenant; /* NULL: of those without a section of their own */
	uint32_t sandboxes_max;
	uint32_t vcpus_max;
	uint64_t memory_max_mib;
	uint64_t disk_max_mib;
};

/* What running costs, in the operator's currency. */
struct config_rates {
	double vcpu_hour, memory_gib_hour, disk_gib_hour;
};

/**
 * struct config - All of it, checked
 *
 * Immutable once loaded, but for config_reload().
 */
struct config {
	/* [node] */
	char *node_id; /* NULL: one is made and kept in the database */
	struct config_pairs labels;
	char *state_dir, *run_dir;
	bool pause_after_reboot; /* else a sandbox with a snapshot ends too */
	uint32_t workers;
	uint64_t stop_timeout_ms;
	/* [api] */
	char *socket; /* NULL: <run_dir>/node.sock */
	char *listen; /* "address:port"; NULL: no TCP */
	char *cert, *key, *ca;
	struct strv allowed_identities;
	struct strv allowed_uids;
	bool reflection;
	uint32_t connections_max, streams_max;
	char *front_user;
	/* [libvirt] */
	char *libvirt_uri;
	/* [guest] */
	enum config_accelerator accelerator;
	uint32_t uid_base, cid_base;
	char *kernel_dir; /* NULL: <state_dir>/kernel */
	bool templates;
	uint64_t boot_timeout_ms, agent_timeout_ms;
	/* [limits] */
	uint32_t sandboxes_max;
	double vcpu_overcommit, memory_overcommit, disk_overcommit;
	uint64_t memory_reserve_mib, disk_reserve_mib;
	uint32_t create_rate, create_burst; /* a second; tokens */
	bool pressure_pause; /* idle ones, when memory is short */
	uint32_t idle_cpu; /* percent of one CPU that is still idle */
	uint32_t disk_mbps, disk_iops; /* of one guest */
	struct net_limits net_limits;
	/* [quota], [quota.TENANT] */
	struct config_quota quota_default;
	struct config_quota *quotas;
	size_t n_quotas;
	/* [pool]; min and max for one template, max 0: as min */
	uint32_t pool_min, pool_max;
	uint64_t pool_keep_ms, pool_refill_ms, pool_idle_ms;
	/* [snapshots] */
	enum config_mechanism mechanism;
	/* [network] */
	uint32_t range, range_mask;
	char *uplink;
	struct strv private_allowed;
	struct strv dns_upstreams, dns_hosts;
	char *resolver_user, *splice_user;
	bool allow_ech;
	/* [ports] */
	char *ports_address;
	uint16_t ports_first, ports_last;
	char *ports_url; /* {port} {id} {address} {host_port} {domain} */
	char *ports_domain;
	/* [images], [templates]: alias to image name */
	struct config_pairs images, templates_alias;
	/* [events] */
	uint64_t events_max, events_age_ms;
	struct config_rates rates;
	/* [metrics] */
	char *metrics_listen; /* "address:port"; NULL: nobody may ask */
	bool metrics_remote;  /* also on an address that others reach */
	char *metrics_user;
	/* [webhook] */
	char *webhook_url; /* NULL: events are posted nowhere */
	char *webhook_secret_file, *webhook_ca;
	struct strv webhook_types; /* prefixes; none: all */
	uint32_t webhook_batch;
	uint64_t webhook_timeout_ms, webhook_retry_min_ms, webhook_retry_max_ms;
	char *webhook_user;
	/* [paths] */
	char *libexec;
};

/**
 * config_load() - Read and check a configuration
 * @path:	The main file; one that is not there is an error unless
 *		@optional
 *
 * Return: 0, or -1 with "FILE:LINE: what" in *@err
 */
int config_load(const char *path, bool optional, struct config **ret,
		struct error *err);

/* As config_load(), of text in memory under the name @path: no directory. */
int config_parse(const char *path, const char *text, struct config **ret,
		 struct error *err);

struct config *config_free(struct config *config);

/* Take over from @fresh (consumed) what may change while the node runs:
 * certificates, who may call, limits, quotas, aliases, rates, retention, pools,
 * the webhook.
 * @later: the other keys that @fresh has another value for, "SECTION.KEY ..";
 *	   they need a start. Cut off when there are too many
 */
void config_reload(struct config *config, struct config *fresh, char *later,
		   size_t size);

/* NULL when there is none. Borrowed. */
const char *config_pair_get(const struct config_pairs *pairs, const char *key);

/* The quota that holds for @tenant ("" included). Never NULL. */
const struct config_quota *config_quota_of(const struct config *config,
					   const char *tenant);

#endif /* ENGINE_CONFIG_H */
