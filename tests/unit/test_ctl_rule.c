/* SPDX-License-Identifier: Apache-2.0 */
/* test_ctl_rule.c - egress rules, signals and the names of a copy */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ctl/copy_name.h"
#include "ctl/rule.h"
#include "ctl/signame.h"
#include "ctl/text.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static void rules_are_read_and_written_back(void **state)
{
	static const char *const rules[] = {
		"example.com",
		"*.example.com:443",
		"10.0.0.0/8",
		"10.0.0.0/8/udp",
		"192.0.2.7:53/udp",
		"example.com:80,443,8000-8010/any",
		"0.0.0.0/0:1-65535/tcp",
		"example.com/unverified",
		"*.example.com:443/any/unverified",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		NODE(EgressRule) *rule = NULL;
		struct error err = { 0 };
		char *text;

		assert_int_equal(rule_parse(rules[i], &rule, &err), 0);
		text = rule_format(rule);
		assert_string_equal(text, rules[i]);
		free(text);
		rule_free(rule);
	}
}

static void a_rule_says_what_it_means(void **state)
{
	NODE(EgressRule) *rule = NULL;
	struct error err = { 0 };

	(void)state;
	assert_int_equal(
		rule_parse("10.1.0.0/16:53,1000-2000/udp", &rule, &err), 0);
	assert_string_equal(rule->target, "10.1.0.0/16");
	assert_int_equal(rule->protocol, NODE_ENUM(PROTOCOL, UDP));
	assert_int_equal(rule->n_ports, 2);
	assert_int_equal(rule->ports[0]->first, 53);
	assert_int_equal(rule->ports[0]->last, 53);
	assert_int_equal(rule->ports[1]->first, 1000);
	assert_int_equal(rule->ports[1]->last, 2000);
	rule_free(rule);
}

static void wrong_rules_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		":80",
		"/tcp",
		"a b",
		"host:",
		"host:0",
		"host:65536",
		"host:80-",
		"host:-80",
		"host:90-80",
		"host:80,",
		"host:,80",
		"host:80:90",
		"host:http",
		"host:80/sctp",
		"host:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
		"h\xc3\xb6st",
		"host;rm",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		NODE(EgressRule) *rule = NULL;
		struct error err = { 0 };

		assert_int_equal(rule_parse(bad[i], &rule, &err), -1);
		assert_null(rule);
		assert_int_equal(err.code, ERR_INVALID);
	}
}

static void signals_have_names_and_numbers(void **state)
{
	struct error err = { 0 };
	uint32_t n = 0;

	(void)state;
	assert_int_equal(signame_parse("TERM", &n, &err), 0);
	assert_int_equal(n, 15);
	assert_int_equal(signame_parse("sigkill", &n, &err), 0);
	assert_int_equal(n, 9);
	assert_int_equal(signame_parse("64", &n, &err), 0);
	assert_int_equal(n, 64);
	assert_int_equal(signame_parse("RTMIN+1", &n, &err), 0);
	assert_int_equal(n, 35);
	assert_int_equal(signame_parse("0", &n, &err), -1);
	assert_int_equal(signame_parse("65", &n, &err), -1);
	assert_int_equal(signame_parse("RTMIN+31", &n, &err), -1);
	assert_int_equal(signame_parse("", &n, &err), -1);
	assert_int_equal(signame_parse("NOPE", &n, &err), -1);
}

static void names_that_lead_out_are_not_names(void **state)
{
	char longest[300];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	assert_true(copy_name_ok("a", 1));
	assert_true(copy_name_ok("...", 3));
	assert_true(copy_name_ok(".hidden", 7));
	assert_true(copy_name_ok("new\nline \xff", 10));
	assert_true(copy_name_ok(longest, 255));
	assert_false(copy_name_ok(longest, 256));
	assert_false(copy_name_ok("", 0));
	assert_false(copy_name_ok(".", 1));
	assert_false(copy_name_ok("..", 2));
	assert_false(copy_name_ok("a/b", 3));
	assert_false(copy_name_ok("/", 1));
	assert_false(copy_name_ok("a\0b", 3));
	assert_false(copy_name_ok("\0", 1));
}

static void remote_paths_begin_with_an_id(void **state)
{
	static const char *const local[] = { "file", "./a:b", "/a:b", "../a:b",
					     ":x",   "a/b:c", "ä:b",  "" };
	const char *path = NULL;
	char *id = copy_split("sb_1-x:/a:b", &path);

	(void)state;
	assert_string_equal(id, "sb_1-x");
	assert_string_equal(path, "/a:b");
	free(id);
	id = copy_split("x:", &path);
	assert_string_equal(path, ".");
	free(id);
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		assert_null(copy_split(local[i], &path));
}

static void base_and_directory_of_a_path(void **state)
{
	static const struct {
		const char *path, *base, *dir;
	} cases[] = {
		{ "a", "a", "." },	{ "a/b", "b", "a/" },
		{ "a/b//", "b", "a/" }, { "/a", "a", "/" },
		{ "/", NULL, "/" },	{ "", NULL, "." },
		{ ".", NULL, "." },	{ "a/..", NULL, "a/" },
		{ "a/.", NULL, "a/" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *base = copy_base(cases[i].path);
		char *dir = copy_dir(cases[i].path);

		if (cases[i].base)
			assert_string_equal(base, cases[i].base);
		else
			assert_null(base);
		assert_string_equal(dir, cases[i].dir);
		free(base);
		free(dir);
	}
}

static void text_for_terminals_holds_no_control(void **state)
{
	char *safe =
		text_safe("a\x1b[2J\xc3\xa9\xc2\x9b\xff\n\xe2\x80\xae", 14);

	(void)state;
	assert_string_equal(
		safe, "a\\x1b[2J\xc3\xa9\\xc2\\x9b\\xff\\x0a\\xe2\\x80\\xae");
	free(safe);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_read_and_written_back),
		cmocka_unit_test(a_rule_says_what_it_means),
		cmocka_unit_test(wrong_rules_are_refused),
		cmocka_unit_test(signals_have_names_and_numbers),
		cmocka_unit_test(names_that_lead_out_are_not_names),
		cmocka_unit_test(remote_paths_begin_with_an_id),
		cmocka_unit_test(base_and_directory_of_a_path),
		cmocka_unit_test(text_for_terminals_holds_no_control),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
