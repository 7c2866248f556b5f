/* SPDX-License-Identifier: Apache-2.0 */
/* test_config.c - the operator's configuration */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void refuse(const char *text, const char *what)
{
	struct config *config = NULL;
	struct error err = { 0 };

	if (config_parse("f", text, &config, &err) == 0)
		fail_msg("accepted: %s", text);
	if (!strstr(err.msg, what))
		fail_msg("'%s' does not say '%s'", err.msg, what);
}

static struct config *accepted(const char *text)
{
	struct config *config = NULL;
	struct error err = { 0 };

	if (config_parse("f", text, &config, &err) < 0)
		fail_msg("refused: %s", err.msg);
	return config;
}

static void nothing_at_all_is_a_configuration(void **state)
{
	struct config *config = accepted("");

	(void)state;
	assert_string_equal(config->state_dir, "/var/lib/sandboxd");
	assert_int_equal(config->accelerator, CONFIG_ACCEL_KVM);
	assert_null(config->listen);
	config_free(config);
}

static void each_kind_of_value_is_read(void **state)
{
	struct config *config =
		accepted("[node]\nid = n1\nlabel.zone = z1\n"
		       "[guest]\naccelerator = auto\nuid_base = 40000\n"
		       "boot_timeout = 90s\n"
		       "[limits]\nvcpu_overcommit = 2.5\n"
		       "[network]\nrange = 10.7.0.0/16\n"
		       "dns_upstreams = 192.0.2.1 192.0.2.2:54\n"
		       "[ports]\nrange = 100-200\n"
		       "[quota]\nsandboxes_max = 5\n"
		       "[quota.acme]\nsandboxes_max = 7\n"
		       "[templates]\nfast = debian:12\n"
		       "[events]\ncost_vcpu_hour = 0.05\n");

	(void)state;
	assert_string_equal(config->node_id, "n1");
	assert_string_equal(config_pair_get(&config->labels, "zone"), "z1");
	assert_int_equal(config->accelerator, CONFIG_ACCEL_AUTO);
	assert_int_equal(config->uid_base, 40000);
	assert_int_equal(config->boot_timeout_ms, 90000);
	assert_true(config->vcpu_overcommit == 2.5);
	assert_int_equal(config->range, 0x0a070000);
	assert_int_equal(config->range_mask, 0xffff0000);
	assert_int_equal(config->dns_upstreams.n, 2);
	assert_string_equal(config->dns_upstreams.v[1], "192.0.2.2:54");
	assert_int_equal(config->ports_first, 100);
	assert_int_equal(config->ports_last, 200);
	assert_int_equal(config_quota_of(config, "acme")->sandboxes_max, 7);
	assert_int_equal(config_quota_of(config, "other")->sandboxes_max, 5);
	assert_string_equal(config_pair_get(&config->templates_alias, "fast"),
			    "debian:12");
	assert_true(config->rates.vcpu_hour == 0.05);
	config_free(config);
}

static void what_is_not_known_is_refused_with_its_line(void **state)
{
	(void)state;
	refuse("[node]\nid = x\nidd = y\n", "f:3: unknown key 'idd' in [node]");
	refuse("\n[nodes]\nid = x\n", "f:3: unknown section [nodes]");
	refuse("[node]\nnonsense\n", "f:2:");
	refuse("[quota.acme]\nfoo = 1\n", "unknown key 'foo'");
	refuse("[quota.a/b]\nsandboxes_max = 1\n", "no tenant's name");
}

