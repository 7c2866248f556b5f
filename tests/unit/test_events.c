/* SPDX-License-Identifier: Apache-2.0 */
/* test_events.c - what the event log holds of a sandbox's life and the node's */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cloud_event.h"
#include "base/log.h"
#include "base/log_id.h"
#include "base/loop.h"
#include "engine/event.h"
#include "engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void has(const char *type, const char *text)
{
	const char *data = rig_event(type);

	if (!strstr(data, text))
		fail_msg("%s: no '%s' in '%s'", type, text, data);
}

static void a_sandboxs_life_is_in_the_log(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	has("sandbox.created",
	    "image=debian:12 cpu=2 memoryMib=2048 diskMib=10240 tenant=");
	has("sandbox.started", "startKind=template generation=1 durationMs=");
	assert_true(rig_do("PauseSandbox", "a"));
	has("sandbox.paused", "runtimeDurationMs=");
	has("sandbox.paused", "reason=REQUESTED");
	assert_true(rig_do("ResumeSandbox", "a"));
	has("sandbox.resumed", "pausedDurationMs=");
	has("sandbox.resumed", "generation=2");
	assert_true(rig_do("TerminateSandbox", "a"));
	has("sandbox.terminated", "reason=REQUESTED runtimeDurationMs=");
}

static void a_failure_is_in_the_log(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	world.fail_op = "save";
	assert_false(rig_do("PauseSandbox", "a"));
	world.fail_op = NULL;
	has("sandbox.error",
	    "operation=pause code=INTERNAL message=save fails");
}

static void a_lost_guest_is_in_the_log(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	fake_hv_find(sandbox_find(&rig.e->sandboxes, "a")->row.uuid)->life =
		GUEST_LIFE_GONE;
	engine_guest_gone(sandbox_find(&rig.e->sandboxes, "a")->row.uuid,
			  rig.e);
	rig_until(rig_event("sandbox.terminated")[0]);
	has("sandbox.error", "code=GUEST_GONE");
	has("sandbox.terminated", "reason=GUEST_GONE");
}

