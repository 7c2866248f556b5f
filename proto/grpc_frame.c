/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_frame.c - length-prefixed messages out of a byte stream
 *
 * A message's length is judged before room is made for it, and room grows with
 * the bytes that come, not with the length that is claimed.
 */
#include "grpc_internal.h"

#include <errno.h>

/* What an idle call keeps. */
#define KEEP_MAX (32u << 10)

void grpc_in_free(struct grpc_in *in)
{
	free(in->buf);
	*in = (struct grpc_in){ 0 };
}

size_t grpc_in_left(const struct grpc_in *in)
{
	return in->len - in->off;
}

void grpc_in_append(struct grpc_in *in, const uint8_t *data, size_t len)
{
	size_t left = grpc_in_left(in);
	size_t cap = in->cap;

	if (!len)
		return;
	if (len > in->cap - in->len && in->off) {
		memmove(in->buf, in->buf + in->off, left);
		in->off = 0;
		in->len = left;
	}
	if (len > in->cap - in->len) {
		if (!cap)
			cap = 1024;
		while (cap < in->len + len)
			cap *= 2;
		in->buf = grpc_xrealloc(in->buf, cap);
		in->cap = cap;
	}
	memcpy(in->buf + in->len, data, len);
	in->len += len;
}

int grpc_in_next(struct grpc_in *in, const uint8_t **ret, size_t *ret_len)
{
	const uint8_t *p;
	size_t left = grpc_in_left(in);
	uint32_t len;

	if (!left) {
		in->off = in->len = 0;
		if (in->cap > KEEP_MAX)
			grpc_in_free(in);
		return 0;
	}
	p = in->buf + in->off;
	if (p[0] > 1)
		return -EPROTO;
	if (p[0] == 1)
		return -ENOTSUP;
	if (left < GRPC_PREFIX_LEN)
		return 0;
	len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
	      (uint32_t)p[3] << 8 | p[4];
	if (len > GRPC_MESSAGE_MAX)
		return -EMSGSIZE;
	if (left - GRPC_PREFIX_LEN < len)
		return 0;
	*ret = p + GRPC_PREFIX_LEN;
	*ret_len = len;
	in->off += GRPC_PREFIX_LEN + len;
	return 1;
}

void grpc_prefix_write(uint8_t dst[GRPC_PREFIX_LEN], size_t len)
{
	dst[0] = 0;
	dst[1] = (uint8_t)(len >> 24);
	dst[2] = (uint8_t)(len >> 16);
	dst[3] = (uint8_t)(len >> 8);
	dst[4] = (uint8_t)len;
}
