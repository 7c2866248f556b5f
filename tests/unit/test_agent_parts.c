/* SPDX-License-Identifier: Apache-2.0 */
/* test_agent_parts.c - the parts of the agent that need no kernel */
#include "link.h"
#include "env.h"
#include "init.h"
#include "machine.h"
#include "request.h"
#include "ring.h"
#include "user.h"

#include "base/error.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The byte of every offset is known, so any slice can be checked. */
static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

static void feed(struct ring *r, size_t len)
{
	uint8_t *data = xcalloc(1, len);

	for (size_t i = 0; i < len; i++)
		data[i] = byte_at(r->end + i);
	ring_append(r, data, len);
	free(data);
}

static void check_ring(const struct ring *r)
{
	uint64_t at = r->begin;
	const uint8_t *p;
	size_t n;

	while ((n = ring_peek(r, at, &p))) {
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], byte_at(at + i));
		at += n;
	}
	assert_int_equal(at, r->end);
}

static void a_ring_keeps_the_last_bytes_at_their_offsets(void **state)
{
	struct ring_budget budget = { .max = 1u << 20 };
	struct ring r;

	(void)state;
	ring_init(&r, 10000, &budget);
	for (int i = 0; i < 200; i++) {
		feed(&r, (size_t)(i * 37 % 1500));
		check_ring(&r);
	}
	assert_int_equal(r.end - r.begin, 10000);
	feed(&r, 50000);
	check_ring(&r);
	assert_int_equal(r.end - r.begin, 10000);
	assert_int_equal(budget.used, 10000);
	ring_fini(&r);
	assert_int_equal(budget.used, 0);
}

static void a_ring_does_not_outgrow_the_budget(void **state)
{
	struct ring_budget budget = { .max = 20000 };
	struct ring a, b;

	(void)state;
	ring_init(&a, 1u << 20, &budget);
	ring_init(&b, 1u << 20, &budget);
	feed(&a, 100000);
	feed(&b, 100000);
	check_ring(&a);
	check_ring(&b);
	assert_true(budget.used <= budget.max + 2 * RING_MIN);
	assert_true(b.end - b.begin >= RING_MIN);
	ring_fini(&a);
	ring_fini(&b);
}

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "# a comment\n"
			     "broken line\n"
			     "bob:x:1000:1000::/home/bob:/bin/zsh\n"
			     "1234:x:77:77::/odd:\n"
			     "last:x:5:6";
static const char group[] = "root:x:0:\nwheel:x:10:al,bob\naudio:x:29:bob\n"
			    "bobby:x:30:bobby\n";

static void users_are_found_by_name_and_number(void **state)
{
	static struct user u;
	struct error err;

	(void)state;
	assert_int_equal(user_parse("bob", passwd, group, &u, &err), 0);
	assert_int_equal(u.uid, 1000);
	assert_string_equal(u.home, "/home/bob");
	assert_string_equal(u.shell, "/bin/zsh");
	assert_int_equal(u.n_groups, 3);
	assert_int_equal(u.groups[1], 10);
	assert_int_equal(u.groups[2], 29);
	assert_int_equal(user_parse("1000", passwd, group, &u, &err), 0);
	assert_string_equal(u.name, "bob");
	/* A name that looks like a number is a name first. */
	assert_int_equal(user_parse("1234", passwd, group, &u, &err), 0);
	assert_int_equal(u.uid, 77);
	assert_int_equal(user_parse("4321:audio", passwd, group, &u, &err), 0);
	assert_int_equal(u.uid, 4321);
	assert_int_equal(u.gid, 29);
	assert_string_equal(u.home, "/");
	assert_int_equal(user_parse("", passwd, group, &u, &err), 0);
	assert_int_equal(u.uid, 0);
	assert_int_equal(user_parse("", "", "", &u, &err), 0);
	assert_string_equal(u.home, "/root");
	assert_int_equal(user_parse("last", passwd, group, &u, &err), 0);
	assert_int_equal(u.gid, 6);
}

