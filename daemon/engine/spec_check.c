/* SPDX-License-Identifier: Apache-2.0 */
/* spec_check.c - is what a client asks for within the contract */
#include "engine/spec_check.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image.h"

#include <stdio.h>
#include <string.h>

bool spec_is_sandbox_id(const char *id)
{
	return str_is_name(id, 63, "a-z0-9_-") && id[0] != '_' && id[0] != '-';
}

bool spec_is_request_id(const char *id)
{
	return str_is_name(id, 64, "A-Za-z0-9._-");
}

bool spec_is_label(const char *s)
{
	return str_is_name(s, 64, "A-Za-z0-9._-");
}

static bool is_image_name(const char *s)
{
	return str_is_name(s, IMAGE_NAME_MAX, "a-z0-9._/:-") &&
	       str_is_name((char[2]){ s[0] }, 1, "a-z0-9");
}

static int check_resources(Spec *spec, struct error *err)
{
	Sandbox__Node__V1__Resources *r = spec->resources;

	if (!r) {
		r = spec->resources = xcalloc(1, sizeof(*r));
		sandbox__node__v1__resources__init(r);
	}
	if (r->cpu == 0)
		r->cpu = 2;
	if (r->memory_mib == 0)
		r->memory_mib = 4096;
	if (r->disk_mib == 0)
		r->disk_mib = SPEC_DISK_DEFAULT_MIB;
	if (r->cpu != 2 && r->cpu != 4 && r->cpu != 8)
		return err_field(err, "resources.cpu",
				 "is %u; allowed are 2, 4 and 8", r->cpu);
	if (r->memory_mib < 2048 || r->memory_mib > 16384)
		return err_field(err, "resources.memory_mib",
				 "is %u; allowed are 2048 to 16384",
				 r->memory_mib);
	if (r->disk_mib < SPEC_DISK_MIN_MIB || r->disk_mib > SPEC_DISK_MAX_MIB)
		return err_field(err, "resources.disk_mib",
				 "is %u; allowed are 5120 to 51200",
				 r->disk_mib);
	return 0;
}

static int check_env(const Spec *spec, struct error *err)
{
	size_t bytes = 0;
	char shown[64];

	if (spec->n_env > SPEC_ENV_MAX)
		return err_field(err, "env", "has %zu entries; at most %d",
				 spec->n_env, SPEC_ENV_MAX);
	for (size_t i = 0; i < spec->n_env; i++) {
		const char *key = spec->env[i]->key;

		str_escape(shown, sizeof(shown), key, strlen(key));
		if (!str_is_name(key, 128, "A-Za-z0-9_") ||
		    (key[0] >= '0' && key[0] <= '9'))
			return err_field(err, "env",
					 "name '%s' is not "
					 "[A-Za-z_][A-Za-z0-9_]* of at most "
					 "128 bytes",
					 shown);
		bytes += strlen(key) + strlen(spec->env[i]->value) + 2;
	}
	if (bytes > SPEC_ENV_BYTES)
		return err_field(err, "env", "has %zu bytes; at most %d", bytes,
				 SPEC_ENV_BYTES);
	return 0;
}

/* Characters, not bytes, as the contract says; -1: not UTF-8. */
static long utf8_len(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	long n = 0;

	while (*p) {
		int more = *p < 0x80		      ? 0
			   : *p >= 0xc2 && *p <= 0xdf ? 1
			   : *p >= 0xe0 && *p <= 0xef ? 2
			   : *p >= 0xf0 && *p <= 0xf4 ? 3
						      : -1;

		if (more < 0)
			return -1;
		p++;
		for (; more > 0; more--, p++)
			if ((*p & 0xc0) != 0x80)
				return -1;
		n++;
	}
	return n;
}

