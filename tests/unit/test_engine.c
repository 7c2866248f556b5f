/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - the life cycle, with every outside call failing once, and the
 * engine dying at every one
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/merge.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "fakes.h"
#include "parcel_sample.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define NODE(name, NAME)                                                       \
	Sandbox__Node__V1__##name##Request m =                                 \
		SANDBOX__NODE__V1__##NAME##_REQUEST__INIT

/* One node over fakes; dies and starts again over the same directory. */
static struct rig {
	char dir[64];
	char settings[256];
	struct loop *loop;
	struct job_pool *jobs;
	struct config *config;
	struct engine *e;
	bool dead;
	uint64_t next_id;
} rig;

static void die(void *arg)
{
	(void)arg;
	rig.dead = true;
	engine_halt(rig.e);
	loop_stop(rig.loop, 0);
}

static void start(void)
{
	char text[1024];
	struct error err = { 0 };
	char cwd[256];
	struct hv *hv;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(text, sizeof(text),
		 "[node]\nstate_dir = %s/state\nrun_dir = %s/run\n"
		 "[api]\nuser =\n[network]\nresolver_user =\nsplice_user =\n"
		 "[limits]\nvcpu_overcommit = 999\nmemory_overcommit = 999\n"
		 "disk_overcommit = 999\ndisk_reserve_mib = 0\n"
		 "create_rate = 10000\ncreate_burst = 10000\n"
		 "[paths]\nlibexec = %s\n%s",
		 rig.dir, rig.dir, cwd, rig.settings);
	if (config_parse("test", text, &rig.config, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(loop_new(&rig.loop, &err), 0);
	assert_int_equal(job_pool_new(rig.loop, 2, &rig.jobs, &err), 0);
	world.loop = rig.loop;
	world.die = die;
	rig.dead = false;
	fake_hv_new(&hv);
	if (engine_new(rig.loop, rig.jobs, rig.config, hv, &rig.e, &err) < 0)
		fail_msg("%s", err.msg);
	engine_hv_link(true, rig.e);
}

static void stop(void)
{
	engine_halt(rig.e);
	job_pool_free(rig.jobs);
	engine_free(rig.e);
	loop_free(rig.loop);
	config_free(rig.config);
	rig.e = NULL;
}

static int setup(void **state)
{
	(void)state;
	log_open("test", (enum log_level)0);
	world_reset();
	memset(&rig, 0, sizeof(rig));
	strcpy(rig.dir, "/tmp/sbxengine.XXXXXX");
	if (!mkdtemp(rig.dir))
		return -1;
	strcpy(rig.settings, "[pool]\nmin = 0\n");
	start();
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	stop();
	world_reset();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", rig.dir);
	return system(cmd);
}

static void tick(void)
{
	sd_event_run(loop_event(rig.loop), 20000);
}

/* Until nothing is under way. */
static void settle(void)
{
	for (int i = 0; i < 20000 && !rig.dead; i++) {
		if (list_empty(&rig.e->tasks) && rig.e->recovering == 0 &&
		    !rig.e->refilling)
			break;
		tick();
	}
}

static uint64_t ask(const char *method, const ProtobufCMessage *m)
{
	size_t len;
	uint8_t *packed = pb_pack(m, &len);
	int fd = -1;
	uint64_t id = ++rig.next_id;

	world.front_ops->call(id, method, "uid:0", packed, len, &fd, rig.e);
	free(packed);
	return id;
}

/* Ask, and wait for the answer. True: it succeeded. */
static bool call(const char *method, const ProtobufCMessage *m)
{
	uint64_t id = ask(method, m);

	/* Others may be answered in the same turn of the loop. */
	for (int i = 0; i < 20000 && !rig.dead && !world.answered[id]; i++)
		tick();
	return !rig.dead && world.answered[id] == 1;
}

static bool create(const char *id, const char *request_id)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;

	r.memory_mib = 2048;
	m.resources = &r;
	m.sandbox_id = (char *)(uintptr_t)id;
	m.request_id = (char *)(uintptr_t)request_id;
	m.image = (char *)(uintptr_t) "debian:12";
	return call("CreateSandbox", &m.base);
}

static bool pause_it(const char *id)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);

	m.sandbox_id = (char *)(uintptr_t)id;
	return call("PauseSandbox", &m.base);
}

static bool resume_it(const char *id)
{
	NODE(ResumeSandbox, RESUME_SANDBOX);

	m.sandbox_id = (char *)(uintptr_t)id;
	return call("ResumeSandbox", &m.base);
}

static bool terminate(const char *id)
{
	NODE(TerminateSandbox, TERMINATE_SANDBOX);

	m.sandbox_id = (char *)(uintptr_t)id;
	return call("TerminateSandbox", &m.base);
}

static enum sandbox_state state_of(const char *id)
{
	struct sandbox *sb = sandbox_find(&rig.e->sandboxes, id);

	return sb ? sb->row.state : SBX_NONE;
}

