/* SPDX-License-Identifier: Apache-2.0 */
/* image_publish.h - from a disk that was made to an image that can be used
 *
 * Hashes the disk, makes it durable, and renames its directory to where images
 * are. The digest is computed here and not by mkimage: it is what templates are
 * known by, and mkimage has read hostile bytes.
 */
#ifndef ENGINE_IMAGE_PUBLISH_H
#define ENGINE_IMAGE_PUBLISH_H

#include "engine/image/image_store.h"

#include <stdatomic.h>

struct error;

/**
 * struct image_publish - What is published, and where
 * @parent_fd:	The store's directory
 * @dir:	Name in it of the directory with the archive and the disk
 * @dir_fd:	That directory
 * @disk:	Its disk, open
 * @take_back:	The disk belongs to mkimage's user
 * @image:	Its name and time are set; digest and sizes are filled in
 * @cancel:	Looked at now and then
 * @done_bytes, @total_bytes: Progress
 * @final:	Filled in: the image's directory
 */
struct image_publish {
	int parent_fd, dir_fd, disk;
	const char *dir;
	bool take_back;
	struct image *image;
	atomic_bool *cancel;
	_Atomic uint64_t *done_bytes, *total_bytes;
	char final[IMAGE_DIR_SIZE];
};

/* In a job's thread. Whatever the moment of a crash, there is an image or there
 * is none.
 */
int image_publish(struct image_publish *publish, struct error *err);

#endif /* ENGINE_IMAGE_PUBLISH_H */
