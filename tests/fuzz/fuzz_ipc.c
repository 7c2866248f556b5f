/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ipc.c - any message that a front taken over may send the engine */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/front_link.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NAME_MAX_BYTES 64
#define TEXT_MAX_BYTES 4096

static void on_up(void *arg)
{
	(void)arg;
}

static void on_down(const char *why, void *arg)
{
	(void)why;
	*(bool *)arg = true;
}

static void on_call(uint64_t id, const char *method, const char *identity,
		    const uint8_t *request, size_t len, int *fd, void *arg)
{
	(void)arg;
	(void)fd;
	assert(id && strlen(method) < NAME_MAX_BYTES);
	assert(strlen(identity) < TEXT_MAX_BYTES);
	assert(len == 0 || request);
}

static void on_id(uint64_t id, void *arg)
{
	(void)id;
	(void)arg;
}

static void on_acquire(uint64_t id, const char *sandbox_id,
		       const char *identity, void *arg)
{
	(void)arg;
	assert(id && strlen(sandbox_id) < NAME_MAX_BYTES);
	assert(strlen(identity) < TEXT_MAX_BYTES);
}

static void on_activity(const char *sandbox_id, void *arg)
{
	(void)arg;
	assert(strlen(sandbox_id) < NAME_MAX_BYTES);
}

static void on_event(const char *sandbox_id, const char *type,
		     const struct front_pair *data, size_t n, void *arg)
{
	(void)arg;
	assert(strlen(sandbox_id) < NAME_MAX_BYTES);
	assert(strlen(type) < NAME_MAX_BYTES && n <= 16);
	for (size_t i = 0; i < n; i++)
		assert(strlen(data[i].value) < TEXT_MAX_BYTES);
}

static void on_link_lost(const char *key, uint64_t generation, const char *why,
			 bool broken, void *arg)
{
	(void)arg;
	(void)generation;
	(void)broken;
	assert(strlen(key) < NAME_MAX_BYTES && strlen(why) < TEXT_MAX_BYTES);
}

static void on_agent_silent(const char *key, uint64_t generation, bool silent,
			    void *arg)
{
	(void)arg;
	(void)generation;
	(void)silent;
	assert(strlen(key) < NAME_MAX_BYTES);
}

static void on_read_events(uint64_t id, uint64_t since, const char *sandbox_id,
			   char *const *types, size_t n_types, uint32_t limit,
			   void *arg)
{
	(void)arg;
	(void)since;
	assert(id && strlen(sandbox_id) < NAME_MAX_BYTES && limit <= 1000);
	for (size_t i = 0; i < n_types; i++)
		assert(strlen(types[i]) < NAME_MAX_BYTES);
}

static const struct front_link_ops ops = {
	.up = on_up,
	.down = on_down,
	.call = on_call,
	.cancel = on_id,
	.acquire = on_acquire,
	.release = on_id,
	.activity = on_activity,
	.event = on_event,
	.link_lost = on_link_lost,
	.agent_silent = on_agent_silent,
	.read_events = on_read_events,
};

static void on_answer(const struct error *err, const uint8_t *data, size_t len,
		      void *arg)
{
	(void)data;
	(void)len;
	(void)arg;
	assert(!err || err->code != ERR_NONE);
}

/* One whole message in one packet: 0, then its bytes. */
static void send_raw(int fd, const uint8_t *data, size_t size)
{
	uint8_t buf[4096] = { 0 };

	if (size > sizeof(buf) - 1)
		size = sizeof(buf) - 1;
	memcpy(buf + 1, data, size);
	(void)!send(fd, buf, size + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct front_link *front = NULL;
	bool down = false;
	int fds[2];

	if (!loop)
		assert(loop_new(&loop, NULL) == 0);
	assert(ipc_pair(fds, NULL) == 0);
	assert(front_link_new_fd(loop, fds[0], &ops, &down, &front, NULL) == 0);
	/* Request 1, so that a reply to it can be guessed. */
	front_link_drain(front, on_answer, NULL);
	send_raw(fds[1], data, size);
	while (sd_event_run(loop_event(loop), 0) > 0)
		;
	front_link_free(front);
	close(fds[1]);
	return 0;
}
