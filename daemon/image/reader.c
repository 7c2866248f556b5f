/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - entries of an archive, or of an archive within one, bounded
 *
 * libarchive itself would skip a terabyte of zeros in one call of
 * archive_read_next_header(). So the rest of an entry is always read here, in
 * pieces, and each piece is held against the limit; only in an archive that is
 * not compressed, whose size is known, is it left to libarchive to seek.
 */
#include "image/reader.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define PIECE (128u << 10)

struct reader {
	struct reader_input *input;
	struct reader *outer; /* NULL: reads the file */
	struct archive *archive;
	uint64_t seen; /* unpacked bytes accounted for */
	uint64_t own;  /* of an outer one: its account */
	EVP_MD_CTX *hash;
	const char *digest, *diff_id;
	bool plain, at_entry;
	struct error err; /* why the outer one failed in a callback */
	uint8_t piece[PIECE];
};

void reader_warm_up(void)
{
	uint8_t out[EVP_MAX_MD_SIZE];
	unsigned int len;

	/* Names are bytes; this keeps libarchive from converting them. */
	setlocale(LC_CTYPE, "C.UTF-8");
	EVP_Digest("", 0, out, &len, EVP_sha256(), NULL);
}

static int fail(struct reader *r, struct error *err)
{
	const char *why = archive_error_string(r->archive);

	if (r->err.code) {
		if (err)
			*err = r->err;
		return -1;
	}
	return err_set(err, ERR_INVALID, "read the archive%s: %s",
		       r->outer ? " of a layer" : "",
		       why ? why : "it is damaged");
}

/* Hold what was unpacked so far against the limits. */
static int account(struct reader *r, struct error *err)
{
	uint64_t now = (uint64_t)archive_filter_bytes(r->archive, 0);
	uint64_t *sum = r->outer ? &r->input->unpacked : &r->own;
	uint64_t ratio_max = r->input->size * READER_RATIO_MAX + READER_FREE;

	if (now > r->seen) {
		*sum += now - r->seen;
		r->seen = now;
	}
	if (*sum > r->input->unpacked_max)
		return err_set(err, ERR_LIMIT,
			       "the archive unpacks to more than %llu MiB",
			       (unsigned long long)r->input->unpacked_max >>
				       20);
	if (*sum > ratio_max)
		return err_set(err, ERR_LIMIT,
			       "the archive unpacks to more than %u times its "
			       "size",
			       READER_RATIO_MAX);
	if (r->input->tick)
		r->input->tick((uint64_t)lseek(r->input->fd, 0, SEEK_CUR),
			       r->input->arg);
	return 0;
}

static struct reader *alloc(struct reader_input *input, struct reader *outer)
{
	struct reader *r = xcalloc(1, sizeof(*r));

	r->input = input;
	r->outer = outer;
	r->archive = archive_read_new();
	archive_read_support_format_tar(r->archive);
	archive_read_support_filter_gzip(r->archive);
	archive_read_support_filter_xz(r->archive);
	archive_read_support_filter_zstd(r->archive);
	return r;
}

int reader_open(struct reader_input *input, struct reader **ret,
		struct error *err)
{
	struct reader *r = alloc(input, NULL);

	if (lseek(input->fd, 0, SEEK_SET) < 0 ||
	    archive_read_open_fd(r->archive, input->fd, PIECE) < ARCHIVE_OK) {
		fail(r, err);
		reader_free(r);
		return -1;
	}
	r->plain = archive_filter_code(r->archive, 0) == ARCHIVE_FILTER_NONE;
	*ret = r;
	return 0;
}

/* Some bytes of the outer one's entry. 0 at its end, -1. */
static la_ssize_t pull(struct reader *r)
{
	la_ssize_t n;

	n = archive_read_data(r->outer->archive, r->piece, sizeof(r->piece));
	if (n < 0) {
		fail(r->outer, &r->err);
		return -1;
	}
	if (account(r->outer, &r->err) < 0)
		return -1;
	if (n > 0)
		EVP_DigestUpdate(r->hash, r->piece, (size_t)n);
	return n;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct reader *r = arg;
	la_ssize_t n = pull(r);

	*ret = r->piece;
	if (n < 0)
		archive_set_error(a, EIO, "%.200s", r->err.msg);
	return n;
}

