/* SPDX-License-Identifier: Apache-2.0 */
/* image_import.c - from a pipe with an archive to a published image
 *
 * Theory of operation
 * ===================
 *
 * Three steps, one after another:
 *
 *	receive	a job copies the pipe into a file
 *	make	sandboxd-mkimage reads that and writes the disk; here its
 *		reports and its end are waited for
 *	publish	a job hashes the disk, makes it durable and renames the
 *		directory to its place
 *
 * All happens in a directory whose name begins with a dot, which the store
 * deletes when it opens: whatever the moment of a crash, there is an image or
 * there is nothing.
 *
 * While a job runs, it alone touches the import, but for @cancel, @done_bytes
 * and @total_bytes. The timer that reports progress reads only these.
 */
#include "engine/image.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/job.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/image/image_maker.h"
#include "engine/image/image_manifest.h"
#include "engine/image/image_publish.h"
#include "engine/image/image_store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE	(1u << 20)
#define TICK_MS 250
#define POLL_MS 100

enum step { STEP_RECEIVE = 0, STEP_MAKE, STEP_PUBLISH, STEP_COUNT };

struct image_import {
	struct list link;
	struct image_store *store; /* NULL: abandoned */
	struct image_import_ops ops;
	void *arg;
	struct image_import_spec spec; /* its env is ours */
	struct image image;
	enum step step;
	char dir[48]; /* within the store's */
	char final[IMAGE_DIR_SIZE];
	int parent_fd; /* the store's directory */
	int dir_fd, pipe, archive, disk;
	uint64_t size_max;
	struct image_maker *maker;
	sd_event_source *timer;
	uid_t uid;
	struct error err; /* the first that went wrong */
	const char *what; /* of progress, in STEP_MAKE */
	atomic_bool cancel;
	_Atomic uint64_t done_bytes, total_bytes;
};

static void make_image(struct image_import *im);
static void publish(struct image_import *im);

static void free_import(struct image_import *im)
{
	for (size_t i = 0; i < im->spec.n_env; i++)
		free(im->spec.env[i]);
	free(im->spec.env);
	image_fini(&im->image);
	fd_close(&im->dir_fd);
	fd_close(&im->parent_fd);
	fd_close(&im->pipe);
	fd_close(&im->archive);
	fd_close(&im->disk);
	free(im);
}

/* ---- the end ---- */

static int clean_run(void *arg, struct error *err)
{
	struct image_import *im = arg;

	return fd_remove_tree(im->parent_fd, im->dir, err);
}

static void clean_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;

	if (rc < 0)
		log_warn("image import's '%s': %s", im->dir, err->msg);
	if (im->store) {
		list_del(&im->link);
		im->store->n_imports--;
		log_info("image '%s': import failed: %s", im->spec.name,
			 im->err.msg);
		im->ops.done(NULL, &im->err, im->arg);
	}
	free_import(im);
}

static const struct job_ops clean_ops = { "image-clean", clean_run,
					  clean_done };

/* Main thread, no job running. */
static void fail(struct image_import *im, const struct error *err)
{
	if (!im->err.code)
		im->err = *err;
	if (atomic_load(&im->cancel)) {
		im->err = (struct error){ 0 };
		err_set(&im->err, ERR_CANCELLED, "the import was cancelled");
	}
	im->timer = sd_event_source_disable_unref(im->timer);
	im->maker = image_maker_free(im->maker);
	if (im->store) {
		job_start(im->store->jobs, &clean_ops, im);
	} else {
		/* The daemon stops: no more jobs. Files go at its next start. */
		free_import(im);
	}
}

/* ---- receive ---- */

/* Wait for the pipe. 1: readable, 0: nothing yet. */
static int wait_pipe(struct image_import *im)
{
	struct pollfd p = { .fd = im->pipe, .events = POLLIN };
	int r = poll(&p, 1, POLL_MS);

	return r < 0 && errno != EINTR ? -errno : r > 0;
}

static int receive_run(void *arg, struct error *err)
{
	struct image_import *im = arg;
	_cleanup_free_ uint8_t *buf = xcalloc(1, PIECE);
	uint64_t total = 0;

	for (;;) {
		ssize_t n;
		int r;

		if (atomic_load(&im->cancel))
			return err_set(err, ERR_CANCELLED, "cancelled");
		r = wait_pipe(im);
		if (r < 0)
			return err_sys(err, -r, "wait for the archive");
		if (r == 0)
			continue;
		n = read(im->pipe, buf, PIECE);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the archive");
		if (n == 0)
			break;
		total += (uint64_t)n;
		if (total > im->size_max)
			return err_set(err, ERR_LIMIT,
				       "the archive is larger than %" PRIu64
				       " MiB",
				       im->size_max >> 20);
		r = fd_write_full(im->archive, buf, (size_t)n);
		if (r < 0)
			return err_sys(err, -r, "store the archive");
		atomic_store(&im->done_bytes, total);
	}
	/* A cancel always comes before the end that it explains. */
	if (atomic_load(&im->cancel))
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (total == 0)
		return err_set(err, ERR_INVALID, "the archive is empty");
	return 0;
}

