/* SPDX-License-Identifier: Apache-2.0 */
/* test_metrics.c - the node's metrics, as text and as promtool sees them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/measure.h"
#include "base/mem.h"
#include "base/prom.h"
#include "engine/api.h"
#include "engine/metrics.h"
#include "engine/metrics_link.h"
#include "engine_rig.h"
#include "sandbox/ipc/v1/metrics.pb-c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIND(name) SANDBOX__IPC__V1__SCRAPE__KIND__KIND_##name

/* ---- the text ---- */

static void a_label_may_hold_anything(void **state)
{
	struct prom *p = prom_new();
	size_t len;

	(void)state;
	prom_family(p, "x", "gauge", "An x.");
	prom_add(p, 1.5,
		 PROM_LABELS({ "a", "q\"b\\n\nz" }, { "b", "\xc3\xa9\xff" },
			     { "c", NULL }));
	assert_string_equal(
		prom_text(p, &len),
		"# HELP x An x.\n# TYPE x gauge\n"
		"x{a=\"q\\\"b\\\\n\\nz\",b=\"\xc3\xa9\xef\xbf\xbd\","
		"c=\"\"} 1.5\n");
	prom_free(p);
}

static void large_counts_are_exact(void **state)
{
	struct prom *p = prom_new();
	size_t len;

	(void)state;
	prom_one(p, "x_total", "counter", "X.", 9007199254740991.0);
	assert_non_null(strstr(prom_text(p, &len), " 9007199254740991\n"));
	prom_free(p);
}

static void a_histogram_counts_up_to_each_bound(void **state)
{
	struct histogram h = { 0 };
	struct prom *p = prom_new();
	const char *text;
	size_t len;

	(void)state;
	histogram_add(&h, 0.001); /* on a bound: within it */
	histogram_add(&h, 0.2);
	histogram_add(&h, 1e6);
	prom_family(p, "h", "histogram", "An h.");
	prom_add_histogram(p, &h, PROM_LABELS({ "a", "b" }));
	text = prom_text(p, &len);
	assert_non_null(strstr(text, "h_bucket{a=\"b\",le=\"0.0005\"} 0\n"));
	assert_non_null(strstr(text, "h_bucket{a=\"b\",le=\"0.001\"} 1\n"));
	assert_non_null(strstr(text, "h_bucket{a=\"b\",le=\"0.25\"} 2\n"));
	assert_non_null(strstr(text, "h_bucket{a=\"b\",le=\"3600\"} 2\n"));
	assert_non_null(strstr(text, "h_bucket{a=\"b\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "h_count{a=\"b\"} 3\n"));
	assert_non_null(strstr(text, "h_sum{a=\"b\"} 1000000.201\n"));
	prom_free(p);
}

static void a_tally_is_bounded(void **state)
{
	struct tally t = { 0 };
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		tally_add(&t, name, 1);
	}
	assert_int_equal(t.n, TALLY_MAX);
	assert_string_equal(t.v[TALLY_MAX - 1].name, "other");
	assert_int_equal(t.v[TALLY_MAX - 1].n, 1000 - (TALLY_MAX - 1));
}

static void only_this_host_is_served_unless_told_otherwise(void **state)
{
	static const char *const far[] = { "0.0.0.0:0", "192.0.2.1:0", "[::]:0",
					   ":0", "126.0.0.1:0" };
	static const char *const near[] = { "127.0.0.1:0", "127.9.9.9:0" };
	struct error err;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		assert_int_equal(api_bind_tcp("[metrics] listen", far[i], true,
					      &fd, &err),
				 -1);
		assert_non_null(strstr(err.msg, "loopback"));
	}
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		assert_int_equal(api_bind_tcp("[metrics] listen", near[i], true,
					      &fd, &err),
				 0);
		close(fd);
	}
	assert_int_equal(api_bind_tcp("[metrics] listen", "0.0.0.0:0", false,
				      &fd, &err),
			 0);
	close(fd);
	assert_int_equal(api_bind_tcp("[metrics] listen", "localhost:1", true,
				      &fd, &err),
			 -1); /* no names */
}

/* ---- the engine, asked as sandboxd-metrics asks ---- */

static struct asker {
	struct ipc *ipc;
	struct metrics_link *link;
	char *text;
	size_t len;
	unsigned int answers, refused;
} asker;

static void on_command(struct ipc *ipc, const uint8_t *data, size_t len,
		       int *fds, size_t n_fds, void *arg)
{
	Sandbox__Ipc__V1__MetricsCommand *m =
		sandbox__ipc__v1__metrics_command__unpack(NULL, len, data);

	(void)ipc;
	(void)fds;
	(void)n_fds;
	(void)arg;
	assert_int_equal(m->body_case,
			 SANDBOX__IPC__V1__METRICS_COMMAND__BODY_ANSWER);
	asker.text =
		xrealloc(asker.text, asker.len + m->answer->text.len + 1, 1);
	if (m->answer->text.len)
		memcpy(asker.text + asker.len, m->answer->text.data,
		       m->answer->text.len);
	asker.len += m->answer->text.len;
	asker.text[asker.len] = '\0';
	asker.refused += m->answer->refused;
	asker.answers += !m->answer->more;
	sandbox__ipc__v1__metrics_command__free_unpacked(m, NULL);
}

