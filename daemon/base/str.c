/* SPDX-License-Identifier: Apache-2.0 */
/* str.c - strict parsing and checking of short strings */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A decimal number at *@s, which moves behind it. */
static int take_u64(const char **s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *s;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -ERANGE;
	}
	*s = p;
	*ret = v;
	return 0;
}

struct unit {
	const char *suffix;
	uint64_t factor;
};

static int take_units(const char *s, const struct unit *units, size_t n,
		      uint64_t max, uint64_t *ret)
{
	uint64_t v;
	int r;

	if (!s)
		return -EINVAL;
	r = take_u64(&s, &v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(s, units[i].suffix) != 0)
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v) || v > max)
			return -ERANGE;
		*ret = v;
		return 0;
	}
	return -EINVAL;
}

int str_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	static const struct unit none[] = { { "", 1 } };

	return take_units(s, none, 1, max, ret);
}

int str_parse_duration_ms(const char *s, uint64_t max, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{ "", 1 },	 { "ms", 1 },	     { "s", 1000 },
		{ "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};

	return take_units(s, units, sizeof(units) / sizeof(units[0]), max,
			  ret_ms);
}

int str_parse_size(const char *s, uint64_t max, uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "K", 1ull << 10 },
		{ "M", 1ull << 20 },
		{ "G", 1ull << 30 },
		{ "T", 1ull << 40 },
	};

	return take_units(s, units, sizeof(units) / sizeof(units[0]), max, ret);
}

static bool in_set(char c, const char *set)
{
	for (; *set; set++) {
		if (set[1] == '-' && set[2]) {
			if (c >= set[0] && c <= set[2])
				return true;
			set += 2;
		} else if (c == *set) {
			return true;
		}
	}
	return false;
}

bool str_is_name(const char *s, size_t max, const char *set)
{
	size_t n = 0;

	if (str_empty(s))
		return false;
	for (; *s; s++) {
		if (++n > max || !in_set(*s, set))
			return false;
	}
	return true;
}

int str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size) {
		dst[0] = '\0';
		return -ENAMETOOLONG;
	}
	memcpy(dst, src, len + 1);
	return 0;
}

void str_hex(char *dst, const uint8_t *src, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		dst[2 * i] = digits[src[i] >> 4];
		dst[2 * i + 1] = digits[src[i] & 15];
	}
	dst[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int str_unhex(uint8_t *dst, size_t len, const char *src)
{
	if (strlen(src) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int hi = hex_value(src[2 * i]), lo = hex_value(src[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		dst[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

const char *str_escape(char *dst, size_t size, const void *src, size_t len)
{
	const uint8_t *p = src;
	size_t at = 0;

	for (size_t i = 0; i < len && at + 5 <= size; i++) {
		if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\')
			dst[at++] = (char)p[i];
		else
			at += (size_t)snprintf(dst + at, size - at, "\\x%02x",
					       p[i]);
	}
	if (size)
		dst[at < size ? at : size - 1] = '\0';
	return dst;
}
