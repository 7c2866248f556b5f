/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - messages of peers, checked before anything is made of them
 *
 * protobuf-c allocates what a message tells it to and keeps fields it does not
 * know. wire_unpack() first walks the bytes, so that neither a client nor a
 * guest can make a small message into a large or deep one, and then drops what
 * is unknown: what is packed again holds only what this node understands.
 */
#ifndef FRONT_WIRE_H
#define FRONT_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>

struct error;

#define WIRE_DEPTH_MAX	16
#define WIRE_FIELDS_MAX 200000u /* in one message, nested ones included */

/**
 * wire_unpack() - Decode a message of an untrusted peer
 * @desc:	What it should be
 * @ret:	The message, to be freed with wire_free()
 *
 * Refused besides malformed ones: strings that hold a NUL or are not UTF-8,
 * too many or too deeply nested fields.  @err is ERR_INVALID and names the
 * field where there is one.
 */
int wire_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *data,
		size_t len, ProtobufCMessage **ret, struct error *err);

ProtobufCMessage *wire_free(ProtobufCMessage *m);
void cleanup_wire(void *p);
#define _cleanup_wire_ __attribute__((cleanup(cleanup_wire)))

/* Pack into memory that the caller frees. */
uint8_t *wire_pack(const ProtobufCMessage *m, size_t *ret_len);

#endif /* FRONT_WIRE_H */
