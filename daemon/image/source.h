/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - what kind of archive it is, and its layers in order */
#ifndef IMAGE_SOURCE_H
#define IMAGE_SOURCE_H

#include "image/oci.h"
#include "image/reader.h"

enum source_kind { SOURCE_ROOTFS = 0, SOURCE_OCI, SOURCE_DOCKER };

/* A source's fields are read only. */
struct source {
	enum source_kind kind;
	struct reader_input *input;
	struct oci_manifest manifest;
	struct oci_config config;
};

/**
 * source_open() - Find out what the archive is
 *
 * An OCI layout (oci-layout and index.json), `docker save` (manifest.json), or
 * a root file system: whatever has none of these, or a directory of one.
 */
int source_open(struct reader_input *input, struct source *ret,
		struct error *err);
void source_fini(struct source *source);

/**
 * struct source_ops - What to do with the layers
 * @layer:	Another one begins, over those before
 * @entry:	One entry; its data may be read from @reader
 */
struct source_ops {
	void (*layer)(bool whiteouts, void *arg);
	int (*entry)(struct reader *reader, struct archive_entry *entry,
		     void *arg, struct error *err);
};

/* One pass over all layers, digests verified. May be repeated. */
int source_read(struct source *source, const struct source_ops *ops, void *arg,
		struct error *err);

#endif /* IMAGE_SOURCE_H */
