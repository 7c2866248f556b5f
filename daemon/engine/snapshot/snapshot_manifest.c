/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_manifest.c - what a snapshot or a template says of itself */
#include "engine/snapshot/snapshot_manifest.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/str.h"

#include <json-c/json.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define JSON_DEPTH_MAX 4

static const char *const kinds[] = {
	[SNAPSHOT_GUEST] = "snapshot", [SNAPSHOT_TEMPLATE] = "template"
};

static void json_put(json_object **obj)
{
	if (*obj)
		json_object_put(*obj);
}

#define _cleanup_json_ _cleanup_(json_put)

static void sha_text(const void *data, size_t len, char ret[SNAPSHOT_SHA_SIZE])
{
	uint8_t sha[SHA256_DIGEST_LENGTH];

	SHA256(data, len, sha);
	str_hex(ret, sha, sizeof(sha));
}

static void add_text(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void add_u64(json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static json_object *format_platform(const struct snapshot_platform *p)
{
	json_object *o = json_object_new_object();

	add_text(o, "accelerator", p->accelerator);
	add_text(o, "machine", p->machine);
	add_text(o, "qemu_version", p->qemu_version);
	add_text(o, "cpu_model", p->cpu_model);
	add_text(o, "kernel_version", p->kernel_version);
	json_object_object_add(o, "vsock", json_object_new_boolean(p->vsock));
	json_object_object_add(o, "network",
			       json_object_new_boolean(p->network));
	return o;
}

char *snapshot_manifest_format(const struct snapshot_manifest *m,
			       size_t *ret_len)
{
	_cleanup_json_ json_object *o = json_object_new_object();
	json_object *parts = json_object_new_array();
	_cleanup_free_ char *line = NULL;
	char sha[SNAPSHOT_SHA_SIZE];
	char *text;

	add_u64(o, "version", SNAPSHOT_MANIFEST_VERSION);
	add_text(o, "kind", kinds[m->kind]);
	json_object_object_add(o, "created_ms",
			       json_object_new_int64(m->created_ms));
	add_u64(o, "cpu", m->cpu);
	add_u64(o, "memory_mib", m->memory_mib);
	add_u64(o, "disk_size", m->disk_size);
	add_text(o, "image_digest", m->image_digest);
	json_object_object_add(o, "platform", format_platform(&m->platform));
	add_text(o, "template_identity", m->template_identity);
	add_text(o, "template_ram", m->template_ram);
	add_u64(o, "data_pages", m->data_pages);
	add_u64(o, "zero_pages", m->zero_pages);
	add_text(o, "index_sha256", m->index_sha);
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct snapshot_part *p = &m->parts[i];
		json_object *part = json_object_new_object();

		add_text(part, "name", p->name);
		add_u64(part, "size", p->size);
		add_text(part, "sha256", p->sha256);
		json_object_object_add(part, "mtime_ns",
				       json_object_new_int64(p->mtime_ns));
		json_object_array_add(parts, part);
	}
	json_object_object_add(o, "parts", parts);
	line = xasprintf("%s\n",
			 json_object_to_json_string_ext(
				 o, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	sha_text(line, strlen(line), sha);
	text = xasprintf("%s{\"sha256\":\"%s\"}\n", line, sha);
	*ret_len = strlen(text);
	return text;
}

/* A reader of members: the first that is missing or wrong is remembered. */
struct reader {
	const char *wrong;
};

static json_object *get(struct reader *r, json_object *o, const char *key,
			enum json_type type)
{
	json_object *v;

	if (json_object_object_get_ex(o, key, &v) &&
	    json_object_is_type(v, type))
		return v;
	if (!r->wrong)
		r->wrong = key;
	return NULL;
}

static void get_text(struct reader *r, json_object *o, const char *key,
		     char *dst, size_t size)
{
	json_object *v = get(r, o, key, json_type_string);

	if (!v)
		return;
	if (strlen(json_object_get_string(v)) !=
		    (size_t)json_object_get_string_len(v) ||
	    str_copy(dst, size, json_object_get_string(v)) < 0)
		r->wrong = key;
}

static uint64_t get_u64(struct reader *r, json_object *o, const char *key,
			uint64_t max)
{
	json_object *v = get(r, o, key, json_type_int);
	uint64_t n = v ? json_object_get_uint64(v) : 0;

	if (v && (n > max || json_object_get_int64(v) < 0))
		r->wrong = key;
	return n;
}

static bool get_bool(struct reader *r, json_object *o, const char *key)
{
	json_object *v = get(r, o, key, json_type_boolean);

	return v && json_object_get_boolean(v);
}

/* Empty, or 64 digits. */
static void get_sha(struct reader *r, json_object *o, const char *key,
		    char dst[SNAPSHOT_SHA_SIZE], bool may_be_empty)
{
	uint8_t raw[SHA256_DIGEST_LENGTH];

	get_text(r, o, key, dst, SNAPSHOT_SHA_SIZE);
	if (!r->wrong && !(may_be_empty && !*dst) &&
	    (strlen(dst) != SNAPSHOT_SHA_SIZE - 1 ||
	     str_unhex(raw, sizeof(raw), dst) < 0))
		r->wrong = key;
}

static void parse_platform(struct reader *r, json_object *o,
			   struct snapshot_platform *p)
{
	get_text(r, o, "accelerator", p->accelerator, sizeof(p->accelerator));
	get_text(r, o, "machine", p->machine, sizeof(p->machine));
	get_text(r, o, "qemu_version", p->qemu_version,
		 sizeof(p->qemu_version));
	get_text(r, o, "cpu_model", p->cpu_model, sizeof(p->cpu_model));
	get_text(r, o, "kernel_version", p->kernel_version,
		 sizeof(p->kernel_version));
	p->vsock = get_bool(r, o, "vsock");
	p->network = get_bool(r, o, "network");
	if (!r->wrong &&
	    !str_is_name(p->machine, sizeof(p->machine) - 1, "a-z0-9.-"))
		r->wrong = "machine";
}

static void parse_parts(struct reader *r, json_object *parts,
			struct snapshot_manifest *m)
{
	size_t n = json_object_array_length(parts);

	if (n > SNAPSHOT_PARTS_MAX) {
		r->wrong = "parts";
		return;
	}
	for (size_t i = 0; i < n && !r->wrong; i++) {
		json_object *o = json_object_array_get_idx(parts, i), *v;
		struct snapshot_part *p = &m->parts[i];

		get_text(r, o, "name", p->name, sizeof(p->name));
		p->size = get_u64(r, o, "size", INT64_MAX);
		get_sha(r, o, "sha256", p->sha256, false);
		v = get(r, o, "mtime_ns", json_type_int);
		p->mtime_ns = v ? json_object_get_int64(v) : 0;
		/* Names are plain files of ours, never paths. */
		if (!r->wrong &&
		    (!str_is_name(p->name, sizeof(p->name) - 1, "a-z0-9.") ||
		     p->name[0] == '.' || snapshot_manifest_part(m, p->name)))
			r->wrong = "name";
		m->n_parts = i + 1;
	}
}

static void parse_object(struct reader *r, json_object *o,
			 struct snapshot_manifest *m)
{
	json_object *v = get(r, o, "created_ms", json_type_int);
	char kind[16] = "";

	m->created_ms = v ? json_object_get_int64(v) : 0;
	get_text(r, o, "kind", kind, sizeof(kind));
	if (strcmp(kind, kinds[SNAPSHOT_TEMPLATE]) == 0)
		m->kind = SNAPSHOT_TEMPLATE;
	else if (strcmp(kind, kinds[SNAPSHOT_GUEST]) != 0)
		r->wrong = "kind";
	m->cpu = (uint32_t)get_u64(r, o, "cpu", 4096);
	m->memory_mib = (uint32_t)get_u64(r, o, "memory_mib", 4u << 20);
	m->disk_size = get_u64(r, o, "disk_size", INT64_MAX);
	get_text(r, o, "image_digest", m->image_digest,
		 sizeof(m->image_digest));
	v = get(r, o, "platform", json_type_object);
	if (v)
		parse_platform(r, v, &m->platform);
	get_sha(r, o, "template_identity", m->template_identity, true);
	get_sha(r, o, "template_ram", m->template_ram, true);
	m->data_pages = get_u64(r, o, "data_pages", 1ull << 40);
	m->zero_pages = get_u64(r, o, "zero_pages", 1ull << 40);
	get_sha(r, o, "index_sha256", m->index_sha, true);
	v = get(r, o, "parts", json_type_array);
	if (v)
		parse_parts(r, v, m);
}

static json_object *parse_json(const char *text, size_t len)
{
	json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
	json_object *o;

	if (!tok)
		return NULL;
	o = json_tokener_parse_ex(tok, text, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success && o) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	return o;
}

int snapshot_manifest_parse(const char *text, size_t len,
			    struct snapshot_manifest *ret, struct error *err)
{
	const char *nl = memchr(text, '\n', len);
	_cleanup_json_ json_object *o = NULL;
	_cleanup_free_ char *last = NULL;
	struct snapshot_manifest *m;
	struct reader r = { 0 };
	char sha[SNAPSHOT_SHA_SIZE];
	size_t line;
	uint64_t version;

	if (!nl || len > SNAPSHOT_MANIFEST_MAX)
		return err_set(err, ERR_DATA_LOSS, "manifest is cut off");
	line = (size_t)(nl - text) + 1;
	sha_text(text, line, sha);
	last = xasprintf("{\"sha256\":\"%s\"}\n", sha);
	if (len - line != strlen(last) ||
	    memcmp(text + line, last, len - line) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "manifest does not match its checksum");
	o = parse_json(text, line);
	if (!o)
		return err_set(err, ERR_DATA_LOSS, "manifest is no JSON");
	version = get_u64(&r, o, "version", UINT32_MAX);
	if (!r.wrong && version > SNAPSHOT_MANIFEST_VERSION)
		return err_set(err, ERR_INVALID,
			       "manifest is of version %llu, newer than %u",
			       (unsigned long long)version,
			       SNAPSHOT_MANIFEST_VERSION);
	m = xcalloc(1, sizeof(*m));
	parse_object(&r, o, m);
	if (r.wrong || version == 0) {
		free(m);
		return err_set(err, ERR_DATA_LOSS, "manifest: no proper '%s'",
			       r.wrong ? r.wrong : "version");
	}
	*ret = *m;
	free(m);
	return 0;
}

const struct snapshot_part *
snapshot_manifest_part(const struct snapshot_manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_parts; i++) {
		if (!strcmp(m->parts[i].name, name))
			return &m->parts[i];
	}
	return NULL;
}

static unsigned long version_number(const char *text)
{
	unsigned long major = 0, minor = 0;

	if (sscanf(text, "%4lu.%4lu", &major, &minor) < 1)
		return 0;
	return major * 10000 + minor;
}

int snapshot_platform_accepts(const struct snapshot_platform *host,
			      const struct snapshot_platform *saved,
			      struct error *err)
{
	if (strcmp(host->accelerator, saved->accelerator) != 0)
		return err_set(err, ERR_CONFLICT,
			       "saved under %s, this node runs guests under %s",
			       saved->accelerator, host->accelerator);
	if (strcmp(host->cpu_model, saved->cpu_model) != 0)
		return err_set(err, ERR_CONFLICT,
			       "saved on CPU '%s', this node's is '%s'",
			       saved->cpu_model, host->cpu_model);
	if (version_number(host->qemu_version) <
	    version_number(saved->qemu_version))
		return err_set(err, ERR_CONFLICT,
			       "saved by QEMU %s, this node has %s",
			       saved->qemu_version, host->qemu_version);
	if (host->vsock != saved->vsock)
		return err_set(
			err, ERR_CONFLICT,
			"saved with%s a vsock device, this node's guests "
			"have %s",
			saved->vsock ? "" : "out",
			host->vsock ? "one" : "none");
	if (host->network != saved->network)
		return err_set(err, ERR_CONFLICT,
			       "saved with%s a network device",
			       saved->network ? "" : "out");
	return 0;
}

void snapshot_identity(const struct snapshot_manifest *m,
		       char ret[SNAPSHOT_SHA_SIZE])
{
	const struct snapshot_platform *p = &m->platform;
	_cleanup_free_ char *text = xasprintf(
		"%u\n%s\n%u\n%u\n%s\n%s\n%s\n%s\n%s\n%d\n%d\n",
		SNAPSHOT_MANIFEST_VERSION, m->image_digest, m->cpu,
		m->memory_mib, p->accelerator, p->machine, p->qemu_version,
		p->cpu_model, p->kernel_version, p->vsock, p->network);

	sha_text(text, strlen(text), ret);
}
