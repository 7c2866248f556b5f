/* SPDX-License-Identifier: Apache-2.0 */
/* ext4.c - a tree as an ext4 file system, written straight into its file
 *
 * Theory of operation
 * ===================
 *
 * The tree is complete before the first block is written, so nothing is ever
 * changed or deleted: inodes are numbered in the order they are written, a
 * directory is written once, whole, and a file's blocks are allocated at once
 * when its length is known to hold no holes. libext2fs keeps the bitmaps,
 * extents and checksums.
 *
 * Inode and block numbers come from libext2fs alone; a file's data goes out in
 * runs of up to CHUNK, through io_channel so that its cache knows.
 */
#include "image/ext4.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/mem.h"
#include "image/format.h"
#include "image/tree.h"

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK	    (1u << 20)
#define CHUNK_COUNT (CHUNK / EXT4_BLOCK)
#define LOST_FOUND  11
#define JOURNAL	    (32ull << 20)

struct ext4 {
	ext2_filsys fs;
	ext2_ino_t next;
	/* the file being written */
	const struct tree_node *node;
	struct ext2_inode inode;
	uint64_t end;	/* of its data so far */
	uint64_t chunk; /* which one is in @data */
	bool dense;	/* its blocks are allocated */
	uint8_t data[CHUNK];
	bool dirty[CHUNK_COUNT];
};

static int fail(struct error *err, errcode_t code, const char *what)
{
	enum err_code kind = code == EXT2_ET_BLOCK_ALLOC_FAIL ||
					     code == EXT2_ET_INODE_ALLOC_FAIL ||
					     code == ENOSPC
				     ? ERR_LIMIT
				     : ERR_INTERNAL;

	return err_set(err, kind, "write the file system: %s: %s", what,
		       error_message(code));
}

/* ---- how large ---- */

static size_t dirent_len(size_t name_len)
{
	return (8 + name_len + 3) & ~(size_t)3;
}

/* Room for entries in a directory block: its tail is a checksum. */
#define DIR_ROOM (EXT4_BLOCK - sizeof(struct ext2_dir_entry_tail))

static uint64_t dir_blocks(struct tree_node *dir)
{
	size_t used = dirent_len(1) + dirent_len(2);
	uint64_t n = 1;

	if (dir->parent == dir)
		used += dirent_len(strlen("lost+found"));
	list_for_each(&dir->children, it, struct tree_name, link)
	{
		size_t len = dirent_len(it->len);

		if (used + len > DIR_ROOM) {
			n++;
			used = 0;
		}
		used += len;
	}
	return n;
}

/* The next directory after @dir in a walk over all, NULL at the end. The walk
 * needs no stack: names know their directories.
 */
struct walk {
	struct tree_node **dirs;
	size_t n, room, at;
};

static void walk_push(struct walk *w, struct tree_node *dir)
{
	if (w->n == w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->dirs = xrealloc(w->dirs, w->room, sizeof(*w->dirs));
	}
	w->dirs[w->n++] = dir;
}

static struct tree_node *walk_next(struct walk *w)
{
	struct tree_node *dir;

	if (w->at == w->n)
		return NULL;
	dir = w->dirs[w->at++];
	list_for_each(&dir->children, it, struct tree_name,
		      link) if (S_ISDIR(it->node->mode)) walk_push(w, it->node);
	return dir;
}

static void walk_fini(struct walk *w)
{
	free(w->dirs);
}

static uint64_t blocks_of(const struct tree_node *node)
{
	uint64_t n = node->xattrs ? 1 : 0;

	if (S_ISLNK(node->mode) && strlen(node->target) >= 60)
		n++;
	/* Pieces of a file with holes may begin and end within blocks. */
	if (S_ISREG(node->mode))
		n += node->data / EXT4_BLOCK + 1 +
		     (node->data < node->size ? node->data / 512 : 0);
	return n + n / 300;
}