int reader_open_nested(struct reader *outer, const char *digest,
		       const char *diff_id, struct reader **ret,
		       struct error *err)
{
	struct reader *r = alloc(outer->input, outer);

	r->hash = EVP_MD_CTX_new();
	r->digest = digest;
	r->diff_id = diff_id;
	EVP_DigestInit_ex(r->hash, EVP_sha256(), NULL);
	if (archive_read_open(r->archive, r, NULL, on_read, NULL) <
	    ARCHIVE_OK) {
		fail(r, err);
		reader_free(r);
		return -1;
	}
	*ret = r;
	return 0;
}

struct reader *reader_free(struct reader *r)
{
	if (!r)
		return NULL;
	archive_read_free(r->archive);
	EVP_MD_CTX_free(r->hash);
	free(r);
	return NULL;
}

int reader_block(struct reader *r, const void **ret, size_t *ret_len,
		 uint64_t *ret_at, struct error *err)
{
	la_int64_t at;
	int rc = archive_read_data_block(r->archive, ret, ret_len, &at);

	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc < ARCHIVE_WARN)
		return fail(r, err);
	*ret_at = (uint64_t)at;
	return account(r, err) < 0 ? -1 : 1;
}

static int finish_entry(struct reader *r, struct error *err)
{
	const void *data;
	uint64_t at;
	size_t len;
	int rc;

	if (!r->at_entry)
		return 0;
	r->at_entry = false;
	if (r->plain)
		return archive_read_data_skip(r->archive) < ARCHIVE_WARN
			       ? fail(r, err)
			       : 0;
	do
		rc = reader_block(r, &data, &len, &at, err);
	while (rc > 0);
	return rc;
}

int reader_next(struct reader *r, struct archive_entry **ret, struct error *err)
{
	int rc;

	if (finish_entry(r, err) < 0)
		return -1;
	rc = archive_read_next_header(r->archive, ret);
	if (rc == ARCHIVE_EOF)
		return account(r, err) < 0 ? -1 : 0;
	if (rc < ARCHIVE_WARN)
		return fail(r, err);
	if (!archive_entry_pathname(*ret))
		return err_set(err, ERR_INVALID,
			       "an archive entry has no name");
	r->at_entry = true;
	return account(r, err) < 0 ? -1 : 1;
}

static bool hash_is(EVP_MD_CTX *hash, const char *want)
{
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	uint8_t md[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	unsigned int len = 0;

	EVP_MD_CTX_copy_ex(copy, hash);
	EVP_DigestFinal_ex(copy, md, &len);
	EVP_MD_CTX_free(copy);
	str_hex(hex, md, len);
	return strcmp(hex, want) == 0;
}

int reader_verify(struct reader *r, struct error *err)
{
	bool plain = archive_filter_code(r->archive, 0) == ARCHIVE_FILTER_NONE;
	la_ssize_t n;

	do
		n = pull(r);
	while (n > 0);
	if (n < 0)
		return fail(r, err);
	if (!str_empty(r->digest) && !hash_is(r->hash, r->digest))
		return err_set(err, ERR_INVALID,
			       "layer sha256:%s has another digest: the "
			       "archive is damaged",
			       r->digest);
	if (plain && !str_empty(r->diff_id) && !hash_is(r->hash, r->diff_id))
		return err_set(err, ERR_INVALID,
			       "a layer is not sha256:%s, as the image's "
			       "configuration says: the archive is damaged",
			       r->diff_id);
	return 0;
}

int reader_slurp(struct reader *r, size_t max, char **ret, size_t *ret_len,
		 struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, room = 0;
	la_ssize_t n;

	do {
		if (room - len < PIECE + 1) {
			room += PIECE + 1;
			text = xrealloc(text, room, 1);
		}
		n = archive_read_data(r->archive, text + len, PIECE);
		if (n < 0)
			return fail(r, err);
		if (account(r, err) < 0)
			return -1;
		len += (size_t)n;
		if (len > max)
			return err_set(err, ERR_LIMIT,
				       "a document in the archive is longer "
				       "than %zu bytes",
				       max);
	} while (n > 0);
	text[len] = '\0';
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}
