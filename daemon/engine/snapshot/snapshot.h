/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - a snapshot's directory: its parts, and when it counts
 *
 *	sandbox.mem.zst	   pages written since the template (mem_file.h)
 *	sandbox.state.zst  QEMU's device state, one zstd frame
 *	sandbox.save.zst   in the place of both: all of it, as libvirt saved it
 *	disk.<n>.qcow2	   the guest's own sealed disk layers (disk.h)
 *	manifest	   all that with sizes and checksums; written last
 *
 * A template's has template.ram (sparse, what clones map), template.state and
 * disk.qcow2 in the place of these. docs/snapshot-format.md is the whole story.
 */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "engine/snapshot/snapshot_manifest.h"

#define SNAPSHOT_MEM	 "sandbox.mem.zst"
#define SNAPSHOT_STATE	 "sandbox.state.zst"
#define SNAPSHOT_SAVE	 "sandbox.save.zst"
#define TEMPLATE_RAM	 "template.ram"
#define TEMPLATE_STATE	 "template.state"
#define TEMPLATE_DISK	 "disk.qcow2"
#define SNAPSHOT_STATE_MAX (64u << 20) /* device state, uncompressed */

enum snapshot_depth {
	SNAPSHOT_SIZES, /* sizes, and checksums of what was written to since */
	SNAPSHOT_SMALL, /* and checksums of what is small */
	SNAPSHOT_ALL,	/* all checksums */
};

/* fsync a finished part and add it, measured, to the manifest. */
int snapshot_add_part(int dir_fd, const char *name,
		      struct snapshot_manifest *m, struct error *err);

/* ERR_DATA_LOSS when a part is missing or not what the manifest says. */
int snapshot_check_part(int dir_fd, const struct snapshot_part *part,
			enum snapshot_depth depth, struct error *err);

/* Put the manifest in place, durably, with the directory's own entry. */
int snapshot_commit(const char *dir, int dir_fd,
		    const struct snapshot_manifest *m, struct error *err);

/* Read a directory's manifest. ERR_NOT_FOUND (reason SNAPSHOT_NOT_FOUND) when
 * it has none: it was never finished.
 */
int snapshot_read(int dir_fd, enum snapshot_kind kind,
		  struct snapshot_manifest *ret, struct error *err);

/* Everything: manifest, all checksums, all frames of memory. */
int snapshot_verify(const char *dir, unsigned int threads, struct error *err);

/* Device state from the file @from into a new part, compressed. */
int snapshot_write_state(int dir_fd, int from, struct error *err);
/* A descriptor of a file in memory with it, at its start; -1. */
int snapshot_read_state(int dir_fd, struct error *err);

/* A file in memory, close-on-exec; -1. */
int snapshot_memfd(const char *name, struct error *err);

#endif /* ENGINE_SNAPSHOT_H */
