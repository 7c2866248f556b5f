/* SPDX-License-Identifier: Apache-2.0 */
/* oci.h - the JSON documents in image archives
 *
 * Pure: text in, checked values out. What is not understood is passed over,
 * what is wrong is an error that names the document.
 */
#ifndef IMAGE_OCI_H
#define IMAGE_OCI_H

#include <stdbool.h>
#include <stddef.h>

struct error;

#define OCI_JSON_MAX	 (4u << 20)
#define OCI_LAYERS_MAX	 256u
#define OCI_PATH_MAX	 512u
#define OCI_ENV_MAX	 256u
#define OCI_ENV_BYTES	 65536u
#define OCI_USER_MAX	 127u
#define OCI_WORKDIR_MAX	 1023u
#define OCI_NESTING_MAX	 4 /* an index in an index */
#define OCI_DIGEST_CHARS 64

/**
 * struct oci_blob - A file of the archive
 * @path:	Its name there
 * @digest:	SHA-256 it must have, hex; empty: not known
 * @diff_id:	SHA-256 of a layer when not compressed, hex; empty: not known
 */
struct oci_blob {
	char path[OCI_PATH_MAX];
	char digest[OCI_DIGEST_CHARS + 1];
	char diff_id[OCI_DIGEST_CHARS + 1];
};

/* What an archive says of one image. */
struct oci_manifest {
	struct oci_blob config;
	struct oci_blob *layers;
	size_t n_layers;
};

struct oci_config {
	char **env; /* "NAME=value" */
	size_t n_env;
	char user[OCI_USER_MAX + 1];
	char workdir[OCI_WORKDIR_MAX + 1];
};

/* The image for linux/amd64 in an OCI index: its manifest, or another index.
 * oci_parse_manifest() and this refuse what is the other.
 */
int oci_parse_index(const char *json, size_t len, struct oci_blob *ret,
		    struct error *err);
/* Whether a document is an index rather than a manifest. */
bool oci_is_index(const char *json, size_t len);

int oci_parse_manifest(const char *json, size_t len, struct oci_manifest *ret,
		       struct error *err);
/* `docker save`'s manifest.json, of exactly one image. */
int oci_parse_docker(const char *json, size_t len, struct oci_manifest *ret,
		     struct error *err);
/* Also fills in the diff_ids of @manifest's layers (which may be NULL). */
int oci_parse_config(const char *json, size_t len, struct oci_config *ret,
		     struct oci_manifest *manifest, struct error *err);

void oci_manifest_fini(struct oci_manifest *manifest);
void oci_config_fini(struct oci_config *config);

/* Whether @entry is "NAME=value" with a NAME that a shell can have. */
bool oci_env_is_valid(const char *entry);

#endif /* IMAGE_OCI_H */