uint64_t ext4_size_for(struct tree *tree, uint64_t *ret_inodes)
{
	_cleanup_(walk_fini) struct walk w = { .n = 0 };
	uint64_t blocks = 0, inodes = tree_nodes(tree) + LOST_FOUND, bytes;
	struct tree_node *dir;

	walk_push(&w, tree_root(tree));
	while ((dir = walk_next(&w))) {
		blocks += dir_blocks(dir) + 1;
		list_for_each(&dir->children, it, struct tree_name, link)
			blocks += blocks_of(it->node);
	}
	bytes = blocks * EXT4_BLOCK;
	bytes += bytes / 5 + (64ull << 20) + JOURNAL;
	*ret_inodes = inodes + inodes / 4 + 1024;
	if (*ret_inodes < bytes / 16384)
		*ret_inodes = bytes / 16384;
	bytes += *ret_inodes * 256;
	return (bytes + (4ull << 20) - 1) & ~((4ull << 20) - 1);
}

/* ---- opening and closing ---- */

int ext4_open(int fd, struct ext4 **ret, struct error *err)
{
	struct ext4 *ext4 = xcalloc(1, sizeof(*ext4));
	errcode_t code;
	char name[16];

	add_error_table(&et_ext2_error_table);
	snprintf(name, sizeof(name), "%d", fd);
	code = ext2fs_open(name, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0,
			   unixfd_io_manager, &ext4->fs);
	if (!code)
		code = ext2fs_read_bitmaps(ext4->fs);
	if (!code && ext4->fs->blocksize != EXT4_BLOCK)
		code = EXT2_ET_BAD_MAGIC;
	if (code) {
		fail(err, code, "open it");
		ext4_free(ext4);
		return -1;
	}
	ext4->fs->now = FORMAT_TIME;
	ext4->next = LOST_FOUND + 1;
	*ret = ext4;
	return 0;
}

struct ext4 *ext4_free(struct ext4 *ext4)
{
	if (!ext4)
		return NULL;
	if (ext4->fs)
		ext2fs_free(ext4->fs);
	free(ext4);
	return NULL;
}

int ext4_finish(struct ext4 *ext4, struct error *err)
{
	errcode_t code = ext2fs_close_free(&ext4->fs);

	return code ? fail(err, code, "finish it") : 0;
}

/* ---- inodes ---- */

static void start_extents(struct ext2_inode *inode)
{
	struct ext3_extent_header eh = {
		.eh_magic = EXT3_EXT_MAGIC,
		.eh_max = (sizeof(inode->i_block) - sizeof(eh)) /
			  sizeof(struct ext3_extent),
	};

	memcpy(inode->i_block, &eh, sizeof(eh));
	inode->i_flags = EXT4_EXTENTS_FL;
}

static void fill_inode(struct ext2_inode *inode, const struct tree_node *node)
{
	int64_t t = node->mtime;
	uint32_t mtime = t < 0 ? 0 : t > INT32_MAX ? INT32_MAX : (uint32_t)t;

	*inode = (struct ext2_inode){
		.i_mode = (uint16_t)node->mode,
		.i_atime = mtime,
		.i_ctime = mtime,
		.i_mtime = mtime,
		.i_links_count = (uint16_t)node->nlink,
	};
	inode->i_uid = (uint16_t)node->uid;
	inode->i_gid = (uint16_t)node->gid;
	inode->osd2.linux2.l_i_uid_high = (uint16_t)(node->uid >> 16);
	inode->osd2.linux2.l_i_gid_high = (uint16_t)(node->gid >> 16);
	if (S_ISREG(node->mode) || S_ISDIR(node->mode))
		start_extents(inode);
}

static int allocate(struct ext4 *ext4, ext2_ino_t ino, struct ext2_inode *inode,
		    uint64_t first, uint64_t count, struct error *err)
{
	errcode_t code = ext2fs_fallocate(
		ext4->fs,
		EXT2_FALLOCATE_FORCE_INIT | EXT2_FALLOCATE_INIT_BEYOND_EOF, ino,
		inode, ~0ull, first, count);

	return code ? fail(err, code, "allocate blocks") : 0;
}

static int physical(struct ext4 *ext4, ext2_ino_t ino, struct ext2_inode *inode,
		    uint64_t logical, blk64_t *ret, struct error *err)
{
	int flags = 0;
	errcode_t code = ext2fs_bmap2(ext4->fs, ino, inode, NULL, 0, logical,
				      &flags, ret);

	if (!code && *ret == 0)
		code = EXT2_ET_BAD_BLOCK_NUM;
	return code ? fail(err, code, "find a block") : 0;
}

