/* SPDX-License-Identifier: Apache-2.0 */
/* image_tar.h - archives in memory, for the image tests */
#ifndef TESTS_IMAGE_TAR_H
#define TESTS_IMAGE_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct archive;

struct tar {
	struct archive *archive;
	char *data;
	size_t len, room;
};

/* @filter: 'n'one, 'g'zip, 'z'std, 'x'z. */
void tar_begin(struct tar *tar, char filter);
/* Any kind by @mode; @link: a symbolic link's target or, with S_IFREG and a
 * leading '=', a hard link's.
 */
void tar_put(struct tar *tar, const char *path, mode_t mode, const char *link,
	     const void *data, size_t len);
/* A file with its text. */
void tar_file(struct tar *tar, const char *path, const char *text);
/* A file of @size with only @text at @at. */
void tar_sparse(struct tar *tar, const char *path, uint64_t size, uint64_t at,
		const char *text);
/* With one extended attribute. */
void tar_xattr(struct tar *tar, const char *path, const char *name,
	       const void *value, size_t len);
void tar_end(struct tar *tar);
void tar_free(struct tar *tar);

/* The archive as a file without a name, at its start. */
int tar_fd(const struct tar *tar);

/* Hex SHA-256 of the archive. */
void tar_digest(const struct tar *tar, char ret[65]);

#endif /* TESTS_IMAGE_TAR_H */
