/* SPDX-License-Identifier: Apache-2.0 */
/* oci.c - the JSON documents in image archives */
#include "image/oci.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <json-c/json.h>
#include <limits.h>
#include <string.h>

#define JSON_DEPTH_MAX 32
/* What a platform's absence means. */
#define ARCHITECTURE "amd64"

static void cleanup_json(struct json_object **json)
{
	json_object_put(*json);
}

#define _cleanup_json_ _cleanup_(cleanup_json)

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *json;

	if (!tok || len > OCI_JSON_MAX) {
		json_tokener_free(tok);
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
					    JSON_TOKENER_VALIDATE_UTF8);
	/* The NUL behind the text ends a number at its end. */
	json = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success) {
		json_object_put(json);
		json = NULL;
	}
	json_tokener_free(tok);
	return json;
}

/* Member @key if it is of @type, else NULL. */
static struct json_object *member(struct json_object *json, const char *key,
				  enum json_type type)
{
	struct json_object *ret;

	if (!json_object_is_type(json, json_type_object) ||
	    !json_object_object_get_ex(json, key, &ret) ||
	    !json_object_is_type(ret, type))
		return NULL;
	return ret;
}

/* A string without NUL in it; NULL if it is anything else. */
static const char *string_of(struct json_object *json)
{
	const char *s;

	if (!json_object_is_type(json, json_type_string))
		return NULL;
	s = json_object_get_string(json);
	return strlen(s) == (size_t)json_object_get_string_len(json) ? s : NULL;
}

static const char *member_string(struct json_object *json, const char *key)
{
	return string_of(member(json, key, json_type_string));
}

static int take_digest(char dst[OCI_DIGEST_CHARS + 1], const char *s)
{
	uint8_t raw[OCI_DIGEST_CHARS / 2];

	if (!s || strncmp(s, "sha256:", 7) != 0 ||
	    str_unhex(raw, sizeof(raw), s + 7) < 0)
		return -EINVAL;
	str_hex(dst, raw, sizeof(raw));
	return 0;
}

/* An OCI descriptor to the blob it points to. */
static int take_descriptor(struct json_object *json, struct oci_blob *ret,
			   const char *what, struct error *err)
{
	struct oci_blob blob = { .path = "" };

	if (take_digest(blob.digest, member_string(json, "digest")) < 0)
		return err_set(err, ERR_INVALID,
			       "%s: a digest that is not SHA-256", what);
	snprintf(blob.path, sizeof(blob.path), "blobs/sha256/%s", blob.digest);
	*ret = blob;
	return 0;
}

/* Images for other machines, and attestations (platform unknown), are no
 * candidates; no platform is as good as the right one.
 */
static bool platform_fits(struct json_object *json)
{
	struct json_object *p = member(json, "platform", json_type_object);
	const char *os, *arch;

	if (!p)
		return true;
	os = member_string(p, "os");
	arch = member_string(p, "architecture");
	return os && arch && strcmp(os, "linux") == 0 &&
	       strcmp(arch, ARCHITECTURE) == 0;
}

int oci_parse_index(const char *text, size_t len, struct oci_blob *ret,
		    struct error *err)
{
	_cleanup_json_ struct json_object *json = parse(text, len);
	struct json_object *list, *found = NULL;

	list = member(json, "manifests", json_type_array);
	if (!list)
		return err_set(err, ERR_INVALID,
			       "the archive's index is no OCI index");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *it = json_object_array_get_idx(list, i);

		if (!platform_fits(it))
			continue;
		if (found)
			return err_set(err, ERR_INVALID,
				       "the archive holds more than one image "
				       "for linux/" ARCHITECTURE);
		found = it;
	}
	if (!found)
		return err_set(err, ERR_INVALID,
			       "the archive holds no image for "
			       "linux/" ARCHITECTURE);
	return take_descriptor(found, ret, "the archive's index", err);
}

bool oci_is_index(const char *text, size_t len)
{
	_cleanup_json_ struct json_object *json = parse(text, len);

	return member(json, "manifests", json_type_array) != NULL;
}

static int check_layers(struct json_object *layers, struct error *err)
{
	if (!layers)
		return err_set(err, ERR_INVALID,
			       "the image's manifest has no layers");
	if (json_object_array_length(layers) > OCI_LAYERS_MAX)
		return err_set(err, ERR_LIMIT, "more than %u layers",
			       OCI_LAYERS_MAX);
	return 0;
}

int oci_parse_manifest(const char *text, size_t len, struct oci_manifest *ret,
		       struct error *err)
{
	_cleanup_json_ struct json_object *json = parse(text, len);
	_cleanup_(oci_manifest_fini) struct oci_manifest m = { .n_layers = 0 };
	struct json_object *layers = member(json, "layers", json_type_array);

	if (check_layers(layers, err) < 0 ||
	    take_descriptor(member(json, "config", json_type_object), &m.config,
			    "the image's manifest", err) < 0)
		return -1;
	m.layers = xcalloc(json_object_array_length(layers) + 1,
			   sizeof(*m.layers));
	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		if (take_descriptor(json_object_array_get_idx(layers, i),
				    &m.layers[i], "the image's manifest",
				    err) < 0)
			return -1;
		m.n_layers++;
	}
	*ret = m;
	m = (struct oci_manifest){ .n_layers = 0 };
	return 0;
}