static void users_that_are_not_there_are_refused(void **state)
{
	static struct user u;
	struct error err;

	(void)state;
	assert_int_equal(user_parse("al", passwd, group, &u, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_int_equal(user_parse("bob:nix", passwd, group, &u, &err), -1);
	assert_int_equal(user_parse("4294967295", passwd, group, &u, &err), -1);
	assert_int_equal(user_parse("-1", passwd, group, &u, &err), -1);
}

static void the_last_setting_of_a_variable_wins(void **state)
{
	char *more[] = { (char *)"B=2", (char *)"A=3", NULL };
	char **env = NULL;

	(void)state;
	env_set(&env, "A", "1");
	env_set(&env, "AB", "x=y");
	env_merge(&env, more);
	assert_string_equal(env_get(env, "A"), "3");
	assert_string_equal(env_get(env, "AB"), "x=y");
	assert_string_equal(env_get(env, "B"), "2");
	assert_null(env_get(env, "C"));
	env_free(env);
}

static ProtobufCBinaryData bytes(const char *s, size_t len)
{
	return (ProtobufCBinaryData){ .len = len, .data = (uint8_t *)s };
}

static void paths_are_absolute_or_below_the_workdir(void **state)
{
	ProtobufCBinaryData b = bytes("a/../b", 6);
	char path[PATH_MAX];
	struct error err;

	(void)state;
	assert_int_equal(request_path(&b, "/w", NULL, "path", path, &err), 0);
	assert_string_equal(path, "/w/a/../b");
	assert_int_equal(request_path(&b, "/", NULL, "path", path, &err), 0);
	assert_string_equal(path, "/a/../b");
	b = bytes("/x\0y", 4);
	assert_int_equal(request_path(&b, "/w", NULL, "path", path, &err), -1);
	assert_string_equal(err.field, "path");
	b = bytes(NULL, 0);
	assert_int_equal(request_path(&b, "/w", NULL, "path", path, &err), -1);
	assert_int_equal(request_path(&b, "/w", "/w", "path", path, &err), 0);
}

static void hosts_keep_what_others_wrote(void **state)
{
	char *one, *two;

	(void)state;
	one = machine_hosts("10.0.0.1 db\n127.0.0.1 localhost\n", "box",
			    "10.1.2.3");
	assert_non_null(strstr(one, "10.1.2.3 box\t"));
	assert_non_null(strstr(one, "10.0.0.1 db\n"));
	/* Again, with another name: ours are replaced, theirs stay. */
	two = machine_hosts(one, "other", NULL);
	assert_null(strstr(two, "10.1.2.3"));
	assert_non_null(strstr(two, "127.0.1.1 other\t"));
	assert_non_null(strstr(two, "10.0.0.1 db\n"));
	free(one);
	one = machine_hosts(two, "other", NULL);
	assert_string_equal(one, two);
	free(one);
	free(two);
}

static void kernel_options_are_found(void **state)
{
	char value[16];

	(void)state;
	assert_int_equal(init_kernel_option("quiet sandbox.root=/dev/vdb x\n",
					    "sandbox.root", value, 16),
			 1);
	assert_string_equal(value, "/dev/vdb");
	assert_int_equal(init_kernel_option("xsandbox.root=1 sandbox.rootx=2",
					    "sandbox.root", value, 16),
			 0);
	assert_int_equal(
		init_kernel_option("r=12345678901234567", "r", value, 16), 0);
}

static void only_the_host_may_connect(void **state)
{
	static const struct {
		unsigned int cid;
		bool ok;
	} peers[] = {
		{ 0, false }, /* the hypervisor, of old */
		{ 1, false }, /* this guest: loopback */
		{ 2, true },  /* the host */
		{ 3, false }, /* guests */
		{ 4242, false }, { VMADDR_CID_ANY, false },
	};
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_port = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		sa.svm_cid = peers[i].cid;
		assert_int_equal(link_is_host(&sa, sizeof(sa)), peers[i].ok);
	}
	sa.svm_cid = VMADDR_CID_HOST;
	assert_false(link_is_host(&sa, sizeof(sa) - 1));
	sa.svm_family = AF_UNIX;
	assert_false(link_is_host(&sa, sizeof(sa)));
	/* No vsock socket at all. */
	assert_false(link_vsock_is_host(0));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_host_may_connect),
		cmocka_unit_test(a_ring_keeps_the_last_bytes_at_their_offsets),
		cmocka_unit_test(a_ring_does_not_outgrow_the_budget),
		cmocka_unit_test(users_are_found_by_name_and_number),
		cmocka_unit_test(users_that_are_not_there_are_refused),
		cmocka_unit_test(the_last_setting_of_a_variable_wins),
		cmocka_unit_test(paths_are_absolute_or_below_the_workdir),
		cmocka_unit_test(hosts_keep_what_others_wrote),
		cmocka_unit_test(kernel_options_are_found),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