static void receive_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;

	if (rc < 0 || !im->store || atomic_load(&im->cancel))
		fail(im, err);
	else
		make_image(im);
}

static const struct job_ops receive_ops = { "image-receive", receive_run,
					    receive_done };

/* ---- make ---- */

static void on_made(const struct error *err, void *arg)
{
	struct image_import *im = arg;
	const struct error none = { 0 };

	im->maker = image_maker_free(im->maker);
	if (err || atomic_load(&im->cancel))
		fail(im, err ? err : &none);
	else
		publish(im);
}

static void on_making(const char *what, uint64_t done, uint64_t total,
		      void *arg)
{
	struct image_import *im = arg;

	im->what = what;
	atomic_store(&im->done_bytes, done);
	atomic_store(&im->total_bytes, total);
}

static const struct image_maker_ops maker_ops = { .progress = on_making,
						  .done = on_made };

static void make_image(struct image_import *im)
{
	struct image_maker_config config = { .program = im->store->program,
					     .uid = im->store->uid,
					     .gid = im->store->gid,
					     .archive = im->archive,
					     .disk = im->disk,
					     .size_max = im->size_max,
					     .spec = &im->spec,
					     .image = &im->image };
	struct error err = { 0 };

	im->step = STEP_MAKE;
	im->what = "reading the archive";
	atomic_store(&im->done_bytes, 0);
	if (image_maker_start(im->store->loop, &config, &maker_ops, im,
			      &im->maker, &err) < 0)
		fail(im, &err);
}

/* ---- publish ---- */

static int publish_run(void *arg, struct error *err)
{
	struct image_import *im = arg;
	struct image_publish p = { .parent_fd = im->parent_fd,
				   .dir_fd = im->dir_fd,
				   .disk = im->disk,
				   .dir = im->dir,
				   .take_back = im->uid != 0,
				   .image = &im->image,
				   .cancel = &im->cancel,
				   .done_bytes = &im->done_bytes,
				   .total_bytes = &im->total_bytes };

	if (image_publish(&p, err) < 0)
		return -1;
	memcpy(im->final, p.final, sizeof(im->final));
	return 0;
}

static void publish_done(void *arg, int rc, const struct error *err)
{
	struct image_import *im = arg;
	const struct image *image;

	/* Too late to cancel what is done. */
	if (rc < 0) {
		fail(im, err);
		return;
	}
	im->timer = sd_event_source_disable_unref(im->timer);
	if (im->store) {
		image = image_store_add(im->store, &im->image, im->final);
		list_del(&im->link);
		im->store->n_imports--;
		log_info("image '%s' (%s) imported, %" PRIu64 " MiB",
			 image->name, image->digest, image->stored_bytes >> 20);
		im->ops.done(image, NULL, im->arg);
	}
	free_import(im);
}

static const struct job_ops publish_ops = { "image-publish", publish_run,
					    publish_done };

static void on_tick(void *arg);

static void arm_tick(struct image_import *im)
{
	loop_timer(im->store->loop, &im->timer, loop_now_ms() + TICK_MS,
		   on_tick, im);
}

static void publish(struct image_import *im)
{
	const struct image *there = image_by_name(im->store, im->spec.name);
	struct error err = { 0 };

	/* Another import of the name may have been quicker. */
	if (there && !im->spec.replace) {
		err_set(&err, ERR_EXISTS, "there is an image '%s' already",
			im->spec.name);
		err_reason(&err, NULL, "name");
		fail(im, &err);
		return;
	}
	im->step = STEP_PUBLISH;
	atomic_store(&im->done_bytes, 0);
	str_copy(im->image.name, sizeof(im->image.name), im->spec.name);
	im->image.created_ms = loop_wall_ms();
	/* To be the newer one, whatever the clock does. */
	if (there && im->image.created_ms <= there->created_ms)
		im->image.created_ms = there->created_ms + 1;
	arm_tick(im);
	job_start(im->store->jobs, &publish_ops, im);
}

bool image_import_publishes(struct image_store *store, const char *name)
{
	list_for_each (&store->imports, im, struct image_import, link)
		if (im->step == STEP_PUBLISH && !strcmp(im->spec.name, name))
			return true;
	return false;
}

/* ---- the beginning ---- */

