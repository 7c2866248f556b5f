/* SPDX-License-Identifier: Apache-2.0 */
/* engine_rig.c - the engine over fakes */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine_rig.h"

#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "engine/quota.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct engine_rig rig;

static void die(void *arg)
{
	(void)arg;
	rig.dead = true;
	engine_halt(rig.e);
	loop_stop(rig.loop, 0);
}

void rig_start(void)
{
	char text[1536];
	struct error err = { 0 };
	char cwd[256];
	struct hv *hv;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(text, sizeof(text),
		 "[node]\nstate_dir = %s/state\nrun_dir = %s/run\n"
		 "[api]\nuser =\n[network]\nresolver_user =\nsplice_user =\n"
		 "[metrics]\nuser =\n"
		 "[limits]\nvcpu_overcommit = 999\nmemory_overcommit = 999\n"
		 "disk_overcommit = 999\ndisk_reserve_mib = 0\n"
		 "create_rate = 10000\ncreate_burst = 10000\n"
		 "[pool]\nmin = 0\n[paths]\nlibexec = %s\n%s",
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

void rig_stop(void)
{
	engine_halt(rig.e);
	job_pool_free(rig.jobs);
	engine_free(rig.e);
	loop_free(rig.loop);
	config_free(rig.config);
	rig.e = NULL;
}

int rig_setup(void **state)
{
	(void)state;
	log_open("test", (enum log_level)0);
	world_reset();
	memset(&rig, 0, sizeof(rig));
	strcpy(rig.dir, "/tmp/sbxrig.XXXXXX");
	if (!mkdtemp(rig.dir))
		return -1;
	rig_start();
	return 0;
}

int rig_teardown(void **state)
{
	char cmd[128];

	(void)state;
	rig_stop();
	world_reset();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", rig.dir);
	return system(cmd);
}

void rig_tick(void)
{
	sd_event_run(loop_event(rig.loop), 20000);
}

void rig_settle(void)
{
	rig_until(rig.dead || (list_empty(&rig.e->tasks) &&
			       rig.e->recovering == 0 && !rig.e->refilling));
}

uint64_t rig_ask(const char *method, const ProtobufCMessage *m)
{
	uint64_t id = ++rig.next_id;
	uint8_t *packed;
	size_t len;
	int fd = -1;

	packed = pb_pack(m, &len);
	world.front_ops->call(id, method, "uid:0", packed, len, &fd, rig.e);
	free(packed);
	return id;
}

bool rig_call(const char *method, const ProtobufCMessage *m)
{
	uint64_t id = rig_ask(method, m);

	/* Others may be answered in the same turn of the loop. */
	rig_until(rig.dead || world.answered[id]);
	return !rig.dead && world.answered[id] == 1;
}

bool rig_create_once(const char *id, const char *request_id)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;

	r.memory_mib = 2048;
	m.resources = &r;
	m.sandbox_id = (char *)(uintptr_t)id;
	m.request_id = (char *)(uintptr_t)request_id;
	m.image = (char *)(uintptr_t) "debian:12";
	return rig_call("CreateSandbox", &m.base);
}

bool rig_create(const char *id)
{
	return rig_create_once(id, "");
}

bool rig_pause(const char *id)
{
	return rig_do("PauseSandbox", id);
}

bool rig_resume(const char *id)
{
	return rig_do("ResumeSandbox", id);
}

bool rig_terminate(const char *id)
{
	return rig_do("TerminateSandbox", id);
}

enum sandbox_state rig_state(const char *id)
{
	struct sandbox *sb = sandbox_find(&rig.e->sandboxes, id);

	return sb ? sb->row.state : SBX_NONE;
}

size_t rig_files(const char *dir)
{
	char path[128];
	struct dirent *entry;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/state/%s", rig.dir, dir);
	d = opendir(path);
	assert_non_null(d);
	while ((entry = readdir(d)))
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

void assert_nothing_but(size_t guests, size_t snapshots)
{
	struct quota_use use;

	assert_int_equal(fake_hv_count(), guests);
	assert_int_equal(fake_net_count(), guests);
	assert_int_equal(rig_files("guests"), guests);
	assert_int_equal(rig_files("snapshots"), snapshots);
	assert_int_equal(rig.e->slots.used, guests);
	quota_use(rig.e->quota, &use);
	assert_int_equal(use.vcpus, guests * 2);
}

bool rig_do(const char *method, const char *id)
{
	Sandbox__Node__V1__PauseSandboxRequest m =
		SANDBOX__NODE__V1__PAUSE_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__GetStatsRequest stats =
		SANDBOX__NODE__V1__GET_STATS_REQUEST__INIT;
	Sandbox__Node__V1__GetSandboxRequest get =
		SANDBOX__NODE__V1__GET_SANDBOX_REQUEST__INIT;

	/* Pause, Resume and Terminate: `sandbox_id = 2`. */
	m.sandbox_id = stats.sandbox_id = get.sandbox_id =
		(char *)(uintptr_t)id;
	if (!strcmp(method, "GetStats"))
		return rig_call(method, &stats.base);
	if (!strcmp(method, "GetSandbox"))
		return rig_call(method, &get.base);
	return rig_call(method, &m.base);
}

struct looking {
	const char *type;
	char text[1024];
};

static bool on_event(const struct store_event *row, void *arg)
{
	struct looking *l = arg;
	Sandbox__Node__V1__Event *event;
	size_t len = 0;

	if (strcmp(row->type, l->type) != 0)
		return true;
	event = sandbox__node__v1__event__unpack(NULL, row->data_len,
						 row->data);
	l->text[0] = '\0';
	for (size_t i = 0; event && i < event->n_data; i++)
		len += (size_t)snprintf(l->text + len, sizeof(l->text) - len,
					"%s%s=%s", i ? " " : "",
					event->data[i]->key,
					event->data[i]->value);
	pb_free(event);
	return true;
}

const char *rig_event(const char *type)
{
	static struct looking l;
	struct error err;

	l = (struct looking){ .type = type };
	assert_int_equal(
		store_events(rig.e->store, 0, "", 100000, on_event, &l, &err),
		0);
	return l.text;
}
