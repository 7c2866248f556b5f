/* SPDX-License-Identifier: Apache-2.0 */
/* fd.h - whole reads and writes, and files that are replaced durably */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/* All @len bytes, through EINTR and short counts. 0 or -errno; a read that ends
 * early is -ENODATA.
 */
int fd_read_full(int fd, void *buf, size_t len);
int fd_write_full(int fd, const void *buf, size_t len);
int fd_pread_full(int fd, void *buf, size_t len, off_t at);
int fd_pwrite_full(int fd, const void *buf, size_t len, off_t at);

/* A whole file of at most @max bytes, with a NUL behind it (not counted). The
 * buffer is the caller's to free. 0 or -errno (-EFBIG over @max).
 */
int fd_read_file(int dir_fd, const char *name, size_t max, char **ret,
		 size_t *ret_len);

/**
 * fd_replace_file() - Put a file in place whole, or not at all
 *
 * Writes a temporary file beside it, fsyncs, renames, fsyncs the directory:
 * when it returns 0 the content survives a power cut.
 */
int fd_replace_file(int dir_fd, const char *name, const void *data, size_t len,
		    mode_t mode, struct error *err);

/* Delete @name and all below it; what is not there is fine. Follows no links,
 * leaves no mount point's file system.
 */
int fd_remove_tree(int dir_fd, const char *name, struct error *err);

int fd_set_nonblock(int fd);
int fd_set_cloexec(int fd, int on);

/* fsync a directory given by path. 0 or -errno. */
int fd_sync_dir(const char *path);

#endif /* BASE_FD_H */
