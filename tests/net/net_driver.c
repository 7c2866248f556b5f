/* SPDX-License-Identifier: Apache-2.0 */
/* net_driver.c - the engine's network alone, driven line by line on stdin
 *
 * For tests/net: it does to real taps and nftables what the daemon would, in
 * the network namespace that it is started in. Each command is answered by one
 * line, "ok ..." or "error ...".
 *
 *   attach N GENERATION allow|deny|none [RULE..]   RULE: +TARGET[,udp|any|tcp]
 *   update N GENERATION allow|deny|none [RULE..]         [,PORT[-PORT]]..[,verify]
 *                                                        or -
 *   detach N | sweep | counters N | denials N | resolver | bench COUNT ROUNDS
 *   gather                               until sweep: as after a restart
 *   settle                               wait for taps to be made, taken away
 *   limits CONNECTIONS MBPS PPS          of what is attached or updated next
 *   mend on|off                          what others do to our table is undone
 *   strays [N..]                         what is there and not these slots'
 *   remove tap|rules N                   such a thing
 *   close keep|remove                    and end
 *
 * The last but one can also be arguments: of a node that does not run.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "engine/net/net_priv.h"
#include "engine/net/net_taps.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UID_BASE       40000
#define LINE_WORDS     600
#define BENCH_PAUSE_MS 40
#define BENCH_ROUNDS   1000

static struct loop *loop;
static struct net *net;
static struct net_limits limits;
static unsigned long events;

static void on_denied(uint32_t slot, const struct net_denial *d, void *arg)
{
	(void)slot;
	(void)d;
	(void)arg;
	events++;
}

static int answer(int rc, const struct error *err)
{
	if (rc < 0)
		printf("error %s\n", err->msg);
	else
		printf("ok\n");
	return rc;
}

static int parse_option(char *word, struct net_rule *rule, struct error *err)
{
	unsigned int first, last;

	if (!strcmp(word, "tcp"))
		rule->protocol = NET_TCP;
	else if (!strcmp(word, "udp"))
		rule->protocol = NET_UDP;
	else if (!strcmp(word, "any"))
		rule->protocol = NET_ANY;
	else if (!strcmp(word, "verify"))
		rule->verify_names = true;
	else if (sscanf(word, "%u-%u", &first, &last) == 2)
		rule->ports[rule->n_ports++] =
			(struct net_ports){ (uint16_t)first, (uint16_t)last };
	else if (sscanf(word, "%u", &first) == 1)
		rule->ports[rule->n_ports++] =
			(struct net_ports){ (uint16_t)first, (uint16_t)first };
	else
		return err_set(err, ERR_INVALID, "rule option '%s'", word);
	return 0;
}

static int parse_rule(char *word, struct net_policy *p, struct error *err)
{
	bool deny = word[0] == '-', ports = false;
	char *save = NULL, *part = strtok_r(word + 1, ",", &save);
	struct net_rule rule;

	if (!part || net_rule_parse(part, &rule, err) < 0)
		return -1;
	rule.verify_names = false;
	while ((part = strtok_r(NULL, ",", &save))) {
		if (part[0] >= '0' && part[0] <= '9' && !ports) {
			rule.n_ports = 0;
			ports = true;
		}
		if (parse_option(part, &rule, err) < 0)
			return -1;
	}
	if (deny)
		p->deny[p->n_deny++] = rule;
	else
		p->allow[p->n_allow++] = rule;
	return 0;
}

/* N GENERATION allow|deny|none [RULE..] */
static int change(char **w, int n, bool update, struct error *err)
{
	struct net_rule *allow = calloc(NET_RULES_MAX, sizeof(*allow));
	struct net_rule *deny = calloc(NET_RULES_MAX, sizeof(*deny));
	struct net_policy policy = { .allow = allow, .deny = deny };
	const struct net_policy *p = &policy;
	struct slot slot;
	int rc = 0;

	if (n < 4)
		return err_set(err, ERR_INVALID, "too few words");
	net_slot(net, (uint32_t)atoi(w[1]), UID_BASE, 0, &slot);
	policy.default_allow = !strcmp(w[3], "allow");
	if (!strcmp(w[3], "none"))
		p = NULL;
	for (int i = 4; rc == 0 && i < n; i++)
		rc = parse_rule(w[i], &policy, err);
	if (rc == 0 && update)
		rc = net_update(net, &slot, strtoull(w[2], NULL, 10), p,
				&limits, err);
	else if (rc == 0)
		rc = net_attach(net, &slot, strtoull(w[2], NULL, 10), p,
				&limits, err);
	free(allow);
	free(deny);
	return rc;
}

