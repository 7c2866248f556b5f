/* SPDX-License-Identifier: Apache-2.0 */
/* test_ended.c - what is told of sandboxes that have ended */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/ended.h"
#include "engine_rig.h"

#include <stdlib.h>
#include <string.h>

#define STR(s) ((char *)(uintptr_t)(s))

/* Every field that a client can set. */
static void create_whole(const char *id, const char *tenant)
{
	NODE(CreateSandbox, CREATE_SANDBOX);
	Sandbox__Node__V1__Resources res = SANDBOX__NODE__V1__RESOURCES__INIT;
	Sandbox__Node__V1__NetworkLimits limits =
		SANDBOX__NODE__V1__NETWORK_LIMITS__INIT;
	Sandbox__Node__V1__EgressPolicy egress =
		SANDBOX__NODE__V1__EGRESS_POLICY__INIT;
	Sandbox__Node__V1__EgressRule rule =
		SANDBOX__NODE__V1__EGRESS_RULE__INIT;
	Sandbox__Node__V1__EgressRule *rules[] = { &rule };
	Sandbox__Node__V1__CreateSandboxRequest__EnvEntry env =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__ENV_ENTRY__INIT;
	Sandbox__Node__V1__CreateSandboxRequest__EnvEntry *envs[] = { &env };
	Sandbox__Node__V1__CreateSandboxRequest__MetadataEntry data =
		SANDBOX__NODE__V1__CREATE_SANDBOX_REQUEST__METADATA_ENTRY__INIT;
	Sandbox__Node__V1__CreateSandboxRequest__MetadataEntry first = data;
	Sandbox__Node__V1__CreateSandboxRequest__MetadataEntry *datas[] = {
		&first, &data
	};
	uint32_t ports[] = { 80, 8080 };

	m.sandbox_id = STR(id);
	m.image = STR("debian:12");
	res.memory_mib = 2048;
	m.resources = &res;
	env.key = STR("TOKEN");
	env.value = STR("secret");
	m.n_env = 1;
	m.env = envs;
	data.key = STR("of");
	data.value = STR(id);
	first.key = STR("b");
	first.value = STR("of");
	m.n_metadata = 2;
	m.metadata = datas;
	m.workdir = STR("/srv");
	m.timeout_ms = 3600000;
	m.idle_timeout_ms = 60000;
	rule.target = STR("93.184.216.0/24");
	egress.n_allow = 1;
	egress.allow = rules;
	m.egress = &egress;
	limits.bandwidth_mbps = 50;
	m.network_limits = &limits;
	m.n_allow_ports = 2;
	m.allow_ports = ports;
	m.tenant = STR(tenant);
	m.no_auto_resume = true;
	m.no_idle_pause = true;
	assert_true(rig_call("CreateSandbox", &m.base));
}

static uint8_t *get(const char *id, size_t *ret_len)
{
	uint8_t *copy;

	assert_true(rig_do("GetSandbox", id));
	*ret_len = world.answer_len;
	copy = xcalloc(1, world.answer_len);
	return memcpy(copy, world.answer, world.answer_len);
}

static void assert_same_answer(const char *id, const uint8_t *want, size_t len)
{
	assert_true(rig_do("GetSandbox", id));
	assert_int_equal(world.answer_len, len);
	assert_memory_equal(world.answer, want, len);
}

static void restart(void)
{
	rig_stop();
	rig_start();
	rig_settle();
}

/* How many the engine holds whole. */
static size_t whole(void)
{
	return rig.e->sandboxes.n;
}

static void an_ended_one_is_told_whole_from_the_database(void **state)
{
	Sandbox__Node__V1__GetSandboxResponse *r;
	uint8_t *want;
	size_t len;

	(void)state;
	create_whole("a", "acme");
	assert_true(rig_pause("a"));
	assert_true(rig_resume("a"));
	assert_true(rig_terminate("a"));
	rig_settle();
	assert_int_equal(whole(), 1);
	want = get("a", &len);
	r = sandbox__node__v1__get_sandbox_response__unpack(NULL, len, want);
	assert_non_null(r);
	assert_string_equal(r->sandbox->env[0]->value, "secret");
	assert_string_equal(r->sandbox->metadata[1]->value, "a");
	assert_string_equal(r->sandbox->state_reason, "REQUESTED");
	assert_string_equal(r->sandbox->egress->allow[0]->target,
			    "93.184.216.0/24");
	assert_non_null(r->sandbox->terminated_at);
	assert_non_null(r->sandbox->paused_at);
	pb_free(r);
	ended_retire(rig.e);
	assert_int_equal(whole(), 0);
	assert_same_answer("a", want, len);
	restart();
	assert_int_equal(whole(), 0);
	assert_same_answer("a", want, len);
	free(want);
}

