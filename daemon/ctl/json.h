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

#include "base/json_text.h"

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

void json_base64(FILE *out, const uint8_t *data, size_t len);

#endif /* CTL_JSON_H */