static int counters(const struct slot *slot, struct error *err)
{
	struct net_counters c;

	if (net_counters(net, slot, &c, err) < 0)
		return -1;
	printf("ok rx %llu tx %llu allowed %llu denied %llu flows %u\n",
	       (unsigned long long)c.rx_packets,
	       (unsigned long long)c.tx_packets, (unsigned long long)c.allowed,
	       (unsigned long long)c.denied, c.flows);
	return 0;
}

static void denials(const struct slot *slot)
{
	static struct net_denial list[NET_DENIALS_MAX];
	size_t n = net_denials(net, slot, list);

	printf("ok");
	for (size_t i = 0; i < n; i++)
		printf(" %s%s%s/%u/%s/%s/%u", list[i].target,
		       list[i].address[0] ? "@" : "", list[i].address,
		       list[i].port, list[i].protocol, list[i].rule,
		       list[i].count);
	printf("\n");
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- what one slot more costs ------------------------------------------- */

/* The loop runs between the rounds, as it does in the daemon. */
static struct bench {
	uint32_t count, rounds, done;
	uint64_t attach[BENCH_ROUNDS], update[BENCH_ROUNDS];
	uint64_t detach[BENCH_ROUNDS];
	struct net_rule rules[2];
	struct net_policy policy;
	sd_event_source *timer;
} bench;

static int bench_round(struct error *err)
{
	struct slot slot;
	uint64_t t = now_us();

	net_slot(net, bench.count + bench.done, UID_BASE, 0, &slot);
	if (net_attach(net, &slot, 1, &bench.policy, NULL, err) < 0)
		return -1;
	bench.attach[bench.done] = now_us() - t;
	t = now_us();
	if (net_update(net, &slot, 1, &bench.policy, NULL, err) < 0)
		return -1;
	bench.update[bench.done] = now_us() - t;
	t = now_us();
	if (net_detach(net, &slot, err) < 0)
		return -1;
	bench.detach[bench.done] = now_us() - t;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* On a busy machine some take as long as whoever came in between. */
static unsigned long long median(uint64_t *values)
{
	qsort(values, bench.rounds, sizeof(*values), by_value);
	return values[bench.rounds / 2];
}

static void bench_step(void *arg)
{
	struct error err = { 0 };

	(void)arg;
	if (bench_round(&err) < 0) {
		answer(-1, &err);
	} else if (++bench.done < bench.rounds) {
		loop_timer(loop, &bench.timer, loop_now_ms() + BENCH_PAUSE_MS,
			   bench_step, NULL);
		return;
	} else {
		printf("ok slots %u attach_us %llu update_us %llu "
		       "detach_us %llu\n",
		       bench.count, median(bench.attach), median(bench.update),
		       median(bench.detach));
	}
	fflush(stdout);
}

/* With COUNT slots attached: what one more costs, to attach, update, detach. */
static int bench_begin(uint32_t count, uint32_t rounds, struct error *err)
{
	struct slot slot;

	bench.count = count;
	bench.rounds = rounds < BENCH_ROUNDS ? rounds : BENCH_ROUNDS;
	bench.done = 0;
	bench.policy =
		(struct net_policy){ .n_allow = 2, .allow = bench.rules };
	net_rule_parse("*.example.com", &bench.rules[0], err);
	net_rule_parse("203.0.113.0/24", &bench.rules[1], err);
	for (uint32_t i = 0; i < count; i++) {
		net_slot(net, i, UID_BASE, 0, &slot);
		if (net_attach(net, &slot, 1, &bench.policy, NULL, err) < 0)
			return -1;
	}
	if (net_sweep(net, err) < 0)
		return -1;
	loop_timer(loop, &bench.timer, loop_now_ms() + BENCH_PAUSE_MS,
		   bench_step, NULL);
	return 0;
}

/* ---- strays ------------------------------------------------------------- */

static bool is_owned(uint32_t number, void *arg)
{
	char **w = arg;

	for (; *w; w++)
		if ((uint32_t)atoi(*w) == number)
			return true;
	return false;
}

static void print_stray(const struct net_stray *stray, void *arg)
{
	(void)arg;
	printf(" %s%u", stray->tap ? "tap" : "rules", stray->number);
}

/* strays [N..] | remove tap|rules N; @w ends with a NULL. */
static int do_strays(char **w, struct error *err)
{
	int rc;

	if (!strcmp(w[0], "remove"))
		return answer(net_stray_remove(net, !strcmp(w[1], "tap"),
					       (uint32_t)atoi(w[2]), err),
			      err);
	printf("ok");
	rc = net_strays(net, is_owned, w + 1, print_stray, NULL, err);
	printf("%s%s\n", rc < 0 ? " error " : "", rc < 0 ? err->msg : "");
	return rc;
}

static bool is_about_strays(char **w, int n)
{
	return n > 0 && (!strcmp(w[0], "strays") ||
			 (n == 3 && !strcmp(w[0], "remove")));
}

static void run_line(char *line)
{
	char *w[LINE_WORDS], *save = NULL;
	struct error err = { 0 };
	struct slot slot = { 0 };
	int n = 0;

	for (char *p = strtok_r(line, " \n", &save); p && n < LINE_WORDS - 1;
	     p = strtok_r(NULL, " \n", &save))
		w[n++] = p;
	w[n] = NULL;
	if (n == 0)
		return;
	if (is_about_strays(w, n)) {
		do_strays(w, &err);
		return;
	}
	if (n > 1)
		net_slot(net, (uint32_t)atoi(w[1]), UID_BASE, 0, &slot);
	if (!strcmp(w[0], "attach") || !strcmp(w[0], "update")) {
		answer(change(w, n, w[0][0] == 'u', &err), &err);
	} else if (!strcmp(w[0], "detach")) {
		answer(net_detach(net, &slot, &err), &err);
	} else if (!strcmp(w[0], "sweep")) {
		answer(net_sweep(net, &err), &err);
	} else if (!strcmp(w[0], "counters")) {
		if (counters(&slot, &err) < 0)
			answer(-1, &err);
	} else if (!strcmp(w[0], "denials")) {
		denials(&slot);
	} else if (!strcmp(w[0], "events")) {
		printf("ok %lu\n", events);
	} else if (!strcmp(w[0], "limits") && n == 4) {
		limits = (struct net_limits){ (uint32_t)atoi(w[1]),
					      (uint32_t)atoi(w[2]),
					      (uint32_t)atoi(w[3]) };
		answer(0, &err);
	} else if (!strcmp(w[0], "bench") && n == 3) {
		if (bench_begin((uint32_t)atoi(w[1]), (uint32_t)atoi(w[2]),
				&err) < 0)
			answer(-1, &err);
	} else if (!strcmp(w[0], "gather")) {
		net_gather(net);
		answer(0, &err);
	} else if (!strcmp(w[0], "mend") && n == 2) {
		/* As before it is known which slots are guests'. */
		net->unswept = !strcmp(w[1], "off");
		answer(0, &err);
	} else if (!strcmp(w[0], "settle")) {
		net_taps_settle(net->taps);
		answer(0, &err);
	} else if (!strcmp(w[0], "close") && n == 2) {
		net = net_close(net, !strcmp(w[1], "keep"));
		answer(0, &err);
		loop_stop(loop, 0);
	} else {
		printf("error what is '%s'?\n", w[0]);
	}
}

static int on_stdin(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	static char line[65536];
	static size_t len;
	ssize_t got = read(fd, line + len, sizeof(line) - 1 - len);
	char *end;

	(void)s;
	(void)revents;
	(void)arg;
	if (got <= 0) {
		loop_stop(loop, 0);
		return 0;
	}
	len += (size_t)got;
	line[len] = '\0';
	while (net && (end = strchr(line, '\n'))) {
		*end = '\0';
		run_line(line);
		fflush(stdout);
		len -= (size_t)(end + 1 - line);
		memmove(line, end + 1, len + 1);
	}
	return 0;
}

static uint32_t address_of(const char *text)
{
	struct in_addr in = { 0 };

	inet_pton(AF_INET, text, &in);
	return ntohl(in.s_addr);
}

/* net_driver RESOLVER SLOTS POOL PREFIX [dns=A[:P]].. [host=N=A].. [private=C]..
 *	      splice=PROGRAM [times=MIN,MAX,GRACE,RENEW,CHECK,MEND] [ech]
 */
int main(int argc, char **argv)
{
	char *upstreams[8], *hosts[8];
	struct net_rule private_allowed[8];
	struct net_config config = { .tap_uid_base = UID_BASE,
				     .limits = { .connections_max = 4096 },
				     .dns_upstreams = upstreams,
				     .dns_hosts = hosts,
				     .private_allowed = private_allowed,
				     .resolver_uid = 65534,
				     .resolver_gid = 65534,
				     .splice_uid = 65533,
				     .splice_gid = 65533,
				     .state_dir = "/" };
	struct error err;

	log_open("net_driver", LOG_LEVEL_INFO);
	if (is_about_strays(argv + 1, argc - 1))
		return do_strays(argv + 1, &err) < 0;
	if (argc < 5)
		return 2;
	config.resolver_path = argv[1];
	config.slots = (uint32_t)atoi(argv[2]);
	config.pool = address_of(argv[3]);
	config.pool_mask = 0xffffffffu << (32 - atoi(argv[4]));
	for (int i = 5; i < argc; i++) {
		if (!strncmp(argv[i], "splice=", 7))
			config.splice_path = argv[i] + 7;
		else if (!strncmp(argv[i], "dns=", 4) &&
			 config.n_dns_upstreams < 8)
			upstreams[config.n_dns_upstreams++] = argv[i] + 4;
		else if (!strncmp(argv[i], "host=", 5) &&
			 config.n_dns_hosts < 8)
			hosts[config.n_dns_hosts++] = argv[i] + 5;
		else if (!strcmp(argv[i], "ech"))
			config.allow_ech = true;
		else if (!strncmp(argv[i], "private=", 8) &&
			 config.n_private_allowed < 8 &&
			 net_rule_parse(
				 argv[i] + 8,
				 &private_allowed[config.n_private_allowed],
				 &err) == 0)
			config.n_private_allowed++;
		else if (sscanf(argv[i], "times=%u,%u,%u,%u,%u,%u",
				&config.times.learn_min_ms,
				&config.times.learn_max_ms,
				&config.times.learn_grace_ms,
				&config.times.renew_ms, &config.times.check_ms,
				&config.times.mend_ms) != 6)
			return 2;
	}
	if (loop_new(&loop, &err) < 0 ||
	    net_open(&config, loop, on_denied, NULL, &net, &err) < 0) {
		printf("error %s\n", err.msg);
		return 1;
	}
	printf("ok\n");
	fflush(stdout);
	sd_event_add_io(loop_event(loop), NULL, 0, EPOLLIN, on_stdin, NULL);
	loop_run(loop);
	net_close(net, true);
	loop_free(loop);
	return 0;
}
