/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - a file tree in memory, put together from an archive's layers
 *
 * Theory of operation
 * ===================
 *
 * A node is what an inode is; a name is a directory entry. All names are in one
 * hash table by directory and name, so that an archive with a million entries
 * in one directory costs no more than another.
 *
 * Each name remembers the layer that put it there: whiteouts delete only what
 * lower layers left, whatever the order of entries within a layer.
 */
#include "image/tree.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tree {
	struct tree_node *root;
	struct tree_name **buckets;
	size_t n_buckets, n_names;
	struct tree_node **files;
	size_t n_files, room_files;
	uint64_t n_nodes, n_entries, n_bytes, n_dropped;
	uint32_t layer;
	bool whiteouts;
};

static uint32_t hash_of(const struct tree_node *dir, const char *name,
			size_t len)
{
	uint64_t h = 0xcbf29ce484222325ull ^ (uintptr_t)dir;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3ull;
	return (uint32_t)(h ^ (h >> 32));
}

static void rehash(struct tree *tree)
{
	size_t n = tree->n_buckets ? tree->n_buckets * 2 : 1024;
	struct tree_name **buckets = xcalloc(n, sizeof(*buckets));

	for (size_t i = 0; i < tree->n_buckets; i++) {
		struct tree_name *next;

		for (struct tree_name *it = tree->buckets[i]; it; it = next) {
			size_t at = hash_of(it->dir, it->name, it->len) % n;

			next = it->hash_next;
			it->hash_next = buckets[at];
			buckets[at] = it;
		}
	}
	free(tree->buckets);
	tree->buckets = buckets;
	tree->n_buckets = n;
}

static struct tree_name *lookup(struct tree *tree, struct tree_node *dir,
				const char *name, size_t len)
{
	struct tree_name *it;

	it = tree->buckets[hash_of(dir, name, len) % tree->n_buckets];
	while (it && (it->dir != dir || it->len != len ||
		      memcmp(it->name, name, len) != 0))
		it = it->hash_next;
	return it;
}

static struct tree_node *node_new(struct tree *tree, uint32_t mode)
{
	struct tree_node *node = xcalloc(1, sizeof(*node));

	node->mode = mode;
	node->slot = SIZE_MAX;
	list_init(&node->children);
	tree->n_nodes++;
	tree->n_bytes += sizeof(*node);
	return node;
}

static void node_clear_xattrs(struct tree_node *node)
{
	struct tree_xattr *next;

	for (struct tree_xattr *x = node->xattrs; x; x = next) {
		next = x->next;
		free(x->name);
		free(x);
	}
	node->xattrs = NULL;
}

static void node_free(struct tree *tree, struct tree_node *node)
{
	if (node->slot != SIZE_MAX)
		tree->files[node->slot] = NULL;
	node_clear_xattrs(node);
	free(node->target);
	free(node);
	tree->n_nodes--;
}

static struct tree_name *name_add(struct tree *tree, struct tree_node *dir,
				  const char *name, size_t len,
				  struct tree_node *node)
{
	struct tree_name *it = xcalloc(1, sizeof(*it) + len + 1);
	size_t at;

	if (tree->n_names >= tree->n_buckets)
		rehash(tree);
	it->dir = dir;
	it->node = node;
	it->layer = tree->layer;
	it->len = (uint8_t)len;
	memcpy(it->name, name, len);
	list_add_tail(&dir->children, &it->link);
	dir->n_children++;
	node->nlink++;
	if (S_ISDIR(node->mode)) {
		node->parent = dir;
		node->depth = dir->depth + 1;
	}
	at = hash_of(dir, name, len) % tree->n_buckets;
	it->hash_next = tree->buckets[at];
	tree->buckets[at] = it;
	tree->n_names++;
	tree->n_bytes += sizeof(*it) + len;
	return it;
}

/* Unlink one name; its node has no children (left). */
static void name_drop(struct tree *tree, struct tree_name *name)
{
	struct tree_name **at;

	at = &tree->buckets[hash_of(name->dir, name->name, name->len) %
			    tree->n_buckets];
	while (*at != name)
		at = &(*at)->hash_next;
	*at = name->hash_next;
	list_del(&name->link);
	name->dir->n_children--;
	tree->n_names--;
	if (--name->node->nlink == 0)
		node_free(tree, name->node);
	free(name);
}

static struct tree_name *first_child(struct tree_node *dir)
{
	return list_entry(dir->children.next, struct tree_name, link);
}