static void on_closed(struct ipc *ipc, const char *why, void *arg)
{
	(void)ipc;
	(void)why;
	(void)arg;
}

static const struct ipc_ops asker_ops = { .message = on_command,
					  .closed = on_closed };

static int setup(void **state)
{
	struct error err;
	int fds[2];

	if (rig_setup(state) < 0 || ipc_pair(fds, &err) < 0)
		return -1;
	memset(&asker, 0, sizeof(asker));
	return metrics_link_new_fd(rig.e, fds[0], &asker.link, &err) < 0 ||
			       ipc_new(rig.loop, fds[1], &asker_ops, NULL,
				       &asker.ipc, &err) < 0
		       ? -1
		       : 0;
}

static int teardown(void **state)
{
	free(asker.text);
	ipc_free(asker.ipc);
	metrics_link_free(asker.link);
	return rig_teardown(state);
}

static void scrape(int kind, uint64_t id)
{
	Sandbox__Ipc__V1__Scrape m = SANDBOX__IPC__V1__SCRAPE__INIT;
	uint8_t buf[32];

	m.id = id;
	m.kind = (Sandbox__Ipc__V1__Scrape__Kind)kind;
	ipc_send(asker.ipc, buf, sandbox__ipc__v1__scrape__pack(&m, buf), NULL,
		 0, NULL);
}

static const char *text_of(int kind)
{
	unsigned int before = asker.answers;

	asker.len = 0;
	scrape(kind, before + 1);
	rig_until(asker.answers > before);
	assert_int_equal(asker.refused, 0);
	return asker.text;
}

static void has(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no '%s' in\n%s", line, text);
}

/* Promtool's opinion, where there is one. */
static void check_with_promtool(const char *text)
{
	FILE *tool;

	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		print_message("promtool is not there\n");
		skip();
	}
	tool = popen("promtool check metrics", "w");
	assert_non_null(tool);
	fputs(text, tool);
	if (pclose(tool) != 0)
		fail_msg("promtool does not like\n%s", text);
}

/* Names are an interface: each is in the man page. */
static void check_with_manual(const char *text)
{
	const char *dir = getenv("srcdir");
	char path[512], name[128], want[160], *page;
	size_t len;

	snprintf(path, sizeof(path), "%s/packaging/sandboxd-metrics.7",
		 dir ? dir : "..");
	assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &page, &len), 0);
	while ((text = strstr(text, "# TYPE "))) {
		text += 7;
		assert_int_equal(sscanf(text, "%127s", name), 1);
		snprintf(want, sizeof(want), "Li %s ", name);
		if (!strstr(page, want))
			fail_msg("sandboxd-metrics(7) does not know %s", name);
	}
	free(page);
}

static void the_node_tells_what_it_has_and_did(void **state)
{
	const char *text;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	assert_true(rig_do("PauseSandbox", "b"));
	assert_true(rig_create("c"));
	assert_true(rig_do("TerminateSandbox", "c"));
	assert_false(rig_do("ResumeSandbox", "c"));
	text = text_of(KIND(NODE));
	has(text, "sandboxd_build_info{version=\"" PACKAGE_VERSION "\"");
	has(text, "sandboxd_sandboxes{state=\"RUNNING\"} 1\n");
	has(text, "sandboxd_sandboxes{state=\"PAUSED\"} 1\n");
	has(text, "sandboxd_sandboxes{state=\"TERMINATED\"} 1\n");
	has(text, "sandboxd_places_used 2\n");
	has(text, "sandboxd_vcpus_used 2\n");
	has(text, "sandboxd_memory_used_bytes 2147483648\n");
	has(text, "sandboxd_snapshots{kind=\"internal\"} 1\n");
	has(text, "sandboxd_images 1\n");
	has(text, "sandboxd_front_up 1\n");
	has(text, "sandboxd_operation_duration_seconds_count"
		  "{operation=\"create\",result=\"ok\"} 3\n");
	has(text, "sandboxd_operation_duration_seconds_count"
		  "{operation=\"pause\",result=\"ok\"} 1\n");
	has(text, "sandboxd_hypervisor_call_duration_seconds_count"
		  "{call=\"save\",result=\"ok\"} 1\n");
	has(text, "sandboxd_terminations_total{reason=\"REQUESTED\"} 1\n");
	has(text, "sandboxd_events_total{type=\"sandbox.created\"} 3\n");
	has(text, "sandboxd_database_commit_duration_seconds_count ");
	has(text, "sandboxd_workers ");
	has(text, "sandboxd_disk_pressure 0\n");
	check_with_promtool(text);
	check_with_manual(text);
}

