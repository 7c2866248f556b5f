/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - a snapshot's directory: its parts, and when it counts
 *
 * Theory of operation
 * ===================
 *
 * Each part is written, measured and fsynced; the manifest that names them
 * all comes last, by rename, and then the directory and its parent are
 * fsynced. That rename is the commit: before it the directory is rubbish that
 * anyone may remove, after it everything it says is on disk.
 *
 * Checking all of a large disk layer before each resume would take longer than
 * the resume. A part's time of last writing is in the manifest: a part that is
 * large and whose time and size are as they were is taken as it is; anything
 * else is read and must match. snapshot_verify() reads all.
 *
 * The checksum of template.ram, and of it alone, is over its non-zero blocks of
 * 1 MiB, each with its number in front (u64, little endian): it is mostly
 * holes.
 */
#include "engine/snapshot/snapshot.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/snapshot/mem_file.h"

#include <endian.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <zstd.h>

#define BLOCK_SIZE  (1u << 20)
#define SMALL_MAX   (64u << 20) /* hashed at every resume */
#define NOTE_NAME   "trusted.sandboxd.sha256"
#define STATE_LEVEL 1

static int64_t mtime_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Bytes at @at, less at the end of the file. */
static ssize_t read_block(int fd, uint8_t *buf, uint64_t at)
{
	size_t len = 0;

	while (len < BLOCK_SIZE) {
		ssize_t n = pread(fd, buf + len, BLOCK_SIZE - len,
				  (off_t)(at + len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int hash_dense(int fd, EVP_MD_CTX *ctx, uint8_t *buf)
{
	ssize_t n;

	for (uint64_t at = 0; (n = read_block(fd, buf, at)) > 0;
	     at += (uint64_t)n)
		EVP_DigestUpdate(ctx, buf, (size_t)n);
	return (int)n;
}

static int hash_sparse(int fd, EVP_MD_CTX *ctx, uint8_t *buf)
{
	off_t at = 0;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		uint64_t block = (uint64_t)at / BLOCK_SIZE;
		uint64_t number = htole64(block);
		ssize_t n;

		memset(buf, 0, BLOCK_SIZE);
		n = read_block(fd, buf, block * BLOCK_SIZE);
		if (n < 0)
			return (int)n;
		if (!mem_is_zero(buf, BLOCK_SIZE)) {
			EVP_DigestUpdate(ctx, &number, sizeof(number));
			EVP_DigestUpdate(ctx, buf, BLOCK_SIZE);
		}
		at = (off_t)((block + 1) * BLOCK_SIZE);
	}
	return errno == ENXIO ? 0 : -errno;
}

static int hash_file(int fd, bool sparse, char ret[SNAPSHOT_SHA_SIZE])
{
	_cleanup_free_ uint8_t *buf = xcalloc(1, BLOCK_SIZE);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sha[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	int r = -ENOMEM;

	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
		r = sparse ? hash_sparse(fd, ctx, buf)
			   : hash_dense(fd, ctx, buf);
		if (r == 0 && EVP_DigestFinal_ex(ctx, sha, &len) != 1)
			r = -EIO;
	}
	EVP_MD_CTX_free(ctx);
	if (r == 0)
		str_hex(ret, sha, len);
	return r;
}

/* A sealed layer is in one snapshot after another: its checksum is noted at the
 * inode, by root for root, and counts while size and time are the same.
 */
static void format_note(const struct snapshot_part *p, char *buf, size_t size)
{
	snprintf(buf, size, "%s %llu %lld", p->sha256,
		 (unsigned long long)p->size, (long long)p->mtime_ns);
}

static bool read_note(int fd, struct snapshot_part *p)
{
	char have[160] = "", want[160];

	if (fgetxattr(fd, NOTE_NAME, have, sizeof(have) - 1) <
	    SNAPSHOT_SHA_SIZE)
		return false;
	memcpy(p->sha256, have, SNAPSHOT_SHA_SIZE - 1);
	p->sha256[SNAPSHOT_SHA_SIZE - 1] = '\0';
	format_note(p, want, sizeof(want));
	return strcmp(have, want) == 0;
}

int snapshot_add_part(int dir_fd, const char *name, struct snapshot_manifest *m,
		      struct error *err)
{
	_cleanup_close_ int fd = openat(
		dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct snapshot_part *p;
	char note[160];
	struct stat st;
	bool noted;
	int r;

	if (m->n_parts == SNAPSHOT_PARTS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d parts",
			       SNAPSHOT_PARTS_MAX);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open '%s'", name);
	p = &m->parts[m->n_parts];
	*p = (struct snapshot_part){ .size = (uint64_t)st.st_size,
				     .mtime_ns = mtime_of(&st) };
	snprintf(p->name, sizeof(p->name), "%s", name);
	noted = read_note(fd, p);
	if (!noted) {
		/* While what was written goes to the disk. */
		r = hash_file(fd, strcmp(name, TEMPLATE_RAM) == 0, p->sha256);
		if (r < 0)
			return err_sys(err, -r, "read '%s'", name);
	}
	if (fsync(fd) < 0)
		return err_sys(err, errno, "sync '%s'", name);
	if (!noted) {
		format_note(p, note, sizeof(note));
		/* Where it cannot be noted it is read again. */
		fsetxattr(fd, NOTE_NAME, note, strlen(note), 0);
	}
	m->n_parts++;
	return 0;
}

int snapshot_check_part(int dir_fd, const struct snapshot_part *part,
			enum snapshot_depth depth, struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, part->name,
		       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char sha[SNAPSHOT_SHA_SIZE];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_DATA_LOSS, "part '%s' is missing",
			       part->name);
	if ((uint64_t)st.st_size != part->size)
		return err_set(err, ERR_DATA_LOSS,
			       "part '%s' has %lld bytes, not %llu", part->name,
			       (long long)st.st_size,
			       (unsigned long long)part->size);
	if (mtime_of(&st) == part->mtime_ns &&
	    (depth == SNAPSHOT_SIZES ||
	     (depth == SNAPSHOT_SMALL && part->size > SMALL_MAX)))
		return 0;
	r = hash_file(fd, strcmp(part->name, TEMPLATE_RAM) == 0, sha);
	if (r < 0)
		return err_sys(err, -r, "read '%s'", part->name);
	if (strcmp(sha, part->sha256) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "part '%s' does not match its checksum",
			       part->name);
	return 0;
}

int snapshot_commit(const char *dir, int dir_fd,
		    const struct snapshot_manifest *m, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *parent = xasprintf("%s/..", dir);
	size_t len;
	int r;

	/* The parts' names first, so that no manifest names what is not there. */
	if (fsync(dir_fd) < 0)
		return err_sys(err, errno, "sync '%s'", dir);
	r = fd_sync_dir(parent);
	if (r < 0)
		return err_sys(err, -r, "sync '%s'", parent);
	text = snapshot_manifest_format(m, &len);
	return fd_replace_file(dir_fd, SNAPSHOT_MANIFEST_NAME, text, len, 0600,
			       err);
}

int snapshot_read(int dir_fd, enum snapshot_kind kind,
		  struct snapshot_manifest *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = fd_read_file(dir_fd, SNAPSHOT_MANIFEST_NAME,
			     SNAPSHOT_MANIFEST_MAX, &text, &len);

	if (r == -ENOENT) {
		err_set(err, ERR_NOT_FOUND, "there is no manifest");
		return err_reason(err, "SNAPSHOT_NOT_FOUND", NULL);
	}
	if (r == -EFBIG)
		return err_set(err, ERR_DATA_LOSS, "manifest is too large");
	if (r < 0)
		return err_sys(err, -r, "read the manifest");
	if (snapshot_manifest_parse(text, len, ret, err) < 0)
		return -1;
	if (ret->kind != kind)
		return err_set(err, ERR_DATA_LOSS,
			       "manifest is of another kind");
	return 0;
}

static int verify_memory(int dir_fd, const struct snapshot_manifest *m,
			 unsigned int threads, struct error *err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, SNAPSHOT_MEM, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct mem_index index;
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "open '%s'", SNAPSHOT_MEM);
	if (mem_file_open(fd, m->index_sha, &index, err) < 0)
		return -1;
	rc = mem_file_load(fd, &index, NULL, threads, err);
	mem_index_free(&index);
	return rc;
}

int snapshot_verify(const char *dir, unsigned int threads, struct error *err)
{
	_cleanup_close_ int dir_fd =
		open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct snapshot_manifest *m = xcalloc(1, sizeof(*m));
	int rc = 0;

	if (dir_fd < 0)
		return err_sys(err, errno, "open '%s'", dir);
	if (snapshot_read(dir_fd, SNAPSHOT_GUEST, m, err) < 0)
		return err_wrap(err, "snapshot '%s'", dir);
	for (size_t i = 0; i < m->n_parts && rc == 0; i++)
		rc = snapshot_check_part(dir_fd, &m->parts[i], SNAPSHOT_ALL,
					 err);
	/* What libvirt saved has its checksum and no more. */
	if (rc == 0 && !snapshot_manifest_part(m, SNAPSHOT_SAVE))
		rc = verify_memory(dir_fd, m, threads, err);
	return rc < 0 ? err_wrap(err, "snapshot '%s'", dir) : 0;
}

int snapshot_memfd(const char *name, struct error *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "make a file in memory") : fd;
}

int snapshot_write_state(int dir_fd, int from, struct error *err)
{
	_cleanup_close_ int to = -EBADF;
	_cleanup_free_ uint8_t *raw = NULL;
	_cleanup_free_ uint8_t *packed = NULL;
	struct stat st;
	size_t room, n;
	ZSTD_CCtx *ctx;
	int r;

	if (fstat(from, &st) < 0)
		return err_sys(err, errno, "look at device state");
	if (st.st_size <= 0 || st.st_size > SNAPSHOT_STATE_MAX)
		return err_set(err, ERR_LIMIT, "device state of %lld bytes",
			       (long long)st.st_size);
	raw = xcalloc(1, (size_t)st.st_size);
	r = fd_pread_full(from, raw, (size_t)st.st_size, 0);
	if (r < 0)
		return err_sys(err, -r, "read device state");
	room = ZSTD_compressBound((size_t)st.st_size);
	packed = xcalloc(1, room);
	ctx = ZSTD_createCCtx();
	if (!ctx)
		return err_set(err, ERR_LIMIT, "no memory to compress in");
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, STATE_LEVEL);
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
	n = ZSTD_compress2(ctx, packed, room, raw, (size_t)st.st_size);
	ZSTD_freeCCtx(ctx);
	if (ZSTD_isError(n))
		return err_set(err, ERR_INTERNAL, "compress device state: %s",
			       ZSTD_getErrorName(n));
	to = openat(dir_fd, SNAPSHOT_STATE,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, errno, "create '%s'", SNAPSHOT_STATE);
	r = fd_write_full(to, packed, n);
	return r < 0 ? err_sys(err, -r, "write '%s'", SNAPSHOT_STATE) : 0;
}

