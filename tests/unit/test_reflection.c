/* SPDX-License-Identifier: Apache-2.0 */
/* test_reflection.c - what clients learn of the API by asking */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/reflection.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc_pair.h"

#include <stdlib.h>
#include <string.h>

#define V1    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define REQ(name)                                                              \
	GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name

typedef Grpc__Reflection__V1__ServerReflectionResponse response_msg;

static struct pair pair;
static response_msg *res;

static bool accept_reflection(struct grpc_call *call, const char *path,
			      void *arg)
{
	(void)arg;
	return reflection_accept(call, path);
}

static int setup(void **state)
{
	(void)state;
	pair_init(&pair, NULL, NULL);
	pair.accept = accept_reflection;
	return 0;
}

static void drop(void)
{
	if (res)
		grpc__reflection__v1__server_reflection_response__free_unpacked(
			res, NULL);
	res = NULL;
}

static int teardown(void **state)
{
	(void)state;
	drop();
	pair_fini(&pair);
	return 0;
}

static void on_answer(struct grpc_call *call, const uint8_t *data, size_t len,
		      void *arg)
{
	(void)call;
	(void)arg;
	drop();
	res = grpc__reflection__v1__server_reflection_response__unpack(
		NULL, len, data);
}

static void on_done(struct grpc_call *call, const struct grpc_status *st,
		    void *arg)
{
	(void)call;
	*(int *)arg = (int)st->code;
}

static const struct grpc_call_ops ops = { .message = on_answer,
					  .done = on_done };

/* One question on a stream of its own; the answer is in res. */
static void ask(const char *path, int what, const char *value)
{
	Grpc__Reflection__V1__ServerReflectionRequest req =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	struct grpc_call *call;
	uint8_t buf[512];
	int code = -1;

	req.message_request_case = what;
	req.list_services = (char *)(uintptr_t)value;
	call = grpc_call_start(pair.client, path, 0, &ops, &code);
	grpc_call_send(call, buf,
		       grpc__reflection__v1__server_reflection_request__pack(
			       &req, buf));
	grpc_call_half_close(call);
	pair_run(&pair);
	assert_int_equal(code, GRPC_OK);
	assert_non_null(res);
}

static bool lists(const char *name)
{
	Grpc__Reflection__V1__ListServiceResponse *list =
		res->list_services_response;

	assert_int_equal(
		res->message_response_case,
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE);
	for (size_t i = 0; i < list->n_service; i++)
		if (!strcmp(list->service[i]->name, name))
			return true;
	return false;
}

static size_t files(void)
{
	assert_int_equal(
		res->message_response_case,
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
	return res->file_descriptor_response->n_file_descriptor_proto;
}

static int error_code(void)
{
	assert_int_equal(
		res->message_response_case,
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
	return res->error_response->error_code;
}

static void the_public_services_are_listed(void **state)
{
	static const char *const paths[] = { V1, ALPHA };

	(void)state;
	for (int i = 0; i < 2; i++) {
		ask(paths[i], REQ(LIST_SERVICES), "*");
		assert_true(lists("sandbox.node.v1.NodeService"));
		assert_true(lists("grpc.health.v1.Health"));
		assert_true(lists("grpc.reflection.v1.ServerReflection"));
	}
}

static void the_agents_api_is_not_shown(void **state)
{
	(void)state;
	ask(V1, REQ(LIST_SERVICES), "*");
	assert_false(lists("sandbox.agent.v1.AgentService"));
	ask(V1, REQ(FILE_BY_FILENAME), "sandbox/agent/v1/agent.proto");
	assert_int_equal(error_code(), GRPC_NOT_FOUND);
}

static void symbols_of_every_kind_lead_to_their_file(void **state)
{
	static const char *const symbols[] = {
		"grpc.health.v1.Health",
		"grpc.health.v1.Health.Check",
		"grpc.health.v1.HealthCheckRequest",
		"grpc.health.v1.HealthCheckRequest.service",
		"grpc.health.v1.HealthCheckResponse.ServingStatus",
		"grpc.health.v1.HealthCheckResponse.SERVING",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		ask(V1, REQ(FILE_CONTAINING_SYMBOL), symbols[i]);
		assert_int_equal(files(), 1);
	}
}

static void what_is_not_there_is_not_found(void **state)
{
	static const char *const symbols[] = {
		"",
		".",
		"grpc",
		"grpc.health.v1",
		"grpc.health.v1.",
		"grpc.health.v1.Health.",
		"grpc.health.v1.Health.Chec",
		"grpc.health.v1.Healt",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		ask(V1, REQ(FILE_CONTAINING_SYMBOL), symbols[i]);
		assert_int_equal(error_code(), GRPC_NOT_FOUND);
	}
}

static void a_file_comes_with_what_it_imports(void **state)
{
	(void)state;
	ask(V1, REQ(FILE_BY_FILENAME), "sandbox/node/v1/node.proto");
	assert_true(files() > 1);
	ask(V1, REQ(FILE_CONTAINING_SYMBOL),
	    "sandbox.node.v1.NodeService.Exec");
	assert_true(files() > 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(the_public_services_are_listed),
		T(the_agents_api_is_not_shown),
		T(symbols_of_every_kind_lead_to_their_file),
		T(what_is_not_there_is_not_found),
		T(a_file_comes_with_what_it_imports),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
