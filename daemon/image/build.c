/* SPDX-License-Identifier: Apache-2.0 */
/* build.c - an archive to a file system, in two passes */
#include "image/build.h"

#include "base/error.h"
#include "image/ext4.h"
#include "image/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

static bool is_file(struct archive_entry *e)
{
	return archive_entry_filetype(e) == S_IFREG &&
	       !archive_entry_hardlink(e);
}

/* ext4's own directory, which every file system has already. */
static bool is_lost_found(const char *path)
{
	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path += *path == '/' ? 1 : 2;
	return strncmp(path, "lost+found", 10) == 0 &&
	       (path[10] == '\0' || path[10] == '/');
}

/* ---- first pass ---- */

static void scan_layer(bool whiteouts, void *arg)
{
	tree_begin_layer(arg, whiteouts);
}

static int scan_xattrs(struct tree *tree, struct tree_node *node,
		       struct archive_entry *e, struct error *err)
{
	const char *name;
	const void *value;
	size_t len;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK)
		if (name &&
		    tree_set_xattr(tree, node, name, value, len, err) < 0)
			return -1;
	return 0;
}

static int scan_entry(struct reader *reader, struct archive_entry *e, void *arg,
		      struct error *err)
{
	struct tree_entry entry = {
		.path = archive_entry_pathname(e),
		.mode = archive_entry_mode(e),
		.mtime = archive_entry_mtime(e),
		.hardlink = archive_entry_hardlink(e),
		.target = archive_entry_symlink(e),
	};
	struct tree_node *node;
	const void *data;
	uint64_t at;
	size_t len;
	int rc;

	if (archive_entry_uid(e) < 0 || archive_entry_uid(e) >= UINT32_MAX ||
	    archive_entry_gid(e) < 0 || archive_entry_gid(e) >= UINT32_MAX ||
	    archive_entry_size(e) < 0)
		return err_set(err, ERR_INVALID,
			       "archive entry '%.200s': an owner or size that "
			       "cannot be",
			       entry.path);
	if (is_lost_found(entry.path))
		return 0;
	entry.uid = (uint32_t)archive_entry_uid(e);
	entry.gid = (uint32_t)archive_entry_gid(e);
	entry.size = (uint64_t)archive_entry_size(e);
	if (tree_add(arg, &entry, &node, err) < 0)
		return -1;
	if (!node)
		return 0;
	if (scan_xattrs(arg, node, e, err) < 0)
		return -1;
	if (!is_file(e))
		return 0;
	while ((rc = reader_block(reader, &data, &len, &at, err)) > 0)
		node->data += len;
	return rc;
}

static const struct source_ops scan_ops = { .layer = scan_layer,
					    .entry = scan_entry };

int build_tree(struct source *source, struct tree **ret, struct error *err)
{
	struct tree *tree = tree_new();

	if (source_read(source, &scan_ops, tree, err) < 0) {
		tree_free(tree);
		return -1;
	}
	if (list_empty(&tree_root(tree)->children)) {
		tree_free(tree);
		return err_set(err, ERR_INVALID, "the archive holds no files");
	}
	*ret = tree;
	return 0;
}

/* ---- second pass ---- */

struct writing {
	struct tree *tree;
	struct ext4 *ext4;
	size_t slot;
	bool whiteouts;
};

static void write_layer(bool whiteouts, void *arg)
{
	((struct writing *)arg)->whiteouts = whiteouts;
}

/* Whether the first pass gave this entry no slot. */
static bool is_whiteout(const struct writing *w, const char *path)
{
	size_t len = strlen(path);
	const char *name;

	if (!w->whiteouts)
		return false;
	while (len > 0 && path[len - 1] == '/')
		len--;
	name = memrchr(path, '/', len);
	name = name ? name + 1 : path;
	return strncmp(name, ".wh.", 4) == 0;
}

static int write_entry(struct reader *reader, struct archive_entry *e,
		       void *arg, struct error *err)
{
	const char *path = archive_entry_pathname(e);
	struct writing *w = arg;
	struct tree_node *node;
	const void *data;
	uint64_t at;
	size_t len;
	int rc;

	if (!is_file(e) || is_lost_found(path) || is_whiteout(w, path))
		return 0;
	node = tree_file(w->tree, w->slot++);
	if (!node)
		return 0;
	if (ext4_begin_file(w->ext4, node, err) < 0)
		return -1;
	while ((rc = reader_block(reader, &data, &len, &at, err)) > 0)
		if (ext4_write_file(w->ext4, at, data, len, err) < 0)
			return err_wrap(err, "'%.150s'", path);
	if (rc < 0)
		return -1;
	return ext4_end_file(w->ext4, err);
}

static const struct source_ops write_ops = { .layer = write_layer,
					     .entry = write_entry };

int build_file_system(struct source *source, struct tree *tree,
		      struct ext4 *ext4, struct error *err)
{
	struct writing w = { .tree = tree, .ext4 = ext4 };

	if (ext4_write_tree(ext4, tree, err) < 0 ||
	    source_read(source, &write_ops, &w, err) < 0)
		return -1;
	return ext4_finish(ext4, err);
}
