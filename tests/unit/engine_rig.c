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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct engine_rig rig;

void rig_start(void)
{
	char text[1024];
	struct error err = { 0 };
	struct hv *hv;

	snprintf(text, sizeof(text),
		 "[node]\nstate_dir = %s/state\nrun_dir = %s/run\n"
		 "[api]\nuser =\n[network]\nresolver_user =\nsplice_user =\n"
		 "[metrics]\nuser =\n"
		 "[limits]\nvcpu_overcommit = 999\nmemory_overcommit = 999\n"
		 "disk_overcommit = 999\ndisk_reserve_mib = 0\n"
		 "create_rate = 10000\ncreate_burst = 10000\n"
		 "[pool]\nmin = 0\n%s",
		 rig.dir, rig.dir, rig.settings);
	if (config_parse("test", text, &rig.config, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(loop_new(&rig.loop, &err), 0);
	assert_int_equal(job_pool_new(rig.loop, 2, &rig.jobs, &err), 0);
	world.loop = rig.loop;
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

bool rig_call(const char *method, const ProtobufCMessage *m)
{
	uint64_t id = ++rig.next_id;
	uint8_t *packed;
	size_t len;
	int fd = -1;

	packed = pb_pack(m, &len);
	world.front_ops->call(id, method, "uid:0", packed, len, &fd, rig.e);
	free(packed);
	rig_until(world.answered[id]);
	return world.answered[id] == 1;
}

bool rig_create(const char *id)
{
	Sandbox__Node__V1__CreateSandboxRequest m =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;

	r.memory_mib = 2048;
	m.resources = &r;
	m.sandbox_id = (char *)(uintptr_t)id;
	m.image = (char *)(uintptr_t) "debian:12";
	return rig_call("CreateSandbox", &m.base);
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
