/* SPDX-License-Identifier: Apache-2.0 */
/* rule.c - egress rules as people write them */
#include "ctl/rule.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <string.h>

/* node.proto's limits. */
#define RULE_PORTS_MAX	16
#define RULE_TARGET_MAX 255
#define RULE_TEXT_MAX	512

static const struct {
	const char *suffix;
	NODE(Protocol) protocol;
} protocols[] = {
	{ "/tcp", NODE_ENUM(PROTOCOL, TCP) },
	{ "/udp", NODE_ENUM(PROTOCOL, UDP) },
	{ "/any", NODE_ENUM(PROTOCOL, ANY) },
};

/* Behind everything else: what is reached need not say the name. */
#define UNVERIFIED "/unverified"

NODE(EgressRule) * rule_free(NODE(EgressRule) * rule)
{
	if (rule)
		sandbox__node__v1__egress_rule__free_unpacked(rule, NULL);
	return NULL;
}

static void rule_freep(NODE(EgressRule) * *rule)
{
	rule_free(*rule);
}

/* Cuts "/tcp" from the end of @text. */
static NODE(Protocol) take_protocol(char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		size_t n = strlen(protocols[i].suffix);

		if (len > n &&
		    strcmp(text + len - n, protocols[i].suffix) == 0) {
			text[len - n] = '\0';
			return protocols[i].protocol;
		}
	}
	return NODE_ENUM(PROTOCOL, UNSPECIFIED);
}

static void take_unverified(char *text, NODE(EgressRule) * rule)
{
	size_t len = strlen(text), n = strlen(UNVERIFIED);

	if (len <= n || strcmp(text + len - n, UNVERIFIED) != 0)
		return;
	text[len - n] = '\0';
	rule->verify_names = xcalloc(1, sizeof(*rule->verify_names));
	google__protobuf__bool_value__init(rule->verify_names);
}

static int parse_port(const char *s, uint32_t *ret, struct error *err)
{
	uint64_t v;

	if (str_parse_u64(s, 65535, &v) < 0 || v == 0)
		return err_set(err, ERR_INVALID,
			       "port '%s': a number from 1 to 65535 is needed",
			       s);
	*ret = (uint32_t)v;
	return 0;
}

static int parse_range(char *s, NODE(PortRange) * range, struct error *err)
{
	char *dash = strchr(s, '-');

	if (dash)
		*dash = '\0';
	if (parse_port(s, &range->first, err) < 0)
		return -1;
	range->last = range->first;
	if (dash && parse_port(dash + 1, &range->last, err) < 0)
		return -1;
	if (range->last < range->first)
		return err_set(err, ERR_INVALID,
			       "ports %u-%u: the first is above the last",
			       range->first, range->last);
	return 0;
}

static int parse_ports(char *s, NODE(EgressRule) * rule, struct error *err)
{
	rule->ports = xcalloc(RULE_PORTS_MAX, sizeof(*rule->ports));
	for (char *next; s; s = next) {
		NODE(PortRange) * range;

		next = strchr(s, ',');
		if (next)
			*next++ = '\0';
		if (rule->n_ports == RULE_PORTS_MAX)
			return err_set(err, ERR_INVALID,
				       "a rule has at most %d ports",
				       RULE_PORTS_MAX);
		range = xcalloc(1, sizeof(*range));
		sandbox__node__v1__port_range__init(range);
		rule->ports[rule->n_ports++] = range;
		if (parse_range(s, range, err) < 0)
			return -1;
	}
	return 0;
}

static int check_target(const char *target, struct error *err)
{
	if (!isalnum((unsigned char)*target) && *target != '*')
		return err_set(err, ERR_INVALID, "the target is missing");
	if (strlen(target) > RULE_TARGET_MAX)
		return err_set(err, ERR_INVALID,
			       "the target is longer than %d characters",
			       RULE_TARGET_MAX);
	for (const char *p = target; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("*.-_/", *p))
			return err_set(err, ERR_INVALID,
				       "'%s' is no name, address or network",
				       target);
	}
	return 0;
}

int rule_parse(const char *text, NODE(EgressRule) * *ret, struct error *err)
{
	_cleanup_(rule_freep) NODE(EgressRule) *rule = NULL;
	_cleanup_free_ char *copy = NULL;
	char *colon;

	if (strlen(text) > RULE_TEXT_MAX)
		return err_set(err, ERR_INVALID,
			       "rule is longer than %d characters",
			       RULE_TEXT_MAX);
	copy = xstrdup(text);
	rule = xcalloc(1, sizeof(*rule));
	sandbox__node__v1__egress_rule__init(rule);

	take_unverified(copy, rule);
	rule->protocol = take_protocol(copy);
	colon = strchr(copy, ':');
	if (colon)
		*colon = '\0';
	if (check_target(copy, err) < 0)
		return err_wrap(err, "rule '%s'", text);
	rule->target = xstrdup(copy);
	if (colon && parse_ports(colon + 1, rule, err) < 0)
		return err_wrap(err, "rule '%s'", text);
	*ret = TAKE_PTR(rule);
	return 0;
}

char *rule_format(const NODE(EgressRule) * rule)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	fputs(rule->target, out);
	for (size_t i = 0; i < rule->n_ports; i++) {
		const NODE(PortRange) *r = rule->ports[i];

		fprintf(out, "%c%u", i ? ',' : ':', r->first);
		if (r->last && r->last != r->first)
			fprintf(out, "-%u", r->last);
	}
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (rule->protocol == protocols[i].protocol)
			fputs(protocols[i].suffix, out);
	}
	if (rule->verify_names && !rule->verify_names->value)
		fputs(UNVERIFIED, out);
	fclose(out);
	return text;
}