static void bad_values_are_refused(void **state)
{
	static const struct {
		const char *text, *what;
	} bad[] = {
		{ "[guest]\naccelerator = fast\n", "kvm, tcg or auto" },
		{ "[guest]\nuid_base = 0\n", "from 1000" },
		{ "[guest]\nuid_base = -5\n", "not a number" },
		{ "[limits]\nsandboxes_max = 100000\n", "to 8192" },
		{ "[limits]\nvcpu_overcommit = 0x10\n", "not a number" },
		{ "[limits]\nvcpu_overcommit = 0\n", "over 0" },
		{ "[limits]\nvcpu_overcommit = 1.2.3\n", "not a number" },
		{ "[network]\nrange = 10.0.0.1/16\n", "beyond its mask" },
		{ "[network]\nrange = 10.0.0.0\n", "ADDRESS/BITS" },
		{ "[network]\nrange = 10.0.0.0/31\n", "8 to 30" },
		{ "[network]\nprivate_allowed = example.com\n", "no network" },
		{ "[ports]\nrange = 200-100\n", "FIRST-LAST" },
		{ "[ports]\nrange = 0-100\n", "FIRST-LAST" },
		{ "[ports]\naddress = localhost\n", "no IPv4 address" },
		{ "[node]\nstate_dir = relative\n", "absolute" },
		{ "[node]\nstate_dir =\n", "must not be empty" },
		{ "[api]\nreflection = maybe\n", "yes or no" },
		{ "[api]\nlisten = 0.0.0.0:1\n", "cert, key and ca" },
		{ "[api]\nallowed_uids = root\n", "no uid" },
		{ "[pool]\nmin = 5\nmax = 2\n", "less than min" },
		{ "[events]\nage = 5x\n", "not a duration" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse(bad[i].text, bad[i].what);
}

static void a_line_too_long_for_the_parser_is_not_cut(void **state)
{
	char text[8192];

	(void)state;
	strcpy(text, "[node]\nid = ");
	memset(text + strlen(text), 'x', 6000);
	text[6012] = '\0';
	refuse(text, "too long");
}

static void a_directory_beside_the_file_overrides_it(void **state)
{
	char dir[] = "/tmp/sbxcfg.XXXXXX", path[64], cmd[160];
	struct config *config = NULL;
	struct error err = { 0 };
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/c.conf", dir);
	f = fopen(path, "w");
	fputs("[node]\nid = a\n[guest]\nuid_base = 31000\n", f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/c.conf.d", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/c.conf.d/10.conf", dir);
	f = fopen(path, "w");
	fputs("[node]\nid = b\n", f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/c.conf", dir);
	assert_int_equal(config_load(path, false, &config, &err), 0);
	assert_string_equal(config->node_id, "b");
	assert_int_equal(config->uid_base, 31000);
	config_free(config);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(config_load(path, false, &config, &err), -1);
	assert_int_equal(config_load(path, true, &config, &err), 0);
	config_free(config);
}

static void a_pool_without_a_max_is_of_min(void **state)
{
	struct config *config = accepted("[pool]\nmin = 5\n");

	(void)state;
	assert_int_equal(config->pool_min, 5);
	assert_int_equal(config->pool_max, 0);
	config_free(config);
}

static void a_reload_takes_only_what_may_change(void **state)
{
	struct config *config = accepted("[node]\nstate_dir = /a\n");
	struct config *fresh = accepted("[node]\nstate_dir = /b\n"
				      "[limits]\nsandboxes_max = 3\n"
				      "disk_iops = 7\n"
				      "[network]\ndns_upstreams = 192.0.2.1\n"
				      "[ports]\nrange = 30000-30001\n"
				      "url = http://{host_port}/\n"
				      "[quota.t]\nvcpus_max = 4\n");
	char later[512];

	(void)state;
	config_reload(config, fresh, later, sizeof(later));
	/* What follows from the directory is the same by its own name. */
	assert_non_null(strstr(later, "node.state_dir"));
	assert_non_null(strstr(later, "limits.disk_iops"));
	assert_non_null(strstr(later, "network.dns_upstreams"));
	assert_non_null(strstr(later, "ports.range"));
	assert_null(strstr(later, "sandboxes_max"));
	assert_null(strstr(later, "ports.url"));
	assert_null(strstr(later, "api.socket"));
	assert_string_equal(config->state_dir, "/a");
	assert_int_equal(config->sandboxes_max, 3);
	assert_int_equal(config_quota_of(config, "t")->vcpus_max, 4);
	/* The same again: nothing is left to be told. */
	fresh = accepted("[node]\nstate_dir = /a\n"
			 "[limits]\nsandboxes_max = 9\n");
	config_reload(config, fresh, later, sizeof(later));
	assert_string_equal(later, "");
	config_free(config);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_at_all_is_a_configuration),
		cmocka_unit_test(each_kind_of_value_is_read),
		cmocka_unit_test(what_is_not_known_is_refused_with_its_line),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(a_line_too_long_for_the_parser_is_not_cut),
		cmocka_unit_test(a_directory_beside_the_file_overrides_it),
		cmocka_unit_test(a_pool_without_a_max_is_of_min),
		cmocka_unit_test(a_reload_takes_only_what_may_change),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
