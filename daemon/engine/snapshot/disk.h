/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h - a guest's disk as layers of qcow2
 *
 * From the bottom: the image's raw disk; the template's sealed layer, if there
 * is a template; one sealed layer for each time the guest was saved,
 * "disk.0.qcow2", "disk.1.qcow2" ...; and the one the guest writes, which is
 * "disk.<n>.qcow2" behind those, or "disk.qcow2". A name that QEMU opened stays
 * that file's while QEMU lives, for it opens it again by name.
 * The guest's directory holds hard links to the sealed layers that are its own,
 * and so does each snapshot: either can go without asking the other.
 *
 * Sealed layers belong to root and are read-only. All functions block briefly;
 * any thread.
 */
#ifndef ENGINE_DISK_H
#define ENGINE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

#define DISK_ACTIVE	"disk.qcow2"
#define DISK_MERGED	"merged.qcow2" /* while it is made */
#define DISK_LAYERS_MAX 64 /* sealed layers of a guest's own */
#define DISK_MERGE_AT	8  /* a longer chain is merged while nobody waits */
#define DISK_CHAIN_MAX	16 /* and one longer than this when it is saved */
#define DISK_SIZE_MAX	(4ull << 40)
#define DISK_HEADER_SIZE (4u * 65536)
#define DISK_SHA_SIZE	65 /* hexadecimal text with its NUL */

/* "disk.<n>.qcow2" */
void disk_layer_name(unsigned int n, char *buf, size_t size);

/**
 * disk_header() - An empty qcow2 layer
 * @buf:	DISK_HEADER_SIZE bytes
 * @size:	The disk's, bytes; a multiple of 512, at most DISK_SIZE_MAX
 * @backing:	Name of the layer below, as put into the header
 * @backing_format: "raw" or "qcow2"
 *
 * Pure. 0 or -EINVAL.
 */
int disk_header(uint8_t *buf, uint64_t size, const char *backing,
		const char *backing_format);

/* Make the empty layer @name in @dir_fd for QEMU under @uid to write. It must
 * not exist.
 */
int disk_create(int dir_fd, const char *name, uint64_t size,
		const char *backing, const char *backing_format, uid_t uid,
		struct error *err);

/**
 * disk_settle() - Put a guest's layers in order, whatever was cut off before
 * @active:	Name of the layer that its QEMU writes, as QEMU tells it
 * @uid:	The guest's
 * @ret:	How many sealed layers it has below that
 *
 * Seals what is below and was not yet, removes what is above and not in use,
 * gives the active one back to the guest if it was sealed for a snapshot that
 * was not finished. ERR_CONFLICT: it is part of one that was.
 */
int disk_settle(int dir_fd, const char *active, uid_t uid, unsigned int *ret,
		struct error *err);

/* Hard links to the sealed layers 0..@count-1 of one directory in another. */
int disk_link_layers(int from_fd, int to_fd, unsigned int count,
		     struct error *err);

/**
 * disk_seal() - Link the writable layer of a stopped guest as a sealed one
 *
 * @name in @from_fd gets a second name in @to_fd, its data is on disk. The
 * inode is still the guest's until disk_make_readonly().
 */
int disk_seal(int from_fd, const char *name, int to_fd, const char *to_name,
	      uid_t uid, struct error *err);
int disk_make_readonly(int dir_fd, const char *name, gid_t gid, mode_t mode,
		       struct error *err);

/**
 * disk_adopt() - Give a layer that came from elsewhere a header of our own
 * @ret_size:	The disk's, bytes
 * @backing, @backing_format: As disk_header()
 *
 * Of what the old header said only where its tables are stays, and only if that
 * is within the file: no other backing file, no external data file, encryption,
 * internal snapshots or features. ERR_DATA_LOSS: it is no such layer.
 */
int disk_adopt(int dir_fd, const char *name, const char *backing,
	       const char *backing_format, uint64_t *ret_size,
	       struct error *err);

/* The virtual size in a layer's header. */
int disk_read_size(int dir_fd, const char *name, uint64_t *ret,
		   struct error *err);

/**
 * disk_merge() - Make one layer of the top one and all between it and @base
 * @dir:	Path of the directory they are in, which @uid can reach
 * @name:	The top layer, sealed
 * @out:	Name of the layer made in @dir, owned by @uid; it stands on @base
 * @base:	Path of the layer to stand on ("raw" or "qcow2")
 * @uid, @gid:	qemu-img runs as these, for it reads what a guest's QEMU wrote
 * @cancel:	May be set meanwhile; or NULL
 *
 * On failure nothing is left.
 */
int disk_merge(const char *qemu_img, const char *dir, const char *name,
	       const char *out, const char *base, const char *base_format,
	       uid_t uid, gid_t gid, const _Atomic bool *cancel,
	       struct error *err);

#endif /* ENGINE_DISK_H */
