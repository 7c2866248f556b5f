/* SPDX-License-Identifier: Apache-2.0 */
/* engine_link.c - the resolver's end of its socket to the engine
 *
 * Owns all parts of the resolver and joins them. The engine is trusted, but
 * what it says is still checked for size: a bug there is not to become one
 * here.
 */
#include "resolver/engine_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/ipc_message.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "resolver/dns_wire.h"
#include "resolver/guest.h"
#include "resolver/lookup.h"
#include "resolver/refused.h"
#include "resolver/serve.h"
#include "resolver/upstream.h"
#include "sandbox/ipc/v1/resolver.pb-c.h"

#include <string.h>

#define HOSTS_MAX  1024
#define RANGES_MAX 64

struct engine_link {
	struct loop *loop;
	struct engine_end *engine;
	struct guests *guests;
	struct upstreams *up;
	struct lookups *lookups;
	struct serve *serve;
	struct refused *refused;
};

static void report_denied(struct engine_link *link, struct guest *g,
			  const char *target, uint16_t port, uint32_t protocol,
			  const char *rule)
{
	Sandbox__Ipc__V1__Denied denied = SANDBOX__IPC__V1__DENIED__INIT;
	Sandbox__Ipc__V1__ResolverReport msg =
		SANDBOX__IPC__V1__RESOLVER_REPORT__INIT;

	if (!bucket_take(&g->reports, GUEST_REPORTS_PER_S, GUEST_REPORTS_PER_S,
			 loop_now_ms()))
		return;
	denied.slot = g->slot;
	denied.target = (char *)target;
	denied.port = port;
	denied.protocol = protocol;
	denied.rule = (char *)rule;
	msg.body_case = SANDBOX__IPC__V1__RESOLVER_REPORT__BODY_DENIED;
	msg.denied = &denied;
	engine_end_report(link->engine, &msg.base);
}

static void on_name_denied(struct guest *g, const char *name, const char *rule,
			   void *arg)
{
	report_denied(arg, g, name, 0, 0, rule);
}

static void on_packet_refused(const struct refused_packet *p, void *arg)
{
	struct engine_link *link = arg;
	struct guest *g = guests_by_ifindex(link->guests, p->ifindex);
	char address[16];

	if (!g)
		return;
	snprintf(address, sizeof(address), "%u.%u.%u.%u", p->address >> 24,
		 p->address >> 16 & 255, p->address >> 8 & 255,
		 p->address & 255);
	report_denied(link, g, address, p->port, p->protocol, p->rule);
}

static void on_learn(uint64_t id, const struct guest *g, const uint16_t *rules,
		     size_t n_rules, const struct dns_address *addresses,
		     size_t n_addresses, const char *name, void *arg)
{
	struct engine_link *link = arg;
	Sandbox__Ipc__V1__LearnedAddress entries[DNS_ADDRESSES_MAX];
	Sandbox__Ipc__V1__LearnedAddress *list[DNS_ADDRESSES_MAX];
	Sandbox__Ipc__V1__Learn learn = SANDBOX__IPC__V1__LEARN__INIT;
	Sandbox__Ipc__V1__ResolverReport msg =
		SANDBOX__IPC__V1__RESOLVER_REPORT__INIT;
	uint32_t numbers[LOOKUP_RULES_MAX];

	for (size_t i = 0; i < n_rules; i++)
		numbers[i] = rules[i];
	for (size_t i = 0; i < n_addresses; i++) {
		sandbox__ipc__v1__learned_address__init(&entries[i]);
		entries[i].address = addresses[i].address;
		entries[i].ttl = addresses[i].ttl;
		list[i] = &entries[i];
	}
	learn.id = id;
	learn.slot = g->slot;
	learn.generation = g->generation;
	learn.rules = numbers;
	learn.n_rules = n_rules;
	learn.addresses = list;
	learn.n_addresses = n_addresses;
	learn.name = (char *)name;
	msg.body_case = SANDBOX__IPC__V1__RESOLVER_REPORT__BODY_LEARN;
	msg.learn = &learn;
	engine_end_report(link->engine, &msg.base);
}

static const struct lookup_ops lookup_ops = { .learn = on_learn,
					      .denied = on_name_denied };