static void an_ended_one_is_terminated_again_and_nothing_else(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_terminate("a"));
	rig_settle();
	ended_retire(rig.e);
	assert_true(rig_terminate("a"));
	assert_false(rig_pause("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "INVALID_STATE");
	assert_false(rig_resume("a"));
	assert_true(rig_do("GetStats", "a"));
	assert_false(rig_create("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "ALREADY_EXISTS");
	assert_non_null(strstr(world.answer_err.msg, "(TERMINATED)"));
}

/* The ids of a page, without spaces between; and its total. */
static uint32_t page(uint32_t offset, uint32_t limit, const char *tenant,
		     const char *of, char ret[64])
{
	Sandbox__Node__V1__ListSandboxesRequest__MetadataEntry data =
		SANDBOX__NODE__V1__LIST_SANDBOXES_REQUEST__METADATA_ENTRY__INIT;
	Sandbox__Node__V1__ListSandboxesRequest__MetadataEntry *datas[] = {
		&data
	};
	NODE(ListSandboxes, LIST_SANDBOXES);
	Sandbox__Node__V1__ListSandboxesResponse *r;
	uint32_t total;

	m.state = (Sandbox__Node__V1__SandboxState)SBX_TERMINATED;
	m.offset = offset;
	m.limit = limit;
	m.tenant = STR(tenant);
	data.key = STR("of");
	data.value = STR(of);
	m.n_metadata = of != NULL;
	m.metadata = datas;
	assert_true(rig_call("ListSandboxes", &m.base));
	r = sandbox__node__v1__list_sandboxes_response__unpack(
		NULL, world.answer_len, world.answer);
	assert_non_null(r);
	ret[0] = '\0';
	for (size_t i = 0; i < r->n_sandboxes; i++) {
		strcat(ret, r->sandboxes[i]->id);
		assert_string_equal(r->sandboxes[i]->workdir, "/srv");
		assert_int_equal(r->sandboxes[i]->n_env, 0);
	}
	total = r->pagination->total;
	assert_int_equal(r->pagination->has_more,
			 offset + r->n_sandboxes < total);
	pb_free(r);
	return total;
}

static void assert_pages(void)
{
	char ids[64];

	assert_int_equal(page(0, 0, "", NULL, ids), 5);
	assert_string_equal(ids, "fdcba");
	assert_int_equal(page(1, 2, "", NULL, ids), 5);
	assert_string_equal(ids, "dc");
	assert_int_equal(page(9, 2, "", NULL, ids), 5);
	assert_string_equal(ids, "");
	assert_int_equal(page(0, 0, "acme", NULL, ids), 3);
	assert_string_equal(ids, "fca");
	assert_int_equal(page(1, 1, "acme", NULL, ids), 3);
	assert_string_equal(ids, "c");
	assert_int_equal(page(0, 0, "other", NULL, ids), 0);
	assert_int_equal(page(0, 0, "", "b", ids), 1);
	assert_string_equal(ids, "b");
	assert_int_equal(page(0, 0, "acme", "b", ids), 0);
	assert_int_equal(page(0, 0, "acme", "c", ids), 1);
}

/* Neither the order of their ends nor where they are changes it. */
static void pages_of_ended_ones_are_in_the_order_of_creation(void **state)
{
	(void)state;
	for (const char *id = "abcdef"; *id; id++)
		create_whole((char[]){ *id, '\0' },
			     (*id - 'a') % 2 && *id != 'f' ? "corp" : "acme");
	assert_true(rig_terminate("d"));
	assert_true(rig_terminate("b"));
	rig_settle();
	ended_retire(rig.e);
	assert_true(rig_terminate("f"));
	assert_true(rig_terminate("a"));
	assert_true(rig_terminate("c"));
	rig_settle();
	assert_int_equal(whole(), 4);
	assert_pages();
	ended_retire(rig.e);
	assert_int_equal(whole(), 1);
	assert_pages();
}

/* Whoever creates it anew would write over it. */
static void an_id_whose_row_cannot_be_read_stays_taken(void **state)
{
	(void)state;
	assert_true(rig_create("a"));
	assert_true(rig_terminate("a"));
	rig_settle();
	ended_retire(rig.e);
	store_begin(rig.e->store);
	store_sandbox_remove(rig.e->store, "a");
	assert_int_equal(store_commit(rig.e->store, NULL), 0);
	assert_false(rig_do("GetSandbox", "a"));
	assert_int_equal(world.answer_err.code, ERR_INTERNAL);
	assert_false(rig_create("a"));
	assert_string_equal(err_reason_of(&world.answer_err), "ALREADY_EXISTS");
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(an_ended_one_is_told_whole_from_the_database),
		T(an_ended_one_is_terminated_again_and_nothing_else),
		T(pages_of_ended_ones_are_in_the_order_of_creation),
		T(an_id_whose_row_cannot_be_read_stays_taken),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
