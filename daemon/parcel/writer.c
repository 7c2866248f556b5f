/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - a snapshot's stream, put together */
#include "parcel/writer.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "parcel/reader.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct parcel_writer {
	const ParcelManifest *m;
	parcel_sink_fn sink;
	void *arg;
	size_t part;
	uint64_t left; /* of the part */
	EVP_MD_CTX *sum, *all;
};

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static int put(struct parcel_writer *w, const void *data, size_t len,
	       struct error *err)
{
	EVP_DigestUpdate(w->sum, data, len);
	return w->sink(data, len, w->arg, err);
}

static int begin(struct parcel_writer *w, uint32_t kind, uint32_t number,
		 uint64_t size, struct error *err)
{
	uint8_t head[PARCEL_SECTION_SIZE];

	EVP_DigestInit_ex(w->sum, EVP_sha256(), NULL);
	put32(head, kind);
	put32(head + 4, number);
	put64(head + 8, size);
	return put(w, head, sizeof(head), err);
}

static int end(struct parcel_writer *w, EVP_MD_CTX *ctx, struct error *err)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(ctx, sum, &len) != 1)
		abort();
	if (ctx == w->sum)
		EVP_DigestUpdate(w->all, sum, PARCEL_SUM_SIZE);
	return w->sink(sum, PARCEL_SUM_SIZE, w->arg, err);
}

static int put_manifest(struct parcel_writer *w, struct error *err)
{
	uint8_t head[PARCEL_HEAD_SIZE] = PARCEL_MAGIC;
	size_t len = sandbox__ipc__v1__parcel_manifest__get_packed_size(w->m);
	_cleanup_free_ uint8_t *packed = NULL;

	if (len > PARCEL_MANIFEST_MAX)
		return err_set(err, ERR_LIMIT,
			       "its manifest would have %zu bytes, allowed are "
			       "%u",
			       len, PARCEL_MANIFEST_MAX);
	packed = xcalloc(1, len + 1);
	sandbox__ipc__v1__parcel_manifest__pack(w->m, packed);
	put32(head + 8, PARCEL_VERSION);
	if (w->sink(head, sizeof(head), w->arg, err) < 0 ||
	    begin(w, PARCEL_SECTION_MANIFEST, 0, len, err) < 0 ||
	    put(w, packed, len, err) < 0)
		return -1;
	return end(w, w->sum, err);
}

struct parcel_writer *parcel_writer_new(const ParcelManifest *m,
					parcel_sink_fn sink, void *arg,
					struct error *err)
{
	struct parcel_writer *w = xcalloc(1, sizeof(*w));

	w->m = m;
	w->sink = sink;
	w->arg = arg;
	w->sum = EVP_MD_CTX_new();
	w->all = EVP_MD_CTX_new();
	if (!w->sum || !w->all ||
	    EVP_DigestInit_ex(w->all, EVP_sha256(), NULL) != 1)
		abort();
	if (put_manifest(w, err) < 0)
		return parcel_writer_free(w);
	return w;
}

struct parcel_writer *parcel_writer_free(struct parcel_writer *w)
{
	if (!w)
		return NULL;
	EVP_MD_CTX_free(w->sum);
	EVP_MD_CTX_free(w->all);
	free(w);
	return NULL;
}

int parcel_writer_part(struct parcel_writer *w, struct error *err)
{
	if (w->part >= w->m->n_parts)
		return err_set(err, ERR_INTERNAL, "one part too many");
	w->left = w->m->parts[w->part]->size;
	return begin(w, PARCEL_SECTION_PART, (uint32_t)w->part, w->left, err);
}

int parcel_writer_bytes(struct parcel_writer *w, const void *data, size_t len,
			struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	if (len > w->left)
		return err_set(err, ERR_DATA_LOSS,
			       "part '%s' grew while it was read",
			       parcel_part_name(w->m, w->part, name));
	w->left -= len;
	return put(w, data, len, err);
}

int parcel_writer_part_end(struct parcel_writer *w, struct error *err)
{
	char name[PARCEL_PART_NAME_MAX];

	if (w->left > 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part '%s' is shorter than it was",
			       parcel_part_name(w->m, w->part, name));
	w->part++;
	return end(w, w->sum, err);
}

int parcel_writer_end(struct parcel_writer *w, struct error *err)
{
	if (w->part != w->m->n_parts)
		return err_set(err, ERR_INTERNAL, "a part is missing");
	if (begin(w, PARCEL_SECTION_END, 0, 0, err) < 0)
		return -1;
	return end(w, w->all, err);
}