/* All below @dir. Not recursive: how deep is the archive's choice. */
static void clear_dir(struct tree *tree, struct tree_node *dir)
{
	struct tree_node *at = dir;

	for (;;) {
		struct tree_name *child;

		if (list_empty(&at->children)) {
			struct tree_node *up = at->parent;

			if (at == dir)
				return;
			/* The directory just emptied is its parent's first. */
			name_drop(tree, first_child(up));
			at = up;
			continue;
		}
		child = first_child(at);
		if (S_ISDIR(child->node->mode))
			at = child->node;
		else
			name_drop(tree, child);
	}
}

static void remove_name(struct tree *tree, struct tree_name *name)
{
	if (S_ISDIR(name->node->mode))
		clear_dir(tree, name->node);
	name_drop(tree, name);
}

/* What lower layers left in @dir. Below a directory that this layer mentions
 * too, only what is not this layer's. TREE_DEPTH_MAX bounds the recursion.
 */
static void remove_lower(struct tree *tree, struct tree_node *dir)
{
	list_for_each(&dir->children, it, struct tree_name, link)
	{
		if (it->layer < tree->layer)
			remove_name(tree, it);
		else if (S_ISDIR(it->node->mode))
			remove_lower(tree, it->node);
	}
}

static int bad_path(struct error *err, const char *path, const char *why)
{
	return err_set(err, ERR_INVALID, "archive entry '%.200s': %s", path,
		       why);
}

/* One more component of @path's way; @created: make directories that miss. */
static int step(struct tree *tree, struct tree_node **cur, const char *name,
		size_t len, bool create, int *hops, const char *path,
		struct error *err);

/* Directory @way leads to from @cur. */
static int walk(struct tree *tree, struct tree_node **cur, const char *way,
		size_t way_len, bool create, int *hops, const char *path,
		struct error *err)
{
	const char *end = way + way_len;

	while (way < end) {
		const char *slash = memchr(way, '/', (size_t)(end - way));
		size_t len = (size_t)((slash ? slash : end) - way);

		if (step(tree, cur, way, len, create, hops, path, err) < 0)
			return -1;
		way += len + (slash ? 1 : 0);
	}
	return 0;
}

static int step(struct tree *tree, struct tree_node **cur, const char *name,
		size_t len, bool create, int *hops, const char *path,
		struct error *err)
{
	struct tree_name *it;
	struct tree_node *node;

	if (len == 0 || (len == 1 && name[0] == '.'))
		return 0;
	if (len == 2 && name[0] == '.' && name[1] == '.') {
		*cur = (*cur)->parent;
		return 0;
	}
	if (len > TREE_NAME_MAX)
		return bad_path(err, path, "a name is longer than 255 bytes");
	it = lookup(tree, *cur, name, len);
	if (!it && !create)
		return err_set(err, ERR_NOT_FOUND,
			       "archive entry '%.200s': its way is not there",
			       path);
	if (!it && (*cur)->depth >= TREE_DEPTH_MAX)
		return bad_path(err, path, "directories are nested too deep");
	if (!it) {
		node = node_new(tree, S_IFDIR | 0755);
		name_add(tree, *cur, name, len, node);
		*cur = node;
		return 0;
	}
	if (S_ISLNK(it->node->mode)) {
		const char *target = it->node->target;

		if (++*hops > TREE_HOPS_MAX)
			return bad_path(err, path, "too many symbolic links");
		if (target[0] == '/')
			*cur = tree->root;
		if (walk(tree, cur, target, strlen(target), false, hops, path,
			 err) == 0)
			return 0;
		return err && err->code == ERR_INVALID
			       ? -1
			       : bad_path(err, path,
					  "its way leads through a symbolic "
					  "link to nothing");
	}
	if (!S_ISDIR(it->node->mode))
		return bad_path(err, path,
				"its way leads through what is no directory");
	/* So that an opaque directory in this layer keeps its way. */
	if (create)
		it->layer = tree->layer;
	*cur = it->node;
	return 0;
}

/* Cut @path into the directory and the last name, checked. @ret_len 0: the
 * root itself.
 */
static int split(const char *path, size_t *ret_dir_len, const char **ret_name,
		 size_t *ret_len, struct error *err)
{
	size_t len = strlen(path), start;

	if (len > TREE_PATH_MAX)
		return bad_path(err, path, "longer than 4096 bytes");
	for (size_t i = 0; i < len;) {
		size_t n = strcspn(path + i, "/");

		if (n == 2 && path[i] == '.' && path[i + 1] == '.')
			return bad_path(err, path, "has a '..' component");
		if (n > TREE_NAME_MAX)
			return bad_path(err, path,
					"a name is longer than 255 bytes");
		i += n + 1;
	}
	for (;;) {
		while (len > 0 && path[len - 1] == '/')
			len--;
		start = len;
		while (start > 0 && path[start - 1] != '/')
			start--;
		if (len - start != 1 || path[start] != '.')
			break;
		len = start;
	}
	*ret_dir_len = start;
	*ret_name = path + start;
	*ret_len = len - start;
	return 0;
}

