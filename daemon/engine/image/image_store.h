/* SPDX-License-Identifier: Apache-2.0 */
/* image_store.h - the store as image.c and image_import.c share it */
#ifndef ENGINE_IMAGE_STORE_H
#define ENGINE_IMAGE_STORE_H

#include "base/list.h"
#include "engine/image.h"

#define IMAGE_DIR_SIZE	  65 /* hex and a NUL */
#define IMAGE_IMPORTS_MAX 4  /* at a time */

/* @image first: image_by_name() and the like give out a pointer to it. */
struct image_entry {
	struct image image;
	struct list link;
	char dir[IMAGE_DIR_SIZE];
	bool replaced; /* another has its name */
};

struct image_store {
	struct loop *loop;
	struct job_pool *jobs;
	char *program;
	uid_t uid;
	gid_t gid;
	uint64_t size_max;
	int dir_fd;
	char *path;
	struct list entries; /* image_entry.link */
	struct list imports; /* image_import.link */
	unsigned int n_imports;
	uint64_t serial;
};

/* Directory of an image, from its name and digest. */
void image_dir_name(const struct image *image, char ret[IMAGE_DIR_SIZE]);

/* Take a published image in; consumes what @image owns. */
const struct image *image_store_add(struct image_store *store,
				    struct image *image, const char *dir);

/* Whether a worker is about to put an image of @name in its place, which may be
 * one that is there already: none of these may go now.
 */
bool image_import_publishes(struct image_store *store, const char *name);

/* End all imports without a word. */
void image_import_abandon_all(struct image_store *store);

#endif /* ENGINE_IMAGE_STORE_H */
