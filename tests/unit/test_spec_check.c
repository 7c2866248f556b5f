/* SPDX-License-Identifier: Apache-2.0 */
/* test_spec_check.c - every field of CreateSandbox and Update at its limits */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/image.h"
#include "engine/spec_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Sandbox__Node__V1__Resources resources;
static char long_text[2048];

static void init(Spec *spec)
{
	sandbox__node__v1__create_sandbox_request__init(spec);
	sandbox__node__v1__resources__init(&resources);
	spec->resources = &resources;
	spec->image = (char *)(uintptr_t) "debian:12";
	memset(long_text, 'x', sizeof(long_text));
}

static void bad(Spec *spec, const char *field, const char *what)
{
	struct error err = { 0 };

	if (spec_check_create(spec, &err) == 0)
		fail_msg("accepted a bad %s", field);
	assert_int_equal(err.code, ERR_INVALID);
	assert_string_equal(err_reason_of(&err), "INVALID_CONFIG");
	assert_string_equal(err.field, field);
	if (!strstr(err.msg, what))
		fail_msg("'%s' does not say '%s'", err.msg, what);
}

static void good(Spec *spec)
{
	struct error err = { 0 };

	if (spec_check_create(spec, &err) < 0)
		fail_msg("refused: %s %s", err.field, err.msg);
}

static void defaults_are_filled_in(void **state)
{
	Spec spec;

	(void)state;
	init(&spec);
	good(&spec);
	assert_int_equal(spec.resources->cpu, 2);
	assert_int_equal(spec.resources->memory_mib, 4096);
	assert_int_equal(spec.resources->disk_mib, 10240);
	assert_int_equal(spec.timeout_ms, 300000);
	assert_int_equal(spec.idle_timeout_ms, 120000);
}

static void cpu_is_2_4_or_8(void **state)
{
	Spec spec;

	(void)state;
	for (uint32_t cpu = 1; cpu <= 17; cpu++) {
		init(&spec);
		resources.cpu = cpu;
		if (cpu == 2 || cpu == 4 || cpu == 8)
			good(&spec);
		else
			bad(&spec, "resources.cpu", "2, 4 and 8");
	}
}

static void memory_and_disk_end_where_the_contract_says(void **state)
{
	static const struct {
		uint32_t memory, disk;
		const char *field;
	} rows[] = {
		{ 2048, 5120, NULL },
		{ 16384, 51200, NULL },
		{ 2047, 5120, "resources.memory_mib" },
		{ 16385, 5120, "resources.memory_mib" },
		{ UINT32_MAX, 5120, "resources.memory_mib" },
		{ 2048, 5119, "resources.disk_mib" },
		{ 2048, 51201, "resources.disk_mib" },
	};
	Spec spec;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		init(&spec);
		resources.memory_mib = rows[i].memory;
		resources.disk_mib = rows[i].disk;
		if (rows[i].field)
			bad(&spec, rows[i].field, "allowed");
		else
			good(&spec);
	}
}

static void timeouts_end_where_the_contract_says(void **state)
{
	static const uint32_t bads[] = { 1, 999, 86400001, UINT32_MAX };
	Spec spec;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		init(&spec);
		spec.timeout_ms = bads[i];
		bad(&spec, "timeout_ms", "1000 to 86400000");
		init(&spec);
		spec.idle_timeout_ms = bads[i];
		bad(&spec, "idle_timeout_ms", "1000 to 86400000");
	}
	init(&spec);
	spec.timeout_ms = 1000;
	spec.idle_timeout_ms = 86400000;
	good(&spec);
}

static void names_are_checked(void **state)
{
	static const char *const ids[] = { "-a",  "_a", "A",   "a b",
					   "a/b", "..", "a\n", "\xc3\xa9" };
	Spec spec;

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		init(&spec);
		spec.sandbox_id = (char *)(uintptr_t)ids[i];
		bad(&spec, "sandbox_id", "1-63");
	}
	init(&spec);
	long_text[64] = '\0';
	spec.sandbox_id = long_text;
	bad(&spec, "sandbox_id", "1-63");
	long_text[63] = '\0';
	good(&spec);
	init(&spec);
	spec.image = (char *)(uintptr_t) "";
	bad(&spec, "image", "required");
	spec.image = (char *)(uintptr_t) "../etc";
	bad(&spec, "image", "1-128");
	spec.image = (char *)(uintptr_t) "a";
	spec.template_ = (char *)(uintptr_t) "t";
	bad(&spec, "template", "together");
	init(&spec);
	spec.tenant = (char *)(uintptr_t) "a/b";
	bad(&spec, "tenant", "0-64");
	init(&spec);
	spec.request_id = (char *)(uintptr_t) "a b";
	bad(&spec, "request_id", "1-64");
}

static void workdir_is_absolute_and_bounded(void **state)
{
	Spec spec;

	(void)state;
	init(&spec);
	spec.workdir = (char *)(uintptr_t) "relative";
	bad(&spec, "workdir", "absolute");
	long_text[0] = '/';
	long_text[1025] = '\0';
	spec.workdir = long_text;
	bad(&spec, "workdir", "1024");
	long_text[1024] = '\0';
	good(&spec);
}