static int check_metadata(const Spec *spec, struct error *err)
{
	if (spec->n_metadata > SPEC_METADATA_MAX)
		return err_field(err, "metadata", "has %zu keys; at most %d",
				 spec->n_metadata, SPEC_METADATA_MAX);
	for (size_t i = 0; i < spec->n_metadata; i++) {
		long key = utf8_len(spec->metadata[i]->key);
		long value = utf8_len(spec->metadata[i]->value);

		if (key < 1 || key > 128)
			return err_field(err, "metadata",
					 "a key is not 1 to 128 characters");
		if (value < 0 || value > 256)
			return err_field(err, "metadata",
					 "a value is over 256 characters");
	}
	return 0;
}

static int check_duration(const char *field, uint32_t value, struct error *err)
{
	if (value >= SPEC_TIMEOUT_MIN && value <= SPEC_TIMEOUT_MAX)
		return 0;
	return err_field(err, field, "is %u; allowed are %u to %u", value,
			 SPEC_TIMEOUT_MIN, SPEC_TIMEOUT_MAX);
}

static int check_limits(const PbLimits *l, struct error *err)
{
	if (!l)
		return 0;
	if (l->connections_max > 1u << 20)
		return err_field(err, "network_limits.connections_max",
				 "is %u; at most %u", l->connections_max,
				 1u << 20);
	if (l->bandwidth_mbps > 1000000)
		return err_field(err, "network_limits.bandwidth_mbps",
				 "is %u; at most 1000000", l->bandwidth_mbps);
	if (l->packets_per_second > 1u << 30)
		return err_field(err, "network_limits.packets_per_second",
				 "is %u; at most %u", l->packets_per_second,
				 1u << 30);
	return 0;
}

static int rule_ports(const PbRule *rule, const char *field,
		      struct net_rule *ret, struct error *err)
{
	char name[ERR_FIELD_MAX];

	snprintf(name, sizeof(name), "%.64s.ports", field);
	if (rule->n_ports > NET_RULE_PORTS_MAX)
		return err_field(err, name, "has %zu ranges; at most %d",
				 rule->n_ports, NET_RULE_PORTS_MAX);
	for (size_t i = 0; i < rule->n_ports; i++) {
		uint32_t first = rule->ports[i]->first;
		uint32_t last =
			rule->ports[i]->last ? rule->ports[i]->last : first;

		if (first < 1 || last > 65535 || first > last)
			return err_field(err, name,
					 "%u-%u is no range of 1 to 65535",
					 first, last);
		ret->ports[ret->n_ports++] =
			(struct net_ports){ (uint16_t)first, (uint16_t)last };
	}
	if (ret->n_ports == 0 && ret->is_name) {
		ret->n_ports = 2;
		ret->ports[0] = (struct net_ports){ 80, 80 };
		ret->ports[1] = (struct net_ports){ 443, 443 };
	}
	return 0;
}

static int one_rule(const PbRule *rule, const char *field, struct net_rule *ret,
		    struct error *err)
{
	char name[ERR_FIELD_MAX];

	snprintf(name, sizeof(name), "%.64s.target", field);
	if (net_rule_parse(rule->target, ret, err) < 0) {
		if (err)
			err->code = ERR_INVALID;
		return err_reason(err, "INVALID_CONFIG", name);
	}
	switch (rule->protocol) {
	case SANDBOX__NODE__V1__PROTOCOL__PROTOCOL_UNSPECIFIED:
	case SANDBOX__NODE__V1__PROTOCOL__PROTOCOL_TCP:
		ret->protocol = NET_TCP;
		break;
	case SANDBOX__NODE__V1__PROTOCOL__PROTOCOL_UDP:
		ret->protocol = NET_UDP;
		break;
	case SANDBOX__NODE__V1__PROTOCOL__PROTOCOL_ANY:
		ret->protocol = NET_ANY;
		break;
	default:
		snprintf(name, sizeof(name), "%.64s.protocol", field);
		return err_field(err, name, "is %d; allowed are TCP, UDP, ANY",
				 (int)rule->protocol);
	}
	if (rule->verify_names)
		ret->verify_names = rule->verify_names->value;
	if (ret->verify_names && !ret->is_name) {
		snprintf(name, sizeof(name), "%.64s.verify_names", field);
		return err_field(err, name, "is for names, not for '%.64s'",
				 rule->target);
	}
	return rule_ports(rule, field, ret, err);
}

