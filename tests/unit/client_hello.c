/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello.c - how TLS connections begin, put together byte by byte */
#include "client_hello.h"

#include <string.h>

void put(struct bytes *o, const void *data, size_t n)
{
	memcpy(o->b + o->n, data, n);
	o->n += n;
}

void put_number(struct bytes *o, size_t v, size_t bytes)
{
	while (bytes--)
		o->b[o->n++] = (uint8_t)(v >> 8 * bytes);
}

void put_extension(struct bytes *o, size_t type, const void *data, size_t n)
{
	put_number(o, type, 2);
	put_number(o, n, 2);
	put(o, data, n);
}

void put_name(struct bytes *o, const char *name)
{
	struct bytes e = { .n = 0 };

	put_number(&e, strlen(name) + 3, 2);
	put_number(&e, 0, 1);
	put_number(&e, strlen(name), 2);
	put(&e, name, strlen(name));
	put_extension(o, 0, e.b, e.n);
}

void message(struct bytes *o, const struct bytes *extensions)
{
	struct bytes m = { .n = 0 };

	put_number(&m, 0x0303, 2);
	for (int i = 0; i < 32; i++)
		put_number(&m, 7, 1);
	put_number(&m, 0, 1);
	put_number(&m, 2, 2);
	put_number(&m, 0x1301, 2);
	put_number(&m, 0x0100, 2);
	if (extensions) {
		put_number(&m, extensions->n, 2);
		put(&m, extensions->b, extensions->n);
	}
	put_number(o, 1, 1);
	put_number(o, m.n, 3);
	put(o, m.b, m.n);
}

void records(struct bytes *o, const struct bytes *m, size_t size)
{
	for (size_t at = 0; at < m->n; at += size) {
		size_t n = m->n - at < size ? m->n - at : size;

		put_number(o, 22, 1);
		put_number(o, 0x0301, 2);
		put_number(o, n, 2);
		put(o, m->b + at, n);
	}
}

void hello_in(struct bytes *o, const struct bytes *ext, size_t size)
{
	struct bytes m = { .n = 0 };

	message(&m, ext);
	records(o, &m, size);
}

void hello_for(struct bytes *o, const char *name)
{
	struct bytes e = { .n = 0 };

	put_name(&e, name);
	hello_in(o, &e, 16000);
}

static const uint8_t server_hello[] = { 22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3 };

void put_server_hello(struct bytes *o, bool retry)
{
	static const uint8_t random[32] = {
		0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11,
		0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
		0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e,
		0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
	};

	put(o, server_hello, sizeof(server_hello));
	for (size_t i = 0; i < 32; i++)
		put_number(o, retry ? random[i] : i, 1);
	put_number(o, 0, 4);
}
