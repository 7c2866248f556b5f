/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_exits.c - any end of processes that a guest's agent may tell
 *
 * What passes becomes events: they must be such as the engine lets pass, or a
 * guest could have front replaced.
 */
#include "base/error.h"
#include "base/log.h"
#include "engine/front_link.h"
#include "front/exits.h"
#include "front/front.h"
#include "front/wire.h"
#include "helper_pipe.h"

#include <stdbool.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_gone(struct front *front, const char *why)
{
	(void)front;
	(void)why;
}

static void on_up(void *arg)
{
	(void)arg;
}

static void on_down(const char *why, void *arg)
{
	(void)why;
	*(bool *)arg = true;
}

static void on_event(const char *sandbox_id, const char *type,
		     const struct front_pair *data, size_t n, void *arg)
{
	(void)arg;
	assert(strcmp(sandbox_id, "sb_1") == 0);
	assert(strcmp(type, "exec.completed") == 0 && n > 0);
	for (size_t i = 0; i < n; i++)
		assert(strlen(data[i].value) < 4096);
}

static const struct front_link_ops ops = { .up = on_up,
					   .down = on_down,
					   .event = on_event };

static void report(struct front *front, const uint8_t *data, size_t size)
{
	_cleanup_wire_ ProtobufCMessage *m = NULL;
	struct exits_link link = { .acked = 1, .begun = 2 };
	struct error err = { 0 };

	if (wire_unpack(&sandbox__agent__v1__next_exits_response__descriptor,
			data, size, &m, &err) < 0)
		return;
	if (exits_report(front, "sb_1", &link,
			 (Sandbox__Agent__V1__NextExitsResponse *)m, &err) == 0)
		assert(link.acked > 1);
	else
		assert(err.code == ERR_INVALID && err.msg[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct front_link *engine = NULL;
	struct front *front = NULL;
	struct loop *loop = NULL;
	bool down = false;
	int fds[2];

	log_open("fuzz", (enum log_level)0);
	assert(loop_new(&loop, NULL) == 0);
	assert(ipc_pair(fds, NULL) == 0);
	assert(front_link_new_fd(loop, fds[0], &ops, &down, &engine, NULL) ==
	       0);
	assert(front_new(loop, fds[1], on_gone, &front, NULL) == 0);
	report(front, data, size);
	helper_pipe_run(loop);
	assert(!down);
	front_free(front);
	front_link_free(engine);
	loop_free(loop);
	return 0;
}
