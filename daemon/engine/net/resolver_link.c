/* SPDX-License-Identifier: Apache-2.0 */
/* resolver_link.c - the engine's end of the socket to its resolver
 *
 * What the resolver must know is kept as the packed commands themselves, one a
 * slot, so that telling a new one everything is sending them again.
 */
#include "engine/net/resolver_link.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "engine/proc/helper.h"
#include "sandbox/ipc/v1/resolver.pb-c.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULE_TEXT_MAX	 128
#define UPSTREAMS_MAX	 8
#define DEFAULT_DNS_PORT 53

struct packed {
	uint8_t *data;
	size_t len;
};

struct resolver_link {
	struct helper *helper;
	const struct resolver_link_ops *ops;
	void *arg;
	int sockets[3];
	struct packed setup;
	struct packed guests[SLOT_MAX];
	uint16_t n_allow[SLOT_MAX]; /* rules of each, to check indices */
};

static struct packed pack(const Sandbox__Ipc__V1__ResolverCommand *cmd)
{
	struct packed p;

	p.len = sandbox__ipc__v1__resolver_command__get_packed_size(cmd);
	p.data = xcalloc(1, p.len);
	sandbox__ipc__v1__resolver_command__pack(cmd, p.data);
	return p;
}

static void send_packed(struct resolver_link *link, const struct packed *p,
			const int *fds, size_t n_fds)
{
	helper_tell_packed(link->helper, p->data, p->len, fds, n_fds);
}

static void on_up(void *arg)
{
	struct resolver_link *link = arg;

	send_packed(link, &link->setup, link->sockets,
		    link->sockets[2] >= 0 ? 3 : 2);
	for (uint32_t i = 0; i < SLOT_MAX; i++) {
		if (link->guests[i].data)
			send_packed(link, &link->guests[i], NULL, 0);
	}
}

static bool is_printable(const char *s, size_t max)
{
	size_t n = 0;

	for (; *s; s++) {
		if (++n > max || *s < 0x20 || *s > 0x7e)
			return false;
	}
	return true;
}

static int on_learn(struct resolver_link *link,
		    const Sandbox__Ipc__V1__Learn *msg)
{
	Sandbox__Ipc__V1__Learned learned = SANDBOX__IPC__V1__LEARNED__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;
	struct resolver_learn learn = { .slot = msg->slot,
					.generation = msg->generation,
					.name = msg->name };

	if (msg->slot >= SLOT_MAX || msg->n_rules > RESOLVER_RULES_MAX ||
	    msg->n_addresses > RESOLVER_ADDRESSES_MAX ||
	    !is_printable(msg->name, NET_TARGET_MAX))
		return -1;
	for (size_t i = 0; i < msg->n_rules; i++) {
		/* The policy may have become shorter since: only skip it. */
		if (msg->rules[i] < link->n_allow[msg->slot])
			learn.rules[learn.n_rules++] = (uint16_t)msg->rules[i];
	}
	for (size_t i = 0; i < msg->n_addresses; i++) {
		learn.addresses[i].address = msg->addresses[i]->address;
		learn.addresses[i].ttl_s = msg->addresses[i]->ttl;
	}
	learn.n_addresses = msg->n_addresses;
	learned.id = msg->id;
	learned.committed = link->guests[msg->slot].data && learn.n_rules &&
			    link->ops->learn(&learn, link->arg);
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_LEARNED;
	cmd.learned = &learned;
	helper_tell(link->helper, &cmd.base, NULL, 0);
	return 0;
}

static int on_denied(struct resolver_link *link,
		     const Sandbox__Ipc__V1__Denied *msg)
{
	if (msg->slot >= SLOT_MAX || msg->port > UINT16_MAX ||
	    msg->protocol > UINT8_MAX ||
	    !is_printable(msg->target, NET_TARGET_MAX) ||
	    !is_printable(msg->rule, RULE_TEXT_MAX))
		return -1;
	link->ops->denied(msg->slot, msg->target, (uint16_t)msg->port,
			  (uint8_t)msg->protocol, msg->rule, link->arg);
	return 0;
}

static int on_message(const ProtobufCMessage *m, int *fds, size_t n_fds,
		      void *arg)
{
	const Sandbox__Ipc__V1__ResolverReport *msg =
		(const Sandbox__Ipc__V1__ResolverReport *)m;
	struct resolver_link *link = arg;

	(void)fds;
	(void)n_fds;
	switch (msg->body_case) {
	case SANDBOX__IPC__V1__RESOLVER_REPORT__BODY_LEARN:
		return on_learn(link, msg->learn);
	case SANDBOX__IPC__V1__RESOLVER_REPORT__BODY_DENIED:
		return on_denied(link, msg->denied);
	case SANDBOX__IPC__V1__RESOLVER_REPORT__BODY__NOT_SET:
	case _SANDBOX__IPC__V1__RESOLVER_REPORT__BODY__CASE_IS_INT_SIZE:
		break;
	}
	return -1;
}

static const struct helper_ops helper_ops = {
	.report = &sandbox__ipc__v1__resolver_report__descriptor,
	.up = on_up,
	.message = on_message,
};

