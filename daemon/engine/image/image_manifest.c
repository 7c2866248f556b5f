/* SPDX-License-Identifier: Apache-2.0 */
/* image_manifest.c - manifest.json of an image, and what its fields may be
 *
 * A manifest with an unknown version is refused, a member that is not known is
 * passed over: new members may be added without a new version as long as they
 * can be ignored.
 */
#include "engine/image/image_manifest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image/image_store.h"

#include <json-c/json.h>
#include <openssl/sha.h>
#include <string.h>

#define JSON_DEPTH_MAX 8

static void cleanup_json(struct json_object **json)
{
	json_object_put(*json);
}

#define _cleanup_json_ _cleanup_(cleanup_json)

bool image_name_is_valid(const char *name)
{
	return str_is_name(name, IMAGE_NAME_MAX, "a-z0-9._/:-") &&
	       ((name[0] >= 'a' && name[0] <= 'z') ||
		(name[0] >= '0' && name[0] <= '9'));
}

bool image_digest_is_valid(const char *digest)
{
	return strlen(digest) == 7 + 64 && strncmp(digest, "sha256:", 7) == 0 &&
	       strspn(digest + 7, "0123456789abcdef") == 64;
}

bool image_env_is_valid(const char *entry)
{
	size_t n = strspn(entry, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return n > 0 && n <= 128 && entry[n] == '=' &&
	       !(entry[0] >= '0' && entry[0] <= '9');
}

/* Whether two entries are of the same name. */
static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && memcmp(a, b, n) == 0;
}

static int add_env(struct image *image, const char *entry, size_t *total,
		   struct error *err)
{
	size_t i = 0;

	if (!image_env_is_valid(entry))
		return err_field(err, "env",
				 "a variable's name must be "
				 "[A-Za-z_][A-Za-z0-9_]*, at most 128 bytes");
	*total += strlen(entry) + 1;
	while (i < image->n_env && !same_name(image->env[i], entry))
		i++;
	if (i == IMAGE_ENV_MAX || *total > IMAGE_ENV_BYTES)
		return err_field(err, "env",
				 "more than %d variables, or %u bytes",
				 IMAGE_ENV_MAX, IMAGE_ENV_BYTES);
	if (i < image->n_env)
		free(image->env[i]);
	else
		image->n_env++;
	image->env[i] = xstrdup(entry);
	return 0;
}

int image_set_env(struct image *image, char *const *base, size_t n_base,
		  char *const *over, size_t n_over, struct error *err)
{
	size_t total = 0;

	image->env = xcalloc(IMAGE_ENV_MAX + 1, sizeof(*image->env));
	for (size_t i = 0; i < n_base; i++)
		if (add_env(image, base[i], &total, err) < 0)
			return -1;
	for (size_t i = 0; i < n_over; i++)
		if (add_env(image, over[i], &total, err) < 0)
			return -1;
	return 0;
}

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	struct json_object *json = NULL;

	if (tok && len <= IMAGE_MANIFEST_MAX) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
		json = json_tokener_parse_ex(tok, text, (int)len);
		if (json_tokener_get_error(tok) != json_tokener_success) {
			json_object_put(json);
			json = NULL;
		}
	}
	json_tokener_free(tok);
	return json;
}

static int take_string(struct json_object *json, const char *key, char *dst,
		       size_t size, struct error *err)
{
	struct json_object *m;
	const char *s;

	if (!json_object_object_get_ex(json, key, &m) ||
	    !json_object_is_type(m, json_type_string))
		return err_set(err, ERR_DATA_LOSS, "manifest: no '%s'", key);
	s = json_object_get_string(m);
	if (strlen(s) != (size_t)json_object_get_string_len(m) ||
	    str_copy(dst, size, s) < 0)
		return err_set(err, ERR_DATA_LOSS, "manifest: '%s' is too long",
			       key);
	return 0;
}

static int take_number(struct json_object *json, const char *key, int64_t *ret,
		       struct error *err)
{
	struct json_object *m;

	if (!json_object_object_get_ex(json, key, &m) ||
	    !json_object_is_type(m, json_type_int) ||
	    json_object_get_int64(m) < 0)
		return err_set(err, ERR_DATA_LOSS, "manifest: no '%s'", key);
	*ret = json_object_get_int64(m);
	return 0;
}