static void each_sandbox_tells_what_it_uses(void **state)
{
	const char *text;

	(void)state;
	world.net_bytes = 77;
	assert_true(rig_create("a"));
	assert_true(rig_create("b"));
	assert_true(rig_do("PauseSandbox", "b"));
	text = text_of(KIND(SANDBOXES));
	has(text, "sandbox_info{sandbox=\"a\",state=\"RUNNING\","
		  "image=\"debian:12\",tenant=\"\"");
	has(text, "sandbox_info{sandbox=\"b\",state=\"PAUSED\"");
	has(text, "sandbox_cpu_seconds_total{sandbox=\"a\"} 0.005\n");
	has(text, "sandbox_memory_bytes{sandbox=\"a\"} 6\n");
	has(text, "sandbox_memory_bytes{sandbox=\"b\"} 0\n");
	has(text, "sandbox_network_receive_bytes_total{sandbox=\"a\"} 77\n");
	assert_null(strstr(text, "receive_bytes_total{sandbox=\"b\"}"));
	check_with_promtool(text);
	check_with_manual(text);
}

static void without_sandboxes_the_text_is_right_too(void **state)
{
	(void)state;
	check_with_promtool(text_of(KIND(SANDBOXES)));
	check_with_promtool(text_of(KIND(NODE)));
}

static void hundreds_of_sandboxes_are_told_in_turns(void **state)
{
	const char *text;
	char id[16];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		assert_true(rig_create(id));
	}
	text = text_of(KIND(SANDBOXES));
	has(text, "sandbox_cpu_seconds_total{sandbox=\"s0\"} 0.005\n");
	has(text, "sandbox_cpu_seconds_total{sandbox=\"s299\"} 0.005\n");
}

static void scrapes_over_the_limit_are_refused(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < METRICS_SCRAPES_MAX + 3; i++)
		scrape(KIND(NODE), i + 1);
	rig_until(asker.answers == METRICS_SCRAPES_MAX + 3);
	assert_int_equal(asker.refused, 3);
}

static void the_engine_may_end_with_scrapes_under_way(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	scrape(KIND(SANDBOXES), 1);
	scrape(KIND(NODE), 2);
	for (int i = 0; i < 3; i++)
		rig_tick();
	/* teardown() finds leaks and uses after free */
}

static void what_front_claims_is_checked(void **state)
{
	Sandbox__Ipc__V1__FrontCounts c = SANDBOX__IPC__V1__FRONT_COUNTS__INIT;
	Sandbox__Ipc__V1__FrontCounts__Method m[4];
	Sandbox__Ipc__V1__FrontCounts__Method *at[4];
	uint64_t buckets[HISTOGRAM_BUCKETS + 1] = { [3] = 2 };
	struct prom *p = prom_new();
	const char *text;
	size_t len;

	(void)state;
	for (int i = 0; i < 4; i++) {
		sandbox__ipc__v1__front_counts__method__init(&m[i]);
		m[i].method = (char *)(uintptr_t) "Exec";
		m[i].code = (char *)(uintptr_t) "OK";
		m[i].n_buckets = HISTOGRAM_BUCKETS + 1;
		m[i].buckets = buckets;
		m[i].sum_seconds = 0.5;
		at[i] = &m[i];
	}
	m[1].method = (char *)(uintptr_t) "Ex\"ec";
	m[2].n_buckets = 3;
	m[2].code = (char *)(uintptr_t) "ABORTED";
	m[3].code = (char *)(uintptr_t) "UNKNOWN";
	m[3].sum_seconds = -1;
	c.n_methods = 4;
	c.methods = at;
	metrics_node(rig.e, &c, p);
	text = prom_text(p, &len);
	has(text, "sandboxd_rpc_duration_seconds_count"
		  "{method=\"Exec\",code=\"OK\"} 2\n");
	assert_null(strstr(text, "Ex\\\"ec"));
	assert_null(strstr(text, "ABORTED"));
	assert_null(strstr(text, "code=\"UNKNOWN\""));
	check_with_promtool(text);
	prom_free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_label_may_hold_anything),
		cmocka_unit_test(large_counts_are_exact),
		cmocka_unit_test(a_histogram_counts_up_to_each_bound),
		cmocka_unit_test(a_tally_is_bounded),
		cmocka_unit_test(
			only_this_host_is_served_unless_told_otherwise),
		TEST(the_node_tells_what_it_has_and_did),
		TEST(each_sandbox_tells_what_it_uses),
		TEST(without_sandboxes_the_text_is_right_too),
		TEST(hundreds_of_sandboxes_are_told_in_turns),
		TEST(scrapes_over_the_limit_are_refused),
		TEST(the_engine_may_end_with_scrapes_under_way),
		TEST(what_front_claims_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
