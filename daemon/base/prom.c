/* SPDX-License-Identifier: Apache-2.0 */
/* prom.c - metrics as text, in Prometheus's exposition format */
#include "base/prom.h"

#include "base/measure.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 32

struct prom {
	char *text;
	size_t len;
	FILE *out;
	const char *name;
};

struct prom *prom_new(void)
{
	struct prom *prom = xcalloc(1, sizeof(*prom));

	prom->out = open_memstream(&prom->text, &prom->len);
	if (!prom->out)
		abort();
	return prom;
}

struct prom *prom_free(struct prom *prom)
{
	if (!prom)
		return NULL;
	fclose(prom->out);
	free(prom->text);
	free(prom);
	return NULL;
}

void prom_family(struct prom *prom, const char *name, const char *type,
		 const char *help)
{
	prom->name = name;
	fprintf(prom->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		type);
}

/* Backslash, quote and newline are escaped; what is no UTF-8 is replaced. */
static void put_value(FILE *out, const char *s)
{
	size_t len = s ? strlen(s) : 0, n;
	uint32_t cp;

	for (size_t i = 0; i < len; i += n) {
		n = utf8_decode((const uint8_t *)s + i, len - i, &cp);
		if (n == 0) {
			fputs("\xef\xbf\xbd", out);
			n = 1;
		} else if (cp == '\\' || cp == '"') {
			fprintf(out, "\\%c", (int)cp);
		} else if (cp == '\n') {
			fputs("\\n", out);
		} else {
			fwrite(s + i, 1, n, out);
		}
	}
}

static const char *number(char dst[NUMBER_MAX], double value)
{
	if (isnan(value))
		return "NaN";
	if (isinf(value))
		return value > 0 ? "+Inf" : "-Inf";
	if (fabs(value) < 9007199254740992.0 && value == floor(value))
		snprintf(dst, NUMBER_MAX, "%.0f", value);
	else
		snprintf(dst, NUMBER_MAX, "%.15g", value);
	return dst;
}

/* @le: of a bucket; NULL: none. */
static void put_sample(struct prom *prom, const char *suffix,
		       const struct prom_label *labels, size_t n,
		       const char *le, double value)
{
	char text[NUMBER_MAX];
	const char *before = "{";

	fprintf(prom->out, "%s%s", prom->name, suffix);
	for (size_t i = 0; i < n; i++) {
		fprintf(prom->out, "%s%s=\"", before, labels[i].name);
		put_value(prom->out, labels[i].value);
		fputc('"', prom->out);
		before = ",";
	}
	if (le) {
		fprintf(prom->out, "%sle=\"%s\"", before, le);
		before = ",";
	}
	fprintf(prom->out, "%s %s\n", *before == ',' ? "}" : "",
		number(text, value));
}

void prom_add(struct prom *prom, double value, const struct prom_label *labels,
	      size_t n)
{
	put_sample(prom, "", labels, n, NULL, value);
}

void prom_add_histogram(struct prom *prom, const struct histogram *h,
			const struct prom_label *labels, size_t n)
{
	uint64_t count = 0;
	char le[NUMBER_MAX];

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += h->n[i];
		put_sample(prom, "_bucket", labels, n,
			   number(le, histogram_bounds[i]), (double)count);
	}
	count += h->n[HISTOGRAM_BUCKETS];
	put_sample(prom, "_bucket", labels, n, "+Inf", (double)count);
	put_sample(prom, "_sum", labels, n, NULL, h->sum);
	put_sample(prom, "_count", labels, n, NULL, (double)count);
}

void prom_one(struct prom *prom, const char *name, const char *type,
	      const char *help, double value)
{
	prom_family(prom, name, type, help);
	prom_add(prom, value, NULL, 0);
}

const char *prom_text(struct prom *prom, size_t *ret_len)
{
	fflush(prom->out);
	*ret_len = prom->len;
	return prom->text;
}
