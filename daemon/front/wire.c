/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - messages of peers, checked before anything is made of them */
#include "front/wire.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum wire_type { WT_VARINT = 0, WT_64 = 1, WT_BYTES = 2, WT_32 = 5 };

struct scan {
	unsigned int fields;
	struct error *err;
};

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t b = *(*at)++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* Length of the sequence at @s, 0 when it is not UTF-8 (or a NUL). */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (s[0] < 0x80)
		return s[0] != 0;
	if (s[0] >= 0xc2 && s[0] < 0xe0)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] < 0xf0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] < 0xf5)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	c = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static bool is_text(const uint8_t *s, size_t len)
{
	while (len > 0) {
		size_t n = utf8_sequence(s, len);

		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static int scan_message(struct scan *scan,
			const ProtobufCMessageDescriptor *desc,
			const uint8_t *at, size_t len, unsigned int depth);

/* The length-delimited value of @f; repeated scalars may come packed. */
static int scan_bytes(struct scan *scan, const ProtobufCFieldDescriptor *f,
		      const uint8_t *at, size_t len, unsigned int depth)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return scan_message(scan, f->descriptor, at, len, depth + 1);
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		if (!is_text(at, len))
			return err_field(scan->err, f->name,
					 "'%s' is not UTF-8 text without NUL",
					 f->name);
		return 0;
	}
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return 0;
	/* Packed scalars take a byte each at least. */
	scan->fields +=
		(unsigned int)(len < WIRE_FIELDS_MAX ? len : WIRE_FIELDS_MAX);
	return 0;
}

static int scan_field(struct scan *scan, const ProtobufCMessageDescriptor *desc,
		      const uint8_t **at, const uint8_t *end,
		      unsigned int depth)
{
	const ProtobufCFieldDescriptor *f;
	uint64_t tag, n;

	if (!varint(at, end, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
		return -1;
	if (++scan->fields > WIRE_FIELDS_MAX)
		return err_set(scan->err, ERR_INVALID,
			       "a message of more than %u fields",
			       WIRE_FIELDS_MAX);
	f = protobuf_c_message_descriptor_get_field(desc, (unsigned)(tag >> 3));
	switch ((enum wire_type)(tag & 7)) {
	case WT_VARINT:
		return varint(at, end, &n) ? 0 : -1;
	case WT_64:
		n = 8;
		break;
	case WT_32:
		n = 4;
		break;
	case WT_BYTES:
		if (!varint(at, end, &n))
			return -1;
		if (n > (size_t)(end - *at))
			return -1;
		if (f && scan_bytes(scan, f, *at, n, depth) < 0)
			return -1;
		break;
	default:
		return -1;
	}
	if (n > (size_t)(end - *at))
		return -1;
	*at += n;
	return 0;
}

static int scan_message(struct scan *scan,
			const ProtobufCMessageDescriptor *desc,
			const uint8_t *at, size_t len, unsigned int depth)
{
	const uint8_t *end = at + len;

	if (depth > WIRE_DEPTH_MAX)
		return err_set(scan->err, ERR_INVALID,
			       "a message nested more than %d deep",
			       WIRE_DEPTH_MAX);
	while (at < end) {
		if (scan_field(scan, desc, &at, end, depth) < 0)
			return -1;
	}
	return scan->fields > WIRE_FIELDS_MAX ? -1 : 0;
}

static void drop_unknown(ProtobufCMessage *m);

static void drop_in_field(ProtobufCMessage *m,
			  const ProtobufCFieldDescriptor *f)
{
	const uint8_t *base = (const uint8_t *)m;
	const uint8_t *quantifier = base + f->quantifier_offset;
	const void *member = base + f->offset;

	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(const void *)quantifier;
		ProtobufCMessage **all = *(ProtobufCMessage * *const *)member;

		for (size_t i = 0; i < n; i++)
			drop_unknown(all[i]);
		return;
	}
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const uint32_t *)(const void *)quantifier != f->id)
		return;
	if (*(ProtobufCMessage *const *)member)
		drop_unknown(*(ProtobufCMessage *const *)member);
}

static void drop_unknown(ProtobufCMessage *m)
{
	for (unsigned int i = 0; i < m->n_unknown_fields; i++)
		free(m->unknown_fields[i].data);
	free(m->unknown_fields);
	m->unknown_fields = NULL;
	m->n_unknown_fields = 0;
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++)
		drop_in_field(m, &m->descriptor->fields[i]);
}

int wire_unpack(const ProtobufCMessageDescriptor *desc, const uint8_t *data,
		size_t len, ProtobufCMessage **ret, struct error *err)
{
	struct scan scan = { .err = err };
	ProtobufCMessage *m;

	err_set(err, ERR_INVALID, "not a well-formed %s", desc->short_name);
	if (scan_message(&scan, desc, data, len, 0) < 0)
		return -1;
	m = protobuf_c_message_unpack(desc, NULL, len, data);
	if (!m)
		return -1;
	drop_unknown(m);
	if (err)
		memset(err, 0, sizeof(*err));
	*ret = m;
	return 0;
}

ProtobufCMessage *wire_free(ProtobufCMessage *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return NULL;
}

void cleanup_wire(void *p)
{
	wire_free(*(ProtobufCMessage **)p);
}

uint8_t *wire_pack(const ProtobufCMessage *m, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *buf = xcalloc(1, len + 1);

	*ret_len = protobuf_c_message_pack(m, buf);
	return buf;
}
