/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c - how one value of the configuration is read */
#include "engine/config_value.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

void config_strv_clear(struct strv *strv)
{
	for (size_t i = 0; i < strv->n; i++)
		free(strv->v[i]);
	free(strv->v);
	*strv = (struct strv){ 0 };
}

void config_pairs_clear(struct config_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		free(pairs->v[i].key);
		free(pairs->v[i].value);
	}
	free(pairs->v);
	*pairs = (struct config_pairs){ 0 };
}

int config_strv_add(struct strv *strv, const char *value, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(value);
	char *save = NULL;

	if (str_empty(value)) {
		config_strv_clear(strv);
		return 0;
	}
	for (char *word = strtok_r(copy, " \t,\n", &save); word;
	     word = strtok_r(NULL, " \t,\n", &save)) {
		if (strv->n == CONFIG_LIST_MAX)
			return err_set(err, ERR_INVALID, "more than %d entries",
				       CONFIG_LIST_MAX);
		strv->v = xrealloc(strv->v, strv->n + 1, sizeof(*strv->v));
		strv->v[strv->n++] = xstrdup(word);
	}
	return 0;
}

int config_pairs_set(struct config_pairs *pairs, const char *key,
		     const char *value, struct error *err)
{
	for (size_t i = 0; i < pairs->n; i++) {
		if (strcmp(pairs->v[i].key, key) != 0)
			continue;
		free(pairs->v[i].value);
		pairs->v[i].value = xstrdup(value);
		return 0;
	}
	if (pairs->n == CONFIG_LIST_MAX)
		return err_set(err, ERR_INVALID, "more than %d entries",
			       CONFIG_LIST_MAX);
	pairs->v = xrealloc(pairs->v, pairs->n + 1, sizeof(*pairs->v));
	pairs->v[pairs->n++] =
		(struct config_pair){ xstrdup(key), xstrdup(value) };
	return 0;
}

static int parse_bool(const char *value, bool *ret, struct error *err)
{
	if (!strcasecmp(value, "yes") || !strcasecmp(value, "true") ||
	    !strcasecmp(value, "on") || !strcmp(value, "1"))
		*ret = true;
	else if (!strcasecmp(value, "no") || !strcasecmp(value, "false") ||
		 !strcasecmp(value, "off") || !strcmp(value, "0"))
		*ret = false;
	else
		return err_set(err, ERR_INVALID, "'%.64s' is not yes or no",
			       value);
	return 0;
}

/* A plain decimal fraction; strtod() would take hex, nan and the locale. */
static int parse_fraction(const char *value, double max, double *ret,
			  struct error *err)
{
	char *end;
	double d;

	if (!str_is_name(value, 20, "0-9."))
		return err_set(err, ERR_INVALID, "'%.64s' is not a number",
			       value);
	d = strtod(value, &end);
	if (*end || d > max)
		return err_set(err, ERR_INVALID,
			       "'%.64s' is not a number up to %g", value, max);
	*ret = d;
	return 0;
}

static int parse_range(const char *value, uint32_t *ret /* 2: net, mask */,
		       struct error *err)
{
	char text[32];
	struct in_addr in;
	uint64_t bits;
	char *slash;

	if (str_copy(text, sizeof(text), value) < 0 ||
	    !(slash = strchr(text, '/')))
		return err_set(err, ERR_INVALID, "'%.64s' is not ADDRESS/BITS",
			       value);
	*slash = '\0';
	if (inet_pton(AF_INET, text, &in) != 1 ||
	    str_parse_u64(slash + 1, 30, &bits) < 0 || bits < 8)
		return err_set(err, ERR_INVALID,
			       "'%.64s' is not an IPv4 network of 8 to 30 bits",
			       value);
	ret[1] = ~0u << (32 - bits);
	ret[0] = ntohl(in.s_addr);
	if (ret[0] & ~ret[1])
		return err_set(err, ERR_INVALID,
			       "'%.64s' has bits set beyond its mask", value);
	return 0;
}

