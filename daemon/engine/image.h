/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - the images on this node
 *
 * <state>/images/<hash of name and digest>/{root.raw,manifest.json}: a
 * directory appears by rename when it is complete, and its disk never changes
 * or moves: sandboxes stand on it. An image that is replaced stays until
 * nothing needs it (image_sweep()); its name is the new one's. The archive is
 * never unpacked on the host: sandboxd-mkimage, a process without privileges,
 * reads it and writes the ext4 file system's blocks. Main thread only.
 */
#ifndef ENGINE_IMAGE_H
#define ENGINE_IMAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;
struct job_pool;
struct loop;
struct image_store;

#define IMAGE_NAME_MAX 128
#define IMAGE_ENV_MAX  256 /* entries */

/**
 * struct image - One image
 * @disk:	Path of the raw root disk
 * @digest:	"sha256:" and hex, of the disk
 * @env:	"NAME=value" strings, @n_env of them
 */
struct image {
	char name[IMAGE_NAME_MAX + 1];
	char digest[80];
	char disk[PATH_MAX];
	char source[16];
	char user[128];
	char workdir[1024];
	char **env;
	size_t n_env;
	uint64_t size_bytes;   /* of the file system */
	uint64_t stored_bytes; /* on disk */
	int64_t created_ms;    /* wall clock */
};

/**
 * struct image_store_config - Where images live and how they are made
 * @state_dir:	They are in its images/
 * @program:	Path of sandboxd-mkimage
 * @uid, @gid:	Whom it turns into; uid 0: it stays who the engine is (tests)
 * @size_max:	Bytes of an archive, and of what one unpacks to; 0: 64 GiB
 */
struct image_store_config {
	const char *state_dir;
	const char *program;
	uid_t uid;
	gid_t gid;
	uint64_t size_max;
};

/* Reads what is there; an image that is broken is logged and left out, and
 * what an interrupted import left is deleted. @config is copied.
 */
int image_store_open(const struct image_store_config *config, struct loop *loop,
		     struct job_pool *jobs, struct image_store **ret,
		     struct error *err);
/* Ends the imports that run, without telling anyone. Call before the job pool
 * is freed, and run the pool's deliveries after: NULL is fine.
 */
struct image_store *image_store_free(struct image_store *store);

/* By name; NULL: there is none. Borrowed until the next change. */
const struct image *image_by_name(struct image_store *store, const char *name);
/* By digest, for sandboxes whose image was replaced since. */
const struct image *image_by_digest(struct image_store *store,
				    const char *digest);
/* Those that have a name, in no order. */
size_t image_count(struct image_store *store);
const struct image *image_at(struct image_store *store, size_t i);

/* The engine asks before it removes: @in_use says whether a digest is needed. */
typedef bool (*image_in_use_fn)(const char *digest, void *arg);
int image_remove(struct image_store *store, const char *name,
		 image_in_use_fn in_use, void *arg, struct error *err);
/* Delete replaced images that are not in use; best after a sandbox ended. */
void image_sweep(struct image_store *store, image_in_use_fn in_use, void *arg);

struct image_import;

/* From the main thread, any number of times, then once @done. */
struct image_import_ops {
	void (*progress)(const char *step, uint64_t done, uint64_t total,
			 void *arg);
	/* @image NULL: see @err. */
	void (*done)(const struct image *image, const struct error *err,
		     void *arg);
};

struct image_import_spec {
	char name[IMAGE_NAME_MAX + 1];
	uint64_t size_bytes; /* expected, 0: unknown */
	char user[128];
	char workdir[1024];
	char **env;
	size_t n_env;
	bool replace;
};

/* Consumes @fd, the read end of a pipe with the archive. Copies @spec. */
int image_import_start(struct image_store *store,
		       const struct image_import_spec *spec, int fd,
		       const struct image_import_ops *ops, void *arg,
		       struct image_import **ret, struct error *err);
/* @done is still called (ERR_CANCELLED). */
void image_import_cancel(struct image_import *import);

#endif /* ENGINE_IMAGE_H */