/* "192.0.2.1" or "192.0.2.1:5353". */
static int parse_upstream(const char *text, Sandbox__Ipc__V1__Upstream *ret,
			  struct error *err)
{
	char address[INET_ADDRSTRLEN];
	size_t n = strcspn(text, ":");
	unsigned long port = DEFAULT_DNS_PORT;
	struct in_addr in;
	char *end = NULL;

	if (text[n] == ':') {
		port = strtoul(text + n + 1, &end, 10);
		if (end == text + n + 1 || *end || port == 0 ||
		    port > UINT16_MAX)
			port = 0;
	}
	snprintf(address, sizeof(address), "%.*s", (int)n, text);
	if (port == 0 || n >= sizeof(address) ||
	    inet_pton(AF_INET, address, &in) != 1)
		return err_set(
			err, ERR_INVALID,
			"DNS upstream '%s': want ADDRESS or ADDRESS:PORT",
			text);
	sandbox__ipc__v1__upstream__init(ret);
	ret->address = ntohl(in.s_addr);
	ret->port = (uint32_t)port;
	return 0;
}

/* "name=192.0.2.7". @name_buf keeps the name. */
static int parse_host(const char *text, char name_buf[NET_TARGET_MAX + 1],
		      Sandbox__Ipc__V1__StaticHost *ret, struct error *err)
{
	const char *equals = strchr(text, '=');
	struct net_rule rule;
	struct in_addr in;

	if (!equals || equals - text > NET_TARGET_MAX ||
	    inet_pton(AF_INET, equals + 1, &in) != 1)
		return err_set(err, ERR_INVALID,
			       "DNS host '%s': want NAME=ADDRESS", text);
	snprintf(name_buf, NET_TARGET_MAX + 1, "%.*s", (int)(equals - text),
		 text);
	if (net_rule_parse(name_buf, &rule, err) < 0 || !rule.is_name ||
	    rule.wildcard)
		return err_set(err, ERR_INVALID,
			       "DNS host '%s': not a host's name", text);
	memcpy(name_buf, rule.target, sizeof(rule.target));
	sandbox__ipc__v1__static_host__init(ret);
	ret->name = name_buf;
	ret->address = ntohl(in.s_addr);
	return 0;
}

struct setup_parts {
	Sandbox__Ipc__V1__Upstream *upstreams, **upstream_list;
	Sandbox__Ipc__V1__StaticHost *hosts, **host_list;
	char (*names)[NET_TARGET_MAX + 1];
	Sandbox__Ipc__V1__AddressRange *ranges, **range_list;
};

static void setup_parts_fini(struct setup_parts *parts)
{
	free(parts->upstreams);
	free(parts->upstream_list);
	free(parts->hosts);
	free(parts->host_list);
	free(parts->names);
	free(parts->ranges);
	free(parts->range_list);
}

static int pack_setup(const struct net_config *config, struct packed *ret,
		      struct error *err)
{
	_cleanup_(setup_parts_fini) struct setup_parts p = { 0 };
	Sandbox__Ipc__V1__ResolverSetup setup =
		SANDBOX__IPC__V1__RESOLVER_SETUP__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;

	if (config->n_dns_upstreams > UPSTREAMS_MAX)
		return err_set(err, ERR_INVALID, "more than %d DNS upstreams",
			       UPSTREAMS_MAX);
	p.upstreams = xcalloc(config->n_dns_upstreams, sizeof(*p.upstreams));
	p.upstream_list = xcalloc(config->n_dns_upstreams, sizeof(void *));
	for (size_t i = 0; i < config->n_dns_upstreams; i++) {
		if (parse_upstream(config->dns_upstreams[i], &p.upstreams[i],
				   err) < 0)
			return -1;
		p.upstream_list[i] = &p.upstreams[i];
	}
	p.hosts = xcalloc(config->n_dns_hosts, sizeof(*p.hosts));
	p.host_list = xcalloc(config->n_dns_hosts, sizeof(void *));
	p.names = xcalloc(config->n_dns_hosts, sizeof(*p.names));
	for (size_t i = 0; i < config->n_dns_hosts; i++) {
		if (parse_host(config->dns_hosts[i], p.names[i], &p.hosts[i],
			       err) < 0)
			return -1;
		p.host_list[i] = &p.hosts[i];
	}
	p.ranges = xcalloc(config->n_private_allowed, sizeof(*p.ranges));
	p.range_list = xcalloc(config->n_private_allowed, sizeof(void *));
	for (size_t i = 0; i < config->n_private_allowed; i++) {
		sandbox__ipc__v1__address_range__init(&p.ranges[i]);
		p.ranges[i].network = config->private_allowed[i].network;
		p.ranges[i].mask = config->private_allowed[i].mask;
		p.range_list[i] = &p.ranges[i];
	}
	setup.upstreams = p.upstream_list;
	setup.n_upstreams = config->n_dns_upstreams;
	setup.hosts = p.host_list;
	setup.n_hosts = config->n_dns_hosts;
	setup.private_allowed = p.range_list;
	setup.n_private_allowed = config->n_private_allowed;
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SETUP;
	cmd.setup = &setup;
	*ret = pack(&cmd);
	return 0;
}

