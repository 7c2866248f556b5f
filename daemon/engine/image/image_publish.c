/* SPDX-License-Identifier: Apache-2.0 */
/* image_publish.c - from a disk that was made to an image that can be used */
#include "engine/image/image_publish.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image/image_manifest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1u << 20)

static int hash_range(struct image_publish *p, EVP_MD_CTX *hash, uint8_t *buf,
		      off_t from, off_t to, bool hole, struct error *err)
{
	if (hole)
		memset(buf, 0, PIECE);
	while (from < to) {
		size_t n = to - from < PIECE ? (size_t)(to - from) : PIECE;
		int r = hole ? 0 : fd_pread_full(p->disk, buf, n, from);

		if (r < 0)
			return err_sys(err, -r, "read the disk");
		if (atomic_load(p->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		EVP_DigestUpdate(hash, buf, n);
		from += (off_t)n;
		atomic_store(p->done_bytes, (uint64_t)from);
	}
	return 0;
}

/* Of the whole disk, holes as the zeros they read as. */
static int hash_disk(struct image_publish *p, off_t size, EVP_MD_CTX *hash,
		     struct error *err)
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	off_t at = 0;

	EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
	while (at < size) {
		off_t data = lseek(p->disk, at, SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			return err_sys(err, errno, "read the disk");
		if (data < 0)
			data = size;
		if (hash_range(p, hash, buf, at, data, true, err) < 0)
			return -1;
		if (data == size)
			return 0;
		hole = lseek(p->disk, data, SEEK_HOLE);
		if (hole < 0)
			return err_sys(err, errno, "read the disk");
		if (hash_range(p, hash, buf, data, hole, false, err) < 0)
			return -1;
		at = hole;
	}
	return 0;
}

static int digest_disk(struct image_publish *p, off_t size, struct error *err)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	int rc = hash_disk(p, size, hash, err);

	if (rc == 0) {
		EVP_DigestFinal_ex(hash, md, &len);
		memcpy(p->image->digest, "sha256:", 7);
		str_hex(p->image->digest + 7, md, len);
	}
	EVP_MD_CTX_free(hash);
	return rc;
}

/* Ours, read only, and durable. */
static int seal_disk(struct image_publish *p, struct error *err)
{
	if ((p->take_back && fchown(p->disk, 0, 0) < 0) ||
	    fchmod(p->disk, 0444) < 0)
		return err_sys(err, errno, "take the disk back");
	return fsync(p->disk) < 0 ? err_sys(err, errno, "sync the disk") : 0;
}

static int write_manifest(int dir_fd, const struct image *image,
			  struct error *err)
{
	_cleanup_free_ char *text = image_manifest_format(image);

	return fd_replace_file(dir_fd, "manifest.json", text, strlen(text),
			       0644, err);
}

/* Rename to its place. The same image under the same name is there already:
 * only what the manifest says is new.
 */
static int put_in_place(struct image_publish *p, struct error *err)
{
	_cleanup_close_ int there = -EBADF;

	image_dir_name(p->image, p->final);
	there = openat(p->parent_fd, p->final,
		       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (there >= 0) {
		if (write_manifest(there, p->image, err) < 0)
			return -1;
		return fd_remove_tree(p->parent_fd, p->dir, err);
	}
	if (unlinkat(p->dir_fd, "archive", 0) < 0)
		return err_sys(err, errno, "remove the archive");
	if (write_manifest(p->dir_fd, p->image, err) < 0)
		return -1;
	if (fchmod(p->dir_fd, 0711) < 0 || fsync(p->dir_fd) < 0 ||
	    renameat(p->parent_fd, p->dir, p->parent_fd, p->final) < 0 ||
	    fsync(p->parent_fd) < 0)
		return err_sys(err, errno, "publish the image");
	return 0;
}

int image_publish(struct image_publish *p, struct error *err)
{
	struct stat st;

	if (seal_disk(p, err) < 0)
		return -1;
	if (fstat(p->disk, &st) < 0)
		return err_sys(err, errno, "look at the disk");
	p->image->size_bytes = (uint64_t)st.st_size;
	p->image->stored_bytes = (uint64_t)st.st_blocks * 512;
	atomic_store(p->total_bytes, p->image->size_bytes);
	if (digest_disk(p, st.st_size, err) < 0)
		return -1;
	return put_in_place(p, err);
}
