/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - output for people: tables, sizes, and names made harmless */
#include "ctl/text.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <string.h>

static int is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) ||
	       (cp >= 0x202a && cp <= 0x202e) || /* bidirectional overrides */
	       (cp >= 0x2066 && cp <= 0x2069);
}

char *text_safe(const void *data, size_t len)
{
	const uint8_t *s = data;
	char *dst = xcalloc(len + 1, 4);
	char *p = dst;
	uint32_t cp;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_decode(s + i, len - i, &cp);

		if (n == 0 || is_control(cp)) {
			n = n ? n : 1;
			for (size_t k = 0; k < n; k++)
				p += sprintf(p, "\\x%02x", s[i + k]);
		} else {
			memcpy(p, s + i, n);
			p += n;
		}
		i += n;
	}
	*p = '\0';
	return dst;
}

char *text_safe_bytes(const ProtobufCBinaryData *b)
{
	return text_safe(b->data, b->len);
}

struct table {
	size_t columns;
	char **cells; /* the head is the first row */
	size_t n_cells;
};

static void add_cell(struct table *t, char *cell)
{
	t->cells = xrealloc(t->cells, t->n_cells + 1, sizeof(*t->cells));
	t->cells[t->n_cells++] = cell;
}

struct table *table_new(const char *const *head)
{
	struct table *t = xcalloc(1, sizeof(*t));

	for (; head[t->columns]; t->columns++)
		add_cell(t, xstrdup(head[t->columns]));
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
	return NULL;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	_cleanup_free_ char *raw = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&raw, fmt, ap) < 0)
		abort();
	va_end(ap);
	add_cell(t, text_safe(raw, strlen(raw)));
}

/* Characters, not bytes: combining and wide ones are rare in such tables. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80;
	return n;
}

void table_print(const struct table *t, FILE *out)
{
	_cleanup_free_ size_t *widths = xcalloc(t->columns, sizeof(*widths));

	for (size_t i = 0; i < t->n_cells; i++) {
		size_t w = width(t->cells[i]);

		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t c = i % t->columns;

		fputs(t->cells[i], out);
		if (c + 1 == t->columns) {
			fputc('\n', out);
			continue;
		}
		fprintf(out, "%*s", (int)(widths[c] - width(t->cells[i]) + 2),
			"");
	}
}

const char *text_size(char dst[TEXT_SIZE_MAX], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double v = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		snprintf(dst, TEXT_SIZE_MAX, "%u B", (unsigned int)bytes);
		return dst;
	}
	for (; v >= 1024 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	snprintf(dst, TEXT_SIZE_MAX, v < 10 ? "%.1f %s" : "%.0f %s", v,
		 units[u]);
	return dst;
}