static int take_env(struct json_object *json, struct image *image,
		    struct error *err)
{
	struct json_object *list;
	size_t n, total = 0;

	if (!json_object_object_get_ex(json, "env", &list) ||
	    !json_object_is_type(list, json_type_array))
		return err_set(err, ERR_DATA_LOSS, "manifest: no 'env'");
	image->env = xcalloc(IMAGE_ENV_MAX + 1, sizeof(*image->env));
	n = json_object_array_length(list);
	for (size_t i = 0; i < n; i++) {
		struct json_object *it = json_object_array_get_idx(list, i);

		if (!json_object_is_type(it, json_type_string) ||
		    add_env(image, json_object_get_string(it), &total, NULL) <
			    0)
			return err_set(err, ERR_DATA_LOSS,
				       "manifest: a bad variable in 'env'");
	}
	return 0;
}

int image_manifest_parse(const char *text, size_t len, struct image *ret,
			 struct error *err)
{
	_cleanup_json_ struct json_object *json = parse(text, len);
	_cleanup_(image_fini) struct image image = { .n_env = 0 };
	int64_t version, size;

	if (!json_object_is_type(json, json_type_object))
		return err_set(err, ERR_DATA_LOSS,
			       "manifest: not a JSON object");
	if (take_number(json, "version", &version, err) < 0)
		return -1;
	if (version != IMAGE_MANIFEST_VERSION)
		return err_set(err, ERR_DATA_LOSS,
			       "manifest: version %lld is not known here",
			       (long long)version);
	if (take_string(json, "name", image.name, sizeof(image.name), err) <
		    0 ||
	    take_string(json, "digest", image.digest, sizeof(image.digest),
			err) < 0 ||
	    take_string(json, "source", image.source, sizeof(image.source),
			err) < 0 ||
	    take_string(json, "user", image.user, sizeof(image.user), err) <
		    0 ||
	    take_string(json, "workdir", image.workdir, sizeof(image.workdir),
			err) < 0 ||
	    take_number(json, "size_bytes", &size, err) < 0 ||
	    take_number(json, "created_ms", &image.created_ms, err) < 0 ||
	    take_env(json, &image, err) < 0)
		return -1;
	if (!image_name_is_valid(image.name) ||
	    !image_digest_is_valid(image.digest) ||
	    (image.workdir[0] && image.workdir[0] != '/'))
		return err_set(err, ERR_DATA_LOSS,
			       "manifest: a name, digest or directory that "
			       "cannot be");
	image.size_bytes = (uint64_t)size;
	*ret = image;
	image = (struct image){ .n_env = 0 };
	return 0;
}

static void put(struct json_object *json, const char *key,
		struct json_object *value)
{
	if (!value || json_object_object_add(json, key, value) < 0)
		abort();
}

char *image_manifest_format(const struct image *image)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();
	struct json_object *env = json_object_new_array();

	put(json, "version", json_object_new_int(IMAGE_MANIFEST_VERSION));
	put(json, "name", json_object_new_string(image->name));
	put(json, "digest", json_object_new_string(image->digest));
	put(json, "source", json_object_new_string(image->source));
	put(json, "size_bytes",
	    json_object_new_int64((int64_t)image->size_bytes));
	put(json, "created_ms", json_object_new_int64(image->created_ms));
	put(json, "user", json_object_new_string(image->user));
	put(json, "workdir", json_object_new_string(image->workdir));
	for (size_t i = 0; i < image->n_env; i++)
		json_object_array_add(env,
				      json_object_new_string(image->env[i]));
	put(json, "env", env);
	return xasprintf("%s\n",
			 json_object_to_json_string_ext(
				 json, JSON_C_TO_STRING_PRETTY |
					       JSON_C_TO_STRING_NOSLASHESCAPE));
}

void image_fini(struct image *image)
{
	for (size_t i = 0; i < image->n_env; i++)
		free(image->env[i]);
	free(image->env);
	*image = (struct image){ .n_env = 0 };
}

void image_dir_name(const struct image *image, char ret[IMAGE_DIR_SIZE])
{
	_cleanup_free_ char *key =
		xasprintf("%s\n%s", image->name, image->digest);
	uint8_t md[SHA256_DIGEST_LENGTH];

	SHA256((const uint8_t *)key, strlen(key), md);
	str_hex(ret, md, sizeof(md));
}