static int link_new(const struct net_config *config, const int sockets[3],
		    const struct resolver_link_ops *ops, void *arg,
		    struct resolver_link **ret, struct error *err)
{
	struct resolver_link *link = xcalloc(1, sizeof(*link));

	link->ops = ops;
	link->arg = arg;
	memcpy(link->sockets, sockets, sizeof(link->sockets));
	if (pack_setup(config, &link->setup, err) < 0) {
		resolver_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

int resolver_link_new(struct loop *loop, const struct net_config *config,
		      const int sockets[3], const struct resolver_link_ops *ops,
		      void *arg, struct resolver_link **ret, struct error *err)
{
	struct resolver_link *link;
	const struct helper_program program = { .path = config->resolver_path,
						.uid = config->resolver_uid,
						.gid = config->resolver_gid };

	if (link_new(config, sockets, ops, arg, &link, err) < 0)
		return -1;
	if (helper_new(loop, "resolver", &program, &helper_ops, link,
		       &link->helper, err) < 0) {
		resolver_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

int resolver_link_new_fd(struct loop *loop, int fd,
			 const struct net_config *config, const int sockets[3],
			 const struct resolver_link_ops *ops, void *arg,
			 struct resolver_link **ret, struct error *err)
{
	struct resolver_link *link;

	if (link_new(config, sockets, ops, arg, &link, err) < 0) {
		close(fd);
		return -1;
	}
	if (helper_new_fd(loop, "resolver", fd, &helper_ops, link,
			  &link->helper, err) < 0) {
		resolver_link_free(link);
		return -1;
	}
	*ret = link;
	return 0;
}

struct resolver_link *resolver_link_free(struct resolver_link *link)
{
	if (!link)
		return NULL;
	helper_free(link->helper);
	for (uint32_t i = 0; i < SLOT_MAX; i++)
		free(link->guests[i].data);
	free(link->setup.data);
	for (int i = 0; i < 3; i++)
		fd_close(&link->sockets[i]);
	free(link);
	return NULL;
}

static void name_rule(const struct net_rule *rule, uint32_t number, bool deny,
		      Sandbox__Ipc__V1__NameRule *ret)
{
	sandbox__ipc__v1__name_rule__init(ret);
	ret->name = (char *)rule->target;
	ret->wildcard = rule->wildcard;
	ret->deny = deny;
	ret->number = number;
}

void resolver_link_set(struct resolver_link *link, const struct slot *slot,
		       uint64_t generation, uint32_t ifindex,
		       const struct net_policy *policy)
{
	size_t max = policy->n_allow + policy->n_deny, n = 0;
	_cleanup_free_ Sandbox__Ipc__V1__NameRule *rules =
		xcalloc(max, sizeof(*rules));
	_cleanup_free_ Sandbox__Ipc__V1__NameRule **list =
		xcalloc(max, sizeof(*list));
	Sandbox__Ipc__V1__SetGuest set = SANDBOX__IPC__V1__SET_GUEST__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;
	struct packed *kept = &link->guests[slot->number];

	for (size_t i = 0; i < policy->n_deny; i++) {
		if (policy->deny[i].is_name)
			name_rule(&policy->deny[i], 0, true, &rules[n++]);
	}
	for (size_t i = 0; i < policy->n_allow; i++) {
		if (policy->allow[i].is_name)
			name_rule(&policy->allow[i], (uint32_t)i, false,
				  &rules[n++]);
	}
	for (size_t i = 0; i < n; i++)
		list[i] = &rules[i];
	set.slot = slot->number;
	set.generation = generation;
	set.ifindex = ifindex;
	set.address = slot->address;
	set.default_allow = policy->default_allow;
	set.rules = list;
	set.n_rules = n;
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_SET_GUEST;
	cmd.set_guest = &set;
	free(kept->data);
	*kept = pack(&cmd);
	link->n_allow[slot->number] = (uint16_t)policy->n_allow;
	send_packed(link, kept, NULL, 0);
}

void resolver_link_remove(struct resolver_link *link, uint32_t slot)
{
	Sandbox__Ipc__V1__RemoveGuest gone =
		SANDBOX__IPC__V1__REMOVE_GUEST__INIT;
	Sandbox__Ipc__V1__ResolverCommand cmd =
		SANDBOX__IPC__V1__RESOLVER_COMMAND__INIT;

	if (slot >= SLOT_MAX || !link->guests[slot].data)
		return;
	free(link->guests[slot].data);
	link->guests[slot] = (struct packed){ 0 };
	link->n_allow[slot] = 0;
	gone.slot = slot;
	cmd.body_case = SANDBOX__IPC__V1__RESOLVER_COMMAND__BODY_REMOVE_GUEST;
	cmd.remove_guest = &gone;
	helper_tell(link->helper, &cmd.base, NULL, 0);
}

pid_t resolver_link_pid(const struct resolver_link *link)
{
	return helper_pid(link->helper);
}