static int take_path(struct oci_blob *blob, const char *s, struct error *err)
{
	if (str_empty(s) || str_copy(blob->path, sizeof(blob->path), s) < 0)
		return err_set(err, ERR_INVALID,
			       "manifest.json names a file that cannot be");
	return 0;
}

int oci_parse_docker(const char *text, size_t len, struct oci_manifest *ret,
		     struct error *err)
{
	_cleanup_json_ struct json_object *json = parse(text, len);
	_cleanup_(oci_manifest_fini) struct oci_manifest m = { .n_layers = 0 };
	struct json_object *image, *layers;

	if (!json_object_is_type(json, json_type_array) ||
	    json_object_array_length(json) != 1)
		return err_set(err, ERR_INVALID,
			       "manifest.json is not of exactly one image");
	image = json_object_array_get_idx(json, 0);
	layers = member(image, "Layers", json_type_array);
	if (check_layers(layers, err) < 0 ||
	    take_path(&m.config, member_string(image, "Config"), err) < 0)
		return -1;
	m.layers = xcalloc(json_object_array_length(layers) + 1,
			   sizeof(*m.layers));
	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		if (take_path(&m.layers[i],
			      string_of(json_object_array_get_idx(layers, i)),
			      err) < 0)
			return -1;
		m.n_layers++;
	}
	*ret = m;
	m = (struct oci_manifest){ .n_layers = 0 };
	return 0;
}

bool oci_env_is_valid(const char *entry)
{
	size_t n = strcspn(entry, "=");

	if (n == 0 || n > 128 || entry[n] != '=' ||
	    (entry[0] >= '0' && entry[0] <= '9'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
			    "YZ0123456789_",
			    entry[i]))
			return false;
	return true;
}

static int take_env(struct json_object *list, struct oci_config *c,
		    struct error *err)
{
	size_t total = 0, n = list ? json_object_array_length(list) : 0;

	if (n > OCI_ENV_MAX)
		return err_set(err, ERR_LIMIT,
			       "the image sets more than %u variables",
			       OCI_ENV_MAX);
	c->env = xcalloc(n + 1, sizeof(*c->env));
	for (size_t i = 0; i < n; i++) {
		const char *s = string_of(json_object_array_get_idx(list, i));

		/* Names that no shell knows cannot be given to a process by
		 * name either: passed over.
		 */
		if (!s || !oci_env_is_valid(s))
			continue;
		total += strlen(s) + 1;
		if (total > OCI_ENV_BYTES)
			return err_set(err, ERR_LIMIT,
				       "the image's variables are longer than "
				       "%u bytes",
				       OCI_ENV_BYTES);
		c->env[c->n_env++] = xstrdup(s);
	}
	return 0;
}

static void take_diff_ids(struct json_object *json, struct oci_manifest *m)
{
	struct json_object *list =
		member(member(json, "rootfs", json_type_object), "diff_ids",
		       json_type_array);

	if (!m || !list || json_object_array_length(list) != m->n_layers)
		return;
	for (size_t i = 0; i < m->n_layers; i++) {
		const char *s = string_of(json_object_array_get_idx(list, i));

		if (take_digest(m->layers[i].diff_id, s) < 0)
			m->layers[i].diff_id[0] = '\0';
	}
}

int oci_parse_config(const char *text, size_t len, struct oci_config *ret,
		     struct oci_manifest *manifest, struct error *err)
{
	_cleanup_json_ struct json_object *json = parse(text, len);
	_cleanup_(oci_config_fini) struct oci_config c = { .n_env = 0 };
	struct json_object *config;
	const char *s;

	if (!json_object_is_type(json, json_type_object))
		return err_set(err, ERR_INVALID,
			       "the image's configuration is no JSON object");
	s = member_string(json, "architecture");
	if (!str_empty(s) && strcmp(s, ARCHITECTURE) != 0)
		return err_set(err, ERR_INVALID,
			       "the image is for '%.32s', not " ARCHITECTURE,
			       s);
	config = member(json, "config", json_type_object);
	if (take_env(member(config, "Env", json_type_array), &c, err) < 0)
		return -1;
	s = member_string(config, "User");
	if (s && str_copy(c.user, sizeof(c.user), s) < 0)
		return err_set(err, ERR_INVALID,
			       "the image's user is longer than %u bytes",
			       OCI_USER_MAX);
	s = member_string(config, "WorkingDir");
	if (s && str_copy(c.workdir, sizeof(c.workdir), s) < 0)
		return err_set(err, ERR_INVALID,
			       "the image's directory is longer than %u bytes",
			       OCI_WORKDIR_MAX);
	if (c.workdir[0] && c.workdir[0] != '/')
		return err_set(err, ERR_INVALID,
			       "the image's directory is not absolute");
	take_diff_ids(json, manifest);
	*ret = c;
	c = (struct oci_config){ .n_env = 0 };
	return 0;
}

void oci_manifest_fini(struct oci_manifest *manifest)
{
	free(manifest->layers);
	*manifest = (struct oci_manifest){ .n_layers = 0 };
}

void oci_config_fini(struct oci_config *config)
{
	for (size_t i = 0; i < config->n_env; i++)
		free(config->env[i]);
	free(config->env);
	*config = (struct oci_config){ .n_env = 0 };
}
