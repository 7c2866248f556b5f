/* SPDX-License-Identifier: Apache-2.0 */
/* parcel_keep.h - an import's files, from empty ones to a snapshot
 *
 * All blocks; worker threads, one at a time.
 */
#ifndef ENGINE_PARCEL_KEEP_H
#define ENGINE_PARCEL_KEEP_H

#include "engine/snapshot/parcel_sheet.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/**
 * struct parcel_keep - One import's files
 * @m:		Its manifest, checked
 * @staging:	Directory that all is made in
 * @snapshot_dir, @template_dir: Where it goes
 * @image_disk:	What is at the bottom of its disk
 * @known:	Directories of templates that might be its template; @n_known
 * @gid, @ram_readonly: As hv_info
 * @reserve:	Bytes that are to stay free
 * @found:	Which of @known it is; -1: none, its own is unpacked
 * @fds:	For the order; @n_fds
 * @file_max:	No file needs to be larger
 * @placed_template, @placed_snapshot: They are where they go
 * @bytes, @template_bytes: What it takes
 */
struct parcel_keep {
	ParcelManifest *m;
	char staging[PATH_MAX];
	char snapshot_dir[PATH_MAX], template_dir[PATH_MAX];
	char image_disk[PATH_MAX];
	char (*known)[PATH_MAX];
	size_t n_known;
	gid_t gid;
	bool ram_readonly;
	uint64_t reserve;
	atomic_bool cancel;
	int found;
	bool placed_template, placed_snapshot;
	int fds[PARCEL_PARTS_MAX + 1];
	size_t n_fds;
	uint64_t file_max, bytes, template_bytes;
};

/* Look for the template, see that there is room, make the files. */
int parcel_keep_prepare(struct parcel_keep *k, struct error *err);

/* All was unpacked and verified: make a snapshot of it, and its template, on
 * disk and in their places.
 */
int parcel_keep_seal(struct parcel_keep *k, struct error *err);

/* Nothing of it stays. */
int parcel_keep_remove(struct parcel_keep *k, struct error *err);

void parcel_keep_fini(struct parcel_keep *k);

#endif /* ENGINE_PARCEL_KEEP_H */
