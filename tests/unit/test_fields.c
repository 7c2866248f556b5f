/* SPDX-License-Identifier: Apache-2.0 */
/* test_fields.c - every field that node.proto promises is filled by somebody
 *
 * Over a life in which everything happens, each field of what clients are shown
 * is other than its default at least once. A field that is added and forgotten
 * fails here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/loop.h"
#include "engine/pool.h"
#include "engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 64

/* Of one message type: which were seen filled. */
struct seen {
	bool filled[FIELDS_MAX];
};

static bool is_filled(const ProtobufCMessage *m, unsigned int i)
{
	const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
	const char *at = (const char *)m + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)((const char *)m +
					 f->quantifier_offset) > 0;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return (*(char *const *)at)[0];
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(void *const *)at != NULL;
	case PROTOBUF_C_TYPE_BOOL:
		return *(const protobuf_c_boolean *)at;
	case PROTOBUF_C_TYPE_DOUBLE:
		return *(const double *)at > 0;
	case PROTOBUF_C_TYPE_UINT64:
		return *(const uint64_t *)at;
	default:
		return *(const uint32_t *)at;
	}
}

static void see(struct seen *seen, const ProtobufCMessage *m)
{
	assert_non_null(m);
	assert_true(m->descriptor->n_fields <= FIELDS_MAX);
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++)
		seen->filled[i] |= is_filled(m, i);
}

static void assert_all(const struct seen *seen,
		       const ProtobufCMessageDescriptor *d)
{
	for (unsigned int i = 0; i < d->n_fields; i++)
		if (!seen->filled[i])
			fail_msg("%s.%s is never filled", d->name,
				 d->fields[i].name);
}

static void see_sandbox(struct seen *seen)
{
	Sandbox__Node__V1__GetSandboxResponse *r;

	assert_true(rig_do("GetSandbox", "a"));
	r = sandbox__node__v1__get_sandbox_response__unpack(
		NULL, world.answer_len, world.answer);
	see(seen, &r->sandbox->base);
	pb_free(r);
}

static void see_stats(struct seen *seen)
{
	Sandbox__Node__V1__GetStatsResponse *r;

	assert_true(rig_do("GetStats", "a"));
	r = sandbox__node__v1__get_stats_response__unpack(
		NULL, world.answer_len, world.answer);
	see(seen, &r->base);
	pb_free(r);
}

static void see_node(struct seen *seen)
{
	Sandbox__Node__V1__GetNodeRequest m =
		SANDBOX__NODE__V1__GET_NODE_REQUEST__INIT;
	Sandbox__Node__V1__GetNodeResponse *r;

	assert_true(rig_call("GetNode", &m.base));
	r = sandbox__node__v1__get_node_response__unpack(NULL, world.answer_len,
							 world.answer);
	see(seen, &r->base);
	pb_free(r);
}

/* A sandbox with everything that one may ask for. */
static void create_all(void)
{
	Sandbox__Node__V1__CreateSandboxRequest m =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__INIT;
	Sandbox__Node__V1__Resources r = SANDBOX__NODE__V1__RESOURCES__INIT;
	Sandbox__Node__V1__NetworkLimits limits =
		SANDBOX__NODE__V1__NETWORK_LIMITS__INIT;
	Sandbox__Node__V1__EgressPolicy egress =
		SANDBOX__NODE__V1__EGRESS_POLICY__INIT;
	SpecEnv env =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__ENV_ENTRY__INIT;
	SpecMetadata meta =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__METADATA_ENTRY__INIT;
	SpecEnv *envs[] = { &env };
	SpecMetadata *metas[] = { &meta };
	uint32_t ports[] = { 80 };

	env.key = meta.key = (char *)(uintptr_t) "k";
	env.value = meta.value = (char *)(uintptr_t) "v";
	r.memory_mib = 2048;
	limits.connections_max = 7;
	egress.default_action =
		SANDBOX__NODE__V1__EGRESS_DEFAULT__EGRESS_DEFAULT_DENY;
	m.sandbox_id = (char *)(uintptr_t) "a";
	m.image = (char *)(uintptr_t) "debian:12";
	m.tenant = (char *)(uintptr_t) "t";
	m.resources = &r;
	m.env = envs;
	m.metadata = metas;
	m.n_env = m.n_metadata = m.n_allow_ports = 1;
	m.allow_ports = ports;
	m.egress = &egress;
	m.network_limits = &limits;
	m.no_idle_pause = true;
	assert_true(rig_call("CreateSandbox", &m.base));
}

static int setup(void **state)
{
	if (rig_setup(state) < 0)
		return -1;
	rig_stop();
	strcpy(rig.settings, "[node]\nlabel.zone = z\n[events]\n"
			     "cost_vcpu_hour = 3600\n");
	world.net_bytes = 5;
	rig_start();
	return 0;
}

static void every_field_of_a_sandbox_is_filled(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	create_all();
	sandbox_find(&rig.e->sandboxes, "a")->row.run_ms -= 1000;
	world.front_ops->agent_silent("a", 1, true, world.front_arg);
	see_sandbox(&seen);
	world.front_ops->agent_silent("a", 1, false, world.front_arg);
	sandbox_find(&rig.e->sandboxes, "a")->row.run_boot_ms -= 1000;
	see_sandbox(&seen);
	assert_true(rig_do("PauseSandbox", "a"));
	see_sandbox(&seen);
	assert_true(rig_do("ResumeSandbox", "a"));
	see_sandbox(&seen);
	assert_true(rig_do("TerminateSandbox", "a"));
	see_sandbox(&seen);
	assert_all(&seen, &sandbox__node__v1__sandbox__descriptor);
}

static void every_field_of_stats_is_filled(void **state)
{
	struct seen seen = { 0 };
	struct sandbox *sb;
	char path[200];
	FILE *f;

	(void)state;
	world.user_cpu = 1;
	world.net_all = true;
	create_all();
	sb = sandbox_find(&rig.e->sandboxes, "a");
	sb->row.run_ms -= 1000;
	sb->row.run_boot_ms -= 1000;
	snprintf(path, sizeof(path), "%s/state/guests/%s/disk", rig.dir,
		 sb->row.uuid);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("x", f);
	fclose(f);
	see_stats(&seen);
	assert_all(&seen, &sandbox__node__v1__get_stats_response__descriptor);
}

static void every_field_of_the_node_is_filled(void **state)
{
	Sandbox__Node__V1__DrainNodeRequest drain =
		SANDBOX__NODE__V1__DRAIN_NODE_REQUEST__INIT;
	struct seen seen = { 0 };

	(void)state;
	strcpy(rig.e->hv->info.libvirt_version, "9"); /* the fake has none */
	create_all();
	rig.config->pool_min = 1;
	engine_reloaded(rig.e);
	see_node(&seen);
	rig_until(pool_ready(rig.e, NULL) == 1);
	see_node(&seen);
	assert_true(rig_call("DrainNode", &drain.base));
	see_node(&seen);
	engine_hv_link(false, rig.e); /* a problem */
	see_node(&seen);
	assert_all(&seen, &sandbox__node__v1__get_node_response__descriptor);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(every_field_of_a_sandbox_is_filled),
		TEST(every_field_of_stats_is_filled),
		TEST(every_field_of_the_node_is_filled),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