static void on_tick(void *arg)
{
	struct image_import *im = arg;
	static const char *const names[STEP_COUNT] = {
		[STEP_RECEIVE] = "receiving",
		[STEP_MAKE] = "making the file system",
		[STEP_PUBLISH] = "verifying",
	};

	im->ops.progress(im->step == STEP_MAKE ? im->what : names[im->step],
			 atomic_load(&im->done_bytes),
			 atomic_load(&im->total_bytes), im->arg);
	arm_tick(im);
}

static int check_spec(struct image_store *store,
		      const struct image_import_spec *spec, struct error *err)
{
	struct image probe = { .n_env = 0 };
	int rc;

	if (!image_name_is_valid(spec->name))
		return err_field(err, "name",
				 "must be 1-128 characters: [a-z0-9] then "
				 "[a-z0-9._/:-]");
	if (spec->workdir[0] && spec->workdir[0] != '/')
		return err_field(err, "workdir", "must be absolute");
	rc = image_set_env(&probe, NULL, 0, spec->env, spec->n_env, err);
	image_fini(&probe);
	if (rc < 0)
		return -1;
	if (spec->size_bytes > store->size_max)
		return err_field(err, "size_bytes",
				 "at most %" PRIu64 " MiB are allowed",
				 store->size_max >> 20);
	if (!spec->replace && image_by_name(store, spec->name)) {
		err_set(err, ERR_EXISTS, "there is an image '%s' already",
			spec->name);
		return err_reason(err, "ALREADY_EXISTS", "name");
	}
	if (store->n_imports >= IMAGE_IMPORTS_MAX)
		return err_set(err, ERR_LIMIT,
			       "%d images are being imported already",
			       IMAGE_IMPORTS_MAX);
	return 0;
}

static int open_files(struct image_import *im, struct error *err)
{
	if (mkdirat(im->parent_fd, im->dir, 0700) < 0)
		return err_sys(err, errno, "make a directory for the image");
	im->dir_fd = openat(im->parent_fd, im->dir,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->dir_fd < 0)
		return err_sys(err, errno, "open the image's directory");
	im->archive = openat(im->dir_fd, "archive",
			     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	im->disk = openat(im->dir_fd, "root.raw",
			  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (im->archive < 0 || im->disk < 0)
		return err_sys(err, errno, "make the image's files");
	return 0;
}

static struct image_import *alloc(struct image_store *store,
				  const struct image_import_spec *spec, int fd)
{
	struct image_import *im = xcalloc(1, sizeof(*im));

	im->store = store;
	im->spec = *spec;
	im->spec.env = xcalloc(spec->n_env + 1, sizeof(char *));
	for (size_t i = 0; i < spec->n_env; i++)
		im->spec.env[i] = xstrdup(spec->env[i]);
	im->size_max = store->size_max;
	im->uid = store->uid;
	im->pipe = fd;
	im->dir_fd = im->archive = im->disk = -EBADF;
	im->parent_fd = fcntl(store->dir_fd, F_DUPFD_CLOEXEC, 3);
	snprintf(im->dir, sizeof(im->dir), ".import-%d-%" PRIu64, getpid(),
		 ++store->serial);
	atomic_store(&im->total_bytes, spec->size_bytes);
	list_init(&im->link);
	return im;
}

int image_import_start(struct image_store *store,
		       const struct image_import_spec *spec, int fd,
		       const struct image_import_ops *ops, void *arg,
		       struct image_import **ret, struct error *err)
{
	_cleanup_close_ int pipe = fd;
	struct image_import *im;

	if (check_spec(store, spec, err) < 0)
		return -1;
	im = alloc(store, spec, TAKE_FD(pipe));
	im->ops = *ops;
	im->arg = arg;
	if (open_files(im, err) < 0) {
		fd_remove_tree(im->parent_fd, im->dir, NULL);
		free_import(im);
		return err_wrap(err, "import image '%s'", spec->name);
	}
	list_add_tail(&store->imports, &im->link);
	store->n_imports++;
	arm_tick(im);
	job_start(store->jobs, &receive_ops, im);
	*ret = im;
	return 0;
}

void image_import_cancel(struct image_import *im)
{
	atomic_store(&im->cancel, true);
	/* A job looks at it by itself; mkimage has to be ended, and its end goes
	 * the usual way.
	 */
	if (im->maker)
		image_maker_end(im->maker);
}

void image_import_abandon_all(struct image_store *store)
{
	list_for_each(&store->imports, im, struct image_import, link)
	{
		bool making = im->maker;

		atomic_store(&im->cancel, true);
		list_del(&im->link);
		im->timer = sd_event_source_disable_unref(im->timer);
		im->maker = image_maker_free(im->maker);
		im->store = NULL;
		/* A job that runs frees it when it is done. */
		if (making) {
			fd_remove_tree(im->parent_fd, im->dir, NULL);
			free_import(im);
		}
	}
}
