/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - what kind of archive it is, and its layers in order
 *
 * Blobs stand in the archive in any order, so each is looked for from the
 * start: quick where the archive is not compressed, since libarchive seeks.
 */
#include "image/source.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/str.h"

#include <archive_entry.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/stat.h>

static void cleanup_reader(struct reader **r)
{
	reader_free(*r);
}

#define _cleanup_reader_ _cleanup_(cleanup_reader)

static const char *plain_name(const char *path)
{
	while (path[0] == '/' || (path[0] == '.' && path[1] == '/'))
		path += path[0] == '/' ? 1 : 2;
	return path;
}

/* Whether the first component of @path is one of a root file system. */
static bool is_root_dir(const char *path)
{
	static const char *const dirs[] = { "bin", "etc", "usr", "var" };
	size_t n = strcspn(path, "/");

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (strlen(dirs[i]) == n && strncmp(path, dirs[i], n) == 0)
			return true;
	return false;
}

static int probe(struct reader_input *input, enum source_kind *ret,
		 struct error *err)
{
	bool layout = false, index = false, docker = false;
	_cleanup_reader_ struct reader *r = NULL;
	struct archive_entry *e;
	int rc;

	if (reader_open(input, &r, err) < 0)
		return -1;
	while ((rc = reader_next(r, &e, err)) > 0) {
		const char *name = plain_name(archive_entry_pathname(e));

		if (is_root_dir(name)) {
			*ret = SOURCE_ROOTFS;
			return 0;
		}
		layout |= strcmp(name, "oci-layout") == 0;
		index |= strcmp(name, "index.json") == 0;
		docker |= strcmp(name, "manifest.json") == 0;
	}
	if (rc < 0)
		return -1;
	*ret = layout && index ? SOURCE_OCI
	       : docker	       ? SOURCE_DOCKER
			       : SOURCE_ROOTFS;
	return 0;
}

/* Where the symbolic link @path of an archive points to, within it. Old
 * versions of docker wrote equal layers once, the others as links.
 */
static int follow(char *dst, size_t size, const char *path, const char *target)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	int n;

	while (strncmp(target, "../", 3) == 0) {
		target += 3;
		while (len > 0 && path[len - 1] != '/')
			len--;
		len = len > 0 ? len - 1 : 0;
	}
	n = snprintf(dst, size, "%.*s%s%s", (int)len, path, len ? "/" : "",
		     target);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* A reader that stands at the entry @path. */
static int open_entry(struct reader_input *input, const char *path, int hops,
		      struct reader **ret, struct error *err)
{
	_cleanup_reader_ struct reader *r = NULL;
	struct archive_entry *e;
	char target[OCI_PATH_MAX];
	int rc;

	if (reader_open(input, &r, err) < 0)
		return -1;
	while ((rc = reader_next(r, &e, err)) > 0) {
		if (strcmp(plain_name(archive_entry_pathname(e)),
			   plain_name(path)) != 0)
			continue;
		if (archive_entry_filetype(e) == S_IFREG &&
		    !archive_entry_hardlink(e)) {
			*ret = TAKE_PTR(r);
			return 0;
		}
		if (archive_entry_filetype(e) != S_IFLNK || hops >= 4 ||
		    follow(target, sizeof(target), path,
			   archive_entry_symlink(e)) < 0)
			break;
		r = reader_free(r);
		return open_entry(input, target, hops + 1, ret, err);
	}
	if (rc < 0)
		return -1;
	return err_set(err, ERR_INVALID, "the archive lacks '%.200s'", path);
}

/* A JSON document of the archive; with a digest, checked. */
static int load(struct reader_input *input, const struct oci_blob *blob,
		char **ret, size_t *ret_len, struct error *err)
{
	_cleanup_reader_ struct reader *r = NULL;
	_cleanup_free_ char *text = NULL;
	char hex[2 * SHA256_DIGEST_LENGTH + 1];
	uint8_t md[SHA256_DIGEST_LENGTH];
	size_t len;

	if (open_entry(input, blob->path, 0, &r, err) < 0 ||
	    reader_slurp(r, OCI_JSON_MAX, &text, &len, err) < 0)
		return -1;
	SHA256((const uint8_t *)text, len, md);
	str_hex(hex, md, sizeof(md));
	if (blob->digest[0] && strcmp(hex, blob->digest) != 0)
		return err_set(err, ERR_INVALID,
			       "'%.120s' has another digest: the archive is "
			       "damaged",
			       blob->path);
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

static int load_oci(struct source *s, struct error *err)
{
	struct oci_blob at = { .path = "index.json" };

	for (int i = 0; i < OCI_NESTING_MAX; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		if (load(s->input, &at, &text, &len, err) < 0)
			return -1;
		if (i > 0 && !oci_is_index(text, len))
			return oci_parse_manifest(text, len, &s->manifest, err);
		if (oci_parse_index(text, len, &at, err) < 0)
			return -1;
	}
	return err_set(err, ERR_INVALID,
		       "the archive's indices are nested too deep");
}

static int load_docker(struct source *s, struct error *err)
{
	const struct oci_blob at = { .path = "manifest.json" };
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (load(s->input, &at, &text, &len, err) < 0)
		return -1;
	return oci_parse_docker(text, len, &s->manifest, err);
}

static int load_config(struct source *s, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (load(s->input, &s->manifest.config, &text, &len, err) < 0)
		return -1;
	return oci_parse_config(text, len, &s->config, &s->manifest, err);
}

int source_open(struct reader_input *input, struct source *ret,
		struct error *err)
{
	_cleanup_(source_fini) struct source s = { .input = input };

	if (probe(input, &s.kind, err) < 0)
		return -1;
	if (s.kind == SOURCE_OCI && load_oci(&s, err) < 0)
		return -1;
	if (s.kind == SOURCE_DOCKER && load_docker(&s, err) < 0)
		return -1;
	if (s.kind != SOURCE_ROOTFS && load_config(&s, err) < 0)
		return -1;
	*ret = s;
	s = (struct source){ .input = NULL };
	return 0;
}

void source_fini(struct source *source)
{
	oci_manifest_fini(&source->manifest);
	oci_config_fini(&source->config);
}

static int read_entries(struct reader *r, const struct source_ops *ops,
			void *arg, struct error *err)
{
	struct archive_entry *e;
	int rc;

	while ((rc = reader_next(r, &e, err)) > 0)
		if (ops->entry(r, e, arg, err) < 0)
			return -1;
	return rc;
}

static int read_layer(struct source *s, const struct oci_blob *blob,
		      const struct source_ops *ops, void *arg,
		      struct error *err)
{
	_cleanup_reader_ struct reader *outer = NULL;
	_cleanup_reader_ struct reader *r = NULL;

	if (open_entry(s->input, blob->path, 0, &outer, err) < 0 ||
	    reader_open_nested(outer, blob->digest, blob->diff_id, &r, err) < 0)
		return -1;
	if (read_entries(r, ops, arg, err) < 0)
		return -1;
	return reader_verify(r, err);
}

int source_read(struct source *s, const struct source_ops *ops, void *arg,
		struct error *err)
{
	_cleanup_reader_ struct reader *r = NULL;

	s->input->unpacked = 0;
	if (s->kind == SOURCE_ROOTFS) {
		ops->layer(false, arg);
		if (reader_open(s->input, &r, err) < 0)
			return -1;
		return read_entries(r, ops, arg, err);
	}
	for (size_t i = 0; i < s->manifest.n_layers; i++) {
		ops->layer(true, arg);
		if (read_layer(s, &s->manifest.layers[i], ops, arg, err) < 0)
			return -1;
	}
	return 0;
}
