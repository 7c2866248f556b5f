/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - a snapshot's stream, taken apart
 *
 * Theory of operation
 * ===================
 *
 * A machine of few states. In each it either collects a fixed number of bytes
 * (a header, the manifest, a table, a page, a checksum) and then goes on, or
 * passes bytes through. How many come is known before: of a section from its
 * header, which must be what the manifest announced. What is collected grows
 * as it comes, so an announcement costs nothing.
 *
 * Each section's checksum is over its header and content; the last section's
 * over all checksums before it, so that none can be taken from another stream.
 */
#include "parcel/reader.h"

#include "base/error.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROW_FIRST 65536u

enum state {
	AT_HEAD = 0,
	AT_SECTION,
	AT_MANIFEST,
	AT_RUN_COUNT,
	AT_RUNS,
	AT_PAGE,
	AT_BYTES,
	AT_SUM,
	AT_DONE,
};

/**
 * struct parcel_reader - Where it is
 * @want:	Bytes that this state collects in @buf; @have of them are there
 * @kind:	Of the present section, 0: none
 * @part:	Number of the present or next part
 * @left:	Bytes of the section that are still to come, beyond @want
 * @at:		Of AT_BYTES: how many came
 * @run, @done_of_run: Of AT_PAGE: which page is next
 */
struct parcel_reader {
	const struct parcel_reader_ops *ops;
	void *arg;
	enum state state;
	uint8_t *buf;
	size_t have, want, room;
	uint32_t kind;
	size_t part;
	uint64_t left, at;
	ParcelManifest *m;
	struct page_run *runs;
	uint32_t n_runs, run, done_of_run;
	EVP_MD_CTX *sum, *all;
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void collect(struct parcel_reader *r, enum state state, size_t want)
{
	r->state = state;
	r->want = want;
	r->have = 0;
}

static EVP_MD_CTX *new_sum(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		abort();
	return ctx;
}

struct parcel_reader *parcel_reader_new(const struct parcel_reader_ops *ops,
					void *arg)
{
	struct parcel_reader *r = xcalloc(1, sizeof(*r));

	r->ops = ops;
	r->arg = arg;
	r->sum = new_sum();
	r->all = new_sum();
	collect(r, AT_HEAD, PARCEL_HEAD_SIZE);
	return r;
}

struct parcel_reader *parcel_reader_free(struct parcel_reader *r)
{
	if (!r)
		return NULL;
	EVP_MD_CTX_free(r->sum);
	EVP_MD_CTX_free(r->all);
	sandbox__ipc__v1__parcel_manifest__free_unpacked(r->m, NULL);
	free(r->runs);
	free(r->buf);
	free(r);
	return NULL;
}

const char *parcel_reader_at(const struct parcel_reader *r,
			     char buf[PARCEL_PART_NAME_MAX])
{
	if (r->state == AT_HEAD)
		return "head";
	if (!r->m || (r->state == AT_SUM && r->kind == PARCEL_SECTION_MANIFEST))
		return "manifest";
	if (r->part >= r->m->n_parts)
		return "end";
	return parcel_part_name(r->m, r->part, buf);
}

static int damaged(const struct parcel_reader *r, struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	return err_set(err, ERR_DATA_LOSS, "part '%s' is altered",
		       parcel_reader_at(r, name));
}

/* ---- what was collected ---- */

static int on_head(struct parcel_reader *r, struct error *err)
{
	uint32_t version = get32(r->buf + 8);

	if (memcmp(r->buf, PARCEL_MAGIC, 8) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "this is no exported snapshot");
	if (version > PARCEL_VERSION)
		return err_set(err, ERR_INVALID,
			       "the snapshot is of version %u, newer than %u",
			       version, PARCEL_VERSION);
	if (version == 0 || get32(r->buf + 12) != 0)
		return damaged(r, err);
	collect(r, AT_SECTION, PARCEL_SECTION_SIZE);
	return 0;
}

static int begin_part(struct parcel_reader *r, uint32_t number, uint64_t size,
		      struct error *err)
{
	const ParcelPart *part;