static void env_names_are_names(void **state)
{
	static const char *const names[] = { "",    "1A",  "A=B",
					     "A B", "A-B", "\xc3\xa9" };
	SpecEnv env;
	SpecEnv *at[300];
	Spec spec;

	(void)state;
	sandbox__node__v1__create_sandbox_request__env_entry__init(&env);
	for (size_t i = 0; i < 300; i++)
		at[i] = &env;
	init(&spec);
	spec.n_env = 1;
	spec.env = at;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		env.key = (char *)(uintptr_t)names[i];
		bad(&spec, "env", "name");
	}
	env.key = (char *)(uintptr_t) "_A1";
	good(&spec);
	spec.n_env = 257;
	bad(&spec, "env", "256");
	spec.n_env = 256;
	good(&spec);
	long_text[300] = '\0';
	env.value = long_text;
	bad(&spec, "env", "65536");
	spec.n_env = 1;
	long_text[129] = '\0';
	memset(long_text, 'A', 129);
	env.key = long_text;
	bad(&spec, "env", "128");
}

static void metadata_counts_characters_not_bytes(void **state)
{
	SpecMetadata m;
	SpecMetadata *at[32];
	char wide[1024] = "";
	Spec spec;

	(void)state;
	sandbox__node__v1__create_sandbox_request__metadata_entry__init(&m);
	for (size_t i = 0; i < 32; i++)
		at[i] = &m;
	init(&spec);
	spec.metadata = at;
	spec.n_metadata = 21;
	m.key = (char *)(uintptr_t) "k";
	bad(&spec, "metadata", "20");
	spec.n_metadata = 20;
	good(&spec);
	long_text[257] = '\0';
	m.value = long_text;
	bad(&spec, "metadata", "256");
	long_text[256] = '\0';
	good(&spec);
	for (size_t i = 0; i < 256; i++)
		strcat(wide, "\xc3\xa9");
	m.value = wide;
	good(&spec);
	m.value = (char *)(uintptr_t) "\xff";
	bad(&spec, "metadata", "value");
	m.value = (char *)(uintptr_t) "";
	m.key = (char *)(uintptr_t) "";
	bad(&spec, "metadata", "key");
	long_text[129] = '\0';
	m.key = long_text;
	bad(&spec, "metadata", "key");
}

static void ports_are_ports(void **state)
{
	uint32_t ports[65] = { 1, 65535 };
	Spec spec;

	(void)state;
	init(&spec);
	spec.allow_ports = ports;
	spec.n_allow_ports = 2;
	good(&spec);
	spec.n_allow_ports = 3;
	bad(&spec, "allow_ports", "65535");
	for (size_t i = 0; i < 65; i++)
		ports[i] = 80;
	spec.n_allow_ports = 65;
	bad(&spec, "allow_ports", "64");
	ports[0] = 65536;
	spec.n_allow_ports = 1;
	bad(&spec, "allow_ports", "65535");
}

static void egress_rules_name_what_is_wrong(void **state)
{
	PbEgress egress;
	PbRule rule;
	PbRule *at[257];
	Sandbox__Node__V1__PortRange range;
	Sandbox__Node__V1__PortRange *ranges[17];
	Spec spec;

	(void)state;
	sandbox__node__v1__egress_policy__init(&egress);
	sandbox__node__v1__egress_rule__init(&rule);
	sandbox__node__v1__port_range__init(&range);
	for (size_t i = 0; i < 257; i++)
		at[i] = &rule;
	for (size_t i = 0; i < 17; i++)
		ranges[i] = &range;
	init(&spec);
	spec.egress = &egress;
	egress.default_action = 7;
	bad(&spec, "egress.default_action", "ALLOW and DENY");
	egress.default_action = 2;
	good(&spec);
	egress.allow = at;
	egress.n_allow = 257;
	rule.target = (char *)(uintptr_t) "example.com";
	bad(&spec, "egress.allow", "256");
	egress.n_allow = 1;
	good(&spec);
	rule.target = (char *)(uintptr_t) "not a name";
	bad(&spec, "egress.allow[0].target", "");
	rule.target = (char *)(uintptr_t) "example.com";
	rule.protocol = 9;
	bad(&spec, "egress.allow[0].protocol", "TCP, UDP, ANY");
	rule.protocol = 0;
	rule.ports = ranges;
	rule.n_ports = 1;
	bad(&spec, "egress.allow[0].ports", "65535");
	range.first = 5;
	range.last = 4;
	bad(&spec, "egress.allow[0].ports", "5-4");
	range.last = 0;
	good(&spec);
	rule.n_ports = 17;
	bad(&spec, "egress.allow[0].ports", "16");
	rule.n_ports = 0;
	egress.n_allow = 0;
	egress.deny = at;
	egress.n_deny = 1;
	rule.target = (char *)(uintptr_t) "";
	bad(&spec, "egress.deny[0].target", "");
}