static void a_lost_guest_with_a_snapshot_is_paused_in_the_log(void **state)
{
	struct sandbox *sb;

	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_do("PauseSandbox", "a"));
	assert_true(rig_do("ResumeSandbox", "a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	fake_hv_find(sb->row.uuid)->life = GUEST_LIFE_GONE;
	engine_guest_gone(sb->row.uuid, rig.e);
	rig_until(sb->row.state == SBX_PAUSED);
	has("sandbox.paused", "reason=GUEST_GONE");
	has("sandbox.paused", "runtimeDurationMs=");
}

/* ---- cost ---- */

static void set_rates(void)
{
	rig.config->rates.vcpu_hour = 3600;
	rig.config->rates.memory_gib_hour = 7200;
	rig.config->rates.disk_gib_hour = 360;
}

static double number_of(const char *type, const char *key)
{
	char want[64];
	const char *at;

	/* Never the first of them. */
	snprintf(want, sizeof(want), " %s=", key);
	at = strstr(rig_event(type), want);
	assert_non_null(at);
	return strtod(at + strlen(want), NULL);
}

static void a_run_costs_what_it_held(void **state)
{
	struct sandbox *sb;

	(void)state;
	set_rates();
	assert_true(rig_create("a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.run_boot_ms -= 10000; /* ten seconds ago */
	assert_true(rig_do("PauseSandbox", "a"));
	has("cost.runtime", "state=RUNNING");
	assert_float_equal(number_of("cost.runtime", "vcpuSeconds"), 20, 2);
	assert_float_equal(number_of("cost.runtime", "memoryGibSeconds"), 20,
			   2);
	assert_float_equal(number_of("cost.runtime", "diskGibSeconds"), 100,
			   10);
	/* 20 vCPU s at 1, 20 GiB s at 2, 100 GiB s of disk at 0.1 */
	assert_float_equal(number_of("cost.runtime", "cost"), 70, 7);
	/* What the fake hypervisor measures. */
	assert_float_equal(number_of("cost.runtime", "cpuSeconds"), 0.005,
			   0.0001);
	assert_int_equal(sb->row.cpu_ms, 5);
}

static void a_pause_costs_disk_alone(void **state)
{
	struct sandbox *sb;

	(void)state;
	set_rates();
	assert_true(rig_create("a"));
	assert_true(rig_do("PauseSandbox", "a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.paused_ms -= 10000;
	assert_true(rig_do("ResumeSandbox", "a"));
	has("cost.runtime", "state=PAUSED");
	has("cost.runtime", "runtimeDurationMs=0");
	assert_float_equal(number_of("cost.runtime", "vcpuSeconds"), 0, 0);
	assert_float_equal(number_of("cost.runtime", "cost"), 10, 1);
	assert_float_equal(number_of("sandbox.resumed", "generation"), 2, 0);
	has("sandbox.resumed", "pausedDurationMs=10");
}

static void cpu_time_adds_up_over_runs(void **state)
{
	Sandbox__Node__V1__GetStatsResponse *r;

	(void)state;
	assert_true(rig_create("a"));
	for (int i = 0; i < 3; i++) {
		assert_true(rig_do("PauseSandbox", "a"));
		assert_true(rig_do("ResumeSandbox", "a"));
	}
	assert_true(rig_do("GetStats", "a"));
	r = sandbox__node__v1__get_stats_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_int_equal(r->cpu_time_ms, 20);
	pb_free(r);
	assert_true(rig_do("TerminateSandbox", "a"));
	assert_int_equal(sandbox_find(&rig.e->sandboxes, "a")->row.cpu_ms, 20);
}

/* ---- ports, egress, templates, the node ---- */

static void ports_open_and_close_in_the_log(void **state)
{
	Sandbox__Node__V1__ExposePortRequest open =
		SANDBOX__NODE__V1__EXPOSE_PORT_REQUEST__INIT;
	Sandbox__Node__V1__ClosePortRequest close =
		SANDBOX__NODE__V1__CLOSE_PORT_REQUEST__INIT;

	(void)state;
	assert_true(rig_create("a"));
	open.sandbox_id = close.sandbox_id = (char *)(uintptr_t) "a";
	open.port = close.port = 8000;
	assert_true(rig_call("ExposePort", &open.base));
	has("port.exposed", "port=8000 url=http://127.0.0.1:2");
	assert_true(rig_call("ClosePort", &close.base));
	has("port.closed", "port=8000 url=http://127.0.0.1:2");
	has("port.closed", "reason=REQUESTED");
	open.port = 9000;
	assert_true(rig_call("ExposePort", &open.base));
	assert_true(rig_do("TerminateSandbox", "a"));
	has("port.closed", "port=9000");
	has("port.closed", "reason=TERMINATED");
}

static void a_template_that_was_built_is_in_the_log(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	has("template.built", "image=debian:12 durationMs=");
	has("template.built", "template=");
}

static void the_node_tells_of_itself(void **state)
{
	Sandbox__Node__V1__DrainNodeRequest drain =
		SANDBOX__NODE__V1__DRAIN_NODE_REQUEST__INIT;

	(void)state;
	has("node.started", "version=" PACKAGE_VERSION);
	assert_string_equal(rig_event("node.libvirt"), "");
	engine_hv_link(false, rig.e);
	has("node.libvirt", "up=false");
	engine_hv_link(true, rig.e);
	has("node.libvirt", "up=true");
	assert_true(rig_call("DrainNode", &drain.base));
	has("node.draining", "draining=true");
}

static void on_idle(void *arg)
{
	(void)arg;
}

static void a_stop_is_in_the_log(void **state)
{
	(void)state;
	engine_close(rig.e, on_idle, NULL);
	has("node.stopping", "nodeId=");
}

static void what_front_reports_is_in_the_log(void **state)
{
	const struct front_pair data[] = { { "path", "/x" } };

	(void)state;
	assert_true(rig_create("a"));
	world.front_ops->event("a", "file.created", data, 1, world.front_arg);
	has("file.created", "path=/x");
	world.front_ops->event("a", "sandbox.created", data, 1,
			       world.front_arg);
	has("sandbox.created", "image="); /* not what front said */
}

/* ---- the journal ---- */

/* All that came until now, with newlines. */
static void hear(int fd, char *ret, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len + 1 < size &&
	       (n = recv(fd, ret + len, size - 1 - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	ret[len] = '\0';
}

static void the_journal_names_sandbox_request_and_reason(void **state)
{
	Sandbox__Node__V1__CreateSandboxRequest m =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[16384];

	(void)state;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/journal", rig.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	log_open("test", LOG_LEVEL_INFO);
	assert_int_equal(log_open_journal(sun.sun_path), 0);
	r.memory_mib = 2048;
	m.resources = &r;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.request_id = (char *)(uintptr_t) "req-1";
	m.image = (char *)(uintptr_t) "debian:12";
	assert_true(rig_call("CreateSandbox", &m.base));
	hear(fd, text, sizeof(text));
	assert_non_null(strstr(text, "SANDBOX_ID=a\nREQUEST_ID=req-1\n"
				     "MESSAGE_ID=" LOG_ID_RUNNING "\n"));
	m.request_id = (char *)(uintptr_t) "req-2";
	assert_false(rig_call("CreateSandbox", &m.base));
	hear(fd, text, sizeof(text));
	assert_non_null(strstr(text, "SANDBOX_ID=a\nREQUEST_ID=req-2\n"
				     "ERROR_CODE=ALREADY_EXISTS\n"
				     "MESSAGE_ID=" LOG_ID_CALL_FAILED "\n"));
	assert_true(rig_do("TerminateSandbox", "a"));
	hear(fd, text, sizeof(text));
	assert_non_null(strstr(text, "SANDBOX_ID=a\n"
				     "MESSAGE_ID=" LOG_ID_TERMINATED "\n"));
	log_open("test", (enum log_level)0);
	close(fd);
}

/* ---- reading ---- */

static void an_event_names_its_node(void **state)
{
	Sandbox__Ipc__V1__ReadEventsResponse *r;
	Sandbox__Node__V1__Event *event;
	char *types[] = { (char *)(uintptr_t) "node." };

	(void)state;
	world.front_ops->read_events(4000, 0, "", types, 1, 10,
				     world.front_arg);
	r = sandbox__ipc__v1__read_events_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_int_equal(r->n_events, 1);
	event = sandbox__node__v1__event__unpack(NULL, r->events[0].len,
						 r->events[0].data);
	assert_string_equal(event->type, "node.started");
	assert_string_equal(event->node_id, rig.e->node_id);
	assert_int_equal(event->sequence, 1);
	pb_free(event);
	pb_free(r);
}

static void old_events_go_and_numbers_go_on(void **state)
{
	uint64_t oldest, newest, last;

	(void)state;
	/* What the start itself was worth telling, and this host's state. */
	store_events_range(rig.e->store, &oldest, &last);
	last += 250;
	rig.config->events_max = 100;
	for (int i = 0; i < 250; i++)
		event_emit(rig.e, "node.draining", "", NULL, 0);
	event_trim(rig.e);
	store_events_range(rig.e->store, &oldest, &newest);
	assert_int_equal(newest, last);
	assert_int_equal(newest - oldest + 1, 100);
	/* Older than no time at all: of a millisecond before. */
	for (int64_t t = loop_wall_ms(); loop_wall_ms() == t;)
		;
	rig.config->events_age_ms = 0;
	event_trim(rig.e);
	store_events_range(rig.e->store, &oldest, &newest);
	assert_int_equal(newest, last);
	assert_int_equal(oldest, last);
	event_emit(rig.e, "node.draining", "", NULL, 0);
	store_events_range(rig.e->store, &oldest, &newest);
	assert_int_equal(newest, last + 1);
}

/* ---- as JSON ---- */

static void an_event_is_a_cloud_event(void **state)
{
	const struct cloud_pair data[] = {
		{ "exitCode", "0" },	 { "command", "123" },
		{ "timedOut", "false" }, { "path", "a\"b\n" },
		{ "durationMs", "007" }, { "cost", "0.25" },
	};
	const struct cloud_event e = { .sequence = 7,
				       .node_id = "n1",
				       .type = "exec.completed",
				       .sandbox_id = "sb",
				       .seconds = 1,
				       .nanos = 500000000,
				       .data = data,
				       .n_data = 6 };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	cloud_event_write(out, &e);
	fclose(out);
	assert_string_equal(
		text,
		"{\"specversion\":\"1.0\",\"id\":\"7\","
		"\"source\":\"sandboxd/n1\",\"type\":\"exec.completed\","
		"\"subject\":\"sb\",\"time\":\"1970-01-01T00:00:01.500Z\","
		"\"sequence\":\"7\",\"datacontenttype\":\"application/json\","
		"\"data\":{\"sandboxId\":\"sb\",\"exitCode\":0,"
		"\"command\":\"123\",\"timedOut\":false,"
		"\"path\":\"a\\\"b\\n\",\"durationMs\":\"007\","
		"\"cost\":0.25}}");
	free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sandboxs_life_is_in_the_log),
		TEST(a_failure_is_in_the_log),
		TEST(a_lost_guest_is_in_the_log),
		TEST(a_lost_guest_with_a_snapshot_is_paused_in_the_log),
		TEST(a_run_costs_what_it_held),
		TEST(a_pause_costs_disk_alone),
		TEST(cpu_time_adds_up_over_runs),
		TEST(ports_open_and_close_in_the_log),
		TEST(a_template_that_was_built_is_in_the_log),
		TEST(the_node_tells_of_itself),
		TEST(a_stop_is_in_the_log),
		TEST(what_front_reports_is_in_the_log),
		TEST(the_journal_names_sandbox_request_and_reason),
		TEST(an_event_names_its_node),
		TEST(old_events_go_and_numbers_go_on),
		cmocka_unit_test(an_event_is_a_cloud_event),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