	if (!r->m || r->part >= r->m->n_parts || number != r->part)
		return damaged(r, err);
	part = r->m->parts[r->part];
	if (size != part->size)
		return damaged(r, err);
	r->at = 0;
	r->left = size;
	if (part->kind != PARCEL_KIND(MEMORY) &&
	    part->kind != PARCEL_KIND(TEMPLATE_MEMORY)) {
		r->state = AT_BYTES;
		return 0;
	}
	if (size < 8)
		return damaged(r, err);
	r->left -= 8;
	collect(r, AT_RUN_COUNT, 8);
	return 0;
}

static int on_section(struct parcel_reader *r, struct error *err)
{
	uint32_t kind = get32(r->buf), number = get32(r->buf + 4);
	uint64_t size = get64(r->buf + 8);

	EVP_DigestInit_ex(r->sum, EVP_sha256(), NULL);
	EVP_DigestUpdate(r->sum, r->buf, PARCEL_SECTION_SIZE);
	r->kind = kind;
	switch (kind) {
	case PARCEL_SECTION_MANIFEST:
		if (r->m || number != 0 || size == 0 ||
		    size > PARCEL_MANIFEST_MAX)
			return damaged(r, err);
		collect(r, AT_MANIFEST, (size_t)size);
		return 0;
	case PARCEL_SECTION_PART:
		return begin_part(r, number, size, err);
	case PARCEL_SECTION_END:
		if (!r->m || r->part != r->m->n_parts || number || size)
			return damaged(r, err);
		collect(r, AT_SUM, PARCEL_SUM_SIZE);
		return 0;
	default:
		return damaged(r, err);
	}
}

/* Nothing is said of the manifest before its checksum is right. */
static int on_manifest(struct parcel_reader *r)
{
	EVP_DigestUpdate(r->sum, r->buf, r->want);
	r->m = sandbox__ipc__v1__parcel_manifest__unpack(NULL, r->want, r->buf);
	collect(r, AT_SUM, PARCEL_SUM_SIZE);
	return 0;
}

static int on_run_count(struct parcel_reader *r, struct error *err)
{
	uint64_t size;

	EVP_DigestUpdate(r->sum, r->buf, 8);
	r->n_runs = get32(r->buf);
	size = (uint64_t)r->n_runs * 8;
	if (get32(r->buf + 4) != 0 || size > r->left)
		return damaged(r, err);
	r->left -= size;
	collect(r, AT_RUNS, (size_t)size);
	return 0;
}

/* Past runs of zeros; at the end the checksum is next. */
static void next_page(struct parcel_reader *r)
{
	while (r->run < r->n_runs && (r->runs[r->run].count & MEM_RUN_ZERO))
		r->run++;
	if (r->run == r->n_runs)
		collect(r, AT_SUM, PARCEL_SUM_SIZE);
	else
		collect(r, AT_PAGE, MEM_PAGE_SIZE);
}

static bool runs_are_right(const struct parcel_reader *r)
{
	uint64_t memory = ((uint64_t)r->m->memory_mib << 20) / MEM_PAGE_SIZE;
	bool zeros = r->m->parts[r->part]->kind == PARCEL_KIND(MEMORY);
	uint64_t next = 0, data = 0;

	for (uint32_t i = 0; i < r->n_runs; i++) {
		const struct page_run *run = &r->runs[i];
		uint32_t count = run->count & ~MEM_RUN_ZERO;
		bool zero = run->count & MEM_RUN_ZERO;

		if (count == 0 || run->first < next ||
		    (uint64_t)run->first + count > memory || (zero && !zeros))
			return false;
		next = (uint64_t)run->first + count;
		if (!zero)
			data += count;
	}
	return data * MEM_PAGE_SIZE == r->left;
}

static int on_runs(struct parcel_reader *r, struct error *err)
{
	EVP_DigestUpdate(r->sum, r->buf, r->want);
	r->runs = xrealloc(r->runs, (size_t)r->n_runs + 1, sizeof(*r->runs));
	for (uint32_t i = 0; i < r->n_runs; i++)
		r->runs[i] =
			(struct page_run){ get32(r->buf + 8 * (size_t)i),
					   get32(r->buf + 8 * (size_t)i + 4) };
	if (!runs_are_right(r))
		return damaged(r, err);
	if (r->ops->runs(r->part, r->runs, r->n_runs, r->arg, err) < 0)
		return -1;
	r->run = 0;
	r->done_of_run = 0;
	next_page(r);
	return 0;
}

static int on_page(struct parcel_reader *r, struct error *err)
{
	const struct page_run *run = &r->runs[r->run];

	EVP_DigestUpdate(r->sum, r->buf, MEM_PAGE_SIZE);
	if (r->ops->page(r->part, run->first + r->done_of_run, r->buf, r->arg,
			 err) < 0)
		return -1;
	r->left -= MEM_PAGE_SIZE;
	if (++r->done_of_run == run->count) {
		r->run++;
		r->done_of_run = 0;
	}
	next_page(r);
	return 0;
}

/* Of the section, or of all sections. */
static bool sum_is_right(struct parcel_reader *r)
{
	EVP_MD_CTX *ctx = r->kind == PARCEL_SECTION_END ? r->all : r->sum;
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(ctx, sum, &len) != 1)
		abort();
	if (memcmp(sum, r->buf, PARCEL_SUM_SIZE) != 0)
		return false;
	if (r->kind != PARCEL_SECTION_END)
		EVP_DigestUpdate(r->all, sum, PARCEL_SUM_SIZE);
	return true;
}

