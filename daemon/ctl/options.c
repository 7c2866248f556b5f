/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - a command line, taken apart strictly */
#include "ctl/options.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

struct given {
	const struct option_def *def;
	const char *value;
};

struct options {
	char **hidden; /* copies of values */
	size_t n_hidden;
	struct given *given;
	size_t n_given;
	char **words;
	size_t n_words;
	char **rest;
	size_t n_rest;
};

struct options *options_new(void)
{
	return xcalloc(1, sizeof(struct options));
}

struct options *options_free(struct options *o)
{
	if (o) {
		for (size_t i = 0; i < o->n_hidden; i++) {
			explicit_bzero(o->hidden[i], strlen(o->hidden[i]));
			free(o->hidden[i]);
		}
		free(o->hidden);
		free(o->given);
		free(o->words);
		free(o);
	}
	return NULL;
}

/* @arg is "--name", "--name=..." or "-x". */
static bool matches(const struct option_def *def, const char *arg)
{
	size_t len;

	if (arg[1] != '-')
		return def->letter && arg[1] == def->letter && !arg[2];
	arg += 2;
	len = strcspn(arg, "=");
	return strlen(def->name) == len && memcmp(def->name, arg, len) == 0;
}

static const struct option_def *find(const struct option_def *table,
				     const char *arg)
{
	for (; table && table->name; table++) {
		if (matches(table, arg))
			return table;
	}
	return NULL;
}

static int add_given(struct options *o, const struct option_def *def,
		     const char *value, struct error *err)
{
	if (!def->many && options_has(o, def->name))
		return err_set(err, ERR_INVALID, "--%s is given twice",
			       def->name);
	o->given = xrealloc(o->given, o->n_given + 1, sizeof(*o->given));
	o->given[o->n_given++] = (struct given){ def, value };
	return 0;
}

/* Takes argv[0], and argv[1] when it is the value. */
static int take_option(struct options *o, const struct option_def *def,
		       int argc, char **argv, struct error *err)
{
	const char *equals = argv[0][1] == '-' ? strchr(argv[0], '=') : NULL;

	if (!def->value) {
		if (equals)
			return err_set(err, ERR_INVALID, "--%s takes no value",
				       def->name);
		return add_given(o, def, "", err) < 0 ? -1 : 1;
	}
	if (equals)
		return add_given(o, def, equals + 1, err) < 0 ? -1 : 1;
	if (argc < 2)
		return err_set(err, ERR_INVALID, "--%s needs a value (%s)",
			       def->name, def->value);
	return add_given(o, def, argv[1], err) < 0 ? -1 : 2;
}

int options_parse(struct options *o, const struct option_def *first,
		  const struct option_def *second, int argc, char **argv,
		  bool one_word, struct error *err)
{
	const struct option_def *def;
	int used;

	for (int i = 0; i < argc; i += used) {
		used = 1;
		if (strcmp(argv[i], "--") == 0 && !one_word) {
			o->rest = argv + i + 1;
			o->n_rest = (size_t)(argc - i - 1);
			return argc;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (one_word)
				return i;
			o->words = xrealloc(o->words, o->n_words + 1,
					    sizeof(*o->words));
			o->words[o->n_words++] = argv[i];
			continue;
		}
		def = find(first, argv[i]);
		if (!def)
			def = find(second, argv[i]);
		if (!def)
			return err_set(err, ERR_INVALID, "unknown option '%s'",
				       argv[i]);
		used = take_option(o, def, argc - i, argv + i, err);
		if (used < 0)
			return -1;
	}
	return argc;
}

void options_hide(struct options *o, const char *name)
{
	for (size_t i = 0; i < o->n_given; i++) {
		char *value = (char *)(uintptr_t)o->given[i].value;
		char *equals;

		if (strcmp(o->given[i].def->name, name) != 0)
			continue;
		o->hidden = xrealloc(o->hidden, o->n_hidden + 1,
				     sizeof(*o->hidden));
		o->hidden[o->n_hidden++] = xstrdup(value);
		o->given[i].value = o->hidden[o->n_hidden - 1];
		equals = strchr(value, '=');
		if (equals)
			memset(equals + 1, '*', strlen(equals + 1));
	}
}

size_t options_words(const struct options *o, char ***ret)
{
	if (ret)
		*ret = o->words;
	return o->n_words;
}

const char *options_word(const struct options *o, size_t i)
{
	return i < o->n_words ? o->words[i] : NULL;
}

size_t options_rest(const struct options *o, char ***ret)
{
	*ret = o->rest;
	return o->n_rest;
}

const char *options_nth(const struct options *o, const char *name, size_t i)
{
	for (size_t k = 0; k < o->n_given; k++) {
		if (strcmp(o->given[k].def->name, name) == 0 && i-- == 0)
			return o->given[k].value;
	}
	return NULL;
}

const char *options_get(const struct options *o, const char *name)
{
	return options_nth(o, name, 0);
}

bool options_has(const struct options *o, const char *name)
{
	return options_get(o, name) != NULL;
}

int options_env(const char *option, const char *text, char **ret_name,
		const char **ret_value, struct error *err)
{
	const char *equals = strchr(text, '=');

	*ret_value = equals ? equals + 1 : getenv(text);
	if (!*text || equals == text)
		return err_set(err, ERR_INVALID,
			       "--%s '%s': NAME=VALUE or NAME is needed",
			       option, text);
	if (!*ret_value)
		return err_set(err, ERR_INVALID,
			       "--%s '%s': is not set in the environment",
			       option, text);
	*ret_name = xasprintf("%.*s",
			      (int)(equals ? (size_t)(equals - text) :
					     strlen(text)),
			      text);
	return 0;
}

size_t options_count(const struct options *o, const char *name)
{
	size_t n = 0;

	while (options_nth(o, name, n))
		n++;
	return n;
}

int options_u32(const struct options *o, const char *name, uint32_t min,
		uint32_t max, uint32_t *ret, struct error *err)
{
	const char *s = options_get(o, name);
	uint64_t v;

	if (!s)
		return 0;
	if (str_parse_u64(s, max, &v) < 0 || v < min)
		return err_set(err, ERR_INVALID,
			       "--%s '%s': a number from %u to %u is needed",
			       name, s, min, max);
	*ret = (uint32_t)v;
	return 0;
}

int options_u64(const struct options *o, const char *name, uint64_t *ret,
		struct error *err)
{
	const char *s = options_get(o, name);
	uint64_t v;

	if (!s)
		return 0;
	if (str_parse_u64(s, UINT64_MAX, &v) < 0)
		return err_set(err, ERR_INVALID,
			       "--%s '%s': a number is needed", name, s);
	*ret = v;
	return 0;
}

int options_duration(const struct options *o, const char *name, uint32_t *ret,
		     struct error *err)
{
	const char *s = options_get(o, name);
	uint64_t v;

	if (!s)
		return 0;
	if (str_parse_duration_ms(s, UINT32_MAX, &v) < 0)
		return err_set(err, ERR_INVALID,
			       "--%s '%s': a duration like 500ms, 30s, 5m or "
			       "24h is needed",
			       name, s);
	*ret = (uint32_t)v;
	return 0;
}
