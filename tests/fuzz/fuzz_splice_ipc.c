/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_splice_ipc.c - any message between the engine and its splice
 *
 * First byte: even, what a splice that was taken over reports; odd, what a
 * half-dead engine commands.
 */
#include "base/error.h"
#include "base/log.h"
#include "engine/net/splice_link.h"
#include "helper_pipe.h"
#include "splice/engine_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS 16u

static void is_word(const char *s, size_t max)
{
	assert(strlen(s) <= max);
	for (; *s; s++)
		assert((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') ||
		       strchr("-_.", *s));
}

static int on_ask(const struct splice_flow *flow, void *arg)
{
	(void)arg;
	assert(flow->slot < SLOTS && flow->name[0]);
	is_word(flow->name, NET_TARGET_MAX);
	return flow->id & 1 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) :
			      -EBADF;
}

static void on_denied(const struct splice_flow *flow, const char *why,
		      void *arg)
{
	(void)arg;
	assert(flow->slot < SLOTS && why[0]);
	is_word(flow->name, NET_TARGET_MAX);
	is_word(why, 32);
}

static void on_closed(uint32_t slot, uint64_t id, void *arg)
{
	(void)id;
	(void)arg;
	assert(slot < SLOTS);
}

static void on_down(void *arg)
{
	(void)arg;
}

static const struct splice_link_ops ops = { on_ask, on_denied, on_closed,
					    on_down };

static void to_engine(struct loop *loop, const uint8_t *data, size_t size)
{
	const struct net_config config = { .slots = SLOTS };
	struct splice_link *link = NULL;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[2];

	assert(ipc_pair(fds, NULL) == 0);
	assert(splice_link_new_fd(loop, fds[0], &config, listener, &ops, NULL,
				  &link, NULL) == 0);
	helper_pipe_send(fds[1], data, size, 0);
	helper_pipe_run(loop);
	splice_link_free(link, false);
	close(fds[1]);
}

static void to_splice(struct loop *loop, const uint8_t *data, size_t size)
{
	struct engine_link *link = NULL;
	int fds[2];

	assert(ipc_pair(fds, NULL) == 0);
	assert(engine_link_new(loop, fds[1], &link, NULL) == 0);
	helper_pipe_send(fds[0], data, size, 1);
	helper_pipe_run(loop);
	engine_link_free(link);
	close(fds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *loop = NULL;

	if (size == 0)
		return 0;
	log_open("fuzz", (enum log_level)0);
	assert(loop_new(&loop, NULL) == 0);
	(data[0] & 1 ? to_splice : to_engine)(loop, data + 1, size - 1);
	loop_free(loop);
	return 0;
}
