/* SPDX-License-Identifier: Apache-2.0 */
/* str.h - strict parsing and checking of short strings */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

/* Decimal, the whole string, no sign, no space. 0 or -EINVAL, -ERANGE. */
int str_parse_u64(const char *s, uint64_t max, uint64_t *ret);

/* "500ms", "30s", "5m", "24h", "7d"; a bare number is milliseconds. */
int str_parse_duration_ms(const char *s, uint64_t max, uint64_t *ret_ms);

/* "512K", "10M", "4G" (powers of 1024) or bytes. */
int str_parse_size(const char *s, uint64_t max, uint64_t *ret);

/* All characters of @s are in @set ("a-z" ranges understood), and 1..@max. */
bool str_is_name(const char *s, size_t max, const char *set);

/* Copy when it fits with its NUL. 0 or -ENAMETOOLONG (then @dst is ""). */
int str_copy(char *dst, size_t size, const char *src);

void str_hex(char *dst /* 2*len+1 */, const uint8_t *src, size_t len);

/* Exactly @len bytes from 2*@len hex digits. 0 or -EINVAL. */
int str_unhex(uint8_t *dst, size_t len, const char *src);

/* Printable ASCII as it is, the rest as \xNN, cut to fit: for logs. */
const char *str_escape(char *dst, size_t size, const void *src, size_t len);

#endif /* BASE_STR_H */