static int put_inode(struct ext4 *ext4, ext2_ino_t ino,
		     struct ext2_inode *inode, struct error *err)
{
	errcode_t code = ext2fs_write_inode(ext4->fs, ino, inode);

	return code ? fail(err, code, "write an inode") : 0;
}

static int put_new_inode(struct ext4 *ext4, ext2_ino_t ino,
			 struct ext2_inode *inode, struct error *err)
{
	errcode_t code = ext2fs_write_new_inode(ext4->fs, ino, inode);

	return code ? fail(err, code, "write an inode") : 0;
}

static int put_xattrs(struct ext4 *ext4, const struct tree_node *node,
		      struct error *err)
{
	struct ext2_xattr_handle *h;
	errcode_t code;

	if (!node->xattrs)
		return 0;
	code = ext2fs_xattrs_open(ext4->fs, node->ino, &h);
	if (code)
		return fail(err, code, "open attributes");
	code = ext2fs_xattrs_read(h);
	for (struct tree_xattr *x = node->xattrs; x && !code; x = x->next)
		code = ext2fs_xattr_set(h, x->name, x->value, x->len);
	if (!code)
		code = ext2fs_xattrs_close(&h);
	else
		ext2fs_xattrs_close(&h);
	return code ? fail(err, code, "write attributes") : 0;
}

/* ---- directories and links ---- */

static void put_dirent(uint8_t *block, size_t *used, size_t *last,
		       ext2_ino_t ino, const char *name, size_t len,
		       unsigned int type)
{
	struct ext2_dir_entry *d = (struct ext2_dir_entry *)(block + *used);

	d->inode = ino;
	d->rec_len = (uint16_t)dirent_len(len);
	ext2fs_dirent_set_name_len(d, (int)len);
	ext2fs_dirent_set_file_type(d, (int)type);
	memcpy(d->name, name, len);
	*last = *used;
	*used += dirent_len(len);
}

static int put_dir_block(struct ext4 *ext4, struct tree_node *dir,
			 struct ext2_inode *inode, uint64_t logical,
			 uint8_t *block, size_t last, struct error *err)
{
	struct ext2_dir_entry *d = (struct ext2_dir_entry *)(block + last);
	errcode_t code;
	blk64_t at;

	d->rec_len = (uint16_t)(DIR_ROOM - last);
	ext2fs_initialize_dirent_tail(
		ext4->fs, (struct ext2_dir_entry_tail *)(block + DIR_ROOM));
	if (physical(ext4, dir->ino, inode, logical, &at, err) < 0)
		return -1;
	code = ext2fs_write_dir_block4(ext4->fs, at, block, 0, dir->ino);
	memset(block, 0, EXT4_BLOCK);
	return code ? fail(err, code, "write a directory") : 0;
}

static unsigned int type_of(uint32_t mode)
{
	return S_ISDIR(mode)	? EXT2_FT_DIR
	       : S_ISLNK(mode)	? EXT2_FT_SYMLINK
	       : S_ISFIFO(mode) ? EXT2_FT_FIFO
				: EXT2_FT_REG_FILE;
}

static int put_entries(struct ext4 *ext4, struct tree_node *dir,
		       struct ext2_inode *inode, struct error *err)
{
	uint32_t aligned[EXT4_BLOCK / sizeof(uint32_t)] = { 0 };
	uint8_t *block = (uint8_t *)aligned;
	size_t used = 0, last = 0;
	uint64_t n = 0;

	put_dirent(block, &used, &last, dir->ino, ".", 1, EXT2_FT_DIR);
	put_dirent(block, &used, &last, dir->parent->ino, "..", 2, EXT2_FT_DIR);
	if (dir->parent == dir)
		put_dirent(block, &used, &last, LOST_FOUND, "lost+found", 10,
			   EXT2_FT_DIR);
	list_for_each(&dir->children, it, struct tree_name, link)
	{
		if (used + dirent_len(it->len) > DIR_ROOM) {
			if (put_dir_block(ext4, dir, inode, n++, block, last,
					  err) < 0)
				return -1;
			used = 0;
		}
		put_dirent(block, &used, &last, it->node->ino, it->name,
			   it->len, type_of(it->node->mode));
	}
	return put_dir_block(ext4, dir, inode, n, block, last, err);
}