static int count_entry(struct tree *tree, struct error *err)
{
	if (++tree->n_entries > TREE_ENTRIES_MAX)
		return err_set(err, ERR_LIMIT,
			       "the archive has more than %u entries",
			       TREE_ENTRIES_MAX);
	if (tree->n_bytes > TREE_BYTES_MAX)
		return err_set(err, ERR_LIMIT,
			       "the archive's names need more than %llu MiB",
			       TREE_BYTES_MAX >> 20);
	return 0;
}

/* True when @name is a whiteout; then it was done. */
static bool whiteout(struct tree *tree, struct tree_node *dir, const char *name,
		     size_t len)
{
	struct tree_name *it;

	if (!tree->whiteouts || len < 4 || memcmp(name, ".wh.", 4) != 0)
		return false;
	if (len == 12 && memcmp(name, ".wh..wh..opq", 12) == 0) {
		remove_lower(tree, dir);
		return true;
	}
	/* Other double ones are bookkeeping of a long gone file system. */
	if (len == 4 || (len >= 8 && memcmp(name + 4, ".wh.", 4) == 0))
		return true;
	it = lookup(tree, dir, name + 4, len - 4);
	if (it && it->layer < tree->layer)
		remove_name(tree, it);
	else if (it && S_ISDIR(it->node->mode))
		remove_lower(tree, it->node);
	return true;
}

static void set_attributes(struct tree_node *node, const struct tree_entry *e)
{
	node->mode = (node->mode & S_IFMT) | (e->mode & 07777);
	node->uid = e->uid;
	node->gid = e->gid;
	node->mtime = e->mtime;
	node_clear_xattrs(node);
}

static int add_hardlink(struct tree *tree, struct tree_node *dir,
			const char *name, size_t len,
			const struct tree_entry *e, struct error *err)
{
	struct tree_node *node = tree_find(tree, e->hardlink);
	struct tree_name *old = lookup(tree, dir, name, len);

	if (!node)
		return err_set(err, ERR_INVALID,
			       "archive entry '%.150s' is a hard link to "
			       "'%.150s', which is not there",
			       e->path, e->hardlink);
	if (S_ISDIR(node->mode))
		return bad_path(err, e->path, "a hard link to a directory");
	if (node->nlink >= TREE_LINKS_MAX)
		return bad_path(err, e->path, "one link too many to its file");
	if (old && old->node == node) {
		old->layer = tree->layer;
		return 0;
	}
	if (old)
		remove_name(tree, old);
	name_add(tree, dir, name, len, node);
	return 0;
}

static void take_slot(struct tree *tree, struct tree_node *node)
{
	if (tree->n_files == tree->room_files) {
		tree->room_files =
			tree->room_files ? tree->room_files * 2 : 1024;
		tree->files = xrealloc(tree->files, tree->room_files,
				       sizeof(*tree->files));
	}
	node->slot = tree->n_files;
	tree->files[tree->n_files++] = node;
}

static int check_kind(const struct tree_entry *e, struct error *err)
{
	if (S_ISLNK(e->mode) && (!e->target || !*e->target))
		return bad_path(err, e->path, "a symbolic link to nothing");
	if (S_ISLNK(e->mode) && strlen(e->target) >= TREE_PATH_MAX)
		return bad_path(err, e->path, "its target is too long");
	if (S_ISREG(e->mode) && e->size > TREE_FILE_MAX)
		return bad_path(err, e->path, "longer than 1 TiB");
	return 0;
}

static struct tree_node *add_node(struct tree *tree, struct tree_node *dir,
				  const char *name, size_t len,
				  const struct tree_entry *e)
{
	struct tree_name *old = lookup(tree, dir, name, len);
	struct tree_node *node;

	if (old && S_ISDIR(old->node->mode) && S_ISDIR(e->mode)) {
		old->layer = tree->layer;
		set_attributes(old->node, e);
		return old->node;
	}
	if (old)
		remove_name(tree, old);
	node = node_new(tree, e->mode & S_IFMT);
	name_add(tree, dir, name, len, node);
	set_attributes(node, e);
	if (S_ISLNK(e->mode)) {
		node->target = xstrdup(e->target);
		tree->n_bytes += strlen(e->target);
	} else if (S_ISREG(e->mode)) {
		node->size = e->size;
		take_slot(tree, node);
	}
	return node;
}