static void names_are_verified_unless_told_otherwise(void **state)
{
	Google__Protobuf__BoolValue verify = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;
	PbEgress egress;
	PbRule rule;
	PbRule *at[1] = { &rule };
	struct net_policy policy;
	Spec spec;

	(void)state;
	sandbox__node__v1__egress_policy__init(&egress);
	sandbox__node__v1__egress_rule__init(&rule);
	egress.allow = at;
	egress.n_allow = 1;
	rule.target = (char *)(uintptr_t) "example.com";
	assert_int_equal(spec_policy(&egress, &policy, NULL), 0);
	assert_true(policy.allow[0].verify_names);
	net_policy_fini(&policy);
	rule.verify_names = &verify;
	assert_int_equal(spec_policy(&egress, &policy, NULL), 0);
	assert_false(policy.allow[0].verify_names);
	net_policy_fini(&policy);
	init(&spec);
	spec.egress = &egress;
	rule.target = (char *)(uintptr_t) "192.0.2.1";
	good(&spec);
	verify.value = true;
	bad(&spec, "egress.allow[0].verify_names", "for names");
}

static void a_name_without_ports_means_the_web(void **state)
{
	PbEgress egress;
	PbRule rule;
	PbRule *at[1] = { &rule };
	struct net_policy policy;

	(void)state;
	sandbox__node__v1__egress_policy__init(&egress);
	sandbox__node__v1__egress_rule__init(&rule);
	egress.allow = at;
	egress.n_allow = 1;
	rule.target = (char *)(uintptr_t) "example.com";
	assert_int_equal(spec_policy(&egress, &policy, NULL), 0);
	assert_true(policy.default_allow);
	assert_int_equal(policy.allow[0].n_ports, 2);
	assert_int_equal(policy.allow[0].ports[1].first, 443);
	net_policy_fini(&policy);
	rule.target = (char *)(uintptr_t) "198.51.100.0/24";
	assert_int_equal(spec_policy(&egress, &policy, NULL), 0);
	assert_int_equal(policy.allow[0].n_ports, 0);
	net_policy_fini(&policy);
}

static void an_image_completes_what_was_left_open(void **state)
{
	Spec *spec = xcalloc(1, sizeof(*spec));
	char *env[] = { (char *)(uintptr_t) "PATH=/bin",
			(char *)(uintptr_t) "A=image" };
	struct image image = { .name = "debian:12",
			       .workdir = "/srv",
			       .env = env,
			       .n_env = 2,
			       .size_bytes = 6000ull << 20 };
	struct error err;
	Spec *copy;

	(void)state;
	init(spec);
	resources.disk_mib = 5120;
	copy = spec_copy(spec);
	free(spec);
	assert_int_equal(spec_complete(copy, &image, &err), -1);
	assert_string_equal(err.field, "resources.disk_mib");
	copy->resources->disk_mib = 6000;
	assert_int_equal(spec_complete(copy, &image, &err), 0);
	assert_string_equal(copy->workdir, "/srv");
	assert_int_equal(copy->n_env, 2);
	/* Again, as for a client that said it itself: nothing is overridden. */
	free(copy->env[1]->value);
	copy->env[1]->value = xstrdup("client");
	assert_int_equal(spec_complete(copy, &image, &err), 0);
	assert_int_equal(copy->n_env, 2);
	assert_string_equal(copy->env[1]->value, "client");
	pb_free(copy);
}

static void an_update_is_held_to_the_same_limits(void **state)
{
	Google__Protobuf__UInt32Value v = GOOGLE__PROTOBUF__UINT32_VALUE__INIT;
	PbLimits limits;
	PbUpdate update;
	struct error err;

	(void)state;
	sandbox__node__v1__update_sandbox_request__init(&update);
	sandbox__node__v1__network_limits__init(&limits);
	assert_int_equal(spec_check_update(&update, &err), 0);
	update.timeout_ms = &v;
	assert_int_equal(spec_check_update(&update, &err), -1);
	assert_string_equal(err.field, "timeout_ms");
	v.value = 1000;
	assert_int_equal(spec_check_update(&update, &err), 0);
	update.network_limits = &limits;
	limits.bandwidth_mbps = 1000001;
	assert_int_equal(spec_check_update(&update, &err), -1);
	assert_string_equal(err.field, "network_limits.bandwidth_mbps");
	limits.bandwidth_mbps = 0;
	limits.connections_max = UINT32_MAX;
	assert_int_equal(spec_check_update(&update, &err), -1);
	assert_string_equal(err.field, "network_limits.connections_max");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(cpu_is_2_4_or_8),
		cmocka_unit_test(memory_and_disk_end_where_the_contract_says),
		cmocka_unit_test(timeouts_end_where_the_contract_says),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(workdir_is_absolute_and_bounded),
		cmocka_unit_test(env_names_are_names),
		cmocka_unit_test(metadata_counts_characters_not_bytes),
		cmocka_unit_test(ports_are_ports),
		cmocka_unit_test(egress_rules_name_what_is_wrong),
		cmocka_unit_test(names_are_verified_unless_told_otherwise),
		cmocka_unit_test(a_name_without_ports_means_the_web),
		cmocka_unit_test(an_image_completes_what_was_left_open),
		cmocka_unit_test(an_update_is_held_to_the_same_limits),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
