/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - the images on this node */
#include "engine/image.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image/image_manifest.h"
#include "engine/image/image_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define SIZE_DEFAULT (64ull << 30)

/* Of two with one name the later one has it. */
static void settle_names(struct image_store *store)
{
	list_for_each(&store->entries, a, struct image_entry, link)
	{
		a->replaced = false;
		list_for_each(
			&store->entries, b, struct image_entry,
			link) if (a != b &&
				  strcmp(a->image.name, b->image.name) == 0 &&
				  (b->image.created_ms > a->image.created_ms ||
				   (b->image.created_ms ==
					    a->image.created_ms &&
				    strcmp(b->dir, a->dir) > 0))) a->replaced =
			true;
	}
}

static struct image_entry *entry_by_dir(struct image_store *store,
					const char *dir)
{
	list_for_each(&store->entries, it, struct image_entry,
		      link) if (strcmp(it->dir, dir) == 0) return it;
	return NULL;
}

const struct image *image_store_add(struct image_store *store,
				    struct image *image, const char *dir)
{
	struct image_entry *entry = entry_by_dir(store, dir);

	if (entry) {
		image_fini(&entry->image);
	} else {
		entry = xcalloc(1, sizeof(*entry));
		str_copy(entry->dir, sizeof(entry->dir), dir);
		list_add_tail(&store->entries, &entry->link);
	}
	entry->image = *image;
	*image = (struct image){ .n_env = 0 };
	snprintf(entry->image.disk, sizeof(entry->image.disk), "%s/%s/root.raw",
		 store->path, dir);
	settle_names(store);
	return &entry->image;
}

