/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.h - strings and times as JSON has them */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* A string with quotes; bytes that are not UTF-8 become U+FFFD. */
void json_string(FILE *out, const char *s);

/* "2026-11-21T04:05:06.789Z", with as few decimals as hold it. */
#define JSON_TIME_MAX 40
void json_time(char dst[JSON_TIME_MAX], int64_t seconds, int32_t nanos);

/* ".5", ".123456", "" - as the mapping has it, 0, 3, 6 or 9 digits. */
void json_fraction(char dst[12], int32_t nanos);

#endif /* BASE_JSON_TEXT_H */
