/* SPDX-License-Identifier: Apache-2.0 */
/* fake_image.c - image.h with one image, "debian:12", and what may replace it */
#include "fakes.h"

#include "base/error.h"

#include <string.h>

static const struct image only = { .name = "debian:12",
				   .digest = "sha256:1",
				   .disk = "/nonexistent",
				   .source = "recipe",
				   .size_bytes = 1 << 20 };
static const struct image newer = { .name = "debian:12",
				    .digest = "sha256:2",
				    .disk = "/nonexistent",
				    .source = "recipe",
				    .size_bytes = 1 << 20 };

static const struct image *now(void)
{
	return world.image_replaced ? &newer : &only;
}

int image_store_open(const struct image_store_config *config, struct loop *loop,
		     struct job_pool *jobs, struct image_store **ret,
		     struct error *err)
{
	(void)config;
	(void)loop;
	(void)jobs;
	(void)err;
	*ret = NULL;
	return 0;
}

struct image_store *image_store_free(struct image_store *store)
{
	return store;
}

const struct image *image_by_name(struct image_store *store, const char *name)
{
	(void)store;
	return strcmp(name, only.name) ? NULL : now();
}

const struct image *image_by_digest(struct image_store *store,
				    const char *digest)
{
	(void)store;
	if (!strcmp(digest, now()->digest))
		return now();
	return strcmp(digest, only.digest) ? NULL : &only;
}

size_t image_count(struct image_store *store)
{
	(void)store;
	return 1;
}

const struct image *image_at(struct image_store *store, size_t i)
{
	(void)store;
	(void)i;
	return now();
}

int image_remove(struct image_store *store, const char *name,
		 image_in_use_fn in_use, void *arg, struct error *err)
{
	(void)store;
	(void)name;
	if (in_use(now()->digest, arg))
		return err_set(err, ERR_CONFLICT, "in use");
	return 0;
}

void image_sweep(struct image_store *store, image_in_use_fn in_use, void *arg)
{
	(void)store;
	(void)in_use;
	(void)arg;
}

int image_import_start(struct image_store *store,
		       const struct image_import_spec *spec, int fd,
		       const struct image_import_ops *ops, void *arg,
		       struct image_import **ret, struct error *err)
{
	(void)store;
	(void)spec;
	(void)fd;
	(void)ops;
	(void)arg;
	(void)ret;
	return err_set(err, ERR_UNAVAILABLE, "not here");
}

void image_import_cancel(struct image_import *import)
{
	(void)import;
}
