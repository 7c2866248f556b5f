/* SPDX-License-Identifier: Apache-2.0 */
/* test_sandbox_fsm.c - the life cycle, every state with every event */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "engine/sandbox_fsm.h"

#include <string.h>

/* The life cycle once more, as a person would list it. */
static const struct {
	enum sandbox_state from;
	enum sandbox_event event;
	enum sandbox_state to;
} allowed[] = {
	{ SBX_CREATING, EV_USE, SBX_CREATING },
	{ SBX_CREATING, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_CREATING, EV_STARTED, SBX_RUNNING },
	{ SBX_CREATING, EV_BROKEN, SBX_FAILED },
	{ SBX_RUNNING, EV_USE, SBX_RUNNING },
	{ SBX_RUNNING, EV_UPDATE, SBX_RUNNING },
	{ SBX_RUNNING, EV_PORT, SBX_RUNNING },
	{ SBX_RUNNING, EV_PAUSE, SBX_PAUSING },
	{ SBX_RUNNING, EV_SNAPSHOT, SBX_RUNNING },
	{ SBX_RUNNING, EV_RESTORE, SBX_RUNNING },
	{ SBX_RUNNING, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_RUNNING, EV_BROKEN, SBX_FAILED },
	{ SBX_RUNNING, EV_LOST, SBX_TERMINATING },
	{ SBX_RUNNING, EV_LOST_TO_SAVED, SBX_PAUSED },
	{ SBX_PAUSING, EV_USE, SBX_PAUSING },
	{ SBX_PAUSING, EV_UPDATE, SBX_PAUSING },
	{ SBX_PAUSING, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_PAUSING, EV_SAVED, SBX_PAUSED },
	{ SBX_PAUSING, EV_SAVE_UNDONE, SBX_RUNNING },
	{ SBX_PAUSING, EV_BROKEN, SBX_FAILED },
	{ SBX_PAUSING, EV_LOST, SBX_TERMINATING },
	{ SBX_PAUSING, EV_LOST_TO_SAVED, SBX_PAUSED },
	{ SBX_PAUSED, EV_USE, SBX_PAUSED },
	{ SBX_PAUSED, EV_UPDATE, SBX_PAUSED },
	{ SBX_PAUSED, EV_PORT, SBX_PAUSED },
	{ SBX_PAUSED, EV_RESUME, SBX_RESUMING },
	{ SBX_PAUSED, EV_RESTORE, SBX_RESUMING },
	{ SBX_PAUSED, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_PAUSED, EV_BROKEN, SBX_FAILED },
	{ SBX_RESUMING, EV_USE, SBX_RESUMING },
	{ SBX_RESUMING, EV_UPDATE, SBX_RESUMING },
	{ SBX_RESUMING, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_RESUMING, EV_STARTED, SBX_RUNNING },
	{ SBX_RESUMING, EV_START_UNDONE, SBX_PAUSED },
	{ SBX_RESUMING, EV_BROKEN, SBX_FAILED },
	{ SBX_RESUMING, EV_LOST_TO_SAVED, SBX_PAUSED },
	{ SBX_TERMINATING, EV_TERMINATE, SBX_TERMINATING },
	{ SBX_TERMINATING, EV_ENDED, SBX_TERMINATED },
	{ SBX_TERMINATED, EV_TERMINATE, SBX_TERMINATED },
	{ SBX_FAILED, EV_TERMINATE, SBX_TERMINATING },
};

static enum sandbox_state expected(int state, int event)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if ((int)allowed[i].from == state &&
		    (int)allowed[i].event == event)
			return allowed[i].to;
	return SBX_NONE;
}

static void every_pair_is_as_listed(void **state)
{
	(void)state;
	for (int s = 0; s < SBX_STATE_COUNT; s++)
		for (int ev = 0; ev < EV_COUNT; ev++)
			if (sandbox_fsm((enum sandbox_state)s,
					(enum sandbox_event)ev) !=
			    expected(s, ev))
				fail_msg("%s cannot %s as listed",
					 sandbox_state_str(
						 (enum sandbox_state)s),
					 sandbox_event_str(
						 (enum sandbox_event)ev));
}

static void what_is_out_of_range_cannot_happen(void **state)
{
	(void)state;
	assert_int_equal(sandbox_fsm(SBX_STATE_COUNT, EV_USE), SBX_NONE);
	assert_int_equal(sandbox_fsm(SBX_RUNNING, EV_COUNT), SBX_NONE);
}

static void every_live_state_can_be_terminated(void **state)
{
	(void)state;
	for (int s = SBX_CREATING; s < SBX_STATE_COUNT; s++)
		assert_int_not_equal(
			sandbox_fsm((enum sandbox_state)s, EV_TERMINATE),
			SBX_NONE);
}

static void a_refusal_names_the_state(void **state)
{
	struct sandbox sb = { .row = { .id = "x", .state = SBX_PAUSED } };
	struct error err;

	(void)state;
	assert_int_equal(sandbox_may(&sb, EV_PAUSE, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	assert_string_equal(err_reason_of(&err), "INVALID_STATE");
	assert_non_null(strstr(err.msg, "PAUSED"));
	assert_int_equal(sb.row.state, SBX_PAUSED);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_is_as_listed),
		cmocka_unit_test(what_is_out_of_range_cannot_happen),
		cmocka_unit_test(every_live_state_can_be_terminated),
		cmocka_unit_test(a_refusal_names_the_state),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
