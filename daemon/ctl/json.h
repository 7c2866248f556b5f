/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - protobuf messages as JSON, by their descriptors
 *
 * The proto3 JSON mapping: lowerCamelCase names, enums by name, 64-bit integers
 * as strings, bytes as base64, Timestamp as RFC 3339, Duration as "1.5s",
 * wrappers as their value, maps as objects. Fields that can be absent are left
 * out when they are; all others are written, also with their default.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>

/* One message as an object. Writes no newline. */
void json_message(FILE *out, const ProtobufCMessage *m);

/* A response as a person or script wants it: one that holds a list gives an
 * array, one that holds an object gives that object with the response's other
 * fields beside its own, any other is an object.
 */
void json_response(FILE *out, const ProtobufCMessage *m);

/* A string with quotes; bytes that are not UTF-8 become U+FFFD. */
void json_string(FILE *out, const char *s);
void json_base64(FILE *out, const uint8_t *data, size_t len);

/* "2026-11-21T04:05:06.789Z", with as few decimals as hold it. */
#define JSON_TIME_MAX 40
void json_time(char dst[JSON_TIME_MAX], int64_t seconds, int32_t nanos);

#endif /* CTL_JSON_H */