static int parse_ports(const char *value, uint16_t *ret, struct error *err)
{
	char text[16];
	uint64_t first, last;
	char *dash;

	if (str_copy(text, sizeof(text), value) == 0 &&
	    (dash = strchr(text, '-'))) {
		*dash = '\0';
		if (str_parse_u64(text, 65535, &first) == 0 &&
		    str_parse_u64(dash + 1, 65535, &last) == 0 && first > 0 &&
		    first <= last) {
			ret[0] = (uint16_t)first;
			ret[1] = (uint16_t)last;
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "'%.64s' is not FIRST-LAST", value);
}

static int parse_number(enum config_type type, uint64_t min, uint64_t max,
			const char *value, uint64_t *ret, struct error *err)
{
	int r = type == T_DURATION ? str_parse_duration_ms(value, max, ret) :
				     str_parse_u64(value, max, ret);

	if (r == 0 && *ret >= min)
		return 0;
	return err_set(err, ERR_INVALID,
		       "'%.64s' is not %s from %llu to %llu%s", value,
		       type == T_DURATION ? "a duration" : "a number",
		       (unsigned long long)min, (unsigned long long)max,
		       type == T_DURATION ? " ms" : "");
}

static int parse_accelerator(const char *value, enum config_accelerator *ret,
			     struct error *err)
{
	if (!strcmp(value, "kvm"))
		*ret = CONFIG_ACCEL_KVM;
	else if (!strcmp(value, "tcg"))
		*ret = CONFIG_ACCEL_TCG;
	else if (!strcmp(value, "auto"))
		*ret = CONFIG_ACCEL_AUTO;
	else
		return err_set(err, ERR_INVALID,
			       "'%.64s' is not kvm, tcg or auto", value);
	return 0;
}

static int parse_mechanism(const char *value, enum config_mechanism *ret,
			   struct error *err)
{
	static const char *const names[] = {
		[CONFIG_MECHANISM_AUTO] = "auto",
		[CONFIG_MECHANISM_CLONE] = "clone",
		[CONFIG_MECHANISM_LIBVIRT] = "libvirt",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(value, names[i])) {
			*ret = (enum config_mechanism)i;
			return 0;
		}
	return err_set(err, ERR_INVALID, "'%s' is not auto, clone or libvirt",
		       value);
}

static void set_string(char **at, const char *value)
{
	free(*at);
	*at = str_empty(value) ? NULL : xstrdup(value);
}

int config_value_set(void *at, enum config_type type, uint64_t min,
		     uint64_t max, const char *value, struct error *err)
{
	uint64_t number;

	switch (type) {
	case T_PATH:
		if (!str_empty(value) &&
		    (value[0] != '/' || strlen(value) >= PATH_MAX / 2))
			return err_set(err, ERR_INVALID,
				       "'%.64s' is not an absolute path",
				       value);
		set_string(at, value);
		return 0;
	case T_STRING:
		set_string(at, value);
		return 0;
	case T_BOOL:
		return parse_bool(value, at, err);
	case T_U32:
		if (parse_number(type, min, max, value, &number, err) < 0)
			return -1;
		*(uint32_t *)at = (uint32_t)number;
		return 0;
	case T_U64:
	case T_DURATION:
		if (parse_number(type, min, max, value, &number, err) < 0)
			return -1;
		*(uint64_t *)at = number;
		return 0;
	case T_RATIO:
		return parse_fraction(value, 1000, at, err);
	case T_COST:
		return parse_fraction(value, 1e9, at, err);
	case T_LIST:
		return config_strv_add(at, value, err);
	case T_RANGE:
		return parse_range(value, at, err);
	case T_PORTS:
		return parse_ports(value, at, err);
	case T_ACCELERATOR:
		return parse_accelerator(value, at, err);
	case T_MECHANISM:
		return parse_mechanism(value, at, err);
	}
	return err_set(err, ERR_INTERNAL, "key without a type");
}
