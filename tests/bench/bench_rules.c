/* SPDX-License-Identifier: Apache-2.0 */
/* bench_rules.c - what one sandbox more costs the network, at so many
 *
 *	bench_rules LIBEXEC shared|own ROUNDS COUNT..
 *
 * In the network namespace that it is started in, with the daemon's own code,
 * taps and nftables. For each COUNT (ascending) that many sandboxes are attached,
 * then ROUNDS times one more is attached, updated and detached, and one address
 * is learned for it. A slot is not used again at once, as in a node. The rules of
 * all have one shape (net_shapes.c), or each has its own, and gets another by
 * each update. Between the rounds the loop runs until it has nothing to do, as a
 * node's would: what is done ahead and behind is not in the clock. Prints one
 * JSON object a COUNT: arrays of microseconds.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/net/net_priv.h"
#include "engine/net/netpol.h"
#include "engine/net/nft.h"
#include "engine/net/nft_expr.h"
#include "engine/net/resolver_link.h"

#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UID_BASE    40000
#define SLOTS	    6000
#define QUIET_US    20000
#define SETTLE_MS   3000
#define LEARNED_FOR 60

enum what { ATTACH, UPDATE, DETACH, LEARN, N_WHAT };

static struct loop *loop;
static struct net *net;
static struct net_rule rules[2];
static struct net_policy policy = { .n_allow = 2, .allow = rules };
static bool own_shapes;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The policy of who comes next: a port that no other has is another shape. */
static const struct net_policy *next_policy(void)
{
	static uint16_t port = 1024;

	if (own_shapes) {
		rules[0].n_ports = 1;
		rules[0].ports[0] = (struct net_ports){ port, port };
		port++;
	}
	return &policy;
}

/* Until nothing has happened for a while. */
static void settle(void)
{
	uint64_t until = loop_now_ms() + SETTLE_MS;

	while (loop_now_ms() < until &&
	       sd_event_run(loop_event(loop), QUIET_US) > 0)
		continue;
}

static int fill(uint32_t from, uint32_t to, struct error *err)
{
	struct slot slot;

	for (uint32_t i = from; i < to; i++) {
		net_slot(net, i, UID_BASE, 0, &slot);
		if (net_attach(net, &slot, 1, next_policy(), NULL, err) < 0)
			return -1;
		if (i % 16 == 15)
			sd_event_run(loop_event(loop), 0);
	}
	return 0;
}

static int learn(uint32_t number, uint64_t generation, uint32_t address,
		 struct error *err)
{
	struct resolver_learn learn = { .slot = number,
					.generation = generation,
					.n_addresses = 1,
					.name = "www.example.com" };

	learn.addresses[0].address = address;
	learn.addresses[0].ttl_s = LEARNED_FOR;
	return net_learn(net, &learn, err);
}

/* Each step's time in @us, by enum what. */
static int round_of(uint32_t number, uint32_t n, double us[N_WHAT],
		    struct error *err)
{
	struct slot slot;
	double t = now_us();

	net_slot(net, number, UID_BASE, 0, &slot);
	if (net_attach(net, &slot, n + 1, next_policy(), NULL, err) < 0)
		return -1;
	us[ATTACH] = now_us() - t;
	settle();
	t = now_us();
	if (learn(number, n + 1, 0xcb007201 + n, err) < 0)
		return -1;
	us[LEARN] = now_us() - t;
	t = now_us();
	if (net_update(net, &slot, n + 1, next_policy(), NULL, err) < 0)
		return -1;
	us[UPDATE] = now_us() - t;
	settle();
	t = now_us();
	if (net_detach(net, &slot, err) < 0)
		return -1;
	us[DETACH] = now_us() - t;
	settle();
	return 0;
}

static int measure(uint32_t count, uint32_t rounds, struct error *err)
{
	static const char *const names[N_WHAT] = { "attach", "update", "detach",
						   "learn" };
	double(*us)[N_WHAT] = xcalloc(rounds, sizeof(*us));
	int rc = 0;

	/* The first finds nothing made ahead of its kind. */
	rc = round_of(count + rounds, 0, us[0], err);
	for (uint32_t i = 0; rc == 0 && i < rounds; i++)
		rc = round_of(count + i, i, us[i], err);
	printf("{\"count\":%u", count);
	for (int w = 0; rc == 0 && w < N_WHAT; w++) {
		printf(",\"%s_us\":[", names[w]);
		for (uint32_t i = 0; i < rounds; i++)
			printf("%s%.1f", i ? "," : "", us[i][w]);
		printf("]");
	}
	puts("}");
	fflush(stdout);
	free(us);
	return rc;
}

static int run(int argc, char **argv, struct error *err)
{
	uint32_t rounds = (uint32_t)strtoul(argv[3], NULL, 10), at = 0;

	if (net_rule_parse("*.example.com", &rules[0], err) < 0 ||
	    net_rule_parse("203.0.113.0/24", &rules[1], err) < 0 ||
	    net_sweep(net, err) < 0)
		return -1;
	for (int i = 4; i < argc; i++) {
		uint32_t count = (uint32_t)strtoul(argv[i], NULL, 10);

		if (count >= SLOTS)
			return err_set(err, ERR_INVALID, "too many");
		if (fill(at, count, err) < 0)
			return -1;
		at = count;
		settle();
		if (measure(count, rounds, err) < 0)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char upstream[] = "192.0.2.1", *upstreams[] = { upstream };
	struct net_config config = { .tap_uid_base = UID_BASE,
				     .limits = { .connections_max = 4096 },
				     .dns_upstreams = upstreams,
				     .n_dns_upstreams = 1,
				     .resolver_uid = 65534,
				     .resolver_gid = 65534,
				     .splice_uid = 65534,
				     .splice_gid = 65534,
				     .slots = SLOTS,
				     .pool = 10u << 24 | 100u << 16,
				     .pool_mask = 0xffff0000u,
				     .state_dir = "/" };
	_cleanup_free_ char *resolver = NULL, *splice = NULL;
	struct error err = { 0 };

	log_open("bench_rules", LOG_LEVEL_WARN);
	if (argc < 5) {
		fputs("usage: bench_rules LIBEXEC shared|own ROUNDS COUNT..\n",
		      stderr);
		return 2;
	}
	own_shapes = !strcmp(argv[2], "own");
	resolver = xasprintf("%s/sandboxd-resolver", argv[1]);
	splice = xasprintf("%s/sandboxd-splice", argv[1]);
	config.resolver_path = resolver;
	config.splice_path = splice;
	if (loop_new(&loop, &err) < 0 ||
	    net_open(&config, loop, NULL, NULL, &net, &err) < 0 ||
	    run(argc, argv, &err) < 0) {
		fprintf(stderr, "bench_rules: %s\n", err.msg);
		return 1;
	}
	/* The taps go with the namespace, many at once. */
	net_close(net, true);
	loop_free(loop);
	return 0;
}
