/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_manifest.h - what a snapshot or a template says of itself
 *
 * The file "manifest" is two lines of JSON: an object with all below, and
 * {"sha256": "..."} of the first line with its newline. It is written last and
 * put in place by rename: a directory without one is nobody's, whatever else
 * is in it.
 */
#ifndef ENGINE_SNAPSHOT_MANIFEST_H
#define ENGINE_SNAPSHOT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define SNAPSHOT_MANIFEST_NAME	  "manifest"
#define SNAPSHOT_MANIFEST_MAX	  65536 /* bytes */
#define SNAPSHOT_MANIFEST_VERSION 1u
#define SNAPSHOT_PARTS_MAX	  72
#define SNAPSHOT_SHA_SIZE	  65 /* text with its NUL */

enum snapshot_kind { SNAPSHOT_GUEST = 0, SNAPSHOT_TEMPLATE };

/**
 * struct snapshot_part - One file
 * @name:	In the directory
 * @size:	Bytes
 * @sha256:	Of its content
 * @mtime_ns:	When it was last written, as the file system has it
 */
struct snapshot_part {
	char name[32];
	uint64_t size;
	char sha256[SNAPSHOT_SHA_SIZE];
	int64_t mtime_ns;
};

/**
 * struct snapshot_platform - What device state can be loaded into
 * @accelerator: "kvm" or "tcg"
 * @vsock, @network: Whether the guest has these devices
 */
struct snapshot_platform {
	char accelerator[8];
	char machine[32];
	char qemu_version[32];
	char cpu_model[128];
	char kernel_version[96];
	bool vsock, network;
};

/**
 * struct snapshot_manifest - All of it
 * @created_ms:	Wall clock
 * @disk_size:	Bytes the guest sees
 * @template_identity, @template_ram: What memory is a difference from: its
 *		identity and the SHA-256 of its memory; empty: all zeros. A
 *		template has its own identity and no @template_ram
 * @memory_pages: Data and zero pages kept
 * @index_sha:	Of the memory file's index; empty in a template
 */
struct snapshot_manifest {
	enum snapshot_kind kind;
	int64_t created_ms;
	uint32_t cpu, memory_mib;
	uint64_t disk_size;
	char image_digest[80];
	struct snapshot_platform platform;
	char template_identity[SNAPSHOT_SHA_SIZE];
	char template_ram[SNAPSHOT_SHA_SIZE];
	uint64_t data_pages, zero_pages;
	char index_sha[SNAPSHOT_SHA_SIZE];
	struct snapshot_part parts[SNAPSHOT_PARTS_MAX];
	size_t n_parts;
};

/* The file's content, the caller's to free. */
char *snapshot_manifest_format(const struct snapshot_manifest *m,
			       size_t *ret_len);

/* Pure. ERR_DATA_LOSS: altered; ERR_INVALID: of a newer version. */
int snapshot_manifest_parse(const char *text, size_t len,
			    struct snapshot_manifest *ret, struct error *err);

/* NULL when there is none of that name. */
const struct snapshot_part *
snapshot_manifest_part(const struct snapshot_manifest *m, const char *name);

/**
 * snapshot_platform_accepts() - Whether a host can load device state
 *
 * Accelerator, CPU and devices must be the same and QEMU not
 * older. ERR_CONFLICT naming the first that is not.
 */
int snapshot_platform_accepts(const struct snapshot_platform *host,
			      const struct snapshot_platform *saved,
			      struct error *err);

/* SHA-256 in hexadecimal of all that makes two templates interchangeable. */
void snapshot_identity(const struct snapshot_manifest *m,
		       char ret[SNAPSHOT_SHA_SIZE]);

#endif /* ENGINE_SNAPSHOT_MANIFEST_H */
