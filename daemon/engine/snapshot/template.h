/* SPDX-License-Identifier: Apache-2.0 */
/* template.h - a guest booted once, that many are clones of
 *
 * A directory like a snapshot's (snapshot.h). All its clones map template.ram;
 * with QEMU before 8.2 they must be able to open it for writing, so it is
 * checked before each use that nobody wrote to it. One that was written to is
 * moved aside and never used again.
 */
#ifndef ENGINE_TEMPLATE_H
#define ENGINE_TEMPLATE_H

#include "engine/snapshot/snapshot.h"

#include <sys/types.h>

struct error;
struct hv_progress;
struct mem_map;
struct page_runs;

/**
 * template_open() - Read a template's manifest and check its parts
 *
 * Quick unless something looks touched. ERR_NOT_FOUND: there is none, or it was
 * never finished; ERR_DATA_LOSS: altered, and now in "<dir>.quarantined".
 */
int template_open(const char *dir, struct snapshot_manifest *ret,
		  struct error *err);

/* All checksums, however untouched it looks; quarantines like the above. */
int template_verify(const char *dir, struct error *err);

/* Bytes it takes on disk. */
int template_size(const char *dir, uint64_t *ret, struct error *err);

/* Write template.ram in @dir_fd: the @runs of a stopped guest's memory.
 * @progress counts pages and may ask to stop; or NULL.
 */
int template_write_ram(int dir_fd, const struct mem_map *map,
		       const struct page_runs *runs,
		       struct hv_progress *progress, struct error *err);

/* Give clones the rights they need: QEMUs are in group @gid. */
int template_share(int dir_fd, gid_t gid, bool ram_readonly,
		   struct error *err);

#endif /* ENGINE_TEMPLATE_H */
