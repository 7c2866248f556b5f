/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - a snapshot's stream, taken apart
 *
 * Below the compression; fed in pieces of any length. docs/snapshot-format.md
 * has the layout. Pure: what comes out goes to the owner's functions, and is
 * worth nothing before parcel_reader_end() has returned 0.
 */
#ifndef PARCEL_READER_H
#define PARCEL_READER_H

#include "engine/snapshot/mem_pages.h"
#include "engine/snapshot/parcel_sheet.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct parcel_reader;

/* Kinds of sections. */
#define PARCEL_SECTION_MANIFEST 1u
#define PARCEL_SECTION_PART	2u
#define PARCEL_SECTION_END	3u

#define PARCEL_MAGIC	    "SBXPARCL"
#define PARCEL_HEAD_SIZE    16u /* magic, u32 version, u32 0 */
#define PARCEL_SECTION_SIZE 16u /* u32 kind, u32 number, u64 bytes */
#define PARCEL_SUM_SIZE	    32u

/**
 * struct parcel_reader_ops - Where it goes; each may fail (-1)
 * @manifest:	First, checked; borrowed until the reader is freed
 * @runs:	Of a part with pages, before them; checked: ascending, within
 *		memory. MEM_RUN_ZERO is set in counts of zero pages
 * @page:	One page, never a zero one of the runs
 * @bytes:	Of any other part
 */
struct parcel_reader_ops {
	int (*manifest)(const ParcelManifest *m, void *arg, struct error *err);
	int (*runs)(size_t part, const struct page_run *runs, uint32_t n,
		    void *arg, struct error *err);
	int (*page)(size_t part, uint32_t page, const uint8_t *data, void *arg,
		    struct error *err);
	int (*bytes)(size_t part, uint64_t at, const uint8_t *data, size_t len,
		     void *arg, struct error *err);
};

struct parcel_reader *parcel_reader_new(const struct parcel_reader_ops *ops,
					void *arg);
struct parcel_reader *parcel_reader_free(struct parcel_reader *r);

/* ERR_DATA_LOSS naming the part; ERR_INVALID: of a newer version. After a
 * failure only free it.
 */
int parcel_reader_feed(struct parcel_reader *r, const uint8_t *data, size_t len,
		       struct error *err);
/* There is no more: 0 when that was all of it. */
int parcel_reader_end(struct parcel_reader *r, struct error *err);

/* Where it is, for messages: "memory", "manifest". */
const char *parcel_reader_at(const struct parcel_reader *r,
			     char buf[PARCEL_PART_NAME_MAX]);

#endif /* PARCEL_READER_H */
