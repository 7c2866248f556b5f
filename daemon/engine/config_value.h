/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.h - how one value of the configuration is read
 *
 * Of config.c only. Errors (ERR_INVALID) say what is wrong with the value, not
 * whose it is: the caller names the key.
 */
#ifndef ENGINE_CONFIG_VALUE_H
#define ENGINE_CONFIG_VALUE_H

#include "engine/config.h"

#include <stdint.h>

struct error;

enum config_type {
	T_STRING, /* empty: NULL */
	T_PATH,	  /* absolute; empty: NULL */
	T_BOOL,
	T_U32,
	T_U64,
	T_DURATION,
	T_RATIO,
	T_COST,
	T_LIST,	 /* words, added to what is there; empty clears */
	T_RANGE, /* IPv4 CIDR */
	T_PORTS, /* first-last */
	T_ACCELERATOR,
	T_MECHANISM,
};

/*
 * Read @value into what @at points to, of the C type that @type stands for.
 * @min, @max: of numbers, and of durations in ms.
 */
int config_value_set(void *at, enum config_type type, uint64_t min,
		     uint64_t max, const char *value, struct error *err);

/* Words, added to what is there; an empty @value clears. */
int config_strv_add(struct strv *strv, const char *value, struct error *err);
void config_strv_clear(struct strv *strv);

/* One more pair, or another value for its key. */
int config_pairs_set(struct config_pairs *pairs, const char *key,
		     const char *value, struct error *err);
void config_pairs_clear(struct config_pairs *pairs);

#endif /* ENGINE_CONFIG_VALUE_H */
