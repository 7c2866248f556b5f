/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - protobuf messages as JSON, by their descriptors */
#include "ctl/json.h"


#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WRAPPERS "google.protobuf."

static void write_value(FILE *out, const ProtobufCFieldDescriptor *f,
			const void *at);

void json_base64(FILE *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	fputc('"', out);
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)data[i] << 16;

		if (i + 1 < len)
			v |= (uint32_t)data[i + 1] << 8;
		if (i + 2 < len)
			v |= data[i + 2];
		fputc(digits[v >> 18], out);
		fputc(digits[v >> 12 & 63], out);
		fputc(i + 1 < len ? digits[v >> 6 & 63] : '=', out);
		fputc(i + 2 < len ? digits[v & 63] : '=', out);
	}
	fputc('"', out);
}

static void write_duration(FILE *out, int64_t seconds, int32_t nanos)
{
	char fraction[12];
	int negative = seconds < 0 || nanos < 0;

	json_fraction(fraction, negative ? -nanos : nanos);
	fprintf(out, "\"%s%" PRIu64 "%ss\"", negative ? "-" : "",
		negative ? (uint64_t)0 - (uint64_t)seconds : (uint64_t)seconds,
		fraction);
}

/* Of a message's @i-th field. */
static const void *member(const ProtobufCMessage *m, unsigned int i)
{
	return (const char *)m + m->descriptor->fields[i].offset;
}

/* Timestamp, Duration and wrappers are not objects in JSON. */
static bool write_well_known(FILE *out, const ProtobufCMessage *m)
{
	const char *name = m->descriptor->name;
	char time[JSON_TIME_MAX];

	if (strncmp(name, WRAPPERS, sizeof(WRAPPERS) - 1) != 0)
		return false;
	name += sizeof(WRAPPERS) - 1;
	if (strcmp(name, "Timestamp") == 0) {
		json_time(time, *(const int64_t *)member(m, 0),
			  *(const int32_t *)member(m, 1));
		fprintf(out, "\"%s\"", time);
		return true;
	}
	if (strcmp(name, "Duration") == 0) {
		write_duration(out, *(const int64_t *)member(m, 0),
			       *(const int32_t *)member(m, 1));
		return true;
	}
	if (m->descriptor->n_fields == 1 && strstr(name, "Value")) {
		write_value(out, &m->descriptor->fields[0], member(m, 0));
		return true;
	}
	return false;
}

static void write_double(FILE *out, double v)
{
	char text[40];

	if (isnan(v)) {
		fputs("\"NaN\"", out);
	} else if (isinf(v)) {
		fputs(v < 0 ? "\"-Infinity\"" : "\"Infinity\"", out);
	} else {
		/* The shortest that reads back as the same number. */
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, v);
			if (strtod(text, NULL) == v)
				break;
		}
		fputs(text, out);
	}
}

static void write_enum(FILE *out, const ProtobufCEnumDescriptor *e, int value)
{
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(e, value);

	if (v)
		json_string(out, v->name);
	else
		fprintf(out, "%d", value);
}

static void write_value(FILE *out, const ProtobufCFieldDescriptor *f,
			const void *at)
{
	const ProtobufCBinaryData *bytes = at;

	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		fprintf(out, "%" PRId32, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		fprintf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		fprintf(out, "\"%" PRId64 "\"", *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		fprintf(out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		write_double(out, (double)*(const float *)at);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		write_double(out, *(const double *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		fputs(*(const protobuf_c_boolean *)at ? "true" : "false", out);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		write_enum(out, f->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		json_string(out, *(char *const *)at);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		json_base64(out, bytes->data, bytes->len);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		json_message(out, *(const ProtobufCMessage *const *)at);
		break;
	}
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		break;
	}
	return 4;
}

/* protoc makes of map<K, V> a repeated message "<Parent>.<Field>Entry" of key
 * and value; its descriptor says no more than that.
 */
static bool is_map(const ProtobufCMessageDescriptor *parent,
		   const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *entry = f->descriptor;
	size_t len, n;

	if (f->label != PROTOBUF_C_LABEL_REPEATED ||
	    f->type != PROTOBUF_C_TYPE_MESSAGE || entry->n_fields != 2)
		return false;
	if (strcmp(entry->fields[0].name, "key") != 0 ||
	    strcmp(entry->fields[1].name, "value") != 0)
		return false;
	len = strlen(entry->name);
	n = strlen(parent->name);
	return len > n + 6 && strncmp(entry->name, parent->name, n) == 0 &&
	       entry->name[n] == '.' &&
	       strcmp(entry->name + len - 5, "Entry") == 0;
}

static void write_map_entry(FILE *out, const ProtobufCMessage *entry)
{
	const ProtobufCFieldDescriptor *key = &entry->descriptor->fields[0];
	bool quote = key->type != PROTOBUF_C_TYPE_STRING &&
		     value_size(key->type) < 8;

	if (quote)
		fputc('"', out);
	write_value(out, key, member(entry, 0));
	fputs(quote ? "\":" : ":", out);
	write_value(out, &entry->descriptor->fields[1], member(entry, 1));
}

static void write_repeated(FILE *out, const ProtobufCMessage *m,
			   const ProtobufCFieldDescriptor *f)
{
	const size_t n =
		*(const size_t *)((const char *)m + f->quantifier_offset);
	const char *at = *(const char *const *)((const char *)m + f->offset);
	bool map = is_map(m->descriptor, f);

	fputc(map ? '{' : '[', out);
	for (size_t i = 0; i < n; i++) {
		const void *item = at + i * value_size(f->type);

		if (i)
			fputc(',', out);
		if (map)
			write_map_entry(out,
					*(const ProtobufCMessage *const *)item);
		else
			write_value(out, f, item);
	}
	fputc(map ? '}' : ']', out);
}

/* Whether the field is there, as far as its kind can be absent. */
static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return true;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) ==
		       f->id;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(base + f->offset) != NULL;
	return true;
}

static void write_name(FILE *out, const char *name)
{
	fputc('"', out);
	for (; *name; name++) {
		if (*name == '_' && name[1])
			fputc(toupper((unsigned char)*++name), out);
		else
			fputc(*name, out);
	}
	fputs("\":", out);
}

/* All fields but @skip; *@n counts what the object holds already. */
static void write_members(FILE *out, const ProtobufCMessage *m,
			  const ProtobufCFieldDescriptor *skip, int *n)
{
	for (unsigned int i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];

		if (f == skip || !is_set(m, f))
			continue;
		if ((*n)++)
			fputc(',', out);
		write_name(out, f->name);
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			write_repeated(out, m, f);
		else
			write_value(out, f, member(m, i));
	}
}

void json_message(FILE *out, const ProtobufCMessage *m)
{
	int n = 0;

	if (write_well_known(out, m))
		return;
	fputc('{', out);
	write_members(out, m, NULL, &n);
	fputc('}', out);
}

void json_response(FILE *out, const ProtobufCMessage *m)
{
	const ProtobufCFieldDescriptor *f = m->descriptor->fields;
	const ProtobufCMessage *inner;
	int n = 0;

	if (m->descriptor->n_fields == 0 ||
	    f->type != PROTOBUF_C_TYPE_MESSAGE || !is_set(m, f)) {
		json_message(out, m);
		return;
	}
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		write_repeated(out, m, f);
		return;
	}
	inner = *(const ProtobufCMessage *const *)((const char *)m + f->offset);
	fputc('{', out);
	write_members(out, inner, NULL, &n);
	write_members(out, m, f, &n);
	fputc('}', out);
}
