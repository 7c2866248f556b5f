/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_head.c - what the header lists of a call say */
#include "grpc_internal.h"

#include <errno.h>
#include <stdio.h>

void grpc_head_init(struct grpc_head *head)
{
	*head = (struct grpc_head){ .timeout_ms = UINT64_MAX };
}

static bool is(const uint8_t *s, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(s, what, len);
}

/* "application/grpc", "application/grpc+proto", with parameters or not. */
static bool is_grpc_type(const uint8_t *s, size_t len)
{
	static const char type[] = "application/grpc";
	static const char proto[] = "+proto";
	size_t n = sizeof(type) - 1;

	if (len < n || memcmp(s, type, n))
		return false;
	if (len - n >= sizeof(proto) - 1 &&
	    !memcmp(s + n, proto, sizeof(proto) - 1))
		n += sizeof(proto) - 1;
	return len == n || s[n] == ';' || s[n] == ' ';
}

static void take_path(struct grpc_head *head, const uint8_t *value, size_t len)
{
	if (len >= sizeof(head->path)) {
		head->path_long = true;
		return;
	}
	memcpy(head->path, value, len);
	head->path[len] = '\0';
}

static unsigned int parse_http_status(const uint8_t *s, size_t len)
{
	unsigned int v = 0;

	/* nghttp2 has made sure that these are three digits. */
	for (size_t i = 0; i < len && i < 3; i++)
		v = v * 10 + (unsigned int)(s[i] - '0');
	return v;
}

void grpc_head_field(struct grpc_head *head, struct grpc_status *st,
		     const uint8_t *name, size_t name_len, const uint8_t *value,
		     size_t value_len)
{
	head->size += name_len + value_len + 32;
	if (head->size > GRPC_HEADERS_MAX)
		return;
	if (is(name, name_len, ":method"))
		head->post = is(value, value_len, "POST");
	else if (is(name, name_len, ":path"))
		take_path(head, value, value_len);
	else if (is(name, name_len, ":status"))
		head->http_status = parse_http_status(value, value_len);
	else if (is(name, name_len, "content-type"))
		head->grpc_type = is_grpc_type(value, value_len);
	else if (is(name, name_len, "grpc-timeout"))
		head->bad_timeout = grpc_timeout_parse(value, value_len,
						       &head->timeout_ms) < 0;
	else if (is(name, name_len, "grpc-encoding"))
		head->encoded = !is(value, value_len, "identity");
	else if (is(name, name_len, "grpc-message"))
		grpc_message_decode(st->message, sizeof(st->message), value,
				    value_len);
	else if (is(name, name_len, "grpc-status-details-bin"))
		(void)grpc_details_decode(st, value, value_len);
	else if (is(name, name_len, "grpc-status")) {
		st->code = grpc_code_parse(value, value_len);
		head->have_status = true;
	}
}

void grpc_timeout_format(char *dst, uint64_t timeout_ms)
{
	static const struct {
		uint64_t ms;
		char unit;
	} units[] = {
		{ 1, 'm' }, { 1000, 'S' }, { 60000, 'M' }, { 3600000, 'H' }
	};
	unsigned int i = 0;
	uint64_t v;

	if (timeout_ms > GRPC_TIMEOUT_MAX_MS)
		timeout_ms = GRPC_TIMEOUT_MAX_MS;
	/* At most eight digits, rounded up. */
	while ((v = (timeout_ms + units[i].ms - 1) / units[i].ms) > 99999999)
		i++;
	snprintf(dst, 16, "%u%c", (unsigned int)v, units[i].unit);
}

int grpc_timeout_parse(const uint8_t *src, size_t len, uint64_t *ret_ms)
{
	uint64_t v = 0;

	if (len < 2 || len > 9)
		return -EINVAL;
	for (size_t i = 0; i < len - 1; i++) {
		if (src[i] < '0' || src[i] > '9')
			return -EINVAL;
		v = v * 10 + (src[i] - '0');
	}
	switch (src[len - 1]) {
	case 'H':
		v *= 3600000;
		break;
	case 'M':
		v *= 60000;
		break;
	case 'S':
		v *= 1000;
		break;
	case 'm':
		break;
	case 'u':
		v = (v + 999) / 1000;
		break;
	case 'n':
		v = (v + 999999) / 1000000;
		break;
	default:
		return -EINVAL;
	}
	*ret_ms = v;
	return 0;
}

size_t grpc_status_nv(nghttp2_nv *nv, size_t n, struct grpc_status_fields *buf,
		      const struct grpc_status *st)
{
	snprintf(buf->code, sizeof(buf->code), "%u", (unsigned int)st->code);
	nv[n++] = grpc_nv("grpc-status", buf->code);
	if (grpc_message_encode(buf->message, sizeof(buf->message),
				st->message))
		nv[n++] = grpc_nv("grpc-message", buf->message);
	if (grpc_details_encode(buf->details, sizeof(buf->details), st))
		nv[n++] = grpc_nv("grpc-status-details-bin", buf->details);
	return n;
}
