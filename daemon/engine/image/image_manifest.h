/* SPDX-License-Identifier: Apache-2.0 */
/* image_manifest.h - manifest.json of an image, and what its fields may be */
#ifndef ENGINE_IMAGE_MANIFEST_H
#define ENGINE_IMAGE_MANIFEST_H

#include "engine/image.h"

#define IMAGE_MANIFEST_VERSION 1
#define IMAGE_MANIFEST_MAX     (256u << 10)
#define IMAGE_ENV_BYTES	       65536u /* all of @env */

/* 1-128 characters: [a-z0-9] then [a-z0-9._/:-]. */
bool image_name_is_valid(const char *name);

/* "sha256:" and 64 lower-case hex digits. */
bool image_digest_is_valid(const char *digest);

/* "NAME=value", NAME as a shell's variable of at most 128 characters. */
bool image_env_is_valid(const char *entry);

/* Set @image's env (which has none) to @base and over it @over: a name of both
 * takes the latter's value. All are valid entries.
 */
int image_set_env(struct image *image, char *const *base, size_t n_base,
		  char *const *over, size_t n_over, struct error *err);

/* @ret's disk is left empty: the manifest does not know where it lies. */
int image_manifest_parse(const char *text, size_t len, struct image *ret,
			 struct error *err);
/* The text, the caller's to free. */
char *image_manifest_format(const struct image *image);

/* Frees what @image owns. */
void image_fini(struct image *image);

#endif /* ENGINE_IMAGE_MANIFEST_H */