static void set_names(struct engine_link *link,
		      const Sandbox__Ipc__V1__ResolverSetup *setup)
{
	size_t n_hosts =
		setup->n_hosts < HOSTS_MAX ? setup->n_hosts : HOSTS_MAX;
	size_t n_ranges = setup->n_private_allowed < RANGES_MAX ?
				  setup->n_private_allowed :
				  RANGES_MAX;
	struct static_host *hosts = xcalloc(n_hosts, sizeof(*hosts));
	struct address_range *ranges = xcalloc(n_ranges, sizeof(*ranges));
	struct sockaddr_in servers[UPSTREAMS_MAX] = { 0 };
	size_t n_servers = 0;

	for (size_t i = 0; i < n_hosts; i++) {
		snprintf(hosts[i].name, sizeof(hosts[i].name), "%s",
			 setup->hosts[i]->name);
		hosts[i].address = setup->hosts[i]->address;
	}
	for (size_t i = 0; i < n_ranges; i++) {
		ranges[i].mask = setup->private_allowed[i]->mask;
		ranges[i].network =
			setup->private_allowed[i]->network & ranges[i].mask;
	}
	for (; n_servers < setup->n_upstreams && n_servers < UPSTREAMS_MAX;
	     n_servers++) {
		const Sandbox__Ipc__V1__Upstream *u =
			setup->upstreams[n_servers];

		servers[n_servers].sin_family = AF_INET;
		servers[n_servers].sin_addr.s_addr = htonl(u->address);
		servers[n_servers].sin_port =
			htons((uint16_t)(u->port ? u->port : 53));
	}
	lookups_configure(link->lookups, hosts, n_hosts, ranges, n_ranges);
	upstreams_set(link->up, servers, n_servers);
}

static void on_setup(struct engine_link *link,
		     const Sandbox__Ipc__V1__ResolverSetup *setup, int *fds,
		     size_t n_fds)
{
	struct error err;

	set_names(link, setup);
	if (n_fds < 2 || link->serve)
		return;
	if (serve_new(link->loop, link->guests, link->lookups, TAKE_FD(fds[0]),
		      TAKE_FD(fds[1]), &link->serve, &err) < 0 ||
	    (n_fds > 2 &&
	     refused_new(link->loop, TAKE_FD(fds[2]), on_packet_refused, link,
			 &link->refused, &err) < 0)) {
		log_err("%s", err.msg);
		loop_stop(link->loop, 1);
	}
}

static void on_set_guest(struct engine_link *link,
			 const Sandbox__Ipc__V1__SetGuest *set)
{
	size_t n =
		set->n_rules < NAME_RULES_MAX ? set->n_rules : NAME_RULES_MAX;
	struct name_rule *rules = xcalloc(n, sizeof(*rules));

	for (size_t i = 0; i < n; i++) {
		const Sandbox__Ipc__V1__NameRule *r = set->rules[i];

		snprintf(rules[i].name, sizeof(rules[i].name), "%s", r->name);
		rules[i].wildcard = r->wildcard;
		rules[i].deny = r->deny;
		rules[i].number = (uint16_t)r->number;
	}
	guests_set(link->guests, set->slot, set->generation, set->ifindex,
		   set->address, set->default_allow, rules, n);
}

static void on_command(ProtobufCMessage *m, int *fds, size_t n_fds, void *arg)
{
	const Sandbox__Ipc__V1__ResolverCommand *msg =
		(const Sandbox__Ipc__V1__ResolverCommand *)m;
	struct engine_link *link = arg;

	switch (msg->body_case) {
	case SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SETUP:
		on_setup(link, msg->setup, fds, n_fds);
		break;
	case SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SET_GUEST:
		on_set_guest(link, msg->set_guest);
		break;
	case SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_REMOVE_GUEST:
		guests_remove(link->guests, msg->remove_guest->slot);
		break;
	case SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_LEARNED:
		lookups_learned(link->lookups, msg->learned->id,
				msg->learned->committed);
		break;
	case SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY__CASE_IS_INT_SIZE:
		break;
	}
}

static const struct engine_end_ops engine_ops = {
	.command = &sandbox__ipc__v1__resolver_command__descriptor,
	.message = on_command,
};

int engine_link_new(struct loop *loop, int fd, struct engine_link **ret,
		    struct error *err)
{
	struct engine_link *link = xcalloc(1, sizeof(*link));

	link->loop = loop;
	link->guests = guests_new();
	link->up = upstreams_new(loop);
	link->lookups =
		lookups_new(loop, link->guests, link->up, &lookup_ops, link);
	if (engine_end_new(loop, fd, &engine_ops, link, &link->engine, err) <
	    0) {
		engine_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

struct engine_link *engine_link_free(struct engine_link *link)
{
	if (!link)
		return NULL;
	lookups_free(link->lookups);
	serve_free(link->serve);
	refused_free(link->refused);
	upstreams_free(link->up);
	guests_free(link->guests);
	engine_end_free(link->engine);
	free(link);
	return NULL;
}
