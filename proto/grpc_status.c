/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_status.c - how a call ended, in header fields and back
 *
 * Text from a peer may hold anything; grpc_text_copy() is the one way in and
 * the one way out, so that no reader of ours or of theirs meets invalid UTF-8
 * or terminal controls.
 */
#include "grpc_internal.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define DOMAIN	   "sandboxd"
#define TYPE_INFO  "type.googleapis.com/google.rpc.ErrorInfo"
#define TYPE_RETRY "type.googleapis.com/google.rpc.RetryInfo"
/* A packed google.rpc.Status of ours: text, reason, field, two type names. */
#define DETAILS_MAX 1280

static const char *const code_names[] = {
	[GRPC_OK] = "OK",
	[GRPC_CANCELLED] = "CANCELLED",
	[GRPC_UNKNOWN] = "UNKNOWN",
	[GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[GRPC_NOT_FOUND] = "NOT_FOUND",
	[GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[GRPC_ABORTED] = "ABORTED",
	[GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[GRPC_INTERNAL] = "INTERNAL",
	[GRPC_UNAVAILABLE] = "UNAVAILABLE",
	[GRPC_DATA_LOSS] = "DATA_LOSS",
	[GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};
static_assert(sizeof(code_names) / sizeof(code_names[0]) == GRPC_CODE_COUNT,
	      "every code has a name");
static_assert((DETAILS_MAX + 2) / 3 * 4 < GRPC_DETAILS_ENC_MAX,
	      "base64 of the details fits");

const char *grpc_code_str(enum grpc_code code)
{
	if ((unsigned int)code >= GRPC_CODE_COUNT)
		return code_names[GRPC_UNKNOWN];
	return code_names[code];
}

/* Length of the valid character at @p, 0 if there is none. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
		return 0;
	c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

void grpc_text_copy(char *dst, size_t size, const uint8_t *src, size_t len)
{
	size_t n = 0;

	for (size_t i = 0, step; i < len; i += step) {
		size_t ok = utf8_len(src + i, len - i);
		bool c1 = ok == 2 && src[i] == 0xc2 && src[i + 1] < 0xa0;

		step = ok ? ok : 1;
		if (!ok || c1 || src[i] == 0x7f ||
		    (src[i] < 0x20 && src[i] != '\n' && src[i] != '\t')) {
			if (n + 1 >= size)
				break;
			dst[n++] = '?';
			continue;
		}
		if (n + ok >= size)
			break;
		memcpy(dst + n, src + i, ok);
		n += ok;
	}
	dst[n] = '\0';
}

static void copy_str(char *dst, size_t size, const char *src)
{
	grpc_text_copy(dst, size, (const uint8_t *)src, strlen(src));
}

void grpc_status_set(struct grpc_status *st, enum grpc_code code,
		     const char *reason, const char *fmt, ...)
{
	char text[GRPC_STATUS_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	*st = (struct grpc_status){ .code = code };
	copy_str(st->message, sizeof(st->message), text);
	if (reason)
		copy_str(st->reason, sizeof(st->reason), reason);
}

/* ---- grpc-message ---- */

size_t grpc_message_encode(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *src; src++) {
		uint8_t c = (uint8_t)*src;
		bool plain = c >= 0x20 && c <= 0x7e && c != '%';

		/* Nor may a field begin or end with a space. */
		if (c == ' ' && (n == 0 || !src[1]))
			plain = false;
		if (n + (plain ? 1 : 3) >= size)
			break;
		if (plain) {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '%';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	dst[n] = '\0';
	return n;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

void grpc_message_decode(char *dst, size_t size, const uint8_t *src, size_t len)
{
	uint8_t raw[GRPC_STATUS_MESSAGE_MAX];
	size_t n = 0;

	for (size_t i = 0; i < len && n < sizeof(raw); i++) {
		int hi = -1, lo = -1;

		if (src[i] == '%' && len - i > 2) {
			hi = hex_digit(src[i + 1]);
			lo = hex_digit(src[i + 2]);
		}
		if (hi >= 0 && lo >= 0) {
			raw[n++] = (uint8_t)(hi << 4 | lo);
			i += 2;
		} else {
			raw[n++] = src[i];
		}
	}
	/* What was cut in the middle of a character loses all of it. */
	if (n == sizeof(raw))
		while (n && (raw[n - 1] & 0x80))
			n--;
	grpc_text_copy(dst, size, raw, n);
}

/* ---- grpc-status-details-bin ---- */

static size_t base64_encode(char *dst, const uint8_t *src, size_t len)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		size_t have = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)src[i] << 16;

		if (have > 1)
			v |= (uint32_t)src[i + 1] << 8;
		if (have > 2)
			v |= src[i + 2];
		for (size_t j = 0; j <= have; j++)
			dst[n++] = set[v >> (18 - 6 * j) & 63];
	}
	dst[n] = '\0';
	return n;
}

static int base64_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

/* With or without padding. @dst has room for @len bytes. Length or -EBADMSG. */
static ssize_t base64_decode(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint32_t v = 0;
	unsigned int bits = 0;
	ssize_t n = 0;

	while (len && src[len - 1] == '=')
		len--;
	if (len % 4 == 1)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		int d = base64_digit(src[i]);

		if (d < 0)
			return -EBADMSG;
		v = v << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			dst[n++] = (uint8_t)(v >> bits);
		}
	}
	return n;
}

/* One detail, packed into @buf (whose room the caller has made sure of). */
static void any_pack(Google__Protobuf__Any *any, const char *type, uint8_t *buf,
		     const ProtobufCMessage *msg)
{
	google__protobuf__any__init(any);
	any->type_url = (char *)(uintptr_t)type;
	any->value.len = protobuf_c_message_pack(msg, buf);
	any->value.data = buf;
}

size_t grpc_details_encode(char *dst, size_t size, const struct grpc_status *st)
{
	Google__Rpc__Status msg = GOOGLE__RPC__STATUS__INIT;
	Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
	Google__Rpc__ErrorInfo__MetadataEntry entry =
		GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
	Google__Rpc__ErrorInfo__MetadataEntry *entries[] = { &entry };
	Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
	Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Any any[2], *details[2];
	uint8_t info_buf[GRPC_REASON_MAX + GRPC_FIELD_MAX + 64];
	uint8_t retry_buf[32];
	uint8_t packed[DETAILS_MAX];
	size_t len;

	if (st->reason[0]) {
		info.reason = (char *)(uintptr_t)st->reason;
		info.domain = (char *)(uintptr_t)DOMAIN;
		if (st->field[0]) {
			entry.key = (char *)(uintptr_t) "field";
			entry.value = (char *)(uintptr_t)st->field;
			info.metadata = entries;
			info.n_metadata = 1;
		}
		any_pack(&any[msg.n_details++], TYPE_INFO, info_buf,
			 &info.base);
	}
	if (st->retry_ms) {
		delay.seconds = st->retry_ms / 1000;
		delay.nanos = (int32_t)(st->retry_ms % 1000) * 1000000;
		retry.retry_delay = &delay;
		any_pack(&any[msg.n_details++], TYPE_RETRY, retry_buf,
			 &retry.base);
	}
	if (!msg.n_details)
		return 0;
	for (size_t i = 0; i < msg.n_details; i++)
		details[i] = &any[i];
	msg.details = details;
	msg.code = (int32_t)st->code;
	msg.message = (char *)(uintptr_t)st->message;
	len = google__rpc__status__get_packed_size(&msg);
	if (len > sizeof(packed) || (len + 2) / 3 * 4 >= size)
		return 0;
	google__rpc__status__pack(&msg, packed);
	return base64_encode(dst, packed, len);
}

static void take_info(struct grpc_status *st, const ProtobufCBinaryData *value)
{
	Google__Rpc__ErrorInfo *info =
		google__rpc__error_info__unpack(NULL, value->len, value->data);

	if (!info)
		return;
	copy_str(st->reason, sizeof(st->reason), info->reason);
	for (size_t i = 0; i < info->n_metadata; i++)
		if (!strcmp(info->metadata[i]->key, "field"))
			copy_str(st->field, sizeof(st->field),
				 info->metadata[i]->value);
	google__rpc__error_info__free_unpacked(info, NULL);
}

static void take_retry(struct grpc_status *st, const ProtobufCBinaryData *value)
{
	Google__Rpc__RetryInfo *retry =
		google__rpc__retry_info__unpack(NULL, value->len, value->data);
	const Google__Protobuf__Duration *d;

	if (!retry)
		return;
	d = retry->retry_delay;
	if (d && d->seconds >= 0 && d->seconds < UINT32_MAX / 1000 - 1 &&
	    d->nanos >= 0 && d->nanos < 1000000000)
		st->retry_ms = (uint32_t)d->seconds * 1000 +
			       (uint32_t)d->nanos / 1000000;
	google__rpc__retry_info__free_unpacked(retry, NULL);
}

int grpc_details_decode(struct grpc_status *st, const uint8_t *src, size_t len)
{
	Google__Rpc__Status *msg = NULL;
	uint8_t *raw;
	ssize_t n;

	if (len > GRPC_HEADERS_MAX)
		return -EBADMSG;
	raw = grpc_xrealloc(NULL, len + 1);
	n = base64_decode(raw, src, len);
	if (n >= 0)
		msg = google__rpc__status__unpack(NULL, (size_t)n, raw);
	free(raw);
	if (!msg)
		return -EBADMSG;
	for (size_t i = 0; i < msg->n_details; i++) {
		const Google__Protobuf__Any *any = msg->details[i];

		if (!strcmp(any->type_url, TYPE_INFO))
			take_info(st, &any->value);
		else if (!strcmp(any->type_url, TYPE_RETRY))
			take_retry(st, &any->value);
	}
	google__rpc__status__free_unpacked(msg, NULL);
	return 0;
}

/* ---- codes ---- */

enum grpc_code grpc_code_parse(const uint8_t *src, size_t len)
{
	unsigned int v = 0;

	if (len < 1 || len > 2)
		return GRPC_UNKNOWN;
	for (size_t i = 0; i < len; i++) {
		if (src[i] < '0' || src[i] > '9')
			return GRPC_UNKNOWN;
		v = v * 10 + (src[i] - '0');
	}
	return v < GRPC_CODE_COUNT ? (enum grpc_code)v : GRPC_UNKNOWN;
}

/* gRPC's http-grpc-status-mapping. */
enum grpc_code grpc_code_of_http(unsigned int http_status)
{
	switch (http_status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

/* PROTOCOL-HTTP2's table of RST_STREAM codes. */
enum grpc_code grpc_code_of_h2(uint32_t h2_error)
{
	switch (h2_error) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}