static int on_sum(struct parcel_reader *r, struct error *err)
{
	if (r->kind == PARCEL_SECTION_MANIFEST && !r->m)
		return damaged(r, err);
	if (!sum_is_right(r))
		return damaged(r, err);
	if (r->kind == PARCEL_SECTION_END) {
		r->state = AT_DONE;
		return 0;
	}
	if (r->kind == PARCEL_SECTION_MANIFEST) {
		if (parcel_sheet_check(r->m, true, err) < 0 ||
		    r->ops->manifest(r->m, r->arg, err) < 0)
			return -1;
	} else {
		r->part++;
	}
	collect(r, AT_SECTION, PARCEL_SECTION_SIZE);
	return 0;
}

static int on_collected(struct parcel_reader *r, struct error *err)
{
	switch (r->state) {
	case AT_HEAD:
		return on_head(r, err);
	case AT_SECTION:
		return on_section(r, err);
	case AT_MANIFEST:
		return on_manifest(r);
	case AT_RUN_COUNT:
		return on_run_count(r, err);
	case AT_RUNS:
		return on_runs(r, err);
	case AT_PAGE:
		return on_page(r, err);
	case AT_SUM:
		return on_sum(r, err);
	default:
		return damaged(r, err);
	}
}

/* ---- feeding ---- */

static void take(struct parcel_reader *r, const uint8_t *data, size_t n)
{
	if (r->have + n > r->room) {
		size_t room = r->room ? r->room : GROW_FIRST;

		while (room < r->have + n)
			room *= 2;
		r->buf = xrealloc(r->buf, room, 1);
		r->room = room;
	}
	memcpy(r->buf + r->have, data, n);
	r->have += n;
}

static int pass_bytes(struct parcel_reader *r, const uint8_t *data, size_t len,
		      size_t *ret_used, struct error *err)
{
	size_t n = len < r->left ? len : (size_t)r->left;

	EVP_DigestUpdate(r->sum, data, n);
	if (n > 0 && r->ops->bytes(r->part, r->at, data, n, r->arg, err) < 0)
		return -1;
	r->at += n;
	r->left -= n;
	*ret_used = n;
	if (r->left == 0)
		collect(r, AT_SUM, PARCEL_SUM_SIZE);
	return 0;
}

int parcel_reader_feed(struct parcel_reader *r, const uint8_t *data, size_t len,
		       struct error *err)
{
	while (len > 0 || (r->state != AT_DONE && r->state != AT_BYTES &&
			   r->have == r->want)) {
		size_t n = 0;

		if (r->state == AT_DONE)
			return err_set(err, ERR_DATA_LOSS,
				       "something follows part 'end'");
		if (r->state == AT_BYTES) {
			if (pass_bytes(r, data, len, &n, err) < 0)
				return -1;
		} else {
			n = r->want - r->have < len ? r->want - r->have : len;
			take(r, data, n);
			if (r->have == r->want && on_collected(r, err) < 0)
				return -1;
		}
		data += n;
		len -= n;
	}
	return 0;
}

int parcel_reader_end(struct parcel_reader *r, struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	if (r->state == AT_DONE)
		return 0;
	return err_set(err, ERR_DATA_LOSS,
		       "the snapshot is cut off in part '%s'",
		       parcel_reader_at(r, name));
}