static uint32_t dir_links(struct tree_node *dir)
{
	uint32_t n = 2 + (dir->parent == dir ? 1 : 0);

	list_for_each(&dir->children, it, struct tree_name, link) n +=
		S_ISDIR(it->node->mode) ? 1 : 0;
	/* More than ext4 can count is written as 1 (dir_nlink). */
	return n > TREE_LINKS_MAX ? 1 : n;
}

static int put_dir(struct ext4 *ext4, struct tree_node *dir, struct error *err)
{
	uint64_t blocks = dir_blocks(dir);
	struct ext2_inode inode;

	fill_inode(&inode, dir);
	inode.i_links_count = (uint16_t)dir_links(dir);
	inode.i_size = (uint32_t)(blocks * EXT4_BLOCK);
	inode.i_size_high = (uint32_t)(blocks * EXT4_BLOCK >> 32);
	if (put_new_inode(ext4, dir->ino, &inode, err) < 0 ||
	    allocate(ext4, dir->ino, &inode, 0, blocks, err) < 0 ||
	    put_inode(ext4, dir->ino, &inode, err) < 0 ||
	    put_entries(ext4, dir, &inode, err) < 0)
		return -1;
	return put_xattrs(ext4, dir, err);
}

static int put_symlink(struct ext4 *ext4, struct tree_node *node,
		       struct error *err)
{
	size_t len = strlen(node->target);
	uint8_t block[EXT4_BLOCK] = { 0 };
	struct ext2_inode inode;
	errcode_t code;
	blk64_t at;

	fill_inode(&inode, node);
	inode.i_size = (uint32_t)len;
	if (len < sizeof(inode.i_block)) {
		memcpy(inode.i_block, node->target, len);
		return put_new_inode(ext4, node->ino, &inode, err);
	}
	start_extents(&inode);
	if (put_new_inode(ext4, node->ino, &inode, err) < 0 ||
	    allocate(ext4, node->ino, &inode, 0, 1, err) < 0 ||
	    put_inode(ext4, node->ino, &inode, err) < 0 ||
	    physical(ext4, node->ino, &inode, 0, &at, err) < 0)
		return -1;
	memcpy(block, node->target, len);
	code = io_channel_write_blk64(ext4->fs->io, at, 1, block);
	return code ? fail(err, code, "write a symbolic link") : 0;
}

static int put_node(struct ext4 *ext4, struct tree_node *node,
		    struct error *err)
{
	struct ext2_inode inode;

	if (S_ISLNK(node->mode)) {
		if (put_symlink(ext4, node, err) < 0)
			return -1;
		return put_xattrs(ext4, node, err);
	}
	fill_inode(&inode, node);
	if (put_new_inode(ext4, node->ino, &inode, err) < 0)
		return -1;
	/* A file's are written when its inode is final. */
	return S_ISREG(node->mode) ? 0 : put_xattrs(ext4, node, err);
}

static int number(struct ext4 *ext4, struct tree_node *node, struct error *err)
{
	if (ext4->next > ext4->fs->super->s_inodes_count)
		return fail(err, EXT2_ET_INODE_ALLOC_FAIL, "number a file");
	node->ino = ext4->next++;
	ext2fs_inode_alloc_stats2(ext4->fs, node->ino, 1, S_ISDIR(node->mode));
	return 0;
}

/* The root as mke2fs made it has blocks of its own: given back. */
static int clear_root(struct ext4 *ext4, struct error *err)
{
	struct ext2_inode inode;
	errcode_t code;

	code = ext2fs_read_inode(ext4->fs, EXT2_ROOT_INO, &inode);
	if (!code)
		code = ext2fs_punch(ext4->fs, EXT2_ROOT_INO, &inode, NULL, 0,
				    ~0ull);
	return code ? fail(err, code, "clear the root directory") : 0;
}

