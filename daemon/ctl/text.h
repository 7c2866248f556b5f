/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - output for people: tables, sizes, and names made harmless
 *
 * What a guest chose (names of files, arguments, output lines of a search)
 * may hold a terminal's control sequences. It is printed through text_safe().
 */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <stdio.h>

/* @data with control characters and what is not UTF-8 as \xNN; the caller's to
 * free.
 */
char *text_safe(const void *data, size_t len);
char *text_safe_bytes(const ProtobufCBinaryData *b);

struct table;

/* Columns are named by @head, which ends with NULL. */
struct table *table_new(const char *const *head);
struct table *table_free(struct table *t);
/* The next cell; a row is full when every column has one. */
void table_cell(struct table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void table_print(const struct table *t, FILE *out);

#define TEXT_SIZE_MAX 16
/* "1.5 MiB" */
const char *text_size(char dst[TEXT_SIZE_MAX], uint64_t bytes);

#endif /* CTL_TEXT_H */