static int rules(PbRule *const *from, size_t n, const char *field,
		 struct net_rule **ret, size_t *ret_n, struct error *err)
{
	char name[ERR_FIELD_MAX];

	if (n > NET_RULES_MAX)
		return err_field(err, field, "has %zu rules; at most %d", n,
				 NET_RULES_MAX);
	*ret = n ? xcalloc(n, sizeof(**ret)) : NULL;
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s[%zu]", field, i);
		if (one_rule(from[i], name, &(*ret)[i], err) < 0)
			return -1;
	}
	return 0;
}

int spec_policy(const PbEgress *egress, struct net_policy *ret,
		struct error *err)
{
	struct net_policy policy = { .default_allow = true };

	if (!egress) {
		*ret = policy;
		return 0;
	}
	switch (egress->default_action) {
	case SANDBOX__NODE__V1__EGRESS_DEFAULT__EGRESS_DEFAULT_UNSPECIFIED:
	case SANDBOX__NODE__V1__EGRESS_DEFAULT__EGRESS_DEFAULT_ALLOW:
		break;
	case SANDBOX__NODE__V1__EGRESS_DEFAULT__EGRESS_DEFAULT_DENY:
		policy.default_allow = false;
		break;
	default:
		return err_field(err, "egress.default_action",
				 "is %d; allowed are ALLOW and DENY",
				 (int)egress->default_action);
	}
	if (rules(egress->allow, egress->n_allow, "egress.allow", &policy.allow,
		  &policy.n_allow, err) < 0 ||
	    rules(egress->deny, egress->n_deny, "egress.deny", &policy.deny,
		  &policy.n_deny, err) < 0) {
		net_policy_fini(&policy);
		return -1;
	}
	*ret = policy;
	return 0;
}

static int check_egress(const PbEgress *egress, struct error *err)
{
	struct net_policy policy;

	if (spec_policy(egress, &policy, err) < 0)
		return -1;
	net_policy_fini(&policy);
	return 0;
}

struct net_limits spec_limits(const PbLimits *limits,
			      const struct net_limits *defaults)
{
	struct net_limits ret = *defaults;

	if (limits && limits->connections_max)
		ret.connections_max = limits->connections_max;
	if (limits && limits->bandwidth_mbps)
		ret.bandwidth_mbps = limits->bandwidth_mbps;
	if (limits && limits->packets_per_second)
		ret.packets_per_second = limits->packets_per_second;
	return ret;
}

static int check_ports(const Spec *spec, struct error *err)
{
	if (spec->n_allow_ports > SPEC_PORTS_MAX)
		return err_field(err, "allow_ports",
				 "has %zu ports; at most %d",
				 spec->n_allow_ports, SPEC_PORTS_MAX);
	for (size_t i = 0; i < spec->n_allow_ports; i++)
		if (spec->allow_ports[i] < 1 || spec->allow_ports[i] > 65535)
			return err_field(err, "allow_ports",
					 "%u is not 1 to 65535",
					 spec->allow_ports[i]);
	return 0;
}

static int check_workdir(const char *workdir, struct error *err)
{
	if (str_empty(workdir))
		return 0;
	if (workdir[0] != '/' || strlen(workdir) > 1024)
		return err_field(err, "workdir",
				 "is not an absolute path of at most 1024 "
				 "bytes");
	return 0;
}

