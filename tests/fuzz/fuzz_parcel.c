/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_parcel.c - a snapshot's stream with any content, below its compression
 *
 * Nobody finds a checksum by chance: each input is also read with all of its
 * checksums put right.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "engine/snapshot/mem_index.h"
#include "parcel/reader.h"

#include <assert.h>
#include <endian.h>
#include <openssl/sha.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
	const ParcelManifest *m;
	uint64_t next; /* page or byte that has to come */
	size_t part;
};

static int on_manifest(const ParcelManifest *m, void *arg, struct error *err)
{
	struct state *s = arg;

	(void)err;
	assert(!s->m && m->n_parts <= PARCEL_PARTS_MAX);
	assert(parcel_sheet_check(m, true, NULL) == 0);
	s->m = m;
	return 0;
}

static void is_part(struct state *s, size_t part)
{
	assert(s->m && part < s->m->n_parts && part >= s->part);
	if (part != s->part)
		s->next = 0;
	s->part = part;
}

static int on_runs(size_t part, const struct page_run *runs, uint32_t n,
		   void *arg, struct error *err)
{
	uint64_t next = 0;

	(void)err;
	is_part(arg, part);
	for (uint32_t i = 0; i < n; i++) {
		assert(runs[i].first >= next);
		next = (uint64_t)runs[i].first +
		       (runs[i].count & ~MEM_RUN_ZERO);
	}
	return 0;
}

static int on_page(size_t part, uint32_t page, const uint8_t *data, void *arg,
		   struct error *err)
{
	struct state *s = arg;

	(void)err;
	(void)data;
	is_part(s, part);
	assert(page >= s->next);
	assert(page < (uint64_t)s->m->memory_mib * 256);
	s->next = (uint64_t)page + 1;
	return 0;
}

static int on_bytes(size_t part, uint64_t at, const uint8_t *data, size_t len,
		    void *arg, struct error *err)
{
	struct state *s = arg;

	(void)data;
	(void)err;
	is_part(s, part);
	assert(at == s->next && at + len <= s->m->parts[part]->size);
	s->next = at + len;
	return 0;
}

static void read_it(const uint8_t *data, size_t size, size_t piece)
{
	static const struct parcel_reader_ops ops = { on_manifest, on_runs,
						      on_page, on_bytes };
	struct state s = { .m = NULL };
	struct parcel_reader *r = parcel_reader_new(&ops, &s);
	struct error err;
	int rc = 0;

	for (size_t at = 0; at < size && rc == 0; at += piece)
		rc = parcel_reader_feed(r, data + at,
					size - at < piece ? size - at : piece,
					&err);
	if (rc == 0)
		parcel_reader_end(r, &err);
	parcel_reader_free(r);
}

/* Section after section, as far as they go. */
static void put_right(uint8_t *data, size_t size)
{
	SHA256_CTX all;
	size_t at = PARCEL_HEAD_SIZE;

	if (size < PARCEL_HEAD_SIZE)
		return;
	memcpy(data, PARCEL_MAGIC "\1\0\0\0\0\0\0", PARCEL_HEAD_SIZE);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	SHA256_Init(&all);
	while (size - at >= PARCEL_SECTION_SIZE + PARCEL_SUM_SIZE) {
		uint64_t len;
		uint32_t kind;
		uint8_t *sum;

		memcpy(&kind, data + at, 4);
		memcpy(&len, data + at + 8, 8);
		kind = le32toh(kind);
		len = le64toh(len);
		if (len > size - at - PARCEL_SECTION_SIZE - PARCEL_SUM_SIZE)
			return;
		sum = data + at + PARCEL_SECTION_SIZE + len;
		SHA256(data + at, PARCEL_SECTION_SIZE + (size_t)len, sum);
		if (kind == PARCEL_SECTION_END)
			SHA256_Final(sum, &all);
		else
			SHA256_Update(&all, sum, PARCEL_SUM_SIZE);
		at += PARCEL_SECTION_SIZE + (size_t)len + PARCEL_SUM_SIZE;
		if (kind == PARCEL_SECTION_END)
			return;
	}
#pragma GCC diagnostic pop
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *copy = xcalloc(1, size + 1);

	read_it(data, size, 4096);
	memcpy(copy, data, size);
	put_right(copy, size);
	read_it(copy, size, 4096);
	read_it(copy, size, 13);
	return 0;
}
