/* SPDX-License-Identifier: Apache-2.0 */
/* prom.h - metrics as text, in Prometheus's exposition format 0.0.4
 *
 * A family is begun, then its samples are added: the format wants them
 * together. Names are ours and right; label values may be anything.
 */
#ifndef BASE_PROM_H
#define BASE_PROM_H

#include <stddef.h>

struct histogram;
struct prom;

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct prom_label {
	const char *name, *value;
};

struct prom *prom_new(void);
struct prom *prom_free(struct prom *prom);

/* @type: "counter", "gauge" or "histogram". @name is borrowed until the next. */
void prom_family(struct prom *prom, const char *name, const char *type,
		 const char *help);

/* One sample of the present family. */
void prom_add(struct prom *prom, double value, const struct prom_label *labels,
	      size_t n);
void prom_add_histogram(struct prom *prom, const struct histogram *h,
			const struct prom_label *labels, size_t n);

/* For a family of one sample without labels. */
void prom_one(struct prom *prom, const char *name, const char *type,
	      const char *help, double value);

#define PROM_LABELS(...)                                                       \
	(struct prom_label[]){ __VA_ARGS__ },                                  \
		sizeof((struct prom_label[]){ __VA_ARGS__ }) /                 \
			sizeof(struct prom_label)

/* All of it; borrowed until the next call. */
const char *prom_text(struct prom *prom, size_t *ret_len);

#endif /* BASE_PROM_H */
