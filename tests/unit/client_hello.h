/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello.h - how TLS connections begin, put together byte by byte */
#ifndef TESTS_CLIENT_HELLO_H
#define TESTS_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

struct bytes {
	uint8_t b[40000];
	size_t n;
};

void put(struct bytes *o, const void *data, size_t n);
/* @v in so many @bytes, the highest first. */
void put_number(struct bytes *o, size_t v, size_t bytes);
void put_extension(struct bytes *o, size_t type, const void *data, size_t n);
/* The extension that says a name. */
void put_name(struct bytes *o, const char *name);

/* A Client Hello's handshake message with these extensions; NULL: none. */
void message(struct bytes *o, const struct bytes *extensions);
/* @m in records of @size bytes. */
void records(struct bytes *o, const struct bytes *m, size_t size);
/* The two together. */
void hello_in(struct bytes *o, const struct bytes *ext, size_t size);
/* A plain one for @name. */
void hello_for(struct bytes *o, const char *name);

/* What the server answers; @retry: it wants another Client Hello. */
void put_server_hello(struct bytes *o, bool retry);

#endif /* TESTS_CLIENT_HELLO_H */