int tree_add(struct tree *tree, const struct tree_entry *e,
	     struct tree_node **ret, struct error *err)
{
	struct tree_node *dir = tree->root;
	size_t dir_len, len;
	const char *name;
	int hops = 0;

	*ret = NULL;
	if (count_entry(tree, err) < 0 ||
	    split(e->path, &dir_len, &name, &len, err) < 0)
		return -1;
	if (len == 0) {
		if (!S_ISDIR(e->mode) || e->hardlink)
			return bad_path(err, e->path, "replaces the root");
		set_attributes(dir, e);
		*ret = dir;
		return 0;
	}
	if (!e->hardlink && check_kind(e, err) < 0)
		return -1;
	if (walk(tree, &dir, e->path, dir_len, true, &hops, e->path, err) < 0)
		return -1;
	if (whiteout(tree, dir, name, len))
		return 0;
	if (dir->depth >= TREE_DEPTH_MAX)
		return bad_path(err, e->path,
				"directories are nested too deep");
	if (e->hardlink)
		return add_hardlink(tree, dir, name, len, e, err);
	if (!S_ISREG(e->mode) && !S_ISDIR(e->mode) && !S_ISLNK(e->mode) &&
	    !S_ISFIFO(e->mode)) {
		/* A guest's /dev is made by its kernel. */
		tree->n_dropped++;
		return 0;
	}
	*ret = add_node(tree, dir, name, len, e);
	return 0;
}

int tree_set_xattr(struct tree *tree, struct tree_node *node, const char *name,
		   const void *value, size_t len, struct error *err)
{
	size_t total = len + strlen(name), n = 0;
	struct tree_xattr *x;

	if ((strncmp(name, "user.", 5) != 0 || !name[5] ||
	     strlen(name) > TREE_NAME_MAX) &&
	    strcmp(name, "security.capability") != 0) {
		tree->n_dropped++;
		return 0;
	}
	for (x = node->xattrs; x; x = x->next) {
		if (strcmp(x->name, name) == 0)
			return 0;
		n++;
		total += x->len + strlen(x->name);
	}
	if (n >= TREE_XATTRS_MAX || total > TREE_XATTR_BYTES)
		return err_set(err, ERR_LIMIT,
			       "a file has more than %u extended attributes "
			       "or %u bytes of them",
			       TREE_XATTRS_MAX, TREE_XATTR_BYTES);
	x = xcalloc(1, sizeof(*x) + len);
	x->name = xstrdup(name);
	x->len = len;
	if (len)
		memcpy(x->value, value, len);
	x->next = node->xattrs;
	node->xattrs = x;
	tree->n_bytes += sizeof(*x) + len + strlen(name);
	return 0;
}

struct tree_node *tree_find(struct tree *tree, const char *path)
{
	struct tree_node *dir = tree->root;
	struct tree_name *it;
	size_t dir_len, len;
	const char *name;
	int hops = 0;

	if (split(path, &dir_len, &name, &len, NULL) < 0 ||
	    walk(tree, &dir, path, dir_len, false, &hops, path, NULL) < 0)
		return NULL;
	if (len == 0)
		return dir;
	it = lookup(tree, dir, name, len);
	return it ? it->node : NULL;
}

struct tree *tree_new(void)
{
	struct tree *tree = xcalloc(1, sizeof(*tree));

	rehash(tree);
	tree->root = node_new(tree, S_IFDIR | 0755);
	tree->root->parent = tree->root;
	tree->root->nlink = 1;
	return tree;
}

struct tree *tree_free(struct tree *tree)
{
	if (!tree)
		return NULL;
	clear_dir(tree, tree->root);
	node_free(tree, tree->root);
	free(tree->buckets);
	free(tree->files);
	free(tree);
	return NULL;
}

void tree_begin_layer(struct tree *tree, bool whiteouts)
{
	tree->layer++;
	tree->whiteouts = whiteouts;
}

struct tree_node *tree_root(struct tree *tree)
{
	return tree->root;
}

struct tree_node *tree_file(struct tree *tree, size_t slot)
{
	return slot < tree->n_files ? tree->files[slot] : NULL;
}

size_t tree_files(const struct tree *tree)
{
	return tree->n_files;
}

uint64_t tree_nodes(const struct tree *tree)
{
	return tree->n_nodes;
}

uint64_t tree_dropped(const struct tree *tree)
{
	return tree->n_dropped;
}
