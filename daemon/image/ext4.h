/* SPDX-License-Identifier: Apache-2.0 */
/* ext4.h - a tree as an ext4 file system, written straight into its file */
#ifndef IMAGE_EXT4_H
#define IMAGE_EXT4_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct ext4;
struct tree;
struct tree_node;

#define EXT4_BLOCK 4096u

/* Bytes that a file system for @tree should have: what is in it, a fifth and
 * 64 MiB more. Guests see a larger disk and grow it. In @ret_inodes how many
 * inodes it should have.
 */
uint64_t ext4_size_for(struct tree *tree, uint64_t *ret_inodes);

/* @fd holds an empty file system as format.c makes it. Borrowed. */
int ext4_open(int fd, struct ext4 **ret, struct error *err);
struct ext4 *ext4_free(struct ext4 *ext4);

/* Everything but the files' data. Once. */
int ext4_write_tree(struct ext4 *ext4, struct tree *tree, struct error *err);

/* Then the data of each file, in any order of files: begin, pieces at
 * increasing offsets, end.
 */
int ext4_begin_file(struct ext4 *ext4, const struct tree_node *node,
		    struct error *err);
int ext4_write_file(struct ext4 *ext4, uint64_t at, const void *data,
		    size_t len, struct error *err);
int ext4_end_file(struct ext4 *ext4, struct error *err);

/* All is in the file; it remains to fsync it. */
int ext4_finish(struct ext4 *ext4, struct error *err);

#endif /* IMAGE_EXT4_H */