static int check_names(const Spec *spec, struct error *err)
{
	if (!str_empty(spec->request_id) &&
	    !spec_is_request_id(spec->request_id))
		return err_field(err, "request_id",
				 "is not 1-64 characters of [A-Za-z0-9._-]");
	if (!str_empty(spec->sandbox_id) &&
	    !spec_is_sandbox_id(spec->sandbox_id))
		return err_field(err, "sandbox_id",
				 "is not 1-63 characters of [a-z0-9_-] that "
				 "begin with a letter or digit");
	if (!str_empty(spec->tenant) && !spec_is_label(spec->tenant))
		return err_field(err, "tenant",
				 "is not 0-64 characters of [A-Za-z0-9._-]");
	if (str_empty(spec->image) && str_empty(spec->template_))
		return err_field(err, "image", "is required");
	if (!str_empty(spec->image) && !str_empty(spec->template_))
		return err_field(err, "template",
				 "cannot be given together with image");
	if (!str_empty(spec->image) && !is_image_name(spec->image))
		return err_field(err, "image",
				 "is not 1-128 characters, [a-z0-9] then "
				 "[a-z0-9._/:-]");
	if (!str_empty(spec->template_) && !spec_is_label(spec->template_))
		return err_field(err, "template",
				 "is not 1-64 characters of [A-Za-z0-9._-]");
	return 0;
}

int spec_check_create(Spec *spec, struct error *err)
{
	if (spec->timeout_ms == 0)
		spec->timeout_ms = 300000;
	if (spec->idle_timeout_ms == 0)
		spec->idle_timeout_ms = 120000;
	if (check_names(spec, err) < 0 || check_resources(spec, err) < 0 ||
	    check_env(spec, err) < 0 || check_metadata(spec, err) < 0 ||
	    check_workdir(spec->workdir, err) < 0 ||
	    check_duration("timeout_ms", spec->timeout_ms, err) < 0 ||
	    check_duration("idle_timeout_ms", spec->idle_timeout_ms, err) < 0 ||
	    check_egress(spec->egress, err) < 0 ||
	    check_limits(spec->network_limits, err) < 0)
		return -1;
	return check_ports(spec, err);
}

int spec_check_update(const PbUpdate *update, struct error *err)
{
	if (update->timeout_ms &&
	    check_duration("timeout_ms", update->timeout_ms->value, err) < 0)
		return -1;
	if (update->idle_timeout_ms &&
	    check_duration("idle_timeout_ms", update->idle_timeout_ms->value,
			   err) < 0)
		return -1;
	if (check_egress(update->egress, err) < 0)
		return -1;
	return check_limits(update->network_limits, err);
}

static void set_string(char **at, const char *value)
{
	if (*at != (char *)protobuf_c_empty_string)
		free(*at);
	*at = xstrdup(value);
}

static bool has_env(const Spec *spec, const char *name, size_t len)
{
	for (size_t i = 0; i < spec->n_env; i++)
		if (strlen(spec->env[i]->key) == len &&
		    !memcmp(spec->env[i]->key, name, len))
			return true;
	return false;
}

static void add_env(Spec *spec, const char *entry)
{
	const char *eq = strchr(entry, '=');
	SpecEnv *env;

	if (!eq || eq == entry || has_env(spec, entry, (size_t)(eq - entry)))
		return;
	env = xcalloc(1, sizeof(*env));
	sandbox__node__v1__create_sandbox_request__env_entry__init(env);
	env->key = xasprintf("%.*s", (int)(eq - entry), entry);
	env->value = xstrdup(eq + 1);
	spec->env = xrealloc(spec->env, spec->n_env + 1, sizeof(*spec->env));
	spec->env[spec->n_env++] = env;
}

int spec_complete(Spec *spec, const struct image *image, struct error *err)
{
	uint64_t disk = (uint64_t)spec->resources->disk_mib << 20;

	if (disk < image->size_bytes)
		return err_field(err, "resources.disk_mib",
				 "is %u; image '%s' needs at least %llu",
				 spec->resources->disk_mib, image->name,
				 (unsigned long long)((image->size_bytes +
						       (1u << 20) - 1) >>
						      20));
	set_string(&spec->image, image->name);
	if (str_empty(spec->workdir))
		set_string(&spec->workdir,
			   image->workdir[0] ? image->workdir : "/workspace");
	for (size_t i = 0; i < image->n_env; i++)
		add_env(spec, image->env[i]);
	return 0;
}

Spec *spec_copy(const Spec *spec)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	Spec *copy;

	data = pb_pack(&spec->base, &len);
	copy = sandbox__node__v1__create_sandbox_request__unpack(NULL, len,
								 data);
	if (!copy)
		abort();
	return copy;
}