static int load(struct image_store *store, const char *dir, struct error *err)
{
	_cleanup_(image_fini) struct image image = { .n_env = 0 };
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	char want[IMAGE_DIR_SIZE];
	struct stat st;
	size_t len;
	int r;

	fd = openat(store->dir_fd, dir,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open it");
	r = fd_read_file(fd, "manifest.json", IMAGE_MANIFEST_MAX, &text, &len);
	if (r < 0)
		return err_sys(err, -r, "read 'manifest.json'");
	if (image_manifest_parse(text, len, &image, err) < 0)
		return -1;
	image_dir_name(&image, want);
	if (strcmp(want, dir) != 0)
		return err_set(err, ERR_DATA_LOSS,
			       "manifest: it is another directory's");
	if (fstatat(fd, "root.raw", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "look at 'root.raw'");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != image.size_bytes)
		return err_set(
			err, ERR_DATA_LOSS,
			"'root.raw' is not as long as the manifest says");
	image.stored_bytes = (uint64_t)st.st_blocks * 512;
	image_store_add(store, &image, dir);
	return 0;
}

static int scan(struct image_store *store, struct error *err)
{
	struct dirent *d;
	DIR *dir;
	int fd;

	fd = openat(store->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return err_sys(err, errno, "read '%s'", store->path);
	}
	while ((d = readdir(dir))) {
		struct error why = { 0 };

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (d->d_name[0] == '.') {
			if (fd_remove_tree(store->dir_fd, d->d_name, &why) < 0)
				log_warn("image import's leftover '%s': %s",
					 d->d_name, why.msg);
			continue;
		}
		if (load(store, d->d_name, &why) < 0)
			log_err("image in '%s/%s' is left out: %s", store->path,
				d->d_name, why.msg);
	}
	closedir(dir);
	return 0;
}

static int open_dir(struct image_store *store, struct error *err)
{
	if (mkdir(store->path, 0711) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make '%s'", store->path);
	/* Guests' QEMUs run under uids of their own and read the disks. */
	if (chmod(store->path, 0711) < 0)
		return err_sys(err, errno, "open '%s' to guests", store->path);
	store->dir_fd = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return store->dir_fd < 0 ? err_sys(err, errno, "open '%s'", store->path)
				 : 0;
}

int image_store_open(const struct image_store_config *config, struct loop *loop,
		     struct job_pool *jobs, struct image_store **ret,
		     struct error *err)
{
	struct image_store *store = xcalloc(1, sizeof(*store));

	*store = (struct image_store){
		.loop = loop,
		.jobs = jobs,
		.program = xstrdup(config->program),
		.uid = config->uid,
		.gid = config->gid,
		.size_max = config->size_max ? config->size_max : SIZE_DEFAULT,
		.dir_fd = -EBADF,
		.path = xasprintf("%s/images", config->state_dir),
	};
	list_init(&store->entries);
	list_init(&store->imports);
	if (open_dir(store, err) < 0 || scan(store, err) < 0) {
		image_store_free(store);
		return -1;
	}
	*ret = store;
	return 0;
}

static void drop_entry(struct image_entry *entry)
{
	list_del(&entry->link);
	image_fini(&entry->image);
	free(entry);
}

struct image_store *image_store_free(struct image_store *store)
{
	if (!store)
		return NULL;
	image_import_abandon_all(store);
	list_for_each(&store->entries, it, struct image_entry, link)
		drop_entry(it);
	fd_close(&store->dir_fd);
	free(store->program);
	free(store->path);
	free(store);
	return NULL;
}

const struct image *image_by_name(struct image_store *store, const char *name)
{
	list_for_each(&store->entries, it, struct image_entry,
		      link) if (!it->replaced && strcmp(it->image.name, name) ==
							 0) return &it->image;
	return NULL;
}

const struct image *image_by_digest(struct image_store *store,
				    const char *digest)
{
	struct image_entry *found = NULL;

	/* Two names may have one digest; one that is not replaced is best. */
	list_for_each(&store->entries, it, struct image_entry,
		      link) if (strcmp(it->image.digest, digest) == 0 &&
				(!found || found->replaced)) found = it;
	return found ? &found->image : NULL;
}

size_t image_count(struct image_store *store)
{
	size_t n = 0;

	list_for_each(&store->entries, it, struct image_entry, link) n +=
		it->replaced ? 0 : 1;
	return n;
}

const struct image *image_at(struct image_store *store, size_t i)
{
	list_for_each(&store->entries, it, struct image_entry,
		      link) if (!it->replaced && i-- == 0) return &it->image;
	return NULL;
}

/* The manifest goes first: a directory without one is a leftover. */
static int delete_entry(struct image_store *store, struct image_entry *entry,
			struct error *err)
{
	char gone[IMAGE_DIR_SIZE + 8];

	snprintf(gone, sizeof(gone), ".gone-%s", entry->dir);
	if (renameat(store->dir_fd, entry->dir, store->dir_fd, gone) < 0 &&
	    errno != ENOENT)
		return err_sys(err, errno, "remove image '%s'",
			       entry->image.name);
	fsync(store->dir_fd);
	log_info("image '%s' (%s) removed", entry->image.name,
		 entry->image.digest);
	drop_entry(entry);
	/* What is left of it goes at the next start at the latest. */
	if (fd_remove_tree(store->dir_fd, gone, err) < 0)
		log_warn("image leftover '%s' stays until the next start", gone);
	settle_names(store);
	return 0;
}

int image_remove(struct image_store *store, const char *name,
		 image_in_use_fn in_use, void *arg, struct error *err)
{
	const struct image *image = image_by_name(store, name);

	if (!image) {
		err_set(err, ERR_NOT_FOUND, "there is no image '%.*s'",
			IMAGE_NAME_MAX, name);
		return err_reason(err, "IMAGE_NOT_FOUND", "name");
	}
	if (image_import_publishes(store, name))
		return err_set(err, ERR_CONFLICT,
			       "an image '%s' is just being imported", name);
	if (in_use && in_use(image->digest, arg))
		return err_set(err, ERR_CONFLICT,
			       "image '%s' is needed by a sandbox, snapshot or "
			       "template",
			       name);
	/* What it had replaced must not have the name again. */
	list_for_each(&store->entries, it, struct image_entry, link) if (
		it->replaced && strcmp(it->image.name, name) == 0 && in_use &&
		in_use(it->image.digest,
		       arg)) return err_set(err, ERR_CONFLICT,
					    "an image that '%s' replaced is "
					    "still "
					    "needed by a sandbox, snapshot or "
					    "template",
					    name);
	list_for_each(&store->entries, it, struct image_entry,
		      link) if (strcmp(it->image.name, name) == 0 &&
				it->replaced &&
				delete_entry(store, it, err) < 0) return -1;
	return delete_entry(store, (struct image_entry *)(uintptr_t)image, err);
}

void image_sweep(struct image_store *store, image_in_use_fn in_use, void *arg)
{
	list_for_each(&store->entries, it, struct image_entry, link)
	{
		struct error err = { 0 };

		if (it->replaced && !in_use(it->image.digest, arg) &&
		    !image_import_publishes(store, it->image.name) &&
		    delete_entry(store, it, &err) < 0)
			log_warn("%s", err.msg);
	}
}