int ext4_write_tree(struct ext4 *ext4, struct tree *tree, struct error *err)
{
	_cleanup_(walk_fini) struct walk w = { .n = 0 };
	struct tree_node *dir;

	if (clear_root(ext4, err) < 0)
		return -1;
	tree_root(tree)->ino = EXT2_ROOT_INO;
	walk_push(&w, tree_root(tree));
	/* A directory's entries have their numbers before it is written, and
	 * it has its own since its parent's turn.
	 */
	while ((dir = walk_next(&w))) {
		list_for_each(&dir->children, it, struct tree_name, link)
		{
			if (it->node->ino)
				continue;
			if (number(ext4, it->node, err) < 0)
				return -1;
			if (!S_ISDIR(it->node->mode) &&
			    put_node(ext4, it->node, err) < 0)
				return -1;
		}
		if (put_dir(ext4, dir, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- files' data ---- */

int ext4_begin_file(struct ext4 *ext4, const struct tree_node *node,
		    struct error *err)
{
	uint64_t blocks = (node->size + EXT4_BLOCK - 1) / EXT4_BLOCK;

	ext4->node = node;
	ext4->end = 0;
	ext4->chunk = 0;
	ext4->dense = node->data == node->size;
	fill_inode(&ext4->inode, node);
	ext4->inode.i_size = (uint32_t)node->size;
	ext4->inode.i_size_high = (uint32_t)(node->size >> 32);
	if (ext4->dense && blocks > 0)
		return allocate(ext4, node->ino, &ext4->inode, 0, blocks, err);
	return 0;
}

/* Write blocks [from, to) of the chunk at hand. */
static int write_run(struct ext4 *ext4, size_t from, size_t to,
		     struct error *err)
{
	uint64_t first = ext4->chunk * CHUNK_COUNT + from;
	ext2_ino_t ino = ext4->node->ino;

	if (!ext4->dense &&
	    allocate(ext4, ino, &ext4->inode, first, to - from, err) < 0)
		return -1;
	while (from < to) {
		blk64_t at, next;
		size_t n = 1;
		errcode_t code;

		if (physical(ext4, ino, &ext4->inode, first, &at, err) < 0)
			return -1;
		for (; from + n < to; n++) {
			if (physical(ext4, ino, &ext4->inode, first + n, &next,
				     err) < 0)
				return -1;
			if (next != at + n)
				break;
		}
		code = io_channel_write_blk64(ext4->fs->io, at, (int)n,
					      ext4->data + from * EXT4_BLOCK);
		if (code)
			return fail(err, code, "write a file's data");
		from += n;
		first += n;
	}
	return 0;
}

static int flush(struct ext4 *ext4, struct error *err)
{
	size_t from = 0;

	while (from < CHUNK_COUNT) {
		size_t to = from;

		while (to < CHUNK_COUNT && ext4->dirty[to])
			to++;
		if (to > from && write_run(ext4, from, to, err) < 0)
			return -1;
		memset(ext4->data + from * EXT4_BLOCK, 0,
		       (to - from) * EXT4_BLOCK);
		from = to + 1;
	}
	memset(ext4->dirty, 0, sizeof(ext4->dirty));
	return 0;
}

int ext4_write_file(struct ext4 *ext4, uint64_t at, const void *data,
		    size_t len, struct error *err)
{
	const uint8_t *from = data;

	if (at < ext4->end || at > ext4->node->size ||
	    len > ext4->node->size - at)
		return err_set(err, ERR_INVALID,
			       "a file's pieces in the archive overlap or are "
			       "longer than it");
	ext4->end = at + len;
	while (len > 0) {
		size_t off = at % CHUNK;
		size_t n = len < CHUNK - off ? len : CHUNK - off;

		if (at / CHUNK != ext4->chunk && flush(ext4, err) < 0)
			return -1;
		ext4->chunk = at / CHUNK;
		memcpy(ext4->data + off, from, n);
		for (size_t b = off / EXT4_BLOCK;
		     b <= (off + n - 1) / EXT4_BLOCK; b++)
			ext4->dirty[b] = true;
		at += n;
		from += n;
		len -= n;
	}
	return 0;
}

int ext4_end_file(struct ext4 *ext4, struct error *err)
{
	if (ext4->dense && ext4->end != ext4->node->size)
		return err_set(err, ERR_INVALID,
			       "a file in the archive is shorter than it was");
	if (flush(ext4, err) < 0 ||
	    put_inode(ext4, ext4->node->ino, &ext4->inode, err) < 0)
		return -1;
	return put_xattrs(ext4, ext4->node, err);
}
