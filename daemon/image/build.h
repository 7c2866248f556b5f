/* SPDX-License-Identifier: Apache-2.0 */
/* build.h - an archive to a file system, in two passes
 *
 * The first puts the tree together and finds every fault of the archive before
 * a block is written; the second writes the files' data.
 */
#ifndef IMAGE_BUILD_H
#define IMAGE_BUILD_H

#include "image/source.h"

struct ext4;
struct tree;

/* What the archive comes to: a new tree in @ret. */
int build_tree(struct source *source, struct tree **ret, struct error *err);

/* Write @tree and the data of its files into an empty file system. */
int build_file_system(struct source *source, struct tree *tree,
		      struct ext4 *ext4, struct error *err);

#endif /* IMAGE_BUILD_H */
