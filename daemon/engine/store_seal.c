/* SPDX-License-Identifier: Apache-2.0 */
/* store_seal.c - what of the database is secret, sealed with the node's key
 *
 * AES-256-GCM, a random nonce each. A sealed blob is
 *
 *	mark (4) | nonce (12) | tag (16) | as many bytes as were sealed
 *
 * The mark begins with a zero byte, as no packed message does.
 */
#include "engine/store_seal.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK_LEN  4
#define NONCE_LEN 12
#define TAG_LEN	  16
#define HEAD_LEN  (MARK_LEN + NONCE_LEN + TAG_LEN)
#define BLOB_MAX  (64u << 20)

static const uint8_t mark[MARK_LEN] = { 0, 'S', 'B', 1 };

struct seal {
	uint8_t key[SEAL_KEY_LEN];
	EVP_CIPHER *cipher;
};

/* ---- the key ---- */

static int make_key(const char *dir, struct error *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint8_t key[SEAL_KEY_LEN];
	int r;

	if (fd < 0)
		return err_sys(err, errno, "open '%s'", dir);
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return err_sys(err, errno, "make the node's key");
	r = fd_replace_file(fd, SEAL_KEY_FILE, key, sizeof(key), 0600, err);
	explicit_bzero(key, sizeof(key));
	return r;
}

/* 1 read, 0 there is none, -1. */
static int read_key(const char *path, uint8_t *key, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open '%s'", path);
	if (st.st_size != SEAL_KEY_LEN ||
	    fd_read_full(fd, key, SEAL_KEY_LEN) < 0)
		return err_set(err, ERR_DATA_LOSS, "'%s' is not a node's key",
			       path);
	if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
		return err_sys(err, errno, "close '%s' to others", path);
	return 1;
}

int seal_open(const char *path, bool make, struct seal **ret, struct error *err)
{
	_cleanup_free_ char *dir = xstrdup(path);
	_cleanup_free_ char *file = NULL;
	struct seal *seal = xcalloc(1, sizeof(*seal));
	char *slash = strrchr(dir, '/');
	int r;

	if (slash)
		slash[slash == dir] = '\0';
	file = xasprintf("%s/" SEAL_KEY_FILE, slash ? dir : ".");
	r = read_key(file, seal->key, err);
	if (r == 0 && !make)
		r = err_set(err, ERR_DATA_LOSS,
			    "'%s' is missing: the state database cannot be "
			    "read without it",
			    file);
	else if (r == 0 && make_key(slash ? dir : ".", err) == 0)
		r = read_key(file, seal->key, err);
	else if (r == 0)
		r = -1;
	seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (r > 0 && seal->cipher) {
		*ret = seal;
		return 0;
	}
	seal_close(seal);
	return r < 0 ? -1 :
		       err_set(err, ERR_INTERNAL, "there is no AES-256-GCM");
}

struct seal *seal_close(struct seal *seal)
{
	if (!seal)
		return NULL;
	EVP_CIPHER_free(seal->cipher);
	explicit_bzero(seal->key, sizeof(seal->key));
	free(seal);
	return NULL;
}

/* ---- sealing ---- */

static int put(const struct seal *seal, const uint8_t *data, int len,
	       uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *nonce = out + MARK_LEN, *tag = nonce + NONCE_LEN;
	int n = 0, rest = 0, ok;

	memcpy(out, mark, MARK_LEN);
	ok = ctx && getrandom(nonce, NONCE_LEN, 0) == NONCE_LEN &&
	     EVP_EncryptInit_ex2(ctx, seal->cipher, seal->key, nonce, NULL) &&
	     EVP_EncryptUpdate(ctx, out + HEAD_LEN, &n, data, len) &&
	     EVP_EncryptFinal_ex(ctx, out + HEAD_LEN + n, &rest) &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag);
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : -1;
}

static void sql_seal(sqlite3_context *sql, int n, sqlite3_value **values)
{
	const struct seal *seal = sqlite3_user_data(sql);
	const uint8_t *data = sqlite3_value_blob(values[0]);
	int len = sqlite3_value_bytes(values[0]);
	uint8_t *out;

	(void)n;
	if (len < 0 || (unsigned int)len > BLOB_MAX) {
		sqlite3_result_error_toobig(sql);
		return;
	}
	out = sqlite3_malloc64((sqlite3_uint64)len + HEAD_LEN);
	if (!out) {
		sqlite3_result_error_nomem(sql);
		return;
	}
	if (put(seal, data ? data : (const uint8_t *)"", len, out) == 0) {
		sqlite3_result_blob64(sql, out, (sqlite3_uint64)len + HEAD_LEN,
				      sqlite3_free);
		return;
	}
	sqlite3_free(out);
	sqlite3_result_error(sql, "sealing failed", -1);
}

int seal_register(struct seal *seal, sqlite3 *db)
{
	return sqlite3_create_function_v2(db, "seal", 1,
					  SQLITE_UTF8 | SQLITE_DIRECTONLY, seal,
					  sql_seal, NULL, NULL, NULL);
}

uint8_t *seal_take(const struct seal *seal, const void *data, size_t len,
		   size_t *ret_len)
{
	const uint8_t *in = data;
	EVP_CIPHER_CTX *ctx;
	uint8_t *out, *tag;
	int n = 0, rest = 0, ok;

	if (len < HEAD_LEN || len > BLOB_MAX + HEAD_LEN ||
	    memcmp(in, mark, MARK_LEN) != 0)
		return NULL;
	out = xcalloc(1, len - HEAD_LEN + 1);
	tag = xmemdup(in + MARK_LEN + NONCE_LEN, TAG_LEN);
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx &&
	     EVP_DecryptInit_ex2(ctx, seal->cipher, seal->key, in + MARK_LEN,
				 NULL) &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) &&
	     EVP_DecryptUpdate(ctx, out, &n, in + HEAD_LEN,
			       (int)(len - HEAD_LEN)) &&
	     EVP_DecryptFinal_ex(ctx, out + n, &rest) > 0;
	EVP_CIPHER_CTX_free(ctx);
	free(tag);
	if (!ok) {
		free(out);
		return NULL;
	}
	*ret_len = len - HEAD_LEN;
	return out;
}