int snapshot_read_state(int dir_fd, struct error *err)
{
	_cleanup_free_ char *packed = NULL;
	_cleanup_free_ uint8_t *raw = NULL;
	_cleanup_close_ int fd = -EBADF;
	unsigned long long size;
	size_t len, n;
	int r = fd_read_file(dir_fd, SNAPSHOT_STATE, SNAPSHOT_STATE_MAX,
			     &packed, &len);

	if (r < 0)
		return err_sys(err, -r, "read '%s'", SNAPSHOT_STATE);
	size = ZSTD_getFrameContentSize(packed, len);
	if (size == 0 || size > SNAPSHOT_STATE_MAX) /* errors are huge */
		return err_set(err, ERR_DATA_LOSS, "'%s' is altered",
			       SNAPSHOT_STATE);
	raw = xcalloc(1, (size_t)size);
	n = ZSTD_decompress(raw, (size_t)size, packed, len);
	if (ZSTD_isError(n) || n != size)
		return err_set(err, ERR_DATA_LOSS, "'%s' is altered",
			       SNAPSHOT_STATE);
	fd = snapshot_memfd("sandbox-state", err);
	if (fd < 0)
		return -1;
	r = fd_write_full(fd, raw, n);
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, r < 0 ? -r : errno, "keep device state");
	return TAKE_FD(fd);
}