static size_t files(const char *dir)
{
	char path[128];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/state/%s", rig.dir, dir);
	d = opendir(path);
	while (d && (entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void assert_nothing_but(size_t guests, size_t snapshots)
{
	struct quota_use use;

	assert_int_equal(fake_hv_count(), guests);
	assert_int_equal(fake_net_count(), guests);
	assert_int_equal(files("guests"), guests);
	assert_int_equal(files("snapshots"), snapshots);
	assert_int_equal(rig.e->slots.used, guests);
	quota_use(rig.e->quota, &use);
	assert_int_equal(use.vcpus, guests * 2);
}

/* ---- tests ---- */

static void a_sandbox_lives_and_ends(void **state)
{
	(void)state;
	assert_true(create("a", ""));
	assert_int_equal(state_of("a"), SBX_RUNNING);
	assert_true(fake_front_has("a"));
	assert_nothing_but(1, 0);
	assert_true(pause_it("a"));
	assert_int_equal(state_of("a"), SBX_PAUSED);
	assert_nothing_but(0, 1);
	assert_true(resume_it("a"));
	assert_int_equal(state_of("a"), SBX_RUNNING);
	assert_int_equal(sandbox_find(&rig.e->sandboxes, "a")->row.generation,
			 2);
	assert_nothing_but(1, 1);
	assert_true(terminate("a"));
	assert_int_equal(state_of("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
	assert_true(terminate("a"));
	assert_false(pause_it("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_STATE");
}

/* The ids of a page, in its order, without spaces between; and its total. */
static uint32_t page(uint32_t state, uint32_t offset, uint32_t limit,
		     const char *image, char ret[64])
{
	NODE(ListSandboxes, LIST_SANDBOXES);
	Sandbox__Node__V1__ListSandboxesResponse *r;
	uint32_t total;

	m.state = (Sandbox__Node__V1__SandboxState)state;
	m.offset = offset;
	m.limit = limit;
	m.image = (char *)(uintptr_t)image;
	assert_true(call("ListSandboxes", &m.base));
	r = sandbox__node__v1__list_sandboxes_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	ret[0] = '\0';
	for (size_t i = 0; i < r->n_sandboxes; i++)
		strcat(ret, r->sandboxes[i]->id);
	total = r->pagination->total;
	assert_int_equal(r->pagination->has_more,
			 offset + r->n_sandboxes < total);
	pb_free(r);
	return total;
}

static void pages_are_of_those_that_have_not_ended_newest_first(void **state)
{
	char ids[64];

	(void)state;
	for (const char *id = "abcde"; *id; id++)
		assert_true(create((char[]){ *id, '\0' }, ""));
	assert_true(terminate("b"));
	assert_true(terminate("e"));
	assert_true(pause_it("c"));
	assert_int_equal(page(0, 0, 0, "", ids), 3);
	assert_string_equal(ids, "dca");
	assert_int_equal(page(0, 1, 1, "", ids), 3);
	assert_string_equal(ids, "c");
	assert_int_equal(page(0, 7, 2, "", ids), 3);
	assert_string_equal(ids, "");
	assert_int_equal(page(SBX_RUNNING, 0, 0, "", ids), 2);
	assert_string_equal(ids, "da");
	assert_int_equal(page(SBX_PAUSED, 0, 0, "debian:12", ids), 1);
	assert_string_equal(ids, "c");
	assert_int_equal(page(SBX_TERMINATED, 0, 1, "", ids), 2);
	assert_string_equal(ids, "e");
	assert_int_equal(page(0, 1, 9, "debian:12", ids), 3);
	assert_string_equal(ids, "ca");
	stop();
	start();
	settle();
	assert_int_equal(page(0, 0, 0, "", ids), 3);
	assert_string_equal(ids, "dca");
}

static void a_rule_that_opens_nothing_here_is_refused_by_its_field(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__EgressPolicy egress =
		SANDBOX__NODE__V1__EGRESS_POLICY__INIT;
	Sandbox__Node__V1__EgressRule rule =
		SANDBOX__NODE__V1__EGRESS_RULE__INIT;
	Sandbox__Node__V1__EgressRule *rules[] = { &rule };

	(void)state;
	rule.target = (char *)(uintptr_t) "10.1.2.0/24";
	egress.n_allow = 1;
	egress.allow = rules;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.egress = &egress;
	assert_false(call("CreateSandbox", &m.base));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_CONFIG");
	assert_string_equal(world.answer_err.field, "egress.allow[0].target");
	assert_nothing_but(0, 0);
}

static void a_create_that_fails_anywhere_leaves_nothing(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n < 100; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (create("a", "") && world.calls < n)
			break;
		world.fail_at = 0;
		settle();
		if (state_of("a") == SBX_RUNNING) { /* a template's failure */
			/* Its id would be taken for a day. */
			teardown(NULL);
			setup(NULL);
			continue;
		}
		assert_int_equal(state_of("a"), SBX_NONE);
		assert_nothing_but(0, 0);
	}
	assert_in_range(n, 6, 99);
}

static void a_pause_that_fails_leaves_it_running(void **state)
{
	unsigned int n, failed = 0;

	(void)state;
	assert_true(create("a", ""));
	for (n = 1; n < 50; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (pause_it("a"))
			break;
		world.fail_at = 0;
		failed++;
		settle();
		assert_int_equal(state_of("a"), SBX_RUNNING);
		assert_true(fake_front_has("a"));
		assert_nothing_but(1, 0);
	}
	assert_in_range(failed, 2, 10);
	assert_int_equal(state_of("a"), SBX_PAUSED);
}

static void a_resume_that_fails_can_be_repeated(void **state)
{
	unsigned int n, failed = 0;

	(void)state;
	assert_true(create("a", ""));
	assert_true(pause_it("a"));
	for (n = 1; n < 50; n++) {
		world.calls = 0;
		world.fail_at = n;
		if (resume_it("a"))
			break;
		world.fail_at = 0;
		failed++;
		settle();
		assert_int_equal(state_of("a"), SBX_PAUSED);
		assert_nothing_but(0, 1);
	}
	assert_in_range(failed, 4, 10);
	assert_int_equal(state_of("a"), SBX_RUNNING);
}

static void pauses_at_once_are_one_pause(void **state)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);
	unsigned int before;

	(void)state;
	assert_true(create("a", ""));
	m.sandbox_id = (char *)(uintptr_t) "a";
	before = world.answers;
	ask("PauseSandbox", &m.base);
	ask("PauseSandbox", &m.base);
	assert_true(call("PauseSandbox", &m.base));
	assert_int_equal(world.answers - before, 3);
	assert_nothing_but(0, 1);
}

static void a_request_that_was_seen_is_answered_again(void **state)
{
	uint8_t *first;
	size_t len;

	(void)state;
	assert_true(create("", "r1"));
	len = world.answer_len;
	first = xmemdup(world.answer, len);
	assert_true(create("", "r1"));
	assert_int_equal(world.answer_len, len);
	assert_memory_equal(world.answer, first, len);
	assert_int_equal(fake_hv_count(), 1);
	/* Also after a restart; and not for another content. */
	stop();
	start();
	settle();
	assert_true(create("", "r1"));
	assert_memory_equal(world.answer, first, len);
	assert_false(create("other", "r1"));
	assert_string_equal(world.answer_err.field, "request_id");
	free(first);
}

static void a_request_under_way_is_joined(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	unsigned int before = world.answers;

	(void)state;
	m.request_id = (char *)(uintptr_t) "r";
	m.image = (char *)(uintptr_t) "debian:12";
	ask("CreateSandbox", &m.base);
	ask("CreateSandbox", &m.base);
	assert_true(call("CreateSandbox", &m.base));
	assert_int_equal(world.answers - before, 3);
	assert_int_equal(fake_hv_count(), 1);
}

static void a_failed_request_may_be_tried_again(void **state)
{
	(void)state;
	world.fail_op = "start";
	assert_false(create("a", "r"));
	world.fail_op = NULL;
	assert_true(create("a", "r"));
}

static void terminate_ends_what_is_on_its_way(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	ask("CreateSandbox", &m.base);
	assert_int_equal(state_of("a"), SBX_CREATING);
	assert_true(terminate("a"));
	settle();
	assert_int_equal(state_of("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
}

static void terminate_says_what_holds_it_and_goes_on(void **state)
{
	(void)state;
	assert_true(create("a", ""));
	world.destroy_fails = true;
	assert_true(terminate("a"));
	assert_int_equal(state_of("a"), SBX_TERMINATING);
	assert_non_null(strstr(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			       "kernel"));
	world.destroy_fails = false;
	settle();
	assert_int_equal(state_of("a"), SBX_TERMINATED);
	assert_nothing_but(0, 0);
}

static void calls_wake_what_sleeps_once(void **state)
{
	unsigned int before;

	(void)state;
	assert_true(create("a", ""));
	assert_true(pause_it("a"));
	before = world.answers;
	world.configures = 0;
	for (uint64_t i = 0; i < 20; i++)
		world.front_ops->acquire(1000 + i, "a", "uid:0", rig.e);
	while (world.answers - before < 20)
		tick();
	assert_true(world.answer_ok);
	assert_int_equal(world.configures, 1);
	assert_int_equal(state_of("a"), SBX_RUNNING);
}

static void what_idles_is_paused_unless_it_is_in_use(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	struct sandbox *sb;

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.idle_timeout_ms = 1000;
	assert_true(call("CreateSandbox", &m.base));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	world.front_ops->acquire(77, "a", "uid:0", rig.e);
	assert_int_equal(world.answer_id, 77);
	/* As if long ago: only the lease keeps it. */
	sb->row.busy_boot_ms -= 5000;
	for (int i = 0; i < 50; i++)
		tick();
	assert_int_equal(state_of("a"), SBX_RUNNING);
	world.front_ops->release(1, rig.e);
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
}

/* One that pauses after a second, and what its witnesses say of it. */
static struct sandbox *create_idler(bool host_busy, int user_cpu)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	world.cpu_busy = host_busy;
	world.user_cpu = user_cpu;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.idle_timeout_ms = 1000;
	assert_true(call("CreateSandbox", &m.base));
	return sandbox_find(&rig.e->sandboxes, "a");
}

static void tick_for(uint64_t ms)
{
	uint64_t end = loop_now_ms() + ms;

	while (loop_now_ms() < end)
		tick();
}

static void a_build_in_the_background_is_not_idle(void **state)
{
	(void)state;
	create_idler(true, 2);
	tick_for(2500);
	assert_int_equal(state_of("a"), SBX_RUNNING);
	world.cpu_busy = false;
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
}

static void an_agent_that_lies_about_work_keeps_nothing_awake(void **state)
{
	(void)state;
	create_idler(false, 2);
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
}

static void the_hosts_own_work_for_a_guest_is_no_use_of_it(void **state)
{
	(void)state;
	create_idler(true, 1);
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
}

static void an_agent_that_says_nothing_leaves_it_to_the_host(void **state)
{
	(void)state;
	create_idler(true, 0);
	tick_for(2500);
	assert_int_equal(state_of("a"), SBX_RUNNING);
}

static void network_bytes_are_use(void **state)
{
	uint64_t end;

	(void)state;
	create_idler(false, 1);
	for (end = loop_now_ms() + 2500; loop_now_ms() < end;) {
		world.net_bytes++;
		tick();
	}
	assert_int_equal(state_of("a"), SBX_RUNNING);
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
}

static void restarts_do_not_put_off_the_idle_pause(void **state)
{
	struct sandbox *sb;
	uint64_t busy;

	(void)state;
	assert_true(create("a", ""));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.busy_boot_ms = busy = loop_boot_ms();
	engine_close(rig.e, die, NULL);
	stop();
	start();
	settle();
	while (!fake_front_has("a"))
		tick();
	sb = sandbox_find(&rig.e->sandboxes, "a");
	assert_int_equal(sb->row.busy_boot_ms, busy);
}

/* The wall clock is a day off while the host runs. */
static void a_clock_that_jumps_changes_no_age_and_no_cost(void **state)
{
	struct sandbox *sb;
	const int64_t day = 24 * 3600 * 1000ll;

	(void)state;
	assert_true(create("a", ""));
	for (int64_t jump = -day; jump <= day; jump += 2 * day) {
		sb = sandbox_find(&rig.e->sandboxes, "a");
		sb->row.created_ms += jump;
		sb->row.run_ms += jump;
		store_begin(rig.e->store);
		store_sandbox_put(rig.e->store, &sb->row);
		assert_int_equal(store_commit(rig.e->store, NULL), 0);
		stop();
		start();
		settle();
		sb = sandbox_find(&rig.e->sandboxes, "a");
		assert_int_equal(sb->row.state, SBX_RUNNING);
		assert_true(sandbox_age_ms(sb) < 60000);
		assert_true(sandbox_runtime_ms(sb) < 60000);
	}
}

/* Then only the wall clock is left, and it must not make anything negative. */
static void after_a_reboot_the_wall_clock_tells_the_age(void **state)
{
	struct sandbox *sb;

	(void)state;
	assert_true(create("a", ""));
	assert_true(pause_it("a"));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	strcpy(rig.e->boot_id, "another");
	sb->row.created_ms = loop_wall_ms() - 5000;
	assert_in_range(sandbox_age_ms(sb), 5000, 6000);
	sb->row.created_ms = loop_wall_ms() + 3600000;
	assert_int_equal(sandbox_age_ms(sb), 0);
}

static void life_ends_at_its_timeout(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.timeout_ms = 1000;
	assert_true(call("CreateSandbox", &m.base));
	while (state_of("a") != SBX_TERMINATED)
		tick();
	settle();
	assert_string_equal(sandbox_find(&rig.e->sandboxes, "a")->row.reason,
			    "TIMEOUT");
}

static void only_so_many_that_ended_are_remembered(void **state)
{
	(void)state;
	assert_true(create("a", ""));
	assert_true(create("b", ""));
	assert_true(create("c", ""));
	assert_true(terminate("b"));
	assert_true(terminate("a"));
	engine_forget_terminated(rig.e, 2);
	assert_int_equal(state_of("a"), SBX_TERMINATED);
	engine_forget_terminated(rig.e, 1);
	assert_int_equal(state_of("a"), SBX_NONE);
	assert_int_equal(state_of("b"), SBX_TERMINATED);
	assert_int_equal(state_of("c"), SBX_RUNNING);
	stop();
	start();
	settle();
	assert_int_equal(state_of("a"), SBX_NONE);
	assert_int_equal(state_of("b"), SBX_TERMINATED);
}

static void a_guest_that_is_gone_is_noticed(void **state)
{
	struct sandbox *sb;

	(void)state;
	assert_true(create("a", ""));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	world.n_guests = 0;
	engine_guest_gone(sb->row.uuid, rig.e);
	while (state_of("a") != SBX_TERMINATED)
		tick();
	settle();
	assert_string_equal(sb->row.reason, "GUEST_GONE");
	assert_nothing_but(0, 0);
}

static void guests_live_through_a_restart(void **state)
{
	(void)state;
	assert_true(create("a", ""));
	assert_true(create("b", ""));
	assert_true(pause_it("b"));
	stop();
	start();
	settle();
	assert_int_equal(state_of("a"), SBX_RUNNING);
	assert_int_equal(state_of("b"), SBX_PAUSED);
	while (!fake_front_has("a"))
		tick();
	assert_nothing_but(1, 1);
	assert_true(resume_it("b"));
}

/* Until the world has no more calls to die at. */
/* Front, or the engine before, may have frozen it and not lived to thaw it. */
static void whoever_is_attached_again_is_thawed(void **state)
{
	unsigned int before;

	(void)state;
	assert_true(create("a", ""));
	before = world.thaws;
	world.front_ops->down("killed", world.front_arg);
	world.front_ops->up(world.front_arg);
	while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
		tick();
	assert_int_equal(world.thaws, before + 1);
	stop();
	start();
	settle();
	while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
		tick();
	assert_int_equal(world.thaws, before + 2);
}

static void a_death_anywhere_is_recovered_from(void **state)
{
	unsigned int n, deaths = 0;

	(void)state;
	for (n = 1; n < 200; n++) {
		world.calls = 0;
		world.die_at = n;
		if (create("a", "") && pause_it("a") && resume_it("a") &&
		    pause_it("a") && resume_it("a")) {
			world.die_at = 0;
			break;
		}
		assert_true(rig.dead);
		deaths++;
		world.die_at = 0;
		stop();
		start();
		settle();
		switch (state_of("a")) {
		case SBX_NONE:
			assert_nothing_but(0, 0);
			break;
		case SBX_RUNNING:
			while (!sandbox_find(&rig.e->sandboxes, "a")->attached)
				tick();
			assert_int_equal(fake_hv_count(), 1);
			assert_true(terminate("a"));
			break;
		case SBX_PAUSED:
			assert_nothing_but(0, 1);
			assert_true(resume_it("a"));
			assert_true(terminate("a"));
			break;
		default:
			fail_msg("death %u left %s", n,
				 sandbox_state_str(state_of("a")));
		}
		settle();
		assert_nothing_but(0, 0);
		teardown(NULL);
		setup(NULL);
	}
	assert_in_range(deaths, 20, 199);
}

static void a_pool_serves_and_is_filled_again(void **state)
{
	(void)state;
	stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	start();
	assert_true(create("a", ""));
	while (pool_ready(rig.e, NULL) < 1)
		tick();
	assert_true(create("b", ""));
	assert_string_equal(
		sandbox_find(&rig.e->sandboxes, "b")->row.start_kind, "pool");
	while (pool_ready(rig.e, NULL) < 1)
		tick();
	settle();
	assert_nothing_but(3, 0);
	/* It waits through a restart. */
	stop();
	start();
	settle();
	assert_int_equal(pool_ready(rig.e, NULL), 1);
	assert_nothing_but(3, 0);
}

static void a_clone_that_does_not_start_costs_only_time(void **state)
{
	(void)state;
	stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	start();
	assert_true(create("a", ""));
	while (pool_ready(rig.e, NULL) < 1)
		tick();
	world.fail_op = "release";
	assert_true(create("b", ""));
	world.fail_op = NULL;
	settle();
	assert_int_equal(state_of("b"), SBX_RUNNING);
}

static void creates_share_the_building_of_a_template(void **state)
{
	NODE(CreateSandbox, CREATE_SANDBOX);

	(void)state;
	m.image = (char *)(uintptr_t) "debian:12";
	ask("CreateSandbox", &m.base);
	ask("CreateSandbox", &m.base);
	assert_true(call("CreateSandbox", &m.base));
	settle();
	assert_int_equal(files("templates"), 1);
	assert_int_equal(fake_hv_count(), 3);
}

static void another_cpu_needs_templates_and_clones_of_its_own(void **state)
{
	(void)state;
	stop();
	strcpy(rig.settings, "[pool]\nmin = 1\nrefill = 0\n");
	start();
	assert_true(create("a", ""));
	while (pool_ready(rig.e, NULL) < 1)
		tick();
	stop();
	world.cpu_model = "another";
	start();
	settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	assert_true(create("b", ""));
	settle();
	assert_int_equal(files("templates"), 2);
	while (pool_ready(rig.e, NULL) < 1)
		tick();
	assert_int_equal(pool_ready(rig.e, NULL), 1);
}

/* Import the sample; what is said of it is in the world's answer_err. */
static bool import_sample(void)
{
	struct parcel_stream s = parcel_sample_stream(&parcel_sample.m);
	size_t room = ZSTD_compressBound(s.len), n;
	uint8_t *packed = xcalloc(1, room);
	int fd = memfd_create("stream", MFD_CLOEXEC);
	unsigned int before = world.answers;

	n = ZSTD_compress(packed, room, s.data, s.len, 1);
	assert_false(ZSTD_isError(n));
	assert_int_equal(write(fd, packed, n), n);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	world.front_ops->call(++rig.next_id, "ImportSnapshot", "uid:0", NULL, 0,
			      &fd, rig.e);
	assert_int_equal(fd, -EBADF);
	while (world.answers == before)
		tick();
	free(packed);
	free(s.data);
	return world.answer_ok;
}

/* One that fits this node, but for what a test changes. */
static void fitting_sample(void)
{
	parcel_sample_new();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "kvm";
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "7";
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "mine";
	parcel_sample.platform.network = true;
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:1";
	parcel_sample.m.memory_mib = parcel_sample.resources.memory_mib = 4096;
	parcel_sample.resources.disk_mib = 10240;
	parcel_sample.spec.sandbox_id = (char *)(uintptr_t) "far";
	parcel_sample.spec.image = (char *)(uintptr_t) "elsewhere:1";
	parcel_sample.spec.timeout_ms = 60000;
}

static void refused_import(const char *reason, const char *word)
{
	assert_false(import_sample());
	if (strcmp(err_reason_of(&world.answer_err), reason) != 0 ||
	    !strstr(world.answer_err.msg, word))
		fail_msg("%s: %s", err_reason_of(&world.answer_err),
			 world.answer_err.msg);
	assert_int_equal(files("snapshots"), 0);
	assert_int_equal(files("templates"), 0);
}

static void a_node_that_cannot_clone_boots_cold_and_says_so(void **state)
{
	NODE(GetNode, GET_NODE);
	Sandbox__Node__V1__GetNodeResponse *r;

	(void)state;
	stop();
	world.clones_fail = true;
	start();
	while (rig.e->testing)
		tick();
	assert_true(create("a", ""));
	settle();
	assert_int_equal(files("templates"), 0);
	assert_int_equal(state_of("a"), SBX_RUNNING);
	assert_true(call("GetNode", &m.base));
	r = sandbox__node__v1__get_node_response__unpack(NULL, world.answer_len,
							 world.answer);
	assert_non_null(r);
	assert_string_equal(r->snapshot_mechanism, "save");
	assert_int_equal(r->n_problems, 1);
	assert_non_null(strstr(r->problems[0], "self-test"));
	sandbox__node__v1__get_node_response__free_unpacked(r, NULL);
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "";
	refused_import("DATA_LOSS", "cpu_model");
	fitting_sample();
	refused_import("UNAVAILABLE", "cannot clone");
}

static void snapshots_of_other_hosts_are_refused_by_what_differs(void **state)
{
	(void)state;
	stop();
	world.cpu_model = "mine";
	start();
	fitting_sample();
	parcel_sample.platform.cpu_model = (char *)(uintptr_t) "theirs";
	refused_import("INVALID_STATE", "saved on CPU 'theirs'");
	fitting_sample();
	parcel_sample.platform.qemu_version = (char *)(uintptr_t) "99.1.0";
	refused_import("INVALID_STATE", "saved by QEMU 99.1.0");
	fitting_sample();
	parcel_sample.platform.accelerator = (char *)(uintptr_t) "tcg";
	refused_import("INVALID_STATE", "saved under tcg");
	fitting_sample();
	parcel_sample.platform.vsock = true;
	refused_import("INVALID_STATE", "vsock");
	fitting_sample();
	parcel_sample.m.image_digest = (char *)(uintptr_t) "sha256:2";
	refused_import("IMAGE_NOT_FOUND", "elsewhere:1");
	fitting_sample();
	parcel_sample.spec.timeout_ms = 1;
	refused_import("DATA_LOSS", "'spec'");
	/* All fits, and its disks are none. */
	fitting_sample();
	refused_import("DATA_LOSS", "part 'template disk'");
}

/* The only directory in snapshots/. */
static ino_t snapshot_inode(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	ino_t ino = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/state/snapshots", rig.dir);
	d = opendir(path);
	assert_non_null(d);
	while ((entry = readdir(d)))
		if (!strncmp(entry->d_name, "snap_", 5))
			ino = entry->d_ino;
	closedir(d);
	assert_true(ino);
	return ino;
}

static void paused(const char *id)
{
	NODE(PauseSandbox, PAUSE_SANDBOX);

	assert_true(create(id, ""));
	m.sandbox_id = (char *)(uintptr_t)id;
	assert_true(call("PauseSandbox", &m.base));
	settle();
}

static void a_long_chain_is_merged_while_nobody_waits(void **state)
{
	ino_t before;

	(void)state;
	paused("a");
	before = snapshot_inode();
	merge_next(rig.e);
	while (rig.e->merge)
		tick();
	assert_true(before == snapshot_inode());
	/* Looked at once, it is not looked at again. */
	world.long_chains = true;
	merge_next(rig.e);
	assert_null(rig.e->merge);
	paused("b");
	merge_next(rig.e);
	assert_non_null(rig.e->merge);
	while (rig.e->merge)
		tick();
	assert_int_equal(world.merges, 1);
	assert_int_equal(files("guests"), 0);
	assert_int_equal(files("snapshots"), 2);
}

static void a_merge_is_given_up_for_who_comes(void **state)
{
	NODE(ResumeSandbox, RESUME_SANDBOX);
	ino_t before;

	(void)state;
	world.long_chains = world.merge_hangs = true;
	paused("a");
	before = snapshot_inode();
	merge_next(rig.e);
	assert_non_null(rig.e->merge);
	m.sandbox_id = (char *)(uintptr_t) "a";
	assert_true(call("ResumeSandbox", &m.base));
	settle();
	while (rig.e->merge)
		tick();
	assert_int_equal(state_of("a"), SBX_RUNNING);
	assert_true(before == snapshot_inode());
	assert_int_equal(files("guests"), 1);
}

static void a_merge_is_given_up_for_a_terminate(void **state)
{
	NODE(TerminateSandbox, TERMINATE_SANDBOX);

	(void)state;
	world.long_chains = world.merge_hangs = true;
	paused("a");
	merge_next(rig.e);
	m.sandbox_id = (char *)(uintptr_t) "a";
	assert_true(call("TerminateSandbox", &m.base));
	settle();
	while (rig.e->merge)
		tick();
	assert_int_equal(files("snapshots"), 0);
	assert_int_equal(files("guests"), 0);
}

static void what_a_crash_left_of_a_merge_goes(void **state)
{
	char path[PATH_MAX];

	(void)state;
	paused("a");
	snprintf(path, sizeof(path), "%s/state/snapshots/.merge-snap_x",
		 rig.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	stop();
	start();
	settle();
	while (access(path, F_OK) == 0)
		tick();
	assert_int_equal(state_of("a"), SBX_PAUSED);
	snapshot_inode();
}

static void forks_are_sandboxes_of_their_own(void **state)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	(void)state;
	assert_true(create("a", ""));
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.count = 3;
	assert_true(call("ForkSandbox", &m.base));
	settle();
	assert_nothing_but(4, 0);
}

static void one_fork_that_fails_takes_all_back(void **state)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	(void)state;
	assert_true(create("a", ""));
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.count = 3;
	world.fail_op = "Thaw";
	call("ForkSandbox", &m.base);
	assert_false(world.answer_ok);
	world.fail_op = NULL;
	settle();
	assert_nothing_but(1, 0);
}

/* Before the call that starts it has returned. */
static void a_fork_that_fails_at_once_takes_all_back(void **state)
{
	NODE(ForkSandbox, FORK_SANDBOX);

	(void)state;
	assert_true(create("a", ""));
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.count = 3;
	world.fail_op = "net_attach";
	call("ForkSandbox", &m.base);
	assert_false(world.answer_ok);
	world.fail_op = NULL;
	settle();
	assert_nothing_but(1, 0);
}

static void a_restore_replaces_the_guest(void **state)
{
	NODE(RestoreSandbox, RESTORE_SANDBOX);
	Sandbox__Node__V1__CreateSnapshotRequest s =
		SANDBOX__NODE__V1__CREATE_SNAPSHOT_REQUEST__INIT;

	(void)state;
	assert_true(create("a", ""));
	s.sandbox_id = m.sandbox_id = (char *)(uintptr_t) "a";
	s.name = m.snapshot_id = (char *)(uintptr_t) "s1";
	assert_true(call("CreateSnapshot", &s.base));
	assert_false(call("CreateSnapshot", &s.base));
	assert_int_equal(world.answer_err.code, ERR_EXISTS);
	assert_true(call("RestoreSandbox", &m.base));
	settle();
	assert_nothing_but(1, 1);
	world.fail_op = "start";
	assert_false(call("RestoreSandbox", &m.base));
	world.fail_op = NULL;
	settle();
	assert_int_equal(state_of("a"), SBX_RUNNING);
	while (!fake_front_has("a"))
		tick();
	assert_nothing_but(1, 1);
}

static void ports_stay_through_pause_and_restart(void **state)
{
	NODE(ExposePort, EXPOSE_PORT);
	Sandbox__Node__V1__ListPortsRequest l =
		SANDBOX__NODE__V1__LIST_PORTS_REQUEST__INIT;

	(void)state;
	assert_true(create("a", ""));
	l.sandbox_id = m.sandbox_id = (char *)(uintptr_t) "a";
	m.port = 80;
	assert_true(call("ExposePort", &m.base));
	assert_true(pause_it("a"));
	stop();
	world.listening = 0;
	start();
	settle();
	for (int i = 0; i < 10 && !world.listening; i++)
		tick();
	assert_int_equal(world.listening, 1);
	assert_true(call("ListPorts", &l.base));
	assert_true(world.answer_len > 0);
	assert_true(terminate("a"));
	assert_int_equal(world.listening, 0);
}

static struct pressure_reading host_has;

static int read_host(const char *state_dir, struct pressure_reading *ret,
		     struct error *err)
{
	(void)state_dir;
	(void)err;
	*ret = host_has;
	return 0;
}

/* A node with a reserve of 1000 MiB of each, and clones that wait. */
static void start_with_reserves(void)
{
	stop();
	strcpy(rig.settings, "[limits]\nmemory_reserve_mib = 1000\n"
			     "disk_reserve_mib = 1000\n"
			     "pressure_pause = yes\n[pool]\nmin = 1\n");
	start();
	host_has = (struct pressure_reading){ .disk_mib = 5000,
					      .memory_mib = 5000,
					      .inodes_percent = 50 };
	rig.e->read_pressure = read_host;
	pressure_look(rig.e);
	assert_true(create("a", ""));
	while (pool_ready(rig.e, NULL) == 0)
		tick();
	settle();
}

static void assert_refused(const char *word)
{
	assert_false(create("b", ""));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_non_null(strstr(world.answer_err.msg, word));
	assert_true(world.answer_err.retry_ms > 0);
}

static void a_full_disk_admits_nothing_and_empties_pools(void **state)
{
	(void)state;
	start_with_reserves();
	host_has.disk_mib = 999;
	pressure_look(rig.e);
	assert_int_equal(rig.e->pressure.disk, PRESSURE_LOW);
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	assert_refused("disk");
	settle();
	/* Nothing comes back while it lasts, and a little more is not over. */
	pool_refill(rig.e);
	settle();
	assert_int_equal(pool_ready(rig.e, NULL), 0);
	host_has.disk_mib = 1001;
	pressure_look(rig.e);
	assert_refused("disk");
	host_has.disk_mib = 2000;
	pressure_look(rig.e);
	assert_true(create("b", ""));
	assert_true(terminate("a"));
	host_has.disk_mib = 1;
	pressure_look(rig.e);
	assert_true(terminate("b"));
}

static void a_full_disk_takes_unused_templates_first_unused_first(void **state)
{
	size_t before;

	(void)state;
	start_with_reserves();
	assert_true(terminate("a"));
	settle();
	before = files("templates");
	assert_int_equal(before, 1);
	host_has.inodes_percent = 1;
	pressure_look(rig.e);
	settle();
	pressure_look(rig.e);
	settle();
	assert_int_equal(files("templates"), 0);
	assert_refused("inodes");
}

static void short_memory_pauses_what_nobody_uses(void **state)
{
	struct sandbox *sb;

	(void)state;
	start_with_reserves();
	assert_true(create("c", ""));
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.busy_boot_ms -= 60000;
	host_has.memory_mib = 800;
	pressure_look(rig.e);
	settle();
	/* Low: nothing new, but what runs runs. */
	assert_refused("memory");
	assert_int_equal(state_of("a"), SBX_RUNNING);
	host_has.memory_mib = 400;
	sb->row.busy_boot_ms -= 60000;
	pressure_look(rig.e);
	while (state_of("a") != SBX_PAUSED)
		tick();
	settle();
	assert_int_equal(state_of("c"), SBX_RUNNING);
	assert_false(resume_it("a"));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_int_equal(state_of("a"), SBX_PAUSED);
	host_has.memory_mib = 5000;
	pressure_look(rig.e);
	assert_true(resume_it("a"));
}

static void tasks_that_wait_for_memory_are_pressure_too(void **state)
{
	(void)state;
	start_with_reserves();
	host_has.stalled_percent = 60;
	pressure_look(rig.e);
	assert_int_equal(rig.e->pressure.memory, PRESSURE_HIGH);
	assert_refused("memory");
	host_has.stalled_percent = 15;
	pressure_look(rig.e);
	assert_refused("memory");
	host_has.stalled_percent = 5;
	pressure_look(rig.e);
	assert_true(create("b", ""));
}

static void admission_has_limits(void **state)
{
	(void)state;
	stop();
	strcpy(rig.settings, "[limits]\nsandboxes_max = 1\n"
			     "[pool]\nmin = 0\n[quota.t]\nvcpus_max = 1\n");
	start();
	assert_true(create("a", ""));
	assert_false(create("b", ""));
	assert_string_equal(err_reason_of(&world.answer_err),
			    "RESOURCE_EXHAUSTED");
	assert_int_equal(state_of("b"), SBX_NONE);
	assert_true(terminate("a"));
	assert_true(create("b", ""));
}

static void
an_old_guest_of_nobody_is_swept_only_by_a_used_database(void **state)
{
	char path[192];
	struct guest_spec spec = {
		.uuid = "11111111-1111-4111-8111-111111111111"
	};

	(void)state;
	snprintf(path, sizeof(path), "%s/state/guests/%s", rig.dir, spec.uuid);
	assert_true(create("a", ""));
	stop();
	assert_int_equal(mkdir(path, 0700), 0);
	start();
	settle();
	engine_hv_link(false, rig.e);
	engine_hv_link(true, rig.e);
	settle();
	assert_int_not_equal(access(path, F_OK), 0);
	assert_nothing_but(1, 0);
	/* A new database beside old files touches nothing. */
	stop();
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "rm %s/state/sandboxd.db*", rig.dir);
	assert_int_equal(system(path), 0);
	start();
	settle();
	engine_hv_link(false, rig.e);
	engine_hv_link(true, rig.e);
	settle();
	assert_true(rig.e->foreign);
	assert_int_equal(files("guests"), 2);
	assert_int_equal(fake_hv_count(), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_sandbox_lives_and_ends),
		T(pages_are_of_those_that_have_not_ended_newest_first),
		T(a_rule_that_opens_nothing_here_is_refused_by_its_field),
		T(a_create_that_fails_anywhere_leaves_nothing),
		T(a_pause_that_fails_leaves_it_running),
		T(a_resume_that_fails_can_be_repeated),
		T(pauses_at_once_are_one_pause),
		T(a_request_that_was_seen_is_answered_again),
		T(a_request_under_way_is_joined),
		T(a_failed_request_may_be_tried_again),
		T(terminate_ends_what_is_on_its_way),
		T(terminate_says_what_holds_it_and_goes_on),
		T(calls_wake_what_sleeps_once),
		T(what_idles_is_paused_unless_it_is_in_use),
		T(a_build_in_the_background_is_not_idle),
		T(an_agent_that_lies_about_work_keeps_nothing_awake),
		T(the_hosts_own_work_for_a_guest_is_no_use_of_it),
		T(an_agent_that_says_nothing_leaves_it_to_the_host),
		T(network_bytes_are_use),
		T(restarts_do_not_put_off_the_idle_pause),
		T(a_clock_that_jumps_changes_no_age_and_no_cost),
		T(after_a_reboot_the_wall_clock_tells_the_age),
		T(life_ends_at_its_timeout),
		T(only_so_many_that_ended_are_remembered),
		T(a_guest_that_is_gone_is_noticed),
		T(guests_live_through_a_restart),
		T(whoever_is_attached_again_is_thawed),
		T(a_death_anywhere_is_recovered_from),
		T(a_pool_serves_and_is_filled_again),
		T(a_clone_that_does_not_start_costs_only_time),
		T(creates_share_the_building_of_a_template),
		T(another_cpu_needs_templates_and_clones_of_its_own),
		T(snapshots_of_other_hosts_are_refused_by_what_differs),
		T(a_node_that_cannot_clone_boots_cold_and_says_so),
		T(a_long_chain_is_merged_while_nobody_waits),
		T(a_merge_is_given_up_for_who_comes),
		T(a_merge_is_given_up_for_a_terminate),
		T(what_a_crash_left_of_a_merge_goes),
		T(forks_are_sandboxes_of_their_own),
		T(one_fork_that_fails_takes_all_back),
		T(a_fork_that_fails_at_once_takes_all_back),
		T(a_restore_replaces_the_guest),
		T(ports_stay_through_pause_and_restart),
		T(a_full_disk_admits_nothing_and_empties_pools),
		T(a_full_disk_takes_unused_templates_first_unused_first),
		T(short_memory_pauses_what_nobody_uses),
		T(tasks_that_wait_for_memory_are_pressure_too),
		T(admission_has_limits),
		T(an_old_guest_of_nobody_is_swept_only_by_a_used_database),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
