/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - a file tree in memory, put together from an archive's layers
 *
 * Everything but the files' data: names, links, owners, modes, attributes. It
 * is never a file system of the host, so no entry can reach outside of it.
 */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct tree;

#define TREE_ENTRIES_MAX 2000000u     /* of all layers, replaced ones too */
#define TREE_BYTES_MAX	 (1ull << 30) /* of memory */
#define TREE_NAME_MAX	 255u	      /* ext4's */
#define TREE_PATH_MAX	 4096u	      /* Linux's */
#define TREE_LINKS_MAX	 65000u	      /* ext4's, of one file */
#define TREE_DEPTH_MAX	 2048u	      /* directories below each other */
#define TREE_HOPS_MAX	 40	      /* symbolic links in a path */
#define TREE_XATTRS_MAX	 16u	      /* of one file */
#define TREE_XATTR_BYTES 2048u	      /* of one file: they fit into a block */
#define TREE_FILE_MAX	 (1ull << 40) /* length of one file, holes included */

struct tree_xattr {
	struct tree_xattr *next;
	char *name;
	size_t len;
	uint8_t value[];
};

/**
 * struct tree_node - A file, directory, symbolic link or FIFO
 * @nlink:	Names it has (a directory: 1)
 * @size:	Length of a file
 * @data:	Bytes of it that are not holes
 * @slot:	Its number in tree_file(), if a file
 * @parent:	Of a directory; the root's is itself
 * @children:	Of a directory: tree_name.link
 * @target:	Of a symbolic link
 * @ino:	For whoever writes the tree
 */
struct tree_node {
	uint32_t mode, uid, gid;
	int64_t mtime;
	uint32_t nlink;
	uint64_t size, data;
	size_t slot;
	struct tree_node *parent;
	struct list children;
	uint32_t n_children, depth;
	char *target;
	struct tree_xattr *xattrs;
	uint32_t ino;
};

struct tree_name {
	struct list link;
	struct tree_name *hash_next;
	struct tree_node *dir, *node;
	uint32_t layer;
	uint8_t len;
	char name[]; /* with a NUL */
};

/**
 * struct tree_entry - One entry of an archive
 * @path:	As it stands there: leading "/" and "./" are passed over, ".."
 *		is refused
 * @hardlink:	NULL, or the path of the file that this is another name of
 * @target:	Of a symbolic link
 */
struct tree_entry {
	const char *path;
	uint32_t mode, uid, gid;
	int64_t mtime;
	uint64_t size;
	const char *hardlink;
	const char *target;
};

struct tree *tree_new(void);
struct tree *tree_free(struct tree *tree);

/* What follows lies over what is there. @whiteouts: ".wh." names delete. */
void tree_begin_layer(struct tree *tree, bool whiteouts);

/**
 * tree_add() - Add or replace what @entry says
 * @ret:	The node; NULL: a whiteout, a device node or another name of a
 *		file: nothing more is to be said about it
 *
 * Directories above are made where they miss; symbolic links above are
 * followed within the tree. Each regular file that is no hard link takes the
 * next slot, even when it replaces another.
 */
int tree_add(struct tree *tree, const struct tree_entry *entry,
	     struct tree_node **ret, struct error *err);

/* 0; -1 with ERR_LIMIT. Attributes that guests need not have are dropped. */
int tree_set_xattr(struct tree *tree, struct tree_node *node, const char *name,
		   const void *value, size_t len, struct error *err);

struct tree_node *tree_root(struct tree *tree);
/* The file in a slot; NULL: it was replaced or deleted by what came later. */
struct tree_node *tree_file(struct tree *tree, size_t slot);
size_t tree_files(const struct tree *tree);
/* By path, links followed except the last; NULL: not there. */
struct tree_node *tree_find(struct tree *tree, const char *path);

uint64_t tree_nodes(const struct tree *tree);
uint64_t tree_dropped(const struct tree *tree);

#endif /* IMAGE_TREE_H */
