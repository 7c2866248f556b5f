/* SPDX-License-Identifier: Apache-2.0 */
/* test_health.c - what health checkers and watchers are told */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "front/health.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc_pair.h"

#include <string.h>

#define CHECK	    "/grpc.health.v1.Health/Check"
#define WATCH	    "/grpc.health.v1.Health/Watch"
#define SERVING	    1
#define NOT_SERVING 2
#define UNKNOWN	    3

static struct pair pair;
static struct health *health;

static bool accept_health(struct grpc_call *call, const char *path, void *arg)
{
	return health_accept(arg, call, path);
}

static int setup(void **state)
{
	(void)state;
	pair_init(&pair, NULL, NULL);
	health = health_new();
	pair.accept = accept_health;
	pair.accept_arg = health;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pair_fini(&pair);
	health = health_free(health);
	return 0;
}

static struct side *ask(const char *path, const char *service)
{
	Grpc__Health__V1__HealthCheckRequest req =
		GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct side *side = pair_start(&pair, path, 0);
	uint8_t buf[256];

	req.service = (char *)(uintptr_t)service;
	grpc_call_send(side->call, buf,
		       grpc__health__v1__health_check_request__pack(&req, buf));
	grpc_call_half_close(side->call);
	pair_run(&pair);
	return side;
}

static int told(const struct side *side)
{
	Grpc__Health__V1__HealthCheckResponse *res;
	int status;

	assert_true(side->messages > 0);
	res = grpc__health__v1__health_check_response__unpack(
		NULL, side->last_len, side->last);
	assert_non_null(res);
	status = (int)res->status;
	grpc__health__v1__health_check_response__free_unpacked(res, NULL);
	return status;
}

static void a_check_tells_the_state(void **state)
{
	struct side *c = ask(CHECK, "");

	(void)state;
	assert_int_equal(c->st.code, GRPC_OK);
	assert_int_equal(told(c), NOT_SERVING);
	health_set(health, "", true);
	assert_int_equal(told(ask(CHECK, "")), SERVING);
}

static void a_check_of_an_unknown_service_is_not_found(void **state)
{
	struct side *c = ask(CHECK, "nobody");

	(void)state;
	assert_int_equal(c->st.code, GRPC_NOT_FOUND);
	assert_int_equal(c->messages, 0);
}

static void a_watcher_is_told_of_every_change_once(void **state)
{
	struct side *c = ask(WATCH, "later");

	(void)state;
	assert_int_equal(told(c), UNKNOWN);
	health_set(health, "later", true);
	pair_run(&pair);
	assert_int_equal(told(c), SERVING);
	assert_int_equal(c->messages, 2);
	health_set(health, "later", true);
	health_set(health, "other", false);
	pair_run(&pair);
	assert_int_equal(c->messages, 2);
	assert_int_equal(c->dones, 0);
	grpc_call_cancel(c->call);
	pair_run(&pair);
	health_set(health, "later", false);
}

static void what_is_no_request_is_refused(void **state)
{
	struct side *c = pair_start(&pair, CHECK, 0);

	(void)state;
	grpc_call_send(c->call, (const uint8_t *)"\x0a\xff", 2);
	pair_run(&pair);
	assert_int_equal(c->st.code, GRPC_INVALID_ARGUMENT);
}

static void other_methods_are_left_to_others(void **state)
{
	struct side *c = pair_start(&pair, "/grpc.health.v1.Health/Chec", 0);

	(void)state;
	pair_run(&pair);
	assert_int_equal(c->dones, 0);
	assert_int_equal(pair.accepted, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_check_tells_the_state),
		T(a_check_of_an_unknown_service_is_not_found),
		T(a_watcher_is_told_of_every_change_once),
		T(what_is_no_request_is_refused),
		T(other_methods_are_left_to_others),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
