/* SPDX-License-Identifier: Apache-2.0 */
/* image_tar.c - archives in memory, for the image tests */
#include "image_tar.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static la_ssize_t on_write(struct archive *a, void *arg, const void *data,
			   size_t len)
{
	struct tar *tar = arg;

	(void)a;
	if (tar->len + len > tar->room) {
		tar->room = (tar->len + len) * 2;
		tar->data = xrealloc(tar->data, tar->room, 1);
	}
	memcpy(tar->data + tar->len, data, len);
	tar->len += len;
	return (la_ssize_t)len;
}

void tar_begin(struct tar *tar, char filter)
{
	memset(tar, 0, sizeof(*tar));
	tar->archive = archive_write_new();
	archive_write_set_format_pax(tar->archive);
	if (filter == 'g')
		archive_write_add_filter_gzip(tar->archive);
	else if (filter == 'z')
		archive_write_add_filter_zstd(tar->archive);
	else if (filter == 'x')
		archive_write_add_filter_xz(tar->archive);
	archive_write_set_options(tar->archive, "hdrcharset=BINARY");
	archive_write_set_bytes_in_last_block(tar->archive, 1);
	assert(archive_write_open(tar->archive, tar, NULL, on_write, NULL) ==
	       ARCHIVE_OK);
}

static struct archive_entry *entry_new(const char *path, mode_t mode)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_mode(e, mode);
	archive_entry_set_mtime(e, 1700000000, 0);
	return e;
}

static void put_entry(struct tar *tar, struct archive_entry *e)
{
	assert(archive_write_header(tar->archive, e) >= ARCHIVE_WARN);
	archive_entry_free(e);
}

void tar_put(struct tar *tar, const char *path, mode_t mode, const char *link,
	     const void *data, size_t len)
{
	struct archive_entry *e = entry_new(path, mode);

	archive_entry_set_size(e, (la_int64_t)len);
	if (link && link[0] == '=')
		archive_entry_set_hardlink(e, link + 1);
	else if (link)
		archive_entry_set_symlink(e, link);
	if (S_ISCHR(mode))
		archive_entry_set_rdev(e, 0);
	put_entry(tar, e);
	if (len)
		assert(archive_write_data(tar->archive, data, len) ==
		       (la_ssize_t)len);
}

void tar_file(struct tar *tar, const char *path, const char *text)
{
	tar_put(tar, path, S_IFREG | 0644, NULL, text, strlen(text));
}

void tar_sparse(struct tar *tar, const char *path, uint64_t size, uint64_t at,
		const char *text)
{
	struct archive_entry *e = entry_new(path, S_IFREG | 0644);
	_Alignas(8) static const char zeros[65536];
	uint64_t done = 0;

	archive_entry_set_size(e, (la_int64_t)size);
	archive_entry_sparse_add_entry(e, (la_int64_t)at,
				       (la_int64_t)strlen(text));
	put_entry(tar, e);
	/* The writer wants all of it and leaves the holes out. */
	while (done < size) {
		uint64_t n = done < at ? at - done : size - done;

		if (done == at) {
			archive_write_data(tar->archive, text, strlen(text));
			done += strlen(text);
			continue;
		}
		if (n > sizeof(zeros))
			n = sizeof(zeros);
		archive_write_data(tar->archive, zeros, n);
		done += n;
	}
}

void tar_xattr(struct tar *tar, const char *path, const char *name,
	       const void *value, size_t len)
{
	struct archive_entry *e = entry_new(path, S_IFREG | 0755);

	archive_entry_set_size(e, 0);
	archive_entry_xattr_add_entry(e, name, value, len);
	put_entry(tar, e);
}

void tar_end(struct tar *tar)
{
	assert(archive_write_close(tar->archive) == ARCHIVE_OK);
	archive_write_free(tar->archive);
	tar->archive = NULL;
}

void tar_free(struct tar *tar)
{
	free(tar->data);
}

int tar_fd(const struct tar *tar)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert(fd >= 0 && fd_write_full(fd, tar->data, tar->len) == 0);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

void tar_digest(const struct tar *tar, char ret[65])
{
	uint8_t md[SHA256_DIGEST_LENGTH];

	SHA256((const uint8_t *)tar->data, tar->len, md);
	str_hex(ret, md, sizeof(md));
}
