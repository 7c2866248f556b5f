/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_resolver_ipc.c - any message between the engine and its resolver
 *
 * First byte: even, what a resolver that was taken over reports; odd, what a
 * half-dead engine commands.
 */
#include "base/error.h"
#include "base/log.h"
#include "engine/net/resolver_link.h"
#include "helper_pipe.h"
#include "resolver/engine_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOT	   3u
#define RULES	   4u
#define GENERATION 7u

static void is_printable(const char *s, size_t max)
{
	assert(strlen(s) <= max);
	for (; *s; s++)
		assert(*s >= 0x20 && *s <= 0x7e);
}

static bool on_learn(const struct resolver_learn *learn, void *arg)
{
	(void)arg;
	/* Of the one guest that there is; others have no rule to be meant. */
	assert(learn->slot == SLOT && learn->n_rules > 0);
	assert(learn->n_rules <= RESOLVER_RULES_MAX);
	assert(learn->n_addresses <= RESOLVER_ADDRESSES_MAX);
	for (size_t i = 0; i < learn->n_rules; i++)
		assert(learn->rules[i] < RULES);
	is_printable(learn->name, NET_TARGET_MAX);
	return learn->generation == GENERATION;
}

static void on_denied(uint32_t slot, const char *target, uint16_t port,
		      uint8_t protocol, const char *rule, void *arg)
{
	(void)port;
	(void)protocol;
	(void)arg;
	assert(slot < SLOT_MAX);
	is_printable(target, NET_TARGET_MAX);
	is_printable(rule, 128);
}

static const struct resolver_link_ops ops = { .learn = on_learn,
					      .denied = on_denied };

static void to_engine(struct loop *loop, const uint8_t *data, size_t size)
{
	const struct net_config config = { .slots = 16 };
	const struct slot slot = { .number = SLOT, .address = 0x0a640005 };
	struct net_rule allow[RULES] = { 0 };
	const struct net_policy policy = { .allow = allow, .n_allow = RULES };
	struct resolver_link *link = NULL;
	int sockets[3] = { -EBADF, -EBADF, -EBADF };
	int fds[2];

	assert(ipc_pair(fds, NULL) == 0);
	for (int i = 0; i < 2; i++)
		sockets[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(resolver_link_new_fd(loop, fds[0], &config, sockets, &ops, NULL,
				    &link, NULL) == 0);
	resolver_link_set(link, &slot, GENERATION, 9, &policy);
	helper_pipe_send(fds[1], data, size, 0);
	helper_pipe_run(loop);
	resolver_link_free(link);
	close(fds[1]);
}

static void to_resolver(struct loop *loop, const uint8_t *data, size_t size)
{
	struct engine_link *link = NULL;
	int fds[2];

	assert(ipc_pair(fds, NULL) == 0);
	assert(engine_link_new(loop, fds[1], &link, NULL) == 0);
	helper_pipe_send(fds[0], data, size, 3);
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
	(data[0] & 1 ? to_resolver : to_engine)(loop, data + 1, size - 1);
	loop_free(loop);
	return 0;
}
