/* SPDX-License-Identifier: Apache-2.0 */
/* copy_name.h - names and paths of a copy
 *
 * Names in a listing come from the guest, and a guest lies. Only what
 * copy_name_ok() passes may reach a system call on the host.
 */
#ifndef CTL_COPY_NAME_H
#define CTL_COPY_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Longest path that a node takes. */
#define COPY_PATH_MAX 4095

/* One component, as a directory may hold it: not empty, ".", "..", no '/', no
 * NUL, at most 255 bytes.
 */
bool copy_name_ok(const void *name, size_t len);

/* "ID:PATH": cuts it, sets *@ret_path (empty: ".") and returns the ID, the
 * caller's to free. NULL: a path on this machine ("./a:b" is one).
 */
char *copy_split(const char *arg, const char **ret_path);

/* "DIR/NAME" with one slash between; the caller's to free. */
char *copy_join(const char *dir, const char *name);

/* The last component, without slashes behind it, the caller's to free; NULL if
 * the path means a directory's contents ("/", ".", "a/..", "a/.", "").
 */
char *copy_base(const char *path);
/* What stands before copy_base(): "." or "/" at least; the caller's to free. */
char *copy_dir(const char *path);

/* It ends in a slash: a directory is meant. */
bool copy_is_dir_path(const char *path);

#endif /* CTL_COPY_NAME_H */
